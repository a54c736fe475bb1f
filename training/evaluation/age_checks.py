"""How often a check for a least age errs: minors taken for adults, and adults for minors.

NIST's evaluation of age estimation and verification (NISTIR 8525) and ISO/IEC 27566-1 count both shares by band of true ages
and by group; an operator reads from them what a threshold costs whom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from service.arrays import Bools, Doubles
from service.models.evaluation import AgeBand, AgeChecks, Rate
from service.models.manifest import AGE
from training.evaluation.bootstrap import bootstrap
from training.evaluation.metrics import Metric, mean, metric_of, value_of
from training.evaluation.metrics.labels import expected_calibration_errors
from training.evaluation.predictions import PLAIN, AttributeSpec, Predictions

ADULT: Final = 18
"""The age that is checked."""
CHALLENGE: Final = 25
"""Who looks younger is asked for a document, where the rule is "challenge 25"."""
AGES: Final = (18, 21, 25)
"""Ages whose probabilities are judged."""
MINORS: Final = "13-17"
BANDS: Final = {MINORS: (13, 17), "18-24": (18, 24), "25+": (25, 200)}
"""Bands of true ages, bounds included."""
THRESHOLDS: Final = (0.5, 0.9, 0.95, 0.99)
"""Least probabilities of being adult at which somebody is taken for one."""

_DIGITS: Final = 5


def age_checks(predictions: Predictions) -> AgeChecks | None:
    """Every share that errs, over the faces that were found and whose age is known.

    Args:
        predictions: Of N pictures.

    Returns:
        The shares of all, and by the crossings of labels that are known; None where the model says no probability of being so
        old, or no age is known.
    """
    age = predictions.expectations.get(AGE)
    if age is None or set(AGES) - set(age.at_least):
        return None
    rows = predictions.found & age.known
    if not rows.any():
        return None
    seen, error = predictions.where(rows), mean_absolute_error()
    return AgeChecks(
        calibration_error={str(least): round(value_of(calibration_error(least), seen), _DIGITS) for least in AGES},
        error_of_minors=_rates([error], seen.where(_in_band(seen, MINORS)))[error.key],
        bands=dict(_bands(seen)),
        groups={name: dict(_bands(seen.where(chosen))) for name, chosen in crossings(seen)},
    )


def rules() -> tuple[Metric[Predictions], ...]:
    """The share of faces that each rule takes for adults, in the order of a table.

    Returns:
        A figure for each least probability of being 18, and one for the rule of the estimated age.
    """
    return (
        *(
            _rule(
                f"{threshold:g}", f"Adults are those whose probability of being {ADULT} is at least {threshold:g}.", threshold
            )
            for threshold in THRESHOLDS
        ),
        _rule(f"challenge {CHALLENGE}", f"Adults are those estimated at {CHALLENGE} years or older."),
    )


def _rule(key: str, explanation: str, threshold: float | None = None) -> Metric[Predictions]:
    """The share that a rule takes for adults; that of the estimated age without a threshold."""

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        age = predictions.expectations[AGE]
        adult = age.value >= CHALLENGE if threshold is None else age.at_least[ADULT] >= threshold
        return mean(adult, predictions.found & age.known, weights)

    return Metric(key=key, title=key, compute=compute, attribute=AGE, format=".1%", explanation=explanation)


def calibration_error(least: int) -> Metric[Predictions]:
    """The expected calibration error of the probability of being at least so old, over bins of equal width.

    Most people are far from the age, and their probabilities next to 0 or 1: of bins of equal mass hardly one would hold those
    for whom the answer is in doubt.

    Args:
        least: The age in years, one of `AGES`.

    Returns:
        A metric from 0 to 1; lower is better.
    """

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        age = predictions.expectations[AGE]
        rows = predictions.found & age.known
        reached = age.label[rows] >= least
        return expected_calibration_errors(age.at_least[least][rows], reached, weights[:, rows], equal="width")

    return Metric(
        key=str(least),
        title=f"expected calibration error at {least}",
        compute=compute,
        attribute=AGE,
        better="lower",
        explanation="Over found faces; see `expected_calibration_errors`.",
        bootstrapped=False,
    )


def mean_absolute_error() -> Metric[Predictions]:
    """The mean absolute error of the age, as reports have it.

    Returns:
        A metric in years; lower is better.
    """
    return metric_of([AttributeSpec(name=AGE, kind="expectation")], f"{AGE}_mae")


def crossings(predictions: Predictions) -> Iterator[tuple[str, Bools]]:
    """The faces of every pair of labels of two attributes, by what is known of them.

    Args:
        predictions: Of N pictures.

    Yields:
        Title and mask [N] of each pair that has faces; of each label alone where one attribute is known.
    """
    known = {name: one for name, one in predictions.labels.items() if one.known.any()}
    groups = {
        name: [(label if name in PLAIN else f"{name} {label}", one.label == number) for number, label in enumerate(one.names)]
        for name, one in known.items()
    }
    if len(groups) == 1:
        yield from ((title, rows) for members in groups.values() for title, rows in members if rows.any())
    for first, second in combinations(groups.values(), 2):
        for title, rows in first:
            for other, chosen in second:
                if (rows & chosen).any():
                    yield f"{title}, {other}", rows & chosen


def _in_band(predictions: Predictions, band: str) -> Bools:
    """The faces of a band of true ages [N]."""
    low, high = BANDS[band]
    years = predictions.expectations[AGE].label
    return np.asarray((low <= years) & (years <= high), np.bool_)


def _bands(predictions: Predictions) -> Iterator[tuple[str, AgeBand]]:
    """Each band that has faces."""
    for name in BANDS:
        chosen = predictions.where(_in_band(predictions, name))
        if len(chosen):
            yield name, AgeBand(count=len(chosen), adult=_rates(rules(), chosen))


def _rates(metrics: Sequence[Metric[Predictions]], predictions: Predictions) -> dict[str, Rate]:
    """Figures with their intervals by key; None of no faces."""
    if not len(predictions):
        return {metric.key: Rate(value=None) for metric in metrics}
    intervals = bootstrap(metrics, predictions)
    return {
        metric.key: Rate(value=round(value_of(metric, predictions), _DIGITS), interval=intervals[metric.key])
        for metric in metrics
    }
