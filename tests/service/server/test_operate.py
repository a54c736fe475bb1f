"""What an operator looks at: health, the model's card, metrics, the documentation."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import __version__, errors
from service.api.statuses import STATUS, status_of
from service.inference.attributes import bands
from service.inference.memory import MIB, held
from service.models.manifest import Scale
from service.settings import Settings
from tests.client import ROOT, Client, serving, until
from tests.collectors import described
from tests.conftest import encoded
from tests.fakes import BMI, GatedNetwork, attributes, engine_factory, squares

PHOTO = encoded(squares((200, 100, 50), (10, 250, 50)))
PROBES = ["/health", "/health/live", "/health/ready"]


@pytest.mark.parametrize("path", PROBES)
async def test_a_healthy_service_says_so(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    state = response.json()
    assert state == {
        "status": "ok",
        "model": {"name": "fake", "version": 3},
        "version": __version__,
        "uptime_s": state["uptime_s"],
    }
    assert 0 <= state["uptime_s"] < 60


async def test_a_draining_service_is_not_ready_but_alive_and_serves(client: Client) -> None:
    assert (await metric(client, "facet_ready")) == 1
    client.engine.drain()
    answers = {path: await client.get(path) for path in PROBES}
    assert {path: answer.status_code for path, answer in answers.items()} == {
        "/health": 503,
        "/health/live": 200,
        "/health/ready": 503,
    }
    assert answers["/health/ready"].json()["status"] == "unavailable"
    assert "shutting down" in answers["/health/ready"].json()["detail"]
    assert (await metric(client, "facet_ready")) == 0
    assert (await client.post("/predict", content=PHOTO)).status_code == 200


async def test_a_hanging_network_fails_liveness() -> None:
    network = GatedNetwork()
    async with serving(engine_factory(network, hang_s=0.2)) as client:
        with network:
            request = asyncio.create_task(client.post("/predict", content=PHOTO))
            await until(network.entered.is_set)
            assert (await client.get("/health/live")).status_code == 200
            await asyncio.sleep(0.25)
            answers = {path: await client.get(path) for path in PROBES}
        assert (await request).status_code == 200
        assert {path: answer.status_code for path, answer in answers.items()} == {
            "/health": 503,
            "/health/live": 503,
            "/health/ready": 200,
        }
        assert "batch" in answers["/health/live"].json()["detail"]
        assert (await client.get("/health/live")).status_code == 200


def test_a_hang_is_thirty_seconds() -> None:
    from service.inference.engine import HANG_S

    assert HANG_S == 30


async def test_the_models_card(client: Client) -> None:
    card = (await client.get("/model")).json()
    assert (card["name"], card["version"], card["licence"], card["trained_on"]) == ("fake", 3, "none", ["nothing"])
    assert card["digest"] == "0" * 64
    assert card["races"] == ["white", "black", "asian", "indian", "other"]
    assert "files" not in card
    assert card["serving"] == {
        "facet": __version__,
        "runtime": "fake",
        "precision": "f32",
        "models": [{"name": "fake", "version": 3}],
        "attributes": ["age", "gender", "race"],
        "min_confidence": client.engine.min_confidence,
        "max_faces": client.engine.max_faces,
        "min_face_px": client.engine.min_face_px,
        "detection_side_px": client.engine.detection_side_px,
        "detector": {"name": "fake", "version": 3},
        "stream_detector": None,
    }


# Metrics --------------------------------------------------------------------------------------------------------------


Samples = list[tuple[str, dict[str, str], float]]


async def samples(client: Client) -> Samples:
    """Everything that /metrics says now."""
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    return [(one.name, one.labels, one.value) for family in families for one in family.samples]


def total(of: Samples, sample: str, **labels: str) -> float:
    """Sum over all samples of this name that have these labels."""
    return sum(value for name, its, value in of if name == sample and labels.items() <= its.items())


async def metric(client: Client, sample: str, **labels: str) -> float:
    return total(await samples(client), sample, **labels)


async def test_metrics_are_in_prometheus_format(client: Client) -> None:
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    for one in described():
        assert families[one.name.removesuffix("_total")].documentation == one.meaning


async def test_a_version_of_openmetrics_that_is_no_number_is_no_fault_of_the_service(client: Client) -> None:
    response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=x"})
    assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "application/openmetrics-text")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process holds")
async def test_memory_is_that_of_the_decoders_too(client: Client) -> None:
    """A container's limit is on all of its processes."""
    client.engine.pipeline.decoder.start()
    end = time.monotonic() + 30
    while (found := await metric(client, "facet_memory_bytes")) < held() + 5 * MIB:
        assert time.monotonic() < end, found


COUNTS: Samples = [
    ("facet_request_seconds_count", {"route": "/predict", "method": "POST", "status": "200"}, 1),
    ("facet_request_seconds_count", {"route": "/predict", "method": "POST", "status": "422"}, 1),
    ("facet_rejections_total", {"code": "invalid_parameter"}, 1),
    ("facet_faces_per_image_sum", {}, 2),
    ("facet_faces_per_image_count", {}, 1),
    ("facet_batch_size_sum", {}, 2),
    ("facet_predictions_total", {"attribute": "age", "label": "70-79"}, 1),
    ("facet_predictions_total", {"attribute": "age", "label": "0-9"}, 1),
    ("facet_predictions_total", {"attribute": "gender", "label": "male"}, 1),
    ("facet_predictions_total", {"attribute": "gender", "label": "female"}, 1),
    ("facet_predictions_total", {"attribute": "race"}, 2),
    ("facet_predictions_total", {"model": "fake/3", "attribute": "race"}, 2),
    ("facet_photo_seconds_count", {"model": "fake/3"}, 1),
    *[("facet_stage_seconds_count", {"stage": stage}, 1.0) for stage in ("wait", "decode", "detect", "crop", "predict")],
]


async def test_a_request_is_counted_everywhere_once(client: Client) -> None:
    before = await samples(client)
    await client.post("/predict", content=PHOTO)
    await client.post("/predict?max_faces=0", content=PHOTO)
    after = await samples(client)
    for name, labels, by in COUNTS:
        assert total(after, name, **labels) - total(before, name, **labels) == by, (name, labels)


async def test_what_a_start_looks_at_is_no_photo(client: Client) -> None:
    before = await metric(client, "facet_stage_seconds_count")
    client.engine.pipeline.warm()
    assert await metric(client, "facet_stage_seconds_count") == before


async def test_the_longest_batch_has_a_bucket(client: Client) -> None:
    bounds = [float(its["le"]) for name, its, _ in await samples(client) if name == "facet_request_seconds_bucket"]
    assert max(one for one in bounds if one < math.inf) >= Settings().batch_deadline_s


async def test_what_is_refused_before_its_route_is_counted_there() -> None:
    async with serving(api_keys="one", max_body_mib=0.01) as client:

        async def counts() -> list[float]:
            return [await metric(client, "facet_request_seconds_count", route="/predict", status=one) for one in ("401", "413")]

        before = await counts()
        await client.post("/predict", content=PHOTO)
        await client.post("/predict", content=bytes(20_000), headers={"X-API-Key": "one"})
        assert await counts() == [before[0] + 1, before[1] + 1]


async def test_what_is_not_asked_for_is_not_counted(client: Client) -> None:
    before = [await metric(client, "facet_predictions_total", attribute=name) for name in ("age", "gender", "race")]
    await client.post("/predict?attributes=gender", content=PHOTO)
    after = [await metric(client, "facet_predictions_total", attribute=name) for name in ("age", "gender", "race")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [0, 2, 0]


async def test_every_group_of_a_number_begins_at_0() -> None:
    """A series that begins with its first face has no increase."""
    async with serving(engine_factory(name="weights", attributes=[*attributes(), BMI])) as client:
        found = [labels for name, labels, _ in await samples(client) if name == "facet_predictions_total"]
    told = {
        name: [one["label"] for one in found if one["model"] == "weights/3" and one["attribute"] == name]
        for name in ("age", "bmi")
    }
    assert told["age"] == [*(f"{start}-{start + 9}" for start in range(0, 90, 10)), "90+"]
    assert told["bmi"] == list(bands(Scale(10, 0.4)))


async def test_seconds_are_seconds(client: Client) -> None:
    before = await metric(client, "facet_request_seconds_sum", route="/predict")
    answer = (await client.post("/predict", content=PHOTO)).json()
    spent = await metric(client, "facet_request_seconds_sum", route="/predict") - before
    assert answer["timing_ms"]["total"] / 1000 < spent < 5


async def test_the_model_and_the_build_are_named(client: Client) -> None:
    named = {"role": "default", "name": "fake", "version": "3", "runtime": "fake", "precision": "f32", "digest": "0" * 12}
    assert await metric(client, "facet_model_info", **named) == 1
    assert await metric(client, "facet_model_info") == 1  # one model and no more, however often it was changed
    assert await metric(client, "facet_detector_info", name="fake") == 2  # of photos and of streams
    assert await metric(client, "facet_build_info", version=__version__) == 1


async def test_queues_show_their_depth() -> None:
    network = GatedNetwork()
    async with serving(engine_factory(network)) as client:
        assert await metric(client, "facet_queue_depth") == 0
        with network:
            requests = [asyncio.create_task(client.post("/predict", content=PHOTO))]
            await until(network.entered.is_set)
            requests += [asyncio.create_task(client.post("/predict", content=PHOTO)) for _ in range(3)]
            await until(lambda: client.engine.batcher.waiting == 6)
            assert await metric(client, "facet_queue_depth", queue="faces") == 6
        assert [(await request).status_code for request in requests] == [200] * 4
        assert await metric(client, "facet_queue_depth") == 0


# Documentation --------------------------------------------------------------------------------------------------------


async def test_the_docs_are_read_without_any_other_server(client: Client) -> None:
    page = (await client.get("/docs")).text
    links = re.findall(r'(?:src|href)="([^"]+)"', page) + re.findall(r'new URL\("(\w[^"]+)"', page)
    assert len(links) >= 4
    for link in links:
        assert not link.startswith("/"), "a proxy that serves Facet below a path would be asked for another one"
        assert (await client.get(f"/{link}")).status_code == 200
    assert not re.search(r"https?://(?!facet\.test)", page)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_openapi_documents_every_route_and_every_problem(client: Client) -> None:
    document = (await client.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/predict",
        "/predict/batch",
        "/health",
        "/health/live",
        "/health/ready",
        "/model",
        "/model/reload",
        "/metrics",
    }
    schemas = document["components"]["schemas"]
    for reference in set(references(document)):
        assert reference.removeprefix("#/components/schemas/") in schemas, reference
    assert list(schemas["Problem"]["properties"]) == ["type", "title", "status", "detail", "code", "request_id"]
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)
    predict = document["paths"]["/predict"]["post"]
    assert {parameter["name"] for parameter in predict["parameters"]} == {
        "attributes", "max_faces", "min_confidence", "landmarks", "distribution", "at_least", "preview", "model",
    }  # fmt: skip
    content = predict["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json", "image/*", "application/octet-stream"}
    assert set(predict["responses"]) == {"200", "400", "401", "408", "413", "415", "422", "429", "431", "500", "503", "504"}
    for status, response in predict["responses"].items():
        if status != "200":
            assert response["content"] == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def kinds(base: type[errors.FacetError]) -> Iterator[type[errors.FacetError]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


STREAMS = {
    errors.ForeignOrigin,
    errors.MalformedMessage,
    errors.StreamIdle,
    errors.StreamOver,
    errors.TooManyStreams,
}
"""What only a stream meets, of which OpenAPI knows no responses."""
TRANSLATED = {errors.MalformedTensor: "kserve", errors.UnknownModel: "kserve"}
"""What only another system's requests meet, whose routes stay out of OpenAPI: the page of that system."""


async def test_every_error_that_a_request_can_meet_is_documented_under_its_status(client: Client) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    responses = paths["/predict"]["post"]["responses"]
    assert f"`{errors.ModelRefused.code}`" in paths["/model/reload"]["post"]["responses"]["409"]["description"]
    bases = {errors.FacetError, errors.RequestError, errors.ImageError, errors.Unavailable}
    for kind in kinds(errors.FacetError):
        if kind in {*bases, errors.ModelRefused} or issubclass(kind, errors.ModelError):
            continue
        if kind in STREAMS or kind in TRANSLATED:
            page = f"moving/{TRANSLATED[kind]}" if kind in TRANSLATED else "live"
            assert f"`{kind.code}`" in (ROOT / f"docs/{page}.md").read_text(), kind
            continue
        assert f"`{kind.code}`" in responses[str(status_of(kind))]["description"], kind


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in kinds(errors.FacetError)]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z0-9_]+", code) for code in codes)
    assert set(STATUS) <= set(kinds(errors.FacetError))


async def test_the_documented_example_is_one(client: Client) -> None:
    from service.api.schemas import EXAMPLE, PredictAnswer

    answer = PredictAnswer.model_validate(EXAMPLE)
    assert answer.model_dump(mode="json", exclude_none=True) == EXAMPLE
