"""`GET /model` is a typed document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.models.card import ModelCard
from service.models.evaluation import EVALUATION
from service.models.store import ModelStore
from tests.client import Client, serving
from tests.fakes import shipped


@pytest.mark.parametrize("name", ["mobilenet", "inceptionv3", "mobilefacenet"])
async def test_the_card_of_every_shipped_model_fits_its_schema(root: Path, name: str) -> None:
    """Nothing of it is lost by its schema, and what stood there before attributes were declared still does."""
    version = ModelStore(root / "model_store").versions(name)[-1]
    async with serving(shipped(root, name)) as client:
        card = (await client.get("/model")).json()
    recorded = json.loads((root / "model_store" / name / str(version) / EVALUATION).read_text())
    assert list(card["evaluation"].items()) == list(recorded.items())
    document = ModelCard.model_validate(card).model_dump(mode="json", exclude_unset=True)
    assert document.keys() == card.keys()
    assert document["attributes"] == card["attributes"]
    assert document["evaluation"]["headline"] == card["quality"]["headline"]
    assert [one["name"] for one in card["attributes"]] == ["age", "gender", "race"]
    assert card["outputs"] == ["age", "age_distribution", "gender", "race"]


async def test_an_attribute_that_is_allowed_twice_is_named_once() -> None:
    async with serving(attributes="age,age") as client:
        assert (await client.get("/model")).json()["serving"]["attributes"] == ["age"]


async def test_the_document_of_the_api_has_its_schema(client: Client) -> None:
    document = (await client.get("/openapi.json")).json()
    answer = document["paths"]["/model"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/ModelCard"}
    card = document["components"]["schemas"]["ModelCard"]["properties"]
    assert {"attributes", "evaluation", "digest", "serving"} <= set(card)
    assert card["quality"]["deprecated"] is True
