"""Predictions of films to what the mean over a track's frames needs, and what it brings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from service.arrays import Bools, Doubles, Ints
from service.inference.probabilities import softmax
from service.models.evaluation import TrackEvaluation, read_evaluation
from service.models.manifest import AGE, AgeInterval, Attribute, TrackCalibration
from training.artifacts import whole_folder, write_json
from training.calibration.films import FRAMES, FilmedExpectation, FilmedSet, Films, films, required_interval
from training.calibration.intervals import MARGIN, intervals
from training.calibration.versions import copied
from training.datasets.base import DataSet, Split
from training.evaluation.metrics.labels import expected_calibration_error
from training.evaluation.recording import write_evaluation
from training.evaluation.robustness.study import sampled
from training.evaluation.service_client import Predict

LENGTHS: Final = (1, 2, 3, 5, 8, 12)
"""Frames of the tracks whose intervals are fitted and measured."""
FOLDS: Final = 5
"""Parts of the pictures; each is measured with what was fitted on the others."""
REPLICATES: Final = 1000
"""Resamplings of the pictures behind every 95 % interval."""
CHOSEN: Final = {"small": 1.0}
"""Doublings that are not fitted, because a film's camera keeps its distance; docs/measurements.md has the figure."""
TRACKS: Final = "tracks.json"

_ROUNDING: Final = 0.05  # years², of answers that are rounded to a tenth


# What is fitted -------------------------------------------------------------------------------------------------------


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
        correlation, scale = narrowed(weighted, given.expectations)
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
    squares = [np.square(one - one.mean(axis=1, keepdims=True)) + _ROUNDING for one in values]

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

    By expectation, `values` and `spreads` [N, FRAMES] are in years; by attribute of labels, `logarithms` [N, FRAMES, K] are of
    probabilities. `frames` [N, FRAMES] is the number of frames of equal weight that each mean comes to.
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
        probabilities = gained(logits, factor, frames)
        return -float(np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())

    return float(minimize_scalar(loss, bounds=(0.5, 2.0), method="bounded").x)


def gained(logits: Doubles, factor: float, frames: Doubles) -> Doubles:
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


def narrowed(weighted: Means, expectations: Mapping[str, FilmedExpectation]) -> tuple[float, float]:
    """Correlation and scale under which the intervals of tracks of all `LENGTHS` hold nearest what those of photos hold: the
    promised share, and the margin for faces from elsewhere.

    Args:
        weighted: Means over N films.
        expectations: The expectations of the same films, at least one.

    Returns:
        The correlation, 0 to 1, and the scale, 0.6 to 1.8.
    """
    tried = []
    for correlation in np.linspace(0, 1, 41):
        for scale in np.linspace(0.6, 1.8, 61):
            track = TrackCalibration(correlation=float(correlation), scale=float(scale))
            miss = [
                _covered(weighted, name, length, one, track).mean() - one.interval.coverage - MARGIN
                for name, one in expectations.items()
                for length in LENGTHS
            ]
            tried.append((float(np.square(miss).sum()), float(correlation), float(scale)))
    return min(tried)[1:]


def _covered(weighted: Means, name: str, length: int, one: FilmedExpectation, track: TrackCalibration) -> Bools:
    """Whether the interval of a track of so many frames holds the label, [N]."""
    low, high = _ends(weighted, name, length, one.interval, track)
    return np.asarray((low <= one.label) & (one.label <= high))


def _ends(weighted: Means, name: str, length: int, interval: AgeInterval, track: TrackCalibration) -> tuple[Doubles, Doubles]:
    column = length - 1
    # `service.tracking.aggregation.narrowing`, for many at once.
    narrow = track.scale * np.sqrt(track.correlation + (1 - track.correlation) / weighted.frames[:, column])
    return intervals(weighted.values[name][:, column], weighted.spreads[name][:, column] * narrow, interval)


# What is measured -----------------------------------------------------------------------------------------------------


def measure(given: Films) -> dict[str, Any]:
    """Errors and intervals of tracks by their length, each film measured with what was fitted on other films.

    Args:
        given: Films of validation pictures.

    Returns:
        The counts of films and frames, the mean correlation of the errors of two frames, and the figures of each of `LENGTHS`:
        by expectation also the error of a mean without weights.
    """
    folds = np.random.default_rng(0).permutation(len(given)) % FOLDS
    parts = [(np.flatnonzero(folds == fold), fit(given.where(folds != fold))) for fold in range(FOLDS)]
    rows = []
    for length in LENGTHS:
        columns: dict[str, list[Doubles]] = {}
        for chosen, track in parts:
            for name, values in _track(given.where(chosen), length, track).items():
                columns.setdefault(name, []).append(values)
        rows.append(_row(length, {name: np.concatenate(values) for name, values in columns.items()}, given.labels))
    return {
        "films": len(given),
        "frames": FRAMES,
        "correlation_of_errors": _correlation(given.expectations.values()),
        "tracks": rows,
    }


def _track(given: Films, length: int, track: TrackCalibration) -> dict[str, Doubles]:
    """Figures by film.

    Of an expectation: the error, what of the mean error of its single frames is saved, the error without weights, whether the
    interval holds the label and how wide it is. Of labels: whether the most probable one is right, and its probability.
    """
    weighted = means(given, given.weights(track))
    plain = means(given, np.ones_like(weighted.frames))
    column = length - 1
    figures: dict[str, Doubles] = {}
    for name, one in given.expectations.items():
        low, high = _ends(weighted, name, length, one.interval, track)
        error = np.abs(weighted.values[name][:, column] - one.label)
        single = np.abs(one.value[:, :length] - one.label[:, np.newaxis]).mean(axis=1)
        prefix = "" if name == AGE else f"{name}_"
        figures |= {
            f"{name}_error": one.step * error,
            f"{name}_error_saved": one.step * (single - error),
            f"{name}_error_unweighted": one.step * np.abs(plain.values[name][:, column] - one.label),
            f"{prefix}held": _covered(weighted, name, length, one, track).astype(np.float64),
            f"{prefix}width": one.step * (high - low),
        }
    for name, labels in given.labels.items():
        probabilities = gained(weighted.logarithms[name][:, column], track.gains[name], weighted.frames[:, column])
        figures[f"{name}_right"] = (probabilities.argmax(axis=1) == labels.label).astype(np.float64)
        figures[f"{name}_confidence"] = probabilities.max(axis=1)
    return figures


def _row(length: int, columns: Mapping[str, Doubles], labels: Iterable[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"frames": length}
    for name, values in columns.items():
        if not name.endswith("_confidence"):
            row[name] = {"value": float(values.mean()), "interval": _bootstrapped(values)}
    for name in labels:
        confidence, right = columns[f"{name}_confidence"], columns[f"{name}_right"].astype(np.bool_)
        row[f"{name}_ece"] = expected_calibration_error(confidence, right)
    return row


def _bootstrapped(values: Doubles) -> list[float]:
    """95 % interval of the mean, over films drawn again."""
    random = np.random.default_rng(0)
    drawn_again = values[random.integers(0, len(values), (REPLICATES, len(values)))].mean(axis=1)
    return [float(bound) for bound in np.quantile(drawn_again, (0.025, 0.975))]


def _correlation(expectations: Iterable[FilmedExpectation]) -> float | None:
    """Mean correlation of the errors of two frames of one film; None where nothing is expected."""
    pairs = [
        np.asarray(np.corrcoef((one.value - one.label[:, np.newaxis]).T))[np.triu_indices(FRAMES, 1)] for one in expectations
    ]
    return float(np.mean(pairs)) if pairs else None


def study(
    predict: Predict, data: DataSet, attributes: Sequence[Attribute], out: Path, limit: int | None = None
) -> dict[str, Any]:
    """Predict every frame of films of validation pictures; write `tracks.json`.

    Args:
        predict: Predictions of a split by the service.
        data: The data set.
        attributes: What the model declares.
        out: Folder to write to.
        limit: Pictures that films are made of, drawn from the whole split; all where it is None.

    Returns:
        What `tracks.json` holds: what was fitted on all films, `calibration`, and what was measured.

    Raises:
        CalibrationError: An expectation of the model has no interval, or no film can be measured.
        DataSetError: The validation split has no labelled picture.
    """
    for one in attributes:
        if one.kind == "expectation":
            required_interval(one)
    scored = predict(FilmedSet.of(sampled(data, Split.VALIDATION, limit)), Split.VALIDATION)
    given = films(scored, attributes)
    document = {
        "data": data.name,
        **({} if scored.served is None else scored.served.model_dump()),
        "pictures": len(set(scored.names)),
        "calibration": fit(given).model_dump(),
        **measure(given),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / TRACKS, document)
    return document


def record_track(store: Path, document: Mapping[str, Any]) -> Path:
    """Write a new version of the model that a document is about, of the same weights, with the calibration that was fitted.

    A version never changes. What was measured of photos holds for the new one too, for it answers them alike: it is copied,
    with what was measured of tracks beside it.

    Args:
        store: Model store.
        document: What `study` returned.

    Returns:
        The folder of the new version.

    Raises:
        EvaluationError: The store holds no such model.
    """
    name, version = document["model"]["name"], document["model"]["version"]
    made = copied(store, name, version, {"track": document["calibration"]})
    with whole_folder(made):
        evaluation = read_evaluation(store / name / str(version))
        if evaluation is not None:
            measured = {name: document[name] for name in TrackEvaluation.model_fields}
            tracks = TrackEvaluation.model_validate(measured)
            write_evaluation(store, name, int(made.name), evaluation.model_copy(update={"tracks": tracks}))
    return made
