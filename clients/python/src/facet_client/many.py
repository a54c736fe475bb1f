"""Many photos, several at a time: results in the order of the photos, each with its answer or its error."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from facet_client.errors import ConnectionFailed, FacetClientError, UnavailableError
from facet_client.models import Prediction
from facet_client.photo import Photo, bytes_of

Progress = Callable[[int], None]
"""Is called with the number of photos that are done."""

REFUSED: Final = frozenset({429, 503})
"""Statuses by which a service asks to be left alone for a while."""
REFUSED_S: Final = 600.0
"""Seconds for which photos are sent again while the service refuses all of them."""
UNREACHED_S: Final = 60.0
"""Seconds for which they are while it is not reached: longer than one takes to start."""


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """What became of one photo: `prediction`, or `error`, which says why there is none; the other one is None.

    An error is that of the service, or an `OSError` of a file that cannot be read.
    """

    index: int
    photo: Photo
    prediction: Prediction | None = None
    error: FacetClientError | OSError | None = None


class _Begun(Protocol):
    """Work on a photo that was begun: a future or a task."""

    def done(self) -> bool:
        """Whether it is over."""
        ...


B = TypeVar("B", bound=_Begun)


def check(photos: Iterable[Photo], concurrency: int) -> None:
    """Refuse arguments of `predict_many` that cannot be meant.

    Args:
        photos: Any iterable of photos.
        concurrency: Photos in work at a time.

    Raises:
        TypeError: `photos` is the name of one, whose letters would be taken for photos.
        ValueError: `concurrency` is below 1.
    """
    if isinstance(photos, str | bytes):
        raise TypeError("`predict_many` takes several photos; put a single one into a list.")
    if concurrency < 1:
        raise ValueError("`concurrency` is 1 or more.")


def in_threads(
    photos: Iterable[Photo],
    predict: Callable[[bytes], Prediction],
    concurrency: int,
    progress: Progress | None,
    *,
    patient: bool,
) -> Iterator[PhotoResult]:
    """Predict photos on threads.

    Args:
        photos: Taken as they are needed.
        predict: Answers one photo.
        concurrency: Photos in work at a time, 1 or more.
        progress: Called after each photo.
        patient: Whether photos are sent again while the service refuses them or is not reached.

    Yields:
        A result for each photo, in order.
    """
    left, outage = threading.Event(), _Outage()

    def one(index: int, photo: Photo) -> PhotoResult:
        try:
            data = bytes_of(photo)
            while True:
                try:
                    prediction = predict(data)
                except FacetClientError as error:
                    wait = outage.pause(error) if patient else None
                    if wait is None or left.wait(wait):
                        raise
                else:
                    outage.end()
                    return PhotoResult(index, photo, prediction=prediction)
        except (FacetClientError, OSError) as error:
            return PhotoResult(index, photo, error=error)

    threads = ThreadPoolExecutor(concurrency, thread_name_prefix="facet")
    try:
        for future in _in_order(photos, lambda index, photo: threads.submit(one, index, photo), concurrency):
            yield _reported(future.result(), progress)
    finally:
        left.set()
        threads.shutdown(cancel_futures=True)


async def in_tasks(
    photos: Iterable[Photo],
    predict: Callable[[bytes], Awaitable[Prediction]],
    concurrency: int,
    progress: Progress | None,
    *,
    patient: bool,
) -> AsyncIterator[PhotoResult]:
    """Predict photos in tasks.

    Args:
        photos: Taken as they are needed.
        predict: Answers one photo.
        concurrency: Photos in work at a time, 1 or more.
        progress: Called after each photo.
        patient: Whether photos are sent again while the service refuses them or is not reached.

    Yields:
        A result for each photo, in order.
    """
    turns, outage = asyncio.Semaphore(concurrency), _Outage()
    tasks: set[asyncio.Task[PhotoResult]] = set()

    async def answered(photo: Photo) -> Prediction:
        data = await asyncio.to_thread(bytes_of, photo)
        while True:
            try:
                prediction = await predict(data)
            except FacetClientError as error:
                wait = outage.pause(error) if patient else None
                if wait is None:
                    raise
                await asyncio.sleep(wait)
            else:
                outage.end()
                return prediction

    async def one(index: int, photo: Photo) -> PhotoResult:
        async with turns:
            try:
                return PhotoResult(index, photo, prediction=await answered(photo))
            except (FacetClientError, OSError) as error:
                return PhotoResult(index, photo, error=error)

    def begin(index: int, photo: Photo) -> asyncio.Task[PhotoResult]:
        task = asyncio.create_task(one(index, photo))
        tasks.add(task)
        return task

    try:
        for task in _in_order(photos, begin, concurrency):
            result = await task
            tasks.remove(task)
            yield _reported(result, progress)
    finally:
        left = tuple(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class _Outage:
    """For how long no photo has been answered: all photos of a call share it, so that they do not wait one after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None

    def end(self) -> None:
        """A photo was answered."""
        self._began = None

    def pause(self, error: FacetClientError) -> float | None:
        """Seconds after which a photo is sent again that failed by `error`; None where it is not."""
        began = self._began
        if began is None:
            began = self._began = self._clock()
        spent = self._clock() - began
        if isinstance(error, UnavailableError) and error.status in REFUSED:
            wait = error.retry_after or 1
            return wait if spent + wait < REFUSED_S else None
        if isinstance(error, ConnectionFailed):
            return 1 if not error.sent and spent < UNREACHED_S else None
        self.end()
        return None


def _in_order(photos: Iterable[Photo], begin: Callable[[int, Photo], B], concurrency: int) -> Iterator[B]:
    """What `begin` returns for each photo, in order; no more than twice `concurrency` photos are begun and not yet yielded.

    What is done does not wait for a full window: `photos` may come slowly.
    """
    window: deque[B] = deque()
    for index, photo in enumerate(photos):
        if window and (len(window) >= 2 * concurrency or window[0].done()):
            yield window.popleft()
        window.append(begin(index, photo))
    while window:
        yield window.popleft()


def _reported(result: PhotoResult, progress: Progress | None) -> PhotoResult:
    """A result whose photo is counted as done."""
    if progress is not None:
        progress(result.index + 1)
    return result
