"""Turns and places are shared by client, by what each has cost; a polite client is not kept out by a greedy one."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from service.errors import QueueFull
from service.inference.fairness import REMEMBERED, FairQueue
from service.inference.workers import Workers

LATER = 1e9


def test_clients_take_turns_by_what_they_have_cost() -> None:
    queue = FairQueue[int]()
    for item in range(6):
        queue.push("dear", item)
        queue.push("cheap", item)
    order = []
    while (found := queue.pop()) is not None:
        order.append(found)
        queue.charge(found[0], 3 if found[0] == "dear" else 1)
    assert [client for client, _ in order][:8].count("cheap") == 6
    assert [item for client, item in order if client == "dear"] == list(range(6))


def test_a_pause_saves_nothing_up() -> None:
    queue = FairQueue[int]()
    for item in range(100):
        queue.push("a", item)
        queue.pop()
        queue.charge("a", 1)
    for item in range(10):
        queue.push("a", item)
        queue.push("late", item)
    order = []
    for _ in range(4):
        found = queue.pop()
        assert found is not None
        order.append(found[0])
        queue.charge(found[0], 1)
    assert sorted(order) == ["a", "a", "late", "late"]


def test_of_many_clients_those_who_have_cost_least_are_forgotten() -> None:
    queue = FairQueue[int]()
    queue.charge("dear", 5)
    queue.charge("cheap", 0.5)
    for item in range(REMEMBERED):
        queue.push(f"once {item}", item)
        queue.pop()
        queue.charge(f"once {item}", 1)
    for client in ("dear", "cheap", "new"):
        queue.push(client, 0)
    assert [queue.pop() for _ in range(3)] == [("cheap", 0), ("new", 0), ("dear", 0)]


def test_the_newest_of_the_longest_line_gives_way() -> None:
    queue = FairQueue[int]()
    assert queue.longest() is None
    for client, count in (("first", 2), ("most", 3), ("last", 1)):
        for item in range(count):
            queue.push(client, item)
    assert (queue.longest(), len(queue), queue.clients) == ("most", 6, 3)
    assert queue.take_last("most") == 2
    assert queue.depth("most") == 2
    assert sorted(queue.drain()) == [0, 0, 0, 1, 1]
    assert (queue.longest(), len(queue), queue.clients, queue.pop()) == (None, 0, 0, None)


async def test_in_a_full_line_who_has_most_loses_the_last_place() -> None:
    workers = Workers(1, 3)
    calls = [asyncio.create_task(workers.run_for("greedy", time.sleep, LATER, 0.1)) for _ in range(4)]
    await asyncio.sleep(0.02)
    polite = asyncio.create_task(workers.run_for("polite", lambda: "answer", LATER))
    with pytest.raises(QueueFull) as refused:
        await calls[-1]
    assert refused.value.retry_after > 0
    assert await polite == "answer"
    assert sum(call.done() for call in calls[:3]) < 3, "the polite client's turn comes before the others are all done"
    await asyncio.gather(*calls[:3])
    await workers.close()


async def test_a_caller_that_leaves_the_line_frees_its_place() -> None:
    workers = Workers(1, 2)
    first = asyncio.create_task(workers.run_for("a", time.sleep, LATER, 0.1))
    await asyncio.sleep(0.02)
    waiting = [asyncio.create_task(workers.run_for("a", time.sleep, LATER, 5)) for _ in range(2)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert workers.waiting == 0
    began = time.monotonic()
    assert await workers.run_for("a", lambda: 1, LATER) == 1
    assert time.monotonic() - began < 1
    await first
    await workers.close()


@pytest.mark.parametrize("seconds", [0.01, 0.1], ids=["as-short", "long"])
async def test_a_polite_client_keeps_at_least_half_its_fair_share(seconds: float) -> None:
    """One client with 40 callers against two with one each, on two threads; shares are of the time that was worked at all."""
    workers, end = Workers(2, 32), time.monotonic() + 2.5
    worked = {"greedy": 0.0, "one": 0.0, "two": 0.0}

    def work(client: str, each: float) -> None:
        began = time.monotonic()
        time.sleep(each)
        worked[client] += max(0.0, min(time.monotonic(), end) - began)

    async def ask(client: str, each: float) -> None:
        while time.monotonic() < end:
            with contextlib.suppress(QueueFull):
                await workers.run_for(client, work, LATER, client, each)
                continue
            await asyncio.sleep(0.01)

    greedy = [ask("greedy", seconds) for _ in range(40)]
    await asyncio.gather(*greedy, ask("one", 0.01), ask("two", 0.01))
    fair = sum(worked.values()) / 3
    assert min(worked["one"], worked["two"]) >= fair / 2, worked
    await workers.close()
