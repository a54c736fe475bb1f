"""Several models in service: chosen by name, and a canary that gets its share of the requests, by their ids."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from service.app import create_app
from service.inference.batching import Batcher
from service.inference.engine import Beside, Engine, position
from service.loading import create_engine
from service.models.store import Model
from service.settings import Settings
from tests.client import Client, assert_problem, disposition, multipart, serving, until
from tests.conftest import encoded
from tests.fakes import ColourNetwork, FailingNetwork, GatedNetwork, attributes, engine_factory, manifest, squares
from tests.service.server.test_operate import metric
from tests.service.test_reloading import FACES, Scaled, ages, factory, reload, reloads, ship

RED = encoded(squares((250, 10, 10)))


def other(engine: Engine, network: ColourNetwork, **changes: Any) -> Engine:
    """An engine that shares everything with another one but its model."""
    described = manifest(**changes)
    batcher = Batcher(network, 100)
    model = Model(described, {"faces": network}, "1" * 64)
    return dataclasses.replace(engine, pipeline=engine.pipeline.with_model(described, batcher), batcher=batcher, model=model)


def several(share: float = 0.0, network: ColourNetwork | None = None) -> Callable[[Settings], Engine]:
    """An engine of fake/3 whose ages are halved by half/1, and by the canary fake/4, or by what its network does."""

    def build(settings: Settings) -> Engine:
        engine = engine_factory()(settings)
        engine.beside.named["half"] = other(engine, Scaled(0.5), name="half", version=1)
        engine.beside.canary = other(engine, network or Scaled(0.5), version=4)
        engine.beside.share = share
        return engine

    return build


async def ask(client: Client, identity: str = "one", query: str = "") -> dict[str, Any]:
    response = await client.post(f"/predict{query}", content=FACES, headers={"X-Request-ID": identity})
    assert response.status_code == 200, response.text
    return dict(response.json())


def title(answer: dict[str, Any]) -> str:
    return "{name}/{version}".format(**answer["model"])


async def test_a_request_names_its_model() -> None:
    async with serving(several()) as client:
        default, half = await ask(client), await ask(client, query="?model=half")
        assert (title(default), title(half)) == ("fake/3", "half/1")
        assert [2 * one for one in ages(half)] == pytest.approx(ages(default), abs=0.2)
        assert title(await ask(client, query="?model=half/1")) == "half/1"
        assert title(await ask(client, query="?model=fake/4")) == "fake/4"
        assert title(await ask(client, query="?model=fake")) == "fake/3"
        for path in ("/predict?model=none", "/predict/batch?model=half/2", "/predict?model="):
            problem = assert_problem(await client.post(path, content=FACES), 422, "invalid_parameter")
            assert "fake/3, fake/4, half/1" in problem["detail"]
        assert_problem(await client.post("/predict?model=half&model=fake", content=FACES), 422, "invalid_parameter")
        assert (await client.get("/model?model=half")).json()["name"] == "half"
        assert (await client.get("/model")).json()["name"] == "fake"


async def test_a_canary_gets_its_share_and_the_same_request_always_the_same_model() -> None:
    identities = [f"request-{number}" for number in range(400)]
    async with serving(several(0.25)) as client:
        first = [title(await ask(client, identity)) for identity in identities[:100]]
        assert first == ["fake/4" if position(one) < 0.25 else "fake/3" for one in identities[:100]]
        assert first == [title(await ask(client, identity)) for identity in identities[:100]]
        assert {title(await ask(client, identity, "?model=fake/3")) for identity in identities[:20]} == {"fake/3"}
    assert 0.2 < sum(position(one) < 0.25 for one in identities) / len(identities) < 0.3
    async with serving(several(1)) as client:
        assert {title(await ask(client, identity)) for identity in identities[:20]} == {"fake/4"}
    async with serving(several(0)) as client:
        assert {title(await ask(client, identity)) for identity in identities[:20]} == {"fake/3"}


async def test_the_card_is_the_default_models_whoever_asks_and_the_canarys_by_its_name() -> None:
    async with serving(several(1)) as client:
        for identity in ("one", "two"):
            card = (await client.get("/model", headers={"X-Request-ID": identity})).json()
            assert (card["name"], card["version"]) == ("fake", 3)
        assert (await client.get("/model?model=fake/4")).json()["version"] == 4
        for query in ("modle=half", "model=half&model=fake"):
            assert_problem(await client.get(f"/model?{query}"), 422, "invalid_parameter")


async def test_models_never_share_a_batch_and_are_counted_apart() -> None:
    async with serving(several(0.5), photo_queue=200, photo_wait_s=60) as client:
        default = await ask(client, query="?model=fake/3")
        expected = {"fake/3": ages(default), "fake/4": ages(await ask(client, query="?model=fake/4"))}
        names = ("fake/3", "fake/4")
        before = {name: await metric(client, "facet_photo_seconds_count", model=name) for name in names}
        counted = {name: await metric(client, "facet_predictions_total", model=name, attribute="gender") for name in names}
        answers = await asyncio.gather(*(ask(client, f"id-{number}") for number in range(60)))
        assert all(ages(one) == expected[title(one)] for one in answers)
        files = multipart(*[(disposition(), FACES)] * 4)
        for number in range(6):
            headers = files["headers"] | {"X-Request-ID": f"batch-{number}"}
            results = (await client.post("/predict/batch", content=files["content"], headers=headers)).json()["results"]
            assert len({title(one["result"]) for one in results}) == 1
            answers += [one["result"] for one in results]
        found = Counter(title(one) for one in answers)
        assert set(found) == {"fake/3", "fake/4"}
        for name, count in found.items():
            assert await metric(client, "facet_photo_seconds_count", model=name) - before[name] == count
            now = await metric(client, "facet_predictions_total", model=name, attribute="gender")
            assert now - counted[name] == 3 * count
        assert await metric(client, "facet_model_info", role="canary", version="4") == 1
        assert await metric(client, "facet_model_info") == 3


async def test_a_canary_that_fails_is_seen_by_its_name() -> None:
    async with serving(several(1, FailingNetwork(RuntimeError("no")))) as client:
        before = await metric(client, "facet_photo_failures_total", model="fake/4")
        assert_problem(await client.post("/predict", content=RED), 500, "inference_failed")
        assert await metric(client, "facet_photo_failures_total", model="fake/4") == before + 1
        assert (await client.post("/predict?model=fake/3", content=RED)).status_code == 200


async def test_a_canary_is_not_asked_for_what_it_does_not_have() -> None:
    def build(settings: Settings) -> Engine:
        engine = several(1)(settings)
        poor = other(engine, ColourNetwork(outputs=("age", "gender", "race")), version=5, attributes=without_distribution())
        engine.beside.canary = poor
        return engine

    async with serving(build) as client:
        assert title(await ask(client, query="?at_least=18")) == "fake/3"
        assert title(await ask(client, query="?model=fake/5")) == "fake/5"


def without_distribution() -> list[dict[str, Any]]:
    age, *others = attributes()
    return [age | {"outputs": ["age"], "calibration": {}}, *others]


async def test_a_stream_names_its_model() -> None:
    with TestClient(create_app(Settings(), several())) as client, client.websocket_connect("/stream") as socket:
        socket.send_json({"type": "start", "model": "half"})
        assert socket.receive_json()["model"] == {"name": "half", "version": 1}
    with TestClient(create_app(Settings(), several())) as client, client.websocket_connect("/stream") as socket:
        socket.send_json({"type": "start", "model": "none"})
        assert socket.receive_json()["code"] == "invalid_parameter"


async def test_each_model_is_swapped_by_its_name(tmp_path: Path) -> None:
    for version in (1, 2):
        ship(tmp_path, version)

    def build(settings: Settings) -> Engine:
        engine = several()(settings)
        scaled = factory(tmp_path, 1)(settings)
        engine.beside.named["scaled"] = dataclasses.replace(scaled, retiring=engine.retiring)
        return engine

    async with serving(build, operator_keys="operator") as client:
        was = ages(await ask(client, query="?model=scaled"))
        before = await reloads(client)
        swapped = await client.post("/model/reload?model=scaled&version=2", headers={"X-API-Key": "operator"})
        assert swapped.json()["model"] == {"name": "scaled", "version": 2}
        assert await reloads(client) == before | {"swapped": before["swapped"] + 1}
        assert [2 * one for one in ages(await ask(client, query="?model=scaled"))] == pytest.approx(was, abs=0.2)
        assert title(await ask(client)) == "fake/3"
        unknown = await client.post("/model/reload?model=none", headers={"X-API-Key": "operator"})
        assert_problem(unknown, 422, "invalid_parameter")
        assert_problem(await reload(client), 409, "model_refused")  # the default one has no store here
        await until(lambda: client.engine.retiring == [])


def test_streams_of_one_model_outlast_the_swap_of_another(tmp_path: Path) -> None:
    for version in (1, 2):
        ship(tmp_path, version)

    def build(settings: Settings) -> Engine:
        engine = several()(settings)
        engine.beside.named["scaled"] = dataclasses.replace(factory(tmp_path, 1)(settings), retiring=engine.retiring)
        return engine

    settings = Settings(operator_keys="operator")  # type: ignore[arg-type]
    with TestClient(create_app(settings, build)) as client, client.websocket_connect("/stream") as default:
        default.send_json({"type": "start"})
        assert default.receive_json()["model"]["name"] == "fake"
        with client.websocket_connect("/stream") as scaled:
            scaled.send_json({"type": "start", "model": "scaled"})
            assert scaled.receive_json()["model"]["version"] == 1
            swapped = client.post("/model/reload?model=scaled&version=2", headers={"X-API-Key": "operator"})
            assert swapped.json()["outcome"] == "swapped"
            assert scaled.receive_json()["code"] == "stream_over"
        default.send_bytes((1).to_bytes(8, "big") + encoded(squares((250, 10, 10)), "JPEG"))
        assert default.receive_json()["type"] == "frame"


async def test_readiness_and_draining_are_those_of_all() -> None:
    with GatedNetwork() as network:
        async with serving(several(0, network)) as client:
            asked = asyncio.create_task(client.post("/predict?model=fake/4", content=FACES))
            await until(network.entered.is_set)
            assert client.engine.hang() is None
            for one in client.engine.every():
                one.hang_s = -1
            assert "running" in str(client.engine.hang())
            client.engine.drain()
            assert all(one.draining for one in client.engine.every())
            network.gate.set()
            assert (await asked).status_code == 200


async def test_series_of_models_that_are_gone_go_a_swap_later(tmp_path: Path) -> None:
    for version in range(1, 6):
        ship(tmp_path, version)
    async with serving(factory(tmp_path, 1), operator_keys="operator") as client:
        for version in range(2, 6):
            await ask(client)
            assert (await reload(client, version)).status_code == 200
        await ask(client)
        text = (await client.get("/metrics")).text
        assert 'model="scaled/5"' in text
        assert 'model="scaled/4"' in text
        assert not [version for version in (1, 2, 3) if f'model="scaled/{version}"' in text]


def test_settings_name_models_and_a_canary() -> None:
    settings = Settings(models="a,b/2", canary="a/4:0.05")  # type: ignore[arg-type]
    assert settings.served == (("a", None), ("b", 2))
    assert settings.canary == (("a", 4), 0.05)
    assert Settings(model="a", model_version=7).served == (("a", 7),)
    for wrong in (
        {"models": "a,a"},
        {"models": "a/b"},
        {"models": "a/"},
        {"models": "a", "model": "b"},
        {"models": "a", "model_version": 1},
    ):
        with pytest.raises(ValidationError):
            Settings(**wrong)  # type: ignore[arg-type]
    for wrong in ("a/4", "a:0.5", "a/4:0", "a/4:1.1", "a/4:x", "a/4:nan", ":0.5"):
        with pytest.raises(ValidationError, match="canary"):
            Settings(canary=wrong)  # type: ignore[arg-type]


def test_shipped_models_are_served_beside_one_another() -> None:
    settings = Settings(models="mobilefacenet,mobilenet", canary="mobilenet/5:1", memory_mib=3072)  # type: ignore[arg-type]
    with TestClient(create_app(settings, create_engine)) as client:
        (limit,) = re.findall(r"^facet_memory_limit_bytes (\S+)$", client.get("/metrics").text, re.MULTILINE)
        assert float(limit) == 3072 * 2**20
        beside: Beside = client.app.state.engine.beside  # type: ignore[attr-defined]
        assert list(beside.named) == ["mobilenet"]
        photo = (Path(__file__).parents[2] / "examples/astronaut.jpg").read_bytes()
        answers = {name: client.post(f"/predict{name}", content=photo).json() for name in ("", "?model=mobilefacenet")}
        assert title(answers[""]) == "mobilenet/5"
        assert title(answers["?model=mobilefacenet"]) == "mobilefacenet/1"
        assert answers[""]["faces"][0]["box"] == answers["?model=mobilefacenet"]["faces"][0]["box"]


def test_what_can_take_the_place_of_another_model() -> None:
    engine = several()(Settings())
    assert engine.replaced_by(engine.beside.named["half"])
    assert not engine.replaced_by(other(engine, ColourNetwork(), version=5, attributes=without_distribution()))
    age_alone = other(engine, ColourNetwork(), version=6, attributes=attributes()[:1])
    assert not engine.replaced_by(age_alone)
    assert age_alone.replaced_by(engine)
