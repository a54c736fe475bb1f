"""Figures of an expectation, such as the age."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from service.arrays import Doubles, Ints
from service.models.manifest import AGE
from training.evaluation.metrics.base import EVERYWHERE, Metric, Table, mean
from training.evaluation.metrics.registry import expectation_metric, share_of
from training.evaluation.predictions import AttributeSpec, ExpectationPredictions, Predictions, interval_of

COVERAGE: Final = 0.8
"""Share of the true values that an interval promises to hold."""
BINS: Final = {5: (0, 13, 25, 40, 60), 9: (0, 3, 10, 20, 30, 40, 50, 60, 70)}
"""First years of the classes of an accuracy by class: of as many as published systems have. What their bounds were is not
published; these follow childhood, youth and decades."""

_EDGES: Final = frozenset({Table.COMPARISON})


@expectation_metric
def errors(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """Mean absolute, mean square, root mean square and mean error.

    Args:
        attribute: An expectation.

    Yields:
        The figures.
    """
    name, unit, digits = attribute.name, attribute.scale.unit, attribute.scale.digits
    yield Metric(
        key=f"{name}_mae",
        title="mean absolute error",
        short="MAE",
        column=f"{name} error",
        compute=_mean_of_errors(name, np.abs),
        attribute=name,
        requires=name,
        unit=unit,
        format=f".{digits + 1}f",
        better="lower",
        tables=EVERYWHERE | {Table.CARD_GROUPS, Table.CARD_PRECISIONS, Table.MODELS, Table.PANELS, Table.ROBUSTNESS_PLOT},
    )
    yield Metric(
        key=f"{name}_mse",
        title="mean square error",
        compute=_mean_of_errors(name, np.square),
        attribute=name,
        requires=name,
        unit=unit and f"{unit}²",
        format=f".{digits if attribute.range is None else 2 * digits}f",
        better="lower",
        bootstrapped=False,
        tables=frozenset(),
    )
    square = _mean_of_errors(name, np.square)
    yield Metric(
        key=f"{name}_rmse",
        title="root mean square error",
        short="RMSE",
        column="root mean square",
        compute=lambda predictions, weights: np.sqrt(square(predictions, weights)),
        attribute=name,
        requires=name,
        unit=unit,
        format=f".{digits + 1}f",
        better="lower",
        tables=EVERYWHERE | {Table.CARD_PRECISIONS, Table.MODELS},
    )
    yield Metric(
        key=f"{name}_bias",
        title="mean error",
        compute=_mean_of_errors(name, lambda error: error),
        attribute=name,
        requires=name,
        unit=unit,
        format=f"+.{digits + 1}f",
        explanation="The mean of prediction less label: above zero, "
        + ("faces are taken for older than they are." if name == AGE else "predictions are too high."),
        bootstrapped=False,
        tables=frozenset(),
    )


@expectation_metric
def shares(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """Shares of predictions within five years, of the very year, and in the right class of years.

    Args:
        attribute: An expectation.

    Yields:
        The figures; none of an expectation with a range, which is not in years.
    """
    name = attribute.name
    if attribute.range is not None:
        return
    yield share_of(name)(
        key=f"{name}_within_5",
        title="within 5 years",
        compute=_mean_of_errors(name, lambda error: (np.abs(error) <= 5).astype(np.float64)),
        tables=frozenset({Table.CARD, Table.COMPARISON}),
    )

    def exact(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.expectations[name]
        return mean(_whole_years(one, predictions) == one.label, one.known, weights)

    yield share_of(name)(
        key=f"{name}_exact",
        title="the very year",
        compute=exact,
        bootstrapped=False,
        tables=_EDGES,
    )
    for count, starts in BINS.items():
        yield share_of(name)(
            key=f"{name}_bins_{count}",
            title=f"the right one of {count} classes, from {', '.join(map(str, starts))} on",
            short=f"{count} classes",
            compute=_accuracy_by_class(name, starts),
            bootstrapped=False,
            tables=_EDGES,
        )


@expectation_metric
def intervals(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """How often the interval holds the true value, and how wide it is.

    Args:
        attribute: An expectation.

    Yields:
        The figures; those of the age go without its name.
    """
    name, unit = attribute.name, attribute.scale.unit
    prefix = "" if name == AGE else f"{name}_"

    def coverage(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.expectations[name]
        return mean(one.covered(predictions.found), one.known, weights)

    def width(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.expectations[name]
        return mean(one.high - one.low, one.known & predictions.found, weights)

    yield Metric(
        key=f"{prefix}interval_coverage",
        title=f"true {name} inside the {COVERAGE * 100:.0f} % interval",
        short="interval coverage",
        column=f"{prefix.replace('_', ' ')}interval coverage",
        compute=coverage,
        attribute=name,
        requires=interval_of(name),
        format=".1%",
        explanation="Where no face is found, the true value counts as outside.",
        tables=frozenset({Table.GROUPS, Table.CARD, Table.CARD_GROUPS, Table.ROBUSTNESS}),
    )
    yield Metric(
        key=f"{prefix}interval_width",
        title="mean width of the interval",
        compute=width,
        attribute=name,
        requires=interval_of(name),
        unit=unit,
        format=f".{attribute.scale.digits}f",
        better="lower",
        explanation="Over found faces.",
        bootstrapped=False,
        tables=frozenset(),
    )


def _mean_of_errors(name: str, of: Callable[[Doubles], Doubles]) -> Callable[[Predictions, Doubles], Doubles]:
    """A mean of what a function makes of the errors, in the attribute's unit."""

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.expectations[name]
        return mean(of(one.error(predictions.found)), one.known, weights)

    return compute


def _accuracy_by_class(name: str, starts: tuple[int, ...]) -> Callable[[Predictions, Doubles], Doubles]:
    """The share of predicted years that are in the class of the true one."""

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.expectations[name]
        years = _whole_years(one, predictions)
        right = (_class_of(years, starts) == _class_of(one.label, starts)) & ~np.isnan(years)  # which sort behind all classes
        return mean(right, one.known, weights)

    return compute


def _whole_years(one: ExpectationPredictions, predictions: Predictions) -> Doubles:
    """The predicted years, rounded [N]."""
    return np.rint(one.label + one.error(predictions.found))


def _class_of(years: Doubles, starts: tuple[int, ...]) -> Ints:
    """Number of the class that holds each year [N]."""
    return np.asarray(np.searchsorted(starts, years, side="right"), np.int64)
