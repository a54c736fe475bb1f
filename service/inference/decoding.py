"""Photos to pixels within a budget of memory and a deadline: what is simple here, all else in processes that can be ended."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from service.errors import DeadlineExceeded, NotReady, QueueFull
from service.inference.memory import MemoryBudget
from service.metrics import DECODER_CPU_SECONDS
from service.vision.decoder_process import DecoderEnded, DecoderProcess
from service.vision.image import DecodedImage, decode, is_simple, probe

logger = logging.getLogger("facet")


class PhotoDecoder:
    """Decodes on the caller's thread what costs little for its pixels, and the rest in one of `processes` processes.

    Processes start when they are needed, or with `start`. Where the system cannot lend them a socket all is decoded here.
    """

    def __init__(self, budget: MemoryBudget, processes: int) -> None:
        self._budget = budget
        self._most = processes if os.name == "posix" else 0
        self._idle: list[DecoderProcess] = []
        self._busy: list[DecoderProcess] = []
        self._closed = False
        self._changed = threading.Condition()

    @property
    def idle(self) -> tuple[int, ...]:
        """Process numbers of the decoders that wait for a photo, the next to be used last."""
        with self._changed:
            return tuple(process.pid for process in self._idle)

    @property
    def processes(self) -> tuple[int, ...]:
        """Process numbers of all decoders; without the lock, under which a process is started, for the event loop asks."""
        return tuple({process.pid for process in (*self._idle, *self._busy)})

    def start(self, count: int = 1) -> None:
        """Start processes now, for the photos to come.

        Args:
            count: How many are to be ready.
        """
        with self._changed:
            while len(self._idle) < min(count, self._most):
                self._idle.append(DecoderProcess())

    def decode(self, photo: bytes, *, max_pixels: int, side: int, deadline: float) -> DecodedImage:
        """As `image.decode`, in time and within the budget.

        Args:
            photo: Bytes of a file.
            max_pixels: Most pixels that are read.
            side: Longest side in pixels that will be looked at.
            deadline: A time of `time.monotonic`, in seconds.

        Returns:
            The upright photo.

        Raises:
            ImageError: It cannot be used, or takes more memory than there is.
            DeadlineExceeded: It was not decoded in time.
            QueueFull: The system lends no process to decode it, or ends those that do.
            NotReady: The service is shutting down.
        """
        if is_simple(photo) or not self._most:
            with self._budget.take(probe(photo, max_pixels=max_pixels, side=side).cost, deadline):
                return decode(photo, max_pixels=max_pixels, side=side)
        try:
            return self._decode_in_process(photo, max_pixels, side, deadline)
        except DecoderEnded as error:
            logger.warning("%s; its photo is tried once more", error)
            try:
                return self._decode_in_process(photo, max_pixels, side, deadline)
            except DecoderEnded as error:
                raise QueueFull("The system ends the processes that decode the photo.") from error

    def _decode_in_process(self, photo: bytes, max_pixels: int, side: int, deadline: float) -> DecodedImage:
        """As `decode`, in one of the processes. Raises `DecoderEnded` where somebody has ended it."""
        with self._process(deadline) as process:
            try:
                header = process.probe(photo, max_pixels=max_pixels, side=side, deadline=deadline)
                began = False
                try:
                    with self._budget.take(header.cost, deadline):
                        began = True
                        return process.decode(header, deadline)
                finally:
                    if not began:
                        process.forget()
            except Exception:
                if self._closed:  # it was ended under us
                    raise NotReady from None
                raise

    @contextmanager
    def _process(self, deadline: float) -> Iterator[DecoderProcess]:
        """One of the processes, for this thread alone."""
        with self._changed:
            free = self._changed.wait_for(
                lambda: self._closed or self._idle or len(self._busy) < self._most,
                timeout=min(threading.TIMEOUT_MAX, max(0.0, deadline - time.monotonic())),
            )
            if self._closed:
                raise NotReady
            if not free:
                raise DeadlineExceeded("The request's deadline passed while its photo waited for a decoder.")
            while self._idle and not self._idle[-1].alive:
                self._idle.pop().close()
                logger.warning("a process that decodes photos was ended while it waited for one")
            process = self._idle.pop() if self._idle else self._started()
            self._busy.append(process)
        try:
            yield process
        finally:
            with self._changed:
                self._busy.remove(process)
                DECODER_CPU_SECONDS.inc(process.spent())
                self._give_back(process)
                self._changed.notify()

    def _give_back(self, process: DecoderProcess) -> None:
        """Keep a process for the next photo; in the place of one that has ended another one starts while nobody waits."""
        if self._closed:
            process.close()
        elif process.alive:
            self._idle.append(process)
        else:
            process.close()
            with suppress(OSError):  # a process too many for the system; the next photo tries again
                self._idle.append(DecoderProcess())

    def _started(self) -> DecoderProcess:
        """Another process, for a photo that waits."""
        try:
            return DecoderProcess()
        except OSError as error:
            raise QueueFull("The system has no room for a process that decodes the photo.") from error

    def close(self) -> None:
        """End every process, whatever it does, and let nobody wait."""
        self._budget.close()
        with self._changed:
            self._closed = True
            for process in self._busy:
                process.kill()
            for process in self._idle:
                process.close()
            self._idle.clear()
            self._changed.notify_all()
