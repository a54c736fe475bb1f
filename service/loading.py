"""create_engine(settings): load and verify the models, within the memory that there is, and connect what answers photos."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import cv2

from service import metrics
from service.errors import ModelIncompatible, NotEnoughMemory
from service.inference.batching import Batcher
from service.inference.decoding import PhotoDecoder
from service.inference.engine import Engine
from service.inference.memory import MIB, MemoryBudget, mappings, memory_limit, resident
from service.inference.pipeline import Limits, Pipeline
from service.inference.workers import Workers
from service.models.remote import open_store
from service.models.runtime import Loader, Precision, Runtime, cpu_quota, loader, resolve
from service.models.store import Model, ModelStore
from service.reloading import ModelSource
from service.settings import Settings
from service.vision.detection import MIN_FACE_PX, SIDE_PX, Detector
from service.vision.detection.registry import load_detector

logger = logging.getLogger("facet")

LEAST_RESIDENT: Final = 120 * MIB
"""What the process and the smallest models take, at least."""
USUAL_RESIDENT: Final = 192 * MIB
"""What they take with the model that is served unless another one is chosen."""
SHARED_BYTES: Final = 1024 * MIB
"""Limit from which photos at a time have networks of their own; a smaller container keeps the memory for photos."""
CODE_BYTES: Final = 48 * MIB
"""Pages of libraries that are in use: the kernel counts them, too."""
SEARCH_BYTES: Final = 64 * MIB
"""What a search for faces takes at its worst, a crowd or a texture, on each thread, where its settings are as they come."""
SEARCHED_BYTES: Final = 26 * MIB
"""What it takes more for each time that its settings add as many pixels as the networks see at first: `centerface` 24 MiB,
`mtcnn` 26, by pictures of a side of 4096 and 8192 pixels.
"""
DECODER_BYTES: Final = 24 * MIB
"""What a process takes that decodes photos, before it has one."""
LEAST_PHOTO_BYTES: Final = 48 * MIB
"""What a JPEG takes whose longest side is decoded at twice the side that is searched, and a little more."""


def create_engine(settings: Settings) -> Engine:
    """Load and verify the models, run them once and connect the parts of the pipeline.

    Args:
        settings: Every setting.

    Returns:
        What answers photos.

    Raises:
        ModelError: A model is refused, or the memory does not hold it and the photos.
    """
    limit, named = (settings.memory_mib * MIB, "the setting") if settings.memory_mib else memory_limit()
    bodies = bodies_bytes(settings, limit)
    search = search_bytes(settings)
    at_once = settings.workers or most_workers(limit, cpu_quota(), bodies, search)
    # Before a model is loaded: the kernel would end us, without a word.
    require_memory(limit, LEAST_RESIDENT, at_once, bodies, search)
    threads = settings.threads or cpu_quota()
    cv2.setNumThreads(1)  # threads that wake for some hundred rows of a crop cost more than they take off
    store = open_store(settings.model_store, settings.model_cache)
    quick = loader(settings.runtime, settings.precision, threads)
    exact = loader(settings.runtime, Precision.F32, threads)
    variant = settings.precision.variant
    shared = at_once // 2 if threads > 1 and limit >= SHARED_BYTES else 0
    budget = MemoryBudget(limit)
    source = ModelSource(
        store=store,
        name=settings.served[0].name,
        version=settings.served[0].version,
        digest=settings.model_digest,
        attributes=settings.attributes,
        face_queue=settings.face_queue,
        quick=quick,
        exact=exact if settings.precision is Precision.AUTO else None,
        budget=budget,
        variant=variant,
        int8=None if variant else _int8_loader(settings, threads),
    )
    with ThreadPoolExecutor(1, "load") as pool:
        loading = pool.submit(_load_attributes, source)
        detector, detector_model = _load_detector(store, settings.detector, settings, threads, shared)
        stream_detector, stream_detector_model = None, None
        if settings.stream_detector not in (None, settings.detector):
            stream_detector, stream_detector_model = _load_detector(store, settings.stream_detector, settings, threads, shared)
        model, attributes, batcher = loading.result()
    workers = Workers(at_once, settings.photo_queue, settings.photo_wait_s)
    limits = Limits(round(settings.max_megapixels * 1e6), settings.detection_side_px)
    pipeline = Pipeline(detector, model.manifest, batcher, workers, limits, PhotoDecoder(budget, at_once), stream_detector)
    pipeline.warm()
    engine = Engine(
        pipeline=pipeline,
        batcher=batcher,
        workers=workers,
        model=model,
        detector=detector_model,
        stream_detector=stream_detector_model,
        runtime=resolve(settings.runtime).value,
        precision=model.networks["faces"].precision,
        attributes=attributes,
        max_faces=settings.max_faces,
        min_confidence=settings.min_confidence,
        min_face_px=settings.min_face_px,
        detection_side_px=settings.detection_side_px,
        max_batch_files=settings.max_batch_files,
        photos_at_once=at_once,
        deadline=settings.deadline_s,
        source=source,
        batch_deadline=settings.batch_deadline_s,
    )
    _load_beside(engine, source, settings)
    models = resident()
    budget.total = require_memory(limit, models, at_once, bodies, search)
    metrics.MEMORY_LIMIT.set(limit)
    pipeline.decoder.start(min(2, at_once))
    logger.info(
        "memory: %d MiB by %s; models and process %d, bodies %d, photos being decoded %d",
        limit // MIB,
        named,
        models // MIB,
        bodies // MIB,
        budget.total // MIB,
    )
    for one in engine.every():
        logger.info("serving %s (%s, %s), licence: %s", one.title, one.runtime, one.precision, one.model.manifest.licence)
    return engine


def _load_attributes(source: ModelSource) -> tuple[Model, tuple[str, ...], Batcher]:
    """The model that is served by default, as `ModelSource.warmed` gives it."""
    with mappings():
        return source.warmed(source.version)


def _int8_loader(settings: Settings, threads: int) -> Loader | None:
    """What reads int8 variants, where the arithmetic may be int8 and the library has it."""
    if settings.precision not in (Precision.AUTO, Precision.INT8) or resolve(settings.runtime) is not Runtime.OPENVINO:
        return None
    return loader(settings.runtime, Precision.INT8, threads)


def _load_detector(store: ModelStore, title: str, settings: Settings, threads: int, shared: int) -> tuple[Detector, Model]:
    """A detector with all threads, and so many others with one, for photos that share the CPUs: two photos to each."""
    exact = loader(settings.runtime, Precision.F32, threads)
    precision = Precision.AUTO if settings.precision.variant else settings.precision
    rounded = None if precision is Precision.F32 else loader(settings.runtime, precision, threads)
    return load_detector(store, title, exact, settings.min_face_px, rounded, _int8_loader(settings, threads), shared)


def _load_beside(engine: Engine, source: ModelSource, settings: Settings) -> None:
    """Load the other models, and the canary, which must be able to answer whatever the default model can."""
    for name, version in settings.served[1:]:
        own = dataclasses.replace(source, name=name, version=version, digest=None)
        engine.beside.named[name] = own.beside(engine, version)
    if settings.canary is not None:
        (name, version), engine.beside.share = settings.canary
        canary = dataclasses.replace(source, name=name, version=version, digest=None).beside(engine, version)
        if not engine.replaced_by(canary):
            raise ModelIncompatible(f"The canary {canary.title} cannot answer all that {engine.title} does.")
        engine.beside.canary = canary


def bodies_bytes(settings: Settings, limit: int) -> int:
    """Bytes of all bodies under way: what the operator allows, within a sixteenth of the memory or the largest photo's body.

    Args:
        settings: Every setting.
        limit: Bytes that the service may use.

    Returns:
        Bytes.
    """
    return min(int(settings.max_bodies_mib * MIB), max(limit // 16, int(settings.max_body_mib * MIB)))


def search_bytes(settings: Settings) -> int:
    """Bytes that a search for faces takes at its worst: more, the larger the picture and the smaller the faces.

    Args:
        settings: Every setting.

    Returns:
        Bytes.
    """
    side, face = settings.detection_side_px / SIDE_PX, max(1.0, MIN_FACE_PX / settings.min_face_px)
    return SEARCH_BYTES + round(SEARCHED_BYTES * max(0.0, (side * face) ** 2 - 1))


def most_workers(limit: int, cpus: int, bodies: int, search: int = SEARCH_BYTES) -> int:
    """Photos at once, one for each CPU, or fewer where the memory does not hold so many.

    Args:
        limit: Bytes that the service may use.
        cpus: CPUs that it may use.
        bodies: Bytes of all bodies under way.
        search: Bytes that a search for faces takes.

    Returns:
        At least 1, which `require_memory` may still refuse.
    """
    for at_once in range(cpus, 1, -1):
        with contextlib.suppress(NotEnoughMemory):
            require_memory(limit, USUAL_RESIDENT, at_once, bodies, search)
            return at_once
    return 1


def require_memory(limit: int, models: int, at_once: int, bodies: int, search: int = SEARCH_BYTES) -> int:
    """Bytes of `limit` that are left for photos being decoded, after what the models take, the search and the bodies.

    Args:
        limit: Bytes that the service may use.
        models: Bytes that the process holds with its models.
        at_once: Photos that are decoded and searched at a time.
        bodies: Bytes of all bodies under way; each is held twice, as it came and as the photos in it.
        search: Bytes that a search for faces takes.

    Returns:
        Bytes for photos.

    Raises:
        NotEnoughMemory: An ordinary photo for each of them would not fit.
    """
    taken = models + CODE_BYTES + at_once * (search + DECODER_BYTES) + 2 * bodies + limit // 32
    if limit - taken < LEAST_PHOTO_BYTES:
        photos, way_out = ("one photo", "") if at_once == 1 else (f"{at_once} photos at once", ", or fewer FACET_WORKERS")
        raise NotEnoughMemory(
            f"{limit // MIB} MiB of memory are too few for {photos}: at least "
            f"{-(-(taken - limit // 32 + LEAST_PHOTO_BYTES) * 32 // (31 * MIB))} are needed{way_out}."
        )
    return limit - taken
