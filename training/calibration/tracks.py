"""Predictions of films to what the mean over a track's frames needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from service.arrays import Bools, Doubles, Ints
from service.inference.probabilities import softmax
from service.models.manifest import AgeInterval, TrackCalibration
from training.calibration.films import FilmedExpectation, Films
from training.calibration.intervals import MARGIN, intervals

LENGTHS: Final = (1, 2, 3, 5, 8, 12)
"""Frames of the tracks whose intervals are fitted and measured."""
CHOSEN: Final = {"small": 1.0}
"""Doublings that are not fitted, because a film's camera keeps its distance; docs/measurements.md has the figure."""

_LEAST_SQUARE: Final = 0.05  # years²; answers are rounded to a tenth, and a film of equal ones would have no variance


def fit(given: Films) -> TrackCalibration:
    """What the mean over a track needs.

    A model without expectations keeps the default doublings, correlation and scale.

    Args:
        given: Films of validation pictures.

    Returns:
        The calibration, with a gain for each attribute of labels.
    """
    track = TrackCalibration(doublings=doublings(given) | CHOSEN)
    weighted = means(given, given.weights(track))
    gains = {
        name: round(gain(weighted.logarithms[name][:, -1], one.label, weighted.frames[:, -1]), 3)
        for name, one in given.labels.items()
    }
    if given.expectations:
        correlation, scale = fit_narrowing(weighted, given.expectations)
        track = track.model_copy(update={"correlation": round(correlation, 3), "scale": round(scale, 3)})
    return track.model_copy(update={"gains": gains})


def doublings(given: Films) -> dict[str, float]:
    """How often one unit of each impairment doubles the variance of a frame's expectations about their film's means.

    The most likely log-linear model with a variance of each film's own: a gamma regression of the squared differences.

    Args:
        given: Films.

    Returns:
        Numbers from 0 to 3 by impairment; the defaults where nothing is expected.
    """
    values = [one.value for one in given.expectations.values()]
    if not values:
        return {name: TrackCalibration().doublings.get(name, 0.0) for name in given.names}
    squares = [np.square(one - one.mean(axis=1, keepdims=True)) + _LEAST_SQUARE for one in values]

    def loss(exponents: Doubles) -> float:
        amount = given.impairments @ exponents
        relative = [one * 2.0**-amount for one in squares]
        return float(np.mean([(np.log(2) * amount + np.log(one.mean(axis=1, keepdims=True))).mean() for one in relative]))

    count = len(given.names)
    found = minimize(loss, np.full(count, 0.3), bounds=[(0.0, 3.0)] * count, method="L-BFGS-B").x
    return {name: round(float(value), 2) for name, value in zip(given.names, found, strict=True)}


@dataclass(frozen=True, slots=True)
class Means:
    """Means over the first 1, 2, … frames of each of N films.

    By expectation, `values` and `spreads` [N, FRAMES] are in steps of the scale, years of an age; by attribute of labels,
    `logarithms` [N, FRAMES, K] are of probabilities. `frames` [N, FRAMES] is the number of frames of equal weight that each
    mean comes to.
    """

    values: Mapping[str, Doubles]
    spreads: Mapping[str, Doubles]
    logarithms: Mapping[str, Doubles]
    frames: Doubles


def means(given: Films, weights: Doubles) -> Means:
    """What `service.tracking.aggregation.Average` makes of the first frames, for many films at once; a test holds the two
    together.

    Args:
        given: N films.
        weights: Of the frames [N, FRAMES], above 0.

    Returns:
        The means.
    """
    total = weights.cumsum(axis=1)

    def mean(values: Doubles) -> Doubles:
        shape = (*weights.shape, *[1] * (values.ndim - 2))
        return np.asarray((values * weights.reshape(shape)).cumsum(axis=1) / total.reshape(shape))

    return Means(
        {name: mean(one.value) for name, one in given.expectations.items()},
        {name: mean(one.spread) for name, one in given.expectations.items()},
        {name: mean(one.logarithms) for name, one in given.labels.items()},
        np.square(total) / np.square(weights).cumsum(axis=1),
    )


def gain(logits: Doubles, labels: Ints, frames: Doubles) -> float:
    """The gain under which mean logits give the labels the least negative log-likelihood.

    Args:
        logits: Means of logarithms of probabilities [N, K].
        labels: Numbers [N].
        frames: How many frames of equal weight each mean comes to [N], 1 or more.

    Returns:
        The gain, 0.5 to 2.
    """

    def loss(factor: float) -> float:
        probabilities = with_gain(logits, factor, frames)
        return -float(np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())

    return float(minimize_scalar(loss, bounds=(0.5, 2.0), method="bounded").x)


def with_gain(logits: Doubles, factor: float, frames: Doubles) -> Doubles:
    """Probabilities of a mean over frames.

    Args:
        logits: Means of logarithms of probabilities [N, K].
        factor: The gain of a mean over many frames; a single frame has none.
        frames: How many frames of equal weight each mean comes to [N], 1 or more.

    Returns:
        Probabilities [N, K].
    """
    scaled = logits * (1 + (factor - 1) * (1 - 1 / frames[:, np.newaxis]))
    return softmax(scaled)


def fit_narrowing(weighted: Means, expectations: Mapping[str, FilmedExpectation]) -> tuple[float, float]:
    """Correlation and scale under which the intervals of tracks of all `LENGTHS` hold nearest what those of photos hold: the
    promised share, and the margin for faces from elsewhere.

    Args:
        weighted: Means over N films.
        expectations: The expectations of the same films, at least one.

    Returns:
        The correlation, 0 to 1, and the scale, 0.6 to 1.8.
    """
    scales = np.linspace(0.6, 1.8, 61)
    tried = []
    for correlation in np.linspace(0, 1, 41):
        miss = [
            _covered(weighted, name, length, one, correlation, scales[:, np.newaxis]).mean(axis=1)
            - (one.interval.coverage + MARGIN)
            for name, one in expectations.items()
            for length in LENGTHS
        ]
        errors = np.square(miss).sum(axis=0)
        tried.append((float(errors.min()), float(correlation), float(scales[errors.argmin()])))
    return min(tried)[1:]


def _covered(
    weighted: Means, name: str, length: int, one: FilmedExpectation, correlation: float, scale: float | Doubles
) -> Bools:
    """Whether the interval of a track of so many frames holds the label, [N] for each scale."""
    low, high = ends(weighted, name, length, one.interval, correlation, scale)
    return np.asarray((low <= one.label) & (one.label <= high))


def ends(
    weighted: Means, name: str, length: int, interval: AgeInterval, correlation: float, scale: float | Doubles
) -> tuple[Doubles, Doubles]:
    """The intervals of tracks of one length.

    Args:
        weighted: Means over N films.
        name: An expectation.
        length: Frames of the tracks.
        interval: The interval of a photo.
        correlation: That of the errors of a track's frames, 0 to 1.
        scale: What a track's interval is multiplied by, above 0; one, or many [S, 1].

    Returns:
        Lower and upper bounds, [N] or [S, N], in steps of the expectation's scale.
    """
    column = length - 1
    # `service.tracking.aggregation.narrowing`, for many at once.
    narrow = scale * np.sqrt(correlation + (1 - correlation) / weighted.frames[:, column])
    return intervals(weighted.values[name][:, column], weighted.spreads[name][:, column] * narrow, interval)
