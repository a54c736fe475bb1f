"""Photos through a predictor, several at a time, their outcomes in order; what is held does not grow with their number."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from typing_extensions import override

from service.offline.predictors import NOT_AWAITED, Predictor, ServedModel
from service.offline.sources import Photo, Place, photos
from service.offline.table import Failure, Outcome

BYTES: Final = 128 * 2**20
"""Bytes of files that are held at a time; a larger one is held alone."""
AHEAD: Final = 4
"""Photos under way or answered, for each that is in work: so many may be done while an earlier one takes long."""
THREADS: Final = 8
"""Threads beside those of the jobs: for what is written, and for pictures."""

Emit = Callable[[str, Outcome], None]
"""Takes a photo's name and its outcome."""


def jobs_of(photos_at_once: int) -> int:
    """Photos in work that keep an engine busy: while some are computed, others are read.

    Args:
        photos_at_once: Photos that the engine computes at a time.

    Returns:
        Their number.
    """
    return 2 * photos_at_once + 2


class Runner(Protocol):
    """Answers the photos of a run."""

    @property
    def model(self) -> ServedModel:
        """The model that answers now."""

    def run(self, places: Iterable[Place], emit: Emit, skip: Callable[[str], bool] = lambda _: False) -> None:
        """Answer every photo of some places; blocks.

        Args:
            places: Where the photos are.
            emit: Takes each photo's outcome, in the order of the photos.
            skip: Whether the photo of a name is passed over.

        Raises:
            RunError: The sources or what answers fail as a whole.
            OSError: `emit` cannot write.
            Exception: Whatever else `emit` raises; no photo is begun after it.
        """

    def close(self) -> None:
        """Let go of everything; a second time does nothing."""


class PredictorRunner(Runner):
    """Sends `jobs` photos at a time to one predictor, from this process."""

    def __init__(self, predictor: Predictor, jobs: int) -> None:
        self._predictor, self._jobs = predictor, jobs

    @property
    def model(self) -> ServedModel:
        """The predictor's."""
        return self._predictor.model

    @override
    def run(self, places: Iterable[Place], emit: Emit, skip: Callable[[str], bool] = lambda _: False) -> None:
        async def whole() -> None:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(self._jobs + THREADS))
            try:
                await run(photos(places), self._predictor, emit, jobs=self._jobs, skip=skip)
            finally:
                await self._predictor.close()

        asyncio.run(interruptible(whole()))

    @override
    def close(self) -> None:
        asyncio.run(self._predictor.close())


async def interruptible(work: Coroutine[Any, Any, None]) -> None:
    """Do some work that Ctrl-C ends between two steps of the event loop, and a second one at once.

    What `asyncio.run` does by itself cancels in the midst of a step: where a result is just being set, that fails with a
    traceback.

    Args:
        work: What is awaited.

    Raises:
        KeyboardInterrupt: Ctrl-C came.
        Exception: Whatever the work raises.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    presses = 0

    def interrupt() -> None:
        nonlocal presses
        presses += 1
        if presses > 1:
            raise KeyboardInterrupt
        task.cancel()

    own = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    if own:
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if presses:
            raise KeyboardInterrupt from None
        raise


async def run(
    photos: Iterator[Photo],
    predictor: Predictor,
    emit: Emit,
    *,
    jobs: int,
    skip: Callable[[str], bool] = lambda _: False,
) -> None:
    """Answer every photo, `jobs` at a time.

    Args:
        photos: Read as they are needed, on a thread.
        predictor: What answers them.
        emit: Takes each photo's outcome, in the order of the photos, on a thread.
        jobs: Photos in work at a time, 1 or more.
        skip: Whether the photo of a name is passed over.

    Raises:
        RunError: The sources or the predictor fail as a whole.
        OSError: `emit` cannot write.
        Exception: Whatever else `emit` raises; no photo is begun after it.
    """
    loop, turns = asyncio.get_running_loop(), asyncio.Semaphore(jobs)
    # Of their own: a pipe or a network may never answer, and the end waits for no reading.
    readers = ThreadPoolExecutor(jobs + 1, NOT_AWAITED)
    window: deque[tuple[Photo, asyncio.Task[Outcome]]] = deque()

    async def one(photo: Photo) -> Outcome:
        async with turns:
            try:
                data = await loop.run_in_executor(readers, photo.read)
            except OSError as error:
                return Failure("unreadable", error.strerror or str(error))
            return await predictor.predict(photo.name, data)

    def advance() -> Photo | None:
        return next((photo for photo in photos if not skip(photo.name)), None)

    async def emit_first() -> int:
        photo, task = window.popleft()
        outcome = await task
        await asyncio.to_thread(emit, photo.name, outcome)
        return photo.size

    held = 0
    reading: asyncio.Future[Photo | None] | None = None
    try:
        while True:
            reading = loop.run_in_executor(readers, advance)
            while not reading.done():  # a list may come slowly: what is answered meanwhile is not kept back
                awaited: list[asyncio.Future[Any]] = [reading, *(task for _, task in itertools.islice(window, 1))]
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if window and window[0][1].done():
                    held -= await emit_first()
            if (photo := reading.result()) is None:
                break
            while len(window) >= AHEAD * jobs or (window and held + photo.size > BYTES):
                held -= await emit_first()
            held += photo.size
            window.append((photo, asyncio.create_task(one(photo))))
        while window:
            held -= await emit_first()
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
        tasks: list[asyncio.Future[Any]] = [*(task for _, task in window), *([] if reading is None else [reading])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def still_waiting() -> bool:
    """Whether a thread still waits for a list, a photo or a service of a run that has ended: the interpreter's end would wait
    for it.

    Returns:
        Whether there is one.
    """
    return any(thread.name.startswith(NOT_AWAITED) for thread in threading.enumerate())
