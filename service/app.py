"""create_app(settings): connects the engine, the routes and the middleware, and owns start-up and shutdown."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from pydantic import SecretStr
from starlette.middleware.cors import CORSMiddleware

from service import __version__, metrics, web
from service.api import openapi as openapi_document
from service.api import problems, routes, stream
from service.api.compat.systems import chosen
from service.api.compat.translation import System, TranslatedProblems
from service.api.keys import Keys
from service.api.middleware.admission import Admission
from service.api.middleware.api_keys import ApiKeys
from service.api.middleware.body_limits import BodyLimits
from service.api.middleware.compression import Compression
from service.api.middleware.connection_close import ConnectionClose
from service.api.middleware.disconnects import Disconnects
from service.api.middleware.errors import UnhandledErrors
from service.api.middleware.head_requests import HeadRequests
from service.api.middleware.plain_paths import PlainPaths
from service.api.middleware.request_log import RequestLog
from service.api.stream import StreamLimits, Streams
from service.api.uploads import photos
from service.errors import FacetError
from service.extras import install_command
from service.inference.attributes import groups
from service.inference.engine import Engine
from service.inference.memory import MIB, give_back_now_and_then, held, memory_limit
from service.inference.workers import Workers, started_pool
from service.loading import bodies_bytes, create_engine
from service.reloading import Reloader
from service.settings import Settings
from service.tracing import Tracer

logger = logging.getLogger("facet")

COMPRESSED_BYTES: Final = 4096
"""Answers from this size on are gzipped where the client accepts it: one face's are smaller, a crowd's and `/model` larger."""
LOOP_THREADS: Final = 4
"""Threads for what the event loop leaves to others for a moment: large bodies, which Python takes apart one at a time."""
DESCRIPTION = """Send a photo, and get estimates for every face in it, with honest uncertainty.

Nothing that is sent is stored or logged, and the service opens no connection of its own. Failures are
`application/problem+json` (RFC 9457) with a stable `code`."""


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
            asyncio.get_running_loop().set_default_executor(started_pool(LOOP_THREADS, "large bodies"))
            if tracer is not None:
                stack.push_async_callback(asyncio.to_thread, tracer.close)
            app.state.engine = engine(settings)  # and nowhere else: a model that is replaced has to go
            stack.push_async_callback(_close, app)
            app.state.reloader = reloader = Reloader(lambda: app.state.engine, partial(_swap, app))
            stack.push_async_callback(reloader.close)
            _announce(app.state.engine)
            _watch(app)
            metrics.READY.set(1)
            stack.callback(_look_for_rest(app.state.engine.workers).cancel)
            reloader.begin(settings.model_poll_s)
            yield

    tracer = _tracer(settings)
    app = FastAPIOffline(
        docs_url=None,
        redoc_url=None,
        title="Facet",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # a redirect would be built from the Host header, which the client writes
    )
    app.add_api_route("/docs", openapi_document.page, include_in_schema=False)
    app.include_router(routes.router)
    systems = chosen(settings.compat)
    for system in systems:
        app.include_router(system.router)
    metrics.begin_requests(["/predict", "/predict/batch", *(path for system in systems for path in system.photo_paths)])
    keys = _keys(settings.api_keys, settings.rate_limit, clock)
    app.state.operators = _keys(settings.operator_keys)
    app.state.body_reader = photos
    app.state.streams = streams = Streams(_stream_limits(settings), keys, settings.cors_origins)
    app.add_api_websocket_route(stream.PATH, streams.serve)
    app.add_api_route(stream.PATH, stream.no_websocket, include_in_schema=False)
    if settings.page:
        app.include_router(web.create_router())
    problems.install(app)
    _document(app, keyed=keys is not None)
    _add_middleware(app, settings, systems, keys, tracer)
    return app


def _add_middleware(
    app: FastAPI, settings: Settings, systems: Sequence[System], keys: Keys | None, tracer: Tracer | None
) -> None:
    """Add from the inside out: the log sees everything, CORS answers its preflight before a key is asked for."""
    translated = [path for system in systems for path in system.paths]
    probes = {path for system in systems for path in system.probes}
    single = [path for system in systems for path in system.photo_paths if path not in system.batches]
    bodies = bodies_bytes(settings, settings.memory_mib * MIB or memory_limit()[0])
    body, batch = int(settings.max_body_mib * MIB), min(bodies, int(settings.max_batch_mib * MIB))
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
    app.add_middleware(PlainPaths, kept=routes.KEPT)
    app.add_middleware(UnhandledErrors)
    if systems:
        app.add_middleware(TranslatedProblems, systems=systems)
    _allow_origins(app, settings.cors_origins, systems)
    app.add_middleware(Compression, minimum_size=COMPRESSED_BYTES, compresslevel=4)
    app.add_middleware(HeadRequests)
    app.add_middleware(ConnectionClose, leaving=lambda: app.state.engine.draining)
    app.add_middleware(RequestLog, paths=[*_own_paths(), *translated, stream.PATH], quiet=routes.PROBES | probes, tracer=tracer)


def _allow_origins(app: FastAPI, origins: Sequence[str], systems: Sequence[System]) -> None:
    """Let pages of other origins ask, where there are any."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=[
                *("Authorization", "Content-Type", "traceparent", "tracestate", "X-API-Key", "X-Request-ID"),
                *(header for system in systems for header in system.headers),
            ],
            expose_headers=["Retry-After", "X-Request-ID", *(header for system in systems for header in system.exposed)],
        )


def _own_paths() -> list[str]:
    return [route.path for route in routes.router.routes if isinstance(route, APIRoute)]


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


def _watch(app: FastAPI) -> None:
    """Report queues and memory whenever metrics are read, of the engine that is in service by then."""
    metrics.watch_queue("photos", lambda: app.state.engine.workers.waiting)
    metrics.watch_queue("faces", lambda: sum(one.batcher.waiting for one in app.state.engine.every()))
    metrics.MEMORY.set_function(lambda: held(app.state.engine.pipeline.decoder.processes))


def _look_for_rest(workers: Workers) -> asyncio.Task[None]:
    """Give freed memory back whenever no photo is there; all engines that follow have the same workers."""
    return asyncio.create_task(give_back_now_and_then(lambda: workers.begun, lambda: workers.inside))


def _swap(app: FastAPI, old: Engine, new: Engine) -> None:
    """Serve by an engine in the place of another from the next request on, and say so in the metrics; its streams end."""
    if app.state.engine is old:
        app.state.engine = new
    else:
        app.state.engine.beside.named[new.model.manifest.name] = new
    _announce(app.state.engine, old.title)
    app.state.streams.renew(old)


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
            metrics.begin_predictions(one.title, attribute.name, groups(attribute))
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
    """Complete the OpenAPI document by the model that is served, once one is; anew after a reload alone, as it takes 10 ms."""
    generate = app.openapi
    made: tuple[object, dict[str, object]] | None = None

    def openapi() -> dict[str, object]:
        nonlocal made
        engine: Engine | None = getattr(app.state, "engine", None)
        if engine is None:
            return openapi_document.complete(generate(), None, keyed=keyed)
        served = (engine.model.digest, engine.attributes)
        if made is None or made[0] != served:
            made = served, openapi_document.complete(generate(), engine.model.manifest, engine.attributes, keyed=keyed)
        return made[1]

    app.openapi = openapi  # type: ignore[method-assign]
