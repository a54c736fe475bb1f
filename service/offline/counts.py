"""Counts instead of faces: how many are expected by attribute, band of age and folder, and how far off that may be."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from service.offline.table import Answered, Column, Outcome, Row, answers_of

BAND_EDGES: Final = (3, 13, 18, 25, 35, 45, 55, 65)
"""Least ages of the bands above the first one, unless others are asked for; no request may name more than eight."""

COLUMNS: Final = (
    Column("folder", "string"),
    Column("attribute", "string"),
    Column("label", "string"),
    Column("age_band", "string"),
    Column("expected", "float"),
    Column("deviation", "float"),
)
"""Of the table of counts; a missing folder, label or band stands for all."""

_Cell = tuple[str, str, str]


class Counts:
    """Sums over faces. `edges` are the least ages of the bands above the first one, ascending.

    A face counts for the probability p of each label and band. Faces are taken for independent, so that their number has
    the expectation sum p and the variance sum p (1 - p), that of the Poisson binomial distribution. Label and band of a face
    are taken for independent given its photo.
    """

    def __init__(self, edges: Sequence[int] = BAND_EDGES) -> None:
        self._edges = tuple(edges)
        self._bands = bands(edges)
        self._sums: dict[str, dict[_Cell, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))

    def add(self, name: str, outcome: Outcome) -> None:
        """Count the faces of a photo.

        Args:
            name: The photo's name, which tells its folder.
            outcome: What became of it.
        """
        cells = self._sums[name.rpartition("/")[0] or "."]
        if not isinstance(outcome, Answered):
            cells["photos_failed", "", ""][0] += 1
            return
        cells["photos", "", ""][0] += 1
        for face in outcome.answer.faces:
            cells["faces", "", ""][0] += 1
            chances = self._band_chances({} if face.age is None else face.age.at_least or {})
            for band, chance in chances.items():
                _count(cells["age", "", band], chance)
            for attribute, value in answers_of(face).items():
                for label, probability in getattr(value, "probabilities", {}).items():
                    _count(cells[attribute, label, ""], probability)
                    for band, chance in chances.items():
                        _count(cells[attribute, label, band], probability * chance)

    def rows(self) -> list[Row]:
        """The table: all folders together first, whose `folder` is missing, then each.

        Returns:
            Rows with the columns of `COLUMNS`.
        """
        total: dict[_Cell, list[float]] = {}
        for cells in self._sums.values():
            for cell, (expected, variance) in cells.items():
                sums = total.setdefault(cell, [0.0, 0.0])
                sums[0] += expected
                sums[1] += variance
        tables: list[tuple[str | None, dict[_Cell, list[float]]]] = [(None, total), *sorted(self._sums.items())]
        return [_row(folder, cell, cells[cell]) for folder, cells in tables for cell in sorted(cells, key=self._place)]

    def _band_chances(self, at_least: dict[str, float]) -> dict[str, float]:
        if not at_least or any(str(edge) not in at_least for edge in self._edges):
            return {}
        tails = [1.0, *(at_least[str(edge)] for edge in self._edges), 0.0]
        return {band: max(0.0, tails[i] - tails[i + 1]) for i, band in enumerate(self._bands)}

    def _place(self, cell: _Cell) -> tuple[bool, str, str, int]:
        attribute, label, band = cell
        return (
            attribute not in ("photos", "photos_failed", "faces"),
            attribute,
            label,
            (self._bands.index(band) + 1) if band else 0,
        )


def bands(edges: Sequence[int]) -> tuple[str, ...]:
    """Names of the bands of age.

    Args:
        edges: Their least ages, ascending, without the first band's 0.

    Returns:
        Such as `0-2`, `3-12` and `13+`.
    """
    starts = [0, *edges]
    named = [str(low) if low == high - 1 else f"{low}-{high - 1}" for low, high in pairwise(starts)]
    return (*named, f"{starts[-1]}+")


def _count(sums: list[float], probability: float) -> None:
    sums[0] += probability
    sums[1] += probability * (1 - probability)


def _row(folder: str | None, cell: _Cell, sums: Sequence[float]) -> Row:
    attribute, label, band = cell
    return {
        "folder": folder,
        "attribute": attribute,
        "label": label or None,
        "age_band": band or None,
        "expected": round(sums[0], 3),
        "deviation": round(math.sqrt(sums[1]), 3),
    }
