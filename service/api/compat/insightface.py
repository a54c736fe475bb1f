"""`extract` of InsightFace-REST 0.9.5, as its `ifr_clients` call it in JSON, below `/compat/insightface`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final, TypedDict

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from service import __version__
from service.api.compat.translation import System, largest_first, least_confidence, permitted
from service.api.keys import client_of
from service.api.problems import request_id
from service.api.routes import ChosenEngine, EngineDependency, answered, answered_each, failed, health
from service.api.schemas import BatchItem, FaceAnswer, PredictAnswer, Problem
from service.api.statuses import status_of
from service.api.uploads import MAX_JSON_MARKS, from_base64, json_object, media_type, parsed
from service.errors import FacetError, InvalidParameter, MissingFile, TooManyFields, UnsupportedMediaType
from service.inference.attributes import whole_years
from service.inference.engine import Engine
from service.vision.detection import LANDMARKS

ATTRIBUTES: Final = ("age", "gender")
"""What `extract_ga` asks for."""
GENDERS: Final = {"female": 0, "male": 1}
FORM: Final = '{"images": {"data": ["<base64>", …]}}'


class Images(BaseModel):
    """The photos, as base64; addresses are looked at only to refuse them."""

    data: list[str] | None = None
    urls: list[str] | None = None


class Extract(BaseModel):
    """What a request asks for. A null counts as absent, and a member that is not named here is passed over, as there."""

    images: Images
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    embed_only: bool | None = None
    return_landmarks: bool | None = None
    extract_ga: bool | None = None
    limit_faces: Annotated[int, Field(ge=0)] | None = None
    min_face_size: float | None = None
    msgpack: bool | None = None


class ExtractedFace(TypedDict):
    """One face, in pixels. What is not answered is null: `RecognitionResponse` of the client wants every member."""

    num_det: int
    prob: float
    bbox: tuple[int, int, int, int]
    size: int
    landmarks: list[tuple[int, int]] | None
    gender: int | None
    age: int | None
    norm: None
    vec: None
    facedata: None
    mask: None


def extraction(body: bytes, content_type: str, content_encoding: str, most: int) -> tuple[list[bytes], Extract]:
    """Parse a request.

    Args:
        body: The whole body.
        content_type: The header; empty where absent.
        content_encoding: The header; empty where absent.
        most: Most photos, 1 or more.

    Returns:
        The photos, at least one, and what is asked for.

    Raises:
        RequestValidationError: A member is not of its kind.
        MissingFile: There is no photo.
        InvalidParameter: Addresses are sent, or what is not answered: crops to embed, or msgpack.
        TooManyFields: There are more photos than are read.
        UnsupportedMediaType: The body is not JSON.
        RequestError: The body breaks its own grammar, or a photo is not base64.
    """
    kind, _ = media_type(content_type, content_encoding)
    if kind != b"application/json":
        raise UnsupportedMediaType("Send application/json: use_msgpack=False makes IFRClient do so.")
    try:
        asked = Extract.model_validate(json_object(body, FORM, 2 * most + MAX_JSON_MARKS))
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error
    if asked.images.urls:
        raise InvalidParameter("images.urls: addresses and paths are not opened; send the photos in images.data, as base64.")
    if asked.embed_only:
        raise InvalidParameter("embed_only: faces are always looked for; send the photos that the crops are from.")
    if asked.msgpack:
        raise InvalidParameter("msgpack: answers are JSON.")
    if not asked.images.data:
        raise MissingFile("images.data holds no photo.")
    if len(asked.images.data) > most:
        raise TooManyFields(f"Send at most {most} photos.")
    return [from_base64(text) for text in asked.images.data], asked


def extracted(faces: Sequence[FaceAnswer], asked: Extract) -> list[ExtractedFace]:
    """Translate the faces of a photo.

    Args:
        faces: As `POST /predict` answers them, with landmarks.
        asked: By the request.

    Returns:
        The faces as InsightFace-REST has them, the largest first; `num_det` counts those that are left out as too small, too.
    """
    found = []
    for number, face in enumerate(largest_first(faces)):
        box, points = face.box, face.landmarks
        if box.width < (asked.min_face_size or 0):
            continue
        shown = None
        if asked.return_landmarks and points is not None:
            shown = [(round(x), round(y)) for x, y in (getattr(points, name) for name in LANDMARKS)]
        found.append(
            ExtractedFace(
                num_det=number,
                prob=face.confidence,
                bbox=(box.x, box.y, box.x + box.width, box.y + box.height),
                size=box.width,
                landmarks=shown,
                gender=None if face.gender is None else GENDERS.get(face.gender.label),
                age=None if face.age is None else whole_years(face.age.years),
                norm=None,
                vec=None,
                facedata=None,
                mask=None,
            )
        )
    return found


def _photo(item: BatchItem, asked: Extract) -> dict[str, object]:
    """The faces of a photo, or why there are none."""
    if item.result is None:
        detail = "" if item.problem is None else item.problem.detail
        return {"status": "failed", "took_ms": 0.0, "faces": [], "traceback": detail}
    return {"status": "ok", "took_ms": item.result.timing_ms["total"], "faces": extracted(item.result.faces, asked)}


async def _items(
    engine: Engine,
    photos: Sequence[bytes],
    one: Callable[[bytes, float], Awaitable[PredictAnswer]],
    dues: tuple[float, float],
    identity: str,
) -> list[BatchItem]:
    """A result or a problem for every photo. The only photo's problem is the request's where a second try may end better."""
    due, batch_due = dues
    if len(photos) > 1:
        return await answered_each(engine, photos, one, batch_due, identity)
    try:
        return [BatchItem(index=0, status=200, result=await one(photos[0], due))]
    except FacetError as error:
        if status_of(type(error)) >= 500:
            raise
        return [failed(0, error, identity)]


router = APIRouter(prefix="/compat/insightface", include_in_schema=False)


@router.post("/extract")
async def extract(request: Request, engine: ChosenEngine) -> Response:
    """Answer `{"took": …, "data": […]}`, a photo each; one that cannot be read has failed, and the others have not."""
    start = time.perf_counter()
    identity, headers = request_id(request), request.headers
    body = await request.body()
    dues = engine.due(), engine.batch_due()
    content = headers.get("content-type", ""), headers.get("content-encoding", "")
    photos, asked = await parsed(extraction, body, *content, engine.max_batch_files)
    names = permitted(engine, ATTRIBUTES if asked.extract_ga else ())
    least = least_confidence(asked.threshold)
    options = engine.options(names, asked.limit_faces or None, least, client=client_of(request.scope))

    async def one(photo: bytes, due: float) -> PredictAnswer:
        return await answered(engine, photo, options, due, identity, landmarks=True)

    items = await _items(engine, photos, one, dues, identity)
    took = {"total_ms": round(1000 * (time.perf_counter() - start), 2)}
    return JSONResponse({"took": took, "data": [_photo(item, asked) for item in items]})


@router.get("/info")
async def info(engine: EngineDependency) -> JSONResponse:
    """What `server_info` of the client shows; what has no counterpart is null."""
    models = {
        "inference_backend": engine.runtime,
        "det_name": engine.detector.manifest.title,
        "det_batch_size": None,
        "max_size": None,
        "ga_name": engine.model.manifest.title,
        "rec_name": None,
        "rec_batch_size": None,
        "mask_detector": None,
    }
    return JSONResponse({"version": f"facet {__version__}", "models": models})


@router.get("/health")
async def state(engine: EngineDependency) -> JSONResponse:
    """As `GET /health`: 200 while photos are accepted."""
    return await health(engine)


def failure(problem: Problem) -> Response:
    """Translate a problem.

    Args:
        problem: Any problem.

    Returns:
        `{"detail": …}`, as FastAPI has it, with the problem's status.
    """
    return JSONResponse({"detail": problem.detail}, problem.status)


SYSTEM: Final = System(
    "insightface",
    "/compat/insightface",
    router,
    failure,
    probes=frozenset({"/compat/insightface/health"}),
    batches=frozenset({"/compat/insightface/extract"}),
)
