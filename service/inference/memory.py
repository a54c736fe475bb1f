"""The memory that the process may use, and a budget of bytes for the photos that are being decoded."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from service.errors import DeadlineExceeded, ImageTooLarge, NotReady

MIB: Final = 2**20


def memory_limit(root: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self/cgroup")) -> tuple[int, str]:
    """Bytes that this process may use, and where that is set: the container's limit, else half of the machine's memory.

    Reads cgroup v2 `memory.max` and v1 `memory.limit_in_bytes` of the process's own group and of all above it.

    Args:
        root: Where the control groups are mounted.
        process: The file that names the process's own groups.

    Returns:
        The least limit in bytes, and its source in words.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 4 * 2**30
    found = [limit for file in _limit_files(root, process) if (limit := _number(file)) is not None and limit < physical]
    return (min(found), "the container's limit") if found else (physical // 2, "half of the machine's memory")


def _limit_files(root: Path, process: Path) -> Iterator[Path]:
    yield root / "memory.max"
    yield root / "memory/memory.limit_in_bytes"
    try:
        lines = process.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder == top or top not in folder.parents:
                break
            yield folder / name


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such file, or `max`
        return None


def resident() -> int:
    """How much of this process the kernel cannot drop, because no file holds it.

    Returns:
        Bytes; 0 where the system does not report it.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def give_back() -> None:
    """Give what was freed back to the system: glibc keeps it for later, and a model that is gone is large.

    Other C libraries have no such call.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class MemoryBudget:
    """At most `total` bytes are taken at any time, over all threads; who waits is served in order."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._used = 0
        self._closed = False
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, count: int, deadline: float) -> Iterator[None]:
        """Wait until some bytes fit, hold them within the context, and give them back.

        Args:
            count: Bytes.
            deadline: A time of `time.monotonic`, in seconds.

        Yields:
            Nothing, while the bytes are held.

        Raises:
            ImageTooLarge: They never fit.
            DeadlineExceeded: They did not fit in time.
            NotReady: The budget was closed.
        """
        if count > self.total:
            raise ImageTooLarge(
                f"The image takes {-(-count // MIB)} MiB of memory to decode; this service has {self.total // MIB} for photos."
            )
        place = object()
        with self._changed:
            self._waiting.append(place)
            try:
                fits = self._changed.wait_for(
                    lambda: self._closed or (self._waiting[0] is place and self._used + count <= self.total),
                    timeout=min(threading.TIMEOUT_MAX, max(0.0, deadline - time.monotonic())),
                )
                if self._closed:
                    raise NotReady("The service is shutting down.")
                if not fits:
                    raise DeadlineExceeded("The request's deadline passed while its photo waited for memory.")
                self._used += count
            finally:
                self._waiting.remove(place)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= count
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
