"""Predictions to figures, of all pictures and by group, and to bootstrap intervals of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from service.models.evaluation import Figures, Groups, Intervals, names_of
from training.evaluation.bootstrap import bootstrap
from training.evaluation.metrics import Metric, metrics_of, value_of
from training.evaluation.predictions import Predictions, groups


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
        *path, last = names_of(metric.place)
        part = document
        for name in path:
            part = part.setdefault(name, {})
        part[last] = None if np.isnan(value) else value
    return Figures.model_validate(document)


def applicable(predictions: Predictions, judged: Collection[str] | None = None) -> list[Metric[Predictions]]:
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
    """The 95 % interval of each figure that is bootstrapped and has a value; see `training.evaluation.bootstrap`.

    Args:
        predictions: Of N pictures.
        judged: See `figures`.

    Returns:
        Intervals by key, of five digits.
    """
    return bootstrap([metric for metric in applicable(predictions, judged) if metric.bootstrapped], predictions)


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
