"""The parts that answer photos, started and stopped as one, and their state."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from service import __version__
from service.errors import InvalidParameter, ModelIncompatible, NotReady
from service.inference.attributes import CONTRACT
from service.inference.batching import Batcher
from service.inference.pipeline import Analysis, Options, Pipeline
from service.inference.workers import Workers
from service.metrics import READY
from service.models.card import DetectorName, ModelCard, Serving
from service.models.manifest import AGE, Manifest
from service.models.store import Model

HANG_S: Final = 30.0
"""A batch older than this will not end: its network hangs."""


def askable(manifest: Manifest) -> tuple[str, ...]:
    """Names of attributes that a client may write.

    Args:
        manifest: That of the model that is served.

    Returns:
        Those of the contract, and those that the model has beside them.
    """
    return (*CONTRACT, *(attribute.name for attribute in manifest.attributes if attribute.name not in CONTRACT))


def allowed(manifest: Manifest, names: Sequence[str] | None) -> tuple[str, ...]:
    """Attributes that the operator allows.

    Args:
        manifest: That of the model that is served.
        names: What the operator names, or None for everything that a client may write.

    Returns:
        The names.

    Raises:
        ModelIncompatible: A name is neither one of the contract nor an attribute of the model.
    """
    if names is None:
        return askable(manifest)
    known = askable(manifest)
    if unknown := [name for name in names if name not in known]:
        title = f"{manifest.name}/{manifest.version}"
        raise ModelIncompatible(f"The attributes are to be some of {', '.join(known)}: {title} says no {unknown[0]!r}.")
    return tuple(names)


class Renewal(Protocol):
    """Where another version of the model comes from."""

    def renewed(self, engine: Engine, version: int | None) -> Engine | None:
        """Load a version beside the one in service, and try it; blocks.

        Args:
            engine: What is in service.
            version: Of the model; None for the one that is configured, or the newest.

        Returns:
            An engine that shares everything with the other but the model; None where that is the version in service.

        Raises:
            ModelError: It is refused.
        """

    def state(self) -> object:
        """What changes whenever another version is there to be loaded; blocks.

        Returns:
            Something to compare with what it was before; None where there is no version at all.
        """


@dataclass(slots=True)
class Engine:
    """What the routes talk to. `deadline`, of a photo, `batch_deadline` and `hang_s` are in seconds; `attributes` are those
    that the operator allows.
    """

    pipeline: Pipeline
    batcher: Batcher
    workers: Workers
    model: Model
    detector: Model
    runtime: str
    precision: str
    attributes: tuple[str, ...]
    max_faces: int
    min_confidence: float
    max_batch_files: int
    photos_at_once: int
    deadline: float
    batch_deadline: float
    version: str = __version__
    draining: bool = False
    retiring: list[Batcher] = field(default_factory=list)
    """Batchers of models that were replaced, and are still in use; engines that follow one another share the list."""
    source: Renewal | None = None
    """Where another version of the model comes from."""
    users: int = field(default=0, init=False)
    """Requests and streams that use this model now."""
    hang_s: float = HANG_S
    _born: float = field(default_factory=time.monotonic)
    _drained: float = math.inf

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the model in memory for as long as a request or stream uses it.

        Yields:
            Nothing, while it is in use.
        """
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1

    def due(self) -> float:
        """When a request that has arrived now is to be answered.

        Returns:
            A time of the event loop's clock, in seconds.
        """
        return asyncio.get_running_loop().time() + self.deadline

    def batch_due(self) -> float:
        """When a batch that has arrived now is to be answered, whole.

        Returns:
            A time of the event loop's clock, in seconds.
        """
        return asyncio.get_running_loop().time() + self.batch_deadline

    def turn_due(self, batch_due: float) -> float:
        """When a photo of a batch is to be answered whose turn has come now.

        Args:
            batch_due: As `batch_due` returned it when the batch arrived.

        Returns:
            A time of the event loop's clock, in seconds.

        Raises:
            NotReady: The service has been draining for as long as a photo may take; the batch ends, so that it is answered.
        """
        if time.monotonic() > self._drained + self.deadline:
            raise NotReady("The service is shutting down.")
        return min(self.due(), batch_due)

    async def analyse(self, photo: bytes, options: Options, due: float | None = None) -> Analysis:
        """Analyse every face of a photo.

        Args:
            photo: A file's bytes.
            options: As `options` returned them.
            due: Time of the event loop's clock, in seconds; None for `due()` of now.

        Returns:
            The faces and their attributes.

        Raises:
            ImageError: The photo cannot be decoded.
            Unavailable: As of `Pipeline.analyse`.
            InferenceError: The detector or the network failed.
        """
        return await self.pipeline.analyse(photo, options, self.due() if due is None else due)

    def options(
        self,
        attributes: Sequence[str] | None,
        max_faces: int | None,
        min_confidence: float | None,
        max_pixels: int | None = None,
        client: str = "",
        at_least: tuple[int, ...] = (),
        preview: bool = False,
    ) -> Options:
        """Merge a client's parameters with what the operator allows; None is a parameter that the client left open.

        Args:
            attributes: Names of the attributes to answer.
            max_faces: Most faces, the largest first; the operator's bound holds too.
            min_confidence: Lowest confidence of a face, 0 to 1.
            max_pixels: Most pixels of a photo, beside the operator's bound.
            client: On whose account the work is done.
            at_least: Ages, 1 to 99, whose probability is answered.
            preview: Whether the photo is answered as a small JPEG.

        Returns:
            The options of an analysis.

        Raises:
            InvalidParameter: An attribute is unknown or switched off, or `at_least` has no distribution to go by.
        """
        known = askable(self.model.manifest)
        for name in attributes or ():
            if name not in known:
                raise InvalidParameter(f"attributes: choose from {', '.join(known)}.")
            if name not in self.attributes:
                raise InvalidParameter(f"attributes: {name} is switched off here.")
        wanted = self.attributes if attributes is None else tuple(attributes)
        if at_least and (AGE not in wanted or len(self.model.manifest.outputs_of(AGE)) < 2):
            raise InvalidParameter("at_least: needs the attribute age, of a model that has a distribution over ages.")
        return Options(
            attributes=wanted,
            max_faces=min(max_faces or self.max_faces, self.max_faces),
            min_confidence=self.min_confidence if min_confidence is None else min_confidence,
            max_pixels=max_pixels,
            client=client,
            at_least=at_least,
            preview=preview,
        )

    def uptime(self) -> float:
        """Time since the engine was built.

        Returns:
            Seconds.
        """
        return time.monotonic() - self._born

    def trouble(self) -> str | None:
        """Why no photo should be sent here now.

        Returns:
            A sentence, or None where the service is ready.
        """
        return "The service is shutting down." if self.draining else None

    def hang(self) -> str | None:
        """Why the process should be restarted.

        Returns:
            A sentence, or None where nothing has been running for longer than `hang_s`.
        """
        busy = max(batcher.busy_for() for batcher in (self.batcher, *self.retiring))
        if busy > self.hang_s:
            return f"A batch has been running for {busy:.0f} s."
        late = self.workers.overdue(asyncio.get_running_loop().time())
        return f"A photo is {late:.0f} s past its deadline and still in work." if late > self.hang_s else None

    def drain(self) -> None:
        """Turn readiness off; work is still accepted."""
        self.draining = True
        self._drained = min(self._drained, time.monotonic())
        READY.set(0)

    def card(self) -> ModelCard:
        """Describe the attribute model and how it is served.

        Returns:
            What `GET /model` answers.
        """
        detector = self.detector.manifest
        serving = Serving(
            facet=self.version,
            runtime=self.runtime,
            precision=self.precision,
            attributes=list(self.attributes),
            min_confidence=self.min_confidence,
            detector=DetectorName(name=detector.name, version=detector.version),
        )
        return ModelCard.of(self.model, serving)

    async def close(self) -> None:
        """Finish what was accepted, then let go of the threads."""
        for batcher in (*self.retiring, self.batcher):
            await batcher.close(self.hang_s)
        self.pipeline.decoder.close()
        await asyncio.to_thread(self.workers.close, self.hang_s)
