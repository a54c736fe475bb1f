"""Another version of the model in the place of the one in service: tried beside it, then swapped between two requests."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Final, Literal, TypeVar

from service import metrics
from service.errors import (
    DeadlineExceeded,
    FacetError,
    GoldenMismatch,
    ImageTooLarge,
    InvalidParameter,
    ModelError,
    ModelIncompatible,
    ModelNotFound,
    ModelRefused,
    NotEnoughMemory,
    NotReady,
    StoreUnreachable,
)
from service.inference.batching import Batcher
from service.inference.engine import Engine, allowed
from service.inference.memory import MIB, MemoryBudget, give_back, mappings
from service.models.runtime import Loader, Precision
from service.models.store import Model, ModelStore

logger = logging.getLogger("facet")

BESIDE_BYTES: Final = 64 * MIB
"""What a network takes while it is warmed, beside its weights."""
WEIGHTS: Final = 4
"""Bytes in memory for each byte of a model's files, whose weights are of 16 bits, while it is loaded."""
MEMORY_S: Final = 30.0
"""Seconds to wait until photos have given back the memory that a second model takes."""
RETIRE_S: Final = 0.05
"""Seconds between two checks of whether a model that was replaced is still in use."""

Outcome = Literal["swapped", "unchanged"]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class ModelSource:
    """The attribute model that is configured, in any version."""

    store: ModelStore
    name: str
    version: int | None
    """The one that is configured; None for the newest."""
    digest: str | None
    """SHA-256 of the only manifest that is served, or of the document of `variant`; None for any."""
    attributes: Sequence[str] | None
    """Those that the operator allows; None for all."""
    face_queue: int
    """How many faces may wait."""
    quick: Loader
    """Reads a network as it is to run."""
    exact: Loader | None
    """Reads it in float32, where `quick` gives wrong answers; None where that is not to be tried."""
    budget: MemoryBudget
    """That of photos, which make room for a second model."""
    variant: str | None = None
    """Arithmetic of the variant that is served; None for the model itself."""
    int8: Loader | None = None
    """Reads a variant that loses nothing, which is served where there is one; None where that is not to be tried."""

    def load(self, version: int | None) -> Model:
        """Load a version, verify it and hold it to its golden answers; blocks.

        Where the precision is left to Facet, it is the int8 variant that loses nothing, and float32 where this CPU's bfloat16
        gives wrong answers. A pinned digest is that of the manifest, which does not hold a variant's files: then it is none.

        Args:
            version: Of the model; None for the newest.

        Returns:
            The model.

        Raises:
            ModelError: It is refused.
        """
        lossless = self._lossless(version)
        try:
            if self.int8 is not None and lossless is not None:
                return self._loaded_in_int8(version, self.int8, lossless)
        except GoldenMismatch as error:
            logger.info("%s This CPU has no exact int8 (VNNI); faces are judged in another arithmetic", error)
        except ModelIncompatible as error:
            logger.warning("%s The int8 variant of %s is not served", error, self.name)
        except StoreUnreachable as error:
            logger.warning("%s The int8 variant of %s is not served until the next reload", error, self.name)
            lossless = None
        try:
            model = self.store.load(self.name, version, self.quick, digest=self.digest, variant=self.variant)
        except GoldenMismatch as error:
            if self.exact is None:
                raise
            model = self.store.load(self.name, version, self.exact, digest=self.digest)
            logger.warning("%s This CPU's quick arithmetic is wrong; serving in f32, which is slower", error)
        return dataclasses.replace(model, variant=lossless)

    def _lossless(self, version: int | None) -> str | None:
        """SHA-256 of the document of the int8 variant that loses nothing; None where there is none that may be served."""
        if self.int8 is None or self.digest is not None:
            return None
        try:
            variant, found = self.store.variant(self.name, version, Precision.INT8.value)
        except (ModelIncompatible, ModelNotFound):
            return None
        except StoreUnreachable as error:
            logger.warning("%s The int8 variant of %s is not looked for", error, self.name)
            return None
        return found if variant.lossless else None

    def _loaded_in_int8(self, version: int | None, int8: Loader, found: str) -> Model:
        """The model in the arithmetic of its variant, called by its manifest's digest."""
        manifest, digest = self.store.find(self.name, version)
        model = self.store.load(self.name, manifest.version, int8, variant=Precision.INT8.value)
        return dataclasses.replace(model, digest=digest, variant=found)

    def warmed(self, version: int | None) -> tuple[Model, tuple[str, ...], Batcher]:
        """Load a version and run its network once at each size; blocks.

        Args:
            version: Of the model; None for the newest.

        Returns:
            The model, those of its attributes that the operator allows, and what predicts with it.

        Raises:
            ModelError: It is refused.
        """
        model = self.load(version)
        attributes = allowed(model.manifest, self.attributes)
        batcher = Batcher(model.networks["faces"], self.face_queue, metrics.BATCH_SIZE.observe)
        if model.manifest.input is not None:
            batcher.warm(model.manifest.input.size)
        return model, attributes, batcher

    def renewed(self, engine: Engine, version: int | None) -> Engine | None:
        """Load a version beside the one in service, and warm it; blocks.

        Its memory is taken from that for photos while both are there.

        Args:
            engine: What is in service.
            version: Of the model; None for the one that the settings name, or the newest.

        Returns:
            An engine that shares everything with the other but the model; None where that is the version in service.

        Raises:
            ModelError: It is refused.
            NotEnoughMemory: The memory for two models is not there.
            OSError: A file of it cannot be read.
        """
        manifest, digest = self.store.find(self.name, version or self.version, self.variant)
        known = engine.model
        served = known.manifest.version, known.digest, known.variant
        if (manifest.version, digest, self._lossless(manifest.version)) == served:
            return None
        count = BESIDE_BYTES + WEIGHTS * self.store.size(manifest)
        try:
            with self.budget.take(count, time.monotonic() + MEMORY_S):
                return self.beside(engine, manifest.version)
        except (ImageTooLarge, DeadlineExceeded, NotReady) as error:
            raise NotEnoughMemory(f"{count // MIB} MiB of memory for a second model are not there.") from error

    def state(self) -> object:
        """What changes whenever another version is there to be loaded; blocks.

        Returns:
            Something to compare with what it was before; None where there is no version at all.
        """
        versions = self.store.versions(self.name)
        return self.store.state(self.name, self.version or versions[-1]) if versions else None

    def beside(self, engine: Engine, version: int | None) -> Engine:
        """Load a version and warm it; blocks.

        Args:
            engine: What is in service.
            version: Of the model; None for the newest.

        Returns:
            An engine that shares everything with the other but the model.

        Raises:
            ModelError: It is refused.
        """
        with mappings():
            model, attributes, batcher = self.warmed(version)
            pipeline = engine.pipeline.with_model(model.manifest, batcher)
            pipeline.warm()
        return dataclasses.replace(
            engine,
            pipeline=pipeline,
            batcher=batcher,
            model=model,
            precision=model.networks["faces"].precision,
            attributes=attributes,
            source=self,
        )


class Reloader:
    """Swaps models in service, one at a time; whatever refuses to be served is logged and counted, and the old one stays.

    `current` gives the default model's engine, which knows the others, and `replace` puts one engine in the place of another;
    both are called on the event loop. A canary stays what the settings name.
    """

    def __init__(self, current: Callable[[], Engine], replace: Callable[[Engine, Engine], None]) -> None:
        self._current, self._replace = current, replace
        self._lock = asyncio.Lock()
        self._held: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._blocking: set[Future[Any]] = set()
        self._closed = False

    @property
    def hung(self) -> bool:
        """Whether a call that the end has left behind still waits, such as for a store that does not answer."""
        return any(not call.done() for call in tuple(self._blocking))

    async def reload(self, version: int | None = None, name: str | None = None) -> Outcome:
        """Serve a version of a model. It goes on where its caller leaves, and the log says what came of it.

        Args:
            version: That which is to be served, and to stay until another call; None for that of the settings, or the newest.
            name: Of the model; None for the default one.

        Returns:
            Whether it was put in the place of another one.

        Raises:
            ModelRefused: It cannot be served; the former one is.
            NotReady: The service is shutting down.
            InvalidParameter: No model of this name is in service.
        """
        return await asyncio.shield(self._start(self._reload_in_turn(version, name)))

    async def _reload_in_turn(self, version: int | None, name: str | None) -> Outcome:
        async with self._lock:
            return await self._reload(version, name)

    async def _reload_unheld(self, name: str) -> None:
        """Serve the newest version, unless an operator has come before and chosen one that is to stay."""
        async with self._lock:
            if name not in self._held:
                await self._reload(None, name)

    async def _reload(self, version: int | None, name: str | None) -> Outcome:
        """As `reload`; one at a time."""
        old = self.engine(name)
        if old.source is None:
            raise ModelRefused("This service has no model store.")
        try:
            new = await self._blocked(old.source.renewed, old, version)
        except (ModelError, OSError) as error:
            metrics.MODEL_RELOADS.labels("refused").inc()
            logger.error("the model was refused, %s stays in service: %s", old.title, error)
            reason = str(error) if isinstance(error, FacetError) else "Its files cannot be read."
            raise ModelRefused(f"{reason} The model in service is still version {old.model.manifest.version}.") from error
        if version is None:
            self._held.discard(old.model.manifest.name)
        else:
            self._held.add(old.model.manifest.name)
        if new is None:
            metrics.MODEL_RELOADS.labels("unchanged").inc()
            return "unchanged"
        if old.draining:
            await new.batcher.close(0)
            raise NotReady
        old.retiring.append(old.batcher)
        self._replace(old, new)
        metrics.MODEL_RELOADS.labels("swapped").inc()
        logger.info("serving %s in the place of version %d", new.title, old.model.manifest.version)
        self._start(self._retire(old))
        return "swapped"

    def engine(self, name: str | None) -> Engine:
        """The engine of a model that can be swapped.

        Args:
            name: Of the model; None for the default one.

        Returns:
            The engine in service.

        Raises:
            InvalidParameter: No model of this name is in service.
        """
        engine = self._current()
        if name is None or name == engine.model.manifest.name:
            return engine
        if name not in engine.beside.named:
            names = sorted({engine.model.manifest.name, *engine.beside.named})
            raise InvalidParameter(f"model: choose from {', '.join(names)}.")
        return engine.beside.named[name]

    async def _retire(self, old: Engine) -> None:
        """Let a model go once nobody asks it any more."""
        while old.users:  # noqa: ASYNC110 - requests leave one by one, and nobody waits for this
            await asyncio.sleep(RETIRE_S)
        await old.batcher.close(old.hang_s)
        old.retiring.remove(old.batcher)
        del old
        gc.collect()  # networks may stand in cycles, and are large
        await asyncio.to_thread(give_back)

    async def _poll(self, seconds: float) -> None:
        """Look for other versions again and again; one that was refused is tried again only once a file of it has changed.

        Where it was not the model's fault, but the store's or the memory's, the next look tries it again.
        """
        seen: dict[str, object] = {}
        while True:
            await asyncio.sleep(seconds)
            for name in self._names():
                try:
                    await self._look(name, seen)
                except NotReady:
                    return
                except Exception:
                    logger.exception("no other version of %s can be looked for", name)

    async def _look(self, name: str, seen: dict[str, object]) -> None:
        """Serve another version of a model where there is one. Raises `NotReady` where the service is shutting down."""
        source = self.engine(name).source
        if name in self._held or source is None:
            return
        try:
            state = await self._blocked(source.state)
        except (ModelError, OSError) as error:
            logger.warning("no other version can be looked for: %s", error)
            return
        if state is None or state == seen.get(name):
            return
        seen[name] = state
        try:
            await self._reload_unheld(name)
        except ModelRefused as error:
            if isinstance(error.__cause__, StoreUnreachable | NotEnoughMemory | OSError):
                del seen[name]

    def hang_up(self) -> None:
        """Reload every model as SIGHUP asks; the outcome stands in the log."""
        self._start(self._quietly())

    def _names(self) -> list[str]:
        engine = self._current()
        return [engine.model.manifest.name, *engine.beside.named]

    async def _quietly(self) -> None:
        for name in self._names():
            try:
                logger.info("reloading the model %s: %s", name, await self.reload(name=name))
            except (ModelRefused, NotReady):
                continue
            except Exception:
                logger.exception("the model %s cannot be reloaded", name)

    def begin(self, seconds: float) -> None:
        """Begin to look for other versions.

        Args:
            seconds: Between two looks; 0 for never.
        """
        if seconds:
            self._start(self._poll(seconds))

    async def _blocked(self, call: Callable[..., T], *arguments: object) -> T:
        """Run what blocks on a thread of its own. Raises `NotReady` where the service is shutting down, and `NotEnoughMemory`
        where the system lends no thread.

        The end of the event loop waits for the threads of its pool, however long the store takes.
        """
        if self._closed:
            raise NotReady
        running: Future[T] = Future()

        def work() -> None:
            try:
                running.set_result(call(*arguments))
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                running.set_exception(error)

        running.set_running_or_notify_cancel()
        try:
            threading.Thread(target=copy_context().run, args=(work,), name="reload", daemon=True).start()
        except RuntimeError as error:
            raise NotEnoughMemory("The system lends no thread to read a model on.") from error
        self._blocking.add(running)
        running.add_done_callback(self._blocking.discard)
        return await asyncio.wrap_future(running)

    def _start(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End what runs in the background, and wait for no thread of it.

        Models that are still in use are let go by whoever closes the engine.
        """
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
