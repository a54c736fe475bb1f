"""A network's raw outputs and a model's calibration to a face's attributes: expectations with intervals, and labels."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from service.arrays import Doubles, Floats
from service.inference.at_least import at_least
from service.inference.probabilities import temperature_scaled
from service.models.manifest import AGE, CANONICAL, STEPS, YEARS, AgeInterval, AtLeastCalibration, Attribute, Manifest, Scale

CONTRACT: Final = (AGE, *CANONICAL)
"""Attributes that every request may name: one that the model does not have is absent from the answer."""

AS_IT_IS: Final = AtLeastCalibration()
"""Stands for a calibration that a model does not bring."""
BAND_STEPS: Final = 10
"""Steps of each band of a range: a tenth of it."""


def decade(years: float) -> str:
    """Name of the decade of an age.

    Args:
        years: The age; below 0 it counts as 0.

    Returns:
        `0-9`, `10-19` and so on, or `90+`.
    """
    start = min(90, int(max(0.0, years)) // 10 * 10)
    return "90+" if start == 90 else f"{start}-{start + 9}"


def bands(scale: Scale) -> tuple[str, ...]:
    """Names of the bands of an expectation with a range.

    Args:
        scale: Its values.

    Returns:
        Ten names, such as `22 to 26`, ascending.
    """
    starts = range(0, STEPS, BAND_STEPS)
    return tuple(f"{scale.at(start):.15g} to {scale.at(start + BAND_STEPS):.15g}" for start in starts)


def groups(attribute: Attribute) -> Sequence[str]:
    """By what the answers of an attribute are counted.

    Args:
        attribute: As a manifest declares it.

    Returns:
        Its labels, or each `Expectation.group`: the decades of an age, or the bands of another range.
    """
    if attribute.kind == "labels":
        return attribute.labels
    return [decade(years) for years in range(0, 100, 10)] if attribute.scale == YEARS else bands(attribute.scale)


@dataclass(frozen=True, slots=True)
class Expectation:
    """An expected value, and how certain it is."""

    value: float
    """In the unit of `scale`."""
    low: float | None = None
    """Lower bound, a whole step of `scale`; None of a model that was not calibrated for it, as of the next two."""
    high: float | None = None
    """Upper bound."""
    coverage: float | None = None
    """Share of cases, 0 to 1, whose true value the bounds hold."""
    distribution: Floats | None = None
    """Probabilities [K] of the steps; None where the model has none."""
    at_least: Mapping[int, float] | None = None
    """Calibrated probability of being at least so old, by the ages that were asked for."""
    scale: Scale = YEARS

    @property
    def group(self) -> str:
        """The decade of an age, such as `30-39`, or the tenth of another range, such as `22 to 26`."""
        if self.scale == YEARS:
            return decade(self.value)
        band = int(max(0.0, self.scale.position(self.value))) // BAND_STEPS
        return bands(self.scale)[min(band, STEPS // BAND_STEPS - 1)]

    def __str__(self) -> str:
        """The value and its bounds in few words: `34 (29-40)`, or `24.1 (21.2 to 27.6) kg/m²`."""
        if self.scale == YEARS:
            return aged(self.value, self.low, self.high)
        bounds = f" ({self.low:.15g} to {self.high:.15g})" if self.low is not None else ""
        return f"{self.value:.{self.scale.digits}f}{bounds} {self.scale.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class LabelProbabilities:
    """The most probable label, the calibrated probability of each, and by label the threshold below which it is `uncertain`."""

    label: str
    probabilities: dict[str, float]
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def confidence(self) -> float:
        """Probability of the label."""
        return self.probabilities[self.label]

    @property
    def uncertain(self) -> bool:
        """Whether the label is less probable than validation asks of one that can be relied on."""
        return self.confidence < self.thresholds.get(self.label, 0.0)

    def __str__(self) -> str:
        """In words: `female`, or what `undecided` says where it is uncertain."""
        return undecided(self.probabilities) if self.uncertain else self.label


def aged(years: float, low: float | None, high: float | None) -> str:
    """An age in few words: `34 (29-40)`; the same everywhere.

    Args:
        years: The age.
        low: The interval's lower end; None where there is none.
        high: Its upper end.

    Returns:
        The whole years, and the interval where there is one.
    """
    return str(whole_years(years)) + (f" ({low}-{high})" if low is not None else "")


def whole_years(years: float) -> int:
    """An age in whole years, of the answer's one decimal, halves upwards as a browser does.

    Args:
        years: The age.

    Returns:
        The nearest whole number.
    """
    return math.floor(round(years, 1) + 0.5)


def undecided(probabilities: Mapping[str, float]) -> str:
    """The two most probable labels in words: `white 47% or other 36%`.

    Args:
        probabilities: Each label's.

    Returns:
        Both with their probabilities, the more probable one first.
    """
    likeliest = heapq.nlargest(2, probabilities.items(), key=itemgetter(1))
    return " or ".join(f"{label} {share:.0%}" for label, share in likeliest)


Attributes: TypeAlias = Mapping[str, Expectation | LabelProbabilities]
"""What is known of one face, by attribute; one that was not requested, or that the model does not have, is absent."""


def describe(
    outputs: Mapping[str, Floats], manifest: Manifest, wanted: Collection[str], ages: Sequence[int] = ()
) -> Attributes:
    """Attributes of one face, in the manifest's order.

    Args:
        outputs: The network's outputs for the face, by name, without the batch's axis.
        manifest: What the model says, and its calibration.
        wanted: Names of the attributes to describe; a name that the model does not say is passed over.
        ages: From 1 to 99, for which the age's `at_least` is answered where the model has its distribution.

    Returns:
        The attributes that are wanted and that the outputs hold.
    """
    return {
        attribute.name: _expectation(outputs, attribute, ages)
        if attribute.kind == "expectation"
        else _labels(outputs, attribute, _predicted_age(outputs, manifest))
        for attribute in manifest.attributes
        if attribute.name in wanted and attribute.outputs[0] in outputs
    }


def deviation(distribution: Floats) -> float:
    """Standard deviation of a distribution over the steps of a scale, which are years of an age.

    Args:
        distribution: Probabilities [K] of the steps 0 to K - 1.

    Returns:
        The deviation in steps.
    """
    steps = np.arange(len(distribution))
    mean = float(distribution @ steps)
    return math.sqrt(max(0.0, float(distribution @ np.square(steps - mean))))


def bounds(position: float, spread: float, interval: AgeInterval) -> tuple[int, int]:
    """Interval of whole steps about a predicted value, rounded so that it holds that; a step is a year of an age.

    Args:
        position: The predicted value in steps, 0 or more.
        spread: The distribution's deviation in steps, or 1 where the interval's unit is single steps.
        interval: The calibration.

    Returns:
        The lowest and the highest step, each rounded outwards no further than to the nearest one.
    """
    band = next((band for band in interval.bands if position < band.below), interval.bands[-1])
    low, high = position + band.low * spread, position + band.high * spread
    return max(0, min(round(low), math.floor(position))), max(round(high), math.ceil(position))


def within(scale: Scale, value: float, spread: float, interval: AgeInterval) -> tuple[float, float]:
    """`bounds` in the unit of a scale, and inside its range.

    Args:
        scale: Of the expectation.
        value: The predicted one, in its unit.
        spread: As of `bounds`, in steps.
        interval: The calibration.

    Returns:
        The lowest and the highest value.
    """
    low, high = bounds(scale.position(value), spread, interval)
    return scale.at(low), scale.at(high if scale == YEARS else min(high, STEPS))


def _expectation(outputs: Mapping[str, Floats], attribute: Attribute, ages: Sequence[int]) -> Expectation:
    scale = attribute.scale
    value = _inside(scale, float(outputs[attribute.outputs[0]]))
    distribution = outputs.get(attribute.outputs[1]) if len(attribute.outputs) > 1 else None
    chances = None
    if ages and distribution is not None and attribute.name == AGE:
        chances = at_least(distribution, ages, attribute.calibration.at_least or AS_IT_IS)
    interval = attribute.calibration.interval
    if interval is None or (interval.unit == "deviation" and distribution is None):
        return Expectation(value, distribution=distribution, at_least=chances, scale=scale)
    spread = deviation(distribution) if interval.unit == "deviation" and distribution is not None else 1.0
    low, high = within(scale, value, spread, interval)
    return Expectation(value, low, high, interval.coverage, distribution, chances, scale)


def _inside(scale: Scale, value: float) -> float:
    """The value, or the nearest end of its range: rounded arithmetic goes beyond it, and so may a network of one's own."""
    return max(0.0, value) if scale == YEARS else min(max(value, scale.at(0)), scale.at(STEPS))


def _predicted_age(outputs: Mapping[str, Floats], manifest: Manifest) -> float | None:
    """The network's age in years, whether or not it is wanted; None where it gives none."""
    given = outputs.get(next(iter(manifest.outputs_of(AGE)), ""))
    return None if given is None else float(given)


def _labels(outputs: Mapping[str, Floats], attribute: Attribute, years: float | None) -> LabelProbabilities:
    given = outputs[attribute.outputs[0]]
    # A sigmoid unit gives the probability of the second of two labels alone.
    pair: npt.ArrayLike = np.array([1 - float(given), float(given)]) if np.ndim(given) == 0 else given
    probabilities = temperature_scaled(pair, attribute.calibration.temperature)
    return labelled(attribute.labels, probabilities, thresholds(attribute, years))


def thresholds(attribute: Attribute, years: float | None) -> dict[str, float]:
    """Probabilities below which labels are uncertain.

    Args:
        attribute: One of labels, with its calibration.
        years: The face's predicted age; None where the model gives none, so that no threshold of a band applies.

    Returns:
        The probability by label.
    """
    fitted, least = attribute.calibration.thresholds, attribute.calibration.threshold
    if fitted.bands and years is not None:
        least = max(least, next((one for one in fitted.bands if years < one.below), fitted.bands[-1]).threshold)
    return {label: max(least, fitted.labels.get(label, 0.0)) for label in attribute.labels}


def labelled(labels: Sequence[str], probabilities: Doubles, least: Mapping[str, float]) -> LabelProbabilities:
    """Probabilities with the labels' names.

    Args:
        labels: Names [K].
        probabilities: Calibrated probabilities [K].
        least: By label, the probability below which it is uncertain.

    Returns:
        The most probable label, and each one's probability.
    """
    named = dict(zip(labels, (float(value) for value in probabilities), strict=True))
    return LabelProbabilities(labels[int(probabilities.argmax())], named, least)
