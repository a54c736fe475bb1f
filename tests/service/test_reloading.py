"""Models swapped under load: no request fails, none mixes two of them, and what is not right never serves."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import logging
import os
import shutil
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from service.app import create_app
from service.errors import StoreUnreachable
from service.inference.engine import Engine
from service.inference.memory import MemoryBudget, resident
from service.models.runtime import Network, Precision, Runtime, loader
from service.models.store import GOLDEN, MANIFEST, Model, ModelStore, write_manifest
from service.reloading import ModelSource
from service.settings import Settings
from tests.client import Client, assert_problem, disposition, multipart, serving, until
from tests.conftest import encoded
from tests.fakes import CROP, ColourNetwork, Outputs, Pixels, engine_factory, manifest, squares

FACES = encoded(squares((200, 100, 50), (20, 200, 100), (90, 40, 160)))
OPERATOR = {"X-API-Key": "operator"}


class Scaled(ColourNetwork):
    """A network whose ages are a share of `ColourNetwork`'s, of `most` faces at a time; it waits while its gate is shut."""

    def __init__(self, share: float, most: int = 32) -> None:
        super().__init__()
        self.share, self.most = share, most
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, batch: Pixels) -> Outputs:
        self.gate.wait(30)
        if len(batch) > self.most:
            raise RuntimeError("The input has another shape.")
        answers = super().__call__(batch)
        return answers | {"age": answers["age"] * np.float32(self.share)}


def load(folder: Path) -> Scaled:
    """The network of a model of this store."""
    share, most = (folder / "saved_model.pb").read_text().split()
    return Scaled(float(share), int(most))


def ship(store: Path, version: int, *, share: float | None = None, golden_share: float | None = None, most: int = 32) -> Path:
    """A version whose ages are `share` of the colour's, beside others; moved into its place when it is whole."""
    share = 1 / version if share is None else share
    folder = store / f".{version}"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(f"{share} {most}")
    (folder / "variables" / "weights").write_bytes(bytes(100))
    crops = np.random.default_rng(0).integers(0, 256, (3, CROP, CROP, 3), dtype=np.uint8)
    answers = Scaled(golden_share or share)(crops)
    np.savez(folder / GOLDEN, **{"faces/input": crops, **{f"faces/{name}": value for name, value in answers.items()}})
    write_manifest(folder, manifest(name="scaled", version=version).model_dump(mode="json", exclude={"files"}))
    target = store / "scaled" / str(version)
    target.parent.mkdir(exist_ok=True)
    folder.rename(target)
    return target


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the versions 1 to 3."""
    for version in (1, 2, 3):
        ship(tmp_path, version)
    return tmp_path


def factory(store: Path | ModelStore, version: int | None = None, digest: str | None = None) -> Callable[[Settings], Engine]:
    """An engine that serves out of a store, round fakes."""
    opened = ModelStore(store) if isinstance(store, Path) else store

    def build(settings: Settings) -> Engine:
        budget = MemoryBudget(2**30)
        source = ModelSource(opened, "scaled", version, digest, None, settings.face_queue, load, None, budget)
        model = source.load(version)
        engine = engine_factory(model.networks["faces"], **model.manifest.model_dump())(settings)
        return dataclasses.replace(engine, model=model, source=source, detector=Model(model.manifest, {}, "0" * 64))

    return build


async def reload(client: Client, version: int | None = None) -> httpx.Response:
    params = {} if version is None else {"version": version}
    return await client.post("/model/reload", params=params, headers=OPERATOR)


async def reloads(client: Client) -> dict[str, float]:
    lines = [line for line in (await client.get("/metrics")).text.splitlines() if line.startswith("facet_model_reloads_total")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def ages(answer: dict[str, Any]) -> list[float]:
    return [face["age"]["years"] for face in answer["faces"]]


async def test_models_are_swapped_under_load_and_no_request_fails_or_mixes_them(store: Path) -> None:
    async with serving(factory(store, 1), operator_keys="operator", photo_queue=200, photo_wait_s=60) as client:
        expected = {}
        for version in (2, 3, 1):
            assert (await reload(client, version)).json()["model"] == {"name": "scaled", "version": version}
            expected[version] = ages((await client.post("/predict", content=FACES)).json())
        assert len({tuple(one) for one in expected.values()}) == 3
        answered: list[tuple[int, list[float]]] = []
        over = False

        async def ask() -> None:
            while not over:
                response = await client.post("/predict", content=FACES)
                assert response.status_code == 200, response.text
                answered.append((response.json()["model"]["version"], ages(response.json())))

        async def ask_batches() -> None:
            while not over:
                response = await client.post("/predict/batch", **multipart(*[(disposition(), FACES)] * 4))
                results = [one["result"] for one in response.json()["results"]]
                assert len({one["model"]["version"] for one in results}) == 1  # one request is one model's
                answered.extend((one["model"]["version"], ages(one)) for one in results)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
            group.create_task(ask_batches())
            for turn in range(10):
                before = len(answered)
                response = await reload(client, turn % 3 + 2 if turn % 3 < 2 else 1)
                assert response.json()["outcome"] == "swapped", response.text
                await until(lambda: len(answered) > before + 3, 30)  # noqa: B023 - awaited at once
            over = True
        assert {version for version, _ in answered} == {1, 2, 3}
        assert [one for one in answered if one[1] != expected[one[0]]] == []


async def test_a_request_is_answered_by_the_model_that_it_began_with_which_then_goes(store: Path) -> None:
    async with serving(factory(store, 1), operator_keys="operator") as client:
        network = client.engine.model.networks["faces"]
        assert isinstance(network, Scaled)
        network.gate.clear()
        gone = weakref.ref(network)
        asked = asyncio.create_task(client.post("/predict", content=FACES))
        await until(lambda: client.engine.batcher.busy_for() > 0)
        assert (await reload(client, 2)).status_code == 200
        assert (await client.post("/predict", content=FACES)).json()["model"]["version"] == 2
        assert not asked.done()
        network.gate.set()
        answer = (await asked).json()
        assert answer["model"]["version"] == 1
        halves = ages((await client.post("/predict", content=FACES)).json())
        assert ages(answer) == pytest.approx([2 * one for one in halves], abs=0.2)
        del network
        await until(lambda: gc.collect() >= 0 and gone() is None)
        assert client.engine.retiring == []


async def test_a_bad_model_is_refused_and_the_old_one_stays(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = ship(store, 4)
    (damaged / "variables" / "weights").write_bytes(bytes(99))
    ship(store, 5, share=0.9, golden_share=0.8)
    (store / "scaled" / "6").mkdir()
    ship(store, 7)
    (store / "scaled" / "7" / MANIFEST).write_text("{}")
    async with serving(factory(store, 3), operator_keys="operator") as client:
        before = await reloads(client)
        reasons = {}
        for version in (4, 5, 6, 7, 99):
            problem = assert_problem(await reload(client, version), 409, "model_refused")
            reasons[version] = problem["detail"]
            assert problem["detail"].endswith("The model in service is still version 3.")
        assert (await client.post("/predict", content=FACES)).json()["model"]["version"] == 3
        assert await reloads(client) == before | {"refused": before["refused"] + 5}
        assert (await client.get("/health/ready")).status_code == 200
    assert "hash" in reasons[4]
    assert "golden" in reasons[5]
    assert str(store) not in "".join(reasons.values())
    logged = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len([message for message in logged if "scaled/3 stays" in message]) == 5


async def test_without_a_number_it_is_the_newest_and_the_settings_number_where_there_is_one(store: Path) -> None:
    async with serving(factory(store), operator_keys="operator") as client:
        assert (await reload(client)).json() == {
            "outcome": "unchanged",
            "model": {"name": "scaled", "version": 3},
            "digest": client.engine.model.digest,
        }
        ship(store, 4)
        assert (await reload(client)).json()["model"]["version"] == 4
    async with serving(factory(store, 2), operator_keys="operator") as client:
        assert (await reload(client)).json()["outcome"] == "unchanged"
        assert (await reload(client, 4)).json()["model"]["version"] == 4
        assert (await reload(client)).json()["model"]["version"] == 2  # going back


async def test_a_pinned_digest_lets_no_other_model_in(store: Path) -> None:
    digest = ModelStore(store).find("scaled", 2)[1]
    async with serving(factory(store, 2, digest), operator_keys="operator") as client:
        assert "pinned" in assert_problem(await reload(client, 3), 409, "model_refused")["detail"]


async def test_the_store_is_looked_at_and_what_was_refused_only_when_it_has_changed(store: Path) -> None:
    async with serving(factory(store), operator_keys="operator", model_poll_s=0.02) as client:
        ship(store, 4)
        await until(lambda: client.engine.model.manifest.version == 4)
        before = (await reloads(client))["refused"]
        broken = ship(store, 5)
        (broken / "variables" / "weights").write_bytes(bytes(99))
        async with asyncio.timeout(10):
            while (await reloads(client))["refused"] == before:  # noqa: ASYNC110 - a counter sets no event
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert (await reloads(client))["refused"] <= before + 2  # the second where it was read before it was broken
        assert client.engine.model.manifest.version == 4
        (broken / "variables" / "weights").write_bytes(bytes(100))
        await until(lambda: client.engine.model.manifest.version == 5)
        await reload(client, 1)  # by hand: it stays
        ship(store, 6)
        await asyncio.sleep(0.2)
        assert client.engine.model.manifest.version == 1
        await reload(client)
        assert client.engine.model.manifest.version == 6


class Interrupted(ModelStore):
    """A store that cannot be read whenever `failures` are left."""

    failures = 0

    def load(self, *args: Any, **kwargs: Any) -> Model:
        if self.failures:
            self.failures -= 1
            raise StoreUnreachable("The model store cannot be read: ConnectTimeoutError.")
        return super().load(*args, **kwargs)


async def test_a_store_that_fails_once_is_asked_again(store: Path) -> None:
    interrupted = Interrupted(store)
    async with serving(factory(interrupted), operator_keys="operator", model_poll_s=0.02) as client:
        interrupted.failures = 1
        ship(store, 4)
        await until(lambda: client.engine.model.manifest.version == 4)
        assert interrupted.failures == 0


async def test_a_system_that_lends_no_thread_is_asked_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a photo in a large body anything to it."""

    def lend_none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with serving(factory(store), operator_keys="operator", model_poll_s=0.02) as client:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", lend_none)
            ship(store, 4)
            detail = assert_problem(await reload(client), 409, "model_refused")["detail"]
            assert detail.startswith("The system lends no thread")
            large = multipart((disposition(filename="large.png"), FACES + bytes(2**19)))
            assert (await client.post("/predict", **large)).status_code == 200
        await until(lambda: client.engine.model.manifest.version == 4)
        assert not client.app.state.reloader.hung


async def test_a_model_that_fails_while_it_is_warmed_is_refused_and_others_are_still_looked_for(store: Path) -> None:
    ship(store, 4, most=3)  # its golden answers, of three faces, are right
    async with serving(factory(store, 3), operator_keys="operator") as client:
        detail = assert_problem(await reload(client, 4), 409, "model_refused")["detail"]
        assert detail == "The network fails on 4 faces at a time. The model in service is still version 3."
    shutil.rmtree(store / "scaled/4")
    async with serving(factory(store), operator_keys="operator", model_poll_s=0.02) as client:
        before = (await reloads(client))["refused"]
        ship(store, 4, most=3)
        async with asyncio.timeout(10):
            while (await reloads(client))["refused"] == before:  # noqa: ASYNC110 - a counter sets no event
                await asyncio.sleep(0.01)
        ship(store, 5)
        await until(lambda: client.engine.model.manifest.version == 5)


async def test_an_operators_version_stays_though_a_look_at_the_store_waited_for_it(store: Path) -> None:
    """The look finds a newer version while the operator's is loaded, and has its turn behind it."""
    gate = threading.Event()

    class Waiting(ModelStore):
        def load(self, name: str, version: int | None, *args: Any, **kwargs: Any) -> Model:
            if version == 1:
                assert gate.wait(20)
            return super().load(name, version, *args, **kwargs)

    async with serving(factory(Waiting(store)), operator_keys="operator", model_poll_s=0.02) as client:
        chosen = asyncio.create_task(reload(client, 1))
        await asyncio.sleep(0.1)
        ship(store, 4)
        await asyncio.sleep(0.2)
        gate.set()
        assert (await chosen).json()["outcome"] == "swapped"
        await asyncio.sleep(0.3)
        assert client.engine.model.manifest.version == 1


async def test_a_reload_goes_on_without_its_caller_and_the_next_one_waits_for_it(store: Path) -> None:
    """A client waits for a minute, say, and a model from far away may take longer."""
    gate, inside = threading.Event(), list[int]()

    class Waiting(ModelStore):
        def load(self, name: str, version: int | None, *args: Any, **kwargs: Any) -> Model:
            if not gate.is_set():
                inside.append(version or 0)
                assert gate.wait(20)
            return super().load(name, version, *args, **kwargs)

    gate.set()
    async with serving(factory(Waiting(store), 3), operator_keys="operator") as client:
        gate.clear()
        before = (await reloads(client))["swapped"]
        left = asyncio.create_task(reload(client, 1))
        await until(lambda: inside == [1])
        left.cancel()
        await asyncio.wait([left])
        next_one = asyncio.create_task(reload(client, 2))
        await asyncio.sleep(0.1)
        assert inside == [1], "models load one at a time"
        gate.set()
        assert (await next_one).json()["outcome"] == "swapped"
        assert client.engine.model.manifest.version == 2
        assert (await reloads(client))["swapped"] == before + 2


async def test_nothing_that_a_look_at_the_store_raises_ends_looking(store: Path) -> None:
    class Failing(ModelStore):
        failures = 0

        def load(self, *args: Any, **kwargs: Any) -> Model:
            if self.failures:
                self.failures -= 1
                raise TypeError("unforeseen")
            return super().load(*args, **kwargs)

    failing = Failing(store)
    async with serving(factory(failing), operator_keys="operator", model_poll_s=0.02) as client:
        (store / "scaled" / "\u00b2").mkdir()  # a digit to Python, and no number
        failing.failures = 1
        ship(store, 4)
        await until(lambda: failing.failures == 0)
        ship(store, 5)
        await until(lambda: client.engine.model.manifest.version == 5)


async def test_nothing_that_the_reload_of_one_model_raises_spares_the_others(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unforeseen(*_: object) -> None:
        raise TypeError("unforeseen")

    async with serving(factory(store)) as client:
        client.engine.beside.named["other"] = client.engine
        monkeypatch.setattr(ModelSource, "renewed", unforeseen)
        client.app.state.reloader.hang_up()
        for name in ("scaled", "other"):
            await until(lambda name=name: f"the model {name} cannot be reloaded" in caplog.text)


@pytest.mark.parametrize("query", ["verison=1", "version=1&version=2", "version=1_0", "versions=", "name=scaled"])
async def test_a_misspelt_wish_swaps_nothing(store: Path, query: str) -> None:
    async with serving(factory(store), operator_keys="operator") as client:
        ship(store, 9)
        assert_problem(await client.post(f"/model/reload?{query}", headers=OPERATOR), 422, "invalid_parameter")
        assert client.engine.model.manifest.version == 3


async def test_a_wish_in_the_body_swaps_nothing(store: Path) -> None:
    async with serving(factory(store), operator_keys="operator") as client:
        ship(store, 9)
        assert_problem(await client.post("/model/reload", headers=OPERATOR, json={"version": 1}), 422, "invalid_parameter")
        assert client.engine.model.manifest.version == 3
        assert (await client.post("/model/reload", headers=OPERATOR, json={})).status_code == 200
        assert client.engine.model.manifest.version == 9


async def test_the_route_is_there_for_operators_alone(store: Path) -> None:
    async with serving(factory(store), api_keys="user") as client:
        assert_problem(await reload(client), 404, "not_found")
    async with serving(factory(store), api_keys="user", operator_keys="operator") as client:
        for headers in ({}, {"X-API-Key": "user"}, {"Authorization": "Bearer user"}):
            assert_problem(await client.post("/model/reload", headers=headers), 401, "unauthenticated")
        assert_problem(await client.post("/model/reload?version=0", headers=OPERATOR), 422, "invalid_parameter")
        assert (await client.post("/model/reload", headers={"Authorization": "Bearer operator"})).status_code == 200
        assert_problem(await client.post("/predict", content=FACES, headers=OPERATOR), 401, "unauthenticated")


async def test_a_second_model_takes_its_memory_from_that_for_photos(store: Path) -> None:
    async with serving(factory(store, 1), operator_keys="operator") as client:
        source = client.engine.source
        assert isinstance(source, ModelSource)
        source.budget.total = 2**20
        assert "memory" in assert_problem(await reload(client, 2), 409, "model_refused")["detail"]
        source.budget.total = 2**30
        assert (await reload(client, 2)).status_code == 200


def test_a_stream_ends_so_that_its_next_one_has_the_new_model(store: Path) -> None:
    settings = Settings(operator_keys="operator")  # type: ignore[arg-type]
    with TestClient(create_app(settings, factory(store, 1))) as client:
        with client.websocket_connect("/stream") as socket:
            socket.send_json({"type": "start"})
            assert socket.receive_json()["model"]["version"] == 1
            assert client.post("/model/reload?version=2", headers=OPERATOR).status_code == 200
            assert socket.receive_json()["code"] == "stream_over"
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_json()
            assert closed.value.code == 4000
        with client.websocket_connect("/stream") as socket:
            socket.send_json({"type": "start"})
            assert socket.receive_json()["model"]["version"] == 2


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal here")
def test_sighup_asks_for_the_newest(store: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    import sys

    from tests.service.server.test_serve import started

    script = f"""
import pathlib, service.cli
from tests.service.test_reloading import factory
service.cli.main(service.cli.Parts(factory(pathlib.Path({str(store)!r}))))
"""
    with started(tmp_path_factory.mktemp("hup") / "log", sys.executable, "-c", script) as service:
        assert httpx.post(service.url + "/predict", content=FACES).json()["model"]["version"] == 3
        ship(store, 4)
        os.kill(service.process.pid, signal.SIGHUP)
        end = time.monotonic() + 30
        while "serving scaled/4 in the place of version 3" not in service.log and time.monotonic() < end:
            time.sleep(0.02)
        assert httpx.post(service.url + "/predict", content=FACES).json()["model"]["version"] == 4
        shutil.rmtree(store / "scaled" / "4")  # going back: what is not there is not served
        os.kill(service.process.pid, signal.SIGHUP)
        while "serving scaled/3 in the place of version 4" not in service.log and time.monotonic() < end:
            time.sleep(0.02)
        assert json.loads(httpx.get(service.url + "/model").text)["version"] == 3
        service.process.send_signal(signal.SIGTERM)
        assert service.exit_status() == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal here")
def test_sighup_while_models_load_reloads_when_they_have(store: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Who signals all instances meets one that has just read the store: it neither ends nor misses the version."""
    import sys

    from tests.service.server.test_serve import started

    script = f"""
import os, pathlib, signal, service.cli
from tests.service.test_reloading import factory, ship

def create_engine(settings):
    engine = factory(store)(settings)
    ship(store, 4)
    os.kill(os.getpid(), signal.SIGHUP)
    return engine

store = pathlib.Path({str(store)!r})
service.cli.main(service.cli.Parts(create_engine))
"""
    with started(tmp_path_factory.mktemp("hup") / "log", sys.executable, "-c", script) as service:
        end = time.monotonic() + 30
        while "serving scaled/4 in the place of version 3" not in service.log and time.monotonic() < end:
            time.sleep(0.02)
        assert httpx.post(service.url + "/predict", content=FACES).json()["model"]["version"] == 4
        service.process.send_signal(signal.SIGTERM)
        assert service.exit_status() == 0


def test_a_store_that_does_not_answer_delays_no_end(store: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A bucket behind a cut connection: what waits for it has no time of its own, and orchestrators kill the process."""
    import sys

    from tests.service.server.test_serve import started

    script = f"""
import logging, pathlib, threading, service.cli
from service.models.store import ModelStore
from tests.service.test_reloading import factory
class Silent(ModelStore):
    def state(self, name, version):
        logging.getLogger("facet").info("a look begins")
        threading.Event().wait()
service.cli.main(service.cli.Parts(factory(Silent(pathlib.Path({str(store)!r})))))
"""
    log = tmp_path_factory.mktemp("silent") / "log"
    with started(log, sys.executable, "-c", script, FACET_MODEL_POLL_S="0.1", FACET_LOG_LEVEL="info") as service:
        end = time.monotonic() + 30
        while "a look begins" not in service.log and time.monotonic() < end:
            time.sleep(0.02)
        service.process.send_signal(signal.SIGTERM)
        assert service.exit_status() == 0
        assert "Application shutdown complete" in service.log


def threads() -> int:
    """Of this process."""
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not say what a process holds")
async def test_swapped_networks_leave_nothing_behind(root: Path, tmp_path: Path) -> None:
    """Compiled networks, their requests and threads go with the model; `benchmarks/swaps.py` swaps whole services 50 times."""
    for version in (1, 2):
        folder = tmp_path / "swapped" / str(version)
        shutil.copytree(root / "model_store/mobilefacenet/1", folder)
        described = json.loads((folder / MANIFEST).read_text()) | {"name": "swapped", "version": version}
        (folder / MANIFEST).write_text(json.dumps(described))
    networks: list[weakref.ref[Network]] = []
    real = loader(Runtime.OPENVINO, Precision.F32, 1)

    def observed(folder: Path) -> Network:
        network = real(folder)
        networks.append(weakref.ref(network))
        return network

    def build(settings: Settings) -> Engine:
        source = ModelSource(ModelStore(tmp_path), "swapped", 1, None, None, 100, observed, None, MemoryBudget(2**30))
        model = source.load(1)
        engine = engine_factory(model.networks["faces"], **model.manifest.model_dump())(settings)
        return dataclasses.replace(engine, model=model, source=source, detector=Model(model.manifest, {}, "0" * 64))

    held, alive = list[int](), list[int]()
    async with serving(build, operator_keys="operator") as client:
        first = ages((await client.post("/predict", content=FACES)).json())
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.05) for _ in range(64)))  # the loop's own threads are all there
        for turn in range(10):
            asked = [asyncio.create_task(client.post("/predict", content=FACES)) for _ in range(4)]
            assert (await reload(client, 2 - turn % 2)).json()["outcome"] == "swapped"
            for one in asked:
                assert ages((await one).json()) == pytest.approx(first, abs=0.2)
            await until(lambda: client.engine.retiring == [], 30)
            await until(lambda: sum(one() is not None for one in networks) == 1, 30)
            held.append(resident())
            alive.append(threads())
    assert len(networks) == 11
    # Arrow's allocator starts its own threads late, one a CPU: swaps that leave threads add to every run of four.
    assert min(after - before for before, after in zip(alive[1:], alive[5:], strict=False)) <= 0
    assert min(held[4:]) < 1.05 * max(held[1:3])
