"""The assignment problem: against SciPy's solver and against every possibility, with forbidden pairs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from service.tracking.assignment import assign


def test_an_easy_one() -> None:
    assert assign(np.array([[4.0, 1, 3], [2, 0, 5], [3, 2, 2]])) == [(0, 1), (1, 0), (2, 2)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_of_nothing_comes_nothing(shape: tuple[int, int]) -> None:
    assert assign(np.zeros(shape)) == []


@pytest.mark.parametrize("seed", range(100))
def test_the_total_is_the_least(seed: int) -> None:
    random = np.random.default_rng(seed)
    costs = random.normal(0, 10, random.integers(1, 12, 2))
    pairs = assign(costs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == min(costs.shape)
    assert pairs == sorted(pairs)
    assert sum(costs[pair] for pair in pairs) == pytest.approx(costs[linear_sum_assignment(costs)].sum())


@pytest.mark.parametrize("seed", range(60))
def test_forbidden_pairs_are_left_out_and_no_other(seed: int) -> None:
    """As many pairs as can be, and of those the cheapest: against every permutation."""
    random = np.random.default_rng(seed)
    rows, columns = random.integers(1, 6), random.integers(5, 7)
    costs = random.normal(0, 10, (rows, columns))
    costs[random.random(costs.shape) < 0.6] = np.inf
    every = (
        [(row, column) for row, column in enumerate(order) if np.isfinite(costs[row, column])]
        for order in permutations(range(columns), int(rows))
    )
    fewest_left, least = min((-len(pairs), sum(costs[pair] for pair in pairs)) for pairs in every)
    for turned in (False, True):
        pairs = [(b, a) if turned else (a, b) for a, b in assign(costs.T if turned else costs)]
        assert (-len(pairs), sum(costs[pair] for pair in pairs)) == (fewest_left, pytest.approx(least))


def test_nothing_but_forbidden_pairs() -> None:
    assert assign(np.full((2, 3), np.inf)) == []


def test_equal_costs() -> None:
    assert len(assign(np.zeros((4, 4)))) == 4
