"""Batches with a fixed number of pictures of every group of ages, from several pools of data sets, by a schedule.

The published schedule of the age and gender MobileFaceNet: 48 ages, 18 to 65, in 16 groups of three; batches of 128, half from
an Asian set and half from UTKFace; "6/5 a group up to age 41 and 2/3 above", and after step 560,000 of 1,270,000 "8/6 up to 29,
6/6 up to 41, 1/2 above". Read here as: before the slash the pictures of one group from the Asian pool, behind it those from
UTKFace. It is the reading under which all published numbers add up. First phase, 8 groups up to 41 and 8 above:
8 * 6 + 8 * 2 = 64 and 8 * 5 + 8 * 3 = 64. Second, 4 groups up to 29, 4 up to 41, 8 above: 4 * 8 + 4 * 6 + 8 * 1 = 64 and
4 * 6 + 4 * 6 + 8 * 2 = 64. Both are batches of 128, half and half. Which number is which pool's does not follow from the sums;
it follows from the order of the words, and from the Asian sets having few old people. `GroupsSection` holds it as data.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from service.arrays import Ints
from service.models.manifest import AGE
from training.datasets.prepared import Prepared
from training.errors import DataSetError, RecipeError
from training.recipe import GroupsSection, PhaseSection, Recipe

_CELL: Final = 7919  # sets the cells' seeds apart from those of epochs


class Composition:
    """Rows of every batch of a run, by the number of its step alone.

    A cell is one group of one pool. Its pictures are gone through in an order that is drawn anew each time all have come, so
    that within a cell no picture comes twice before each has come once, through whatever phases.

    Args:
        recipe: The recipe.
        section: Its `balance.groups`.
        data: The training pictures.

    Raises:
        RecipeError: Phases, batch size and pools do not go together.
        DataSetError: No picture belongs to a group that a batch needs.
    """

    def __init__(self, recipe: Recipe, section: GroupsSection, data: Prepared) -> None:
        self.seed = recipe.schedule.seed
        self.starts = [phase.step for phase in section.phases]
        self.counts = [counts_of(section, phase) for phase in section.phases]
        _check(section, recipe, self.counts)
        self.orders: dict[tuple[int, ...], tuple[int, Ints]] = {}  # of each cell its last turn, which batches draw on for long
        groups = self.counts[0].shape[0]
        age = data.labels[AGE]
        group = np.where(age < section.lowest, -1, (age - section.lowest) // section.width).astype(np.int64)
        self.cells = [
            [np.flatnonzero(np.isin(data.sets, pool) & (group == g)) for pool in section.pools] for g in range(groups)
        ]
        for (g, p), needed in np.ndenumerate(np.max(self.counts, axis=0)):
            if needed and not len(self.cells[g][p]):
                low = section.lowest + g * section.width
                raise DataSetError(
                    f"no training picture of {' or '.join(section.pools[p])} is {low} to {low + section.width - 1} years old"
                )

    def rows(self, step: int) -> Ints:
        """Rows [B] of a batch.

        Args:
            step: The batch's step, counted from the beginning of the run.

        Returns:
            Rows of the training pictures [B].
        """
        phase = int(np.searchsorted(self.starts, step, side="right")) - 1
        before = sum(
            counts * (min(step, end) - start)
            for counts, start, end in zip(self.counts, self.starts, [*self.starts[1:], step], strict=True)
            if start < step
        )
        parts = []
        for place, count in np.ndenumerate(self.counts[phase]):
            first = int(before[place]) if isinstance(before, np.ndarray) else 0
            parts += [self._nth(place, number) for number in range(first, first + int(count))]
        return np.array(parts, np.int64)

    def _nth(self, place: tuple[int, ...], number: int) -> int:
        """The picture that a cell gives at its so-many-eth draw."""
        cell = self.cells[place[0]][place[1]]
        turn, index = divmod(number, len(cell))
        known = self.orders.get(place)
        if known is None or known[0] != turn:
            known = turn, np.random.default_rng([self.seed, _CELL, *place, turn]).permutation(cell)
            self.orders[place] = known
        return int(known[1][index])


def counts_of(section: GroupsSection, phase: PhaseSection) -> Ints:
    """Pictures of each group and pool [groups, pools] in a batch of a phase.

    Args:
        section: The groups and pools.
        phase: One of its phases.

    Returns:
        Numbers of pictures [groups, pools].

    Raises:
        RecipeError: A part does not end with a group, or names not as many numbers as there are pools.
    """
    rows: list[tuple[int, ...]] = []
    for part in phase.counts:
        ages = part.up_to + 1 - section.lowest - len(rows) * section.width
        if ages <= 0 or ages % section.width:
            raise RecipeError(f"no group of {section.width} ages from {section.lowest} on ends with {part.up_to}")
        if len(part.each) != len(section.pools):
            raise RecipeError(f"up to {part.up_to}: {len(part.each)} numbers for {len(section.pools)} pools")
        rows += [part.each] * (ages // section.width)
    return np.array(rows, np.int64)


def _check(section: GroupsSection, recipe: Recipe, counts: list[Ints]) -> None:
    """Raises `RecipeError` where phases, batch size, pools and other sections do not go together."""
    starts = [phase.step for phase in section.phases]
    if starts[0] != 0 or sorted(set(starts)) != starts:
        raise RecipeError(f"the phases begin at {starts}: not at 0 and then later and later")
    if len({one.shape for one in counts}) != 1:
        raise RecipeError("all phases need the same groups")
    for start, one in zip(starts, counts, strict=True):
        if one.sum() != recipe.schedule.batch_size:
            raise RecipeError(f"from step {start} a batch has {one.sum()} pictures, and not {recipe.schedule.batch_size}")
    if missing := {name for pool in section.pools for name in pool} - set(recipe.data.train):
        raise RecipeError(f"data.train lacks {', '.join(sorted(missing))}")
    if recipe.balance.repeat or recipe.data.shares:
        raise RecipeError("batches are composed by group, or drawn by repeat and shares: not both")
