"""Arguments of a command line to photos: files, folders, globs, archives, films, standard input and addresses, one by one."""

from __future__ import annotations

import codecs
import glob
import io
import itertools
import os
import stat
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, Self, TypeVar

from service.extras import install_command
from service.offline import films
from service.offline.addresses import file_system
from service.offline.errors import SchemeError, SourceError
from service.video.film import FilmError
from service.vision.image import sniff

T = TypeVar("T")

SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp"}
)
"""Endings of photos' names, in small letters."""
ARCHIVES: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Endings of archives' names."""
HEADERS: Final = frozenset(
    {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
)
"""Types of entries of a tar file that belong to the header of another one."""
LARGEST: Final = 256 * 2**20
"""Bytes of the largest file that is read."""
PIECE: Final = 2**20
"""Bytes that are read of a stream at a time."""
SORTED: Final = 100_000
"""Most names of one folder that are sorted; those of a larger one come in the folder's own order, and need no memory."""
HEAD: Final = 512
"""Bytes in which an archive on standard input, or a photo whose name does not tell, is recognised."""
SYNC: Final = b"\x47"
"""What each packet of a broadcast begins with (ISO/IEC 13818-1, 2.4.3.3)."""
PACKETS: Final = (188, 204)
"""Bytes of its packets, alone or with Reed-Solomon's (ETSI EN 300 744)."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo by the name that a table has for it, what reads its bytes, and their number, 0 where it is not known.

    `read` raises `OSError`.
    """

    name: str
    read: Callable[[], bytes] = field(repr=False)
    size: int = 0


@dataclass(slots=True)
class LeftOut:
    """What was found inside of folders and is not looked at: files that are no photos, folders without `--recursive`, and films
    without `--every`.
    """

    files: int = 0
    folders: int = 0
    films: int = 0


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar file by its name, and what opens it."""

    name: str
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Film:
    """A film by its name, what opens it, and the seconds from one of its pictures to the next, 0 for all."""

    name: str
    open: Callable[[], IO[bytes]]
    every: float


Place = Photo | Archive | Film
"""What an argument leads to. All but standard input can be pickled and read elsewhere."""


def photos(places: Iterable[Place]) -> Iterator[Photo]:
    """Every photo of some places, in order; nothing is read before it is asked for, and little is held.

    Args:
        places: Photos, archives and films.

    Yields:
        The photos, and those in the archives and films. What cannot be read is a photo whose reading says why.
    """
    for place in places:
        if isinstance(place, Photo):
            yield place
        elif isinstance(place, Archive):
            yield from _members(place)
        else:
            yield from _stills(place)


def places(
    sources: Iterable[str],
    *,
    recursive: bool = False,
    every: float | None = None,
    left_out: LeftOut | None = None,
    listed: bool = False,
) -> Iterator[Place]:
    """Every photo, archive and film that some sources lead to, in order.

    Args:
        sources: Files, folders, globs, tar files, addresses such as `s3://bucket/folder`, or `-` for standard input.
        recursive: Whether the folders inside of folders are looked through.
        every: Seconds from one picture of a film to the next, 0 for all; None for `films.EVERY_S` in films that are named, and
            for no film of a folder.
        left_out: Counts what is not looked at.
        listed: Whether the sources are of a list: a folder or glob of it that leads nowhere, or a pipe, is a photo whose
            reading says why, and does not end what may have run for hours, or waits for ever.

    Returns:
        Them as they are found: a named file even where it cannot be read, since reading it says why, and of a folder only
        what is a photo, an archive or a film. A folder inside of another one that cannot be listed is such a photo, too.

    Raises:
        SourceError: A glob matches nothing, a folder cannot be listed, or an address or film needs packages that are missing.
    """
    return _Search(recursive, every, left_out or LeftOut(), listed).places(sources)


def count(
    sources: Iterable[str], listed: str | None = None, *, recursive: bool = False, every: float | None = None
) -> int | None:
    """How many photos some sources hold, where that can be told without reading them.

    Args:
        sources: As of `places`.
        listed: The file of a list of more.
        recursive: As of `places`.
        every: As of `places`.

    Returns:
        The number, or None where there are archives, films, addresses or standard input among them.
    """
    found = 0
    for search, names in ((False, iter(sources)), (True, iter(()) if listed is None else names_in(listed))):
        looked = _Search(recursive, every, LeftOut(), search)
        try:
            for source in names:
                if source == "-" or "://" in source:
                    return None
                for place in looked.places([source]):
                    if not isinstance(place, Photo):
                        return None
                    found += 1
        except SourceError:
            return None
    return found


def names_in(path: str) -> Iterator[str]:
    """Sources that a file lists, one a line.

    Args:
        path: The file, in UTF-8 or, with a byte order mark, in UTF-16, its address, or `-` for standard input.

    Yields:
        Its lines without their ends; blank ones are passed over, and those that begin with `#` where no file has that name.

    Raises:
        SourceError: It cannot be read.
    """
    for line in _lines(path):
        name = line.rstrip("\r\n")
        if name.strip() and (not name.startswith("#") or _kind(name) is not None):
            yield name


def _lines(path: str) -> Iterator[str]:
    try:
        if "://" in path:
            system, name, _ = file_system(path)
            yield from _decoded(io.BufferedReader(io.BytesIO(_result(lambda: system.cat_file(name), path))))
        elif path == "-":
            yield from _decoded(_stdin())
        else:
            with Path(path).open("rb") as file:
                yield from _decoded(file)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    except UnicodeError as error:
        raise SourceError(f"{path} is no text") from error


def _decoded(stream: io.BufferedReader) -> Iterator[str]:
    """Lines of a list: PowerShell writes UTF-16, and editors of Windows a byte order mark."""
    marked = stream.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    text = io.TextIOWrapper(stream, "utf-16" if marked else "utf-8-sig", "surrogateescape")
    try:
        yield from text
    finally:
        if not stream.closed:  # as it is where a run ends in the middle of the list
            text.detach()  # what closes the stream is whoever opened it


@dataclass(frozen=True, slots=True)
class _Search:
    """Looks through sources."""

    recursive: bool
    every: float | None
    left_out: LeftOut
    listed: bool = False

    def places(self, sources: Iterable[str]) -> Iterator[Place]:
        for source in sources:
            if source == "-":
                yield _standard_input()
            elif "://" in source:
                yield from self._remote(source)
            elif self.listed and not _ends(_kind(source)):
                yield self._nowhere(source, "it is a pipe or a device")
            elif not glob.has_magic(source) or _kind(source) is not None:
                yield from self._local(Path(source))
            else:  # of a shell that does not expand it, or in quotes
                matches = _matches(source)
                first = next(matches, None)
                if first is None:
                    yield self._nowhere(source, "nothing matches it")
                    continue
                for match in _in_order(itertools.chain([first], matches), str):
                    if _ends(_kind(match)):
                        yield from self._local(Path(match))
                    else:
                        self.left_out.files += 1

    def _nowhere(self, source: str, reason: str, *, inside: bool = False) -> Place:
        """A photo that cannot be read in place of a source that leads nowhere. Raises `SourceError` where that was named."""
        if not self.listed and not inside:
            raise SourceError(f"{source}: {reason}")
        return Photo(printable(source), partial(_fail, OSError(reason)))

    def _local(self, path: Path) -> Iterator[Place]:
        """What a path names: it was asked for, so that its name need not be that of a photo."""
        if _kind(path) == stat.S_IFDIR:
            yield from self._folder(path)
        elif path.name.lower().endswith(ARCHIVES):
            yield Archive(printable(path), partial(_open, path))
        elif path.suffix.lower() in films.SUFFIXES and not _is_photo(path):
            yield self._film(printable(path), partial(_open, path))
        else:
            yield _file(path)

    def _folder(self, path: Path, *, inside: bool = False) -> Iterator[Place]:
        try:
            entries = os.scandir(path)
        except OSError as error:
            yield self._nowhere(str(path), error.strerror or str(error), inside=inside)
            return
        with entries:
            for entry in _in_order(entries, lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                below = path / entry.name
                kind = _kind(below)
                if kind == stat.S_IFDIR:
                    if self.recursive and not entry.is_symlink():  # a link may lead back to where it lies
                        yield from self._folder(below, inside=True)
                    else:
                        self.left_out.folders += 1
                elif _ends(kind):
                    yield from self._entry(below)
                else:
                    self.left_out.files += 1

    def _entry(self, path: Path) -> Iterator[Place]:
        """What a file of a folder is, by its name and its first bytes."""
        if path.name.lower().endswith(ARCHIVES):
            yield Archive(printable(path), partial(_open, path))
        elif path.suffix.lower() in SUFFIXES or _is_photo(path):
            yield _file(path)
        elif not _is_film(path):
            self.left_out.files += 1
        elif self.every is None:
            self.left_out.films += 1
        else:
            yield self._film(printable(path), partial(_open, path))

    def _remote(self, address: str) -> Iterator[Place]:
        """What an address names: a file, or, where the system has folders, all photos below one, or what a glob matches."""
        try:
            system, path, scheme = file_system(address)
        except SchemeError:
            yield self._nowhere(address, "its scheme is not known")
            return
        if scheme in ("http", "https"):
            yield self._at(system, path, address, 0)
        elif glob.has_magic(path) and not _result(lambda: system.exists(path), address):
            found = False
            for one in _result(lambda: system.glob(path, detail=True).values(), address):
                found = True
                if one["type"] == "file":
                    yield self._at(system, one["name"], f"{scheme}://{one['name']}", one.get("size") or 0)
            if not found:
                yield self._nowhere(address, "nothing matches it")
        elif _result(lambda: system.isdir(path), address):
            for one in self._below(system, path, address):
                yield self._at(system, one["name"], f"{scheme}://{one['name'].lstrip('/')}", one.get("size") or 0)
        else:
            yield self._at(system, path, address, 0)

    def _below(self, system: Any, path: str, address: str) -> Iterator[dict[str, Any]]:
        """The files of a folder, and of those inside of it; a folder at a time is held."""
        entries: Iterable[dict[str, Any]] = _result(lambda: system.ls(path, detail=True), address)
        for one in sorted(entries, key=lambda one: str(one["name"])):
            name = str(one["name"])
            if one["type"] == "directory":
                if self.recursive and name.rstrip("/") != path.rstrip("/"):
                    yield from self._below(system, name, address)
                else:
                    self.left_out.folders += 1
            elif Path(name).suffix.lower() in SUFFIXES or name.lower().endswith(ARCHIVES):
                yield one
            elif Path(name).suffix.lower() not in films.SUFFIXES:
                self.left_out.files += 1
            elif self.every is None:
                self.left_out.films += 1
            else:
                yield one

    def _at(self, system: Any, path: str, name: str, size: int) -> Place:
        name = printable(name)
        file = path.lower().split("?")[0]
        if file.endswith(ARCHIVES):
            return Archive(name, partial(_opened, system, path))
        if Path(file).suffix in films.SUFFIXES:
            return self._film(name, partial(_opened, system, path))
        return Photo(name, partial(_fetched, system, path, size), size)

    def _film(self, name: str, open_film: Callable[[], IO[bytes]]) -> Film:
        if find_spec("av") is None:
            raise SourceError(f"{name}: films need the extra `video`: {install_command('video')}")
        return Film(name, open_film, films.EVERY_S if self.every is None else self.every)


def _matches(pattern: str) -> Iterator[str]:
    """What a glob matches. `**` goes through folders, but no links to folders: they may lead back, and then never end."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from glob.iglob(pattern)  # noqa: PTH207 - Path has no glob of absolute patterns
        return
    fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    rest = [part if part == "**" else part.replace("**", "*") for part in parts[len(fixed) :]]
    hidden = any(part.startswith(".") for part in rest)
    base = Path(*fixed)
    for found in base.glob("/".join(rest)):
        if hidden or not any(part.startswith(".") for part in found.relative_to(base).parts):
            yield str(found)


def _is_photo(path: Path) -> bool:
    """Whether a file begins as a photo does, whatever its name."""
    return sniff(_head(path)) is not None


def _is_film(path: Path) -> bool:
    """Whether a file has a film's name; one in .ts may be a program of TypeScript, and has a broadcast's packets."""
    suffix = path.suffix.lower()
    if suffix != ".ts":
        return suffix in films.SUFFIXES
    head = _head(path)
    return any(head[: 3 * size : size] == 3 * SYNC for size in PACKETS)


def _head(path: Path) -> bytes:
    """The first bytes of a file; none of what cannot be read."""
    if _kind(path) != stat.S_IFREG:  # to open a pipe waits for its writer
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _kind(path: str | Path) -> int | None:
    """The kind of file that a path leads to, of `stat`; None where it leads to none, or nobody may know.

    `Path.exists` and its like raise errors of loops of links, long names and folders that are closed.
    """
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - of a text, too, which need not be a path
    except (OSError, ValueError):  # ValueError: of a zero byte
        return None


def _ends(kind: int | None) -> bool:
    """Whether what nobody named may be read: a pipe would be waited for, and a device may never end. None is a link that leads
    nowhere, or a file that has just gone.
    """
    return kind in (stat.S_IFREG, stat.S_IFDIR, None)


def _in_order(found: Iterator[T], key: Callable[[T], str]) -> Iterator[T]:
    """Sorted where they are few enough to be held, else as they come."""
    first = list(itertools.islice(found, SORTED + 1))
    if len(first) <= SORTED:
        first.sort(key=key)
    return itertools.chain(first, found)


def _file(path: Path) -> Photo:
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        size = 0
    return Photo(printable(path), partial(_read_file, path), size)


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except ValueError as error:
        raise OSError("no file has such a name") from error


def _read_file(path: Path) -> bytes:
    with _open(path) as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            return _bounded(file)
        if state.st_size > LARGEST:
            raise _too_large()
        return file.read()


def _bounded(file: IO[bytes]) -> bytes:
    """All that a stream holds, piece by piece: to read as much as is allowed at once would take that much memory."""
    pieces: list[bytes] = []
    left = LARGEST
    while piece := file.read(PIECE):  # of a network as much as has come
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise _too_large()
    return b"".join(pieces)


def _too_large() -> OSError:
    return OSError(f"the file has more than {LARGEST // 2**20} MiB")


def printable(path: str | Path) -> str:
    """A path as text that every table can hold.

    Args:
        path: Any path; bytes that are no UTF-8 are in it as Python reads them.

    Returns:
        It with `/` between its parts; such bytes are written by their numbers.
    """
    name = path.as_posix() if isinstance(path, Path) else path
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# Archives, films and standard input -----------------------------------------------------------------------------------


def _stdin() -> io.BufferedReader:
    """Standard input. Raises `SourceError` where it is closed."""
    if sys.stdin is None:
        raise SourceError("-: standard input is closed")
    return sys.stdin.buffer  # type: ignore[return-value]


def _standard_input() -> Place:
    """A photo or an archive, by its first bytes."""
    stream = _stdin()
    head = stream.read(HEAD)
    if head[257:262] == b"ustar" or head[:3] in (b"\x1f\x8b\x08", b"BZh") or head[:6] == b"\xfd7zXZ\x00":
        return Archive("-", lambda: _Joined(head, stream))  # type: ignore[arg-type,return-value]
    return Photo("-", lambda: _bounded(_Joined(head, stream)))  # type: ignore[arg-type]


class _Joined:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def read(self, count: int) -> bytes:
        """Up to `count` bytes."""
        taken, self._head = self._head[:count], self._head[count:]
        return taken + self._rest.read(count - len(taken)) if len(taken) < count else taken

    def __enter__(self) -> _Joined:
        return self

    def __exit__(self, *error: object) -> None:
        """Standard input stays open."""


def _members(archive: Archive) -> Iterator[Photo]:
    """The photos in a tar file, such as a shard of WebDataset, read from its beginning to its end."""
    try:
        with archive.open() as stream, tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Header) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would hold the header of every one of them
                path = Path(member.name)
                if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                    if member.isfile():
                        yield _member(archive.name, tar, member)
                    elif member.issym() or member.islnk():
                        yield Photo(
                            _inside(archive.name, member), partial(_fail, OSError("links in archives are not followed"))
                        )
    except (OSError, EOFError, tarfile.TarError, ValueError, LookupError, OverflowError, zlib.error) as error:
        yield Photo(archive.name, partial(_fail, error))


_DAMAGED_HEADERS: Final = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]


class _Header(tarfile.TarInfo):
    """A header of a tar file. Long names and further headers are bounded: their sizes are the file's own words."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Read the next header; one that is damaged or cut off is an error, and not the archive's end."""
        try:
            return super().fromtarfile(tarfile_)
        except _DAMAGED_HEADERS as error:
            raise tarfile.ReadError("the archive is damaged or cut off") from error

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        """Read what follows, as the standard library foresees for classes like this one."""
        if self.type in HEADERS and self.size > PIECE:
            raise tarfile.ReadError("a header is too large")
        found: tarfile.TarInfo | None = super()._proc_member(tar)  # type: ignore[misc]
        return found


def _inside(archive: str, member: tarfile.TarInfo) -> str:
    return f"{archive}/{printable(member.name)}"


def _member(archive: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Photo:
    name = _inside(archive, member)
    if member.size > LARGEST:
        return Photo(name, partial(_fail, _too_large()))
    file = tar.extractfile(member)
    data = b"" if file is None else file.read()
    return Photo(name, partial(_same, data), len(data))


def _fail(error: Exception) -> bytes:
    if isinstance(error, OSError) and error.strerror:
        raise error
    raise OSError(str(error) or type(error).__name__) from error


def _stills(film: Film) -> Iterator[Photo]:
    """Pictures of a film, read from its beginning to its end."""
    try:
        with film.open() as stream:
            for time_s, data in films.stills(stream, film.name, film.every):
                yield Photo(films.still_name(film.name, time_s), partial(_same, data), len(data))
    except FilmError as error:
        yield Photo(film.name, partial(_fail, OSError(error.reason)))
    except OSError as error:
        yield Photo(film.name, partial(_fail, error))


def _same(data: bytes) -> bytes:
    return data


# Addresses --------------------------------------------------------------------------------------------------------------


def _result(call: Callable[[], T], address: str) -> T:
    """The result of a call of a file system. Raises `SourceError` where it fails."""
    try:
        return call()
    except Exception as error:  # each file system raises errors of its own
        raise SourceError(f"{address}: {str(error) or type(error).__name__}") from error


def _opened(system: Any, path: str) -> IO[bytes]:
    try:
        opened: IO[bytes] = system.open(path, "rb")
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error
    return opened


def _fetched(system: Any, path: str, size: int) -> bytes:
    try:
        known = size or system.info(path).get("size") or 0
        if known > LARGEST:
            raise _too_large()
        if known:
            data: bytes = system.cat_file(path)
        else:  # a stream of any length
            with system.open(path, "rb") as file:
                data = _bounded(file)
    except Exception as error:
        cause = error.__cause__  # fsspec calls every failure of HTTP a missing file, and names what it comes of
        unreached = isinstance(cause, OSError) or getattr(cause, "status", 404) != 404
        if isinstance(error, FileNotFoundError) and not unreached:
            raise OSError("there is no such file") from error
        if isinstance(error, FileNotFoundError):
            raise OSError(str(cause)) from error
        raise OSError(str(error) or type(error).__name__) from error
    return data
