"""Validation answers to a calibration: temperatures, thresholds of uncertain labels, and the ends of age intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from service.arrays import Doubles, Ints
from service.inference.attributes import deviation
from service.inference.probabilities import temperature_scaled
from service.models.manifest import AGE, AttributeCalibration
from training.calibration.at_least import fit_at_least
from training.calibration.intervals import Unit, age_interval
from training.calibration.thresholds import fit_thresholds, threshold
from training.datasets.base import UNKNOWN
from training.errors import CalibrationError
from training.evaluation.predictions import AttributeSpec, ExpectationPredictions, Predictions
from training.recipe import SelectiveAccuracy

NO_LABELS: Final = "a calibration needs labels, and the data sets have none of what the model predicts"
"""What is said of data sets that know no attribute of a model."""
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


def fit(
    parts: Sequence[Predictions], accuracies: Mapping[str, SelectiveAccuracy] | None = None
) -> dict[str, AttributeCalibration]:
    """Calibrations of a network from its uncalibrated predictions.

    A face that was not found, or whose label of an attribute is not known, counts for nothing there.

    Args:
        parts: Predictions of one data set each.
        accuracies: What the labels that are not marked uncertain have to reach, by attribute; the default for one that is not
            there.

    Returns:
        Calibrations by attribute, of those that the model predicts and any data set knows.

    Raises:
        CalibrationError: No face was found, or no label of what the model predicts is known.
    """
    seen = [one.where(one.found) for one in parts]
    if not sum(map(len, seen)):
        raise CalibrationError("a calibration needs faces, and none was found")
    fitted: dict[str, AttributeCalibration] = {}
    for spec in dict.fromkeys(spec for one in seen for spec in one.attributes):
        # Of what the model does not predict, which is not fitted, each data set may know other labels.
        labelled = [one for one in seen if spec in one.attributes]
        if spec.kind == "labels":
            calibration = fit_labels(
                spec,
                np.concatenate([one.labels[spec.name].probabilities for one in labelled]),
                np.concatenate([one.labels[spec.name].label for one in labelled]),
                (accuracies or {}).get(spec.name, SelectiveAccuracy()),
                np.concatenate([_predicted_ages(one) for one in labelled]),
                np.repeat(np.arange(len(labelled)), [len(one) for one in labelled]),
            )
        else:
            given = [one.expectations[spec.name] for one in labelled]
            calibration = fit_expectation(
                np.concatenate([one.positions(one.value) for one in given]),
                _spreads(given),
                np.concatenate([one.positions(one.label) for one in given]),
                np.repeat(np.arange(len(given)), [len(one.label) for one in given]),
                "years" if spec.range is None else "steps",
            )
            if spec.name == AGE:
                calibration = _with_at_least(calibration, given)
        if calibration is not None:
            fitted[spec.name] = calibration
    if not fitted:
        raise CalibrationError(NO_LABELS)
    return fitted


def _with_at_least(
    calibration: AttributeCalibration | None, given: Sequence[ExpectationPredictions]
) -> AttributeCalibration | None:
    """The calibration of the age, with that of the probability of being so old where there are distributions."""
    distributions = _distributions(given)
    if calibration is None or distributions is None:
        return calibration
    years = np.concatenate([one.label for one in given])
    known = ~np.isnan(years)
    return calibration.model_copy(update={"at_least": fit_at_least(distributions[known], years[known])})


def fit_labels(
    spec: AttributeSpec,
    probabilities: Doubles,
    labels: Ints,
    accuracy: SelectiveAccuracy,
    years: Doubles | None = None,
    sets: Ints | None = None,
) -> AttributeCalibration | None:
    """Temperature and thresholds of labels.

    Args:
        spec: The attribute.
        probabilities: Uncalibrated ones [N, K]; not a number where the network has no such output.
        labels: Numbers [N], -1 where a label is not known.
        accuracy: What the labels that are not marked uncertain have to reach.
        years: Predicted ages [N]; None, or not a number, where the network gives none.
        sets: Numbers of the data sets that the faces are from [N]; None where they are from one.

    Returns:
        The calibration, or None where nothing is predicted or known.
    """
    known = labels != UNKNOWN
    if not known.any() or np.isnan(probabilities).any():
        return None
    floored = np.maximum(probabilities, ROUNDING)[known]
    degrees = round(temperature(floored, labels[known]), 4)
    scaled = temperature_scaled(floored, degrees)
    confidence, answered = scaled.max(axis=1), scaled.argmax(axis=1)
    right = answered == labels[known]
    ages = None if years is None or np.isnan(years).any() else years[known]
    origin = None if sets is None else sets[known]
    return AttributeCalibration(
        temperature=degrees,
        threshold=threshold(confidence, right, accuracy.overall),
        thresholds=fit_thresholds(confidence, answered, right, ages, spec.labels, accuracy.group, origin),
    )


def _predicted_ages(one: Predictions) -> Doubles:
    """Years [N]; not a number where the network gives none."""
    age = one.expectations.get(AGE)
    return np.full(len(one), np.nan) if age is None else age.value


def fit_expectation(
    years: Doubles,
    spread: Doubles | None,
    label: Doubles,
    sets: Ints | None = None,
    single: Literal["years", "steps"] = "years",
) -> AttributeCalibration | None:
    """Interval of an expectation; years of an age are steps of any other scale.

    Args:
        years: Predicted ones [N]; not a number where the network has no such output.
        spread: Standard deviations of the distributions [N] in years; None where the network gives none.
        label: True years [N], not a number where they are not known.
        sets: Numbers of the data sets that the faces are from [N]; None where they are from one.
        single: What a year is called.

    Returns:
        The calibration, or None where nothing is predicted or known.
    """
    known = ~np.isnan(label)
    if not known.any() or np.isnan(years).any():
        return None
    units = np.ones_like(years) if spread is None else spread
    unit: Unit = single if spread is None else "deviation"
    origin = None if sets is None else sets[known]
    return AttributeCalibration(interval=age_interval(years[known], units[known], label[known], unit, origin))


def _spreads(given: Sequence[ExpectationPredictions]) -> Doubles | None:
    """Standard deviations of the distributions [N], or None where there are none."""
    distributions = _distributions(given)
    return None if distributions is None else np.array([deviation(row) for row in distributions.astype(np.float32)])


def _distributions(given: Sequence[ExpectationPredictions]) -> Doubles | None:
    """Distributions [N, K] over whole years, or None where there are none."""
    known = [one.distribution for one in given if one.distribution is not None and not np.isnan(one.distribution).all()]
    return np.concatenate(known) if known else None
