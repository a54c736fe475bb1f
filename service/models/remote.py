"""A model store behind an address such as `s3://bucket/models`: models are copied whole into a folder and loaded from there."""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from service.errors import ModelDamaged, StoreUnreachable
from service.extras import install_command
from service.files import replacing
from service.models.evaluation import EVALUATION
from service.models.manifest import Manifest, Variant
from service.models.store import MANIFEST, UNLISTED, VARIANT, ModelStore, file_digest, numbers, verify_variant

logger = logging.getLogger("facet")

KEPT: Final = 3
"""Versions of a model whose copies stay, those that were asked for last: one in service, one to go back to, one to come."""
SLOW_S: Final = 1.0
"""Seconds after which a call that fails has waited for a system that does not answer."""
AWAY_S: Final = 30.0
"""Seconds for which such a system is not asked again."""
NEW_S: Final = 60.0
"""Seconds for which a temporary folder that nobody holds may be one that was made just now."""
_TEMPORARY: Final = "facet-models-"
"""What the name of a temporary folder of copies begins with."""
_HELD: Final[list[int]] = []
"""Descriptors by which this process holds its own."""
_COPYING: Final = ".copying-"
"""What the name of a folder begins with that becomes a copy."""
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

T = TypeVar("T")


def open_store(place: Path | str, cache: Path | None = None) -> ModelStore:
    """Open a model store.

    Args:
        place: A folder, or an address that fsspec knows, such as `s3://bucket/models`.
        cache: Folder for copies of a store behind an address; None for a temporary one that goes with the process.

    Returns:
        The store.

    Raises:
        StoreUnreachable: The packages for this kind of address are not installed.
    """
    if isinstance(place, Path):
        return ModelStore(place)
    return RemoteStore(place, _temporary() if cache is None else cache)


def _temporary() -> Path:
    """A folder that goes with the process; those of processes that were killed go now, for nobody holds them any more."""
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if sys.platform == "win32":
        return folder
    import fcntl

    for other in (folder, *folder.parent.glob(f"{_TEMPORARY}*")):
        with contextlib.suppress(OSError):  # somebody else's, or held
            handle = os.open(other, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if other == folder:
                    _HELD.append(os.dup(handle))
                elif time.time() - os.fstat(handle).st_mtime > NEW_S:
                    shutil.rmtree(other, ignore_errors=True)
            finally:
                os.close(handle)
    return folder


class RemoteStore(ModelStore):
    """A store behind an address; `root` is the folder of its copies.

    A copy is made under another name, held to the hashes of its manifest, and only then moved into its place: half of one is
    never there to be loaded. Where the address cannot be read, a copy that is whole still serves.
    """

    def __init__(self, address: str, cache: Path) -> None:
        super().__init__(cache)
        self._away_until = -math.inf
        if find_spec("fsspec") is None:
            raise StoreUnreachable(f"{address} needs the extra `remote`: {install_command('remote')}")
        import fsspec

        options = {} if address.startswith("memory://") else {"use_listings_cache": False}
        try:
            self._system, self._path = fsspec.core.url_to_fs(address, **options)
        except Exception as error:  # each file system raises errors of its own, and some connect already
            raise StoreUnreachable(f"{address}: {error}; addresses come with `{install_command('remote')}`") from error

    def names(self) -> list[str]:
        """List the models.

        Returns:
            Their names, sorted; those of the copies where the address cannot be read.
        """
        try:
            return self._folders(self._path)
        except StoreUnreachable as error:
            logger.warning("%s Copies are served.", error)
            return super().names()

    def versions(self, name: str) -> list[int]:
        """List the versions of a model.

        Args:
            name: Of the model.

        Returns:
            Versions, ascending; those of the copies where the address cannot be read.

        Raises:
            StoreUnreachable: The address cannot be read, and there is no copy.
        """
        try:
            return numbers(self._folders(f"{self._path}/{name}"))
        except StoreUnreachable as error:
            copies = super().versions(name)
            if not copies:
                raise
            logger.warning("%s Copies are served.", error)
            return copies

    def find(self, name: str, version: int | None, variant: str | None = None) -> tuple[Manifest, str]:
        """Read the manifest of a model, and copy its files where there is no copy of them yet; blocks.

        Args:
            name: Of the model.
            version: 1 or more; None for the newest.
            variant: The arithmetic of a variant, whose files are copied, too; None for the model itself.

        Returns:
            The manifest and the SHA-256 of its file, or that of the variant's document.

        Raises:
            ModelNotFound: The store does not hold it.
            ModelIncompatible: It is no manifest of this model, or the model has no such variant.
            ModelDamaged: A file that it lists is missing, or has another hash.
            StoreUnreachable: The address cannot be read, and there is no copy.
        """
        manifest, digest = self._newest(name, version)
        self._copy(manifest)
        if variant is not None:
            found, digest = self._variant(manifest, digest, variant)
            self._copy_variant(manifest, found, digest)
        return manifest, digest

    def state(self, name: str, version: int) -> object:
        """What changes whenever a file of a model does, without reading any.

        Args:
            name: Of the model.
            version: Of it.

        Returns:
            Something to compare with what it was before.

        Raises:
            StoreUnreachable: The address cannot be read.
        """
        found = self._called(partial(self._system.find, f"{self._path}/{name}/{version}", detail=True))
        known = ("size", "ETag", "etag", "md5Hash", "LastModified", "updated", "mtime", "created")
        return version, sorted((path, *(str(one.get(key)) for key in known)) for path, one in found.items())

    def _content(self, name: str, version: int, file: str = MANIFEST) -> bytes:
        try:
            return self._read(f"{self._path}/{name}/{version}/{file}")
        except StoreUnreachable as error:
            with contextlib.suppress(OSError):
                content = super()._content(name, version, file)
                logger.warning("%s The copy of %s/%d is served.", error, name, version)
                return content
            raise

    def _folders(self, path: str) -> list[str]:
        """Names of the folders of a folder; none where it is not there."""
        try:
            entries = self._called(partial(self._system.ls, path, detail=True))
        except FileNotFoundError:
            return []
        return sorted(str(one["name"]).rstrip("/").rsplit("/", 1)[-1] for one in entries if one["type"] == "directory")

    def _measured(self, name: str, version: int) -> bytes | None:
        """As it is at the address, where it may be recorded anew; the copy, which follows it, is read where that is away."""
        copy = self.root / name / str(version) / EVALUATION
        try:
            content = self._read(f"{self._path}/{name}/{version}/{EVALUATION}")
        except FileNotFoundError:
            content = None
        except StoreUnreachable:
            return super()._measured(name, version)
        with contextlib.suppress(OSError):  # a copy that is not there, or a disk that is full or not to be written
            if content is None:
                copy.unlink(missing_ok=True)
            elif (copy.parent / MANIFEST).is_file() and content != super()._measured(name, version):
                with replacing(copy) as new:
                    new.write_bytes(content)
        return content

    def _size(self, manifest: Manifest, files: Iterable[str]) -> int:
        """Of a model without a copy that of its files at the address."""
        title = manifest.title
        if (self.root / title / MANIFEST).is_file():
            return super()._size(manifest, files)
        source = f"{self._path}/{title}/"
        found = self._called(partial(self._system.find, source, detail=True))
        sizes = {path.rpartition(f"/{title}/")[2]: int(one.get("size") or 0) for path, one in found.items()}
        return sum(sizes.get(file, 0) for file in files)

    def _copy(self, manifest: Manifest) -> None:
        """Copy a model unless a whole copy is there."""
        title = manifest.title
        folder = self.root / title
        content = self._content(manifest.name, manifest.version)
        if self._has_copy(folder, manifest, content):
            return
        with self._copying(manifest.name) as temporary:
            if self._has_copy(folder, manifest, content):  # another process has made it meanwhile
                return
            new = temporary / "model"
            self._fetch(manifest, new)
            (new / MANIFEST).write_bytes(content)
            self._verify(new, manifest)
            _put(new, folder, temporary / "old")
            self._prune(folder)
        logger.info("copied %s out of the model store", title)

    def _has_copy(self, folder: Path, manifest: Manifest, content: bytes) -> bool:
        """Whether a whole copy is there; it counts as used then."""
        try:
            if (folder / MANIFEST).read_bytes() != content:
                return False
            self._verify(folder, manifest)
        except (OSError, ModelDamaged):  # there is none, or it was changed
            return False
        with contextlib.suppress(OSError):  # a cache that cannot be written serves, too
            os.utime(folder)
        return True

    def _copy_variant(self, manifest: Manifest, variant: Variant, digest: str) -> None:
        """Copy a variant into the model's copy unless a whole one is there."""
        title = manifest.title
        folder = self.root / title / variant.precision
        if _has_variant(folder, variant, digest, title):
            return
        with self._copying(manifest.name) as temporary:
            if _has_variant(folder, variant, digest, title):
                return
            new = temporary / "variant"
            new.mkdir()
            source = f"{self._path}/{title}/{variant.precision}"
            self._fetch_files(source, {**variant.files, VARIANT: digest}, new, f"{title}/{variant.precision}")
            verify_variant(new, variant, title)
            _put(new, folder, temporary / "old")
        logger.info("copied the %s variant of %s out of the model store", variant.precision, title)

    @contextlib.contextmanager
    def _copying(self, name: str) -> Iterator[Path]:
        """A folder for what becomes a copy, for one process at a time; what one left behind that was killed goes.

        Raises `StoreUnreachable` where the copy cannot be written.
        """
        parent = self.root / name
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with _locked(parent) as alone:
                for left in parent.glob(f"{_COPYING}*") if alone else ():
                    shutil.rmtree(left, ignore_errors=True)
                with tempfile.TemporaryDirectory(prefix=_COPYING, dir=parent) as folder:
                    yield Path(folder)
        except OSError as error:
            raise StoreUnreachable(f"A copy of {name} cannot be written: {error.strerror or type(error).__name__}.") from error

    def _fetch(self, manifest: Manifest, folder: Path) -> None:
        """Copy the files that a manifest lists, and those beside it that describe the model."""
        source = f"{self._path}/{manifest.title}"
        folder.mkdir()
        self._fetch_files(source, manifest.files, folder, manifest.title)
        for name in UNLISTED - {MANIFEST}:
            with contextlib.suppress(FileNotFoundError):
                self._called(partial(self._system.get_file, f"{source}/{name}", str(folder / name)))

    def _fetch_files(self, source: str, files: Mapping[str, str], folder: Path, title: str) -> None:
        """Copy files, each held to its hash."""
        for name, digest in files.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ModelDamaged(f"The manifest of {title} lists a file outside of it.")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._called(partial(self._system.get_file, f"{source}/{name}", str(target)))
            except FileNotFoundError as error:
                raise ModelDamaged(f"{title} lacks {name}.") from error
            if file_digest(target) != digest:
                raise ModelDamaged(f"The hash of {name} in {title} is not the manifest's.")

    def _prune(self, newest: Path) -> None:
        """Keep the copies of a model that were asked for last: a network that serves holds its weights itself."""
        copies = [path for path in newest.parent.iterdir() if path.name.isdigit() and path != newest]
        for path in sorted(copies, key=lambda one: one.stat().st_mtime, reverse=True)[KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)

    def _read(self, path: str) -> bytes:
        """The content of a file at the address; raises as `_called` does."""
        return bytes(self._called(partial(self._system.cat_file, path)))

    def _called(self, call: Callable[[], T]) -> T:
        """The result of a call of the file system.

        Raises `FileNotFoundError` where a thing is not there, and `StoreUnreachable` for what else each system raises. After
        a call that waited in vain it is raised at once for a while: a start asks some twenty times.
        """
        began = time.monotonic()
        if began < self._away_until:
            raise StoreUnreachable("The model store cannot be read: it did not answer just now.")
        try:
            return call()
        except FileNotFoundError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK_FULL:  # of this machine, where the copy is written
                raise
            if time.monotonic() - began >= SLOW_S:
                self._away_until = time.monotonic() + AWAY_S
            raise StoreUnreachable(f"The model store cannot be read: {type(error).__name__}.") from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Wait until no other process has this folder, and keep it; whether that can be known, which not every file system says."""
    if sys.platform == "win32":
        yield False
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            alone = True
        except OSError:
            alone = False
        yield alone
    finally:
        os.close(handle)


def _has_variant(folder: Path, variant: Variant, digest: str, title: str) -> bool:
    """Whether a whole copy of a variant is there."""
    try:
        if file_digest(folder / VARIANT) != digest:
            return False
        verify_variant(folder, variant, title)
    except (OSError, ModelDamaged):  # there is none, or it was changed
        return False
    return True


def _put(new: Path, folder: Path, old: Path) -> None:
    """Move a whole copy into its place; what is there moves out of it."""
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
