"""The pages of docs/reference say what the code does: `make reference` makes their tables, and this holds them to it."""

from __future__ import annotations

import json
import os
import re

import pytest
from pydantic import BaseModel

from service import errors
from service.api.schemas import BatchAnswer, Health, Problem
from service.models.card import ModelCard, Serving
from service.models.evaluation import Evaluation
from service.settings import OF_SCRIPTS, Settings
from tests.client import blank_rows, png, serving
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


def test_a_command_is_there_by_its_name_and_not_by_a_former_one() -> None:
    named = set(re.findall(r"^### `python -m training (.+)`$", (DOCS / "reference/cli.md").read_text(), re.MULTILINE))
    assert "distill" in named
    assert not named & {"teach", "adopt", "hints"}


def test_a_problems_meaning_names_nothing_that_no_answer_has() -> None:
    meanings = [row[2] for row in rows("reference/problems.md", "[a-z0-9_]+")]
    assert {name for one in meanings for name in re.findall("`([a-z_]+)`", one)} <= set(Problem.model_fields)


def test_every_name_that_is_left_alone_is_said() -> None:
    said = (DOCS / "reference/settings.md").read_text().partition("Left alone are ")[2].partition(", by which")[0]
    assert set(re.findall(r"`FACET_(\w+)`", said)) == OF_SCRIPTS


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


async def test_the_answers_of_other_routes_are_what_they_are_shown_to_be() -> None:
    batch, health = map(json.loads, re.findall(r"```json\n(.+?)```", (DOCS / "reference/api.md").read_text(), re.DOTALL))
    assert BatchAnswer.model_validate(batch).model_dump(exclude_none=True) == batch
    assert Health.model_validate(health).model_dump(exclude_none=True) == health
    async with serving() as client:
        files = [("file", png(64, 64, pixels=blank_rows(64, 64))), ("file", b"# no picture")]
        sent = (await client.post("/predict/batch", files=files)).json()["results"]
        assert [set(one) for one in sent] == [set(one) for one in batch["results"]]
        assert [one["status"] for one in sent] == [one["status"] for one in batch["results"]]
        assert sent[1]["problem"] | {"request_id": ""} == batch["results"][1]["problem"] | {"request_id": ""}
        for route in ("/health", "/health/live", "/health/ready"):
            assert list((await client.get(route)).json()) == list(health)


def test_the_fields_of_a_model_are_those_of_its_card() -> None:
    table = (DOCS / "reference/api.md").read_text().partition("| field of `GET /model` |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z_.]+)`", row.split("|")[1])]
    assert len(named) > 12
    parts: dict[str, type[BaseModel]] = {"": ModelCard, "evaluation": Evaluation, "serving": Serving}
    for name in named:
        part, _, field = name.rpartition(".")
        assert not parts[part].model_fields[field].deprecated, name


def test_marks_that_are_missing_are_an_error() -> None:
    with pytest.raises(ValueError, match="no marks for gold"):
        filled("# A page", "gold", "a table")
