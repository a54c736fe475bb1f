"""Labelled pictures as they lie on disk, and the split that is fixed for ever."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

GENDERS: Final = ("male", "female")
"""UTKFace's gender labels by number; the networks' one output is the probability of the second."""
RACES: Final = ("white", "black", "asian", "indian", "other")
"""UTKFace's race labels by number, which is the order of the networks' output."""
MAX_AGE: Final = 100
"""Ages above are trained as this one, and scored as they are."""

_UTKFACE = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+\.jpg\.chip\.jpg")


class Split(StrEnum):
    """Part of the data set a picture belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Label:
    """What a picture's name says: `age` in years, `gender` 0 male or 1 female, `race` an index into `RACES`."""

    age: int
    gender: int
    race: int


def parse_utkface(name: str) -> Label | None:
    """Label in a UTKFace file name (`age_gender_race_date.jpg.chip.jpg`), or None where a field is missing."""
    match = _UTKFACE.fullmatch(name)
    return None if match is None else Label(*(int(group) for group in match.groups()))


def split_of(name: str) -> Split:
    """The split of a file, by the SHA-256 of its name: a fifth is test, a tenth of the rest validation."""
    digest = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    if digest % 5 == 0:
        return Split.TEST
    return Split.VALIDATION if digest // 5 % 10 == 0 else Split.TRAIN


def pictures(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every JPEG in a folder or tar file, a folder's in order of name.

    A picture is known by its name: one that comes again, as in archives that hold the set twice, is left out. Raises
    `FileNotFoundError` where `source` does not exist, and `ValueError` where it is neither.
    """
    given: set[str] = set()
    for name, read in _files(source):
        if name not in given:
            given.add(name)
            yield name, read()


def _files(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name of every JPEG, and what reads it before the next one is asked for."""
    if source.is_dir():
        for path in sorted(source.rglob("*.jpg")):
            yield path.name, path.read_bytes
        return
    if not tarfile.is_tarfile(source):
        raise ValueError(f"{source} is neither a folder nor a tar file")
    with tarfile.open(source) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() and member.name.endswith(".jpg") else None
            if content is not None:
                yield Path(member.name).name, content.read


@dataclass(frozen=True, slots=True)
class Prepared:
    """Crops and labels of the pictures of one split that hold a face.

    `crops` is uint8 RGB [N, size, size, 3]; `age` float32 in years; `gender` and `race` float32 label numbers, -1 where
    unknown; `names` the files they came from.
    """

    crops: npt.NDArray[np.uint8]
    names: npt.NDArray[np.str_]
    age: npt.NDArray[np.float32]
    gender: npt.NDArray[np.float32]
    race: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.names)


def load_prepared(folder: Path, split: Split) -> Prepared:
    """Read what `prepare` wrote. Raises `FileNotFoundError` where it did not."""
    with np.load(folder / "faces.npz") as table:
        chosen = np.flatnonzero(table["split"] == split.value)
        crops = np.load(folder / "crops.npy", mmap_mode="r")[chosen]
        labels = [table[name][chosen].astype(np.float32) for name in ("age", "gender", "race")]
        return Prepared(crops, table["name"][chosen], *labels)
