"""What people install: the words that say how, what wheel and source distribution hold, and a `facet` that works from them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import venv
import zipfile
from importlib import metadata
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from service import __version__
from service.extras import ROOT, install_command
from service.models.store import ModelStore
from service.settings import DEFAULT_STORE, Settings

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAME = PROJECT["project"]["name"]
EXTRAS = PROJECT["project"]["optional-dependencies"]


# Words ----------------------------------------------------------------------------------------------------------------


def test_the_version_is_that_of_the_distribution() -> None:
    assert NAME == "facet-service"
    assert __version__ == version(NAME) == PROJECT["project"]["version"]


def listed() -> list[Path]:
    """Every text file of the repository that people read or run."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    kept = {".md", ".py", ".toml", ".txt", ".yaml", ".yml", ".sh", ".html", ".js", ""}
    paths = (ROOT / name for name in done.stdout.decode().split("\0") if name)
    return [path for path in paths if path.suffix in kept and path.is_file() and "model_store" not in path.parts]


def test_nobody_is_told_to_install_a_stranger() -> None:
    """`facet` in a package registry is another project."""
    stranger = re.compile(r"(?:pipx?|uvx?)[^\n]* install[^\n]*\bfacet(?:\[|\s|\"|$)|\bfacet" + r"\[[a-z-]+\]", re.MULTILINE)
    for path in listed():
        assert path == Path(__file__) or stranger.findall(path.read_text()) == [], path


def test_documents_name_extras_with_the_place_that_they_come_from() -> None:
    """The distribution is in no index of packages: its bare name would be looked up there."""
    bare = re.compile(r"install[^\n]*\bfacet-service(?:\[[a-z-]+\])?[\"'`\s]*(?!\s*@)(?:[)\n]|$)")
    for path in listed():
        assert path.suffix != ".md" or bare.findall(path.read_text()) == [], path


def test_contributors_find_every_lock_and_users_every_extra() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text()
    locks = {path.name for path in (ROOT / "requirements").glob("*.txt") if "--hash=" in path.read_text()}
    assert sorted(name for name in locks if f"`{name}`" not in table) == []
    words = (ROOT / "docs/install.md").read_text()
    assert sorted(extra for extra in EXTRAS if extra not in ("dev", "tensorflow") and extra not in words) == []


def test_a_checkout_adds_an_extra_from_a_lock_and_an_installation_by_pip(tmp_path: Path) -> None:
    assert install_command("video") == "make extra EXTRA=video"
    assert install_command("video", tmp_path) == 'pip install "facet-service[video]"'
    recorded = tmp_path / "facet_service-0.1.0.dist-info"
    recorded.mkdir()
    (recorded / "METADATA").write_text("Metadata-Version: 2.1\nName: facet-service\nVersion: 0.1.0\n")
    assert install_command("video", tmp_path) == 'pip install "facet-service[video]"'
    wheel = "file:///tmp/dist/facet_service-0.1.0-py3-none-any.whl"
    (recorded / "direct_url.json").write_text(json.dumps({"url": wheel, "archive_info": {}}))
    assert install_command("video", tmp_path) == f'pip install "facet-service[video] @ {wheel}"'
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^EXTRAS := (.+)$", makefile, re.MULTILINE)
    sources = "".join(path.read_text() for path in listed() if path.suffix == ".py")
    named = set(re.findall(r"install_command\([\"']([a-z-]+)[\"']\)", sources))
    assert len(named) >= 4
    assert named <= set(targets.split()) <= set(EXTRAS)
    help_line = next(line for line in makefile.splitlines() if line.startswith("extra:"))
    assert sorted(re.findall(r"EXTRA=([a-z|-]+)", help_line)[0].split("|")) == targets.split()


def test_make_refuses_an_extra_that_it_does_not_know() -> None:
    done = subprocess.run(
        ["make", "--assume-old=.venv/serve.stamp", "extra", "EXTRA=gold"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "make extra EXTRA=NAME, where NAME is one of: bench face-embeddings" in done.stderr


def test_make_serves_on_the_port_that_is_asked_for_or_set() -> None:
    serve = ["make", "--dry-run", "--assume-old=.venv/serve.stamp", "serve"]
    environment = {name: value for name, value in os.environ.items() if name != "PORT"}
    for words, options in ([], ""), (["PORT=9000"], "--port 9000"):  # without one FACET_PORT says it, or 8000
        done = subprocess.run([*serve, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1].partition("facet serve")[2].strip() == options


def test_what_make_runs_writes_bytecode_where_the_image_forbids_it() -> None:
    asked = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    show = ["make", "--silent", "--eval=environment: ; @env", "environment"]
    done = subprocess.run(show, cwd=ROOT, env=asked, capture_output=True, text=True, check=True)
    assert "PATH=" in done.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in done.stdout


def pins(lock: str) -> dict[str, str]:
    """Versions by name of a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / f"requirements/{lock}.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize("extra", re.findall(r"^EXTRAS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split())
def test_the_lock_of_an_extra_adds_to_the_others(extra: str) -> None:
    """Its packages are there with hashes, at the versions of the other locks, and what reports home is not."""
    locked = pins(extra)
    text = (ROOT / f"requirements/{extra}.txt").read_text()
    assert text.count("--hash=sha256:") >= len(locked)
    assert pins("serve").items() <= locked.items()
    assert all(version == locked[name] for name, version in pins("dev").items() if name in locked)
    assert {re.split(r"[>=\[;]", need)[0] for need in EXTRAS[extra]} - {NAME} <= set(locked)
    assert "openvino-telemetry" not in locked


def test_the_notice_names_the_licence_of_every_package_that_serves() -> None:
    """As its own metadata does, where these say it in one expression."""
    notice = (ROOT / "NOTICE").read_text()
    named = dict(re.findall(r"^([a-z0-9-]+): (.+)$", notice, re.MULTILINE))
    for package in pins("serve"):
        assert named[package]
        with contextlib.suppress(metadata.PackageNotFoundError):
            found = metadata.metadata(package).get("License-Expression")
            assert found is None or named[package] == found or package == "pi-heif", package
    assert "Permission is hereby granted" in notice


# Content --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution; the wheel is built from the other one, as `python -m build` does."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "sdist")
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    build(folder / sdist.name.removesuffix(".tar.gz"), folder, "wheel")
    (wheel,) = folder.glob("*.whl")
    return wheel, sdist


def build(source: Path, folder: Path, target: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder],
        cwd=source,
        check=True,
        capture_output=True,
    )


def committed(*folders: str) -> set[str]:
    """Files below folders of the repository."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return {name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()}


MODELS = ("model_store/mobilenet/5", "model_store/centerface/2")
VARIANTS = tuple(f"{model}/int8" for model in MODELS)


def test_type_checkers_read_both_packages() -> None:
    """PEP 561: the classifier alone tells a type checker nothing."""
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
    assert all((ROOT / package / "py.typed").is_file() for package in ("service", "training"))


def test_the_wheel_holds_two_packages_and_the_default_models(dist: tuple[Path, Path]) -> None:
    wheel, _ = dist
    with zipfile.ZipFile(wheel) as archive:
        content = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = [name.rpartition("/")[2] for name in archive.namelist() if ".dist-info/" in name]
        (commands,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert content == committed("service", "training") | {
        f"service/{name}" for name in committed(*MODELS) - committed(*VARIANTS)
    }
    assert sorted(metadata) == ["LICENSE", "METADATA", "NOTICE", "RECORD", "WHEEL", "entry_points.txt"]
    assert commands.split() == ["[console_scripts]", "facet", "=", "service.cli:main"]
    assert wheel.stat().st_size < 15_000_000


def test_the_source_distribution_holds_no_tests_no_documents_and_no_data(dist: tuple[Path, Path]) -> None:
    _, sdist = dist
    with tarfile.open(sdist) as archive:
        content = {name.partition("/")[2] for name in archive.getnames()}
    around = {"CHANGELOG.md", "LICENSE", "NOTICE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    assert content == committed("service", "training", *MODELS) - committed(*VARIANTS) | around


def test_the_models_that_travel_are_those_that_are_served_by_default() -> None:
    store = ModelStore(ROOT / "model_store")
    settings = Settings.model_construct()
    assert set(MODELS) == {f"model_store/{name}/{store.versions(name)[-1]}" for name in (settings.model, settings.detector)}
    assert DEFAULT_STORE == ROOT / "model_store"


def test_an_archive_of_the_repository_leaves_tests_and_documents_out() -> None:
    paths = ["tests", "docs", "benchmarks", ".ci", "service", "model_store", "README.md"]
    done = subprocess.run(["git", "check-attr", "export-ignore", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.endswith(": set") for line in done.stdout.splitlines()] == [True, True, True, True, False, False, False]


# Installed ------------------------------------------------------------------------------------------------------------


def environment(folder: Path, *install: str | Path) -> Path:
    """Folder of the programs of a new virtual environment with what pip installs."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin/python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check", "install", *install],
        check=True,
        timeout=540,
    )
    return python.parent


def plain_environment() -> dict[str, str]:
    """This process's environment without settings and without anything that would lead Python to the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("FACET_", "PYTHON"))}


def assert_it_answers(programs: Path, folder: Path) -> None:
    """`facet`, run in a folder that is no checkout, predicts and serves."""
    photo, env = ROOT / "examples/obama.jpg", plain_environment()
    done = subprocess.run(
        [programs / "facet", "predict", "--json", photo],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == {"name": "mobilenet", "version": 5}
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(
            [programs / "facet", "serve", "--host", "127.0.0.1", "--port", "0"],
            cwd=folder,
            env=env | {"FACET_DRAIN_DELAY_S": "0"},
            stdout=log,
            stderr=log,
        )
        try:
            url = None
            deadline = time.monotonic() + 120
            while url is None:
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
                url = re.search(r"http://127\.0\.0\.1:\d+", (folder / "log").read_text())
            answer = httpx.post(f"{url[0]}/predict", content=photo.read_bytes(), timeout=60)
            assert len(answer.json()["faces"]) == 1
        finally:
            server.terminate()
            assert server.wait(60) == 0


def test_the_wheel_works_without_the_checkout(dist: tuple[Path, Path], tmp_path: Path) -> None:
    """Its dependencies are lent by the environment of the tests, whose link to the checkout a path alone does not follow."""
    programs = environment(tmp_path / "venv", "--no-index", "--no-deps", dist[0])
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert_it_answers(programs, tmp_path)
    empty = plain_environment() | {"FACET_MODEL_STORE": str(tmp_path / "absent")}
    done = subprocess.run([programs / "facet", "models"], cwd=tmp_path, env=empty, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "There are no models in" in done.stderr
    prepare = [programs / "python", "-m", "training", "prepare", "--data", "absent"]
    done = subprocess.run(prepare, cwd=tmp_path, env=plain_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No such file or directory: 'absent'" in done.stderr  # and not that there is no detector


@pytest.mark.registry
def test_pip_installs_all_that_it_needs(dist: tuple[Path, Path], tmp_path: Path) -> None:
    """By the wheel's own metadata; the versions are those of the lock, so that a new release elsewhere breaks nothing."""
    versions = tmp_path / "versions.txt"
    versions.write_text("".join(f"{name}=={version}\n" for name, version in pins("serve").items()))
    assert_it_answers(environment(tmp_path / "venv", "--constraint", versions, dist[0]), tmp_path)
