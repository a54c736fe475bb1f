"""A bounded place to work: who waits, who is refused, and what becomes of a caller that leaves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from service.errors import DeadlineExceeded, NotEnoughMemory, QueueFull
from service.inference.workers import Workers

LATER = 1e9


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing tells a test when
            await asyncio.sleep(0.001)


class Gate:
    """A call that waits; counts who is inside."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, value: int = 0) -> int:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.open.wait(timeout=30)
        with self._lock:
            self.inside -= 1
        return value


async def test_a_call_runs_off_the_event_loop_with_its_arguments() -> None:
    workers = Workers(2, 2)

    def call(one: int, *, other: str) -> tuple[int, str, str]:
        return one, other, threading.current_thread().name

    one, other, name = await workers.run_for("", call, LATER, 1, other="x")
    assert (one, other) == (1, "x")
    assert name != threading.current_thread().name
    assert workers.waiting == 0
    await workers.close()


async def test_what_a_call_raises_reaches_its_caller_alone() -> None:
    workers = Workers(1, 4)
    failing = asyncio.create_task(workers.run_for("", lambda: 1 // 0, LATER))
    good = asyncio.create_task(workers.run_for("", lambda: 7, LATER))
    with pytest.raises(ZeroDivisionError):
        await failing
    assert await good == 7
    await workers.close()


async def test_so_many_run_so_many_wait_and_the_rest_is_refused() -> None:
    workers, gate = Workers(2, 3), Gate()
    calls = [asyncio.create_task(workers.run_for("", gate, LATER, n)) for n in range(5)]
    await until(lambda: gate.inside == 2)
    assert workers.waiting == 3
    with pytest.raises(QueueFull):
        await workers.run_for("", gate, LATER, 9)
    gate.open.set()
    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
    assert gate.most == 2
    await until(lambda: workers.waiting == 0)
    assert await workers.run_for("", gate, LATER, 6) == 6, "there is room again"
    await workers.close()


async def test_a_call_that_has_not_begun_by_its_deadline_never_begins() -> None:
    workers, gate, begun = Workers(1, 4), Gate(), list[int]()
    first = asyncio.create_task(workers.run_for("", gate, LATER, 1))
    await until(lambda: gate.inside == 1)
    late = asyncio.create_task(workers.run_for("", begun.append, asyncio.get_running_loop().time() + 0.01, 2))
    await asyncio.sleep(0.03)
    gate.open.set()
    with pytest.raises(DeadlineExceeded):
        await late
    assert await first == 1
    assert begun == []
    await workers.close()


async def test_a_call_whose_deadline_has_passed_is_late_even_where_the_line_is_full() -> None:
    workers, gate = Workers(1, 0), Gate()
    first = asyncio.create_task(workers.run_for("", gate, LATER, 1))
    await until(lambda: gate.inside == 1)
    with pytest.raises(DeadlineExceeded):
        await workers.run_for("", gate, asyncio.get_running_loop().time() - 1, 2)
    gate.open.set()
    assert await first == 1
    await workers.close()


async def test_a_caller_that_leaves_keeps_its_place_until_its_call_ends() -> None:
    """The thread is busy, whether or not somebody waits for it."""
    workers, gate = Workers(1, 1), Gate()
    left = asyncio.create_task(workers.run_for("", gate, LATER, 1))
    await until(lambda: gate.inside == 1)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    other = asyncio.create_task(workers.run_for("", gate, LATER, 2))
    await until(lambda: workers.waiting == 1)
    with pytest.raises(QueueFull):
        await workers.run_for("", gate, LATER, 3)
    gate.open.set()
    assert await other == 2
    assert await workers.run_for("", gate, LATER, 4) == 4
    await workers.close()


async def test_the_error_of_a_call_whose_caller_has_left_is_nobodys() -> None:
    workers, gate = Workers(1, 1), Gate()

    def call() -> None:
        gate()
        raise ValueError("late")

    left = asyncio.create_task(workers.run_for("", call, LATER))
    await until(lambda: gate.inside == 1)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    gate.open.set()
    assert await workers.run_for("", lambda: 5, LATER) == 5
    await workers.close()


async def test_closing_finishes_what_has_begun() -> None:
    workers, gate = Workers(1, 4), Gate()
    begun = asyncio.create_task(workers.run_for("", gate, LATER, 1))
    await until(lambda: gate.inside == 1)
    gate.open.set()
    await workers.close()
    assert await begun == 1


async def test_closing_drops_what_waits_where_callers_leave_the_queue() -> None:
    """On a thread of its own it took the queue apart under them: who left then ended with a KeyError, or the closing did."""
    workers, gate = Workers(1, 100), Gate()
    calls = [asyncio.create_task(workers.run_for(f"client {index % 4}", gate, LATER)) for index in range(12)]
    await until(lambda: gate.inside == 1)
    closing = asyncio.create_task(workers.close(20))
    for call in calls[1::2]:
        call.cancel()
    await asyncio.sleep(0)
    assert workers.waiting == 0, "dropped in one step of the event loop"
    gate.open.set()
    await closing
    assert await calls[0] == 0
    assert all(isinstance(error, asyncio.CancelledError) for error in await asyncio.gather(*calls[1:], return_exceptions=True))


async def test_a_call_past_its_deadline_is_overdue_until_it_ends_and_is_not_waited_for_for_ever() -> None:
    workers, gate = Workers(1, 1), Gate()
    now = asyncio.get_running_loop().time()
    call = asyncio.create_task(workers.run_for("", gate, now + 1, 3))
    await until(lambda: gate.inside == 1)
    assert workers.overdue(now) < 0
    assert workers.overdue(now + 31) == 30
    await workers.close(0.01)
    assert workers.hung
    gate.open.set()
    assert await call == 3
    await until(lambda: not workers.hung)


async def test_the_queue_is_as_long_as_its_wait() -> None:
    """Calls of a quarter of a second fill half a second soon."""
    workers, gate = Workers(1, 100, wait_s=0.5), Gate()
    for _ in range(12):  # until the mean is theirs
        await workers.run_for("", time.sleep, LATER, 0.25)
    running = [asyncio.create_task(workers.run_for("", gate, LATER)) for _ in range(5)]
    await until(lambda: workers.waiting == 4)
    with pytest.raises(QueueFull) as refused:
        await workers.run_for("", gate, LATER)
    assert refused.value.retry_after > 5 * 0.23
    gate.open.set()
    await asyncio.gather(*running)
    await workers.close()


async def test_short_calls_may_wait_by_the_hundred() -> None:
    workers, gate = Workers(1, 100, wait_s=2000), Gate()
    running = [asyncio.create_task(workers.run_for("", gate, LATER)) for _ in range(101)]
    await until(lambda: workers.waiting == 100)
    with pytest.raises(QueueFull):
        await workers.run_for("", gate, LATER)
    gate.open.set()
    await asyncio.gather(*running)
    await workers.close()


async def test_calls_that_are_held_back_are_bounded_like_all() -> None:
    """One thread stays free for short calls; the long ones that wait for the other are no more than the places."""
    workers, gate = Workers(2, 4), Gate()
    for _ in range(30):
        await workers.run_for("short", lambda: None, LATER)
    for _ in range(3):
        await workers.run_for("long", lambda: time.sleep(0.1), LATER)
    calls = [asyncio.create_task(workers.run_for("long", gate, LATER, n)) for n in range(12)]
    await until(lambda: gate.inside == 1 and workers.waiting <= 4)
    assert workers.inside == 5, "one thread is free"
    with pytest.raises(QueueFull):
        await workers.run_for("long", gate, LATER, 99)
    with pytest.raises(QueueFull):
        workers.require_place("long")
    assert await asyncio.wait_for(workers.run_for("short", lambda: 7, LATER), 5) == 7
    gate.open.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(one, int) for one in answers) == 4
    assert sum(isinstance(one, QueueFull) for one in answers) == 8
    await workers.close()


async def test_a_client_that_is_alone_has_every_thread_however_long_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last call was made long ago, and nobody else asks."""
    monkeypatch.setattr("service.inference.workers.RECENT_S", 0.05)
    workers, gate = Workers(2, 20), Gate()
    gate.open.set()

    def call() -> None:
        gate()
        time.sleep(0.03)

    most = 0
    calls = [asyncio.create_task(workers.run_for("alone", call, LATER)) for _ in range(12)]
    await asyncio.sleep(0.1)
    while not all(one.done() for one in calls):
        if workers.waiting:
            most = max(most, 2 - (workers.inside - workers.waiting))
        await asyncio.sleep(0.001)
    assert most == 0, "no thread was idle while calls waited"
    await workers.close()


def lend_no_thread(_: threading.Thread) -> None:
    """As a thread starts where the system is at its limit of processes."""
    raise RuntimeError("can't start new thread")


async def test_no_call_needs_a_thread_that_the_system_may_not_lend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that found none kept its place for ever, and a pool without any answered nobody."""
    workers, gate = Workers(3, 4), Gate()
    monkeypatch.setattr(threading.Thread, "start", lend_no_thread)
    calls = [asyncio.create_task(workers.run_for("", gate, LATER, value)) for value in range(3)]
    await until(lambda: gate.inside == 3)
    gate.open.set()
    assert await asyncio.gather(*calls) == [0, 1, 2]
    assert workers.inside == 0
    await workers.close()


def test_a_pool_for_which_the_system_lends_too_few_threads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def lend_two(thread: threading.Thread) -> None:
        if len(started) == 2:
            lend_no_thread(thread)
        start(thread)
        started.append(thread)

    monkeypatch.setattr(threading.Thread, "start", lend_two)
    with pytest.raises(NotEnoughMemory, match="fewer than 3 threads for photos"):
        Workers(3, 4)
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()
