"""Files of rows: CSV and JSON Lines, and Parquet where pyarrow is installed; written, read again for their names, joined."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from typing_extensions import override

from service.extras import install_command
from service.inference.columns import Column
from service.offline.errors import FormatError
from service.offline.films import still_name
from service.offline.table import VERSION, Row, Value

ROWS_A_GROUP: Final = 65_536
"""Rows of a group of a Parquet file: as many are held while one is written."""


class NoTable(ValueError):
    """A file is not of its format, or not a table that can be gone on with."""


class Entry(NamedTuple):
    """What a row is of: a photo, or a film's picture as `still_name` calls it, and the model, where one answered."""

    photo: str
    model: str | None
    version: str | None
    digest: str | None


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn what readers raise of files that are none of theirs into `NoTable`."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, csv.Error) as error:
        raise NoTable("it is no table, or damaged") from error


def _entry(row: Mapping[str, Any]) -> Entry:
    time_s, version = row["time_s"], row["version"]
    photo = still_name(row["file"], float(time_s) if time_s not in (None, "") else None)
    return Entry(photo, row["model"] or None, None if version is None else str(version), row["digest"] or None)


class Format(ABC):
    """A kind of file, of a table with these columns."""

    def __init__(self, table: Sequence[Column]) -> None:
        self._names = [column.name for column in table]

    @abstractmethod
    def write(self, path: Path, rows: Iterable[Row]) -> None:
        """Write a whole file.

        Args:
            path: Where to.
            rows: Its rows.

        Raises:
            OSError: It cannot be written.
        """

    @abstractmethod
    def join(self, parts: Sequence[Path], path: Path) -> None:
        """Write the rows of several files, one after the other, into one.

        Args:
            parts: Files that `write` wrote.
            path: Where to.

        Raises:
            OSError: A file cannot be read or written.
        """

    @abstractmethod
    def columns(self, path: Path) -> list[str] | None:
        """Names of the columns of a file.

        Args:
            path: A file.

        Returns:
            The names, or None of a file without any row to tell them.

        Raises:
            OSError: It cannot be read.
            NoTable: It is no such file, or damaged.
        """

    @abstractmethod
    def entries(self, path: Path) -> Iterator[Entry]:
        """What every row of a file is of.

        Args:
            path: A file that `write` or `join` wrote.

        Returns:
            Photos and models; rows of one photo follow each other.

        Raises:
            OSError: It cannot be read.
            NoTable: It is no such file, or damaged.
        """


def format_of(path: Path, table: Sequence[Column]) -> Format:
    """The format of a file by its name.

    Args:
        path: A file whose name ends in .csv, .jsonl or .parquet.
        table: Its columns.

    Returns:
        What writes such files.

    Raises:
        FormatError: The name ends otherwise, or its format needs a package that is missing.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return Csv(table)
    if suffix in (".jsonl", ".ndjson"):
        return JsonLines(table)
    if suffix not in (".parquet", ".pq"):
        raise FormatError(f"{path}: the name of a table ends in .csv, .jsonl or .parquet")
    if find_spec("pyarrow") is None:
        raise FormatError(f"{path}: Parquet needs the extra `parquet`: {install_command('parquet')}; .csv and .jsonl need none")
    return Parquet(table)


class Csv(Format):
    """Comma-separated values in UTF-8 with a header; what is missing is empty, and a list is separated by spaces."""

    @override
    def write(self, path: Path, rows: Iterable[Row]) -> None:
        with path.open("w", newline="", encoding="utf-8") as stream:
            stream.write(_line(self._names))
            stream.writelines(_line([_cell(row[name]) for name in self._names]) for row in rows)

    @override
    def join(self, parts: Sequence[Path], path: Path) -> None:
        with path.open("wb") as out:
            out.write(_line(self._names).encode())
            for part in parts:
                with part.open("rb") as rows:
                    rows.readline()  # its header, which another program may have written otherwise
                    _copy(rows, out)

    @override
    def columns(self, path: Path) -> list[str] | None:
        with path.open(newline="", encoding="utf-8") as stream, _reading():
            return next(csv.reader(stream), None)

    @override
    def entries(self, path: Path) -> Iterator[Entry]:
        with path.open(newline="", encoding="utf-8") as stream, _reading():
            yield from map(_entry, csv.DictReader(stream))


def _line(cells: Sequence[str]) -> str:
    """A line of CSV. A carriage return in a cell is quoted only where lines end with one, too in this Python."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _copy(rows: IO[bytes], out: IO[bytes]) -> None:
    """Copy whole lines; an editor may have left the last one without its end."""
    shutil.copyfileobj(rows, out)
    if rows.tell():
        rows.seek(-1, io.SEEK_END)
        if rows.read(1) != b"\n":
            out.write(b"\n")


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


class JsonLines(Format):
    """An object a line with every column; what is missing is null."""

    @override
    def write(self, path: Path, rows: Iterable[Row]) -> None:
        with path.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(json.dumps({name: row[name] for name in self._names}) + "\n" for row in rows)

    @override
    def join(self, parts: Sequence[Path], path: Path) -> None:
        with path.open("wb") as out:
            for part in parts:
                with part.open("rb") as rows:
                    _copy(rows, out)

    @override
    def columns(self, path: Path) -> list[str] | None:
        with path.open(encoding="utf-8") as stream, _reading():
            line = stream.readline()
            return list(json.loads(line)) if line else None

    @override
    def entries(self, path: Path) -> Iterator[Entry]:
        with path.open(encoding="utf-8") as stream, _reading():
            yield from map(_entry, map(json.loads, stream))


class Parquet(Format):
    """Parquet, compressed with Zstandard; the version of the schema stands in the metadata of the file.

    Arrow takes a relative path such as `camera:1/faces.parquet` for an address.
    """

    def __init__(self, table: Sequence[Column]) -> None:
        import pyarrow as pa

        super().__init__(table)
        kinds = {
            "string": pa.string(),
            "int": pa.int64(),
            "float": pa.float64(),
            "bool": pa.bool_(),
            "floats": pa.list_(pa.float64()),
        }
        fields = [(column.name, kinds[column.kind]) for column in table]
        self._schema: Any = pa.schema(fields, metadata={"facet.schema": str(VERSION)})

    @override
    def write(self, path: Path, rows: Iterable[Row]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(rows), self._schema), path.absolute(), compression="zstd")

    @override
    def join(self, parts: Sequence[Path], path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetWriter(path.absolute(), self._schema, compression="zstd") as out:
            held: list[Any] = []
            for part in parts:
                with pq.ParquetFile(part.absolute()) as file:
                    for batch in file.iter_batches(ROWS_A_GROUP):
                        held.append(batch)
                        if sum(one.num_rows for one in held) >= ROWS_A_GROUP:
                            out.write_table(pa.Table.from_batches(held, self._schema))
                            held.clear()
            if held:
                out.write_table(pa.Table.from_batches(held, self._schema))

    @override
    def columns(self, path: Path) -> list[str] | None:
        import pyarrow.parquet as pq

        with _reading():
            return list(pq.read_schema(path.absolute()).names)

    @override
    def entries(self, path: Path) -> Iterator[Entry]:
        import pyarrow.parquet as pq

        with _reading(), pq.ParquetFile(path.absolute()) as file:
            for batch in file.iter_batches(ROWS_A_GROUP, columns=["file", "time_s", "model", "version", "digest"]):
                yield from map(_entry, batch.to_pylist())
