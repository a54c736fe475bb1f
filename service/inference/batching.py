"""Crops from many requests to one batch, and answers back to each; knows neither HTTP nor networks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from service.arrays import Floats, Pixels
from service.errors import DeadlineExceeded, InferenceError, ModelIncompatible, NotReady, QueueFull
from service.inference.fairness import RECENT_S, FairQueue
from service.inference.smoothing import SmoothedMean
from service.inference.workers import started_pool

SIZES: Final = (1, 2, 4, 8, 16)
"""Batches are padded to these, and all are run once at start, so that nothing is compiled while somebody waits. Batches of
32 cost as much a face, and hold 28 MB more.
"""

FIRST_GUESS_S: Final = 0.02
"""Seconds that a batch is taken to last while none has ended."""

FULL: Final = 0.75
"""Share of a batch that has to be crops and no padding; else what fills the next smaller one is run first."""

SHARED: Final = 8
"""Most crops of a batch while several clients ask and one of them has more waiting. It keeps the wait of the others short."""

Outputs = dict[str, Floats]
"""One face's outputs by name, without the batch axis."""
Run = Callable[[Pixels], Mapping[str, Floats]]


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    crop: Pixels
    deadline: float
    answer: asyncio.Future[Outputs]


def _most(waiting: int) -> int:
    """Crops of the next batch of so many: all, where they nearly fill one, or what fills one wholly."""
    size = next((size for size in SIZES if size >= waiting), SIZES[-1])
    return min(size, waiting) if waiting >= FULL * size else size // 2


class Batcher:
    """Gathers crops while a batch runs and runs what has gathered next: no crop waits for others that may not come.

    `run` takes uint8 [N, S, S, 3] and returns arrays whose first axis is N; it is called on one thread of its own. About
    `capacity` crops may wait: `submit` says whose are let in beyond that. `on_batch` is called with each batch's number of
    crops. Raises `NotEnoughMemory` where the system lends no thread.
    """

    def __init__(self, run: Run, capacity: int, on_batch: Callable[[int], None] | None = None) -> None:
        self._run = run
        self._capacity = capacity
        self._on_batch = on_batch
        self._waiting = FairQueue[_Item]()
        self._thread = started_pool(1, "network")
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._began: float | None = None
        self._mean = SmoothedMean(FIRST_GUESS_S)
        self._last_calls: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """Crops that wait for a batch."""
        return len(self._waiting)

    def busy_for(self) -> float:
        """Seconds that the current batch has been running.

        Returns:
            The time; 0 where none runs.
        """
        return 0.0 if self._began is None else asyncio.get_running_loop().time() - self._began

    @property
    def hung(self) -> bool:
        """Whether the batcher was closed while a batch would not end."""
        return self._closed and self._began is not None

    def warm(self, crop_size: int) -> None:
        """Run every batch size once, on grey crops; blocks.

        Args:
            crop_size: Side of a crop in pixels.

        Raises:
            ModelIncompatible: The network fails on a size; the batcher is of no use then.
        """
        for size in SIZES:
            try:
                self._thread.submit(self._run, np.full((size, crop_size, crop_size, 3), 128, np.uint8)).result()
            except Exception as error:  # whatever the runtime raises, such as where a network takes batches of one size alone
                self._thread.shutdown()
                raise ModelIncompatible(f"The network fails on {size} faces at a time.") from error

    @property
    def delay(self) -> float:
        """Seconds after which the crops that wait now should have run."""
        return (math.ceil(len(self._waiting) / SIZES[-1]) + 1) * self._mean.value

    async def submit(self, crops: Sequence[Pixels], deadline: float, client: str = "") -> list[Outputs]:
        """Wait for the network's outputs of some crops; clients take turns, crop by crop.

        A caller that is cancelled leaves the others of its batch untouched.

        Args:
            crops: uint8 RGB [S, S, 3] each; none gives no outputs.
            deadline: Time of the event loop's clock, in seconds, by which their batch has to begin.
            client: Whose turn they take.

        Returns:
            Outputs of each crop, in order.

        Raises:
            QueueFull: Others wait, the crops do not fit in the queue, which is twice as long for a client without any in it,
                and with those that wait already they are more than the client's share of it.
            DeadlineExceeded: Their turn did not come in time.
            InferenceError: The network failed, or its output is not finite.
            NotReady: The batcher is closed.
        """
        if self._closed:
            raise NotReady
        own, total = self._waiting.depth(client), len(self._waiting)
        share = self._capacity // (self._waiting.clients + 1)
        if total and total + len(crops) > self._capacity * (1 if own else 2) and own + len(crops) > share:
            raise QueueFull("Too many faces are waiting.", self.delay)
        loop = asyncio.get_running_loop()
        if crops:
            now = loop.time()
            self._last_calls = {one: asked for one, asked in self._last_calls.items() if now - asked < RECENT_S} | {client: now}
        items = [_Item(crop, deadline, loop.create_future()) for crop in crops]
        for item in items:
            self._waiting.push(client, item)
        if items and (self._task is None or self._task.done()):
            self._task = loop.create_task(self._work())
        try:
            if items:
                await asyncio.wait([item.answer for item in items])
        finally:
            for item in items:  # cancelled where the caller left; its error retrieved where it failed
                if item.answer.cancel():
                    self._waiting.remove(client, item)
                else:
                    item.answer.exception()
        return [item.answer.result() for item in items]

    async def _work(self) -> None:
        """Run batches until none waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next_batch(loop.time())
            if not batch:
                continue
            if self._on_batch is not None:
                self._on_batch(len(batch))
            self._began = loop.time()
            try:
                outputs = await loop.run_in_executor(self._thread, self._answers, [item.crop for item in batch])
            except Exception as error:  # noqa: BLE001 - whatever a network raises fails its own batch, and the next one runs
                message = str(error) if isinstance(error, InferenceError) else "The network failed."
                for item in batch:
                    if not item.answer.done():
                        failure = InferenceError(message)  # one each: a traceback grows where it is raised
                        failure.__cause__ = error
                        item.answer.set_exception(failure)
            else:
                for item, output in zip(batch, outputs, strict=True):
                    if not item.answer.done():
                        item.answer.set_result(output)
            finally:
                self._mean.add(loop.time() - self._began)
                self._began = None

    def _next_batch(self, now: float) -> list[_Item]:
        """The oldest crops of each client in turn, those that somebody still waits for, in time."""
        batch: list[_Item] = []
        longest = self._waiting.longest()
        crowded = len(self._last_calls) > 1 and longest is not None and self._waiting.depth(longest) > SHARED
        most = SHARED if crowded else _most(len(self._waiting))
        while len(batch) < most and (found := self._waiting.pop()) is not None:
            client, item = found
            if item.answer.done():
                continue
            if now > item.deadline:
                item.answer.set_exception(DeadlineExceeded("The request's deadline passed while its faces waited.", self.delay))
                continue
            self._waiting.charge(client, 1)
            batch.append(item)
        return batch

    def _answers(self, crops: Sequence[Pixels]) -> list[Outputs]:
        """Pad, run, check, and cut the outputs apart; on the network's thread."""
        count = len(crops)
        size = next(size for size in SIZES if size >= count)
        outputs = self._run(np.stack([*crops, *[crops[-1]] * (size - count)]))
        if not all(np.isfinite(values[:count]).all() for values in outputs.values()):
            raise InferenceError("The network's answer is not a number.")
        return [{name: values[row] for name, values in outputs.items()} for row in range(count)]

    async def close(self, grace: float = 30.0) -> None:
        """Take no more and finish what waits.

        Args:
            grace: Most seconds to wait for it: a network may hang.
        """
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=grace)
        self._thread.shutdown(wait=self._began is None, cancel_futures=True)
