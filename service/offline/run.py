"""Photos through a predictor, several at a time, their outcomes in order; what is held does not grow with their number."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from service.offline.predictors import Predictor
from service.offline.sources import Photo
from service.offline.table import Failure, Outcome

BYTES: Final = 128 * 2**20
"""Bytes of files that are held at a time; a larger one is held alone."""
AHEAD: Final = 4
"""Photos under way or answered, for each that is in work: so many may be done while an earlier one takes long."""


async def run(
    photos: Iterator[Photo],
    predictor: Predictor,
    emit: Callable[[Photo, Outcome], None],
    *,
    jobs: int,
    skip: Callable[[Photo], bool] = lambda _: False,
) -> None:
    """Answer every photo, `jobs` at a time.

    Args:
        photos: Read as they are needed, on a thread.
        predictor: What answers them.
        emit: Takes each photo's outcome, in the order of the photos, on a thread.
        jobs: Photos in work at a time, 1 or more.
        skip: Whether a photo is passed over.

    Raises:
        RunError: The sources or the predictor fail as a whole.
        OSError: `emit` cannot write.
        Exception: Whatever else `emit` raises; no photo is begun after it.
    """
    turns = asyncio.Semaphore(jobs)
    window: deque[tuple[Photo, asyncio.Task[Outcome]]] = deque()

    async def one(photo: Photo) -> Outcome:
        async with turns:
            try:
                data = await asyncio.to_thread(photo.read)
            except OSError as error:
                return Failure("unreadable", error.strerror or str(error))
            return await predictor.predict(photo.name, data)

    def advance() -> Photo | None:
        return next((photo for photo in photos if not skip(photo)), None)

    async def emit_first() -> int:
        photo, task = window.popleft()
        outcome = await task
        await asyncio.to_thread(emit, photo, outcome)
        return photo.size

    held = 0
    try:
        while (photo := await asyncio.to_thread(advance)) is not None:
            while len(window) >= AHEAD * jobs or (window and held + photo.size > BYTES):
                held -= await emit_first()
            held += photo.size
            window.append((photo, asyncio.create_task(one(photo))))
        while window:
            held -= await emit_first()
    finally:
        tasks = [task for _, task in window]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
