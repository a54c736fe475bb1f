"""Figures of an attribute that has labels, such as the gender."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

import numpy as np

from service.arrays import Bools, Doubles, Ints
from training.evaluation.metrics.base import EVERYWHERE, Family, Metric, Table, mean, ratio
from training.evaluation.metrics.registry import label_metric, score_of, share_of
from training.evaluation.predictions import AttributeSpec, LabelPredictions, Predictions

BINS: Final = 15
"""Bins of the expected calibration error."""

Score = Literal["precision", "recall", "F1"]


@label_metric
def accuracy(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """The share of labels that are right.

    Args:
        attribute: One of labels.

    Yields:
        The figure.
    """
    name = attribute.name

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.labels[name]
        return mean(one.right(predictions.found), one.known, weights)

    yield score_of(name)(
        key=f"{name}_accuracy",
        title="accuracy",
        compute=compute,
        explanation="A face that is not found counts as wrong.",
        tables=EVERYWHERE | {Table.CARD_GROUPS, Table.CARD_PRECISIONS, Table.MODELS, Table.PANELS, Table.ROBUSTNESS_PLOT},
    )


@label_metric
def scores(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """Precision, recall and F1 of each of two labels.

    Args:
        attribute: One of labels.

    Yields:
        Three figures for each label; none of more than two labels, whose F1 is averaged.
    """
    if len(attribute.labels) != 2:
        return
    name = attribute.name
    for number, label in enumerate(attribute.labels):
        for score in ("precision", "recall", "F1"):
            # Single F1 scores that are published are of the second label.
            published = score == "F1" and number == 1
            yield score_of(name)(
                key=f"{name}_f1" if published else f"{name}_{label}_{score.lower()}",
                title=f"{score} of {label}",
                short=score,
                compute=_score(name, number, score),
                bootstrapped=False,
                tables=frozenset({Table.COMPARISON}) if published else frozenset(),
                path=f"{name}.{label}.{score.lower()}",
            )


@label_metric
def area(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """The area under the receiver operating characteristic of two labels.

    Args:
        attribute: One of labels.

    Yields:
        The figure; none of more than two labels.
    """
    if len(attribute.labels) != 2:
        return
    name = attribute.name

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.labels[name]
        counted = predictions.found & one.known
        return area_under_curve(one.label[counted], one.probabilities[counted, 1], weights[:, counted])

    yield score_of(name)(
        key=f"{name}_auc",
        title="area under the ROC",
        short="AUC",
        column="area under the ROC",
        compute=compute,
        explanation="Over found faces; the share of pairs, one of each label, whose probabilities are in order.",
        tables=frozenset({Table.GROUPS, Table.CARD, Table.MODELS, Table.COMPARISON}),
    )


@label_metric
def macro_f1(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """The mean F1 of three labels or more.

    Args:
        attribute: One of labels.

    Yields:
        The figure; none of two labels.
    """
    if len(attribute.labels) < 3:
        return
    name = attribute.name

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.labels[name]
        return mean_f1(one.label[one.known], one.predicted(predictions.found)[one.known], weights[:, one.known])

    yield score_of(name)(
        key=f"{name}_macro_f1",
        title="macro F1",
        column="macro F1",
        compute=compute,
        explanation="Over the labels that there are; a face that is not found has none.",
        tables=frozenset({Table.CARD, Table.MODELS, Table.COMPARISON}),
    )


@label_metric
def calibration(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """The expected calibration error.

    Args:
        attribute: One of labels.

    Yields:
        The figure.
    """
    name = attribute.name

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        confidence, right, rows = confidences(predictions, name)
        return expected_calibration_errors(confidence, right, weights[:, rows])

    yield Metric(
        key=f"{name}_ece",
        title="expected calibration error",
        compute=compute,
        attribute=name,
        requires=name,
        better="lower",
        explanation="Over found faces; see `expected_calibration_errors`.",
        bootstrapped=False,
        tables=frozenset({Table.CARD}),
    )


@label_metric
def certainty(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """The share of the found faces whose label is not marked as uncertain, and the accuracy of those labels.

    Args:
        attribute: One of labels.

    Yields:
        The two figures.
    """
    name = attribute.name

    def share(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.labels[name]
        return mean(~one.uncertain, predictions.found & one.known, weights)

    def accurate(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.labels[name]
        return mean(one.right(predictions.found), predictions.found & one.known & ~one.uncertain, weights)

    yield share_of(name)(
        key=f"{name}_certain_share",
        title="faces whose label is not marked uncertain",
        column="not marked uncertain",
        compute=share,
        family=Family.CERTAINTY,
        tables=frozenset({Table.CARD, Table.CARD_GROUPS}),
    )
    yield score_of(name)(
        key=f"{name}_certain_accuracy",
        title="accuracy of those",
        column="accuracy of those",
        compute=accurate,
        family=Family.CERTAINTY,
        tables=frozenset({Table.CARD, Table.CARD_GROUPS}),
    )


def confidences(predictions: Predictions, name: str) -> tuple[Doubles, Bools, Bools]:
    """Confidence and correctness of the found faces whose label is known.

    Args:
        predictions: Of N pictures.
        name: An attribute of labels.

    Returns:
        The probability of the predicted label [M], whether it is right [M], and the mask of these rows [N].
    """
    one: LabelPredictions = predictions.labels[name]
    rows = predictions.found & one.known
    probabilities = one.probabilities[rows]
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == one.label[rows], rows


def expected_calibration_errors(
    confidence: Doubles, right: Bools, weights: Doubles, bins: int = BINS, *, equal: Literal["mass", "width"] = "mass"
) -> Doubles:
    """Mean distance between confidence and accuracy over bins, weighted by their mass.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015, with the adaptive bins, of equal
    mass, of Nguyen and O'Connor, EMNLP 2015, or with those of equal width of Guo et al., "On calibration of modern neural
    networks", ICML 2017. Bins of equal mass hold a whole number of pictures where weights are such; a picture whose weight lies
    in two bins counts in both with its parts. Where an edge lies among pictures of one confidence, all of these stand on both
    sides in equal shares: their order does not matter.

    Args:
        confidence: Probabilities [N] of the predicted labels, or of anything else that may be so.
        right: Whether they are right, or it is so [N].
        weights: B weightings [B, N].
        bins: How many.
        equal: What all bins have alike: their mass, or their width, each without its upper end but the last.

    Returns:
        Errors [B] between 0 and 1; not a number where nothing has weight.
    """
    if not len(confidence):
        return np.full(len(weights), np.nan)
    order = np.argsort(confidence, kind="stable")
    ends = np.flatnonzero(np.diff(confidence[order], append=np.inf))  # the last picture of each confidence
    gap = (confidence - right)[order]
    inner = np.searchsorted(confidence[order][ends], np.arange(1, bins) / bins)  # confidences below each inner edge
    errors = np.full(len(weights), np.nan)
    for row, ordered in enumerate(weights[:, order]):
        mass = np.concatenate([[0.0], ordered.cumsum()[ends]])
        if mass[-1] > 0:
            if equal == "width":
                edges = np.concatenate([[0.0], mass[inner], mass[-1:]])
            else:
                least, over = divmod(mass[-1], bins)
                edges = np.arange(bins + 1) * least + np.minimum(np.arange(bins + 1), over)
            sums = np.interp(edges, mass, np.concatenate([[0.0], (ordered * gap).cumsum()[ends]]))
            errors[row] = np.abs(np.diff(sums)).sum() / mass[-1]
    return errors


def area_under_curve(label: Ints, score: Doubles, weights: Doubles) -> Doubles:
    """Area under the receiver operating characteristic.

    Args:
        label: 0 or 1 [N].
        score: What should be higher for a 1 [N].
        weights: B weightings [B, N].

    Returns:
        The shares [B] of pairs of a 1 and a 0 whose scores are in order, ties counting half; not a number without pairs.
    """
    if not len(score):
        return np.full(len(weights), np.nan)
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)
    ones, zeros = (np.add.reduceat(weights[:, order] * (label[order] == one), starts, axis=1) for one in (1, 0))
    below = np.cumsum(zeros, axis=1) - zeros / 2
    return ratio((ones * below).sum(axis=1), ones.sum(axis=1) * zeros.sum(axis=1))


def mean_f1(label: Ints, predicted: Ints, weights: Doubles) -> Doubles:
    """Mean F1 over the labels that have weight.

    Args:
        label: Numbers [N].
        predicted: Numbers [N], or -1 for none.
        weights: B weightings [B, N].

    Returns:
        Means [B] between 0 and 1; not a number where no label has weight.
    """
    labels = np.unique(label)
    truth, given = (rows[:, np.newaxis] == labels for rows in (label, predicted))
    there = weights @ truth.astype(np.float64)
    f1 = ratio(2 * (weights @ (truth & given).astype(np.float64)), there + weights @ given.astype(np.float64))
    return ratio(np.where(there > 0, f1, 0).sum(axis=1), (there > 0).sum(axis=1).astype(np.float64))


def _score(name: str, number: int, score: Score) -> Callable[[Predictions, Doubles], Doubles]:
    """Precision, recall or F1 of one label; 0 where a label was never predicted or never is."""

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.labels[name]
        truth, given = (one.label == number), (one.predicted(predictions.found) == number) & one.known
        hits, actual, predicted = (weights @ rows.astype(np.float64) for rows in (truth & given, truth, given))
        if score == "F1":
            return np.nan_to_num(ratio(2 * hits, actual + predicted))
        return np.nan_to_num(ratio(hits, predicted if score == "precision" else actual))

    return compute
