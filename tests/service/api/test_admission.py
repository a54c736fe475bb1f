"""Refusals before the body is read, and at what pace a client has them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from service.api.middleware import admission
from service.api.middleware.admission import Admission, RefusalPace
from service.inference.workers import Workers
from tests.client import until


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_client_has_a_burst_of_refusals_at_once_and_the_others_at_its_rate() -> None:
    clock = Clock()
    pace = RefusalPace(rate=10, burst=3, longest=1, clock=clock)
    assert [pace.delay("one") for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])
    assert pace.delay("other") == 0
    clock.now += 0.2
    assert pace.delay("one") == pytest.approx(0.1)


def test_no_refusal_is_held_back_longer_than_the_longest_time() -> None:
    clock = Clock()
    pace = RefusalPace(rate=10, burst=3, longest=0.5, clock=clock)
    assert max(pace.delay("one") for _ in range(100)) == pytest.approx(0.5)
    clock.now += 0.5  # what was asked for in vain is not held against the client any longer
    assert pace.delay("one") == pytest.approx(0.1)
    clock.now += 10
    assert [pace.delay("one") for _ in range(3)] == [0, 0, 0]


def test_a_client_that_waits_as_retry_after_asks_is_refused_at_once_each_time() -> None:
    clock = Clock()
    pace = RefusalPace(clock=clock)
    for _ in range(100):
        assert pace.delay("one") == 0
        clock.now += 1


def test_clients_who_left_are_forgotten() -> None:
    clock = Clock()
    pace = RefusalPace(clock=clock)
    for number in range(3 * admission.REMEMBERED):
        pace.delay(f"client-{number}")
    assert len(pace) <= admission.REMEMBERED
    held = [pace.delay("impatient") for _ in range(admission.BURST + 5)][-1]
    for number in range(2 * admission.REMEMBERED):
        pace.delay(f"another-{number}")
    assert pace.delay("impatient") >= held > 0  # others who come and go do not clear it


async def accept(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that has room for everything."""
    await PlainTextResponse("there is room")(scope, receive, send)


@asynccontextmanager
async def full(pace: RefusalPace, most_held: int = admission.MOST_HELD) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose only thread is busy and whose queue has no place."""
    workers, end = Workers(1, 0), threading.Event()
    admitted = Admission(accept, ["/predict"], lambda: workers, pace, most_held)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"request_id": "test"}
        await admitted(scope, receive, send)

    busy = asyncio.create_task(workers.run_for("", end.wait, asyncio.get_running_loop().time() + 60))
    await until(lambda: workers.full)
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            yield client
    finally:
        end.set()
        await busy
        await workers.close()


async def test_refusals_beyond_a_clients_pace_come_later_and_other_paths_at_once() -> None:
    async with full(RefusalPace(rate=5, burst=1, longest=0.4)) as client:
        began = time.monotonic()
        took: list[float] = []

        async def post() -> int:
            status = (await client.post("/predict", content=b"photo")).status_code
            took.append(time.monotonic() - began)
            return status

        held = asyncio.gather(*(post() for _ in range(4)))
        assert (await client.get("/health")).status_code == 200
        assert time.monotonic() - began < 0.19
        assert await held == [503] * 4
        assert took == sorted(took)
        assert [seconds >= least for seconds, least in zip(took, (0, 0.19, 0.39, 0.39), strict=True)] == [True] * 4


async def test_no_more_are_held_back_than_may_be() -> None:
    async with full(RefusalPace(rate=0.01, burst=1, longest=30), most_held=1) as client:
        assert (await client.post("/predict")).status_code == 503
        held = asyncio.create_task(client.post("/predict"))
        await asyncio.sleep(0.05)
        assert (await client.post("/predict")).status_code == 503  # at once, with one held back
        assert not held.done()
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held
        again = asyncio.create_task(client.post("/predict"))  # who leaves makes room
        await asyncio.sleep(0.05)
        assert not again.done()
        again.cancel()
