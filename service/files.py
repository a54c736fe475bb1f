"""Files that are at every moment whole: as they were, or as they are meant to be."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NO_WAY: Final = frozenset({errno.EACCES, errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOTSUP})
"""What is said of a folder that is not to be read, and by file systems such as SMB that sync files alone."""

NEW: Final = ".new."
"""What the name of a file begins with that is to take another one's place."""


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
    new = path.with_name(NEW + path.name)
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
        _settle(path.parent)


def require_name(path: Path) -> None:
    """Find out whether `replacing` can write a file of a name, before the work of hours: systems bound a name's length.

    Args:
        path: The file, whose folder need not be there yet.

    Raises:
        OSError: The name is too long.
    """
    folder = next(one for one in path.absolute().parents if one.is_dir())
    try:
        (folder / (NEW + path.name)).lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def folder_made(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it; an error inside the block takes away again what was made and holds nothing.

    Args:
        folder: The folder, which may be there.

    Yields:
        Nothing.

    Raises:
        OSError: It cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for one in missing:
            with contextlib.suppress(OSError):
                one.rmdir()
        raise


def _settle(folder: Path) -> None:
    """Have the names of a folder on the disk, where its file system has a way to ask for that: the files in it are there."""
    try:
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno not in NO_WAY:
            raise
