"""Anybody's folder of pictures: their labels in `labels.csv` beside them."""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from service.models.manifest import CANONICAL
from training.datasets.base import DataSet, Label, Split, between, known, split_of
from training.datasets.sources import Listing, base_name
from training.errors import DataSetError

LICENCE: Final = "Pictures of the one who trained it, under terms that are theirs to state."
TABLE: Final = "labels.csv"
ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")

_FILE: Final = "file"
_OTHER_COLUMNS: Final = (_FILE, "age", "split")
_KNOWN: Final = (*_OTHER_COLUMNS, *CANONICAL)
_FILE_NAMES: Final = {"filename", "image", "imageid", "img", "picture", "photo", "path", "name", "filepath", "imagepath", "id"}
"""What others call the column of files, in small letters without blanks and lines."""
_SEPARATORS: Final = ",;\t"
_TAR: Final = re.compile(r"\.(tar(\.\w+)?|tgz|tbz2?|txz)$")
OLDEST: Final = 122
"""Years of the oldest person whose age is known for sure; tables have 999 and the like for ages that are not known."""
_MOST_COMPARED: Final = 20_000
"""Files of a folder among which the nearest name is looked for."""


def labelled_folder(files: Listing) -> DataSet | None:
    """The set of a folder with `labels.csv`, named after the folder or tar file.

    The table has the column `file`, the path beside the table, and any of `split` (`train`, `validation`, `test`) and `age`
    (`34`, or `25-32`). Every other column is an attribute of that name, and its cells are words. Cells are separated by commas,
    semicolons or tabs, and may be empty. A picture without a split is split by the SHA-256 of its name. Of several tables the
    one above all others is read.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where there is no such table.

    Raises:
        DataSetError: Two tables lie beside one another; a column has nearly the name of one that is known, or comes twice; or a
            line is wrong, a file comes twice, or one is not there, and the message names the line.
    """
    tables = sorted((path for path in files.paths if base_name(path) == TABLE), key=lambda path: path.count("/"))
    if not tables:
        return None
    start = tables[0].removesuffix(TABLE)
    if beside := [path for path in tables if not path.startswith(start)]:
        raise DataSetError(f"{files.source}: {tables[0]} and {beside[0]} are two tables; give each folder as a data set")
    labels: dict[str, Label | None] = {}
    splits: dict[str, Split] = {}
    beside_it = [path.removeprefix(start) for path in files.paths if path.startswith(start)]
    present = {unicodedata.normalize("NFC", path): path for path in beside_it} | {path: path for path in beside_it}
    text = files.text(tables[0])
    try:
        rows = _rows(text)
    except DataSetError as error:
        raise DataSetError(f"{files.source}: {TABLE}: {error}") from error
    for number, row in rows:
        try:
            name = _name(row, present, labels)
            labels[name] = _label(row)
            if split := _cell(row, "split"):
                splits[name] = _split(split)
        except DataSetError as error:
            raise DataSetError(f"{files.source}: line {number} of {TABLE}: {error}") from error
    return DataSet(
        _name_of_set(files.source.resolve()),
        LICENCE,
        False,
        files.source,
        labels.get,
        lambda name: splits[name] if name in splits else split_of(name),
        lambda path: path.removeprefix(start) if path.startswith(start) else f"../{path}",
        ENDINGS,
        known_by=f"{TABLE} of {len(labels)} lines",
        label_is=f"has a label in {TABLE}",
    )


def _name_of_set(source: Path) -> str:
    """The folder's name, or the tar file's without what says that it is one."""
    return source.name if source.is_dir() else _TAR.sub("", source.name)


def _rows(text: str) -> list[tuple[int, dict[str | None, Any]]]:
    """Number and cells by column of every line that is not blank; cells that no column is for stand under None. Raises
    `DataSetError` for a column that is misspelt or comes twice.
    """
    lines = list(io.StringIO(text, newline=""))
    separator = max(_SEPARATORS, key=next(filter(str.strip, lines), "").count)
    records = [(number, cells) for number, cells in _records(lines, separator) if any(map(str.strip, cells))]
    columns = [column.strip() for column in records[0][1]] if records else []
    for column in columns:
        if column and columns.count(column) > 1:
            raise DataSetError(f"there are two columns {column!r}: remove or rename one")
        if (meant := _meant(column, columns)) is not None:
            raise DataSetError(f"there is a column {column!r}; the one that is read is {meant!r}: rename it")
    if _FILE not in columns:
        found = ", ".join(repr(column) for column in columns) or "none"
        raise DataSetError(f"the first line names the columns, separated by commas, and has no {_FILE!r}; there are {found}")
    more = len(columns)
    return [
        (number, dict(zip(columns, cells, strict=False)) | ({None: cells[more:]} if len(cells) > more else {}))
        for number, cells in records[1:]
    ]


def _records(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of every line, or of several that a cell in quotes holds. Raises `DataSetError` for a quote that is not
    closed: all that stands before the next one would be one cell.
    """
    form: dict[str, Any] = {"delimiter": separator, "skipinitialspace": True}
    reader, begin = csv.reader(lines, **form), 0
    try:
        for cells in reader:
            if reader.line_num > begin + 1:
                list(csv.reader(lines[begin : reader.line_num], strict=True, **form))
            yield begin + 1, cells
            begin = reader.line_num
    except csv.Error as error:
        most = f"{csv.field_size_limit():,}"
        raise DataSetError(
            f"line {begin + 1}: a cell begins with a quote that is not closed, or has over {most} letters"
        ) from error


def _meant(column: str, columns: Sequence[str]) -> str | None:
    """The known column whose name another one nearly has: in other letters, or by one slip; None where it is right."""
    if column in _KNOWN:
        return None
    plain = re.sub(r"[\s_-]", "", column.casefold())
    if _FILE not in columns and plain in _FILE_NAMES:
        return _FILE
    return next((known for known in _KNOWN if known not in columns and (plain == known or _is_slip(plain, known))), None)


def _is_slip(word: str, right: str) -> bool:
    """Whether a word of the same first letter has one letter more, fewer or other, or two of them swapped."""
    if word[:1] != right[:1]:
        return False
    if len(word) == len(right):
        other = [at for at in range(len(word)) if word[at] != right[at]]
        swapped = len(other) == 2 and word[other[0]] == right[other[1]] and word[other[1]] == right[other[0]]
        return len(other) == 1 or (swapped and other[1] == other[0] + 1)
    short, long = sorted((word, right), key=len)
    return len(long) == len(short) + 1 and any(long[:at] + long[at + 1 :] == short for at in range(len(long)))


def _name(row: Mapping[Any, Any], present: Mapping[str, str], taken: Mapping[str, object]) -> str:
    """The path of a row's file, whose accents a Mac may write otherwise than the table: `present` has it by NFC, too."""
    name = _cell(row, "file")
    found = present.get(name, present.get(unicodedata.normalize("NFC", name)))
    if found is None:
        nearest = difflib.get_close_matches(name, sorted(present)[:_MOST_COMPARED], 1, 0.7)
        raise DataSetError(f"there is no file {name!r}" + (f"; the nearest is {nearest[0]!r}" if nearest else ""))
    if not name.endswith(ENDINGS):
        raise DataSetError(f"{name!r} does not end in {', '.join(ENDINGS)}")
    if found in taken:
        raise DataSetError(f"{name!r} comes twice")
    return found


def _label(row: Mapping[Any, Any]) -> Label | None:
    """None where the row is empty."""
    if None in row:  # where csv puts the cells that no column is for
        raise DataSetError("there are more cells than columns")
    columns = [column for column in row if column.strip() and column not in _OTHER_COLUMNS]
    words = {column.strip(): _cell(row, column) or None for column in columns}
    age = _cell(row, "age")
    if not age:
        return Label(known(**words)) if any(words.values()) else None
    match = re.fullmatch(r"(\d{1,3})(?:\.0+|-(\d{1,3}))?", age)  # 34.0 is what tables with gaps make of 34
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise DataSetError(f"{age!r} is neither an age, such as 34, nor a range, such as 25-32")
    if int(match[2] or match[1]) > OLDEST:
        raise DataSetError(f"nobody is {age!r} years old; an empty cell stands for an unknown age")
    return between(int(match[1]), int(match[2]), **words) if match[2] else Label(known(age=int(match[1]), **words))


def _cell(row: Mapping[Any, Any], column: str) -> str:
    return (row.get(column) or "").strip()


def _split(word: str) -> Split:
    names = [split.value for split in Split]
    if word not in names:
        raise DataSetError(f"{word!r} is none of {', '.join(names)}")
    return Split(word)
