"""Anybody's folder of pictures: their labels in `labels.csv` beside them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from typing import Final

from training.datasets.base import GENDERS, RACES, DataSet, Label, Split, between, known, split_of
from training.datasets.sources import Listing, base_name

LICENCE: Final = "Pictures of the one who trained it, under terms that are theirs to state."
TABLE: Final = "labels.csv"
ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")


def labelled_folder(files: Listing) -> DataSet | None:
    """Known by `labels.csv`: `file` (the path beside the table), and `age` (`34`, or `25-32`), `gender` (`male`, `female`),
    `race` (one of `RACES`) and `split` (`train`, `validation`, `test`), each of which may be empty or left out.

    The set is named after its folder or tar file. A picture whose split is not said is split by the SHA-256 of its name.
    Raises `ValueError` with the line that is wrong, where a file comes twice, or where one is not there.
    """
    where = next((path for path in files.paths if base_name(path) == TABLE), None)
    if where is None:
        return None
    start = where.removesuffix(TABLE)
    labels: dict[str, Label | None] = {}
    splits: dict[str, Split] = {}
    there = {path.removeprefix(start) for path in files.paths if path.startswith(start)}
    for number, row in enumerate(csv.DictReader(files.texts(TABLE)[TABLE].splitlines()), 2):
        try:
            name = _name(row, there, labels)
            labels[name] = _label(row)
            if said := _said(row, "split"):
                splits[name] = Split(_one_of(said, [split.value for split in Split]))
        except ValueError as error:
            raise ValueError(f"{files.source}: line {number} of {TABLE}: {error}") from error
    return DataSet(
        files.source.resolve().name.split(".")[0],
        LICENCE,
        False,
        files.source,
        labels.get,
        lambda name: splits[name] if name in splits else split_of(name),
        lambda path: path.removeprefix(start),
        ENDINGS,
    )


def _name(row: Mapping[str, str | None], there: set[str], taken: Mapping[str, object]) -> str:
    name = _said(row, "file")
    if name not in there:
        raise ValueError(f"there is no file {name!r}")
    if not name.endswith(ENDINGS):
        raise ValueError(f"{name!r} does not end in {', '.join(ENDINGS)}")
    if name in taken:
        raise ValueError(f"{name!r} comes twice")
    return name


def _label(row: Mapping[str, str | None]) -> Label | None:
    """None where the row says nothing."""
    age, gender, race = (_said(row, column) for column in ("age", "gender", "race"))
    if not (age or gender or race):
        return None
    words = {"gender": _known(gender, GENDERS), "race": _known(race, RACES)}
    if not age:
        return Label(known(**words))
    match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", age)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise ValueError(f"{age!r} is neither an age, such as 34, nor a range, such as 25-32")
    return between(int(match[1]), int(match[2]), **words) if match[2] else Label(known(age=int(match[1]), **words))


def _said(row: Mapping[str, str | None], column: str) -> str:
    return (row.get(column) or "").strip()


def _known(said: str, names: Sequence[str]) -> str | None:
    return _one_of(said, names) if said else None


def _one_of(said: str, names: Sequence[str]) -> str:
    if said not in names:
        raise ValueError(f"{said!r} is none of {', '.join(names)}")
    return said
