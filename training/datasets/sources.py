"""A data set's files, in a folder or a tar file: their paths, and the contents of those that are asked for."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from zipfile import is_zipfile

from training.errors import DataSetError

MAX_PIXELS: Final = 64_000_000
"""Pixels of the largest picture that is decoded."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The paths of all files of a folder or tar file, relative to it, with slashes."""

    source: Path
    paths: tuple[str, ...]

    def holds(self, *names: str) -> bool:
        """Whether there is a file of each of these names, wherever it lies.

        Args:
            names: Names without folders.

        Returns:
            Whether all are there.
        """
        return set(names) <= {base_name(path) for path in self.paths}

    def texts(self, *names: str) -> dict[str, str]:
        """Text, without a byte order mark, of the first file of each of these names that is there.

        Args:
            names: Names without folders.

        Returns:
            Texts by name.

        Raises:
            DataSetError: A file is not UTF-8.
        """
        try:
            return {name: data.decode("utf-8-sig") for name, data in self.contents(*names).items()}
        except UnicodeDecodeError as error:
            raise DataSetError(f"{self.source}: {' or '.join(names)} is no text in UTF-8: {error.reason}") from error

    def text(self, path: str) -> str:
        """Text, without a byte order mark, of the file at a path.

        Args:
            path: One of `paths`.

        Returns:
            The text.

        Raises:
            DataSetError: The file is not UTF-8.
        """
        data = next(read() for found, read in walk(self.source, (base_name(path),)) if found == path)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataSetError(f"{self.source}: {path} is no text in UTF-8: {error.reason}") from error

    def contents(self, *names: str) -> dict[str, bytes]:
        """Bytes of the first file of each of these names that is there.

        Args:
            names: Names without folders.

        Returns:
            Bytes by name.
        """
        found: dict[str, bytes] = {}
        for path, read in walk(self.source, names):
            if (name := base_name(path)) in names and name not in found:
                found[name] = read()
        return found


def listing(source: Path) -> Listing:
    """Paths of all files of a data set.

    Args:
        source: Its folder or tar file.

    Returns:
        The source with its paths.

    Raises:
        FileNotFoundError: `source` does not exist.
        DataSetError: It is neither a folder nor a tar file.
    """
    return Listing(source, tuple(path for path, _ in walk(source)))


def walk(source: Path, endings: tuple[str, ...] = ("",)) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Path of every file with one of the endings, and what reads it before the next one is asked for; a folder's in order.

    A name that is no UTF-8, as of an old archive, has its other bytes as escapes: a text that can be hashed and written.

    Args:
        source: A folder or tar file.
        endings: Ends of paths.

    Yields:
        A path, relative to the source, and a function that reads its file.

    Raises:
        FileNotFoundError: `source` does not exist.
        DataSetError: It is neither a folder nor a tar file.
    """
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.name.endswith(endings) and path.is_file()):
            yield _text(path.relative_to(source).as_posix()), path.read_bytes
        return
    if not tarfile.is_tarfile(source):
        unpack = "; unpack it" if is_zipfile(source) else ""
        raise DataSetError(f"{source} is neither a folder nor a tar file{unpack}")
    with tarfile.open(source) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() and member.name.endswith(endings) else None
            if content is not None:
                yield _text(str(PurePosixPath(member.name))), content.read


def _text(path: str) -> str:
    """A path without the surrogates by which Python keeps bytes that are no UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def base_name(path: str) -> str:
    """The part of a path behind its last slash.

    Args:
        path: A path with slashes.

    Returns:
        A name without folders.
    """
    return path.rpartition("/")[2]


def last_parts(count: int) -> Callable[[str], str]:
    """What cuts a path to its last parts: enough to name a picture, and the same in a folder and its tar file.

    Args:
        count: How many parts.

    Returns:
        A function from a path to its end.
    """
    return lambda path: "/".join(path.split("/")[-count:])
