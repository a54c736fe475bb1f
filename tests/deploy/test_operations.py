"""The operator's page names every setting, metric and alert that there is, and none that there is not."""

from __future__ import annotations

import re

import pytest
import yaml

from service.settings import Settings
from tests.client import ROOT
from tests.collectors import described
from tests.deploy.files import manifest
from tests.deploy.monitoring import queries

PAGE = (ROOT / "docs/operations.md").read_text()
PAGES = ["operations.md", "kubernetes.md", "aws.md"]

METRICS = {one.name for one in described()}


def section(title: str) -> str:
    """What stands below a heading of the second order."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_every_setting_stands_in_one_group() -> None:
    named = re.findall(
        r"`(FACET_[A-Z_]+)`", "\n".join(line.split("|")[2] for line in section("Settings").splitlines() if "|" in line)
    )
    assert sorted(named) == sorted(f"FACET_{name.upper()}" for name in Settings.model_fields)


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_setting_that_is_not_there(page: str) -> None:
    named = set(re.findall(r"\bFACET_[A-Z_]+", (ROOT / "docs" / page).read_text()))
    ours = {f"FACET_{name.upper()}" for name in Settings.model_fields}
    # One is a variable of the workflow, named so because it is Facet's.
    assert named <= ours | {"FACET_URL"}
    assert ("FACET_URL" in named) == (page == "aws.md")


def test_every_metric_has_its_row() -> None:
    rows = re.findall(r"^\| `(facet_[a-z_]+)` \|", section("Metrics"), re.MULTILINE)
    assert sorted(rows) == sorted(METRICS)
    assert set(re.findall(r"\bfacet_[a-z_]+", PAGE)) <= METRICS


def test_every_alert_has_its_heading_and_its_advice() -> None:
    groups = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    described = re.findall(r"^### (\w+)\n\n(.+?)(?=^#|\Z)", section("Alerts"), re.MULTILINE | re.DOTALL)
    assert sorted(name for name, _ in described) == sorted(alerts)
    assert all(len(advice) > 60 for _, advice in described)


def test_the_page_names_what_the_autoscaler_reads_its_metrics_from() -> None:
    """A cluster need not have either."""
    page = (ROOT / "docs/kubernetes.md").read_text()
    (cpu,) = manifest("base/horizontalpodautoscaler.yaml")["spec"]["metrics"]
    assert cpu["type"] == "Resource"
    assert "metrics-server" in page[: page.index("\n## ")]
    assert "metrics-server" in section("Troubleshooting")
    before = page[: page.index("helm upgrade")]
    assert "helm repo add prometheus-community" in before
    assert "helm get values prometheus-adapter" in before[before.index("**Queue depth.**") :]


def test_alerts_ask_for_the_job_that_the_cluster_gives_and_for_metrics_that_there_are() -> None:
    """The job is the value of a label that every object of the base gets, whatever the Service is called."""
    text = (ROOT / "deploy/monitoring/alerts.yml").read_text()
    label = manifest("components/monitoring/servicemonitor.yaml")["spec"]["jobLabel"]
    (given,) = (one["pairs"][label] for one in manifest("base/kustomization.yaml")["labels"] if label in one["pairs"])
    assert set(re.findall(r'job="(\w+)"', text)) == {given}
    expressions = " ".join(rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"])
    asked = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\bfacet_\w+(?=\{)", expressions)}
    assert asked
    assert asked <= METRICS


def test_what_counts_photos_counts_no_preflight() -> None:
    """A browser asks by OPTIONS before it sends a photo to another host, and has its 200 within a millisecond."""
    texts = [(ROOT / "deploy/monitoring/alerts.yml").read_text(), *(query for _, query in queries())]
    selectors = re.findall(r'facet_request_seconds_\w+\{([^}]*route=~?"/\(?predict[^}]*)\}', "\n".join(texts))
    assert len(selectors) > 40
    assert all('method="POST"' in one for one in selectors)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_that_a_page_names_are_there(page: str) -> None:
    path = ROOT / "docs" / page
    text = path.read_text()
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        other = (path.parent / name) if name else path
        assert other.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)
            assert anchor in {title.lower().replace(" ", "-") for title in titles}, target
    for name in set(re.findall(r"\b(?:deploy|benchmarks|examples)/[\w./-]*\w", text)):
        assert (ROOT / name).exists(), name
