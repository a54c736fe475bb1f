"""How an attribute of labels is counted: an age by years, a number by bands, and anything else by its words."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Final

from typing_extensions import override

from service.models.manifest import AGE, CANONICAL
from training.datasets.base import Label

UNKNOWN_VALUE: Final = "unknown"
"""Stands in tables for an attribute that a label does not have."""
MOST_WORDS: Final = 40
"""Most words of an attribute that is counted and drawn; a column of notes or names has more."""
MOST_CODES: Final = 10
"""Most whole numbers that count as words, such as 0 and 1 for no and yes."""
MOST_BANDS: Final = 20
"""Most bands of a number."""

_LAST: Final = (math.inf, "")  # unknown values stand behind the others


class Column(ABC):
    """An attribute that is counted: `name`, the `unit` of its values, and every how many values a plot has a tick."""

    ticks: int = 1

    def __init__(self, name: str, unit: str = "") -> None:
        self.name, self.unit = name, unit

    @abstractmethod
    def value(self, label: Label) -> str:
        """What a label counts as.

        Args:
            label: The label.

        Returns:
            A word, a year or a band, or `UNKNOWN_VALUE`.
        """

    @abstractmethod
    def place(self, value: str) -> tuple[float, str]:
        """Where a value stands among the others; unknown ones are last.

        Args:
            value: What `value` returned.

        Returns:
            A key for sorting.
        """

    def drawn(self, values: Iterable[str]) -> list[str]:
        """The values of a plot.

        Args:
            values: Those that there are.

        Returns:
            The values in their order, and those between them where they are numbers.
        """
        return sorted(values, key=self.place)

    def caption(self, label: Label) -> str:
        """What is written below a picture.

        Args:
            label: Its label.

        Returns:
            A few letters; a question mark for what is unknown.
        """
        value = self.value(label)
        return "?" if value == UNKNOWN_VALUE else value


class Words(Column):
    """An attribute of labels; known labels stand in their order, others by the alphabet."""

    @override
    def value(self, label: Label) -> str:
        return label.word(self.name) or UNKNOWN_VALUE

    @override
    def place(self, value: str) -> tuple[float, str]:
        if value == UNKNOWN_VALUE:
            return _LAST
        known = CANONICAL.get(self.name, ())
        return (known.index(value), "") if value in known else (len(known), value)

    @override
    def caption(self, label: Label) -> str:
        value = super().caption(label)
        return value if self.name in CANONICAL else f"{self.name}: {value}"


class Years(Column):
    """The age, by years; one that is known as a range counts at its middle."""

    ticks = 10

    def __init__(self) -> None:
        super().__init__(AGE, "years")

    @override
    def value(self, label: Label) -> str:
        return UNKNOWN_VALUE if label.age is None else str(int(label.age))

    @override
    def place(self, value: str) -> tuple[float, str]:
        return _LAST if value == UNKNOWN_VALUE else (int(value), "")

    @override
    def drawn(self, values: Iterable[str]) -> list[str]:
        known = [int(value) for value in values if value != UNKNOWN_VALUE]
        return [str(year) for year in range(min(known, default=0), max(known, default=0) + 1)]

    @override
    def caption(self, label: Label) -> str:
        return super().caption(label) if label.ages is None else f"{label.ages[0]}-{label.ages[1]}"


class Decades(Column):
    """The age, by decades."""

    def __init__(self) -> None:
        super().__init__("decade", "years")

    @override
    def value(self, label: Label) -> str:
        if label.age is None:
            return UNKNOWN_VALUE
        first = int(label.age) // 10 * 10
        return f"{first}-{first + 9}"

    @override
    def place(self, value: str) -> tuple[float, str]:
        return _LAST if value == UNKNOWN_VALUE else (int(value.split("-", maxsplit=1)[0]), "")


class Bands(Column):
    """A number, by bands of one width, each without its upper end: `20 to 25`."""

    def __init__(self, name: str, numbers: Sequence[float]) -> None:
        super().__init__(name)
        self._width = _band_width(max(numbers) - min(numbers))
        self._first, self._last = (self._band(end) for end in (min(numbers), max(numbers)))

    @override
    def value(self, label: Label) -> str:
        number = label.years(self.name)
        return UNKNOWN_VALUE if number is None else self._title(self._band(number))

    @override
    def place(self, value: str) -> tuple[float, str]:
        return _LAST if value == UNKNOWN_VALUE else (float(self.drawn(()).index(value)), "")

    @override
    def drawn(self, values: Iterable[str]) -> list[str]:
        return [self._title(band) for band in range(self._first, self._last + 1)]

    @override
    def caption(self, label: Label) -> str:
        number = label.years(self.name)
        return f"{self.name}: {'?' if number is None else f'{number:.15g}'}"

    def _band(self, number: float) -> int:
        # Rounded, since a quotient of tenths may lie below its whole number by a hair.
        return math.floor(round(number / self._width, 9))

    def _title(self, band: int) -> str:
        return f"{band * self._width:.10g} to {(band + 1) * self._width:.10g}"


def columns_of(labels: Sequence[Label]) -> list[Column]:
    """The attributes that are counted: those that any label knows, but for words of which there are too many.

    Args:
        labels: Of all data sets.

    Returns:
        The age, gender and race first, then the others by name.
    """
    found: dict[str, set[str]] = {}
    for label in labels:
        for name in label.values:
            found.setdefault(name, set()).add(label.word(name) or "")
    names = [name for name in (AGE, *CANONICAL) if name in found]
    names += sorted(found.keys() - {AGE, *CANONICAL})
    columns: list[Column] = []
    for name in names:
        numbers = _numbers(found[name])
        if name == AGE:
            columns.append(Years())
        elif numbers is not None:
            columns.append(Bands(name, numbers))
        elif len(found[name]) <= MOST_WORDS:
            columns.append(Words(name))
    return columns


def _numbers(words: Iterable[str]) -> list[float] | None:
    """The numbers that the words are; None where one is none, or where they are a few whole ones, which stand for words."""
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    if not all(map(math.isfinite, numbers)):
        return None
    return None if len(numbers) <= MOST_CODES and all(number.is_integer() for number in numbers) else numbers


def _band_width(span: float) -> float:
    """The least of 1, 2, 5, 10, 20 and so on, and their tenths, of which `MOST_BANDS` span so much."""
    if span <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / MOST_BANDS))
    return next(width for width in (magnitude * step for step in (1, 2, 5, 10, 20)) if width * (MOST_BANDS - 2) >= span)
