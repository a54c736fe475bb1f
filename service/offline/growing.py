"""A table whose rows come one by one, and are too many to hold: written in parts, which are joined at its end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from service.files import replacing
from service.inference.columns import Column
from service.offline.formats import format_of
from service.offline.table import Row

ROWS_A_PART: Final = 20_000
"""Rows that are held in memory."""


class GrowingTable:
    """A file of rows; it appears when the context ends well, and is left as it was otherwise."""

    def __init__(self, path: Path, columns: Sequence[Column], rows_a_part: int = ROWS_A_PART) -> None:
        """Prepare a table.

        Args:
            path: A file whose name ends in .csv, .jsonl or .parquet.
            columns: Its columns.
            rows_a_part: Rows that are held before they are written.

        Raises:
            FormatError: The name ends otherwise, or its format needs a package that is missing.
        """
        self._path = path
        self._format = format_of(path, columns)
        self._rows_a_part = rows_a_part
        self._rows: list[Row] = []
        self._parts: list[Path] = []

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix=".facet-", dir=self._path.parent))
        return self

    def add(self, row: Row) -> None:
        """Append a row.

        Args:
            row: A value for every column.

        Raises:
            OSError: It cannot be written.
        """
        self._rows.append(row)
        if len(self._rows) >= self._rows_a_part:
            self._write_part()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        try:
            if kind is None:
                self._write_part()
                with replacing(self._path) as new:
                    self._format.join(self._parts, new)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _write_part(self) -> None:
        part = self._folder / f"{len(self._parts)}{self._path.suffix}"
        self._format.write(part, self._rows)
        self._parts.append(part)
        self._rows = []
