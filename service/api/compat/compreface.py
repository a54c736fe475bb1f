"""The detection service of CompreFace 1.2, as compreface-sdk 0.6.0 calls it, below `/compat/compreface`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Final, NotRequired, TypedDict

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from starlette.responses import Response

from service.api.compat.translation import System, largest_first, least_confidence, permitted, received
from service.api.keys import client_of
from service.api.problems import request_id
from service.api.routes import ChosenEngine, answered
from service.api.schemas import FaceAnswer, PredictAnswer, Problem
from service.api.uploads import from_base64, json_object, media_type, multipart, refuse_text
from service.errors import EmptyFile, MissingFile, UnsupportedMediaType
from service.vision.detection import LANDMARKS

PLUGINS: Final = ("age", "gender")
"""Plugins whose answers are attributes here; `landmarks` is the third one that there is."""
FORM: Final = '{"file": "<base64>"}'
NO_FACE: Final = {"message": "No face is found in the given image", "code": 28}
CODES: Final = {
    "unauthenticated": 10,
    "unsupported_format": 21,
    "corrupt_image": 21,
    "malformed_base64": 21,
    "invalid_parameter": 26,
    "missing_file": 34,
}
"""Codes of CompreFace's `CommonExceptionCode` by the problem's: no such service, file, constraint, missing part."""
SERVICE_FAULT: Final = 41
UNDEFINED: Final = 0
_EMPTY_IS_ABSENT: Final = BeforeValidator(lambda given: None if given == "" else given)
"""Clients that write out every parameter leave those empty that they leave open."""


class Asked(BaseModel):
    """What a request asks for, in its query or, as Spring reads them alike, in fields of its form."""

    limit: Annotated[Annotated[int, Field(ge=0)] | None, _EMPTY_IS_ABSENT] = None
    det_prob_threshold: Annotated[Annotated[float, Field(ge=0, le=1)] | None, _EMPTY_IS_ABSENT] = None
    face_plugins: Annotated[str, Field(max_length=200)] = ""
    status: Annotated[bool | None, _EMPTY_IS_ABSENT] = None


class Box(TypedDict):
    """A box in pixels, and how probable a face is in it."""

    probability: float
    x_max: int
    y_max: int
    x_min: int
    y_min: int


class Age(TypedDict):
    """Years, bounds included, and in what share of cases they hold the true age."""

    low: int
    high: int
    probability: NotRequired[float]


class Gender(TypedDict):
    """The more probable label."""

    value: str
    probability: float


class DetectedFace(TypedDict):
    """One face; times in milliseconds."""

    box: Box
    age: NotRequired[Age]
    gender: NotRequired[Gender]
    landmarks: NotRequired[list[tuple[int, int]]]
    execution_time: NotRequired[dict[str, float]]


class Detection(TypedDict):
    """The faces of a photo, and which models answered."""

    result: list[DetectedFace]
    plugins_versions: NotRequired[dict[str, str]]


def fields(body: bytes, content_type: str, content_encoding: str, /) -> tuple[bytes, Mapping[str, object]]:
    """Parse a request of multipart or JSON, with the photo in `file`.

    Args:
        body: The whole body.
        content_type: The header; empty where absent.
        content_encoding: The header; empty where absent.

    Returns:
        The photo, and the other fields of a form by name.

    Raises:
        MissingFile: There is no photo.
        EmptyFile: The photo has zero bytes.
        UnsupportedFormat: In its place is its name, or its base64.
        UnsupportedMediaType: The body is neither of the two.
        RequestError: The body breaks its own grammar.
    """
    kind, parameters = media_type(content_type, content_encoding)
    texts: Mapping[str, str] = {}
    if kind == b"multipart/form-data":
        form = multipart(body, parameters, (b"file",), 1, texts=True)
        photos, texts = form.files, form.texts
    elif kind == b"application/json":
        image = json_object(body, FORM).get("file")
        photos = [from_base64(image)] if isinstance(image, str) else []
    else:
        raise UnsupportedMediaType("Send multipart/form-data or application/json.")
    if not photos:
        raise MissingFile("Required part file is missing.")
    if not photos[0]:
        raise EmptyFile("The file is empty.")
    refuse_text(photos[0], f"{FORM} as application/json")
    return photos[0], texts


def asked(query: Mapping[str, str], given: Mapping[str, object]) -> Asked:
    """Read what a request asks for.

    Args:
        query: Of the request; it goes before the form.
        given: Fields of its form.

    Returns:
        The parameters.

    Raises:
        RequestValidationError: A value is not of its kind.
    """
    try:
        return Asked.model_validate({**given, **query})
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error


def detected(face: FaceAnswer, plugins: Collection[str]) -> DetectedFace:
    """Translate a face.

    Args:
        face: As `POST /predict` answers it, with landmarks.
        plugins: Names of plugins that are asked for.

    Returns:
        The face as CompreFace has it; what was not answered is absent.
    """
    box = face.box
    found = DetectedFace(
        box=Box(probability=face.confidence, x_max=box.x + box.width, y_max=box.y + box.height, x_min=box.x, y_min=box.y)
    )
    if face.age is not None and face.age.low is not None and face.age.high is not None:
        found["age"] = Age(low=face.age.low, high=face.age.high)
        if face.age.coverage is not None:
            found["age"]["probability"] = face.age.coverage
    if face.gender is not None:
        found["gender"] = Gender(value=face.gender.label, probability=face.gender.confidence)
    if "landmarks" in plugins and face.landmarks is not None:
        points = (getattr(face.landmarks, name) for name in LANDMARKS)
        found["landmarks"] = [(round(x), round(y)) for x, y in points]
    return found


def with_status(found: Detection, answer: PredictAnswer, detector: str, plugins: Collection[str]) -> None:
    """Add what `status=true` asks for: times, and which models answered.

    Args:
        found: Is added to.
        answer: Where it comes from.
        detector: Name of the detector, with its version.
        plugins: Names of attributes that are answered.
    """
    model = f"{answer.model.name}/{answer.model.version}"
    times = {"detector": answer.timing_ms["detect"]} | dict.fromkeys(plugins, answer.timing_ms["predict"])
    for face in found["result"]:
        face["execution_time"] = dict(times)
    found["plugins_versions"] = {"detector": detector} | dict.fromkeys(plugins, model)


router = APIRouter()


@router.post("/compat/compreface/api/v1/detection/detect", include_in_schema=False)
async def detect(request: Request, engine: ChosenEngine) -> Response:
    """Answer `{"result": […]}`, a face each, the largest first; without a face it is an error of the code 28, as there."""
    photo, given, due = await received(request, engine, fields)
    wanted = asked(request.query_params, given)
    plugins = [name.strip() for name in wanted.face_plugins.split(",")]
    names = permitted(engine, [name for name in PLUGINS if name in plugins])
    least = least_confidence(wanted.det_prob_threshold)
    options = engine.options(names, wanted.limit or None, least, client=client_of(request.scope))
    answer = await answered(engine, photo, options, due, request_id(request), landmarks=True)
    if not answer.faces:
        return JSONResponse(NO_FACE, 400)
    found = Detection(result=[detected(face, plugins) for face in largest_first(answer.faces)])
    if wanted.status:
        with_status(found, answer, engine.detector.manifest.title, names)
    return JSONResponse(found)


def failure(problem: Problem) -> Response:
    """Translate a problem: 400 for every fault of a request's content, as there, and our own status otherwise.

    Args:
        problem: Any problem.

    Returns:
        `{"message": …, "code": …}`.
    """
    code = CODES.get(problem.code, SERVICE_FAULT if problem.status >= 500 else UNDEFINED)
    return JSONResponse({"message": problem.detail, "code": code}, 400 if problem.status in (415, 422) else problem.status)


SYSTEM: Final = System("compreface", "/compat/compreface", router, failure)
