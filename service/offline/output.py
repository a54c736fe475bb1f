"""A table that is written part by part, so that a run which was killed goes on with nothing twice and nothing lost.

Parts lie in a folder beside the table, `NAME.parts`, and are whole whenever they are there. While the folder is there it holds
every row, and a table beside it is but a copy of them; without it the table does.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from service.files import replacing
from service.inference.columns import Column
from service.offline.errors import OutputError
from service.offline.formats import Entry, NoTable, format_of
from service.offline.table import VERSION, Row

PHOTOS_A_PART: Final = 1000
"""Photos after which a part is written."""
SECONDS_A_PART: Final = 15.0
"""Seconds after which one is written with fewer: as much work a crash may cost."""
STATE: Final = "state.json"
NO_LOCKS: Final = frozenset({errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP})
"""What file systems say that have none, such as Lustre as it is mounted by default."""
DIGEST_BYTES: Final = 16
"""Bytes of a name's digest: among ten million names two are alike with a probability of 1e-25."""


class Names:
    """A set of names that takes 16 bytes for each."""

    def __init__(self) -> None:
        self._sorted: npt.NDArray[np.bytes_] = np.empty(0, f"S{DIGEST_BYTES}")
        self._recent: set[bytes] = set()

    def __contains__(self, name: str) -> bool:
        digest = _digest(name)
        if digest in self._recent:
            return True
        held = self._sorted
        index = int(np.searchsorted(held, np.bytes_(digest)))
        return index < len(held) and bool(held[index] == np.bytes_(digest))

    def add(self, name: str) -> None:
        """Add a name.

        Args:
            name: Any text.
        """
        self._recent.add(_digest(name))
        if len(self._recent) > max(100_000, len(self._sorted) // 8):
            new = np.array(list(self._recent), self._sorted.dtype)
            self._sorted = np.sort(np.concatenate([self._sorted, new]))
            self._recent = set()


def _digest(name: str) -> bytes:
    """A digest without zero bytes, which NumPy takes for the end of a text."""
    return hashlib.blake2b(name.encode("utf-8", "backslashreplace"), digest_size=DIGEST_BYTES).digest().replace(b"\0", b"\1")


class Output:
    """A table at `path`, with the `parameters` that it is made with: going on takes the same.

    As a context it writes, on leaving, what it holds; `finish` makes the table of the parts. Every method that writes raises
    `OSError` where the disk is full.
    """

    def __init__(
        self,
        path: Path,
        table: Sequence[Column],
        parameters: Mapping[str, object],
        photos_a_part: int = PHOTOS_A_PART,
    ) -> None:
        self._format = format_of(path, table)
        self.path, self.parts = path, path.with_name(path.name + ".parts")
        self.photos = 0
        self._state: dict[str, Any] = {
            "schema": VERSION,
            "columns": [column.name for column in table],
            "parameters": dict(parameters),
        }
        self._photos_a_part = photos_a_part
        self._names = Names()
        self._rows: list[Row] = []
        self._answered: dict[str, Entry] = {}
        self._held = 0
        self._flushed = time.monotonic()
        self._lock: IO[bytes] | None = None

    def begin(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make the folder of parts, or take up the one that is there.

        Args:
            resume: Whether to go on where an earlier run ended.
            overwrite: Whether a table or parts that are there are thrown away.

        Raises:
            OutputError: There is a table already and neither is wanted, the earlier run had other parameters, another run
                writes it now, or the folder cannot be written.
        """
        if self.path.is_dir():
            raise OutputError(f"{self.path} is a folder: name a file")
        if (self._written() or self.path.exists()) and not (resume or overwrite):
            raise OutputError(f"{self.path} is there already: --resume goes on with it, --overwrite begins anew")
        try:
            self._begin(overwrite)
        except OSError as error:
            self._release()
            raise OutputError(f"{self.path}: {error.strerror or error}") from error
        except BaseException:
            self._release()
            raise

    def _begin(self, overwrite: bool) -> None:
        if self.parts.is_dir():
            self._check_parts()
            self._take_lock()
            if self._written() and not overwrite:
                self._check_state()
            else:  # what a run left that had written nothing, or what is not wanted any more
                self._release()
                _remove(self.parts)
        begun = self.parts.is_dir()
        if not begun:
            self._make_parts(self.path if self.path.exists() and not overwrite else None)
            self._take_lock()
        try:
            for part in self._written():
                self._remember(self._format.entries(part))
            if not begun:
                self._check_model()
        except NoTable as error:
            self._release()
            if not begun:  # the table holds what the parts do
                _remove(self.parts)
            raise OutputError(f"{self.path}: {error}; --overwrite begins anew") from error

    def __contains__(self, name: str) -> bool:
        """Whether the table has a photo's rows."""
        return name in self._names

    def add(self, name: str, rows: Iterable[Row]) -> None:
        """Add a photo's rows, to be written with the next part.

        Args:
            name: The photo's name in the table.
            rows: All of its rows.

        Raises:
            OSError: A part cannot be written.
        """
        self._names.add(name)
        self._rows += rows
        self._held += 1
        if self._held >= self._photos_a_part or time.monotonic() - self._flushed >= SECONDS_A_PART:
            self.flush()

    def flush(self) -> None:
        """Write what is held as a part.

        Raises:
            OSError: It cannot be written; nothing of it is left.
        """
        if self._rows:
            written = self._written()
            number = int(written[-1].stem.removeprefix("part-")) + 1 if written else 1
            with replacing(self.parts / f"part-{number:08d}{self.path.suffix}") as new:
                self._format.write(new, self._rows)
            self.photos += self._held
            self._rows, self._held = [], 0
        self._flushed = time.monotonic()

    def finish(self) -> None:
        """Join the parts into the table, and remove them.

        Raises:
            OSError: It cannot be written; the parts are left.
        """
        self.flush()
        parts = self._written()
        with replacing(self.path) as new:
            if parts:
                self._format.join(parts, new)
            else:
                self._format.write(new, [])
        self._release()
        _remove(self.parts)

    def __enter__(self) -> Output:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if self._lock is None:
            return
        try:
            if not isinstance(error, OSError):  # the disk is full already
                self.flush()
        finally:
            self._release()
            if not self._written():  # nothing to go on with
                _remove(self.parts)

    def _make_parts(self, finished: Path | None) -> None:
        """The folder with its state, and in it a finished table as its first part; there at once, or not at all."""
        if finished is not None:
            try:
                columns = self._format.columns(finished)
            except NoTable as error:
                raise OutputError(f"{self.path}: {error}; --overwrite begins anew") from error
            if columns is not None and columns != self._state["columns"]:
                raise OutputError(f"{finished} has other columns than this run would write; --overwrite begins anew")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        making = _beside(self.parts)
        try:
            (making / STATE).write_text(json.dumps(self._state, indent=1))
            if finished is not None:
                first = making / f"part-{0:08d}{self.path.suffix}"
                try:
                    os.link(finished, first)
                except OSError:  # a file system without links
                    shutil.copyfile(finished, first)
            making.rename(self.parts)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise

    def _check_parts(self) -> None:
        """Raises `OutputError` where the folder is somebody else's: a run's holds its state, or at least a part."""
        if not (self.parts / STATE).is_file() and not self._written() and any(self.parts.iterdir()):
            raise OutputError(f"{self.parts} is there already and holds no parts: move it away, or name another file")

    def _check_state(self) -> None:
        """Raises `OutputError` where the parts are of a run with other parameters, of those that both runs know."""
        try:
            before = json.loads((self.parts / STATE).read_text())
        except (OSError, ValueError) as error:
            raise OutputError(f"{self.parts} is no folder of parts; --overwrite begins anew") from error
        now = json.loads(json.dumps(self._state))
        old, new = before.get("parameters", {}), now["parameters"]
        differ = sorted(name for name in old.keys() & new.keys() if old[name] != new[name])
        if not differ and before | {"parameters": new} == now:
            return
        what = "; ".join(f"{name} was {old[name]} and is {new[name]}" for name in differ) or "its columns differ"
        raise OutputError(f"{self.path} was begun otherwise ({what}): ask for the same, or begin anew with --overwrite")

    def _written(self) -> list[Path]:
        return sorted(self.parts.glob(f"part-*{self.path.suffix}"))

    def _remember(self, entries: Iterator[Entry]) -> None:
        last = None
        for entry in entries:
            if entry.photo != last:
                self._names.add(entry.photo)
                self.photos += 1
            last = entry.photo
            if entry.digest is not None:
                self._answered.pop(entry.digest, None)
                self._answered[entry.digest] = entry

    def _check_model(self) -> None:
        """Raises `NoTable` where all answers of a finished table are other models'; the last may be a canary's."""
        now = self._state["parameters"]
        if self._answered and now.get("digest") not in (None, "", *self._answered):
            before = next(reversed(self._answered.values()))
            was, is_now = f"{before.model}/{before.version}", now.get("model")
            if was == is_now:
                was, is_now = f"{was} ({str(before.digest)[:12]})", f"{is_now} ({now['digest'][:12]})"
            raise NoTable(f"it is of the model {was}, and this run's is {is_now}: choose that one by --model")

    def _take_lock(self) -> None:
        """Keep other runs from the same parts, where the system and the disk can; the lock ends with the process."""
        self._lock = (self.parts / "lock").open("wb")
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._release()
            raise OutputError(f"{self.path}: another run is writing it") from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _remove(folder: Path) -> None:
    """Remove a folder; it is gone at once, whatever becomes of the files in it."""
    if not folder.exists():
        return
    going = _beside(folder)
    folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def _beside(folder: Path) -> Path:
    """A new folder beside another one, empty and by a name that nobody has."""
    return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
