"""Anybody's folder of pictures: their labels in `labels.csv` beside them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from typing import Any, Final

from training.datasets.base import DataSet, Label, Split, between, known, split_of
from training.datasets.sources import Listing, base_name
from training.errors import DataSetError

LICENCE: Final = "Pictures of the one who trained it, under terms that are theirs to state."
TABLE: Final = "labels.csv"
ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")

_OTHER_COLUMNS: Final = ("file", "age", "split")


def labelled_folder(files: Listing) -> DataSet | None:
    """The set of a folder with `labels.csv`, named after the folder or tar file.

    The table has the column `file`, the path beside the table, and any of `split` (`train`, `validation`, `test`) and `age`
    (`34`, or `25-32`). Every other column is an attribute of that name, and its cells are words. A cell may be empty. A
    picture without a split is split by the SHA-256 of its name.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where there is no such table.

    Raises:
        DataSetError: A line is wrong, a file comes twice, or one is not there; the message names the line.
    """
    where = next((path for path in files.paths if base_name(path) == TABLE), None)
    if where is None:
        return None
    start = where.removesuffix(TABLE)
    labels: dict[str, Label | None] = {}
    splits: dict[str, Split] = {}
    present = {path.removeprefix(start) for path in files.paths if path.startswith(start)}
    for number, row in enumerate(csv.DictReader(files.texts(TABLE)[TABLE].splitlines()), 2):
        try:
            name = _name(row, present, labels)
            labels[name] = _label(row)
            if split := _cell(row, "split"):
                splits[name] = _split(split)
        except DataSetError as error:
            raise DataSetError(f"{files.source}: line {number} of {TABLE}: {error}") from error
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


def _name(row: Mapping[Any, Any], present: set[str], taken: Mapping[str, object]) -> str:
    name = _cell(row, "file")
    if name not in present:
        raise DataSetError(f"there is no file {name!r}")
    if not name.endswith(ENDINGS):
        raise DataSetError(f"{name!r} does not end in {', '.join(ENDINGS)}")
    if name in taken:
        raise DataSetError(f"{name!r} comes twice")
    return name


def _label(row: Mapping[Any, Any]) -> Label | None:
    """None where the row is empty."""
    if None in row:  # where csv puts the cells that no column is for
        raise DataSetError("there are more cells than columns")
    columns = [column for column in row if column.strip() and column not in _OTHER_COLUMNS]
    words = {column.strip(): _cell(row, column) or None for column in columns}
    age = _cell(row, "age")
    if not age:
        return Label(known(**words)) if any(words.values()) else None
    match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", age)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise DataSetError(f"{age!r} is neither an age, such as 34, nor a range, such as 25-32")
    return between(int(match[1]), int(match[2]), **words) if match[2] else Label(known(age=int(match[1]), **words))


def _cell(row: Mapping[Any, Any], column: str) -> str:
    return (row.get(column) or "").strip()


def _split(word: str) -> Split:
    names = [split.value for split in Split]
    if word not in names:
        raise DataSetError(f"{word!r} is none of {', '.join(names)}")
    return Split(word)
