"""A thread pool with a bounded queue, shared by client, which measures how late its calls are."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, ParamSpec, TypeVar

from service.errors import DeadlineExceeded, NotEnoughMemory, NotReady, QueueFull
from service.inference.fairness import RECENT_S, REMEMBERED, FairQueue
from service.inference.smoothing import SmoothedMean

P = ParamSpec("P")
T = TypeVar("T")

FIRST_GUESS_S: Final = 0.1
"""Seconds that a call is taken to last while none has ended."""
LONG: Final = 2.0
"""Times the shortest mean of the clients that ask now, above which a client's calls are long."""
SHORT_QUEUE: Final = 4
"""Calls that may wait for each thread, however long they take: the mean of a few slow ones must not turn away a few more."""


@dataclass(slots=True, eq=False)
class _Call(Generic[T]):
    """A call that waits or runs, and the answer that its caller waits for."""

    client: str
    call: Callable[[], T]
    deadline: float
    answer: asyncio.Future[T]


@dataclass(slots=True)
class _ClientLoad:
    """Mean seconds of a client's calls, and when its last one came, on the event loop's clock."""

    seconds: SmoothedMean
    last_call: float


class Workers:
    """Runs blocking calls on `threads` threads; at most `waiting` more calls wait, and none that would wait longer than
    `wait_s` by the mean of the last ones. A queue of a fixed length is too long where calls are slow: every answer waits for
    all of it, and no more are given for that.

    Clients share the queue. The next call is of the client whose calls have taken the least time. Where the queue is full, the
    client with most calls in it loses the last of them to one with fewer. Long calls never hold every thread while another
    client makes short ones. AnyIO's shared pool has many more threads than photos may be decoded at once. Raises
    `NotEnoughMemory` where the system does not lend so many threads.
    """

    def __init__(self, threads: int, waiting: int, wait_s: float = math.inf) -> None:
        self._pool = started_pool(threads, "photos")
        self.threads, self._places, self._wait_s = threads, waiting, wait_s
        self._queue = FairQueue[_Call[Any]]()
        self._running: list[_Call[Any]] = []
        self._busy: set[_Call[Any]] = set()
        self._loads: dict[str, _ClientLoad] = {}
        self._mean = SmoothedMean(FIRST_GUESS_S)
        self._closed = False
        self.begun = 0

    @property
    def inside(self) -> int:
        """Calls that run or wait."""
        return self.waiting + len(self._running)

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._queue)

    @property
    def rounds(self) -> float:
        """Calls that wait, for each thread: how many calls' time a new one waits."""
        return self.waiting / self.threads

    @property
    def delay(self) -> float:
        """Seconds after which what waits now should be done."""
        return self.inside * self._mean.value / self.threads

    @property
    def full(self) -> bool:
        """Whether no more calls may wait; where a thread is free, those that do are held back."""
        if len(self._running) < self.threads and not self.waiting:
            return False
        return self.waiting >= self._places or (self.waiting >= SHORT_QUEUE * self.threads and self.delay > self._wait_s)

    def require_place(self, client: str) -> None:
        """Refuse a client that `run_for` would refuse now, before anything is done for it.

        Args:
            client: Who is about to ask.

        Raises:
            QueueFull: The queue is full, and no client has more calls in it than this one would have.
        """
        if self.full:
            self._outnumbering(client)

    async def run_for(self, client: str, call: Callable[P, T], deadline: float, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call on a thread, on a client's account.

        A call that has begun runs to its end and keeps its thread, whether or not the caller waits: only so is the pool's load
        known. One that has not begun leaves the queue with its caller.

        Args:
            client: Who asks.
            call: What blocks.
            deadline: Time of the event loop's clock, in seconds, by which it has to begin.
            args: Passed to `call`.
            kwargs: Passed to `call`.

        Returns:
            The call's result.

        Raises:
            DeadlineExceeded: The call has not begun by its deadline.
            QueueFull: The queue is full, or the call lost its place in it to a client with fewer calls.
            NotReady: The pool is closed.
            Exception: Whatever `call` raises.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now > deadline:
            raise DeadlineExceeded("The request's deadline passed before its turn came.", self.delay)
        if self._closed:
            raise NotReady
        if self.full:
            self._make_room(client)
        entry = _Call(client, partial(copy_context().run, partial(call, *args, **kwargs)), deadline, loop.create_future())
        load = self._loads.setdefault(client, _ClientLoad(SmoothedMean(self._mean.value), now))
        load.last_call = now
        self._queue.push(client, entry)
        self._start(loop)
        try:
            return await asyncio.shield(entry.answer)
        finally:
            if not entry.answer.done():  # the caller has left
                self._queue.remove(client, entry)
                entry.answer.add_done_callback(retrieve)

    def _make_room(self, client: str) -> None:
        """Free a place for a client, at the cost of who has most. Raises `QueueFull` where nobody has more than it would."""
        displaced = self._queue.take_last(self._outnumbering(client))
        if not displaced.answer.done():
            displaced.answer.set_exception(
                QueueFull("The queue is full, and other clients have fewer photos in it.", self.delay)
            )

    def _outnumbering(self, client: str) -> str:
        """The client with most calls that wait. Raises `QueueFull` where it has no more than `client` would have."""
        longest = self._queue.longest()
        if longest is None or self._queue.depth(longest) <= self._queue.depth(client) + 1:
            raise QueueFull("Too many photos are waiting.", self.delay)
        return longest

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let calls begin while a thread is free and one may."""
        now = loop.time()
        while len(self._running) < self.threads and not self._closed:
            found = self._queue.pop(self._held_back(now))
            if found is None:
                return
            client, entry = found
            if entry.answer.done():
                continue
            if now > entry.deadline:
                entry.answer.set_exception(DeadlineExceeded("The request's deadline passed while it waited.", self.delay))
                continue
            self._running.append(entry)
            self.begun += 1
            guess = self._loads[client].seconds.value
            self._queue.charge(client, guess)
            future = loop.run_in_executor(self._pool, self._call, entry)
            future.add_done_callback(partial(self._end, loop, entry, now, guess))

    def _call(self, entry: _Call[T]) -> T:
        """Make a call, on a thread of the pool; that it runs is known there, where no event loop needs to turn."""
        self._busy.add(entry)
        try:
            return entry.call()
        finally:
            self._busy.discard(entry)

    def _held_back(self, now: float) -> Callable[[str], bool]:
        """Clients whose calls may not begin now: those of long calls, where such hold all threads but one, and another client
        has asked for short ones of late.
        """
        recent = [load.seconds.value for load in self._loads.values() if now - load.last_call < RECENT_S]
        if not recent:  # whoever has calls here is alone
            return lambda _: False
        long = LONG * min(recent)
        busy = sum(self._loads[entry.client].seconds.value > long for entry in self._running)
        if self.threads == 1 or busy < self.threads - 1:
            return lambda _: False
        return lambda client: self._loads[client].seconds.value > long

    def _end(
        self, loop: asyncio.AbstractEventLoop, entry: _Call[T], began: float, guess: float, future: asyncio.Future[T]
    ) -> None:
        self._running.remove(entry)
        seconds = loop.time() - began
        self._queue.charge(entry.client, seconds - guess)
        self._mean.add(seconds)
        load = self._loads[entry.client]
        load.seconds.add(seconds)
        if len(self._loads) > REMEMBERED:
            self._forget(loop.time())
        if not entry.answer.done():
            if future.cancelled():
                entry.answer.cancel()
            elif (error := future.exception()) is not None:
                entry.answer.set_exception(error)
            else:
                entry.answer.set_result(future.result())
        else:  # its caller has left
            retrieve(future)
        self._start(loop)

    def _forget(self, now: float) -> None:
        """Drop the loads of clients without a recent call and without anything here."""
        here = {entry.client for entry in self._running}
        self._loads = {
            client: load
            for client, load in self._loads.items()
            if client in here or self._queue.depth(client) or now - load.last_call < RECENT_S
        }

    def overdue(self, now: float) -> float:
        """How late the latest of the calls that run is.

        Args:
            now: A time of the event loop's clock, in seconds.

        Returns:
            Seconds since its deadline; 0 or less where no call is late.
        """
        return max((now - entry.deadline for entry in tuple(self._running)), default=0.0)

    @property
    def hung(self) -> bool:
        """Whether the pool was closed while a call would not end."""
        return self._closed and bool(self._busy)

    async def close(self, grace: float = 30.0) -> None:
        """Finish what has begun and drop what has not; on the event loop, where callers leave the queue, too.

        Args:
            grace: Seconds to wait for what has begun.
        """
        self._closed = True
        for entry in self._queue.drain():
            entry.answer.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        ends = time.monotonic() + grace
        while self._busy and time.monotonic() < ends:  # noqa: ASYNC110 - it is the threads that end
            await asyncio.sleep(0.005)


def started_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool whose threads run from the start: by itself it asks for each one when a call needs it.

    A system that is at its limit of processes lends none then. The call fails, and the pool still holds it.

    Args:
        threads: How many.
        name: What their names begin with.

    Returns:
        The pool.

    Raises:
        NotEnoughMemory: The system does not lend so many.
    """
    pool, all_run = ThreadPoolExecutor(threads, thread_name_prefix=name), threading.Event()
    try:
        for _ in range(threads):
            pool.submit(all_run.wait)
    except RuntimeError as error:
        pool.shutdown(wait=False)
        message = f"The system lends fewer than {threads} threads for {name}; raise its limit of processes."
        raise NotEnoughMemory(message) from error
    finally:
        all_run.set()
    return pool


def retrieve(answer: asyncio.Future[Any]) -> None:
    """Look at an answer's error, so that one which nobody waits for is not reported as never retrieved.

    Args:
        answer: A future that is done.
    """
    if not answer.cancelled():
        answer.exception()
