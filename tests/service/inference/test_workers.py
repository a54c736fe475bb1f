"""Bounded places to work: who waits, who is refused, and what becomes of a caller that leaves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from service.errors import DeadlineExceeded, QueueFull
from service.inference.workers import PixelBudget, Workers

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

    one, other, name = await workers.run(call, LATER, 1, other="x")
    assert (one, other) == (1, "x")
    assert name != threading.current_thread().name
    assert workers.waiting == 0
    workers.close()


async def test_what_a_call_raises_reaches_its_caller_alone() -> None:
    workers = Workers(1, 4)
    failing = asyncio.create_task(workers.run(lambda: 1 // 0, LATER))
    good = asyncio.create_task(workers.run(lambda: 7, LATER))
    with pytest.raises(ZeroDivisionError):
        await failing
    assert await good == 7
    workers.close()


async def test_so_many_run_so_many_wait_and_the_rest_is_refused() -> None:
    workers, gate = Workers(2, 3), Gate()
    calls = [asyncio.create_task(workers.run(gate, LATER, n)) for n in range(5)]
    await until(lambda: gate.inside == 2)
    assert workers.waiting == 3
    with pytest.raises(QueueFull):
        await workers.run(gate, LATER, 9)
    gate.open.set()
    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
    assert gate.most == 2
    await until(lambda: workers.waiting == 0)
    assert await workers.run(gate, LATER, 6) == 6, "there is room again"
    workers.close()


async def test_a_call_that_has_not_begun_by_its_deadline_never_begins() -> None:
    workers, gate, begun = Workers(1, 4), Gate(), list[int]()
    first = asyncio.create_task(workers.run(gate, LATER, 1))
    await until(lambda: gate.inside == 1)
    late = asyncio.create_task(workers.run(begun.append, asyncio.get_running_loop().time() + 0.01, 2))
    await asyncio.sleep(0.03)
    gate.open.set()
    with pytest.raises(DeadlineExceeded):
        await late
    assert await first == 1
    assert begun == []
    workers.close()


async def test_a_call_whose_deadline_has_passed_is_late_even_where_the_line_is_full() -> None:
    workers, gate = Workers(1, 0), Gate()
    first = asyncio.create_task(workers.run(gate, LATER, 1))
    await until(lambda: gate.inside == 1)
    with pytest.raises(DeadlineExceeded):
        await workers.run(gate, asyncio.get_running_loop().time() - 1, 2)
    gate.open.set()
    assert await first == 1
    workers.close()


async def test_a_caller_that_leaves_keeps_its_place_until_its_call_ends() -> None:
    """The thread is busy, whether or not somebody waits for it."""
    workers, gate = Workers(1, 1), Gate()
    left = asyncio.create_task(workers.run(gate, LATER, 1))
    await until(lambda: gate.inside == 1)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    other = asyncio.create_task(workers.run(gate, LATER, 2))
    await until(lambda: workers.waiting == 1)
    with pytest.raises(QueueFull):
        await workers.run(gate, LATER, 3)
    gate.open.set()
    assert await other == 2
    assert await workers.run(gate, LATER, 4) == 4
    workers.close()


async def test_the_error_of_a_call_whose_caller_has_left_is_nobodys() -> None:
    workers, gate = Workers(1, 1), Gate()

    def call() -> None:
        gate()
        raise ValueError("late")

    left = asyncio.create_task(workers.run(call, LATER))
    await until(lambda: gate.inside == 1)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    gate.open.set()
    assert await workers.run(lambda: 5, LATER) == 5
    workers.close()


async def test_closing_finishes_what_has_begun() -> None:
    workers, gate = Workers(1, 4), Gate()
    begun = asyncio.create_task(workers.run(gate, LATER, 1))
    await until(lambda: gate.inside == 1)
    gate.open.set()
    workers.close()
    assert await begun == 1


# Pixels in flight -------------------------------------------------------------------------------------------------------


def test_pixels_in_flight_never_exceed_the_budget() -> None:
    budget, lock = PixelBudget(100), threading.Lock()
    flying, most = 0, 0

    def decode(pixels: int) -> None:
        nonlocal flying, most
        with budget.take(pixels):
            with lock:
                flying += pixels
                most = max(most, flying)
            time.sleep(0.002)
            with lock:
                flying -= pixels

    threads = [threading.Thread(target=decode, args=(pixels,)) for pixels in (60, 50, 40, 30, 20, 10, 100, 99, 1) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert 60 <= most <= 100


def test_a_photo_above_the_budget_goes_alone() -> None:
    budget, inside, done = PixelBudget(100), threading.Event(), threading.Event()

    def other() -> None:
        with budget.take(1):
            done.set()

    with budget.take(10**9):
        inside.set()
        thread = threading.Thread(target=other)
        thread.start()
        assert not done.wait(timeout=0.05)
    assert done.wait(timeout=20)
    thread.join()


def test_pixels_are_given_back_by_a_call_that_fails() -> None:
    budget = PixelBudget(100)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"), budget.take(100):
            raise ValueError("no")
