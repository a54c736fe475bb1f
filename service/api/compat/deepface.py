"""`analyze` of the API in deepface 0.0.103, whose shapes stand in its `api/src/modules/core`, below `/compat/deepface`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NotRequired, TypedDict
from urllib.parse import unquote_plus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from service.api.compat.translation import System, permitted, received
from service.api.keys import client_of
from service.api.problems import request_id
from service.api.routes import ChosenEngine, answered
from service.api.schemas import FaceAnswer, ImageSize, LabelAnswer, Point, Problem
from service.api.uploads import from_base64, json_object, media_type, multipart, refuse_text
from service.errors import InvalidParameter, MalformedBase64, MissingFile, TooManyFields, UnsupportedMediaType
from service.inference.attributes import whole_years

ACTIONS: Final = ("age", "gender", "emotion", "race")
"""What a client may ask for; emotion is never answered."""
GENDERS: Final = {"female": "Woman", "male": "Man"}
"""Our labels as deepface has them, in its order. Those of race are the same in both, or are in one of them alone."""
NO_FACE: Final = (
    "Exception while analyzing: Face could not be detected. Please confirm that the picture is a face photo or consider to set "
    "enforce_detection param to False."
)
FORM: Final = '{"img": "data:image/…;base64,…", "actions": […]}'
MAX_FORM_FIELDS: Final = 16
"""Fields of a URL-encoded form."""
_ESCAPES: Final = {f"%{ord(character):02X}".encode(): character.encode() for character in "+/=:;,\r\n"}
"""What a `data:` address with base64, which may be broken into lines, holds that a form escapes."""

PixelPoint = tuple[int, int]


class Region(TypedDict):
    """A face's box in pixels; the eyes' left and right are the person's own."""

    x: int
    y: int
    w: int
    h: int
    left_eye: PixelPoint | None
    right_eye: PixelPoint | None


class FaceAnalysis(TypedDict):
    """One face; probabilities in percent."""

    age: NotRequired[int]
    gender: NotRequired[dict[str, float]]
    dominant_gender: NotRequired[str]
    race: NotRequired[dict[str, float]]
    dominant_race: NotRequired[str]
    region: Region
    face_confidence: float


def fields(body: bytes, content_type: str, content_encoding: str, /) -> tuple[bytes, Mapping[str, object]]:
    """Parse a request of multipart, JSON or a URL-encoded form.

    Args:
        body: The whole body.
        content_type: The header; empty where absent.
        content_encoding: The header; empty where absent.

    Returns:
        The photo, and the other fields by name.

    Raises:
        MissingFile: There is no photo in `img`.
        InvalidParameter: There is an address or a path in `img`.
        UnsupportedFormat: A form's `img` has the name of a file, or base64 without `data:`.
        UnsupportedMediaType: The body is none of the three.
        RequestError: The body breaks its own grammar.
    """
    kind, parameters = media_type(content_type, content_encoding)
    if kind == b"multipart/form-data":
        form = multipart(body, parameters, (b"img",), 1, texts=True)
        if not form.files:
            raise MissingFile("'img' is not in the form.")
        (photo,) = form.files
        if photo.startswith((b"data:", b"http")):
            return _from_text(photo.decode("latin-1")), form.texts
        refuse_text(photo, "it after data:image/…;base64,")
        return photo, form.texts
    if kind == b"application/json":
        document = json_object(body, FORM)
    elif kind == b"application/x-www-form-urlencoded":
        document = _urlencoded(body)
    else:
        raise UnsupportedMediaType("Send multipart/form-data, application/json or application/x-www-form-urlencoded.")
    return _from_text(document.pop("img", None)), document


def _from_text(image: object) -> bytes:
    """Bytes of a photo that is sent as text. Raises `InvalidParameter` for an address or a path: none is ever opened."""
    if not image:
        raise MissingFile("'img' is not in the request.")
    if not isinstance(image, str):
        raise InvalidParameter("img: send one photo, as base64 after data:image/…;base64, or as a file.")
    if not image.startswith("data:"):
        raise InvalidParameter("img: addresses and paths are not opened; send data:image/…;base64,… or a file.")
    return from_base64(image)


def _urlencoded(body: bytes) -> dict[str, str]:
    """Fields of a form, of equal ones the first. A photo's escapes are replaced whole: they would unfold to gigabytes."""
    if body.count(b"&") >= MAX_FORM_FIELDS:
        raise TooManyFields("The form has too many fields.")
    found: dict[str, str] = {}
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"img":
            for escape, character in _ESCAPES.items():
                value = value.replace(escape, character).replace(escape.lower(), character)
            if b"%" in value and value.startswith(b"data:"):
                raise MalformedBase64("The image is not valid base64.")
            found.setdefault("img", value.decode("latin-1"))
        elif len(pair) > 1024:
            raise TooManyFields("A field of the form is too long.")
        else:
            found.setdefault(unquote_plus(name.decode("latin-1")), unquote_plus(value.decode("latin-1")))
    return found


def actions_of(value: object) -> list[str]:
    """Read which attributes a client asks for.

    Args:
        value: A list, or a text as a form has it, such as `["age", "gender"]`; None for all.

    Returns:
        Names of `ACTIONS`.

    Raises:
        InvalidParameter: It is empty, or one of them is none.
    """
    if value is None:
        return list(ACTIONS)
    if isinstance(value, str):
        value = [name for name in value.translate({ord(mark): None for mark in "[]()\"' "}).split(",") if name]
    if not isinstance(value, list) or not value:
        raise InvalidParameter("`actions` must be a list of strings.")
    if any(name not in ACTIONS for name in value):
        raise InvalidParameter(f"Invalid action passed. Valid actions are {', '.join(ACTIONS)}.")
    return value


def flag(value: object) -> bool:
    """Read a flag, which a form sends as text.

    Args:
        value: A JSON value, or a text.

    Returns:
        False for `false`, `0`, `no`, `none` and nothing, in any case. deepface takes every text but an empty one for true.
    """
    return value.strip().lower() not in ("", "0", "false", "no", "none") if isinstance(value, str) else bool(value)


def analysis(face: FaceAnswer, image: ImageSize) -> FaceAnalysis:
    """Translate a face.

    Args:
        face: As `POST /predict` answers it, with landmarks.
        image: Of the photo.

    Returns:
        The face as deepface has it; what was not answered is absent.
    """
    found = FaceAnalysis(region=_region(face, image), face_confidence=round(face.confidence, 2))
    if face.age is not None:
        found["age"] = whole_years(face.age.years)
    if face.gender is not None:
        found["gender"] = _percent(face.gender, GENDERS)
        found["dominant_gender"] = GENDERS.get(face.gender.label, face.gender.label)
    if face.race is not None:
        found["race"] = _percent(face.race, {})
        found["dominant_race"] = face.race.label
    return found


def _region(face: FaceAnswer, image: ImageSize) -> Region:
    box, points = face.box, face.landmarks
    # Ours are the viewer's left and right.
    left, right = (None, None) if points is None else (_within(points.right_eye, image), _within(points.left_eye, image))
    return Region(x=box.x, y=box.y, w=box.width, h=box.height, left_eye=left, right_eye=right)


def _within(point: Point, image: ImageSize) -> PixelPoint | None:
    """A point in whole pixels; None where it lies outside of the photo."""
    x, y = point
    return (int(x), int(y)) if 0 <= x < image.width and 0 <= y < image.height else None


def _percent(answer: LabelAnswer, names: Mapping[str, str]) -> dict[str, float]:
    """Probabilities in percent by translated labels; those of `names` come first, in its order."""
    first: Sequence[str] = [label for label in names if label in answer.probabilities]
    labels = [*first, *(label for label in answer.probabilities if label not in first)]
    return {names.get(label, label): round(100 * answer.probabilities[label], 2) for label in labels}


router = APIRouter()


@router.post("/compat/deepface/analyze", include_in_schema=False)
async def analyze(request: Request, engine: ChosenEngine) -> Response:
    """Answer `{"results": […]}`, a face each. Without a face it is an error, unless `enforce_detection` is false."""
    photo, given, due = await received(request, engine, fields)
    actions = actions_of(given.get("actions"))
    if flag(given.get("anti_spoofing", False)):
        raise InvalidParameter("anti_spoofing: Facet does not check whether a face is live.")
    options = engine.options(permitted(engine, actions), None, None, client=client_of(request.scope))
    answer = await answered(engine, photo, options, due, request_id(request), landmarks=True)
    if not answer.faces and flag(given.get("enforce_detection", True)):
        return JSONResponse({"error": NO_FACE}, 400)
    return JSONResponse({"results": [analysis(face, answer.image) for face in answer.faces]})


def failure(problem: Problem) -> Response:
    """Translate a problem: 400 for every fault of a request's content, as there, and our own status otherwise.

    Args:
        problem: Any problem.

    Returns:
        `{"message": …}` without a known key, `{"exception": …}` without a photo, `{"error": …}` otherwise.
    """
    names = {"unauthenticated": "message", "missing_file": "exception", "empty_file": "exception"}
    status = 400 if problem.status in (415, 422) else problem.status
    return JSONResponse({names.get(problem.code, "error"): problem.detail}, status)


SYSTEM: Final = System("deepface", "/compat/deepface", router, failure)
