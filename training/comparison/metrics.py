"""Figures that a comparison alone has: those of the ages and of the classes of years that a network was made for."""

from __future__ import annotations

import numpy as np

from service.arrays import Bools, Doubles
from service.models.manifest import AGE
from training.datasets.base import MAX_AGE
from training.evaluation.metrics import Metric, Table, mean
from training.evaluation.predictions import ExpectationPredictions, Predictions
from training.models import age_head as ages
from training.recipe import AgeSection


def own_classes(form: AgeSection) -> Metric[Predictions]:
    """How often the most probable class of years, of those that a network has, is the right one.

    Args:
        form: The network's output form of the age.

    Returns:
        A metric from 0 to 1, over the ages that the network was made for; higher is better.
    """

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        age = predictions.expectations[AGE]
        counted = _counted(age, form)
        if age.distribution is None or not counted.any():
            return np.full(len(weights), np.nan)
        years = np.where(counted, np.minimum(age.label, MAX_AGE), form.first).astype(np.int64)
        right = ages.class_years(form)[years].argmax(axis=1)
        predicted = (age.distribution @ (ages.spread(form).T > 0)).argmax(axis=1)
        return mean(predicted == right, counted, weights)

    return Metric(
        key="age_class_accuracy",
        title="its own classes",
        compute=compute,
        attribute=AGE,
        requires=AGE,
        format=".1%",
        better="higher",
        explanation="How often the most probable class of years, of those that the network has, is the right one.",
        bootstrapped=False,
        tables=frozenset({Table.COMPARISON}),
    )


def error_in_range(form: AgeSection) -> Metric[Predictions]:
    """The mean absolute error over the ages that a network was made for.

    Args:
        form: The network's output form of the age.

    Returns:
        A metric in years; lower is better.
    """

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        age = predictions.expectations[AGE]
        return mean(np.abs(age.error(predictions.found)), _counted(age, form), weights)

    return Metric(
        key="age_range_mae",
        title="mean absolute error over its own ages",
        compute=compute,
        attribute=AGE,
        requires=AGE,
        unit="years",
        format=".2f",
        better="lower",
        explanation="Over the ages that the network was made for.",
        bootstrapped=False,
        tables=frozenset(),
    )


def _counted(age: ExpectationPredictions, form: AgeSection) -> Bools:
    """The pictures [N] whose age is known, and among those that the network was made for."""
    inside = (form.first <= age.label) & (age.label <= form.last)
    return age.known & inside if form.outside == "unknown" else age.known
