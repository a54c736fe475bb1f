"""Many requests at once: answers are never swapped, queues are bounded, deadlines hold, and one failure is one failure."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import httpx
import pytest

from tests.client import CANARY, Client, assert_problem, serving, until, years
from tests.conftest import encoded
from tests.fakes import ColourNetwork, FailingNetwork, GatedNetwork, Pixels, SquareDetector, engine_factory, squares

SHARE = 0.945
"""Part of a crop of `squares` that its square fills."""
PHOTO = encoded(squares((200, 100, 50)))
RED, GREEN = encoded(squares((255, 60, 60))), encoded(squares((90, 250, 60)))


def start(client: Client, photo: bytes = PHOTO, path: str = "/predict") -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(client.post(path, content=photo))


# Whose answer is it? --------------------------------------------------------------------------------------------------


class HurriedDetector(SquareDetector):
    """Takes a different time for every photo, so that photos overtake one another."""

    def detect(self, pixels: Pixels) -> Any:
        time.sleep(random.random() / 200)
        return super().detect(pixels)


async def test_no_answer_is_swapped_under_many_concurrent_requests() -> None:
    chance = random.Random(5)
    network = ColourNetwork()
    async with serving(engine_factory(network, HurriedDetector()), workers=4, photo_queue=200, photo_wait_s=60) as client:

        async def one() -> None:
            # None to four faces, so that counting them wrongly anywhere shifts somebody's answers.
            colours = [
                (chance.randrange(50, 256), chance.randrange(50, 256), chance.randrange(50, 256))
                for _ in range(chance.randrange(5))
            ]
            response = await client.post("/predict", content=encoded(squares(*colours)))
            faces = response.json()["faces"]
            assert [years(face) for face in faces] == [pytest.approx(SHARE * red / 255 * 100, abs=0.6) for red, _, _ in colours]
            females = [face["gender"]["probabilities"]["female"] for face in faces]
            assert females == [pytest.approx(SHARE * green / 255, abs=0.006) for _, green, _ in colours]

        async def several() -> None:
            reds = [chance.randrange(50, 256) for _ in range(4)]
            files = [("file", encoded(squares((red, 60, 60)))) for red in reds]
            results = (await client.post("/predict/batch", files=files)).json()["results"]
            ages = [years(result["result"]["faces"][0]) for result in results]
            assert ages == [pytest.approx(SHARE * red / 255 * 100, abs=0.6) for red in reds]

        everybody: list[Coroutine[Any, Any, None]] = [one() for _ in range(80)]
        everybody += [several() for _ in range(8)]
        chance.shuffle(everybody)
        await asyncio.gather(*everybody)
    assert max(network.batches) > 1  # they did share batches


async def test_crops_gather_while_a_batch_runs_and_run_together() -> None:
    network = GatedNetwork()
    async with serving(engine_factory(network), photo_queue=100, photo_wait_s=60) as client:
        with network:
            requests = [start(client)]
            await until(network.entered.is_set)
            requests += [start(client) for _ in range(40)]
            await until(lambda: client.engine.batcher.waiting == 40)
        assert {(await request).status_code for request in requests} == {200}
    assert network.batches == [1, 16, 16, 8]


# Bounded queues -------------------------------------------------------------------------------------------------------


class GatedDetector(SquareDetector):
    """Waits, for every photo, until `gate` is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.inside = 0

    def detect(self, pixels: Pixels) -> Any:
        self.inside += 1
        assert self.gate.wait(10)
        return super().detect(pixels)


async def test_a_full_queue_of_photos_is_503_at_once_and_drains() -> None:
    detector = GatedDetector()
    async with serving(engine_factory(detector=detector), workers=2, photo_queue=3) as client:
        try:
            accepted = [start(client) for _ in range(5)]
            await until(lambda: detector.inside == 2 and client.engine.workers.waiting == 3)
            began = time.monotonic()
            for path in ("/predict", "/predict"):
                assert_problem(await client.post(path, content=PHOTO), 503, "queue_full")
            batch = await client.post("/predict/batch", files=[("file", PHOTO)])
            assert batch.json()["results"][0]["problem"]["code"] == "queue_full"
            assert time.monotonic() - began < 1
        finally:
            detector.gate.set()
        assert [(await request).status_code for request in accepted] == [200] * 5
        assert (await client.post("/predict", content=PHOTO)).status_code == 200


async def test_what_a_full_queue_refuses_is_not_read() -> None:
    detector, read = GatedDetector(), list[bool]()

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield PHOTO

    async with serving(engine_factory(detector=detector), workers=1, photo_queue=0) as client:
        try:
            accepted = start(client)
            await until(lambda: detector.inside == 1)
            assert_problem(await client.post("/predict", content=body()), 503, "queue_full")
            assert read == []
        finally:
            detector.gate.set()
        assert (await accepted).status_code == 200
        assert (await client.post("/predict", content=body())).status_code == 200
        assert read == [True]


async def test_a_full_queue_of_faces_is_503_and_drains() -> None:
    network = GatedNetwork()
    async with serving(engine_factory(network), face_queue=4) as client:
        with network:
            accepted = [start(client)]
            await until(network.entered.is_set)
            accepted += [start(client) for _ in range(4)]
            await until(lambda: client.engine.batcher.waiting == 4)
            assert_problem(await client.post("/predict", content=PHOTO), 503, "queue_full")
            assert (await client.post("/predict", content=encoded(squares()))).status_code == 200  # it has no face to queue
        assert [(await request).status_code for request in accepted] == [200] * 5
        assert (await client.post("/predict", content=PHOTO)).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics", "/model"])
async def test_probes_answer_at_once_while_everything_is_stuck(path: str) -> None:
    network = GatedNetwork()
    async with serving(engine_factory(network), workers=2, photo_queue=4, face_queue=4) as client:
        with network:
            stuck = [start(client) for _ in range(12)]
            await until(network.entered.is_set)
            began = time.monotonic()
            assert (await client.get(path)).status_code == 200
            assert time.monotonic() - began < 0.5
        assert {(await request).status_code for request in stuck} == {200, 503}


async def test_a_large_body_does_not_hold_up_the_probes() -> None:
    """Taking a body apart blocks; above a quarter of a MiB it must not block the loop."""
    gate = threading.Event()

    def slow(*arguments: object) -> list[bytes]:
        assert gate.wait(10)
        return [PHOTO]

    async with serving() as client:
        client.app.state.body_reader = slow
        large = start(client, bytes(300_000))
        await asyncio.sleep(0.05)
        assert (await client.get("/health")).status_code == 200
        assert not large.done()
        gate.set()
        assert (await large).status_code == 200


# Deadlines ------------------------------------------------------------------------------------------------------------


async def test_past_its_deadline_a_request_is_504_even_where_the_network_hangs() -> None:
    network = GatedNetwork()
    async with serving(engine_factory(network), deadline_s=0.3) as client:
        with network:
            began = time.monotonic()
            first = start(client)
            await until(network.entered.is_set)
            for request in (first, start(client), start(client)):
                assert_problem(await request, 504, "deadline_exceeded")
            assert 0.25 < time.monotonic() - began < 2
        assert (await client.post("/predict", content=PHOTO)).status_code == 200
    assert network.batches == [1, 1]  # those that waited were dropped before the network ran


async def test_a_photo_whose_deadline_passes_in_the_line_is_never_looked_at() -> None:
    detector = GatedDetector()
    async with serving(engine_factory(detector=detector), workers=1, deadline_s=0.2) as client:
        try:
            requests = [start(client) for _ in range(3)]
            for request in requests:
                assert_problem(await request, 504, "deadline_exceeded")
        finally:
            detector.gate.set()
        await until(lambda: client.engine.workers.waiting == 0)
        assert (await client.post("/predict", content=PHOTO)).status_code == 200
    assert detector.inside == 2  # the first, which had begun, and the last


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
async def test_a_deadline_counts_from_the_bodys_arrival(path: str) -> None:
    """To take a body apart is part of it."""

    def slow(*arguments: object) -> list[bytes]:
        time.sleep(0.3)
        return [PHOTO]

    async with serving(deadline_s=0.2, batch_deadline_s=0.2) as client:
        client.app.state.body_reader = slow
        response = await start(client, bytes(300_000), path)
        if path == "/predict":
            assert_problem(response, 504, "deadline_exceeded")
        else:
            assert [result["problem"]["code"] for result in response.json()["results"]] == ["deadline_exceeded"]


# Failures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [None, RuntimeError(f"{CANARY} at /opt/model.py"), MemoryError()], ids=["nan", "error", "memory"]
)
async def test_a_failing_network_is_500_for_that_batch_only(how: Exception | None) -> None:
    async with serving(engine_factory(FailingNetwork(how))) as client:
        for _ in range(3):
            assert_problem(await client.post("/predict", content=RED), 500, "inference_failed")
            good = await client.post("/predict", content=GREEN)
            assert good.status_code == 200
            assert years(good.json()["faces"][0]) == pytest.approx(SHARE * 90 / 255 * 100, abs=0.6)
        assert (await client.get("/health/live")).status_code == 200


async def test_those_who_share_a_failing_batch_fail_with_it_and_nobody_else() -> None:
    class Failing(GatedNetwork):
        def __call__(self, batch: Pixels) -> Any:
            answers = super().__call__(batch)
            if len(batch) == 4:
                answers["race"][2, 1] = float("inf")
            return answers

    network = Failing()
    async with serving(engine_factory(network), photo_queue=100, photo_wait_s=60) as client:
        with network:
            alone = start(client)
            await until(network.entered.is_set)
            together = [start(client) for _ in range(4)]
            await until(lambda: client.engine.batcher.waiting == 4)
        assert (await alone).status_code == 200
        for request in together:
            assert_problem(await request, 500, "inference_failed")
        assert (await client.post("/predict", content=PHOTO)).status_code == 200


# Clients that leave ---------------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_does_not_fail_delay_or_swap_the_others() -> None:
    network = GatedNetwork()
    async with serving(engine_factory(network), photo_queue=100, photo_wait_s=60) as client:
        reds = range(60, 260, 10)
        with network:
            first = start(client)
            await until(network.entered.is_set)
            requests = [start(client, encoded(squares((red, 60, 60)))) for red in reds]
            await until(lambda: client.engine.batcher.waiting == len(reds))
            for request in requests[::3]:
                request.cancel()
            first.cancel()
            await asyncio.gather(first, *requests[::3], return_exceptions=True)
        for index, (red, request) in enumerate(zip(reds, requests, strict=True)):
            if index % 3:
                assert years((await request).json()["faces"][0]) == pytest.approx(SHARE * red / 255 * 100, abs=0.6)
        assert sum(network.batches) == 1 + 16  # 13 of 20 stayed, padded to 16; who left costs the network nothing
        assert client.engine.batcher.waiting == 0


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_fault_of_ours(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": PHOTO[:50], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/predict", "query_string": b"", "headers": []}
    caplog.set_level("INFO", "facet.access")
    await client.app(scope, receive, send)
    assert sent == []
    assert [record.levelname for record in caplog.records if record.name.startswith("facet")] == ["INFO"]
    assert " 499 " in caplog.text
    assert (await client.post("/predict", content=PHOTO)).status_code == 200


# Stopping -------------------------------------------------------------------------------------------------------------


async def test_what_was_accepted_is_finished_when_the_service_stops() -> None:
    network = GatedNetwork()
    async with serving(engine_factory(network)) as client:
        requests = [start(client)]
        await until(network.entered.is_set)
        requests += [start(client) for _ in range(5)]
        await until(lambda: client.engine.batcher.waiting == 5)
        asyncio.get_running_loop().call_later(0.1, network.gate.set)
    assert [(await request).status_code for request in requests] == [200] * 6
