"""Many photos, several at a time: results in the order of the photos, each with its answer or its error."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

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


def check(photos: Iterable[Photo] | AsyncIterable[Photo], concurrency: int) -> None:
    """Refuse arguments of `predict_many` that cannot be meant.

    Args:
        photos: Any iterable of photos.
        concurrency: Photos in work at a time.

    Raises:
        TypeError: `photos` is the name of one, whose letters would be taken for photos.
        ValueError: `concurrency` is below 1.
    """
    if isinstance(photos, str | bytes | bytearray | memoryview):
        raise TypeError("`predict_many` takes several photos; put a single one into a list.")
    if concurrency < 1:
        raise ValueError("`concurrency` is 1 or more.")


def in_threads(
    photos: Iterable[Photo],
    predict: Callable[[bytes], Prediction],
    concurrency: int,
    progress: Progress | None,
    *,
    retrying: bool,
) -> Iterator[PhotoResult]:
    """Predict photos on threads.

    Args:
        photos: Taken as they are needed.
        predict: Answers one photo.
        concurrency: Photos in work at a time, 1 or more.
        progress: Called after each photo.
        retrying: Whether photos are sent again while the service refuses them or is not reached.

    Yields:
        A result for each photo, in order.
    """
    stopped, outage = threading.Event(), _Outage(retrying=retrying)

    def one(index: int, photo: Photo) -> PhotoResult:
        try:
            data = bytes_of(photo)
            while True:
                try:
                    prediction = predict(data)
                except FacetClientError as error:
                    wait = outage.pause(error)
                    if wait is None or stopped.wait(wait):
                        raise
                else:
                    outage.end()
                    return PhotoResult(index, photo, prediction=prediction)
        except (FacetClientError, OSError) as error:
            return PhotoResult(index, photo, error=error)

    threads = ThreadPoolExecutor(concurrency, thread_name_prefix="facet")
    window: deque[Future[PhotoResult]] = deque()
    try:
        for index, photo in enumerate(photos):
            if _due(window, concurrency):
                yield _reported(window.popleft().result(), progress)
            window.append(threads.submit(one, index, photo))
        while window:
            yield _reported(window.popleft().result(), progress)
    finally:
        stopped.set()
        threads.shutdown(cancel_futures=True)


async def in_tasks(
    photos: Iterable[Photo] | AsyncIterable[Photo],
    predict: Callable[[bytes], Awaitable[Prediction]],
    concurrency: int,
    progress: Progress | None,
    *,
    retrying: bool,
) -> AsyncIterator[PhotoResult]:
    """Predict photos in tasks.

    Args:
        photos: Taken as they are needed.
        predict: Answers one photo.
        concurrency: Photos in work at a time, 1 or more.
        progress: Called after each photo.
        retrying: Whether photos are sent again while the service refuses them or is not reached.

    Yields:
        A result for each photo, in order.
    """
    turns, outage = asyncio.Semaphore(concurrency), _Outage(retrying=retrying)

    async def one(index: int, photo: Photo) -> PhotoResult:
        async with turns:
            try:
                return PhotoResult(index, photo, prediction=await _answered(photo, predict, outage))
            except (FacetClientError, OSError) as error:
                return PhotoResult(index, photo, error=error)

    async def first() -> PhotoResult:
        result = await window[0]
        window.popleft()
        return _reported(result, progress)

    window: deque[asyncio.Task[PhotoResult]] = deque()
    numbers = itertools.count()
    try:
        async for photo in photos if isinstance(photos, AsyncIterable) else _each(photos):
            if _due(window, concurrency):
                yield await first()
            window.append(asyncio.create_task(one(next(numbers), photo)))
        while window:
            yield await first()
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


class _Outage:
    """For how long no photo has been answered: all photos of a call share it, so that they do not wait one after the other.

    Nothing is sent again where `retrying` is false.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, retrying: bool = True) -> None:
        self._clock, self._retrying = clock, retrying
        self._began: float | None = None

    def end(self) -> None:
        """A photo was answered."""
        self._began = None

    def pause(self, error: FacetClientError) -> float | None:
        """Seconds after which a photo is sent again that failed by `error`; None where it is not."""
        if not self._retrying:
            return None
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


async def _answered(photo: Photo, predict: Callable[[bytes], Awaitable[Prediction]], outage: _Outage) -> Prediction:
    """The answer to a photo, which is read once and sent until it is answered or fails for good."""
    data = await asyncio.to_thread(bytes_of, photo)
    while True:
        try:
            prediction = await predict(data)
        except FacetClientError as error:
            wait = outage.pause(error)
            if wait is None:
                raise
            await asyncio.sleep(wait)
        else:
            outage.end()
            return prediction


def _due(window: Sequence[Future[PhotoResult]] | Sequence[asyncio.Task[PhotoResult]], concurrency: int) -> bool:
    """Whether the first of the photos that are begun is yielded before another one is begun.

    No more than twice `concurrency` are begun and not yet yielded. What is done does not wait for so many: photos may be slow.
    """
    return bool(window) and (len(window) >= 2 * concurrency or window[0].done())


async def _each(photos: Iterable[Photo]) -> AsyncIterator[Photo]:
    for photo in photos:
        yield photo


def _reported(result: PhotoResult, progress: Progress | None) -> PhotoResult:
    """A result whose photo is counted as done."""
    if progress is not None:
        progress(result.index + 1)
    return result
