"""Calibrated probabilities of labels to the thresholds below which a label is uncertain, by label and by predicted age."""

from __future__ import annotations

from typing import Final

import numpy as np

from service.arrays import Bools, Doubles, Ints
from service.models.manifest import LabelThresholds, ThresholdBand

BANDS: Final = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, float("inf"))
"""Upper ends, in predicted years, of the bands that get a threshold of their own."""
MIN_FACES: Final = 60
"""Faces that a band or a label needs for that: a smaller band is joined to the next, a smaller label has none."""
MIN_FACES_OF_SET: Final = 30
"""Faces of one data set that a band needs for a threshold under which these alone reach the accuracy, too."""
STANDARD_ERRORS: Final = 0.7
"""Standard errors by which the accuracy of a band or label has to lie above its bound: the least of many thresholds would else
be one that chance favours. docs/measurements.md has the figures behind it."""
STEP: Final = 0.01


def threshold(confidence: Doubles, right: Bools, accuracy: float, standard_errors: float = 0.0) -> float:
    """The least probability, to two digits, above which the most probable labels reach an accuracy together.

    Args:
        confidence: Calibrated probabilities of the most probable labels [N].
        right: Whether these labels are right [N].
        accuracy: Share, 0 to 1, that has to be right.
        standard_errors: By how many the share has to exceed it; the lower end of its Wilson interval (Wilson, JASA 1927).

    Returns:
        The threshold, 0 to 1; 1 where no threshold reaches the accuracy.
    """
    for candidate in np.arange(0, 1, STEP):
        chosen = confidence >= candidate
        if chosen.any() and _lower_end(float(right[chosen].mean()), int(chosen.sum()), standard_errors) >= accuracy:
            return round(float(candidate), 2)
    return 1.0


def fit_thresholds(
    confidence: Doubles,
    label: Ints,
    right: Bools,
    years: Doubles | None,
    names: tuple[str, ...],
    accuracy: float,
    sets: Ints | None = None,
) -> LabelThresholds:
    """Thresholds under which every label and every band of predicted age reaches an accuracy, wherever any threshold does.

    A band reaches it in each data set, too: one whose children are easy must not speak for those of another.

    Args:
        confidence: Calibrated probabilities of the most probable labels [N].
        label: Numbers of these labels [N].
        right: Whether they are right [N].
        years: Predicted ages [N]; None where the network gives none.
        names: The labels' names by number.
        accuracy: Share, 0 to 1, that has to be right of each label and in each band.
        sets: Numbers of the data sets that the faces are from [N]; None where they are from one.

    Returns:
        Those above 0.
    """
    origin = np.zeros(len(label), np.int64) if sets is None else sets
    edges = [] if years is None else joined(years, BANDS, MIN_FACES)
    band = np.zeros(len(label), np.int64) if years is None else np.digitize(years, edges[:-1])
    none = np.zeros(len(right))
    by_band = [
        max(
            _group_threshold(confidence, right, band == number, none, accuracy),
            *(
                _group_threshold(confidence, right, (band == number) & (origin == one), none, accuracy, MIN_FACES_OF_SET)
                for one in np.unique(origin)
            ),
        )
        for number in range(len(edges))
    ]
    others = np.array(by_band)[band] if by_band else np.zeros(len(right))
    by_label = [_group_threshold(confidence, right, label == number, others, accuracy) for number in range(len(names))]
    return LabelThresholds(
        labels={name: least for name, least in zip(names, by_label, strict=True) if least},
        bands=tuple(ThresholdBand(below=min(edge, 1e6), threshold=least) for edge, least in zip(edges, by_band, strict=True)),
    )


def joined(years: Doubles, bands: tuple[float, ...], least: int) -> list[float]:
    """Upper ends of bands, each with enough predictions.

    Args:
        years: Predicted ages [N].
        bands: Upper ends, rising, the last one infinite.
        least: Predictions that a band needs; a smaller one is joined to the next.

    Returns:
        Upper ends, at least one, the last one infinite.
    """
    edges: list[float] = []
    below = -np.inf
    for edge in bands:
        if ((years >= below) & (years < edge)).sum() >= least:
            edges.append(edge)
            below = edge
    if edges:
        edges[-1] = float("inf")
    return edges or [float("inf")]


def _group_threshold(
    confidence: Doubles, right: Bools, rows: Bools, others: Doubles, accuracy: float, least: int = MIN_FACES
) -> float:
    """The threshold of some rows, beside those that hold for them already; 0 where there are fewer than `least`."""
    if rows.sum() < least:
        return 0.0
    certain = rows & (confidence >= others)
    return threshold(confidence[certain], right[certain], accuracy, STANDARD_ERRORS) if certain.any() else 0.0


def _lower_end(share: float, count: int, deviations: float) -> float:
    """Of the Wilson interval of a share among `count`."""
    square = deviations**2
    spread = deviations * np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return float((share + square / (2 * count) - spread) / (1 + square / count))
