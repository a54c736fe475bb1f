"""Files that are at every moment whole: as they were, or as they are meant to be."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; what was written takes its place at the end of the block, if that ends well.

    It is on the disk before it takes the place. The name keeps the ending, by which libraries choose a format. An error inside
    the block leaves `path` as it was.

    Args:
        path: The file.

    Yields:
        The path beside it.

    Raises:
        OSError: The file cannot be written; what was there before still is.
    """
    new = path.with_name(f".new.{path.name}")
    try:
        yield new
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
