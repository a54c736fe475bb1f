"""Predictions to what is drawn and listed beside the figures: matrices, curves, and errors by year."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import roc_curve

from service.arrays import Bools, Doubles, Ints
from training.evaluation.documents import Curve, YearError
from training.evaluation.metrics import metric_of
from training.evaluation.predictions import PLAIN, Predictions


def errors_by_year(predictions: Predictions, name: str) -> dict[str, YearError]:
    """Mean absolute error of the found faces of every true year, or hundredth of a range.

    Args:
        predictions: Of N pictures.
        name: An expectation.

    Returns:
        Errors and counts, by year or value.
    """
    detected = predictions.where(predictions.found & predictions.known(name))
    one = detected.expectations[name]
    steps = np.rint(one.positions(one.label)).astype(np.int64) if one.range is not None else one.label.astype(np.int64)
    years = np.unique(steps)
    weights = (steps == years[:, np.newaxis]).astype(np.float64)
    errors = metric_of(detected.attributes, f"{name}_mae").compute(detected, weights)
    return {
        f"{one.scale.at(int(step)):.15g}": YearError(mae=float(error), count=int(count))
        for step, error, count in zip(years, errors, weights.sum(axis=1), strict=True)
    }


def confusion_matrices(predictions: Predictions) -> dict[str, Ints]:
    """Counts of the found faces, of every attribute of labels that is judged.

    Args:
        predictions: Of N pictures.

    Returns:
        Matrices [K, K] by attribute: rows are known labels, columns predicted ones.
    """
    detected = predictions.where(predictions.found)
    judged = detected.judged() if len(detected) else frozenset()
    matrices = {}
    for name, one in detected.labels.items():
        if name in judged:
            matrices[name] = np.zeros((len(one.names), len(one.names)), np.int64)
            np.add.at(matrices[name], (one.label[one.known], one.predicted(detected.found)[one.known]), 1)
    return matrices


def roc_curves(predictions: Predictions) -> dict[str, Curve]:
    """The receiver operating characteristic of each label against the rest, over the found faces.

    Args:
        predictions: Of N pictures.

    Returns:
        Points from 0 to 1, by label, of those labels that have both kinds of faces.
    """
    curves = {}
    for title, truth, score in _labels_against_rest(predictions):
        false, true, _ = roc_curve(truth, score)
        curves[title] = Curve(
            false_positive_rate=tuple(round(float(one), 5) for one in false),
            true_positive_rate=tuple(round(float(one), 5) for one in true),
        )
    return curves


def _labels_against_rest(predictions: Predictions) -> Iterator[tuple[str, Bools, Doubles]]:
    """Title, truth [M] and probability [M] of each label that has both kinds of faces; of two labels, of the second."""
    detected = predictions.where(predictions.found)
    judged = detected.judged() if len(detected) else frozenset()
    for name, one in detected.labels.items():
        if name in judged:
            rows = one.where(one.known)
            for number in range(len(rows.names))[1 if len(rows.names) == 2 else 0 :]:
                truth = rows.label == number
                if 0 < truth.sum() < len(truth):
                    title = rows.names[number] if name in PLAIN else f"{name}: {rows.names[number]}"
                    yield title, truth, rows.probabilities[:, number]
