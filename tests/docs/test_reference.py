"""The pages of docs/reference say what the code does: `make reference` makes their tables, and this holds them to it."""

from __future__ import annotations

import os
import re

import pytest

from service import errors
from service.settings import Settings
from tests.client import serving
from tests.docs import tables
from tests.docs.tables import DOCS, PARTS, filled


@pytest.mark.parametrize("name", PARTS)
def test_a_page_is_what_is_made_of_the_code(name: str) -> None:
    place, make = PARTS[name]
    page = (DOCS / place).read_text()
    assert page == filled(page, name, make()), f"`make reference` brings docs/{place} up to date"


def rows(page: str, first: str) -> list[list[str]]:
    """Cells of every row of a page whose first cell is code that matches `first`."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if re.fullmatch(f"`{first}`", row[0])]


def test_nothing_that_the_code_has_is_left_out() -> None:
    assert len(rows("reference/settings.md", "FACET_[A-Z_]+")) == len(Settings.model_fields)
    assert len(rows("reference/metrics.md", r"facet_[a-z_]+(\{.*\})?")) >= 15
    codes = {row[0].strip("`") for row in rows("reference/problems.md", "[a-z0-9_]+")}
    assert {kind.code for kind in tables.answered()} | set(tables.OF_HTTP) == codes
    assert errors.ModelNotFound.code not in codes


def test_the_defaults_are_what_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FACET_")]:
        monkeypatch.delenv(name)
    for name, default, _ in rows("reference/settings.md", "FACET_[A-Z_]+"):
        if default.startswith("`") and default.endswith("`"):
            monkeypatch.setenv(name.strip("`"), default.strip("`"))
    assert Settings() == Settings.model_construct()


async def test_every_route_and_every_query_value_is_explained() -> None:
    page = (DOCS / "reference/api.md").read_text()
    async with serving() as client:
        document = (await client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"`{method.upper()} {path}`" in page
            for parameter in operation.get("parameters", []):
                assert rows("reference/api.md", parameter["name"] + "=.*"), parameter["name"]


def test_marks_that_are_missing_are_an_error() -> None:
    with pytest.raises(ValueError, match="no marks for gold"):
        filled("# A page", "gold", "a table")
