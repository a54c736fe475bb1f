"""The README says what the code does: settings, metrics and problems stand in its tables, one row each, and no other."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram
from pydantic import SecretStr

from service import errors, metrics
from service.api import problems
from service.errors import FacetError
from service.settings import Settings
from tests.client import ROOT, serving

README = (ROOT / "README.md").read_text()


def rows(first: str) -> list[list[str]]:
    """Cells of every table row whose first cell is code that matches `first`."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines() if line.startswith("| `")]
    return [row for row in cells if re.fullmatch(f"`{first}`", row[0])]


def shown(default: object) -> str:
    """A setting's default as the environment would give it."""
    if isinstance(default, Path):
        return f"`{default.name}/` of the checkout"
    if isinstance(default, tuple):
        default = ",".join(one.get_secret_value() if isinstance(one, SecretStr) else str(one) for one in default)
    if isinstance(default, Enum):
        default = default.value
    if isinstance(default, bool):
        default = str(default).lower()
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return "not set" if default in (None, "") else f"`{default}`"


def test_every_setting_has_its_row_with_its_default_and_its_meaning() -> None:
    expected = [
        [f"`FACET_{name.upper()}`", shown(field.default), field.description] for name, field in Settings.model_fields.items()
    ]
    assert rows("FACET_[A-Z_]+") == expected


def test_the_defaults_are_what_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FACET_")]:
        monkeypatch.delenv(name)
    for name, default, _ in rows("FACET_[A-Z_]+"):
        if default.startswith("`") and default.endswith("`"):
            monkeypatch.setenv(name.strip("`"), default.strip("`"))
    assert Settings() == Settings.model_construct()


def test_every_metric_has_its_row_with_its_labels_and_its_meaning() -> None:
    expected = []
    for collector in vars(metrics).values():
        if isinstance(collector, Counter | Gauge | Histogram):
            name = collector._name + ("_total" if isinstance(collector, Counter) else "")
            labels = f"{{{', '.join(collector._labelnames)}}}" if collector._labelnames else ""
            expected.append([f"`{name}{labels}`", collector._documentation])
    assert len(expected) >= 10
    assert rows(r"facet_[a-z_]+(\{.*\})?") == expected


def answered(kind: type[FacetError]) -> Iterator[tuple[str, str]]:
    """Codes and statuses of an error and of all below it; what a model is refused for never reaches a client."""
    if not issubclass(kind, errors.ModelError):
        yield kind.code, str(next(problems.STATUS[above] for above in kind.__mro__ if above in problems.STATUS))
    for below in kind.__subclasses__():
        yield from answered(below)


def test_every_problem_has_its_row_with_its_status() -> None:
    of_http = {("not_found", "404"), ("method_not_allowed", "405"), ("http_error", "4xx")}
    table = [row for row in rows("[a-z0-9_]+") if re.fullmatch("[1-5][0-9x]{2}", row[1])]
    assert {(code.strip("`"), status) for code, status, _ in table} == set(answered(FacetError)) | of_http
    assert len(table) == len({row[0] for row in table})
    assert all(len(row) == 3 and row[2] for row in table)


async def test_every_path_and_every_wish_is_explained() -> None:
    async with serving() as client:
        document = (await client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"`{method.upper()} {path}`" in README
            for parameter in operation.get("parameters", []):
                assert rows(parameter["name"] + "=.*"), parameter["name"]


# The registry in use is a matter of each machine: a host in a lock file would bind everybody to one.
HOSTS = re.compile(
    "|".join(["pypi" + r"\.org", "pythonhosted" + r"\.org", "--" + "index-url", "--" + "extra-index-url", "npmjs" + r"\.org"])
)


def test_no_file_names_the_host_of_a_package_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    files = [ROOT / name for name in listed.split("\0") if name]
    assert ROOT / "pyproject.toml" in files
    naming = []
    for path in files:
        if path.is_file() and path.stat().st_size < 5_000_000:
            text = path.read_bytes()
            if b"\0" not in text[:8000] and HOSTS.search(text.decode("utf-8", "replace")):
                naming.append(str(path.relative_to(ROOT)))
    assert naming == []
