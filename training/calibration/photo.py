"""Validation answers to a calibration: temperatures, thresholds of uncertain labels, and the ends of age intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from service.arrays import Doubles, Ints
from service.inference.attributes import deviation, temperature_scaled
from service.models.manifest import AgeInterval, AttributeCalibration, IntervalBand
from training.calibration.at_least import fit_at_least
from training.datasets.base import UNKNOWN
from training.errors import CalibrationError
from training.evaluation.metrics.expectations import COVERAGE
from training.evaluation.predictions import BANDS as AGE_BANDS
from training.evaluation.predictions import ExpectationPredictions, Predictions

FLOOR: Final = 0.01
"""How much less than is promised may be held of the fitted faces of one band of true age; docs/measurements.md has the figures
behind it."""
FOLDS: Final = 5
BANDS: Final = (4.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, float("inf"))
"""Upper ends, in predicted years, of the bands that get quantiles of their own."""
LEAST: Final = 60
"""Faces that a band needs for that; smaller ones are joined to the next."""
LEAST_FLOOR: Final = 30
"""Faces that a band of true age needs for a floor of its own."""
ROUNDS: Final = 60

CERTAIN: Final = {"gender": 0.97, "race": 0.93}
"""Accuracy that the labels which are not uncertain have on validation, together."""
CERTAIN_BY_DEFAULT: Final = 0.95
"""The same for any other attribute."""
ROUNDING: Final = 5e-5
"""The service's answers have four digits: a probability of zero stands for anything below this."""


def temperature(probabilities: Doubles, labels: npt.NDArray[np.int64]) -> float:
    """The temperature, 0.25 to 4, under which probabilities give the labels the least negative log-likelihood.

    Args:
        probabilities: Uncalibrated ones [N, K], each above 0.
        labels: Known labels' numbers [N], 0 to K - 1.

    Returns:
        The temperature; above 1 it flattens the probabilities.
    """

    def loss(logarithm: float) -> float:
        likelihood = temperature_scaled(probabilities, float(np.exp(logarithm)))[np.arange(len(labels)), labels]
        return -float(np.log(np.maximum(likelihood, 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.25), np.log(4)), method="bounded").x))


def threshold(probabilities: Doubles, labels: npt.NDArray[np.int64], accuracy: float) -> float:
    """The least probability, to two digits, above which the most probable labels reach an accuracy together.

    Args:
        probabilities: Calibrated ones [N, K].
        labels: Known labels' numbers [N], 0 to K - 1.
        accuracy: Share, 0 to 1, that has to be right.

    Returns:
        The threshold, 0 to 1; 1 where no threshold reaches the accuracy.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    for candidate in np.arange(0, 1, 0.01):
        chosen = confidence >= candidate
        if chosen.any() and right[chosen].mean() >= accuracy:
            return round(float(candidate), 2)
    return 1.0


def age_interval(
    years: Doubles, spread: Doubles, age: Doubles, unit: Literal["deviation", "years"], coverage: float = COVERAGE
) -> AgeInterval:
    """The shortest intervals, by band of predicted age, whose whole-year bounds hold a share `coverage` of the true ages and
    nowhere much less: of no band of true age less than `coverage - FLOOR`.

    Quantiles of (age - years) / spread would hold the share within each band of predicted age, as in split conformal
    prediction (Lei et al., JASA 2018), and still miss those whom the network takes for older or younger than they are. Here
    every held face earns its band of true age a reward, in years of width; each end of an interval lies where reward less
    width is largest, and the rewards grow until what is asked for holds (the dual of the constrained problem).

    Args:
        years: Predicted ages [N] in years.
        spread: Standard deviations of the distributions [N] in years, above 0; ones where there are none.
        age: True ages [N] in years.
        unit: In what the interval's ends are counted: deviations, or years.
        coverage: Share of the true ages, 0 to 1, that the intervals hold.

    Returns:
        The interval's ends by band.
    """
    edges = _joined(years)
    predicted = np.digitize(years, edges[:-1])
    true = np.digitize(age, [high + 1 for _, high in AGE_BANDS[:-1]])
    counts = np.bincount(true, minlength=len(AGE_BANDS))
    ratio = (age - years) / spread
    rewards = np.full(len(AGE_BANDS), 30.0)
    tried = []
    for turn in range(ROUNDS):
        bands = []
        for index, edge in enumerate(edges):
            rows = predicted == index
            low, high = _ends(ratio[rows], rewards[true[rows]], spread[rows].sum())
            bands.append(IntervalBand(below=min(edge, 1e6), low=low, high=high))
        interval = AgeInterval(coverage=coverage, unit=unit, bands=tuple(bands))
        lowest, highest = intervals(years, spread, interval)
        held = (lowest <= age) & (age <= highest)
        short = np.maximum(0, coverage - FLOOR - np.bincount(true, held, len(AGE_BANDS)) / np.maximum(1, counts))
        short[counts < LEAST_FLOOR] = 0
        gap = coverage - held.mean()
        tried.append((2 * abs(gap) + short.sum(), turn, interval))
        rewards *= np.exp(2 * 0.97**turn * (gap + short))
    return min(tried)[2]


def held_out(
    years: Doubles, spread: Doubles, age: Doubles, unit: Literal["deviation", "years"], seed: int = 0
) -> npt.NDArray[np.bool_]:
    """Whether the interval of each face holds its age, if fitted on four fifths of the faces, to which it does not belong.

    The mean estimates the coverage of faces that the fit has not seen.

    Args:
        years: Predicted ages [N] in years.
        spread: Standard deviations of the distributions [N] in years, above 0; ones where there are none.
        age: True ages [N] in years.
        unit: In what the interval's ends are counted: deviations, or years.
        seed: Of the division into `FOLDS` parts.

    Returns:
        A mask [N].
    """
    fold = np.random.default_rng(seed).permutation(len(years)) % FOLDS
    held = np.zeros(len(years), np.bool_)
    for part in range(FOLDS):
        seen, unseen = fold != part, fold == part
        interval = age_interval(years[seen], spread[seen], age[seen], unit)
        low, high = intervals(years[unseen], spread[unseen], interval)
        held[unseen] = (low <= age[unseen]) & (age[unseen] <= high)
    return held


def _ends(ratio: Doubles, rewards: Doubles, width: float) -> tuple[float, float]:
    """The ends, at or about zero, whose held rewards exceed `width` times the distance between them by the most."""
    candidates = np.unique(np.append(np.quantile(ratio, np.linspace(0, 1, 81)), 0.0))
    low, high = candidates[candidates <= 0], candidates[candidates >= 0]
    below = [rewards[(end <= ratio) & (ratio < 0)].sum() for end in low]
    above = [rewards[(ratio >= 0) & (ratio <= end)].sum() for end in high]
    return float(low[np.argmax(below + low * width)]), float(high[np.argmax(above - high * width)])


def intervals(years: Doubles, spread: Doubles, interval: AgeInterval) -> tuple[Doubles, Doubles]:
    """What `service.inference.attributes.bounds` answers, for many faces at once; a test holds the two together.

    Args:
        years: Predicted ages [N] in years.
        spread: Unit of the interval's ends [N] in years.
        interval: Ends by band of predicted age.

    Returns:
        Lowest and highest ages [N] in whole years.
    """
    band = np.digitize(years, [one.below for one in interval.bands[:-1]])
    low = years + np.array([one.low for one in interval.bands])[band] * spread
    high = years + np.array([one.high for one in interval.bands])[band] * spread
    return np.maximum(0, np.minimum(np.rint(low), np.floor(years))), np.maximum(np.rint(high), np.ceil(years))


def fit(parts: Sequence[Predictions]) -> dict[str, AttributeCalibration]:
    """Calibrations of a network from its uncalibrated predictions.

    A face that was not found, or whose label of an attribute is not known, counts for nothing there.

    Args:
        parts: Predictions of one data set each.

    Returns:
        Calibrations by attribute, of those that the model predicts and any data set knows.

    Raises:
        CalibrationError: No face was found.
    """
    seen = [one.where(one.found) for one in parts]
    if not sum(map(len, seen)):
        raise CalibrationError("a calibration needs faces, and none was found")
    fitted: dict[str, AttributeCalibration] = {}
    for spec in dict.fromkeys(spec for one in seen for spec in one.attributes):
        if spec.kind == "labels":
            labels = [one.labels[spec.name] for one in seen if spec.name in one.labels]
            calibration = fit_labels(
                np.concatenate([one.probabilities for one in labels]),
                np.concatenate([one.label for one in labels]),
                CERTAIN.get(spec.name, CERTAIN_BY_DEFAULT),
            )
        else:
            given = [one.expectations[spec.name] for one in seen if spec.name in one.expectations]
            calibration = fit_expectation(
                np.concatenate([one.value for one in given]), _spreads(given), np.concatenate([one.label for one in given])
            )
            calibration = _with_at_least(calibration, given)
        if calibration is not None:
            fitted[spec.name] = calibration
    return fitted


def _with_at_least(
    calibration: AttributeCalibration | None, given: Sequence[ExpectationPredictions]
) -> AttributeCalibration | None:
    """The calibration of an expectation, with that of the probability of being so old where there are distributions."""
    distributions = _distributions(given)
    if calibration is None or distributions is None:
        return calibration
    years = np.concatenate([one.label for one in given])
    known = years != UNKNOWN
    return calibration.model_copy(update={"at_least": fit_at_least(distributions[known], years[known])})


def fit_labels(probabilities: Doubles, labels: Ints, accuracy: float) -> AttributeCalibration | None:
    """Temperature and threshold of labels.

    Args:
        probabilities: Uncalibrated ones [N, K]; not a number where the network has no such output.
        labels: Numbers [N], -1 where a label is not known.
        accuracy: What the labels that are not marked uncertain have together.

    Returns:
        The calibration, or None where nothing is predicted or known.
    """
    known = labels != UNKNOWN
    if not known.any() or np.isnan(probabilities).any():
        return None
    floored = np.maximum(probabilities, ROUNDING)[known]
    degrees = round(temperature(floored, labels[known]), 4)
    least = threshold(temperature_scaled(floored, degrees), labels[known], accuracy)
    return AttributeCalibration(temperature=degrees, threshold=least)


def fit_expectation(years: Doubles, spread: Doubles | None, label: Doubles) -> AttributeCalibration | None:
    """Interval of an expectation.

    Args:
        years: Predicted ones [N]; not a number where the network has no such output.
        spread: Standard deviations of the distributions [N] in years; None where the network gives none.
        label: True years [N], -1 where they are not known.

    Returns:
        The calibration, or None where nothing is predicted or known.
    """
    known = label != UNKNOWN
    if not known.any() or np.isnan(years).any():
        return None
    units = np.ones_like(years) if spread is None else spread
    unit: Literal["deviation", "years"] = "years" if spread is None else "deviation"
    return AttributeCalibration(interval=age_interval(years[known], units[known], label[known], unit))


def _spreads(given: Sequence[ExpectationPredictions]) -> Doubles | None:
    """Standard deviations of the distributions [N], or None where there are none."""
    distributions = _distributions(given)
    return None if distributions is None else np.array([deviation(row) for row in distributions.astype(np.float32)])


def _distributions(given: Sequence[ExpectationPredictions]) -> Doubles | None:
    """Distributions [N, K] over whole years, or None where there are none."""
    known = [one.distribution for one in given if one.distribution is not None and not np.isnan(one.distribution).all()]
    return np.concatenate(known) if known else None


def _joined(years: Doubles) -> list[float]:
    """Upper ends of bands, each with at least `LEAST` predictions."""
    edges: list[float] = []
    below = -np.inf
    for edge in BANDS:
        if ((years >= below) & (years < edge)).sum() >= LEAST:
            edges.append(edge)
            below = edge
    if edges:
        edges[-1] = float("inf")
    return edges or [float("inf")]
