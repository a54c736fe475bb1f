"""Films of validation pictures to what a mean over their frames brings, and to a model that is calibrated for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from service.arrays import Doubles
from service.models.evaluation import Evaluation, Measured, TrackFigures, read_evaluation
from service.models.manifest import AGE, Attribute, TrackCalibration
from training.artifacts import writable, write_document
from training.calibration.documents import TRACKS, TrackStudy
from training.calibration.films import FRAMES, FilmedSet, Films, films, required_interval
from training.calibration.tracks import LENGTHS, ends, fit, means, with_gain
from training.calibration.versions import copied
from training.datasets.base import DataSet, Split
from training.errors import CalibrationError
from training.evaluation.bootstrap import bootstrap
from training.evaluation.metrics import Compute, Metric, metrics_of, value_of
from training.evaluation.predictions import (
    AttributeSpec,
    ExpectationPredictions,
    LabelPredictions,
    Predictions,
    concatenated,
)
from training.evaluation.recording import write_evaluation
from training.evaluation.robustness.study import sampled
from training.evaluation.service_client import Predict

FOLDS: Final = 5
"""Parts of the pictures; each is measured with what was fitted on the others."""
REPLICATES: Final = 1000
"""Resamplings of the films behind every 95 % interval."""
SEED: Final = 0
"""Of the folds and the resamplings."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """Predictions of N tracks of one length.

    `weighted` are those of the mean as the service weights it, `unweighted` those of the plain mean, and `frames` those of each
    frame alone; the last two are of expectations.
    """

    weighted: Predictions
    unweighted: Predictions
    frames: tuple[Predictions, ...]

    def __len__(self) -> int:
        return len(self.weighted)


def tracks(given: Films, length: int, track: TrackCalibration, attributes: Sequence[AttributeSpec]) -> Tracks:
    """Predictions of the first frames of films.

    Args:
        given: N films.
        length: How many frames.
        track: What the mean over frames needs.
        attributes: Those of the films.

    Returns:
        N tracks.
    """
    weighted = means(given, given.weights(track))
    plain = means(given, np.ones_like(weighted.frames))
    column = length - 1
    declared = {one.name: one for one in attributes}

    def expected(values: dict[str, Doubles], *, bounded: bool = False) -> dict[str, ExpectationPredictions]:
        """Predictions of positions on the scale [N], by expectation."""
        predictions = {}
        for name, filmed in given.expectations.items():
            scale = declared[name].scale
            bounds = (np.full(len(given), np.nan),) * 2
            if bounded:
                bounds = ends(weighted, name, length, filmed.interval, track.correlation, track.scale)
            label, value, low, high = (scale.origin + scale.step * one for one in (filmed.label, values[name], *bounds))
            predictions[name] = ExpectationPredictions(
                label, value, low, high, range=declared[name].range, unit=declared[name].unit
            )
        return predictions

    found = np.ones(len(given), np.bool_)
    labels = {
        name: LabelPredictions(
            declared[name].labels,
            one.label,
            with_gain(weighted.logarithms[name][:, column], track.gains[name], weighted.frames[:, column]),
        )
        for name, one in given.labels.items()
    }
    return Tracks(
        Predictions(found, expected({name: one[:, column] for name, one in weighted.values.items()}, bounded=True), labels),
        Predictions(found, expected({name: one[:, column] for name, one in plain.values.items()})),
        tuple(
            Predictions(found, expected({name: one.value[:, frame] for name, one in given.expectations.items()}))
            for frame in range(length)
        ),
    )


def metrics(attributes: Sequence[AttributeSpec]) -> list[Metric[Tracks]]:
    """The figures of tracks.

    Args:
        attributes: Those of the model.

    Returns:
        Of an expectation the error, what of the mean error of single frames is saved, the error without weights, and how often
        and how widely the interval holds the label; of labels the accuracy and the expected calibration error.
    """
    of_photos = {metric.key: metric for metric in metrics_of(attributes)}
    figures = []
    for one in attributes:
        name = one.name
        if one.kind == "expectation":
            error, prefix = of_photos[f"{name}_mae"], "" if name == AGE else f"{name}_"
            figures += [
                _figure(error, f"{name}_error", error.title, _of_weighted(error)),
                _figure(error, f"{name}_error_saved", "what of the error of a single frame is saved", _saved(error)),
                _figure(error, f"{name}_error_unweighted", "error of a mean without weights", _of_unweighted(error)),
                *(
                    _figure(metric, f"{prefix}{key}", metric.title, _of_weighted(metric), bootstrapped=True)
                    for key, metric in (
                        ("held", of_photos[f"{prefix}interval_coverage"]),
                        ("width", of_photos[f"{prefix}interval_width"]),
                    )
                ),
            ]
        else:
            accuracy, calibration = of_photos[f"{name}_accuracy"], of_photos[f"{name}_ece"]
            figures += [
                _figure(accuracy, f"{name}_right", accuracy.title, _of_weighted(accuracy)),
                _figure(calibration, f"{name}_ece", calibration.title, _of_weighted(calibration), bootstrapped=False),
            ]
    return figures


def _figure(
    of_photos: Metric[Predictions], key: str, title: str, compute: Compute[Tracks], *, bootstrapped: bool = True
) -> Metric[Tracks]:
    """A figure of tracks that is shown as one of photos is."""
    return Metric(
        key=key,
        title=title,
        compute=compute,
        attribute=of_photos.attribute,
        unit=of_photos.unit,
        format=of_photos.format,
        better=of_photos.better,
        bootstrapped=bootstrapped,
    )


def _of_weighted(metric: Metric[Predictions]) -> Compute[Tracks]:
    return lambda given, weights: metric.compute(given.weighted, weights)


def _of_unweighted(metric: Metric[Predictions]) -> Compute[Tracks]:
    return lambda given, weights: metric.compute(given.unweighted, weights)


def _saved(metric: Metric[Predictions]) -> Compute[Tracks]:
    """The mean figure of single frames, less that of the track."""

    def compute(given: Tracks, weights: Doubles) -> Doubles:
        single = np.mean([metric.compute(frame, weights) for frame in given.frames], axis=0)
        return np.asarray(single - metric.compute(given.weighted, weights))

    return compute


def _correlations(given: Films, weights: Doubles) -> Doubles:
    """Mean correlations [B] of the errors of two frames of a film, over all pairs and expectations."""
    pairs = np.triu_indices(FRAMES, 1)
    correlations = []
    for row in weights:
        of_row = []
        for one in given.expectations.values():
            covariance = np.cov((one.value - one.label[:, np.newaxis]).T, aweights=row)
            deviations = np.sqrt(np.diag(covariance))
            of_row.append((covariance / np.outer(deviations, deviations))[pairs])
        correlations.append(np.mean(of_row) if of_row else np.nan)
    return np.array(correlations)


CORRELATION: Final[Metric[Films]] = Metric(
    key="correlation_of_errors",
    title="correlation of the errors of two frames",
    compute=_correlations,
    explanation="The mean over all pairs of frames and over the expectations.",
    bootstrapped=False,
)


def measure(given: Films, attributes: Sequence[AttributeSpec]) -> tuple[TrackFigures, ...]:
    """Errors and intervals of tracks by their length, each film measured with what was fitted on other films.

    Args:
        given: Films of validation pictures.
        attributes: Those of the films.

    Returns:
        The figures of each of `LENGTHS`.

    Raises:
        CalibrationError: There are less than two films.
    """
    if len(given) < 2:
        raise CalibrationError("films are measured with what was fitted on others, and there is one alone")
    folds = np.random.default_rng(SEED).permutation(len(given)) % FOLDS
    parts = [(given.where(np.flatnonzero(folds == fold)), fit(given.where(folds != fold))) for fold in range(FOLDS)]
    return tuple(
        _figures(length, joined([tracks(part, length, track, attributes) for part, track in parts]), attributes)
        for length in LENGTHS
    )


def joined(parts: Sequence[Tracks]) -> Tracks:
    """Tracks of several parts as one.

    Args:
        parts: Tracks of one length and the same attributes.

    Returns:
        The tracks, in the order of the parts.
    """
    return Tracks(
        concatenated([part.weighted for part in parts]),
        concatenated([part.unweighted for part in parts]),
        tuple(concatenated(frames) for frames in zip(*(part.frames for part in parts), strict=True)),
    )


def _figures(length: int, given: Tracks, attributes: Sequence[AttributeSpec]) -> TrackFigures:
    every = metrics(attributes)
    intervals = bootstrap([metric for metric in every if metric.bootstrapped], given, REPLICATES, SEED)
    values = {metric.key: value_of(metric, given) for metric in every}
    measured = {
        key: Measured(value=value, interval=intervals[key]) if key in intervals else None if np.isnan(value) else value
        for key, value in values.items()
    }
    return TrackFigures(frames=length, **measured)


def study(predict: Predict, data: DataSet, attributes: Sequence[Attribute], out: Path, limit: int | None = None) -> TrackStudy:
    """Predict every frame of films of validation pictures; write `tracks.json`.

    Args:
        predict: Predictions of a split by the service.
        data: The data set.
        attributes: What the model declares.
        out: Folder to write to.
        limit: Pictures that films are made of, drawn from the whole split; all where it is None.

    Returns:
        What `tracks.json` holds: what was fitted on all films, and what was measured.

    Raises:
        CalibrationError: An expectation has no interval, less than two films can be measured, or the predictions name no model.
        DataSetError: The validation split has no labelled picture.
    """
    for one in attributes:
        if one.kind == "expectation":
            required_interval(one)
    writable(out)
    scored = predict(FilmedSet.of(sampled(data, Split.VALIDATION, limit)), Split.VALIDATION)
    if scored.served is None:
        raise CalibrationError("the predictions name no model")
    given = films(scored, attributes)
    measured = measure(given, [AttributeSpec.of(one) for one in attributes])
    correlation = value_of(CORRELATION, given)
    document = TrackStudy(
        data=data.name,
        **dict(scored.served),
        pictures=len(set(scored.names)),
        films=len(given),
        frames=FRAMES,
        correlation_of_errors=None if np.isnan(correlation) else correlation,
        tracks=measured,
        calibration=fit(given),
    )
    write_document(out / TRACKS, document)
    return document


def record_track(store: Path, document: TrackStudy) -> Path:
    """Write a new version of the model that a study is of, of the same weights, with the calibration that was fitted.

    A version never changes. What was measured of photos holds for the new one too, for it answers them alike: it is copied,
    with what was measured of tracks beside it, but for that of variants, which are not.

    Args:
        store: Model store.
        document: What `study` returned.

    Returns:
        The folder of the new version.

    Raises:
        EvaluationError: The store holds no such model.
    """
    name, version = document.model.name, document.model.version
    with copied(store, name, version, {"track": document.calibration.model_dump()}) as folder:
        evaluation = read_evaluation(store / name / str(version))
        if evaluation is not None:
            known = evaluation.model_dump(exclude_unset=True, exclude={"variants"})
            recorded = Evaluation.model_validate(known | {"tracks": document.evaluation})
            write_evaluation(folder.parents[1], name, int(folder.name), recorded)
    return store / name / folder.name
