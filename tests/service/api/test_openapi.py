"""The OpenAPI document goes by the attributes of the model that is served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.api.schemas import TrackedFace
from service.inference.attributes import CONTRACT
from service.models.manifest import RESERVED, Attribute
from service.video.annotate import TrackRow
from service.vision.quality import Quality, warnings
from tests.client import assert_problem, serving
from tests.fakes import GLASSES, attributes, engine_factory, shipped

WEIGHT = {"name": "weight", "kind": "expectation", "outputs": ["weight"], "range": [40, 140], "unit": "kg"}


async def document(engine: Any = None) -> Any:
    async with serving(engine) as client:
        return (await client.get("/openapi.json")).json()


async def test_an_attribute_is_a_property_of_a_face_by_its_own_name() -> None:
    declared = [*attributes(("a", "b", "c", "d", "e")), GLASSES, WEIGHT]
    made, plain = await document(engine_factory(attributes=declared)), await document()
    for name in ("FaceAnswer", "TrackedFace"):
        theirs, ours = made["components"]["schemas"][name], plain["components"]["schemas"][name]
        label = {"anyOf": [{"$ref": "#/components/schemas/LabelAnswer"}, {"type": "null"}]}
        number = {"anyOf": [{"$ref": "#/components/schemas/ExpectationAnswer"}, {"type": "null"}]}
        changed = {"race": label | {"description": "Labels: a, b, c, d, e."}}
        added = {
            "glasses": label | {"description": "Labels: no, yes."},
            "weight": number | {"description": "From 40 to 140 kg."},
        }
        assert theirs == ours | {"properties": ours["properties"] | changed | added}
    for path in ("/predict", "/predict/batch"):
        (query,) = [one for one in made["paths"][path]["post"]["parameters"] if one["name"] == "attributes"]
        assert query["description"] == "Comma-separated: age, gender, race, glasses, weight. What is not named is left out."


async def test_a_document_is_made_once_for_each_model() -> None:
    """Ten milliseconds of the event loop for each request of anybody, without a key, would keep photos waiting."""
    async with serving() as client:
        first = client.app.openapi()
        assert client.app.openapi() is first
        client.app.state.engine = replace(client.engine, model=replace(client.engine.model, digest="1" * 64))
        assert client.app.openapi() is not first


async def test_the_summary_promises_what_is_answered() -> None:
    weighed = engine_factory(attributes=[attributes()[0], WEIGHT | {"range": [0, 5_000_000]}])
    for engine, settings, named, summary in (
        (None, {}, "age, gender, race", "Age, gender and race of every face in a photo"),
        (None, {"attributes": ("age",)}, "age", "Age of every face in a photo"),
        (weighed, {}, "age, gender, race, weight", "Age and weight of every face in a photo"),
    ):
        async with serving(engine, **settings) as client:
            made = (await client.get("/openapi.json")).json()
        assert made["paths"]["/predict"]["post"]["summary"] == summary
        (query,) = [one for one in made["paths"]["/predict"]["post"]["parameters"] if one["name"] == "attributes"]
        assert query["description"] == f"Comma-separated: {named}. What is not named is left out.", "another one is refused"
    described = made["components"]["schemas"]["FaceAnswer"]["properties"]["weight"]["description"]
    assert described == "From 0 to 5000000 kg."


async def test_operations_have_short_names_and_say_how_a_key_is_sent() -> None:
    async with serving(api_keys=("right",)) as client:
        keyed = (await client.get("/openapi.json")).json()
    names = {}
    for made, wanted in ((keyed, []), (await document(), [{}])):
        assert made["components"]["securitySchemes"]["ApiKey"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        assert made["components"]["securitySchemes"]["BearerKey"]["scheme"] == "bearer"
        operations = {path: one for path, ways in made["paths"].items() for one in ways.values()}
        names = {path: one["operationId"] for path, one in operations.items()}
        secured = {path for path, one in operations.items() if "security" in one}
        assert secured == {"/predict", "/predict/batch", "/model", "/model/reload"}
        keys = [{"ApiKey": []}, {"BearerKey": []}]
        assert operations["/model/reload"]["security"] == keys, "an operator's, always"
        assert all(operations[path]["security"] == [*keys, *wanted] for path in secured - {"/model/reload"})
    assert names["/predict"] == "predict"
    assert names["/predict/batch"] == "predict_batch"
    assert names["/health/live"] == "live"
    assert len(set(names.values())) == len(names)


async def test_a_batch_has_a_photo() -> None:
    body = (await document())["paths"]["/predict/batch"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["properties"]["file"]["minItems"] == 1, "a form without one is refused"


def choices(part: Any) -> Iterator[Any]:
    """Every `anyOf` in a part of the document."""
    if isinstance(part, dict) and "anyOf" in part:
        yield part["anyOf"]
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from choices(one)


async def test_null_is_never_one_of_three() -> None:
    """openapi-generator 7.26 ends with an error at such a choice, where it is to make Python."""
    found = list(choices(await document()))
    assert found
    assert [choice for choice in found if {"type": "null"} in choice and len(choice) > 2] == []


async def test_a_query_has_no_null() -> None:
    """Clients of swagger-typescript-api send it as the word, which is refused."""
    found = (await document())["paths"]
    queries = {
        f"{path} {one['name']}": one["schema"]
        for path, ways in found.items()
        for way in ways.values()
        for one in way.get("parameters", ())
    }
    assert len(queries) == 19
    for name, schema in queries.items():
        assert schema["type"] in ("boolean", "integer", "number", "string"), name
        assert "anyOf" not in schema
    assert queries["/predict max_faces"] == {
        "description": "Maximum number of faces; the largest are returned.",
        "minimum": 1,
        "title": "Max Faces",
        "type": "integer",
    }
    async with serving() as client:
        for query in ("max_faces=null", "model=null"):
            assert_problem(await client.post(f"/predict?{query}"), 422, "invalid_parameter")


async def test_metrics_are_documented_as_the_text_that_they_are() -> None:
    async with serving() as client:
        answers = (await client.get("/openapi.json")).json()["paths"]["/metrics"]["get"]["responses"]
        sent = await client.get("/metrics")
    assert list(answers["200"]["content"]) == [sent.headers["content-type"].split(";")[0]] == ["text/plain"]


async def test_a_route_that_a_setting_leaves_out_documents_that_it_may_be_missing() -> None:
    async with serving() as client:
        answers = (await client.get("/openapi.json")).json()["paths"]["/model/reload"]["post"]["responses"]
        assert_problem(await client.post("/model/reload"), 404, "not_found")
    assert answers["404"]["description"] == "Not Found: `not_found`"


async def test_what_is_refused_beside_photos_is_documented() -> None:
    async with serving(api_keys=("right",), operator_keys=("operator",), rate_limit=1) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        for method, path, key in (("GET", "/model", "right"), ("POST", "/model/reload", "operator")):
            documented = paths[path][method.lower()]["responses"]
            for sent in ({}, {"X-API-Key": key}, {"X-API-Key": key}):
                answers = [
                    await client.request(method, f"{path}?other=1", headers=sent),
                    await client.request(method, path, headers=sent, content=bytes(2**20 + 1)),
                    await client.request(method, path, headers=sent | {"Content-Length": "many"}),
                ]
                for one in answers:
                    assert one.json()["code"] in documented[str(one.status_code)]["description"]


async def test_what_is_measured_of_a_face_is_described() -> None:
    described = {name: one.get("description", "") for name, one in (await document())["components"]["schemas"].items()}
    assert all(f"`{field.name}`" in described["QualityAnswer"] for field in fields(Quality))
    everything = Quality(size_px=1, sharpness=0, brightness=0, roll=90, yaw=1, noise=9, contrast=0)
    bright = replace(everything, sharpness=9, brightness=1)
    found = {*warnings(everything, 1, coarse=True), *warnings(bright, 1, 99, occlusion=9)}
    assert len(found) == 10
    assert all(f"`{name}`" in described["FaceAnswer"] for name in found)


async def test_what_a_batch_is_refused_with_is_documented() -> None:
    async with serving() as client:
        documented = (await client.get("/openapi.json")).json()["paths"]["/predict/batch"]["post"]["responses"]
        for image, code in ((3, "malformed_json"), ("%%", "malformed_base64"), ("", "empty_file")):
            assert_problem(await client.post("/predict/batch", json={"image": image}), 400, code)
            assert f"`{code}`" in documented["400"]["description"]
    assert "`queue_full`" in documented["503"]["description"], "of a body that does not fit beside the others"


@pytest.mark.parametrize("name", ["mobilenet", "inceptionv3", "mobilefacenet"])
async def test_the_documents_of_shipped_models_are_the_same(root: Path, name: str) -> None:
    assert await document(shipped(root, name)) == await document()


def test_no_attribute_takes_the_name_of_something_else() -> None:
    columns = {field.name for field in fields(TrackRow)} - {"attributes"}
    assert set(TrackedFace.model_fields) - set(CONTRACT) | columns == RESERVED
    with pytest.raises(ValidationError, match="cannot be named 'quality'"):
        Attribute.model_validate(GLASSES | {"name": "quality"})
