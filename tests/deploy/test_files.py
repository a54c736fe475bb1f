"""What the container, the stack and the pipelines are made of, looked at without running any of it."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from service import errors
from service.settings import Settings
from tests.client import ROOT, serving
from tests.collectors import described
from tests.conftest import encoded
from tests.deploy.docker import run
from tests.deploy.monitoring import MONITORING, alerts, dashboard, queries
from tests.fakes import FailingNetwork, engine_factory, squares

RED = encoded(squares((250, 0, 0)))
BIN = Path(sys.executable).parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="these programs come for Linux alone")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker-compose.yml."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


def program(name: str) -> str:
    """The path of a program. Without it the test is skipped, or fails where `REQUIRED_PROGRAMS` names it, as hosted CI does."""
    found = shutil.which(name)
    if found is None and name in os.environ.get("REQUIRED_PROGRAMS", "").split():
        pytest.fail(f"{name} is not on the PATH")
    if found is None:
        pytest.skip(f"{name} is not on the PATH; `.ci/with_docker.py make test` brings Debian's")
    return found


@pytest.fixture
def promtool() -> str:
    """Prometheus's own checker, where it is installed."""
    return program("promtool")


@pytest.fixture
def amtool() -> str:
    """Alertmanager's own checker, where it is installed."""
    return program("amtool")


NOTED = {
    "FacetErrors": {
        "summary": "100% of the requests or photos fail",
        "description": "More than one in a hundred of five minutes failed by the service's own fault.",
    },
    "FacetAvailabilityBurn": {
        "summary": "100% of the requests fail: the month's budget is going fast",
        "description": "Of the requests that 99.9 % leave over for a month, a fiftieth goes within an hour, "
        "or a twentieth within six.",
    },
}
"""What a burst's alerts say."""


def recorded(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Every counter of the service as promtool's series: five minutes as it was before, then as it is after.

    What was not exposed before has no values before.
    """
    counters = re.compile(r"^(facet_(?:request_seconds_count|rejections_total))\{(.*)\} (\S+)$", re.MULTILINE)
    born = {(name, labels): value for name, labels, value in counters.findall(before)}
    for name, labels, value in counters.findall(after):
        old = born.get((name, labels))
        yield f'{name}{{job="facet",{labels}}}', ("_x5" if old is None else f"{old}x5") + f" {value}x10"


# Linters --------------------------------------------------------------------------------------------------------------


@linux
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    run(BIN / "hadolint", "--no-color", ROOT / "Dockerfile")


@linux
def test_shellcheck_finds_nothing_in_what_ci_runs() -> None:
    run(BIN / "shellcheck", ROOT / ".ci/run")


@linux
@pytest.mark.parametrize("arguments", [(), ("--no-interpolate",)])
def test_compose_reads_its_file(arguments: tuple[str, ...]) -> None:
    config = json.loads(run(BIN / "docker-compose", "--project-directory", ROOT, "config", "--format", "json", *arguments))
    assert set(config["services"]) == {"facet", "prometheus", "alertmanager", "grafana"}


@linux
def test_the_service_can_be_started_alone() -> None:
    """What `docker compose up facet` starts: the service and whatever it depends on, which is nothing."""
    config = json.loads(run(BIN / "docker-compose", "--project-directory", ROOT, "config", "--format", "json", "facet"))
    assert set(config["services"]) == {"facet"}


@linux
@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("vendor.github-workflows", ".github/workflows/*.yml"),
        ("vendor.dependabot", ".github/dependabot.yml"),
        ("vendor.compose-spec", "docker-compose.yml"),
    ],
)
def test_the_files_keep_to_their_schemas(schema: str, pattern: str) -> None:
    files = sorted(ROOT.glob(pattern))
    assert files
    run(BIN / "check-jsonschema", "--builtin-schema", schema, *files)


def test_promtool_accepts_the_configuration_and_the_rules(promtool: str) -> None:
    run(promtool, "check", "config", MONITORING / "prometheus.yml")
    run(promtool, "check", "rules", MONITORING / "alerts.yml")


def test_the_alerts_fire_when_they_should_and_not_otherwise(promtool: str) -> None:
    run(promtool, "test", "rules", *MONITORING.glob("*.test.yml"))


def test_amtool_accepts_where_the_alerts_go(amtool: str) -> None:
    run(amtool, "check-config", MONITORING / "alertmanager.yml")


@pytest.mark.parametrize(("severity", "receiver"), [("page", "page"), ("ticket", "ticket")])
def test_alertmanager_tells_pages_from_tickets(amtool: str, severity: str, receiver: str) -> None:
    configuration = f"--config.file={MONITORING / 'alertmanager.yml'}"
    assert run(amtool, "config", "routes", "test", configuration, f"severity={severity}", "job=facet").strip() == receiver


def test_alertmanager_silences_nothing_but_what_another_alert_says() -> None:
    """A page is never hidden, and every alert that is named is one."""
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in alerts()}
    document = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    for rule in document["inhibit_rules"]:
        assert rule["equal"] == ["namespace", "job", "service"]
        source, target = (re.findall(r"Facet\w+", rule[f"{side}_matchers"][0]) for side in ("source", "target"))
        assert {severities[name] for name in source} == {"page"}
        assert {severities[name] for name in target} == {"ticket"}


async def test_a_burst_just_after_the_start_is_seen(promtool: str, tmp_path: Path) -> None:
    """What the service exposes before its first failure, and after a burst of them, as Prometheus reads it."""
    async with serving(engine_factory(FailingNetwork())) as client:
        before = (await client.get("/metrics")).text
        for _ in range(20):
            assert (await client.post("/predict", content=RED)).status_code == 500
        after = (await client.get("/metrics")).text
    tests = {
        "rule_files": [str(MONITORING / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in recorded(before, after)],
                "alert_rule_test": [
                    {"eval_time": "5m", "alertname": name}
                    if minute == 5
                    else {
                        "eval_time": "9m",
                        "alertname": name,
                        "exp_alerts": [{"exp_labels": {"severity": "page", "job": "facet"}, "exp_annotations": NOTED[name]}],
                    }
                    for name in NOTED
                    for minute in (5, 9)
                ],
            }
        ],
    }
    path = tmp_path / "burst.test.yml"
    path.write_text(yaml.safe_dump(tests))
    run(promtool, "test", "rules", path)


# Alerts and dashboard -------------------------------------------------------------------------------------------------


def exposed() -> dict[str, set[str]]:
    """Labels of every series that the service exposes by its own collectors, `le` of buckets included."""
    found = {}
    for one in described():
        labels = set(one.labels)
        if one.kind == "histogram":
            found |= {f"{one.name}_bucket": labels | {"le"}, f"{one.name}_sum": labels, f"{one.name}_count": labels}
        else:
            found[one.name] = labels
    return found


def asked(promql: str) -> Iterator[tuple[str, set[str]]]:
    """Names of the service's series in a query, and the labels that each is selected by."""
    for name, selector in re.findall(r"\b(facet_[a-z_]+)(?:\{([^}]*)\})?", promql):
        yield name, set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', selector))


@pytest.mark.parametrize(
    ("title", "promql"), [*queries(), *((rule["alert"], rule["expr"]) for rule in alerts())], ids=lambda value: value[:40]
)
def test_a_query_asks_for_series_and_labels_that_exist(title: str, promql: str) -> None:
    series = exposed()
    for name, labels in asked(promql):
        assert name in series, title
        assert labels <= series[name] | {"namespace", "job", "instance"}, title


def test_every_series_stands_on_the_dashboard() -> None:
    shown = {re.sub("_(bucket|sum|count)$", "", name) for _, promql in queries() for name, _ in asked(promql)}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in exposed()} == shown


def test_the_dashboards_variables_choose_what_every_query_and_variable_looks_at() -> None:
    named = [one["name"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    assert named == ["namespace", "job", "instance"]
    chosen = [f'{name}=~"${name}"' for name in named]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            for series in re.findall(r"\b(?:facet|process)_\w+\{([^}]*)\}", target["expr"]):
                assert series.split(", ")[:3] == chosen, panel["title"]
    for place, one in enumerate(dashboard()["templating"]["list"][1:]):
        assert all(name in one["definition"] for name in chosen[:place])
        assert one["definition"] == one["query"]["query"]


def test_every_alert_counts_each_namespace_by_itself() -> None:
    """The job is `facet` in all of them."""
    aggregated = [labels for rule in alerts() for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"])]
    assert len(aggregated) > 10
    assert [labels for labels in aggregated if labels.split(", ")[:2] != ["namespace", "job"]] == []
    for rule in alerts():
        assert len(re.findall(r"\b(?:sum|count)\b", rule["expr"])) == len(re.findall(r"\b(?:sum|count) by \(", rule["expr"]))


def test_whatever_compares_shares_asks_for_numbers_first() -> None:
    comparing = {rule["alert"]: rule["expr"] for rule in alerts() if re.search(r"^ *\/ ", rule["expr"], re.MULTILINE)}
    assert {"FacetErrors", "FacetOverloaded", "FacetFramesFail", "FacetNoFaces", "FacetLabelsShift"} == set(comparing) - {
        "FacetCrashLoop"  # the smallest share is of a single replica
    }
    for name, promql in comparing.items():
        shares = re.findall(r"^ *\/ ", promql, re.MULTILINE)
        assert len(re.findall(r"\) > \d+\)", promql)) == len(shares), name


def test_alerts_and_dashboard_look_into_batches_and_streams() -> None:
    """A photo of a batch fails inside an answer of 200, and a frame inside its stream."""
    faults = {errors.InferenceError.code, errors.FacetError.code}
    load = {errors.QueueFull.code, errors.DeadlineExceeded.code}
    (shown,) = (promql for title, promql in queries() if title == "Failed B")
    looking = {rule["alert"]: rule["expr"] for rule in alerts()} | {"dashboard": shown}
    for name, codes in (("FacetErrors", faults), ("FacetOverloaded", load), ("dashboard", faults | load)):
        named = re.findall(r'facet_rejections_total\{[^}]*\bcode=~"([a-z_|]+)"', looking[name])
        assert len(named) == 2
        assert all(set(one.split("|")) == codes for one in named), name
        assert "facet_faces_per_image_count{" in looking[name]
    outcomes = set(re.findall(r'STREAM_FRAMES\.labels\("(\w+)"\)', (ROOT / "service/api/stream.py").read_text()))
    frames = [promql for promql in looking.values() if "facet_stream_frames_total" in promql]
    asked_for = [one for promql in frames for one in re.findall(r'\boutcome=~?"([a-z|]+)"', promql)]
    assert {one for names in asked_for for one in names.split("|")} == {"answered", "failed"} <= outcomes


def test_every_alert_is_tested_and_explained() -> None:
    tested = [test for path in MONITORING.glob("*.test.yml") for test in yaml.safe_load(path.read_text())["tests"]]
    cases = [case for test in tested for case in test["alert_rule_test"]]
    page = (ROOT / "docs/operations.md").read_text()
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}
        of_it = [case for case in cases if case["alertname"] == rule["alert"]]
        assert any(case.get("exp_alerts") for case in of_it), rule["alert"]
        assert any(not case.get("exp_alerts") for case in of_it), rule["alert"]
        assert f"\n### {rule['alert']}\n\n**{rule['labels']['severity'].capitalize()}.** " in page


def test_the_panels_have_their_own_ids_and_the_provisioned_source(compose: dict[str, Any]) -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    boxes = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y) for box in boxes for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(set(cells)) == len(cells), "two panels overlap"
    assert max(x for x, _ in cells) < 24
    (source,) = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    variables = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert variables["datasource"]["current"]["value"] == source["uid"]
    assert {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"} == {"${datasource}"}
    assert source["url"] == "http://prometheus:9090"
    mounted = {volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]}
    (provider,) = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/facet.yml").read_text())["providers"]
    assert provider["options"]["path"] in mounted
    home = Path(compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) in mounted
    assert (MONITORING / "grafana/dashboards" / home.name).is_file()


# Agreement ------------------------------------------------------------------------------------------------------------


def test_a_stop_may_take_as_long_as_the_service_needs(compose: dict[str, Any]) -> None:
    fields = Settings.model_fields
    needed = fields["drain_delay_s"].default + fields["shutdown_timeout_s"].default
    assert needed < int(compose["services"]["facet"]["stop_grace_period"].removesuffix("s"))


def test_the_image_brings_pythons_own_library_compiled() -> None:
    """Root does so, while the image is built; what runs later may write nothing. It leaves out what is no Python on purpose."""
    text = (ROOT / "Dockerfile").read_text()
    stage = text[text.index(" AS image\n") :]
    (program,) = re.findall(r'^RUN python -c "(.+?)"\n', stage.replace("\\\n", ""), re.MULTILINE)
    assert stage.index("compileall") < stage.index("\nUSER ")
    compile(program, "Dockerfile", "exec")
    assert "sysconfig.get_path('stdlib')" in program
    (left_out,) = re.findall(r"re\.compile\('(.+?)'\)", program)
    for path in ("test/test_ast.py", "lib2to3/tests/data/bom.py", "site-packages/pip/__init__.py", "ensurepip/__init__.py"):
        assert re.search(left_out, f"/usr/local/lib/python3.11/{path}"), path
    for path in ("asyncio/base_events.py", "json/__init__.py", "unittest/__init__.py", "email/message.py", "latest.py"):
        assert not re.search(left_out, f"/usr/local/lib/python3.11/{path}"), path


def test_the_port_is_the_same_everywhere(compose: dict[str, Any]) -> None:
    port = Settings.model_fields["port"].default
    facet = compose["services"]["facet"]
    assert f"EXPOSE {port}\n" in (ROOT / "Dockerfile").read_text()
    assert facet["environment"]["FACET_PORT"] == str(port)
    assert facet["ports"] == [f"${{PORT:-{port}}}:{port}"]
    assert f'targets: ["facet:{port}"]' in (MONITORING / "prometheus.yml").read_text()


def test_the_image_is_built_of_the_locks() -> None:
    """Every lock that the Dockerfile installs is there, hashed and without the build backend; the locks agree."""
    pins = {}
    for name in ("build", "serve", "tensorflow", "dev"):
        text = (ROOT / f"requirements/{name}.txt").read_text()
        pins[name] = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
        assert text.count("--hash=sha256:") >= len(pins[name])
    dockerfile = (ROOT / "Dockerfile").read_text()
    (default,) = re.findall(r"^ARG LOCK=(\S+)", dockerfile, re.MULTILINE)
    assert default == "serve"
    (locks,) = re.findall(r"^COPY (requirements/serve\.txt .+) \./$", dockerfile, re.MULTILINE)
    together: dict[str, str] = {}
    for lock in locks.split():  # any of them may be installed in one run, which wants one version of each package
        for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE):
            assert together.setdefault(package, version) == version, package
    assert {"s3fs", "opentelemetry-sdk"} <= set(together)
    written = [path for place in ("docs/*.md", "deploy/aws/**/*.*", ".github/workflows/*") for path in ROOT.glob(place)]
    given = re.findall(r'\bLOCK=(\w+|"[\w ]+")', "".join(path.read_text() for path in written))
    asked = {lock for one in given for lock in one.strip('"').split()}
    assert asked == {"many", "remote", "traces"}
    assert {f"requirements/{lock}.txt" for lock in asked} <= set(locks.split())
    for name in ("build", "serve", "tensorflow"):
        assert f"requirements/{name}.txt" in dockerfile
        assert pins[name].items() <= pins["dev"].items()
    assert dockerfile.count("pip install") + dockerfile.count("python install") == 4
    assert dockerfile.count("--require-hashes") == 3
    assert "hatchling" in pins["build"]
    assert "hatchling" not in pins["serve"]
    assert "openvino" in pins["serve"]
    assert {"openvino", "hatchling"}.isdisjoint(pins["tensorflow"])
    assert {"tensorflow", "tensorflow-cpu"} <= set(pins["tensorflow"])


# Releases -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """.ci/release.py."""
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci/release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHANGELOG = """# Changelog

## [1.2.0] - 2026-01-31

### Added

- A thing.

## [1.1.0] - Unreleased

- Another.
"""


def test_the_notes_are_the_changelogs_section(release: ModuleType) -> None:
    assert release.notes("v1.2.0", "1.2.0", CHANGELOG) == "### Added\n\n- A thing.\n"


@pytest.mark.parametrize(
    ("tag", "version", "says"),
    [("v1.2.1", "1.2.0", "not that of the version"), ("v1.1.0", "1.1.0", "no date"), ("v1.2", "1.2", "no section")],
)
def test_a_release_needs_tag_version_and_a_dated_section(release: ModuleType, tag: str, version: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        release.notes(tag, version, CHANGELOG)


def test_the_version_of_this_checkout_stands_in_its_changelog() -> None:
    """A tag of it is refused for its missing date at most; any other tag is refused as another version's."""
    command = [sys.executable, str(ROOT / ".ci/release.py"), "v0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    version = re.search(r"pyproject\.toml, (\S+)", done.stderr)
    assert version is not None
    assert f"## [{version[1]}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_no_workflow_has_more_rights_than_it_needs() -> None:
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] in ({}, {"contents": "read"})
        for name, job in workflow["jobs"].items():
            assert "uses" in job or job["timeout-minutes"] <= 90, name
            for step in job.get("steps", []):
                assert "${{" not in step.get("run", ""), f"{name}: what others write must not become shell"
                if "checkout" in step.get("uses", ""):
                    assert step["with"]["persist-credentials"] is False


def jobs(workflow: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows" / workflow).read_text())["jobs"]
    return found


def steps(workflow: str, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = jobs(workflow)[job]["steps"]
    return found


def test_a_release_takes_its_notes_and_boms_and_no_record_of_a_build() -> None:
    """Such a record is an artifact that download-artifact cannot unpack."""
    builds = [step for step in steps("image.yml", "image") if "build-push-action@" in step.get("uses", "")]
    assert [build["env"] for build in builds] == 2 * [{"DOCKER_BUILD_RECORD_UPLOAD": "false"}]
    (download,) = (step for step in steps("release.yml", "release") if "download-artifact@" in step.get("uses", ""))
    (notes,) = (step["with"]["name"] for step in steps("release.yml", "notes") if "upload-artifact@" in step.get("uses", ""))
    (bom,) = (step["with"]["artifact-name"] for step in steps("image.yml", "image") if "sbom-action@" in step.get("uses", ""))
    patterns = download["with"]["pattern"].strip("{}").split(",")
    assert all(any(fnmatch.fnmatchcase(name, one) for one in patterns) for name in (notes, bom))
    assert not any(fnmatch.fnmatchcase("facet-project~facet~ABC123.dockerbuild", one) for one in patterns)


def test_to_go_back_waits_for_no_tests_and_no_commit_overtakes_a_newer_one() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())
    assert "concurrency" not in workflow
    assert workflow["jobs"]["deploy"]["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    tested = workflow["jobs"]["test"]["concurrency"]
    assert tested == {"group": "deploy-test-${{ inputs.image || 'commits' }}", "cancel-in-progress": False}
    assert "deploy/aws/deploy.sh --image REPOSITORY@" in (ROOT / "docs/aws.md").read_text()


def test_every_week_the_newest_release_is_built_again_and_tried_before_it_is_pushed() -> None:
    weekly = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text())
    assert re.fullmatch(r"\d+ \d+ \* \* \d", weekly[True]["schedule"][0]["cron"])  # YAML 1.1 reads `on` as true
    again, first = weekly["jobs"]["image"], jobs("release.yml")["image"]
    assert again["uses"] == first["uses"] == "./.github/workflows/image.yml"
    assert again["permissions"] == first["permissions"]
    assert again["with"] == {"tag": "${{ needs.newest.outputs.tag }}"}
    built = steps("image.yml", "image")
    assert built[0]["with"]["ref"] == "${{ inputs.tag }}"
    tried, pushed = (at for at, step in enumerate(built) if "build-push-action@" in step.get("uses", ""))
    assert built[tried]["with"]["pull"] is True
    assert built[tried]["with"].get("push") is None
    assert built[tried]["with"]["tags"] in built[tried + 1]["run"]
    assert built[tried]["with"]["build-args"] == built[pushed]["with"]["build-args"]
    assert built[pushed]["with"]["push"] is True


def test_every_week_every_lock_is_audited() -> None:
    assert any(step.get("run") == "make audit" for step in steps("weekly.yml", "audit"))
    command = run("make", "--no-print-directory", "--directory", ROOT, "--dry-run", "audit")
    audited = set(re.findall(r"--requirement requirements/(\S+)\.txt", command[command.index("pip-audit") :]))
    pinned = {path.stem for path in (ROOT / "requirements").glob("*.txt") if "--hash=" in path.read_text()}
    assert audited == pinned


def test_dependabot_can_move_the_base() -> None:
    """It reads images in lines that begin with FROM, and no argument."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    images = dict(re.findall(r"^FROM ([a-z][\w./-]*:[\w.-]+)(?: AS (\S+))?$", dockerfile, re.MULTILINE))
    (base,) = re.findall(r"^ARG BASE=(\S+)", dockerfile, re.MULTILINE)
    assert base in images.values()
    document = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())
    assert {"docker", "pip"} <= {one["package-ecosystem"] for one in document["updates"]}


def test_a_workflow_uses_what_others_wrote_by_its_commit() -> None:
    """A tag can be moved to other code; a commit cannot."""
    used = [one for path in (ROOT / ".github/workflows").glob("*.yml") for one in re.findall(r"uses: (.+)", path.read_text())]
    others = [one for one in used if not one.startswith("./")]
    assert others
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", one) for one in others), others
    assert len({one for one in others if "checkout@" in one}) == 1
