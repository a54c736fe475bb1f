"""What a model predicts of labelled pictures, beside what is known of them: one row a picture, N in all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from service.arrays import Bools, Doubles, Ints
from service.models.manifest import AttributeName, Section
from training.datasets.base import UNKNOWN

BANDS: Final = (*((low, low + 9) for low in range(0, 80, 10)), (80, 200))
"""Bands of true years, bounds included, by which the figures of an expectation are reported."""

PLAIN: Final = frozenset({"gender", "race"})
"""Attributes whose labels speak for themselves; any other stands before its labels."""


class AttributeSpec(Section):
    """An attribute that is measured."""

    name: AttributeName
    kind: Literal["expectation", "labels"]
    """An expectation in years, or one of `labels`."""
    labels: tuple[str, ...] = ()
    """The labels' names by number; none of an expectation."""


@dataclass(frozen=True, slots=True)
class ExpectationPredictions:
    """Predictions of an expectation, in years.

    `label` [N] is -1 where it is not known. `value`, `low` and `high` [N] are not a number where no face was found, or where
    the model does not predict them. `distribution` [N, K] is over whole years, or None. `at_least` [N], by age, is
    the probability of being so old, where it was asked for. `fallback` stands for the prediction
    where no face was found: the mean of the training split.
    """

    label: Doubles
    value: Doubles
    low: Doubles
    high: Doubles
    distribution: Doubles | None = None
    fallback: float = math.nan
    at_least: Mapping[int, Doubles] = field(default_factory=dict)

    @property
    def known(self) -> Bools:
        """Whether the label is known [N]."""
        return np.asarray(self.label != UNKNOWN, np.bool_)

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
            at_least={age: chances[rows] for age, chances in self.at_least.items()},
        )

    def error(self, found: Bools) -> Doubles:
        """Prediction less label.

        Args:
            found: Whether there was a face [N].

        Returns:
            Years [N]; meaningless where the label is not known.
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
            *(AttributeSpec(name=name, kind="expectation") for name in self.expectations),
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


def interval_of(name: str) -> str:
    """How `Predictions.judged` names an expectation's interval.

    Args:
        name: The attribute's.

    Returns:
        The name.
    """
    return f"{name} interval"


def groups(predictions: Predictions) -> dict[str, dict[str, Bools]]:
    """The rows of each label, and of each band of an expectation's true years.

    Args:
        predictions: Of N pictures.

    Returns:
        Masks [N] by attribute and by label or band, of those that have pictures.
    """
    rows: dict[str, dict[str, Bools]] = {
        name: {label: one.label == number for number, label in enumerate(one.names)} for name, one in predictions.labels.items()
    }
    for name, one in predictions.expectations.items():
        rows[name] = {
            f"{low}-{high}" if high < 200 else f"{low}+": (low <= one.label) & (one.label <= high) for low, high in BANDS
        }
    return {name: {group: chosen for group, chosen in members.items() if chosen.any()} for name, members in rows.items()}
