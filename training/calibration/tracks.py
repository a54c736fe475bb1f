"""Validation pictures as short films of one face each, to what the mean over a track's frames needs and what it brings."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar

from service.arrays import Doubles, Ints, Pixels
from service.inference.attributes import deviation
from service.models.evaluation import TrackEvaluation, read_evaluation
from service.models.manifest import AgeInterval, TrackCalibration
from service.models.store import UNLISTED, write_manifest
from service.tracking.aggregation import doubts
from service.vision.quality import Quality
from training.artifacts import write_json
from training.calibration.photo import intervals
from training.datasets.base import UNKNOWN, DataSet, Label, Split
from training.errors import CalibrationError
from training.evaluation.degradations import Degradation, blurred, brightened, compressed, noisy, reduced, rotated, smeared
from training.evaluation.metrics.labels import expected_calibration_error
from training.evaluation.recording import write_evaluation
from training.evaluation.robustness.study import sampled
from training.evaluation.service_client import Ask, Scored, read_manifest

FRAMES: Final = 12
"""Frames of one film."""
LENGTHS: Final = (1, 2, 3, 5, 8, 12)
"""Frames of the tracks whose intervals are fitted and measured."""
FOLDS: Final = 5
"""Parts of the pictures; each is measured with what was fitted on the others."""
REPLICATES: Final = 1000
"""Resamplings of the pictures behind every 95 % interval."""
CHOSEN: Final = {"small": 1.0}
"""Doublings that are not fitted, because a film's camera keeps its distance; docs/measurements.md has the figure."""
TRACKS: Final = "tracks.json"

_LEAST: Final = 1e-6  # as `service.tracking.aggregation` takes the logarithm of a probability of zero


# A film ---------------------------------------------------------------------------------------------------------------


def filmed(picture: Pixels, index: int) -> Pixels:
    """Frame `index` of a film of a picture, uint8 RGB: one camera for all of its frames, another one for each picture.

    The camera has a distance, noise, a compression and light; from frame to frame the head turns and shifts in the picture,
    the light changes, and some frames are out of focus or moved. Nothing turns the head out of the plane or changes the face,
    so that the frames have more in common than those of a real camera.
    """
    crc = zlib.crc32(picture.tobytes())
    camera, moment = np.random.default_rng(crc), np.random.default_rng([crc, index])
    far, grain, quality = camera.uniform(1, 3), camera.uniform(1, 10), int(camera.integers(40, 90))
    lean, light = camera.normal(0, 6), camera.uniform(0.6, 1.15)
    frame = rotated(picture, lean + moment.normal(0, 5))
    frame = _window(frame, moment.uniform(0.85, 1.0), moment.uniform(0, 1, 2))
    frame = brightened(frame, light * moment.uniform(0.85, 1.15))
    frame = blurred(frame, max(0.3, abs(moment.normal(0, 0.8))))
    if moment.random() < 0.2:
        frame = smeared(frame, int(moment.choice((3, 5, 7, 9))))
    return compressed(noisy(reduced(frame, far), grain), quality)


def _window(picture: Pixels, share: float, place: Doubles) -> Pixels:
    """A part with `share` of the width and height; `place` [2], 0 to 1 each, says where in what is left."""
    height, width = picture.shape[:2]
    rows, columns = round(height * share), round(width * share)
    y, x = round(place[1] * (height - rows)), round(place[0] * (width - columns))
    return np.ascontiguousarray(picture[y : y + rows, x : x + columns])


@dataclass(frozen=True, slots=True)
class FilmedSet(DataSet):
    """A data set of whose pictures films are made: each comes `FRAMES` times, as one frame after another."""

    def labelled(self, split: Split) -> Iterator[tuple[str, Label, bytes]]:
        """Name, label and bytes of every frame; see `DataSet.labelled`."""
        for name, label, data in DataSet.labelled(self, split):
            for index in range(FRAMES):
                yield name, label, Degradation("film", f"frame {index}", partial(filmed, index=index))(data)


# Its answers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Films:
    """Answers to the frames of N films of the same length; a film in which a frame has no face is left out.

    Labels [N]: `age`, `gender`, `race`. Frames [N, FRAMES]: `years`, the `spread` that the interval is measured in, and the
    logarithms `genders` [.., 2] and `races` [.., 5] of the calibrated probabilities. `doubts` [N, FRAMES, K] are those of
    `names` [K].
    """

    age: Doubles
    gender: Ints
    race: Ints
    years: Doubles
    spread: Doubles
    genders: Doubles
    races: Doubles
    doubts: Doubles
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.age)

    def where(self, chosen: npt.NDArray[Any]) -> Films:
        """The chosen films, by index or mask."""
        return replace(self, **{one.name: getattr(self, one.name)[chosen] for one in fields(self) if one.name != "names"})

    def weights(self, track: TrackCalibration) -> Doubles:
        """What `service.tracking.aggregation.weight` gives each frame [N, FRAMES]; a test holds the two together."""
        doublings = np.array([track.doublings.get(name, 0.0) for name in self.names])
        return np.asarray(2.0 ** -(self.doubts @ doublings))


def films(scored: Scored, interval: AgeInterval) -> Films:
    """The answers to the frames of a `FilmedSet`, by film. Raises `CalibrationError` where none has a face in every frame."""
    predictions = scored.predictions
    rows = np.arange(len(predictions)).reshape(-1, FRAMES)
    rows = rows[predictions.found[rows].all(axis=1)]
    if not len(rows):
        raise CalibrationError("no film has a face in every frame")
    first = rows[:, 0]
    age, gender, race = predictions.expectations["age"], predictions.labels["gender"], predictions.labels["race"]
    spread = np.ones(len(predictions))
    if interval.unit == "deviation" and age.distribution is not None:
        spread = np.array([deviation(values.astype(np.float32)) for values in age.distribution])
    names, amounts = _doubts(scored, rows)
    return Films(
        age=age.label[first],
        gender=gender.label[first],
        race=race.label[first],
        years=age.value[rows],
        spread=spread[rows],
        genders=np.log(np.maximum(gender.probabilities[rows], _LEAST)),
        races=np.log(np.maximum(race.probabilities[rows], _LEAST)),
        doubts=amounts,
        names=names,
    )


def _doubts(scored: Scored, rows: Ints) -> tuple[tuple[str, ...], Doubles]:
    """Names and amounts of the doubts about each frame of the films in `rows` [N, FRAMES]."""

    def of(row: int) -> dict[str, float]:
        quality = Quality(**{name: float(values[row]) for name, values in scored.qualities.items()})
        return doubts(quality, scored.warnings[row])

    return tuple(of(int(rows[0, 0]))), np.array([[list(of(int(row)).values()) for row in film] for film in rows])


# What is fitted -------------------------------------------------------------------------------------------------------


def fit(given: Films, interval: AgeInterval) -> TrackCalibration:
    """What the mean over a track needs, from films of validation pictures."""
    track = TrackCalibration(doublings=doublings(given) | CHOSEN)
    weighted = means(given, given.weights(track))
    gains = {
        name: gain(getattr(weighted, f"{name}s")[:, -1], getattr(given, name), weighted.frames[:, -1])
        for name in ("gender", "race")
    }
    correlation, scale = narrowed(weighted, given.age, interval)
    return track.model_copy(
        update={
            "correlation": round(correlation, 3),
            "scale": round(scale, 3),
            "gains": {name: round(factor, 3) for name, factor in gains.items()},
        }
    )


def doublings(given: Films) -> dict[str, float]:
    """How often one unit of each doubt doubles the variance of a frame's age about its film's mean, 0 or more.

    The most likely log-linear model with a variance of each film's own: a gamma regression of the squared differences.
    """
    squares = np.square(given.years - given.years.mean(axis=1, keepdims=True)) + 0.05  # the answers are rounded

    def loss(exponents: Doubles) -> float:
        amount = given.doubts @ exponents
        relative = squares * 2.0**-amount
        return float((np.log(2) * amount + np.log(relative.mean(axis=1, keepdims=True))).mean())

    count = len(given.names)
    found = minimize(loss, np.full(count, 0.3), bounds=[(0.0, 3.0)] * count, method="L-BFGS-B").x
    return {name: round(float(value), 2) for name, value in zip(given.names, found, strict=True)}


@dataclass(frozen=True, slots=True)
class Means:
    """Means over the first 1, 2, … frames of each film, [N, FRAMES]: `years`, `spread`, mean logarithms `genders` and
    `races`, and how many `frames` of equal weight they come to."""

    years: Doubles
    spread: Doubles
    genders: Doubles
    races: Doubles
    frames: Doubles


def means(given: Films, weights: Doubles) -> Means:
    """What `service.tracking.aggregation.Average` makes of the first frames, for many films at once; a test holds the two
    together."""
    total = weights.cumsum(axis=1)

    def mean(values: Doubles) -> Doubles:
        shape = (*weights.shape, *[1] * (values.ndim - 2))
        return np.asarray((values * weights.reshape(shape)).cumsum(axis=1) / total.reshape(shape))

    frames = np.square(total) / np.square(weights).cumsum(axis=1)
    return Means(mean(given.years), mean(given.spread), mean(given.genders), mean(given.races), frames)


def gain(logits: Doubles, labels: Ints, frames: Doubles) -> float:
    """The gain, 0.5 to 2, under which mean logits [N, K] of so many frames [N] give the labels the least negative
    log-likelihood."""
    known = labels != UNKNOWN

    def loss(factor: float) -> float:
        probabilities = gained(logits[known], factor, frames[known])
        return -float(np.log(np.maximum(probabilities[np.arange(known.sum()), labels[known]], 1e-12)).mean())

    return float(minimize_scalar(loss, bounds=(0.5, 2.0), method="bounded").x)


def gained(logits: Doubles, factor: float, frames: Doubles) -> Doubles:
    """Probabilities [N, K] from the mean logits of so many frames [N]."""
    scaled = logits * (1 + (factor - 1) * (1 - 1 / frames[:, np.newaxis]))
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def narrowed(weighted: Means, age: Doubles, interval: AgeInterval) -> tuple[float, float]:
    """Correlation and scale under which the intervals of tracks of all `LENGTHS` hold nearest the promised share."""
    tried = []
    for correlation in np.linspace(0, 1, 41):
        for scale in np.linspace(0.6, 1.8, 61):
            track = TrackCalibration(correlation=float(correlation), scale=float(scale))
            held = np.array([_held(weighted, length, age, interval, track).mean() for length in LENGTHS])
            tried.append((float(np.square(held - interval.coverage).sum()), float(correlation), float(scale)))
    return min(tried)[1:]


def _held(weighted: Means, length: int, age: Doubles, interval: AgeInterval, track: TrackCalibration) -> npt.NDArray[np.bool_]:
    """Whether the interval of a track of so many frames holds the age, [N]."""
    low, high = _ends(weighted, length, interval, track)
    return np.asarray((low <= age) & (age <= high))


def _ends(weighted: Means, length: int, interval: AgeInterval, track: TrackCalibration) -> tuple[Doubles, Doubles]:
    column = length - 1
    # `service.tracking.aggregation.narrowing`, for many at once.
    narrow = track.scale * np.sqrt(track.correlation + (1 - track.correlation) / weighted.frames[:, column])
    return intervals(weighted.years[:, column], weighted.spread[:, column] * narrow, interval)


# What is measured -----------------------------------------------------------------------------------------------------


def measure(given: Films, interval: AgeInterval) -> dict[str, Any]:
    """Errors and intervals of tracks by their length, each film measured with what was fitted on other films; beside them
    those of a mean without weights, and the correlation of the errors of two frames."""
    folds = np.random.default_rng(0).permutation(len(given)) % FOLDS
    parts = [(np.flatnonzero(folds == fold), fit(given.where(folds != fold), interval)) for fold in range(FOLDS)]
    rows = []
    for length in LENGTHS:
        columns: dict[str, list[Doubles]] = {}
        order = []
        for chosen, track in parts:
            order.append(chosen)
            for name, values in _track(given.where(chosen), length, interval, track).items():
                columns.setdefault(name, []).append(values)
        rows.append(_row(length, {name: np.concatenate(values) for name, values in columns.items()}))
    error = given.years - given.age[:, np.newaxis]
    return {
        "films": len(given),
        "frames": FRAMES,
        "correlation_of_errors": _correlation(error),
        "tracks": rows,
    }


def _track(given: Films, length: int, interval: AgeInterval, track: TrackCalibration) -> dict[str, Doubles]:
    """By film: the age error, what of the mean error of its single frames is saved, the error without weights, whether the
    interval holds the age and how wide it is, and what the labels say."""
    weighted = means(given, given.weights(track))
    plain = means(given, np.ones_like(given.years))
    low, high = _ends(weighted, length, interval, track)
    column = length - 1
    error = np.abs(weighted.years[:, column] - given.age)
    single = np.abs(given.years[:, :length] - given.age[:, np.newaxis]).mean(axis=1)
    says: dict[str, Doubles] = {
        "age_error": error,
        "age_error_saved": single - error,
        "age_error_unweighted": np.abs(plain.years[:, column] - given.age),
        "held": ((low <= given.age) & (given.age <= high)).astype(np.float64),
        "width": high - low,
    }
    for name, factor in track.gains.items():
        labels: Ints = getattr(given, name)
        probabilities = gained(getattr(weighted, f"{name}s")[:, column], factor, weighted.frames[:, column])
        says[f"{name}_right"] = (probabilities.argmax(axis=1) == labels).astype(np.float64)
        says[f"{name}_confidence"] = probabilities.max(axis=1)
    return says


def _row(length: int, columns: Mapping[str, Doubles]) -> dict[str, Any]:
    row: dict[str, Any] = {"frames": length}
    for name, values in columns.items():
        if not name.endswith("_confidence"):
            row[name] = {"value": float(values.mean()), "interval": _bootstrapped(values)}
    for name in ("gender", "race"):
        confidence, right = columns[f"{name}_confidence"], columns[f"{name}_right"].astype(np.bool_)
        row[f"{name}_ece"] = expected_calibration_error(confidence, right)
    return row


def _bootstrapped(values: Doubles) -> list[float]:
    """95 % interval of the mean, over films drawn again."""
    random = np.random.default_rng(0)
    drawn_again = values[random.integers(0, len(values), (REPLICATES, len(values)))].mean(axis=1)
    return [float(bound) for bound in np.quantile(drawn_again, (0.025, 0.975))]


def _correlation(error: Doubles) -> float:
    """Mean correlation of the errors of two frames of one film."""
    return float(np.asarray(np.corrcoef(error.T))[np.triu_indices(error.shape[1], 1)].mean())


def study(ask: Ask, data: DataSet, interval: AgeInterval | None, out: Path, limit: int | None = None) -> dict[str, Any]:
    """Ask for every frame of films of `limit` validation pictures, or of all; write `tracks.json` under `out`.

    It holds what was fitted on all films, `calibration`, and what was measured. Raises `CalibrationError` where the model
    predicts no age with an interval, no gender or no race.
    """
    if interval is None:
        raise CalibrationError("the model has no age interval to narrow")
    sample = sampled(data, Split.VALIDATION, limit)
    filmed_set = FilmedSet(**{one.name: getattr(sample, one.name) for one in fields(sample)})
    scored = ask(filmed_set, Split.VALIDATION)
    if not {"age", "age interval", "gender", "race"} <= scored.predictions.judged():
        raise CalibrationError("the model must answer age, gender and race")
    given = films(scored, interval)
    document = {
        "data": data.name,
        **({} if scored.served is None else scored.served.model_dump()),
        "pictures": len(set(scored.names)),
        "calibration": fit(given, interval).model_dump(),
        **measure(given, interval),
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
    manifest = read_manifest(store, name, version)
    folder = store / name / str(version)
    newest = max(int(path.name) for path in (store / name).iterdir() if path.name.isdigit())
    made: Path = store / name / str(newest + 1)
    try:
        shutil.copytree(folder, made, ignore=lambda place, names: UNLISTED & set(names) if Path(place) == folder else set())
        fields = {"version": newest + 1, "track": document["calibration"]}
        write_manifest(made, manifest.model_dump(mode="json") | fields)
        evaluation = read_evaluation(folder)
        if evaluation is not None:
            measured = {name: document[name] for name in TrackEvaluation.model_fields}
            tracks = TrackEvaluation.model_validate(measured)
            write_evaluation(store, name, newest + 1, evaluation.model_copy(update={"tracks": tracks}))
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return made
