"""HTTP in, HTTP out; translates, decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.exposition import choose_encoder
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from service import __version__, errors
from service.api.keys import Keys, client_of, sent_key
from service.api.problems import count, documented, request_id
from service.api.query import MAX_TITLE, MODEL, check_names, parameters, plain, read
from service.api.schemas import BatchAnswer, BatchItem, Health, ModelName, PredictAnswer, ReloadAnswer, answer
from service.api.statuses import problem_of, status_of
from service.api.uploads import parsed, refuse_text
from service.errors import FacetError
from service.inference.attributes import Expectation
from service.inference.engine import Engine
from service.inference.pipeline import Analysis, Options
from service.metrics import FACES, PHOTO_FAILURES, PHOTO_SECONDS, PREDICTIONS
from service.models.card import ModelCard
from service.tracing import CURRENT

router = APIRouter(generate_unique_id_function=lambda route: route.name)


class Reloads(Protocol):
    """Swaps the model in service."""

    def engine(self, name: str | None) -> Engine:
        """The engine of a model that can be swapped.

        Args:
            name: Of the model; None for the default one.

        Returns:
            The engine in service.

        Raises:
            InvalidParameter: No model of this name is in service.
        """

    async def reload(self, version: int | None = None, name: str | None = None) -> Literal["swapped", "unchanged"]:
        """Serve a version of a model.

        Args:
            version: 1 or more, served and kept; None for that of the settings, or the newest.
            name: Of the model; None for the default one.

        Returns:
            Whether it was put in the place of another one.

        Raises:
            ModelRefused: It cannot be served; the former one is.
            NotReady: The service is shutting down.
            InvalidParameter: No model of this name is in service.
        """


PROBES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Paths that are asked again and again by machines."""
KEPT = frozenset({"/metrics", "/model/reload"})
"""Paths that are the operator's alone: what leads the world to the service leaves them out."""

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "string", "format": "byte"}},
                    "required": ["image"],
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_FILES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}},
                    "required": ["file"],
                }
            }
        },
    }
}
_HTTP_ERRORS = (
    errors.MalformedRequest,
    errors.HeadTooLarge,
    errors.HeadTimeout,
    errors.BodyTimeout,
    errors.BodyTooLarge,
    errors.Unauthenticated,
    errors.InvalidParameter,
)
_REQUEST_ERRORS = (
    *_HTTP_ERRORS,
    errors.MissingFile,
    errors.EmptyFile,
    errors.MalformedMultipart,
    errors.TooManyFields,
    errors.UnsupportedMediaType,
    errors.UnsupportedEncoding,
    errors.RateLimited,
    errors.NotReady,
)
_PHOTO_ERRORS = (
    errors.MalformedJson,
    errors.MalformedBase64,
    errors.UnsupportedFormat,
    errors.CorruptImage,
    errors.ImageTooLarge,
    errors.ImageTooSmall,
    errors.QueueFull,
    errors.DeadlineExceeded,
    errors.InferenceError,
)


# Dependencies are coroutines: FastAPI calls functions on threads, which costs a request more than what they do.


def engine_of(request: Request) -> Engine:
    """The engine of the default model, which knows of the others.

    Args:
        request: Any request.

    Returns:
        The engine.
    """
    engine: Engine = request.app.state.engine
    return engine


RequestedModel = Annotated[str | None, Query(description=MODEL, max_length=MAX_TITLE)]


async def chosen_engine(request: Request, model: RequestedModel = None) -> AsyncIterator[Engine]:
    """The engine that answers a request: all of its answer is that engine's, whatever is put in its place meanwhile.

    Args:
        request: Any request; its id decides whether a canary answers.
        model: What the client names.

    Yields:
        The engine.

    Raises:
        InvalidParameter: No such model is in service.
    """
    engine = engine_of(request).chosen(model, request_id(request))
    with engine.in_use():
        yield engine


async def operator_of(request: Request) -> None:
    """Let nobody pass but an operator.

    Args:
        request: Any request.

    Raises:
        HTTPException: With 404, where no operator has a key.
        Unauthenticated: There is no key, or it is no operator's.
    """
    keys: Keys | None = request.app.state.operators
    if keys is None:
        raise HTTPException(404)
    keys.take(sent_key(request.headers.get("x-api-key"), request.headers.get("authorization")).encode("latin-1"))


def _check_names(request: Request, *known: str) -> None:
    check_names([name for name, _ in request.query_params.multi_items()], known)


async def _engine(request: Request) -> Engine:
    return engine_of(request)


EngineDependency = Annotated[Engine, Depends(_engine)]
ChosenEngine = Annotated[Engine, Depends(chosen_engine)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of a prediction, and the engine that answers all of it."""

    engine: Engine
    options: Options
    landmarks: bool
    distribution: bool


@contextmanager
def asked(request: Request) -> Iterator[Asked]:
    """Read the query of a prediction; its model stays in memory for as long as the context lasts.

    Args:
        request: Any request; its id decides whether a canary answers.

    Yields:
        What the query asks for.

    Raises:
        RequestValidationError: A value is not of its kind.
        InvalidParameter: A name is none of the query's or comes twice, or a value cannot be had of the engine.
    """
    query = read(request.scope["query_string"])
    engine = engine_of(request).chosen(query.model, request_id(request))
    options = engine.options(
        query.names,
        query.max_faces,
        query.min_confidence,
        client=client_of(request.scope),
        at_least=query.ages,
        preview=query.preview,
    )
    with engine.in_use():
        yield Asked(engine, options, query.landmarks, query.distribution)


BodyReader = Callable[[bytes, str, str, int], list[bytes]]
"""Takes a body apart as `photos` does."""


async def _photos(request: Request, due: Callable[[], float], most: int) -> tuple[list[bytes], float]:
    """The photos of a body, and when they are to be answered, counted from its arrival."""
    take: BodyReader = request.app.state.body_reader
    body = await request.body()
    when = due()
    headers = request.headers
    return await parsed(take, body, headers.get("content-type", ""), headers.get("content-encoding", ""), most), when


def _counted(analysis: Analysis, model: str) -> Analysis:
    PHOTO_SECONDS.labels(model).observe(analysis.timings["total"] / 1000)
    FACES.observe(len(analysis.faces))
    record = CURRENT.get()
    if record is not None:
        record.faces += len(analysis.faces)
    for person in analysis.faces:
        for name, value in person.attributes.items():
            PREDICTIONS.labels(model, name, value.group if isinstance(value, Expectation) else value.label).inc()
    return analysis


async def answered(
    engine: Engine,
    photo: bytes,
    options: Options,
    due: float,
    identity: str,
    *,
    landmarks: bool = False,
    distribution: bool = False,
) -> PredictAnswer:
    """Answer one photo, and count what is answered.

    Args:
        engine: What answers photos.
        photo: A file's bytes.
        options: As `Engine.options` returned them.
        due: Time of the event loop's clock, in seconds.
        identity: The request's id.
        landmarks: Whether landmarks are included.
        distribution: Whether the distribution over ages is included.

    Returns:
        The answer of `POST /predict`.

    Raises:
        FacetError: As of `Engine.analyse`.
    """
    try:
        analysis = _counted(await engine.analyse(photo, options, due), engine.title)
    except errors.InferenceError:
        PHOTO_FAILURES.labels(engine.title).inc()
        raise
    return answer(analysis, identity, ModelName.of(engine.model), landmarks=landmarks, distribution=distribution)


async def answered_each(
    engine: Engine,
    files: Sequence[bytes],
    answer_one: Callable[[bytes, float], Awaitable[PredictAnswer]],
    batch_due: float,
    identity: str,
) -> list[BatchItem]:
    """Answer the photos of a batch, as many at a time as there are threads for photos; a failure is a photo's own.

    Args:
        engine: What answers photos.
        files: The photos.
        answer_one: Answers a photo until a time of the event loop's clock, in seconds.
        batch_due: As of `Engine.batch_due`.
        identity: The request's id.

    Returns:
        A result or a problem for every photo, in order.
    """
    turns = asyncio.Semaphore(engine.photos_at_once)

    async def one(index: int, photo: bytes) -> BatchItem:
        try:
            async with turns:
                return BatchItem(index=index, status=200, result=await answer_one(photo, engine.turn_due(batch_due)))
        except FacetError as error:
            return failed(index, error, identity)

    async with asyncio.TaskGroup() as group:  # no photo outlives a batch that ends before its time
        tasks = [group.create_task(one(index, photo)) for index, photo in enumerate(files)]
    return [task.result() for task in tasks]


def failed(index: int, error: FacetError, identity: str) -> BatchItem:
    """Make a failure a photo's own, and count it.

    Args:
        index: The photo's place in the request.
        error: What it failed with.
        identity: The request's id.

    Returns:
        The item, with its problem.
    """
    count(error, identity)
    record = CURRENT.get()
    if record is not None:
        record.failed += 1
    return BatchItem(index=index, status=status_of(type(error)), problem=problem_of(error, identity))


async def _predict(asked: Asked, photo: bytes, due: float, identity: str) -> PredictAnswer:
    return await answered(
        asked.engine, photo, asked.options, due, identity, landmarks=asked.landmarks, distribution=asked.distribution
    )


@router.post(
    "/predict",
    summary="Estimates for every face in a photo",
    response_model=PredictAnswer,
    response_model_exclude_none=True,
    responses=documented(*_REQUEST_ERRORS, *_PHOTO_ERRORS),
    openapi_extra={"parameters": parameters(), **_BODY},
    tags=["predict"],
)
async def predict(request: Request) -> Response:
    """Send a photo as the multipart field `file` (or `image`), as the raw body, or as JSON `{"image": "<base64>"}`.

    Formats, by their bytes: JPEG, PNG, WebP, HEIC, AVIF, BMP and GIF (first frame). Boxes are in pixels of the upright photo.
    A photo without a face gives an empty list.
    """
    with asked(request) as wanted:
        (photo,), due = await _photos(request, wanted.engine.due, 1)
        return _json(await _predict(wanted, photo, due, request_id(request)))


@router.post(
    "/predict/batch",
    summary="The same for several photos",
    response_model=BatchAnswer,
    response_model_exclude_none=True,
    responses=documented(*_REQUEST_ERRORS, errors.MalformedJson, errors.MalformedBase64, errors.QueueFull),
    openapi_extra={"parameters": parameters(), **_FILES},
    tags=["predict"],
)
async def predict_batch(request: Request) -> Response:
    """Send several multipart fields `file`. Each photo gets its own result or problem, in order.

    The service works on as many at a time as it has threads for photos. A photo's deadline counts from its turn, and another
    one bounds the whole batch; a photo that would be finished too late gets the problem `deadline_exceeded`.
    """
    identity = request_id(request)
    with asked(request) as wanted:
        engine = wanted.engine
        files, batch_due = await _photos(request, engine.batch_due, engine.max_batch_files)

        async def one(photo: bytes, due: float) -> PredictAnswer:
            try:
                return await _predict(wanted, photo, due, identity)
            except errors.UnsupportedFormat:
                await parsed(refuse_text, photo)
                raise

        return _json(BatchAnswer(request_id=identity, results=await answered_each(engine, files, one, batch_due, identity)))


def _json(document: PredictAnswer | BatchAnswer) -> Response:
    return Response(document.model_dump_json(exclude_none=True), media_type="application/json")


@router.get(
    "/health", summary="State of the service", response_model=Health, responses={503: {"model": Health}}, tags=["operate"]
)
async def health(engine: EngineDependency) -> JSONResponse:
    """200 while photos are accepted; 503 while the service is starting or draining, or a batch hangs."""
    return _health(engine, engine.trouble() or engine.hang())


@router.get("/health/live", summary="Liveness", response_model=Health, responses={503: {"model": Health}}, tags=["operate"])
async def live(engine: EngineDependency) -> JSONResponse:
    """200 while the event loop responds and no batch is older than 30 seconds; otherwise the process should be restarted."""
    return _health(engine, engine.hang())


@router.get("/health/ready", summary="Readiness", response_model=Health, responses={503: {"model": Health}}, tags=["operate"])
async def ready(engine: EngineDependency) -> JSONResponse:
    """200 while the model is loaded, warmed and verified, and the service is not draining."""
    return _health(engine, engine.trouble())


@router.post(
    "/model/reload",
    summary="Serve another version of a model",
    response_model=ReloadAnswer,
    responses=documented(*_HTTP_ERRORS, errors.ModelRefused, errors.NotReady, unrouted=(404,)),
    dependencies=[Depends(operator_of)],
    tags=["operate"],
)
async def reload(
    request: Request,
    version: Annotated[
        Annotated[int, Field(ge=1), BeforeValidator(plain)] | None,
        Query(description="Version to serve and keep, whatever else the store holds."),
    ] = None,
    model: Annotated[
        str | None, Query(description="NAME of the model to replace; the default model if omitted.", max_length=MAX_TITLE)
    ] = None,
) -> ReloadAnswer:
    """Load the newest version, or the one that the settings or the query name, and serve it from the next request on.

    It is verified and warmed while the current one serves, which stays if the new one is refused.
    The route exists only where `FACET_OPERATOR_KEYS` is set, and requires one of these keys.
    """
    _check_names(request, "model", "version")
    if (await request.body()).strip() not in (b"", b"{}"):  # some clients send an empty object with every request
        raise errors.InvalidParameter("The body is not read: name version and model in the address.")
    reloader: Reloads = request.app.state.reloader
    outcome = await reloader.reload(version, model)
    engine = reloader.engine(model)
    return ReloadAnswer(outcome=outcome, model=ModelName.of(engine.model), digest=engine.model.digest)


def _health(engine: Engine, trouble: str | None) -> JSONResponse:
    state = Health(
        status="ok" if trouble is None else "unavailable",
        model=ModelName.of(engine.model),
        version=__version__,
        uptime_s=round(engine.uptime(), 1),
        detail=trouble,
    )
    return JSONResponse(state.model_dump(exclude_none=True), 200 if trouble is None else 503, {"Cache-Control": "no-store"})


@router.get(
    "/model",
    summary="The model, its training data, and how accurate it is for whom",
    response_model=ModelCard,
    responses=documented(*_HTTP_ERRORS, errors.RateLimited),
    tags=["operate"],
)
async def model(request: Request, default: EngineDependency, model: RequestedModel = None) -> JSONResponse:
    """The model's manifest, its digest, what this service does with it, and the models that it serves.

    A canary is described where it is named alone.
    """
    _check_names(request, "model")
    engine = default if model is None else default.chosen(model, request_id(request))
    return JSONResponse(engine.card(default.names()).document())


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The exposition format"}},
    tags=["operate"],
)
async def metrics(request: Request) -> Response:
    """The exposition format of Prometheus; OpenMetrics, whose counts of requests name a trace, where `Accept` asks for it."""
    if "openmetrics" not in request.headers.get("accept", ""):
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
    encode, content_type = choose_encoder("application/openmetrics-text")  # what came may have a version at which it fails
    return Response(encode(REGISTRY), media_type=content_type)
