"""create_app(settings): builds every part, wires them, owns start-up and shutdown; the only module that knows all others."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import cv2
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from pydantic import SecretStr
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from service import __version__, metrics, web
from service.api import openapi as openapi_document
from service.api import problems, routes, stream
from service.api.compat.systems import chosen
from service.api.compat.translation import TranslatedProblems
from service.api.keys import Keys
from service.api.middleware.admission import Admission
from service.api.middleware.api_keys import ApiKeys
from service.api.middleware.body_limits import BodyLimits
from service.api.middleware.connection_close import ConnectionClose
from service.api.middleware.disconnects import Disconnects
from service.api.middleware.errors import UnhandledErrors
from service.api.middleware.head_requests import HeadRequests
from service.api.middleware.request_log import RequestLog
from service.api.stream import StreamLimits, Streams
from service.errors import FacetError, ModelIncompatible, NotEnoughMemory
from service.extras import install_command
from service.inference.batching import Batcher
from service.inference.decoding import PhotoDecoder
from service.inference.engine import Engine, allowed
from service.inference.memory import MemoryBudget, give_back_at_rest, mappings, memory_limit, resident
from service.inference.pipeline import Limits, Pipeline
from service.inference.workers import Workers
from service.models.remote import open_store
from service.models.runtime import Loader, Precision, Runtime, cpu_quota, loader, resolve
from service.models.store import Model, ModelStore
from service.reloading import ModelSource, Reloader
from service.settings import Settings
from service.tracing import Tracer
from service.vision.detection import Detector
from service.vision.detection.registry import load_detector
from service.vision.sharing import SharingDetector

logger = logging.getLogger("facet")

MIB = 2**20
LEAST_RESIDENT: Final = 120 * MIB
"""What the process and the smallest models take, at least."""
USUAL_RESIDENT: Final = 192 * MIB
"""What they take with the model that is served unless another one is chosen."""
SHARED_BYTES: Final = 1024 * MIB
"""Limit from which photos at a time have networks of their own; a smaller container keeps the memory for photos."""
CODE_BYTES: Final = 48 * MIB
"""Pages of libraries that are in use: the kernel counts them, too."""
SEARCH_BYTES: Final = 64 * MIB
"""What a search for faces takes at its worst, a crowd or a texture, on each thread."""
DECODER_BYTES: Final = 24 * MIB
"""What a process takes that decodes photos, before it has one."""
LEAST_PHOTO_BYTES: Final = 48 * MIB
"""What a JPEG takes whose longest side is decoded at twice the side that is searched, and a little more."""
COMPRESSED_BYTES: Final = 4096
"""Answers from this size on are gzipped where the client accepts it: one face's are smaller, a crowd's and `/model` larger."""
DESCRIPTION = """Send a photo, and get estimates for every face in it, with honest uncertainty.

Nothing that is sent is stored or logged, and the service opens no connection of its own. Failures are
`application/problem+json` (RFC 9457) with a stable `code`."""


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
    at_once = settings.workers or most_workers(limit, cpu_quota(), bodies)
    require_memory(limit, LEAST_RESIDENT, at_once, bodies)  # before a model is loaded: the kernel would end us, without a word
    threads = settings.threads or cpu_quota()
    cv2.setNumThreads(threads)
    store = open_store(settings.model_store, settings.model_cache)
    exact = loader(settings.runtime, Precision.F32, threads)
    quick = loader(settings.runtime, settings.precision, threads)
    variant = settings.precision.variant
    shared = at_once // 2 if threads > 1 and limit >= SHARED_BYTES else 0
    detector, detection = _load_detector(store, settings.detector, settings, threads, shared)
    streaming, stream_detection = None, None
    if settings.stream_detector not in (None, settings.detector):
        streaming, stream_detection = _load_detector(store, settings.stream_detector, settings, threads, shared)
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
    with mappings():
        model = source.load(source.version)
        attributes = allowed(model.manifest, settings.attributes)
        batcher = Batcher(model.networks["faces"], settings.face_queue, metrics.BATCH_SIZE.observe)
        if model.manifest.input is not None:
            batcher.warm(model.manifest.input.size)
    workers = Workers(at_once, settings.photo_queue, settings.photo_wait_s)
    limits = Limits(round(settings.max_megapixels * 1e6), settings.detection_side_px)
    pipeline = Pipeline(detector, model.manifest, batcher, workers, limits, PhotoDecoder(budget, at_once), streaming)
    pipeline.warm()
    engine = Engine(
        pipeline=pipeline,
        batcher=batcher,
        workers=workers,
        model=model,
        detector=detection,
        stream_detector=stream_detection,
        runtime=resolve(settings.runtime).value,
        precision=model.networks["faces"].precision,
        attributes=attributes,
        max_faces=settings.max_faces,
        min_confidence=settings.min_confidence,
        max_batch_files=settings.max_batch_files,
        photos_at_once=at_once,
        deadline=settings.deadline_s,
        source=source,
        batch_deadline=settings.batch_deadline_s,
    )
    _load_beside(engine, source, settings)
    models = resident()
    budget.total = require_memory(limit, models, at_once, bodies)
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


def _int8_loader(settings: Settings, threads: int) -> Loader | None:
    """What reads int8 variants, where the arithmetic may be int8 and the library has it."""
    if settings.precision not in (Precision.AUTO, Precision.INT8) or resolve(settings.runtime) is not Runtime.OPENVINO:
        return None
    return loader(settings.runtime, Precision.INT8, threads)


def _load_detector(store: ModelStore, title: str, settings: Settings, threads: int, shared: int) -> tuple[Detector, Model]:
    """A detector with all threads, and so many others with one, for photos that share the CPUs: two photos to each."""

    def load(count: int) -> tuple[Detector, Model]:
        exact = loader(settings.runtime, Precision.F32, count)
        precision = Precision.AUTO if settings.precision.variant else settings.precision
        rounded = None if precision is Precision.F32 else loader(settings.runtime, precision, count)
        return load_detector(store, title, exact, settings.min_face_px, rounded, _int8_loader(settings, count))

    alone, model = load(threads)
    if not shared:
        return alone, model
    # One after the other: where the first calls of a process come from two threads at once, OpenVINO 2026.4 may wait for ever.
    return SharingDetector(alone, [load(1)[0] for _ in range(shared)]), model


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


def most_workers(limit: int, cpus: int, bodies: int) -> int:
    """Photos at once, one for each CPU, or fewer where the memory does not hold so many.

    Args:
        limit: Bytes that the service may use.
        cpus: CPUs that it may use.
        bodies: Bytes of all bodies under way.

    Returns:
        At least 1, which `require_memory` may still refuse.
    """
    for at_once in range(cpus, 1, -1):
        with contextlib.suppress(NotEnoughMemory):
            require_memory(limit, USUAL_RESIDENT, at_once, bodies)
            return at_once
    return 1


def require_memory(limit: int, models: int, at_once: int, bodies: int) -> int:
    """Bytes of `limit` that are left for photos being decoded, after what the models take, the search and the bodies.

    Args:
        limit: Bytes that the service may use.
        models: Bytes that the process holds with its models.
        at_once: Photos that are decoded and searched at a time.
        bodies: Bytes of all bodies under way; each is held twice, as it came and as the photos in it.

    Returns:
        Bytes for photos.

    Raises:
        NotEnoughMemory: An ordinary photo for each of them would not fit.
    """
    taken = models + CODE_BYTES + at_once * (SEARCH_BYTES + DECODER_BYTES) + 2 * bodies + limit // 32
    if limit - taken < LEAST_PHOTO_BYTES:
        raise NotEnoughMemory(
            f"{limit // MIB} MiB of memory are too few for {at_once} photos at once: at least "
            f"{-(-(taken - limit // 32 + LEAST_PHOTO_BYTES) * 32 // (31 * MIB))} are needed, or fewer FACET_WORKERS."
        )
    return limit - taken


def create_app(
    settings: Settings,
    engine: Callable[[Settings], Engine] = create_engine,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The service as an ASGI application; models are loaded when it starts up, not when it is built.

    Args:
        settings: Every setting.
        engine: Builds the parts that answer photos.
        clock: Time in seconds by which the rates of keys are counted.

    Returns:
        The application, whose lifespan starts and stops the engine.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if tracer is not None:
                stack.push_async_callback(asyncio.to_thread, tracer.close)
            app.state.engine = engine(settings)  # and nowhere else: a model that is replaced has to go
            stack.push_async_callback(_close, app)
            app.state.reloader = reloader = Reloader(lambda: app.state.engine, partial(_swap, app))
            stack.push_async_callback(reloader.close)
            _announce(app.state.engine)
            metrics.watch_queue("photos", lambda: app.state.engine.workers.waiting)
            metrics.watch_queue("faces", lambda: sum(one.batcher.waiting for one in app.state.engine.every()))
            metrics.READY.set(1)
            stack.callback(_look_for_rest(app.state.engine.workers).cancel)
            reloader.begin(settings.model_poll_s)
            yield

    tracer = _tracer(settings)
    app = FastAPIOffline(
        redoc_url=None,
        title="Facet",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # a redirect would be built from the Host header, which the client writes
    )
    app.include_router(routes.router)
    systems = chosen(settings.compat)
    for system in systems:
        app.include_router(system.router)
    translated = [path for system in systems for path in system.paths]
    probes = {path for system in systems for path in system.probes}
    single = [path for system in systems for path in system.photo_paths if path not in system.batches]
    metrics.begin_requests(["/predict", "/predict/batch", *(path for system in systems for path in system.photo_paths)])
    keys = _keys(settings.api_keys, settings.rate_limit, clock)
    app.state.operators = _keys(settings.operator_keys)
    app.state.streams = streams = Streams(_stream_limits(settings), keys, [one.lower() for one in settings.cors_origins])
    app.add_api_websocket_route(stream.PATH, streams.serve)
    if settings.page:
        app.include_router(web.create_router())
    problems.install(app)
    _document(app, keyed=keys is not None)
    bodies = bodies_bytes(settings, settings.memory_mib * MIB or memory_limit()[0])
    body, batch = int(settings.max_body_mib * MIB), min(bodies, int(settings.max_batch_mib * MIB))
    # Added from the inside out: the log sees everything, CORS answers its preflight before a key is asked for.
    app.add_middleware(Disconnects)
    app.add_middleware(
        BodyLimits,
        caps={"/predict": body, "/predict/batch": batch}
        | {path.rstrip("/"): body for path in single}
        | {path: batch for system in systems for path in system.batches},
        default=MIB,
        total=bodies,
        timeout=settings.body_timeout_s,
        rate=settings.body_min_kib_s * 1024,
    )
    app.add_middleware(
        Admission,
        paths=["/predict", *single],
        workers=lambda: app.state.engine.workers,
    )
    if keys is not None:
        app.add_middleware(
            ApiKeys,
            keys=keys,
            protected=[*openapi_document.KEYED, *(path for path in translated if path not in probes)],
            readers={path: system.key for system in systems for path in system.paths},
        )
    app.add_middleware(UnhandledErrors)
    if systems:
        app.add_middleware(TranslatedProblems, systems=systems)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
    app.add_middleware(GZipMiddleware, minimum_size=COMPRESSED_BYTES, compresslevel=4)
    app.add_middleware(HeadRequests)
    app.add_middleware(ConnectionClose, leaving=lambda: app.state.engine.draining)
    paths = [route.path for route in routes.router.routes if isinstance(route, APIRoute)]
    app.add_middleware(RequestLog, paths=[*paths, *translated, stream.PATH], quiet=routes.PROBES | probes, tracer=tracer)
    return app


def _keys(secrets: Sequence[SecretStr], rate: float = 0, clock: Callable[[], float] = time.monotonic) -> Keys | None:
    """What knows these keys, or None where there is none."""
    return Keys([secret.get_secret_value() for secret in secrets], rate, clock) if secrets else None


def _stream_limits(settings: Settings) -> StreamLimits:
    return StreamLimits(
        streams=settings.max_streams,
        fps=settings.stream_max_fps,
        frame_bytes=settings.stream_max_frame_kib * 1024,
        frame_pixels=round(settings.stream_max_megapixels * 1e6),
        deadline=settings.stream_deadline_s,
        idle=settings.stream_idle_s,
        duration=settings.stream_duration_s,
    )


async def _close(app: FastAPI) -> None:
    """Close the engine that is in service by then."""
    await app.state.engine.close()


def _look_for_rest(workers: Workers) -> asyncio.Task[None]:
    """Give freed memory back whenever no photo is there; all engines that follow have the same workers."""
    return asyncio.create_task(give_back_at_rest(lambda: workers.begun, lambda: workers.inside))


def _swap(app: FastAPI, old: Engine, new: Engine) -> None:
    """Serve by an engine in the place of another from the next request on, and say so in the metrics; streams begin anew."""
    if app.state.engine is old:
        app.state.engine = new
    else:
        app.state.engine.beside.named[new.model.manifest.name] = new
    _announce(app.state.engine, old.title)
    app.state.streams.renew()


def _announce(engine: Engine, *former: str) -> None:
    """Say in the metrics what is served; the series of a `former` model are read once more before they go."""
    metrics.MODEL_INFO.clear()
    metrics.DETECTOR_INFO.clear()
    for role, detector in (("photos", engine.detector), ("streams", engine.stream_detector or engine.detector)):
        found = detector.manifest
        metrics.DETECTOR_INFO.labels(role, found.name, str(found.version), found.architecture, detector.digest[:12]).set(1)
    for one in engine.every():
        named = one.model.manifest
        role = "default" if one is engine else "canary" if one is engine.beside.canary else "named"
        labels = (role, named.name, str(named.version), one.runtime, one.precision, one.model.digest[:12])
        metrics.MODEL_INFO.labels(*labels).set(1)
        for attribute in named.attributes:
            metrics.begin_predictions(one.title, attribute.name, attribute.labels if attribute.kind == "labels" else None)
        metrics.PHOTO_SECONDS.labels(one.title)
        metrics.PHOTO_FAILURES.labels(one.title)
    metrics.forget_models({*former, *(one.title for one in engine.every())})


def _tracer(settings: Settings) -> Tracer | None:
    """What makes spans, where they are asked for. Raises `FacetError` where its packages are not installed."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from service.api.spans import Spans
    except ImportError as error:
        raise FacetError(f"FACET_OTLP_ENDPOINT needs packages that are not installed: {install_command('traces')}") from error
    return Spans(settings.otlp_endpoint, settings.trace_ratio)


def _document(app: FastAPI, *, keyed: bool) -> None:
    """Complete the OpenAPI document by the model that is served, once one is."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        engine: Engine | None = getattr(app.state, "engine", None)
        if engine is None:
            return openapi_document.complete(generate(), None, keyed=keyed)
        return openapi_document.complete(generate(), engine.model.manifest, engine.attributes, keyed=keyed)

    app.openapi = openapi  # type: ignore[method-assign]
