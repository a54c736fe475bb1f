"""Documents, tables and folders that are at every moment whole: as they were, or as they are meant to be."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import numpy as np
from pydantic import BaseModel

from service.files import replacing


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder that is filled in the block, and is not there where that fails.

    Args:
        folder: It, whether it is there yet or not; what was in it before goes with it.

    Yields:
        The same path.
    """
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def new_folder(store: Path, made: Path) -> Iterator[Path]:
    """A folder of a store that is made in the block, in a draft of the store, and stands in its place at the end at once.

    Whoever looks meanwhile, such as a service that polls the store, finds nothing that is half made. Nothing stays where the
    block fails or the process is killed.

    Args:
        store: Model store.
        made: A folder in it that is not there.

    Yields:
        The folder to fill, which is there and empty; its place in the draft is that of `made` in the store.

    Raises:
        FileExistsError: The folder is there.
    """
    _require_new(made)
    store.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new-", dir=store) as draft:
        folder = Path(draft) / made.relative_to(store)
        folder.mkdir(parents=True)
        yield folder
        _require_new(made)
        made.parent.mkdir(exist_ok=True)
        folder.rename(made)


def _require_new(made: Path) -> None:
    if made.exists():
        raise FileExistsError(f"{made} exists, and versions never change once written")


@contextmanager
def new_version(store: Path, name: str, version: int) -> Iterator[Path]:
    """The folder of a version that is made in the block, and stands in the store at its end at once (see `new_folder`).

    Args:
        store: Model store.
        name: The model's.
        version: A version that is not there.

    Yields:
        The folder, which is there and empty; its store is two folders above.

    Raises:
        FileExistsError: The version is there.
    """
    with new_folder(store, store / name / str(version)) as folder:
        yield folder


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder in the block, where the system can; the lock ends with the process.

    Args:
        folder: The folder, which is made where it is not there.

    Yields:
        Nothing.

    Raises:
        BlockingIOError: Another process is in such a block.
        OSError: The folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"{folder}: another command is writing there; wait, or name another folder") from error
        except OSError:  # of a network's file system that locks no folder
            pass
        yield
    finally:
        os.close(handle)


def writable(folder: Path) -> None:
    """Make a folder, and try to write to it: before hours of work whose outcome goes there.

    Args:
        folder: The folder, whether it is there or not.

    Raises:
        OSError: Nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder):
        pass


def mapped_pixels(new: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """A new file of an array, mapped into memory, whose room on the disk is taken at once.

    A file with holes would be whole by its length: where the disk is full, writing into one kills the process.

    Args:
        new: The file.
        shape: Of the array.

    Returns:
        uint8 of that shape, to be written to.

    Raises:
        OSError: The disk has too little room.
    """
    pixels = np.lib.format.open_memmap(new, "w+", np.uint8, shape)
    take_room(new, new.stat().st_size)
    return pixels


def take_room(new: Path, count: int) -> None:
    """Take the room of a file on the disk, where the system can, before a library writes it that ends badly on a full one.

    Args:
        new: The file, which is made where it is not there, and keeps what it holds.
        count: Bytes that it will have, at most.

    Raises:
        OSError: The disk has too little room.
    """
    if hasattr(os, "posix_fallocate"):
        with new.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, count)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8.

    Args:
        path: The file.
        text: Its content.
    """
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table as CSV, with a header.

    Args:
        path: The file.
        rows: At least one, all with the columns of the first.

    Raises:
        ValueError: A row has another column, which is a mistake of the code.
    """
    with replacing(path) as new, new.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_document(path: Path, document: BaseModel) -> None:
    """Write a typed document.

    Args:
        path: The file.
        document: The document.
    """
    write_text(path, document_json(document))


def document_json(document: BaseModel) -> str:
    """The text of a typed document, without what was never set of it.

    Args:
        document: The document.

    Returns:
        JSON, with a newline at its end.
    """
    return document.model_dump_json(indent=2, exclude_unset=True) + "\n"


def write_json(path: Path, document: Any) -> None:
    """Write a document of plain values as JSON.

    Args:
        path: The file.
        document: The values.

    Raises:
        ValueError: A number is none that JSON knows, which is a mistake of the code.
    """
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
