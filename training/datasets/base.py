"""Labelled pictures as they lie on disk, and the split that is fixed for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from training.datasets.sources import base_name, walk
from training.errors import DataSetError

GENDERS: Final = ("male", "female")
"""UTKFace's gender labels by number, to which other sets' are brought; the networks' output is the second's probability."""
RACES: Final = ("white", "black", "asian", "indian", "other")
"""UTKFace's race labels by number, which is the order of the networks' output."""
MAX_AGE: Final = 100
"""Ages above are trained as this one, and scored as they are."""

TAUGHT: Final = "taught.npz"
"""File of a teacher's answers, beside the crops."""
HINTS: Final = "hints.npy"
"""File of face descriptors, beside the crops."""
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
        return self.years("age")

    def years(self, attribute: str) -> float | None:
        """The value of an expectation, or None where it is unknown."""
        value = self.values.get(attribute)
        return None if value is None else float(value)

    def word(self, attribute: str) -> str | None:
        """The word of an attribute of labels, or None where it is unknown."""
        value = self.values.get(attribute)
        return None if value is None else str(value)

    def code(self, attribute: str, labels: Sequence[str]) -> int:
        """Index of an attribute's word among `labels`, or `UNKNOWN`.

        Raises:
            DataSetError: The word is none of `labels`.
        """
        word = self.word(attribute)
        if word is not None and word not in labels:
            raise DataSetError(f"the {attribute} {word!r} is none of {', '.join(labels)}")
        return UNKNOWN if word is None else labels.index(word)


def known(**values: float | str | None) -> dict[str, float | str]:
    """The values that are not None, by attribute: what `Label` takes."""
    return {name: value for name, value in values.items() if value is not None}


def between(low: int, high: int, **words: str | None) -> Label:
    """The label of somebody whose age lies between two years, bounds included; a word that is None is unknown."""
    return Label(known(age=(low + high) // 2, **words), (low, high))


@dataclass(frozen=True, slots=True)
class DataSet:
    """A folder or tar file of pictures, and how to read their labels and splits off their names.

    `aligned` says that the pictures are square, of one size, and hold their faces at one place, so that the landmark
    template can be measured on them. `name_of` takes a file's path within the source to the picture's name, by which it is
    known; `endings` are those of picture files.
    """

    name: str
    licence: str
    aligned: bool
    source: Path
    label_of: Callable[[str], Label | None]
    split_of: Callable[[str], Split]
    name_of: Callable[[str], str] = base_name
    endings: tuple[str, ...] = (".jpg",)

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of every picture; see `pictures`."""
        return pictures(self.source, self.name_of, self.endings)

    def names(self) -> Iterator[str]:
        """Name of every picture, unread."""
        given: set[str] = set()
        for path, _ in walk(self.source, self.endings):
            if (name := self.name_of(path)) not in given:
                given.add(name)
                yield name

    def labelled(self, split: Split) -> Iterator[tuple[str, Label, bytes]]:
        """Name, label and bytes of the pictures of a split that have a label."""
        for name, data in self.pictures():
            label = self.label_of(name)
            if label is not None and self.split_of(name) is split:
                yield name, label, data


def split_of(name: str) -> Split:
    """The split of a file, by the SHA-256 of its name: a fifth is test, a tenth of the rest validation."""
    return Split.TEST if _digest(name) % 5 == 0 else split_of_train(name)


def split_of_train(name: str) -> Split:
    """The split of a file that is not test by its authors' list: a tenth, by the SHA-256 of the name, is validation."""
    return Split.VALIDATION if _digest(name) // 5 % 10 == 0 else Split.TRAIN


def _digest(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def pictures(
    source: Path, name_of: Callable[[str], str] = base_name, endings: tuple[str, ...] = (".jpg",)
) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every picture in a folder or tar file, a folder's in order of path.

    A picture is known by its name: one that comes again, as in archives that hold the set twice, is left out. Raises
    `FileNotFoundError` where `source` does not exist, and `ValueError` where it is neither.
    """
    given: set[str] = set()
    for path, read in walk(source, endings):
        if (name := name_of(path)) not in given:
            given.add(name)
            yield name, read()


@dataclass(frozen=True, slots=True)
class Prepared:
    """Crops and labels of the pictures of one split that hold a face.

    `crops` is uint8 RGB [N, size, size, 3]; `age` float32 in years; `gender` and `race` float32 label numbers, -1 where
    unknown; `names` the files they came from, `sets` the data sets. `taught` is what a teacher answers
    (see `training.fit.distillation`), where one was asked: `age` [N, 101], `gender` [N, 1], `race` [N, 5], all probabilities.
    `hint` is a face descriptor [N, D] of unit length (see `training.fit.face_embeddings`), zero where there is none. `ages`
    [N, 2] are the bounds of the age, included, both the age itself where it is known to the year."""

    crops: npt.NDArray[np.uint8]
    names: npt.NDArray[np.str_]
    sets: npt.NDArray[np.str_]
    age: npt.NDArray[np.float32]
    gender: npt.NDArray[np.float32]
    race: npt.NDArray[np.float32]
    taught: dict[str, npt.NDArray[np.float32]] | None = None
    hint: npt.NDArray[np.float32] | None = None
    ages: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which prepared pictures are learnt, and which of their ages.

    `real_age` takes the age in years lived, where a set gives it. Faces whose box's longer side is below `face_px` pixels, or
    whose crop is less sharp than `sharpness` (see `service.vision.quality`), are left out.
    """

    real_age: bool = False
    face_px: float = 0.0
    sharpness: float = 0.0


def load_prepared(
    folder: Path,
    split: Split,
    sets: Sequence[str] | None = None,
    *,
    taught: bool = False,
    hints: bool = False,
    part: tuple[int, int] = (0, 1),
    most: int = 0,
    wanted: Wanted = Wanted(),
) -> Prepared:
    """Read what `prepare` wrote of a split, of all data sets or of some, and on demand what `teach` and `hints` wrote beside.

    A set that is named twice is there twice. Of a `part`, its number from 0 and the number of parts, no other picture is read;
    where there are more than `most`, and that is not 0, so many that are spread evenly over all.

    Raises `FileNotFoundError` where it wrote nothing, and `ValueError` where a set that is named has no picture there, or
    where `prepare` did not measure what is `wanted`.
    """
    with np.load(folder / "faces.npz") as table:
        chosen = _rows(table, folder, split, sets, wanted)[part[0] :: part[1]]
        if 0 < most < len(chosen):
            chosen = chosen[np.arange(most) * len(chosen) // most]
        crops = np.load(folder / "crops.npy", mmap_mode="r")[chosen]
        labels = [table[name][chosen].astype(np.float32) for name in ("age", "gender", "race")]
        given = Prepared(crops, table["name"][chosen], table["set"][chosen], *labels)
        if "ages" in table.files:
            given = replace(given, ages=table["ages"][chosen].astype(np.float32))
        if wanted.real_age:
            given = _with_real_ages(given, table["real_age"][chosen].astype(np.float32))
    if taught:
        with np.load(folder / TAUGHT) as answers:
            given = replace(given, taught={name: answers[name][chosen].astype(np.float32) for name in answers.files})
    return replace(given, hint=np.load(folder / HINTS)[chosen].astype(np.float32)) if hints else given


def count_prepared(folder: Path, split: Split, sets: Sequence[str] | None = None, wanted: Wanted = Wanted()) -> int:
    """How many pictures `load_prepared` would read; raises as it does."""
    with np.load(folder / "faces.npz") as table:
        return len(_rows(table, folder, split, sets, wanted))


def _rows(
    table: Mapping[str, npt.NDArray[Any]], folder: Path, split: Split, sets: Sequence[str] | None, wanted: Wanted
) -> npt.NDArray[np.int64]:
    """Rows of a split's good pictures, set by set where some are named."""
    of_split = (table["split"] == split.value) & _good_enough(table, folder, wanted)
    if sets is None:
        return np.flatnonzero(of_split)
    rows = [np.flatnonzero(of_split & (table["set"] == name)) for name in sets]
    for name, found in zip(sets, rows, strict=True):
        if not len(found):
            raise ValueError(f"{folder} has no {split.value} picture of {name}; prepare with that data set")
    return np.concatenate(rows)


def _good_enough(table: Mapping[str, npt.NDArray[Any]], folder: Path, wanted: Wanted) -> npt.NDArray[np.bool_]:
    """Whether each face is large and sharp enough [N]."""
    good = np.ones(len(table["split"]), np.bool_)
    if wanted.face_px > 0:
        box = table["box"]
        good &= (box[:, 2:] - box[:, :2]).max(axis=1) >= wanted.face_px
    if wanted.sharpness > 0:
        if "sharpness" not in table:
            raise ValueError(f"{folder} does not say how sharp its pictures are; prepare again")
        good &= table["sharpness"] >= wanted.sharpness
    return good


def _with_real_ages(given: Prepared, real: npt.NDArray[np.float32]) -> Prepared:
    """Ages in years lived where they are known, and as they were elsewhere."""
    known = real != UNKNOWN
    ages = None if given.ages is None else np.where(known[:, np.newaxis], real[:, np.newaxis], given.ages)
    return replace(given, age=np.where(known, real, given.age), ages=ages)
