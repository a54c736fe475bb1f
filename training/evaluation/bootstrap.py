"""Samples drawn again and again, to the intervals of figures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from service.arrays import Doubles
from service.models.evaluation import Interval, Intervals
from training.evaluation.metrics import Data, Metric

REPLICATES: Final = 2000
"""Resamplings of a bootstrap."""
CONFIDENCE: Final = 0.95
"""Share of samples whose interval holds the true figure."""
SEED: Final = 20170101
"""Fixed: the same data have the same intervals."""

_AT_ONCE: Final = 100  # replicates in one matrix, 4 MB of 4,700 pictures


def bootstrap(metrics: Sequence[Metric[Data]], data: Data, replicates: int = REPLICATES, seed: int = SEED) -> Intervals:
    """Lower and upper bound of the 95 % interval of each figure that has a value.

    The percentile bootstrap (Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13): as many samples as
    there are, drawn with replacement, `replicates` times. A share of none or of all is given an interval of no width; the count
    beside it shows how little that means.

    Args:
        metrics: The figures.
        data: N samples; one at least where there are figures.
        replicates: Resamplings, a multiple of 100.
        seed: Of the draws.

    Returns:
        Intervals by key, of five digits.
    """
    if not metrics:
        return {}
    count, random = len(data), np.random.default_rng(seed)
    parts = []
    for _ in range(replicates // _AT_ONCE):
        drawn = random.integers(0, count, (_AT_ONCE, count)) + count * np.arange(_AT_ONCE)[:, np.newaxis]
        weights = np.bincount(drawn.ravel(), minlength=_AT_ONCE * count).reshape(_AT_ONCE, count).astype(np.float64)
        parts.append([metric.compute(data, weights) for metric in metrics])
    values = {metric.key: np.concatenate(drawn) for metric, drawn in zip(metrics, zip(*parts, strict=True), strict=True)}
    known = {key: drawn for key, drawn in values.items() if not np.isnan(drawn).all()}
    return {key: _rounded(*central(drawn)) for key, drawn in known.items()}


def central(values: Doubles) -> tuple[float, float]:
    """The ends of the central part of resampled figures, which holds `CONFIDENCE` of them.

    Args:
        values: Figures [B]; those that are not a number do not count.

    Returns:
        Lower and upper end.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _rounded(low: float, high: float) -> Interval:
    return round(low, 5), round(high, 5)


@lru_cache(maxsize=4)
def poisson_counts(samples: int, replicates: int) -> Doubles:
    """How often each sample is drawn in each resampling of a Poisson bootstrap.

    The first samples are drawn alike however many there are, so that all bins of a curve are drawn alike (Hanley and MacGibbon,
    "Creating non-parametric bootstrap samples using Poisson frequencies", Computer Methods and Programs in Biomedicine 2006).

    Args:
        samples: How many there are.
        replicates: Resamplings.

    Returns:
        Counts [`replicates`, samples].
    """
    return np.ascontiguousarray(np.random.default_rng(0).poisson(1, (samples, replicates)).T.astype(np.float64))
