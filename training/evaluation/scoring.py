"""Predictions to figures, of all pictures and by group, and to bootstrap intervals of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np

from service.arrays import Doubles
from service.models.evaluation import Figures, Groups, Intervals
from training.evaluation.metrics import Metric, metrics_of, value_of
from training.evaluation.predictions import Predictions, groups

REPLICATES: Final = 2000
"""Resamplings of a bootstrap."""
CONFIDENCE: Final = 0.95
"""Share of samples whose interval holds the true figure."""

_SEED: Final = 20170101  # fixed: the same predictions have the same intervals
_AT_ONCE: Final = 100  # replicates in one matrix, 4 MB of 4,700 pictures


def figures(predictions: Predictions, judged: Collection[str] | None = None) -> Figures:
    """Every figure that applies.

    A picture without a face counts as wrong, its expectation as the fallback, its true value as outside the interval. Widths,
    areas and calibration errors are over the faces that were found. A label that is not known counts nowhere.

    Args:
        predictions: Of N pictures.
        judged: What counts, as `Predictions.judged` names it; all that can be judged where it is None. A group
            is given that of the whole.

    Returns:
        The figures; of no pictures the count alone.
    """
    document: dict[str, Any] = {"count": len(predictions)}
    for metric in applicable(predictions, judged):
        value = value_of(metric, predictions)
        *path, last = metric.place.split(".")
        part = document
        for name in path:
            part = part.setdefault(name, {})
        part[last] = None if np.isnan(value) else value
    return Figures.model_validate(document)


def applicable(predictions: Predictions, judged: Collection[str] | None = None) -> list[Metric]:
    """The figures that the predictions have.

    Args:
        predictions: Of N pictures.
        judged: See `figures`.

    Returns:
        Figures of no attribute, and of the attributes that are judged and known of any picture; none of no pictures.
    """
    if not len(predictions):
        return []
    judged = predictions.judged() if judged is None else judged
    return [
        metric
        for metric in metrics_of(predictions.attributes)
        if (metric.requires is None or metric.requires in judged)
        and (metric.attribute is None or predictions.known(metric.attribute).any())
    ]


def bootstrap_intervals(predictions: Predictions, judged: Collection[str] | None = None) -> Intervals:
    """Lower and upper bound of the 95 % interval of each figure that is bootstrapped and has a value.

    The percentile bootstrap (Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13): as many pictures as
    there are, drawn with replacement, `REPLICATES` times with a fixed seed. A share of none or of all is given an interval of
    no width; the count beside it shows how little that means.

    Args:
        predictions: Of N pictures.
        judged: See `figures`.

    Returns:
        Intervals by key, of five digits.
    """
    count = len(predictions)
    metrics = [metric for metric in applicable(predictions, judged) if metric.bootstrapped]
    if not metrics:
        return {}
    random = np.random.default_rng(_SEED)
    parts = []
    for _ in range(REPLICATES // _AT_ONCE):
        drawn = random.integers(0, count, (_AT_ONCE, count)) + count * np.arange(_AT_ONCE)[:, np.newaxis]
        weights = np.bincount(drawn.ravel(), minlength=_AT_ONCE * count).reshape(_AT_ONCE, count).astype(np.float64)
        parts.append([metric.compute(predictions, weights) for metric in metrics])
    values = {metric.key: np.concatenate(drawn) for metric, drawn in zip(metrics, zip(*parts, strict=True), strict=True)}
    return {key: _percentiles(drawn) for key, drawn in values.items() if not np.isnan(drawn).all()}


def _percentiles(values: Doubles) -> tuple[float, float]:
    """The ends of the central part of the resampled figures."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return round(float(low), 5), round(float(high), 5)


def by_group(predictions: Predictions) -> Groups:
    """The figures of each label and band of true years.

    Args:
        predictions: Of N pictures.

    Returns:
        Figures by attribute and by label or band, of those that have pictures.
    """
    judged = predictions.judged()
    return {
        kind: {name: figures(predictions.where(rows), judged) for name, rows in members.items()}
        for kind, members in groups(predictions).items()
    }


def bootstrap_intervals_by_group(predictions: Predictions) -> dict[str, dict[str, Intervals]]:
    """The intervals of the figures of `by_group`; pictures are drawn from the group alone.

    Args:
        predictions: Of N pictures.

    Returns:
        Intervals by attribute, by label or band, and by key.
    """
    judged = predictions.judged()
    return {
        kind: {name: bootstrap_intervals(predictions.where(rows), judged) for name, rows in members.items()}
        for kind, members in groups(predictions).items()
    }
