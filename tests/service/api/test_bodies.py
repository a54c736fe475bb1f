"""Places for bodies: first come, first served; the rest at once refused; nobody holds them without sending."""

from __future__ import annotations

import asyncio

import pytest

from service.api.bodies import STALL_S, BodyBudget
from service.errors import QueueFull

MIB = 2**20


@pytest.mark.parametrize("count", [9, 10, 12])
def test_of_bodies_that_pass_the_budget_together_as_many_as_fit_are_let_in(count: int) -> None:
    budget = BodyBudget(192 * MIB)
    admitted = []
    for _ in range(count):
        try:
            admitted.append(budget.admit("a", 20 * MIB, 0))
        except QueueFull:
            break
    assert len(admitted) == 9
    for body in admitted:  # all of it arrives, in any order
        for _ in range(20):
            budget.arrive(body, MIB, 0.5)
        body.complete = True
    budget.leave(admitted[0], 1)
    assert budget.admit("a", 20 * MIB, 1)


def test_bodies_that_stand_still_hold_only_what_has_arrived() -> None:
    budget = BodyBudget(192 * MIB)
    for _ in range(3):
        budget.arrive(budget.admit("silent", 64 * MIB, 0), 100, 0)
    with pytest.raises(QueueFull):
        budget.admit("silent", 20 * MIB, STALL_S / 2)
    assert budget.admit("silent", 20 * MIB, STALL_S * 1.1)


def test_one_that_goes_on_where_others_have_come_meanwhile_is_refused() -> None:
    budget = BodyBudget(100 * MIB)
    slow = budget.admit("a", 64 * MIB, 0)
    budget.admit("a", 64 * MIB, STALL_S * 2)
    with pytest.raises(QueueFull):
        budget.arrive(slow, MIB, STALL_S * 2)


async def test_who_holds_most_makes_room_for_who_holds_less() -> None:
    budget = BodyBudget(100 * MIB)
    held = [budget.admit("greedy", 20 * MIB, 0) for _ in range(5)]
    async with asyncio.timeout(20) as held[-1].receipt:
        budget.admit("polite", 10 * MIB, 0)
        assert [body.displaced for body in held] == [False] * 4 + [True]
        assert held[-1].receipt.when() <= asyncio.get_running_loop().time()
        held[-1].receipt.reschedule(None)
        await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        budget.arrive(held[-1], 1, 0)
    with pytest.raises(QueueFull):
        budget.admit("greedy", 20 * MIB, 0)


async def test_one_whose_time_has_passed_at_that_moment_makes_room_too() -> None:
    """Its timer has fired, and its task has not noticed yet: to move the timer then is an error, and it was the newcomer's."""
    budget, loop, admitted = BodyBudget(100 * MIB), asyncio.get_running_loop(), list[object]()
    *_, held = [budget.admit("greedy", 20 * MIB, 0) for _ in range(5)]

    def come() -> None:
        admitted.append(budget.admit("polite", 10 * MIB, 0))

    async def arrive() -> None:
        async with asyncio.timeout(0.01) as held.receipt:
            loop.call_at(held.receipt.when(), come)  # in the same turn of the loop, behind the timer
            await asyncio.sleep(20)

    with pytest.raises(TimeoutError):
        await arrive()
    assert held.displaced
    assert len(admitted) == 1


def test_one_client_holds_no_more_than_three_quarters_while_others_ask() -> None:
    budget = BodyBudget(100 * MIB)
    budget.leave(budget.admit("polite", MIB, 0), 0)
    for _ in range(3):
        body = budget.admit("greedy", 25 * MIB, 1)
        budget.arrive(body, 25 * MIB, 1)
        body.complete = True
    with pytest.raises(QueueFull):
        budget.admit("greedy", 10 * MIB, 1)
    assert budget.admit("polite", 20 * MIB, 1)


def test_what_has_no_body_is_always_let_in() -> None:
    budget = BodyBudget(MIB)
    budget.admit("a", MIB, 0)
    assert budget.admit("a", 0, 0)
