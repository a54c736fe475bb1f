"""Labelled pictures as they lie on disk, and the split that is fixed for ever."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

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

UTKFACE_LICENCE: Final = "UTKFace: non-commercial research use only, as its authors state."
AAF_LICENCE: Final = (
    'All-Age-Faces: research use; cite Cheng et al., "Exploiting effective facial patches for robust gender recognition", '
    "Tsinghua Science and Technology 2019."
)

_UTKFACE = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+ ?\.?jpg\.chip\.jpg")  # two dates lack a dot, or have a blank
_AAF = re.compile(r"\d{5}A(\d{2,3})\.jpg")
_AAF_LISTS: Final = ("train.txt", "val.txt")


class Split(StrEnum):
    """Part of the data set a picture belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of a picture: `age` in years, `gender` 0 male or 1 female, `race` an index into `RACES` or `UNKNOWN`."""

    age: int
    gender: int
    race: int


@dataclass(frozen=True, slots=True)
class DataSet:
    """A folder or tar file of pictures, and how to read their labels and splits off their names.

    `aligned` says that the pictures are square, of one size, and hold their faces at one place, so that the landmark
    template can be measured on them.
    """

    name: str
    licence: str
    aligned: bool
    source: Path
    label_of: Callable[[str], Label | None]
    split_of: Callable[[str], Split]

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of every picture; see `pictures`."""
        return pictures(self.source)

    def labelled(self, split: Split) -> Iterator[tuple[str, Label, bytes]]:
        """Name, label and bytes of the pictures of a split whose label is whole."""
        for name, data in self.pictures():
            label = self.label_of(name)
            if label is not None and self.split_of(name) is split:
                yield name, label, data


def open_data_set(source: Path) -> DataSet:
    """The data set in a folder or tar file: All-Age-Faces where its two lists lie in it, else UTKFace.

    All-Age-Faces' `val.txt` is its test split; a tenth of `train.txt`, by the names' SHA-256, is validation. Raises
    `FileNotFoundError` where `source` does not exist, and `ValueError` where it is neither or a list is damaged.
    """
    lists = {name: read().decode() for name, read in _files(source, _AAF_LISTS)}
    if set(lists) != set(_AAF_LISTS):
        return DataSet("UTKFace", UTKFACE_LICENCE, True, source, parse_utkface, split_of)
    genders, tests = {}, set()
    for list_name, text in lists.items():
        for line in text.splitlines():
            match = re.fullmatch(r"(\d{5}A\d{2,3}\.jpg) ([01])", line.strip())
            if match is None:
                raise ValueError(f"{source}: a line of {list_name} is not a name and a gender: {line[:40]!r}")
            genders[match[1]] = 1 - int(match[2])  # theirs is 0 for female
            if list_name == "val.txt":
                tests.add(match[1])

    def label_of(name: str) -> Label | None:
        match = _AAF.fullmatch(name)
        return Label(int(match[1]), genders[name], UNKNOWN) if match and name in genders else None

    def split_of_aaf(name: str) -> Split:
        if name in tests:
            return Split.TEST
        return Split.VALIDATION if _digest(name) // 5 % 10 == 0 else Split.TRAIN

    return DataSet("All-Age-Faces", AAF_LICENCE, False, source, label_of, split_of_aaf)


def parse_utkface(name: str) -> Label | None:
    """Label in a UTKFace file name (`age_gender_race_date.jpg.chip.jpg`), or None where a field is missing."""
    match = _UTKFACE.fullmatch(name)
    return None if match is None else Label(*(int(group) for group in match.groups()))


def split_of(name: str) -> Split:
    """The split of a file, by the SHA-256 of its name: a fifth is test, a tenth of the rest validation."""
    digest = _digest(name)
    if digest % 5 == 0:
        return Split.TEST
    return Split.VALIDATION if digest // 5 % 10 == 0 else Split.TRAIN


def _digest(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def pictures(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every JPEG in a folder or tar file, a folder's in order of name.

    A picture is known by its name: one that comes again, as in archives that hold the set twice, is left out. Raises
    `FileNotFoundError` where `source` does not exist, and `ValueError` where it is neither.
    """
    given: set[str] = set()
    for name, read in _files(source, (".jpg",)):
        if name not in given:
            given.add(name)
            yield name, read()


def _files(source: Path, endings: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name of every file with one of the endings, and what reads it before the next one is asked for."""
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.name.endswith(endings)):
            yield path.name, path.read_bytes
        return
    if not tarfile.is_tarfile(source):
        raise ValueError(f"{source} is neither a folder nor a tar file")
    with tarfile.open(source) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() and member.name.endswith(endings) else None
            if content is not None:
                yield Path(member.name).name, content.read


@dataclass(frozen=True, slots=True)
class Prepared:
    """Crops and labels of the pictures of one split that hold a face.

    `crops` is uint8 RGB [N, size, size, 3]; `age` float32 in years; `gender` and `race` float32 label numbers, -1 where
    unknown; `names` the files they came from, `sets` the data sets. `taught` is what a teacher answers
    (see `training.teach`), where one was asked: `age` [N, 101], `gender` [N, 1], `race` [N, 5], all probabilities.
    `hint` is a face descriptor [N, D] of unit length (see `training.hints`), zero where there is none.
    """

    crops: npt.NDArray[np.uint8]
    names: npt.NDArray[np.str_]
    sets: npt.NDArray[np.str_]
    age: npt.NDArray[np.float32]
    gender: npt.NDArray[np.float32]
    race: npt.NDArray[np.float32]
    taught: dict[str, npt.NDArray[np.float32]] | None = None
    hint: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.names)


def load_prepared(
    folder: Path,
    split: Split,
    sets: Sequence[str] | None = None,
    *,
    taught: bool = False,
    hints: bool = False,
    part: tuple[int, int] = (0, 1),
) -> Prepared:
    """Read what `prepare` wrote of a split, of all data sets or of some, and on demand what `teach` and `hints` wrote beside.

    A set that is named twice is there twice. Of a `part`, its number from 0 and the number of parts, no other picture is read.

    Raises `FileNotFoundError` where it wrote nothing, and `ValueError` where a set that is named has no picture there.
    """
    with np.load(folder / "faces.npz") as table:
        of_split = table["split"] == split.value
        if sets is None:
            chosen = np.flatnonzero(of_split)
        else:
            rows = [np.flatnonzero(of_split & (table["set"] == name)) for name in sets]
            for name, found in zip(sets, rows, strict=True):
                if not len(found):
                    raise ValueError(f"{folder} has no {split.value} picture of {name}; prepare with that data set")
            chosen = np.concatenate(rows)
        chosen = chosen[part[0] :: part[1]]
        crops = np.load(folder / "crops.npy", mmap_mode="r")[chosen]
        labels = [table[name][chosen].astype(np.float32) for name in ("age", "gender", "race")]
        given = Prepared(crops, table["name"][chosen], table["set"][chosen], *labels)
    if taught:
        with np.load(folder / TAUGHT) as answers:
            given = replace(given, taught={name: answers[name][chosen].astype(np.float32) for name in answers.files})
    return replace(given, hint=np.load(folder / HINTS)[chosen].astype(np.float32)) if hints else given
