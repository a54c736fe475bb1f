"""Validation pictures as short films of one face each, and the model's predictions of their frames, by attribute."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Final

import numpy as np

from service.arrays import Bools, Doubles, Ints, Pixels
from service.inference.attributes import deviation
from service.models.manifest import AgeInterval, Attribute, TrackCalibration
from service.tracking.aggregation import LEAST_PROBABILITY, impairments
from service.vision.quality import Quality
from training.datasets.base import DataSet, Label, Split
from training.errors import CalibrationError
from training.evaluation.degradations import (
    Degradation,
    blurred,
    brightened,
    compressed,
    motion_blurred,
    noisy,
    reduced,
    rotated,
)
from training.evaluation.predictions import ExpectationPredictions
from training.evaluation.service_client import Scored

FRAMES: Final = 12
"""Frames of one film."""


def filmed(picture: Pixels, index: int) -> Pixels:
    """One frame of a film of a picture: one camera for all of its frames, another one for each picture.

    The camera has a distance, noise, a compression and light. From frame to frame the head turns and shifts in the picture,
    the light changes, and some frames are out of focus or moved. Nothing turns the head out of the plane or changes the face,
    so that the frames have more in common than those of a real camera.

    Args:
        picture: uint8 RGB [H, W, 3].
        index: Number of the frame, from 0.

    Returns:
        uint8 RGB, smaller; the same for the same picture and number.
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
        frame = motion_blurred(frame, int(moment.choice((3, 5, 7, 9))))
    return compressed(noisy(reduced(frame, far), grain), quality)


def _window(picture: Pixels, share: float, place: Doubles) -> Pixels:
    """A part with `share` of the width and height; `place` [2], 0 to 1 each, is its position in what is left."""
    height, width = picture.shape[:2]
    rows, columns = round(height * share), round(width * share)
    y, x = round(place[1] * (height - rows)), round(place[0] * (width - columns))
    return np.ascontiguousarray(picture[y : y + rows, x : x + columns])


@dataclass(frozen=True, slots=True)
class FilmedSet(DataSet):
    """A data set of whose pictures films are made: each comes `FRAMES` times, as one frame after another."""

    @classmethod
    def of(cls, data: DataSet) -> FilmedSet:
        """The films of a data set's pictures.

        Args:
            data: The data set.

        Returns:
            The same set, whose pictures are frames.
        """
        return cls(**{one.name: getattr(data, one.name) for one in fields(data)})

    def names(self) -> Iterator[str]:
        """Names of the pictures.

        Yields:
            A name for each frame.
        """
        for name in DataSet.names(self):
            yield from itertools.repeat(name, FRAMES)

    def labelled(self, split: Split) -> Iterator[tuple[str, Label, bytes]]:
        """Every frame of the films of a split.

        Args:
            split: The split.

        Yields:
            Name and label of the picture, and the bytes of the frame's PNG.
        """
        for name, label, data in DataSet.labelled(self, split):
            for index in range(FRAMES):
                yield name, label, Degradation("film", f"frame {index}", partial(filmed, index=index))(data)


@dataclass(frozen=True, slots=True)
class FilmedExpectation:
    """Predictions of an expectation in N films.

    `label` [N] and `value` [N, FRAMES] are in steps of the scale: years of an age. `spread` [N, FRAMES] is what the ends of
    `interval` are counted in: the standard deviation of each frame's distribution, or 1.
    """

    label: Doubles
    value: Doubles
    spread: Doubles
    interval: AgeInterval


@dataclass(frozen=True, slots=True)
class FilmedLabels:
    """Predictions of one of K labels in N films.

    `label` [N] is a label's number. `logarithms` [N, FRAMES, K] are those of the calibrated probabilities.
    """

    label: Ints
    logarithms: Doubles


@dataclass(frozen=True, slots=True)
class Films:
    """Predictions of the frames of N films of the same length, by the model's attributes.

    `impairments` [N, FRAMES, D] are those of `names` [D], as `service.tracking.aggregation.impairments` measures them.
    """

    expectations: Mapping[str, FilmedExpectation]
    labels: Mapping[str, FilmedLabels]
    impairments: Doubles
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.impairments)

    def where(self, chosen: Bools | Ints) -> Films:
        """The chosen films.

        Args:
            chosen: A mask [N], or indices.

        Returns:
            Their predictions.
        """
        return Films(
            {
                name: replace(one, label=one.label[chosen], value=one.value[chosen], spread=one.spread[chosen])
                for name, one in self.expectations.items()
            },
            {name: FilmedLabels(one.label[chosen], one.logarithms[chosen]) for name, one in self.labels.items()},
            self.impairments[chosen],
            self.names,
        )

    def weights(self, track: TrackCalibration) -> Doubles:
        """What `service.tracking.aggregation.weight` gives each frame; a test holds the two together.

        Args:
            track: How often one unit of each impairment doubles the variance.

        Returns:
            Weights [N, FRAMES], above 0 and at most 1.
        """
        doublings = np.array([track.doublings.get(name, 0.0) for name in self.names])
        return np.asarray(2.0 ** -(self.impairments @ doublings))


def films(scored: Scored, attributes: Sequence[Attribute]) -> Films:
    """Predictions of the frames of a `FilmedSet`, by film.

    A film in which a frame has no face, or whose labels do not know one of the attributes, is left out.

    Args:
        scored: Predictions of all frames, film by film.
        attributes: What the model declares.

    Returns:
        The films.

    Raises:
        CalibrationError: Every film is left out, or an expectation has no interval.
    """
    predictions = scored.predictions
    rows = np.arange(len(predictions)).reshape(-1, FRAMES)
    rows = rows[predictions.found[rows].all(axis=1)]
    for one in attributes:
        rows = rows[predictions.known(one.name)[rows[:, 0]]]
    if not len(rows):
        wanted = ", ".join(one.name for one in attributes)
        raise CalibrationError(f"no film has a face in every frame and labels of {wanted}")
    first = rows[:, 0]
    expectations, labels = {}, {}
    for one in attributes:
        if one.kind == "labels":
            given = predictions.labels[one.name]
            logarithms = np.log(np.maximum(given.probabilities[rows], LEAST_PROBABILITY))
            labels[one.name] = FilmedLabels(given.label[first], logarithms)
        else:
            expected, interval = predictions.expectations[one.name], required_interval(one)
            label, value = expected.positions(expected.label[first]), expected.positions(expected.value[rows])
            spread = _spread(expected, interval)[rows]
            expectations[one.name] = FilmedExpectation(label, value, spread, interval)
    names, amounts = _impairments(scored, rows)
    return Films(expectations, labels, amounts, names)


def required_interval(attribute: Attribute) -> AgeInterval:
    """The interval of an expectation, which a track's mean narrows.

    Args:
        attribute: The expectation.

    Returns:
        How its predictions become intervals.

    Raises:
        CalibrationError: It has none.
    """
    interval = attribute.calibration.interval
    if interval is None:
        raise CalibrationError(f"the model has no {attribute.name} interval to narrow")
    return interval


def _spread(one: ExpectationPredictions, interval: AgeInterval) -> Doubles:
    """The unit of the interval's ends [N] in steps."""
    if interval.unit != "deviation" or one.distribution is None:
        return np.ones(len(one.value))
    return np.array([deviation(values.astype(np.float32)) for values in one.distribution])


def _impairments(scored: Scored, rows: Ints) -> tuple[tuple[str, ...], Doubles]:
    """Names [D] and amounts [N, FRAMES, D] of the impairments of each frame of the films in `rows` [N, FRAMES]."""

    def of(row: int) -> dict[str, float]:
        quality = Quality(**{name: float(values[row]) for name, values in scored.qualities.items()})
        return impairments(quality, scored.warnings[row])

    return tuple(of(int(rows[0, 0]))), np.array([[list(of(int(row)).values()) for row in film] for film in rows])
