"""Rows to columns, one each, at the least total cost: the assignment problem."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from service.arrays import Bools, Doubles, Ints

_FORBIDDEN = 1e12
"""Stands for an infinite cost inside the solver; any finite cost must lie far below."""


def assign(costs: Doubles) -> list[tuple[int, int]]:
    """Find the pairs of rows and columns that are as many as can be, and of these the cheapest together.

    Shortest augmenting paths with potentials, in O(N² M) (Jonker and Volgenant, "A shortest augmenting path algorithm for
    dense and sparse linear assignment problems", Computing 1987). Frames hold few faces, so that no library is worth it.

    Args:
        costs: float64 [N, M], each between -1e9 and 1e9; an infinite cost forbids its pair.

    Returns:
        Pairs (row, column), in order of rows; each row and each column is in one pair at most.
    """
    pairs: list[tuple[int, int]] = []
    for rows, columns in _components(np.isfinite(costs)):
        found = _assign_connected(costs[np.ix_(rows, columns)])
        pairs += [(int(rows[row]), int(columns[column])) for row, column in found]
    return sorted(pairs)


def _components(allowed: Bools) -> Iterator[tuple[Ints, Ints]]:
    """Rows and columns that are connected by allowed pairs: in a crowd small groups, each quickly solved."""
    left = allowed.any(axis=1)
    while left.any():
        rows, grown = np.zeros_like(left), np.zeros_like(left)
        grown[left.argmax()] = True
        while np.any(grown != rows):
            rows = grown
            columns = np.any(allowed[rows], axis=0)
            grown = np.any(allowed[:, columns], axis=1)
        left &= ~rows
        yield np.flatnonzero(rows), np.flatnonzero(columns)


def _assign_connected(costs: Doubles) -> list[tuple[int, int]]:
    """As `assign`, of costs that are one group."""
    if costs.shape[0] > costs.shape[1]:
        return [(row, column) for column, row in _assign_connected(costs.T)]
    finite = np.where(np.isfinite(costs), costs, _FORBIDDEN)
    rows, columns = finite.shape
    # Row 0 and column 0 stand for "none", so that owners and potentials can be indexed by what is found.
    row_potential, column_potential = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, np.int64)
    for row in range(1, rows + 1):
        owner[0] = row
        path = _shortest_path(finite, row_potential, column_potential, owner)
        column = path[-1]
        for previous in reversed(path[:-1]):
            owner[column] = owner[previous]
            column = previous
    pairs = ((int(owner[column]) - 1, column - 1) for column in range(1, columns + 1) if owner[column])
    return [pair for pair in pairs if np.isfinite(costs[pair])]


def _shortest_path(costs: Doubles, row_potential: Doubles, column_potential: Doubles, owner: Ints) -> list[int]:
    """Columns, from 0 to a free one, along which the rows shift to make room; adjusts the potentials in place."""
    count = len(column_potential)
    distance = np.full(count, np.inf)
    came_from = np.zeros(count, np.int64)
    done = np.zeros(count, np.bool_)
    column = 0
    while owner[column]:
        done[column] = True
        row = owner[column]
        reduced = costs[row - 1] - row_potential[row] - column_potential[1:]
        closer = ~done[1:] & (reduced < distance[1:])
        distance[1:][closer] = reduced[closer]
        came_from[1:][closer] = column
        candidates = np.where(done, np.inf, distance)
        candidates[0] = np.inf
        nearest = int(candidates.argmin())
        step = candidates[nearest]
        row_potential[owner[done]] += step
        column_potential[done] -= step
        distance[~done] -= step
        column = nearest
    path = [column]
    while column:
        column = int(came_from[column])
        path.append(column)
    return path[::-1]
