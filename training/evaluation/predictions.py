"""What a model predicts of labelled pictures, beside what is known of them: one row a picture, N in all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Ints
from service.models.manifest import CANONICAL, STEPS, YEARS, Declaration, Scale, scale_of
from training.datasets.base import UNKNOWN

BANDS: Final = (*((low, low + 9) for low in range(0, 80, 10)), (80, 200))
"""Bands of true years, bounds included, by which the figures of an expectation are reported."""

TENTHS: Final = 10
"""Bands of equal width by which those of an expectation with a range are reported."""

PLAIN: Final = frozenset(CANONICAL)
"""Attributes whose labels speak for themselves; any other stands before its labels."""


class AttributeSpec(Declaration):
    """An attribute that is measured."""

    @classmethod
    def of(cls, declared: Declaration) -> AttributeSpec:
        """What is declared of an attribute elsewhere.

        Args:
            declared: By a model or a recipe.

        Returns:
            The same of a report.
        """
        given = declared.model_dump(include=set(Declaration.model_fields), exclude_defaults=True)
        return cls(**{"labels": declared.labels, "kind": declared.kind, **given})


@dataclass(frozen=True, slots=True)
class ExpectationPredictions:
    """Predictions of an expectation, in years or in the unit of its range.

    `label` [N] is not a number where it is not known. `value`, `low` and `high` [N] are not a number where no face was found,
    or where the model does not predict them. `distribution` [N, K] is over the steps of `scale`, or None. `at_least` [N], by
    age, is the probability of being so old, where it was asked for. `fallback` stands for the prediction where no face was
    found: the mean of the training split.
    """

    label: Doubles
    value: Doubles
    low: Doubles
    high: Doubles
    distribution: Doubles | None = None
    fallback: float = math.nan
    at_least: Mapping[int, Doubles] = field(default_factory=dict)
    range: tuple[float, float] | None = None
    unit: str = ""

    @property
    def scale(self) -> Scale:
        """The values that there are."""
        return scale_of(self.range, self.unit)

    @property
    def known(self) -> Bools:
        """Whether the label is known [N]."""
        return np.asarray(~np.isnan(self.label), np.bool_)

    def positions(self, values: Doubles) -> Doubles:
        """Where values lie on the scale.

        Args:
            values: Labels or predictions, of any shape.

        Returns:
            Steps of the scale, not rounded; years of an age.
        """
        scale = self.scale
        return values if scale == YEARS else (values - scale.origin) / scale.step

    def bands(self) -> Ints:
        """The band of each label: of years by `BANDS`, of a range by tenths.

        Returns:
            Numbers [N] from 0, of `band_names`; -1 where the label is not known.
        """
        positions = self.positions(np.where(self.known, self.label, self.scale.origin))
        edges = [low for low, _ in BANDS[1:]] if self.range is None else np.arange(1, TENTHS) * STEPS / TENTHS
        return np.where(self.known, np.digitize(np.round(positions, 6), edges), UNKNOWN)

    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, such as `20-29` for years or `10 to 14` for a tenth of a range.

        Returns:
            Names by the bands' numbers.
        """
        if self.range is None:
            return tuple(f"{low}-{high}" if (low, high) != BANDS[-1] else f"{low}+" for low, high in BANDS)
        step = STEPS // TENTHS
        return tuple(f"{self.scale.at(k * step):.15g} to {self.scale.at(k * step + step):.15g}" for k in range(TENTHS))

    def where(self, rows: Bools | Ints) -> ExpectationPredictions:
        """The chosen rows.

        Args:
            rows: A mask [N], or indices.

        Returns:
            Their predictions.
        """
        distribution = None if self.distribution is None else self.distribution[rows]
        return replace(
            self,
            label=self.label[rows],
            value=self.value[rows],
            low=self.low[rows],
            high=self.high[rows],
            distribution=distribution,
            at_least={age: probabilities[rows] for age, probabilities in self.at_least.items()},
        )

    def error(self, found: Bools) -> Doubles:
        """Prediction less label.

        Args:
            found: Whether there was a face [N].

        Returns:
            Differences [N]; not a number where the label is not known.
        """
        return np.where(found, self.value, self.fallback) - self.label

    def covered(self, found: Bools) -> Bools:
        """Whether the interval holds the label.

        Args:
            found: Whether there was a face [N].

        Returns:
            A mask [N]; False where there was none.
        """
        return found & (self.low <= self.label) & (self.label <= self.high)


@dataclass(frozen=True, slots=True)
class LabelPredictions:
    """Predictions of one of K labels.

    `names` [K] are the labels'. `label` [N] is a label's number, -1 where it is not known. `probabilities` [N, K] are not a
    number where no face was found or the model does not predict them. `uncertain` [N] is whether the service marks the
    predicted label so; nowhere by default.
    """

    names: tuple[str, ...]
    label: Ints
    probabilities: Doubles
    uncertain: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __post_init__(self) -> None:
        if len(self.uncertain) != len(self.label):
            object.__setattr__(self, "uncertain", np.zeros(len(self.label), np.bool_))

    @property
    def known(self) -> Bools:
        """Whether the label is known [N]."""
        return np.asarray(self.label != UNKNOWN, np.bool_)

    def where(self, rows: Bools | Ints) -> LabelPredictions:
        """The chosen rows.

        Args:
            rows: A mask [N], or indices.

        Returns:
            Their predictions.
        """
        return LabelPredictions(self.names, self.label[rows], self.probabilities[rows], self.uncertain[rows])

    def predicted(self, found: Bools) -> Ints:
        """Numbers of the most probable labels.

        Args:
            found: Whether there was a face [N].

        Returns:
            Numbers [N]. Where there was no face: of two labels the wrong one, of more labels none, which is -1.
        """
        wrong = 1 - self.label if len(self.names) == 2 else np.full(len(self.label), UNKNOWN)
        return np.where(found, np.nan_to_num(self.probabilities).argmax(axis=1), wrong)

    def right(self, found: Bools) -> Bools:
        """Whether the predicted label is the known one.

        Args:
            found: Whether there was a face [N].

        Returns:
            A mask [N]; False where there was no face or the label is not known.
        """
        return np.asarray((self.predicted(found) == self.label) & self.known, np.bool_)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of every attribute that the model declares or the labels know, by its name.

    `found` [N] is whether there was a face.
    """

    found: Bools
    expectations: Mapping[str, ExpectationPredictions] = field(default_factory=dict)
    labels: Mapping[str, LabelPredictions] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.found)

    @property
    def attributes(self) -> tuple[AttributeSpec, ...]:
        """The attributes, expectations first."""
        return (
            *(
                AttributeSpec(name=name, kind="expectation", range=one.range, unit=one.unit)
                if one.range is not None
                else AttributeSpec(name=name, kind="expectation")
                for name, one in self.expectations.items()
            ),
            *(AttributeSpec(name=name, kind="labels", labels=one.names) for name, one in self.labels.items()),
        )

    def where(self, rows: Bools | Ints) -> Predictions:
        """The chosen rows.

        Args:
            rows: A mask [N], or indices.

        Returns:
            Their predictions.
        """
        return Predictions(
            self.found[rows],
            {name: one.where(rows) for name, one in self.expectations.items()},
            {name: one.where(rows) for name, one in self.labels.items()},
        )

    def with_fallbacks(self, years: Mapping[str, float]) -> Predictions:
        """The same, with what stands for an expectation where no face was found.

        Args:
            years: Years by attribute; not a number where nothing does.

        Returns:
            The predictions.
        """
        return replace(
            self,
            expectations={name: replace(one, fallback=years.get(name, math.nan)) for name, one in self.expectations.items()},
        )

    def known(self, name: str) -> Bools:
        """Whether the label of an attribute is known.

        Args:
            name: The attribute's.

        Returns:
            A mask [N].
        """
        return self.expectations[name].known if name in self.expectations else self.labels[name].known

    def judged(self) -> frozenset[str]:
        """What the model predicts and the labels can judge.

        Returns:
            Names of attributes, and of an interval as `interval_of` names it; all that the labels can judge where no face was
            found.
        """
        values = {name: (one.known, one.value) for name, one in self.expectations.items()}
        values |= {interval_of(name): (one.known, one.low) for name, one in self.expectations.items()}
        values |= {name: (one.known, one.probabilities) for name, one in self.labels.items()}
        return frozenset(
            name
            for name, (known, predicted) in values.items()
            if (known.any() or not len(self)) and not (self.found.any() and np.isnan(predicted[self.found]).all())
        )


def concatenated(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of several parts as one.

    Args:
        parts: Of the same attributes, without distributions.

    Returns:
        The predictions of all pictures, in the order of the parts.
    """

    def column(of: Callable[[Predictions], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([of(part) for part in parts])

    def expectation(name: str) -> ExpectationPredictions:
        return replace(
            parts[0].expectations[name],
            label=column(lambda part: part.expectations[name].label),
            value=column(lambda part: part.expectations[name].value),
            low=column(lambda part: part.expectations[name].low),
            high=column(lambda part: part.expectations[name].high),
        )

    def labels(name: str) -> LabelPredictions:
        return LabelPredictions(
            parts[0].labels[name].names,
            column(lambda part: part.labels[name].label),
            column(lambda part: part.labels[name].probabilities),
            column(lambda part: part.labels[name].uncertain),
        )

    return Predictions(
        column(lambda part: part.found),
        {name: expectation(name) for name in parts[0].expectations},
        {name: labels(name) for name in parts[0].labels},
    )


def interval_of(name: str) -> str:
    """How `Predictions.judged` names an expectation's interval.

    Args:
        name: The attribute's.

    Returns:
        The name.
    """
    return f"{name} interval"


def groups(predictions: Predictions) -> dict[str, dict[str, Bools]]:
    """The rows of each label, and of each band of an expectation's true values.

    Args:
        predictions: Of N pictures.

    Returns:
        Masks [N] by attribute and by label or band, of those that have pictures.
    """
    rows: dict[str, dict[str, Bools]] = {
        name: {label: one.label == number for number, label in enumerate(one.names)} for name, one in predictions.labels.items()
    }
    for name, one in predictions.expectations.items():
        numbers = one.bands()
        rows[name] = {band: numbers == number for number, band in enumerate(one.band_names())}
    return {name: {group: chosen for group, chosen in members.items() if chosen.any()} for name, members in rows.items()}
