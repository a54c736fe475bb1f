"""Bounded places to work: a thread pool with a short queue, and a budget of pixels in flight."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from service.errors import DeadlineExceeded, QueueFull

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """Runs blocking calls on `threads` threads; at most `waiting` more calls may stand in line.

    AnyIO's shared pool of 40 threads would let 40 photos be decoded at once.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="photos")
        self._limit = threads + waiting
        self._threads = threads
        self._inside = 0

    @property
    def inside(self) -> int:
        """Calls that run or stand in line."""
        return self._inside

    @property
    def waiting(self) -> int:
        """Calls that stand in line."""
        return max(0, self._inside - self._threads)

    @property
    def rounds(self) -> float:
        """Calls that stand in line, for each thread: how many calls' time a new one waits."""
        return self.waiting / self._threads

    async def run(self, call: Callable[P, T], deadline: float, *args: P.args, **kwargs: P.kwargs) -> T:
        """Result of `call`; `deadline` is a time of the event loop's clock, in seconds.

        Raises `DeadlineExceeded` at once where the deadline has passed, `QueueFull` at once where the line is full, and
        `DeadlineExceeded` where the call had not begun by the deadline. A call that has begun runs to its end and keeps its
        place until then, whether or not the caller waits: only so is the pool's load known.
        """
        loop = asyncio.get_running_loop()
        if loop.time() > deadline:
            raise DeadlineExceeded("The request's deadline passed before its turn came.")
        if self._inside >= self._limit:
            raise QueueFull("As many photos are waiting as may wait.")

        def guarded() -> T:
            if loop.time() > deadline:
                raise DeadlineExceeded("The request's deadline passed while it waited.")
            return call(*args, **kwargs)

        self._inside += 1
        future = loop.run_in_executor(self._pool, guarded)
        future.add_done_callback(self._leave)
        return await asyncio.shield(future)

    def _leave(self, future: asyncio.Future[T]) -> None:
        self._inside -= 1
        if not future.cancelled():
            future.exception()  # looked at, so that a call whose caller has left is not reported as never retrieved

    def close(self) -> None:
        """Finish what has begun, drop what has not."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class PixelBudget:
    """At most `total` pixels are being decoded at any time, over all threads; a single larger photo goes alone.

    Decoding takes 4 to 12 bytes a pixel, so this bounds memory where a count of photos would not.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` fit, hold them, and give them back."""
        pixels = min(pixels, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._used + pixels <= self._total)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()
