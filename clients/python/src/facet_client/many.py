"""Many photos, several at a time: results in the order of the photos, each with its answer or its error."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from facet_client.errors import FacetClientError
from facet_client.models import Prediction
from facet_client.photo import Photo

T = TypeVar("T")

Progress = Callable[[int], None]
"""Is called with the number of photos that are done."""


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """What became of one photo: `prediction`, or `error`, which says why there is none; the other one is None.

    An error is that of the service, or an `OSError` of a file that cannot be read.
    """

    index: int
    photo: Photo
    prediction: Prediction | None = None
    error: FacetClientError | OSError | None = None


def in_threads(
    photos: Iterable[Photo], predict: Callable[[Photo], Prediction], concurrency: int, progress: Progress | None
) -> Iterator[PhotoResult]:
    """Predict photos on threads.

    Args:
        photos: Taken as they are needed.
        predict: Answers one photo.
        concurrency: Photos in work at a time, 1 or more.
        progress: Called after each photo.

    Yields:
        A result for each photo, in order.
    """

    def one(index: int, photo: Photo) -> PhotoResult:
        try:
            return PhotoResult(index, photo, prediction=predict(photo))
        except (FacetClientError, OSError) as error:
            return PhotoResult(index, photo, error=error)

    threads = ThreadPoolExecutor(concurrency, thread_name_prefix="facet")
    try:
        for future in _in_order(photos, lambda index, photo: threads.submit(one, index, photo), concurrency):
            yield _reported(future.result(), progress)
    finally:
        threads.shutdown(cancel_futures=True)


async def in_tasks(
    photos: Iterable[Photo], predict: Callable[[Photo], Awaitable[Prediction]], concurrency: int, progress: Progress | None
) -> AsyncIterator[PhotoResult]:
    """Predict photos in tasks.

    Args:
        photos: Taken as they are needed.
        predict: Answers one photo.
        concurrency: Photos in work at a time, 1 or more.
        progress: Called after each photo.

    Yields:
        A result for each photo, in order.
    """
    turns = asyncio.Semaphore(concurrency)
    tasks: set[asyncio.Task[PhotoResult]] = set()

    async def one(index: int, photo: Photo) -> PhotoResult:
        async with turns:
            try:
                return PhotoResult(index, photo, prediction=await predict(photo))
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


def _in_order(photos: Iterable[Photo], begin: Callable[[int, Photo], T], concurrency: int) -> Iterator[T]:
    """What `begin` returns for each photo, in order; no more than twice `concurrency` photos are begun and not yet yielded."""
    window: deque[T] = deque()
    for index, photo in enumerate(photos):
        if len(window) >= 2 * concurrency:
            yield window.popleft()
        window.append(begin(index, photo))
    while window:
        yield window.popleft()


def _reported(result: PhotoResult, progress: Progress | None) -> PhotoResult:
    """A result whose photo is counted as done."""
    if progress is not None:
        progress(result.index + 1)
    return result
