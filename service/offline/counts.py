"""Counts instead of faces: how many are expected by attribute, band of age and folder, and how far off that may be."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from statistics import NormalDist
from typing import Final

from service.api.schemas import AgeAnswer, ExpectationAnswer, LabelAnswer
from service.inference.attributes import BAND_STEPS, bands
from service.inference.columns import Column
from service.models.manifest import AGE, STEPS, scale_of
from service.offline.table import Answered, Outcome, Row, answers_of

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
"""Of the table of counts; a missing folder, label or band stands for all.

The bands of an expectation other than the age are labels.
"""

_Cell = tuple[str, str, str]


class Counts:
    """Sums over faces. `edges` are the least ages of the bands above the first one, ascending.

    A face counts for the probability p of each label and band; `band_probabilities` has those of bands. Faces are taken for
    independent, so that their number has the expectation sum p and the variance sum p (1 - p), that of the Poisson binomial
    distribution. Label and band of a face are taken for independent given its photo.
    """

    def __init__(self, edges: Sequence[int] = BAND_EDGES) -> None:
        self._edges = tuple(edges)
        self._bands = age_bands(edges)
        self._positions: dict[tuple[str, str], int] = {}
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
            ages = self._age_probabilities(face.age)
            for band, chance in ages.items():
                _count(cells[AGE, "", band], chance)
            for attribute, value in answers_of(face).items():
                for label, probability in self._label_probabilities(attribute, value).items():
                    _count(cells[attribute, label, ""], probability)
                    for band, chance in ages.items():
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

    def _age_probabilities(self, age: AgeAnswer | None) -> Mapping[str, float]:
        if age is None:
            return {}
        at_least = age.at_least or {}
        if all(str(edge) in at_least for edge in self._edges):
            below = [1 - at_least[str(edge)] for edge in self._edges]
        else:
            below = [_probability_below(age.years, age.low, age.high, age.coverage, edge) for edge in self._edges]
        return dict(zip(self._bands, _differences(below), strict=True))

    def _label_probabilities(self, attribute: str, value: AgeAnswer | ExpectationAnswer | LabelAnswer) -> Mapping[str, float]:
        """Probabilities of labels, or of the bands of an expectation; none of an age, whose bands have a column."""
        if isinstance(value, LabelAnswer):
            return value.probabilities
        if isinstance(value, AgeAnswer):
            return {}
        probabilities = band_probabilities(value)
        for position, band in enumerate(probabilities):
            self._positions[attribute, band] = position
        return probabilities

    def _place(self, cell: _Cell) -> tuple[bool, str, int, str, int]:
        attribute, label, band = cell
        return (
            attribute not in ("photos", "photos_failed", "faces"),
            attribute,
            self._positions.get((attribute, label), 0),
            label,
            (self._bands.index(band) + 1) if band else 0,
        )


def band_probabilities(value: ExpectationAnswer) -> dict[str, float]:
    """The probabilities of the bands of an expectation with a range.

    They are those of its distribution. Without one, the value is taken for the median of two halves of normal distributions
    whose central interval of probability `coverage` is `low` to `high`; without an interval, it is taken for certain.

    Args:
        value: The answer for a face.

    Returns:
        Probabilities by name, of ten bands over the range, ascending; the outer ones hold what lies beyond it.
    """
    scale = scale_of(value.range, value.unit)
    edges = range(BAND_STEPS, STEPS, BAND_STEPS)
    if value.distribution is None:
        below = [_probability_below(value.value, value.low, value.high, value.coverage, scale.at(edge)) for edge in edges]
    else:
        sums = list(accumulate(value.distribution))
        # A step stands for all values that are nearest to it, so that half of it is below an edge at its middle.
        below = [sums[edge] - value.distribution[edge] / 2 for edge in edges]
    return dict(zip(bands(scale), _differences(below), strict=True))


def _probability_below(value: float, low: float | None, high: float | None, coverage: float | None, edge: float) -> float:
    """The probability that the true value of an expectation is below an edge, by its interval."""
    end = low if edge < value else high
    if end is None or coverage is None or end == value:
        return float(edge > value)
    deviation = abs(end - value) / NormalDist().inv_cdf((1 + coverage) / 2)
    return NormalDist().cdf((edge - value) / deviation)


def _differences(below: Sequence[float]) -> list[float]:
    """Probabilities of the bands between edges, of the probabilities [N] of being below each."""
    return [max(0.0, high - low) for low, high in pairwise([0.0, *below, 1.0])]


def age_bands(edges: Sequence[int]) -> tuple[str, ...]:
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
