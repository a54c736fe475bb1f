"""The attributes of one face in many frames to those of its track: a mean by quality, and an interval that narrows."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from service.arrays import Doubles
from service.inference.attributes import CONTRACT, Attributes, Expectation, LabelProbabilities, deviation, labelled, within
from service.inference.probabilities import logit, sigmoid, softmax
from service.models.manifest import AgeInterval, Manifest, TrackCalibration
from service.vision.quality import Quality

DEFAULT: Final = TrackCalibration()
"""Calibration of a model whose manifest has none; see `TrackCalibration` for its source."""

LEAST_PROBABILITY: Final = 1e-6
"""Stands for a probability of zero, whose logarithm is not finite."""
LEAST_WEIGHT: Final = 1e-9
"""Of a frame whose measures are beyond all reason: landmarks that nearly coincide are turned without end."""
SURE: Final = 0.8
"""Probability from which a label that is not uncertain contradicts another one."""


def impairments(quality: Quality, warnings: list[str]) -> dict[str, float]:
    """How far a frame's face is from an easy one, in octaves of size, detail and light, and in turns.

    Args:
        quality: What was measured of the face.
        warnings: Its warnings.

    Returns:
        Amounts from 0 up, by the names of `TrackCalibration.doublings`.
    """
    return {
        "small": max(0.0, math.log2(64 / max(1.0, quality.size_px))),
        "blurred": max(0.0, math.log2(8 / max(0.5, quality.sharpness))),
        "dark": max(0.0, math.log2(0.3 / max(0.02, quality.brightness))),
        "bright": max(0.0, math.log2(max(0.02, quality.brightness) / 0.6)),
        "rolled": abs(quality.roll) / 45,
        "turned": abs(quality.yaw),
        "cut_off": float("cut_off" in warnings),
    }


def weight(quality: Quality, warnings: list[str], calibration: TrackCalibration = DEFAULT) -> float:
    """Weight of one frame's answer: inverse to the variance of its error, which each impairment increases.

    Args:
        quality: What was measured of the face.
        warnings: Its warnings.
        calibration: How much each impairment increases the variance.

    Returns:
        A weight above 0, at most 1.
    """
    amounts = impairments(quality, warnings)
    doublings = sum(calibration.doublings.get(name, 0.0) * amount for name, amount in amounts.items())
    return max(LEAST_WEIGHT, 2.0**-doublings)


def narrowing(frames: float, calibration: TrackCalibration) -> float:
    """Width of the interval of a mean over frames, over that of one photo's interval.

    The errors of one face's frames have much in common, which no mean takes away. Where any two of them have the correlation
    ρ, the mean of n has the share ρ + (1 - ρ) / n of one's variance.

    Args:
        frames: Effective number of frames; less than 1 counts as 1.
        calibration: Correlation of errors, and the factor at one frame.

    Returns:
        The factor, above 0.
    """
    shared = calibration.correlation
    return calibration.scale * math.sqrt(shared + (1 - shared) / max(1.0, frames))


class Average:
    """What is known of one track's face: grows by a frame at a time, and never keeps one."""

    def __init__(self, manifest: Manifest) -> None:
        """Begin without a frame.

        Args:
            manifest: That of the model whose answers are averaged.
        """
        self._declared = {attribute.name: attribute for attribute in manifest.attributes}
        self._track = manifest.track or DEFAULT
        self._weights = self._squares = 0.0
        self._expectations: dict[str, Doubles] = {}
        self._logarithms: dict[str, Doubles] = {}
        self._thresholds: dict[str, Doubles] = {}
        self._chances: dict[str, Doubles] = {}
        self._latest: Attributes = {}

    @property
    def frames(self) -> float:
        """How many frames of equal weight this comes to (Kish, "Survey sampling", 1965): 0 before the first."""
        return self._weights**2 / self._squares if self._squares else 0.0

    def add(self, one: Attributes, weight: float) -> None:
        """Count one frame's attributes.

        Args:
            one: The attributes, always the same ones.
            weight: What the frame counts for, above 0.
        """
        self._weights += weight
        self._squares += weight**2
        self._latest = one
        for name, value in one.items():
            if isinstance(value, Expectation):
                spread = 1.0 if value.distribution is None else deviation(value.distribution)
                weighted = weight * np.array([value.value, spread])
                self._expectations[name] = self._expectations.get(name, np.zeros(2)) + weighted
                if value.at_least is not None:
                    odds = logit(np.array(list(value.at_least.values())), LEAST_PROBABILITY)
                    self._chances[name] = self._chances.get(name, 0.0) + weight * odds
            else:
                logarithms = np.log(np.maximum(list(value.probabilities.values()), LEAST_PROBABILITY))
                self._logarithms[name] = self._logarithms.get(name, 0.0) + weight * logarithms
                least = np.array([value.thresholds.get(label, 0.0) for label in value.probabilities])
                self._thresholds[name] = self._thresholds.get(name, 0.0) + weight * least

    def is_contradicted_by(self, one: Attributes) -> bool:
        """Whether one frame's face is hardly the same person's.

        Both genders or both races are sure and differ, or each age is outside of the other's interval. What other attributes
        say may change in one person.

        Args:
            one: The frame's attributes.

        Returns:
            Whether they contradict the mean; False before the first frame.
        """
        known = self.attributes()
        return any(_contradict(known[name], one[name]) for name in CONTRACT if name in known and name in one)

    def attributes(self) -> Attributes:
        """The track's attributes by now.

        Returns:
            Means over the frames, by attribute; none before the first frame.
        """
        return {
            name: self._mean_expectation(name, latest) if isinstance(latest, Expectation) else self._mean_labels(name, latest)
            for name, latest in self._latest.items()
        }

    def _mean_expectation(self, name: str, latest: Expectation) -> Expectation:
        mean, spread = (float(value) for value in self._expectations[name] / self._weights)
        interval: AgeInterval | None = self._declared[name].calibration.interval
        chances = self._mean_chances(name, latest)
        if interval is None or latest.low is None:
            return Expectation(mean, at_least=chances, scale=latest.scale)
        unit = spread if interval.unit == "deviation" else 1.0
        low, high = within(latest.scale, mean, unit * narrowing(self.frames, self._track), interval)
        return Expectation(mean, low, high, interval.coverage, at_least=chances, scale=latest.scale)

    def _mean_chances(self, name: str, latest: Expectation) -> dict[int, float] | None:
        """By age, the probability whose log odds are the mean of the frames'."""
        if latest.at_least is None:
            return None
        means = sigmoid(self._chances[name] / self._weights)
        return dict(zip(latest.at_least, map(float, means), strict=True))

    def _mean_labels(self, name: str, latest: LabelProbabilities) -> LabelProbabilities:
        """The normalised geometric mean; its logits times the gain, once there are many frames."""
        gain = self._track.gain(self._declared[name])
        logits = self._logarithms[name] / self._weights * (1 + (gain - 1) * (1 - 1 / self.frames))
        labels = tuple(latest.probabilities)
        # The frames' predicted ages differ, and with them the thresholds.
        least = dict(zip(labels, map(float, self._thresholds[name] / self._weights), strict=True))
        return labelled(labels, softmax(logits), least)


def _contradict(one: Expectation | LabelProbabilities, other: Expectation | LabelProbabilities) -> bool:
    if isinstance(one, Expectation) and isinstance(other, Expectation):
        return _excludes(one, other) and _excludes(other, one)
    if isinstance(one, LabelProbabilities) and isinstance(other, LabelProbabilities):
        return one.label != other.label and all(each.confidence >= SURE and not each.uncertain for each in (one, other))
    return False


def _excludes(one: Expectation, other: Expectation) -> bool:
    return one.low is not None and one.high is not None and not one.low <= other.value <= one.high
