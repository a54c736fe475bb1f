"""A network's raw outputs and a model's calibration to age with interval, gender and race."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.models.store import AgeInterval, Manifest

Floats = npt.NDArray[np.float32]

ATTRIBUTES = ("age", "gender", "race")
"""What can be asked for."""


@dataclass(frozen=True, slots=True)
class Age:
    """Expected age in years; whole-year bounds that hold the true age in a share `coverage` of cases, where the model was
    calibrated for it; the distribution [101] over whole years, where the model has one."""

    years: float
    low: int | None
    high: int | None
    coverage: float | None
    distribution: Floats | None


@dataclass(frozen=True, slots=True)
class Label:
    """The most probable label, the calibrated probability of each, and the one below which the label is `uncertain`."""

    label: str
    probabilities: dict[str, float]
    threshold: float = 0.0

    @property
    def confidence(self) -> float:
        """Probability of the label."""
        return self.probabilities[self.label]

    @property
    def uncertain(self) -> bool:
        """Whether the label is less probable than validation asks of one that can be relied on."""
        return self.confidence < self.threshold


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is known of one face; None is what was not asked for, or what the model does not say."""

    age: Age | None = None
    gender: Label | None = None
    race: Label | None = None


def describe(outputs: Mapping[str, Floats], manifest: Manifest, wanted: Sequence[str]) -> Attributes:
    """Attributes of one face from its outputs, for the attributes that are wanted and that the model has."""
    calibration = manifest.calibration
    age = gender = race = None
    if "age" in wanted and "age" in outputs:
        age = _age(float(outputs["age"]), outputs.get("age_distribution"), calibration.age_interval)
    if "gender" in wanted and "gender" in outputs:
        female = float(outputs["gender"])
        pair = np.array([1 - female, female])
        gender = _label(manifest.genders, pair, calibration.gender_temperature, calibration.gender_threshold)
    if "race" in wanted and "race" in outputs:
        race = _label(manifest.races, outputs["race"], calibration.race_temperature, calibration.race_threshold)
    return Attributes(age, gender, race)


def deviation(distribution: Floats) -> float:
    """Standard deviation, in years, of a distribution over whole years."""
    years = np.arange(len(distribution))
    mean = float(distribution @ years)
    return math.sqrt(max(0.0, float(distribution @ np.square(years - mean))))


def bounds(years: float, spread: float, interval: AgeInterval) -> tuple[int, int]:
    """Whole-year interval about a predicted age; `spread` is the distribution's deviation, or 1 where the unit is years.

    Rounded outwards no further than to the nearest year, and so that low <= years <= high.
    """
    band = next((band for band in interval.bands if years < band.below), interval.bands[-1])
    low, high = years + band.low * spread, years + band.high * spread
    return max(0, min(round(low), math.floor(years))), max(round(high), math.ceil(years))


def temperature_scaled(probabilities: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities whose logits are divided by a temperature, along the last axis."""
    logits = np.log(np.clip(np.asarray(probabilities, np.float64), 1e-9, 1)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _age(years: float, distribution: Floats | None, interval: AgeInterval | None) -> Age:
    if interval is None or (interval.unit == "deviation" and distribution is None):
        return Age(years, None, None, None, distribution)
    spread = deviation(distribution) if interval.unit == "deviation" and distribution is not None else 1.0
    low, high = bounds(years, spread, interval)
    return Age(years, low, high, interval.coverage, distribution)


def _label(names: Sequence[str], probabilities: npt.ArrayLike, temperature: float, threshold: float) -> Label:
    values = temperature_scaled(probabilities, temperature)
    return Label(names[int(values.argmax())], dict(zip(names, (float(value) for value in values), strict=True)), threshold)
