"""Labelled pictures as they lie on disk, and the split that is fixed for ever."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from service.models.manifest import AGE
from service.models.manifest import GENDERS as CANONICAL_GENDERS
from service.models.manifest import RACES as CANONICAL_RACES
from training.datasets.sources import base_name, walk
from training.errors import DataSetError

GENDERS: Final = CANONICAL_GENDERS
"""UTKFace's gender labels by number, whose words other sets' are brought to."""
RACES: Final = CANONICAL_RACES
"""UTKFace's race labels by number, whose words other sets' are brought to."""
MAX_AGE: Final = 100
"""Ages above are trained as this one, and scored as they are."""

UNKNOWN: Final = -1
"""A label that a data set does not give: it costs nothing in training and counts nowhere in a report."""


class Split(StrEnum):
    """Part of the data set a picture belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of a picture, by attribute: the word of a label, such as `female`, or years; unknown ones are absent.

    `ages` are the bounds, included, of the years among which the age lies, where a set gives no more than that; the value of
    `age` is their middle then. `real_age` is the age in years lived, where a set gives it beside an apparent one.
    """

    values: Mapping[str, float | str]
    ages: tuple[int, int] | None = None
    real_age: float | None = None

    @property
    def age(self) -> float | None:
        """The age in years, or None where it is unknown."""
        return self.years(AGE)

    def years(self, attribute: str) -> float | None:
        """The value of an expectation, or None where it is unknown.

        Args:
            attribute: Its name.

        Returns:
            A number in the attribute's unit, or None.

        Raises:
            DataSetError: The value is not a finite number.
        """
        value = self.values.get(attribute)
        return None if value is None else number(attribute, value)

    def word(self, attribute: str) -> str | None:
        """The word of an attribute of labels, or None where it is unknown.

        Args:
            attribute: Its name.

        Returns:
            The word, or None.
        """
        value = self.values.get(attribute)
        return None if value is None else str(value)

    def code(self, attribute: str, labels: Sequence[str]) -> int:
        """Index of an attribute's word among `labels`, or `UNKNOWN`.

        Args:
            attribute: Its name.
            labels: The words that are known, in order.

        Returns:
            The index, or -1.

        Raises:
            DataSetError: The word is none of `labels`.
        """
        word = self.word(attribute)
        if word is not None and word not in labels:
            raise DataSetError(f"the {attribute} {word!r} is none of {', '.join(labels)}")
        return UNKNOWN if word is None else labels.index(word)


def number(attribute: str, value: float | str) -> float:
    """The value of an expectation, as a table has it.

    Args:
        attribute: Its name, for the message.
        value: A number, or a word that is one.

    Returns:
        The number.

    Raises:
        DataSetError: The value is no number, or, like `nan`, no finite one: an unknown value is an empty cell.
    """
    try:
        result = float(value)
    except ValueError:
        result = math.nan
    if not math.isfinite(result):
        raise DataSetError(f"the {attribute} {value!r} is not a number; an empty cell stands for an unknown one")
    return result


def known(**values: float | str | None) -> dict[str, float | str]:
    """The values that are not None, by attribute: what `Label` takes.

    Args:
        values: Years or words by attribute.

    Returns:
        Those that are known.
    """
    return {name: value for name, value in values.items() if value is not None}


def between(low: int, high: int, /, **words: str | None) -> Label:
    """The label of a person whose age lies between two years.

    Args:
        low: The youngest that it may be.
        high: The oldest that it may be.
        words: Words by attribute; None where unknown.

    Returns:
        The label, whose age is the middle.
    """
    return Label(known(age=(low + high) // 2, **words), (low, high))


@dataclass(frozen=True, slots=True)
class DataSet:
    """A folder or tar file of pictures, and how to read their labels and splits off their names.

    `aligned` is whether the pictures are square, of one size, with their faces at one place, so that the landmark
    template can be measured on them. `name_of` takes a file's path within the source to the picture's name, by which it is
    known; `endings` are those of picture files. `known_by` says by which files it was recognised, and `label_is` what a picture
    with a label does: "is in its lists".
    """

    name: str
    licence: str
    aligned: bool
    source: Path
    label_of: Callable[[str], Label | None]
    split_of: Callable[[str], Split]
    name_of: Callable[[str], str] = base_name
    endings: tuple[str, ...] = (".jpg",)
    known_by: str = "the names of its files"
    label_is: str = "is in its lists"

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of every picture; see `pictures`.

        Returns:
            An iterator over both.
        """
        return pictures(self.source, self.name_of, self.endings)

    def names(self) -> Iterator[str]:
        """Name of every picture, unread.

        Yields:
            A name, each once.
        """
        given: set[str] = set()
        for path, _ in walk(self.source, self.endings):
            if (name := self.name_of(path)) not in given:
                given.add(name)
                yield name

    def labels(self, split: Split) -> Iterator[tuple[str, Label]]:
        """Name and label of the pictures of a split that have a label, unread.

        Args:
            split: The split.

        Yields:
            Name and label of a picture.
        """
        for name in self.names():
            label = self.label_of(name)
            if label is not None and self.split_of(name) is split:
                yield name, label

    def labelled(self, split: Split) -> Iterator[tuple[str, Label, bytes]]:
        """Name, label and bytes of the pictures of a split that have a label.

        Args:
            split: The split.

        Yields:
            Name, label and bytes of a picture.
        """
        for name, data in self.pictures():
            label = self.label_of(name)
            if label is not None and self.split_of(name) is split:
                yield name, label, data


def require_labelled(data: DataSet, split: Split, purpose: str = "") -> None:
    """Look for a labelled picture of a split, by names alone.

    Args:
        data: The data set.
        split: The split.
        purpose: What the pictures are for, as the error says it.

    Raises:
        DataSetError: There is none.
    """
    if next(data.labels(split), None) is None:
        missing = f"{data.source} has no labelled picture of the {split.value} split"
        raise DataSetError(", ".join(part for part in (missing, purpose) if part))


def split_of(name: str) -> Split:
    """The split of a file, by the SHA-256 of its name: a fifth is test, a tenth of the rest validation.

    Args:
        name: Name of the picture.

    Returns:
        The split, always the same one.
    """
    return Split.TEST if _digest(name) % 5 == 0 else split_of_train(name)


def split_of_train(name: str) -> Split:
    """The split of a file that is not test by its authors' list: a tenth, by the SHA-256 of the name, is validation.

    Args:
        name: Name of the picture.

    Returns:
        Train or validation.
    """
    return Split.VALIDATION if _digest(name) // 5 % 10 == 0 else Split.TRAIN


def _digest(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def pictures(
    source: Path, name_of: Callable[[str], str] = base_name, endings: tuple[str, ...] = (".jpg",)
) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every picture in a folder or tar file, a folder's in order of path.

    A picture is known by its name: one that comes again, as in archives that hold the set twice, is left out.

    Args:
        source: The folder or tar file.
        name_of: Takes a file's path within the source to the picture's name.
        endings: Ends of the paths of pictures.

    Yields:
        Name and bytes of a picture.

    Raises:
        FileNotFoundError: `source` does not exist.
        DataSetError: It is neither.
    """
    given: set[str] = set()
    for path, read in walk(source, endings):
        if (name := name_of(path)) not in given:
            given.add(name)
            yield name, read()
