"""The parts that answer photos, started and stopped as one, and their state."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
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
from service.models.card import DetectorName, ModelCard, ServedName, Serving
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
        The names, each once.

    Raises:
        ModelIncompatible: A name is neither one of the contract nor an attribute of the model.
    """
    if names is None:
        return askable(manifest)
    known = askable(manifest)
    if unknown := [name for name in names if name not in known]:
        raise ModelIncompatible(
            f"The attributes are to be some of {', '.join(known)}: {manifest.title} says no {unknown[0]!r}."
        )
    return tuple(dict.fromkeys(names))


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
class Beside:
    """What is served beside the default model: others by name, and a canary that gets a `share`, 0 to 1, of its requests."""

    named: dict[str, Engine] = field(default_factory=dict)
    canary: Engine | None = None
    share: float = 0.0


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
    min_face_px: float
    detection_side_px: int
    max_batch_files: int
    photos_at_once: int
    deadline: float
    batch_deadline: float
    stream_detector: Model | None = None
    """That of streams, where it is another one."""
    draining: bool = False
    retiring: list[Batcher] = field(default_factory=list)
    """Batchers of models that were replaced, and are still in use; engines that follow one another share the list."""
    source: Renewal | None = None
    """Where another version of the model comes from."""
    beside: Beside = field(default_factory=Beside)
    """Engines of other models, which share everything with this one but the model; engines that follow one another share it."""
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

    @property
    def title(self) -> str:
        """The model's name and version, NAME/VERSION."""
        return self.model.manifest.title

    def every(self) -> list[Engine]:
        """All that is served: this engine, those of the other models, and the canary's.

        Returns:
            Engines, this one first.
        """
        beside = self.beside
        return [self, *beside.named.values(), *([] if beside.canary is None else [beside.canary])]

    def chosen(self, name: str | None, identity: str) -> Engine:
        """Choose who answers a request.

        Args:
            name: NAME or NAME/VERSION of a model in service; None for the default, or the canary by its share.
            identity: The request's id: the same one always finds the same model.

        Returns:
            The engine, all of whose answer is its own model's.

        Raises:
            InvalidParameter: No such model is in service.
        """
        if name is not None:
            found = next((one for one in self.every() if name in (one.model.manifest.name, one.title)), None)
            if found is None:
                raise InvalidParameter(f"model: choose from {', '.join(sorted({one.title for one in self.every()}))}.")
            return found
        canary = self.beside.canary
        if canary is not None and position(identity) < self.beside.share and self.replaced_by(canary):
            return canary
        return self

    def replaced_by(self, other: Engine) -> bool:
        """Whether another engine can answer whatever this one can.

        Args:
            other: Of another model.

        Returns:
            Whether it has every attribute of this one, and a distribution over ages where this one has.
        """
        mine, theirs = (len(one.model.manifest.outputs_of(AGE)) for one in (self, other))
        return self._answered() <= other._answered() and mine <= theirs

    def _answered(self) -> set[str]:
        """Attributes that the operator allows and the model says; a name of the contract may be allowed, and not be said."""
        return {one.name for one in self.model.manifest.attributes} & set(self.attributes)

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
            raise NotReady
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
        for place, name in enumerate(attributes or (), 1):
            if name not in known:
                choice = ", ".join(one for one in known if one in self.attributes)
                raise InvalidParameter(f"attributes: no. {place} is unknown; choose from {choice}.")
            if name not in self.attributes:
                raise InvalidParameter(f"attributes: {name} is switched off on this service.")
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
        busy = max(batcher.busy_for() for batcher in self.batchers())
        if busy > self.hang_s:
            return f"A batch has been running for {busy:.0f} s."
        late = self.workers.overdue(asyncio.get_running_loop().time())
        return f"A photo is {late:.0f} s past its deadline and still in work." if late > self.hang_s else None

    def drain(self) -> None:
        """Turn readiness off; work is still accepted."""
        now = time.monotonic()
        for one in self.every():
            one.draining = True
            one._drained = min(one._drained, now)  # noqa: SLF001 - its own class
        READY.set(0)

    def batchers(self) -> list[Batcher]:
        """What runs networks: of the models in service, and of those that were replaced and are still asked.

        Returns:
            Batchers.
        """
        return [*self.retiring, *(one.batcher for one in self.every())]

    def names(self) -> list[ServedName]:
        """Name the models that a request may choose, without the canary, whose share chooses.

        Returns:
            Names and versions, this engine's first.
        """
        manifests = [one.model.manifest for one in (self, *self.beside.named.values())]
        return [ServedName(name=one.name, version=one.version) for one in manifests]

    def card(self, names: list[ServedName]) -> ModelCard:
        """Describe the attribute model and how it is served.

        Args:
            names: Of the models that a request may choose, the default one first.

        Returns:
            What `GET /model` answers.
        """
        streams = None if self.stream_detector is None else _named(self.stream_detector)
        serving = Serving(
            facet=__version__,
            runtime=self.runtime,
            precision=self.precision,
            attributes=list(self.attributes),
            min_confidence=self.min_confidence,
            max_faces=self.max_faces,
            min_face_px=self.min_face_px,
            detection_side_px=self.detection_side_px,
            detector=_named(self.detector),
            stream_detector=streams,
            models=names,
        )
        return ModelCard.of(self.model, serving)

    async def close(self) -> None:
        """Finish what was accepted, then let go of the threads."""
        for batcher in self.batchers():
            await batcher.close(self.hang_s)
        self.pipeline.decoder.close()
        await self.workers.close(self.hang_s)


def _named(detector: Model) -> DetectorName:
    """What the card says of a detector."""
    return DetectorName(name=detector.manifest.name, version=detector.manifest.version)


def position(identity: str) -> float:
    """Where a request stands between 0 and 1, evenly spread over ids.

    Args:
        identity: The request's id.

    Returns:
        From 0 to less than 1, the same for the same id in every process.
    """
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:6], "big") / 2**48
