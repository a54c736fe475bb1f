"""Predicted and true ages to the ends of intervals that hold the true one in a promised share of cases, elsewhere too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from service.arrays import Doubles, Ints
from service.models.manifest import AgeInterval, IntervalBand
from training.calibration.thresholds import joined
from training.evaluation.metrics.expectations import COVERAGE
from training.evaluation.predictions import BANDS as AGE_BANDS

MARGIN: Final = 0.035
"""How much more than is promised the intervals hold of the faces that they are fitted on, in the mean over the data sets. Faces
from elsewhere are held less often; docs/measurements.md says what was measured by leaving a set out."""
FLOOR: Final = 0.02
"""How much less than is promised may be held of the fitted faces of one data set in one band of true age."""
BANDS: Final = (4.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, float("inf"))
"""Upper ends, in predicted years, of the bands that get ends of their own."""
MIN_FACES: Final = 60
"""Faces that a band needs for that; smaller ones are joined to the next."""
MIN_FACES_OF_FLOOR: Final = 30
"""Faces that a band of true age needs for a floor of its own."""
SAMPLES: Final = 20
"""Samples of the faces whose ends are averaged."""
ROUNDS: Final = 60
SCALES: Final = np.linspace(0.5, 3.0, 251)
"""Tried in turn, from narrow to wide."""

Unit = Literal["deviation", "years", "steps"]


def age_interval(
    years: Doubles,
    spread: Doubles,
    age: Doubles,
    unit: Unit,
    sets: Ints | None = None,
    coverage: float = COVERAGE,
    margin: float = MARGIN,
) -> AgeInterval:
    """Short intervals, by band of predicted age, whose whole-year bounds hold a promised share of the true ages, of faces from
    elsewhere too.

    `_fit_bands` gives each band the shortest ends under which no data set's band of true age is held much less often than
    promised. What is short for some hundred faces depends on each of them, so that the ends are the mean of those of `SAMPLES`
    samples drawn with replacement (Breiman, "Bagging predictors", Machine Learning 24, 1996). All of them are then scaled until
    the data sets, each counting alike, are held in the share `coverage + margin`.

    Args:
        years: Predicted ages [N] in years.
        spread: Standard deviations of the distributions [N] in years, above 0; ones where there are none.
        age: True ages [N] in years.
        unit: In what the interval's ends are counted: deviations, or years, which are steps of any other scale.
        sets: Numbers of the data sets that the faces are from [N]; None where they are from one.
        coverage: Share of the true ages, 0 to 1, that is promised.
        margin: What is held of the given faces beyond it.

    Returns:
        The interval's ends by band.
    """
    origin = np.zeros(len(age), np.int64) if sets is None else np.unique(sets, return_inverse=True)[1]
    edges = joined(years, BANDS, MIN_FACES)
    fitted = [_fit_bands(years[rows], spread[rows], age[rows], origin[rows], edges, coverage) for rows in _samples(origin)]
    mean = np.mean(fitted, axis=0)
    for scale in SCALES:
        bands = _bands(edges, mean * scale)
        held = np.bincount(origin, _held(years, spread, age, bands)) / np.bincount(origin)
        if held.mean() >= coverage + margin:
            break
    return AgeInterval(coverage=coverage, unit=unit, bands=tuple(bands))


def _samples(origin: Ints) -> Iterator[Ints]:
    """Rows of `SAMPLES` samples, each as large as the whole, with as many of every data set; the same ones every time."""
    random = np.random.default_rng(0)
    for _ in range(SAMPLES):
        yield np.concatenate(
            [random.choice(rows, len(rows)) for rows in map(np.flatnonzero, origin == np.unique(origin)[:, None])]
        )


def _bands(edges: Sequence[float], ends: Doubles) -> tuple[IntervalBand, ...]:
    """Bands of predicted age, by their upper edges, with their ends [B, 2]."""
    return tuple(
        IntervalBand(below=min(edge, 1e6), low=float(low), high=float(high))
        for edge, (low, high) in zip(edges, ends, strict=True)
    )


def _fit_bands(years: Doubles, spread: Doubles, age: Doubles, origin: Ints, edges: Sequence[float], coverage: float) -> Doubles:
    """The shortest ends [B, 2], by band of predicted age, that hold a share `coverage` of the true ages, and of no data set's
    band of true age less than `coverage - FLOOR`.

    Quantiles of (age - years) / spread would hold the share within each band of predicted age and still miss those whom the
    network takes for older or younger than they are. Here every held face earns its band of true age a reward, in years of
    width; each end of an interval lies where reward less width is largest, and the rewards grow until what is asked for holds
    (the dual of the constrained problem).
    """
    predicted = np.digitize(years, edges[:-1])
    group = origin * len(AGE_BANDS) + np.digitize(age, [high + 1 for _, high in AGE_BANDS[:-1]])
    counts = np.bincount(group)
    ratio = (age - years) / spread
    members = [
        _Band(ratio[rows], group[rows], float(spread[rows].sum()))
        for rows in map(np.flatnonzero, predicted == np.arange(len(edges))[:, None])
    ]
    rewards = np.full(len(counts), 30.0)
    tried = []
    for turn in range(ROUNDS):
        ends = np.array([one.ends(rewards) for one in members])
        held = _held(years, spread, age, _bands(edges, ends))
        short = np.maximum(0, coverage - FLOOR - np.bincount(group, held, len(counts)) / np.maximum(1, counts))
        short[counts < MIN_FACES_OF_FLOOR] = 0
        gap = coverage - held.mean()
        tried.append((2 * abs(gap) + short.sum(), turn, ends))
        rewards *= np.exp(2 * 0.97**turn * (gap + short))
    return min(tried, key=lambda one: one[:2])[2]


class _Band:
    """The faces of one band of predicted age, in the order of their errors.

    Args:
        ratio: Their errors [N], true less predicted age, in units of the interval's ends.
        group: Numbers of the groups whose rewards they earn [N].
        width: What a unit costs, the sum of their spreads in years.
    """

    def __init__(self, ratio: Doubles, group: Ints, width: float) -> None:
        order = np.argsort(ratio)
        self.group, self.width = group[order], width
        candidates = np.unique(np.append(np.quantile(ratio, np.linspace(0, 1, 81)), 0.0))
        self.low, self.high = candidates[candidates <= 0], candidates[candidates >= 0]
        self.first = np.searchsorted(ratio[order], self.low)
        self.last = np.searchsorted(ratio[order], self.high, side="right")
        self.zero = np.searchsorted(ratio[order], 0.0)

    def ends(self, rewards: Doubles) -> tuple[float, float]:
        """The ends, at or about zero, whose held rewards, by group, exceed their distance's cost by the most."""
        earned = np.append(0.0, np.cumsum(rewards[self.group]))
        low = np.argmax(earned[self.zero] - earned[self.first] + self.low * self.width)
        high = np.argmax(earned[self.last] - earned[self.zero] - self.high * self.width)
        return float(self.low[low]), float(self.high[high])


def _held(years: Doubles, spread: Doubles, age: Doubles, bands: Sequence[IntervalBand]) -> npt.NDArray[np.bool_]:
    """Whether the whole-year bounds hold the true ages [N]."""
    low, high = _bounds(years, spread, bands)
    return np.asarray((low <= age) & (age <= high))


def intervals(years: Doubles, spread: Doubles, interval: AgeInterval) -> tuple[Doubles, Doubles]:
    """What `service.inference.attributes.bounds` answers, for many faces at once; a test holds the two together.

    Args:
        years: Predicted ages [N] in years.
        spread: Unit of the interval's ends in years, [N] or, of several calibrations, [S, N].
        interval: Ends by band of predicted age.

    Returns:
        Lowest and highest ages in whole years, of the spread's shape.
    """
    return _bounds(years, spread, interval.bands)


def _bounds(years: Doubles, spread: Doubles, bands: Sequence[IntervalBand]) -> tuple[Doubles, Doubles]:
    """Lowest and highest ages [N] in whole years."""
    band = np.digitize(years, [one.below for one in bands[:-1]])
    low = years + np.array([one.low for one in bands])[band] * spread
    high = years + np.array([one.high for one in bands])[band] * spread
    return np.maximum(0, np.minimum(np.rint(low), np.floor(years))), np.maximum(np.rint(high), np.ceil(years))
