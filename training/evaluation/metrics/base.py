"""A figure as one object: what it is called, how it is computed and shown, and where it stands."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Generic, Literal, TypeVar

import numpy as np

from service.arrays import Bools, Doubles, Ints

Data = TypeVar("Data", bound=Sized)
"""What figures are of: `Predictions` of N pictures, or of N films."""
Compute = Callable[[Data, Doubles], Doubles]
"""Figures [B] of B weightings [B, N] of N samples; not a number where nothing has weight."""


class Table(Enum):
    """A table that shows some of the figures; the page of a report shows all of them."""

    GROUPS = auto()
    """The page's groups."""
    CARD = auto()
    """The model card's headline."""
    CARD_GROUPS = auto()
    """The model card's groups."""
    CARD_PRECISIONS = auto()
    """The model card's line of another arithmetic."""
    MODELS = auto()
    """The README's models side by side."""
    COMPARISON = auto()
    """Recipes side by side."""
    PANELS = auto()
    """Plots of recipes side by side."""
    ROBUSTNESS = auto()
    """Degraded pictures."""
    ROBUSTNESS_PLOT = auto()
    """Plot of degraded pictures."""


EVERYWHERE: Final = frozenset({Table.GROUPS, Table.CARD, Table.COMPARISON, Table.ROBUSTNESS})
"""Where a figure stands that names no tables."""


class Family(Enum):
    """What a figure is about; tables put families together."""

    PREDICTION = auto()
    """How well an attribute is predicted."""
    CERTAINTY = auto()
    """How many labels are not marked as uncertain, and how good those are."""
    DETECTION = auto()
    """Whether there is a face at all."""


@dataclass(frozen=True, slots=True)
class Metric(Generic[Data]):
    """A figure of labelled samples.

    Scoring, bootstrap, reports, cards and comparisons know figures by these objects alone. `compute` weighs samples, so that
    a figure and its bootstrap come from the very same computation.
    """

    key: str
    """Its name in documents."""
    title: str
    """What it is, without the attribute's name."""
    compute: Compute[Data]
    attribute: str | None = None
    """The attribute that it is of; None where it is of no attribute."""
    requires: str | None = None
    """What `Predictions.judged` must hold."""
    unit: str = ""
    """`years`, or nothing of a share, a score or an area, which lie between 0 and 1."""
    format: str = ".4f"
    """Format specification, in a table of few columns."""
    brief: str = ""
    """The same in a table of many; where it is empty, `format`."""
    short: str = ""
    """Its title in a column among others of its attribute; where it is empty, `title`."""
    column: str = ""
    """Its title in a column of its own; where it is empty, the attribute's name and `short`."""
    better: Literal["lower", "higher"] | None = None
    explanation: str = ""
    """What it counts, and the source of its formula."""
    family: Family = Family.PREDICTION
    bootstrapped: bool = True
    """Whether an interval is computed of it."""
    tables: frozenset[Table] = EVERYWHERE
    path: str = ""
    """Where it stands in a document, by names with dots between; where it is empty, under `key`."""

    @property
    def place(self) -> str:
        """Where it stands in a document, by names with dots between."""
        return self.path or self.key

    @property
    def heading(self) -> str:
        """The whole title: the attribute, what it is, and the unit."""
        return self._with_unit(f"{self.attribute}: {self.title}" if self.attribute else self.title)

    @property
    def short_heading(self) -> str:
        """The short title with the unit."""
        return self._with_unit(self.short or self.title)

    @property
    def column_title(self) -> str:
        """The title of a column of its own, without the unit."""
        return self.column or " ".join(part for part in (self.attribute, self.short or self.title) if part)

    @property
    def column_heading(self) -> str:
        """The title of a column of its own, with the unit."""
        return self._with_unit(self.column_title)

    def shown(self, value: float, *, brief: bool = False) -> str:
        """The figure as people read it.

        Args:
            value: The figure.
            brief: Whether the table has many columns.

        Returns:
            Its text, without the unit.
        """
        return f"{value:{(brief and self.brief) or self.format}}"

    def shown_difference(self, value: float, base: float, *, brief: bool = False) -> str:
        """The difference of two figures as people read it, with its sign; of percentages, in points.

        Args:
            value: The figure.
            base: What it is compared with.
            brief: Whether the table has many columns.

        Returns:
            Its text, without the unit.
        """
        text = self.shown(value - base, brief=brief).removesuffix("%")
        return text if text[0] in "+-" else f"+{text}"

    def _with_unit(self, text: str) -> str:
        return f"{text} [{self.unit}]" if self.unit else text


def value_of(metric: Metric[Data], data: Data) -> float:
    """A figure of samples that all count once.

    Args:
        metric: The figure.
        data: N samples.

    Returns:
        The figure, or not a number.
    """
    return float(metric.compute(data, np.ones((1, len(data))))[0])


def mean(values: Doubles | Bools | Ints, counted: Bools, weights: Doubles) -> Doubles:
    """Weighted means.

    Args:
        values: What is averaged [N].
        counted: The rows of which there is a value [N].
        weights: B weightings [B, N].

    Returns:
        Means [B]; not a number where nothing that counts has weight.
    """
    return ratio(weights @ np.where(counted, values, 0).astype(np.float64), weights @ counted.astype(np.float64))


def ratio(above: Doubles, below: Doubles) -> Doubles:
    """A quotient.

    Args:
        above: Dividends [B].
        below: Divisors [B], 0 or more.

    Returns:
        Quotients [B]; not a number where the divisor is 0.
    """
    quotient = np.full(above.shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
