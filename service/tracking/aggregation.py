"""The attributes of one face in many frames to those of its track: a mean by quality, and an interval that narrows."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from service.inference.attributes import Age, Attributes, Label, bounds, deviation
from service.models.store import Calibration, TrackCalibration
from service.vision.quality import Quality

DEFAULT: Final = TrackCalibration()
"""Stands for what the model's manifest does not say; see `TrackCalibration` for its source."""

_LEAST: Final = 1e-6  # the logarithm of a probability of zero


def doubts(quality: Quality, warnings: list[str]) -> dict[str, float]:
    """How far a face is from an easy one, 0 and up, by what is amiss: octaves of size, detail and light, turns, a cut."""
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
    """What one frame's answer counts for, 0 to 1: over the variance of its error, which the doubts about it double."""
    amiss = doubts(quality, warnings)
    return 2.0 ** -sum(calibration.doublings.get(name, 0.0) * amount for name, amount in amiss.items())


def narrowing(frames: float, calibration: TrackCalibration) -> float:
    """Width of the interval of a mean over so many frames, over that of one frame's.

    The errors of one face's frames have much in common, which no mean takes away: where any two of them have the correlation
    ρ, the mean of n has the share ρ + (1 - ρ) / n of one's variance.
    """
    shared = calibration.correlation
    return calibration.scale * math.sqrt(shared + (1 - shared) / max(1.0, frames))


class Average:
    """What is known of one track's face: grows by a frame at a time, and never keeps one."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._track = calibration.track or DEFAULT
        self._weights = self._squares = 0.0
        self._age = np.zeros(2)
        self._logarithms: dict[str, npt.NDArray[np.float64]] = {}
        self._latest = Attributes()

    @property
    def frames(self) -> float:
        """How many frames of equal weight this comes to (Kish, "Survey sampling", 1965): 0 before the first."""
        return self._weights**2 / self._squares if self._squares else 0.0

    def add(self, one: Attributes, weight: float) -> None:
        """Count one frame's attributes, always the same ones, with a weight above 0."""
        self._weights += weight
        self._squares += weight**2
        self._latest = one
        if one.age is not None:
            spread = 1.0 if one.age.distribution is None else deviation(one.age.distribution)
            self._age += weight * np.array([one.age.years, spread])
        for name, label in (("gender", one.gender), ("race", one.race)):
            if label is not None:
                logarithms = np.log(np.maximum(list(label.probabilities.values()), _LEAST))
                self._logarithms[name] = self._logarithms.get(name, 0.0) + weight * logarithms

    def attributes(self) -> Attributes:
        """The track's attributes; none before the first frame."""
        latest = self._latest
        return Attributes(
            None if latest.age is None else self._mean_age(latest.age),
            None if latest.gender is None else self._mean_label("gender", latest.gender, self._track.gender_gain),
            None if latest.race is None else self._mean_label("race", latest.race, self._track.race_gain),
        )

    def _mean_age(self, latest: Age) -> Age:
        years, spread = (float(value) for value in self._age / self._weights)
        interval = self._calibration.age_interval
        if interval is None or latest.low is None:
            return Age(years, None, None, None, None)
        unit = spread if interval.unit == "deviation" else 1.0
        low, high = bounds(years, unit * narrowing(self.frames, self._track), interval)
        return Age(years, low, high, interval.coverage, None)

    def _mean_label(self, name: str, latest: Label, gain: float) -> Label:
        """The normalised geometric mean; its logits times the gain, once there are many frames."""
        logits = self._logarithms[name] / self._weights * (1 + (gain - 1) * (1 - 1 / self.frames))
        powers = np.exp(logits - logits.max())
        shares = (float(share) for share in powers / powers.sum())
        probabilities = dict(zip(latest.probabilities, shares, strict=True))
        return Label(max(probabilities, key=lambda label: probabilities[label]), probabilities, latest.threshold)
