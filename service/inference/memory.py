"""The memory that the process may use, where its allocator puts it, and a budget of bytes for the photos being decoded."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from service import cgroups
from service.errors import DeadlineExceeded, ImageTooLarge, NotReady
from service.models.runtime import release

MIB: Final = 2**20
_HEAP_BYTES: Final = 16 * MIB
"""Size up to which blocks are of a heap, and what may be free at its end: more would not fit into the smallest container."""
_MAPPED_BYTES: Final = MIB // 64
"""Size from which a network's blocks are mappings of their own."""
_M_TRIM_THRESHOLD: Final = -1  # of malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
REST_S: Final = 2.0
"""Seconds without work after which freed memory is given back."""
BUSY_LOOKS: Final = 5
"""Looks, `REST_S` apart, after which it is given back though work goes on. That takes 6 ms, and finds up to 70 MB in pieces."""


def memory_limit(root: Path = cgroups.ROOT, process: Path = cgroups.PROCESS) -> tuple[int, str]:
    """Bytes that this process may use, and where that is set: the container's limit, else half of the machine's memory.

    Reads cgroup v2 `memory.max`, and `memory.high`, above which the kernel slows a process down, and v1
    `memory.limit_in_bytes`, of the process's own group and of all above it.

    Args:
        root: Where the control groups are mounted.
        process: The file that names the process's own groups.

    Returns:
        The least limit in bytes, and its source in words.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 4 * 2**30
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    limits = (_number(folder / name) for folder in cgroups.groups("memory", root, process) for name in names)
    found = [limit for limit in limits if limit is not None and limit < physical]
    return (min(found), "the container's limit") if found else (physical // 2, "half of the machine's memory")


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
    return _status("self").get("RssAnon", 0)


def held(others: Iterable[int] = ()) -> int:
    """How much memory this process holds, and others of its own beside it.

    Args:
        others: Their numbers. What they share with this one, and files that they map, are not counted again.

    Returns:
        Bytes; 0 where the system does not report it.
    """
    more = (_status(str(one)) for one in others)
    return _status("self").get("VmRSS", 0) + sum(one.get("RssAnon", 0) + one.get("RssShmem", 0) for one in more)


def _status(process: str) -> dict[str, int]:
    """Memory of a process by kind, in bytes; empty where the system does not report it, or the process has ended."""
    try:
        lines = (line.split() for line in Path("/proc", process, "status").read_text().splitlines())
        return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[2:] == ["kB"]}
    except OSError:
        return {}


def tune_allocator() -> None:
    """Have glibc keep the memory of photos in two heaps, which all threads share.

    With one a thread, what one frees no other can use. Blocks of a photo stay in a heap once they are freed, since fresh pages
    cost time. By itself glibc raises both bounds with the photos that come, to twice and four times these. Other C libraries
    have none.
    """
    _mallopt(_M_ARENA_MAX, 2)
    _fill_heaps()


@contextmanager
def mappings() -> Iterator[None]:
    """What a network allocates within the context lies in mappings of its own, but for its small blocks.

    They go back to the system with the network. Among photos in a heap they would leave holes, and it would grow with every
    network that is swapped.

    Yields:
        Nothing.
    """
    _mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
    try:
        yield
    finally:
        _fill_heaps()


def _fill_heaps() -> None:
    _mallopt(_M_MMAP_THRESHOLD, _HEAP_BYTES)
    _mallopt(_M_TRIM_THRESHOLD, _HEAP_BYTES)


def _mallopt(parameter: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError, TypeError):  # Windows names no library of its own
        ctypes.CDLL(None).mallopt(parameter, value)


def give_back() -> None:
    """Give back to the system what idle networks keep for their next picture, and what was freed.

    glibc keeps that for later, and a model that is gone is large. Other C libraries have no such call.
    """
    release()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # Windows names no library of its own
        ctypes.CDLL(None).malloc_trim(0)


async def give_back_now_and_then(
    begun: Callable[[], int], inside: Callable[[], int], seconds: float = REST_S, give: Callable[[], None] = give_back
) -> None:
    """Give what was freed back to the system each time that work has rested for a while, and now and then while it goes on;
    for ever.

    Args:
        begun: How many pieces of work have begun so far.
        inside: How many wait or run.
        seconds: How long none has begun and none is inside.
        give: Gives it back; blocks.
    """
    given = last = begun()
    busy = 0
    while True:
        await asyncio.sleep(seconds)
        now = begun()
        busy = busy + 1 if last != now else 0
        if last == now != given and not inside():
            given = now
            await asyncio.to_thread(give)
        elif busy == BUSY_LOOKS:
            busy = 0
            await asyncio.to_thread(give)
        last = now


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
                    raise NotReady
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
