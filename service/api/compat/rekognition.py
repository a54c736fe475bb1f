"""DetectFaces of Amazon Rekognition, by botocore's model `rekognition/2016-06-27`, at `/compat/rekognition`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NotRequired, TypedDict

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from service.api.compat.translation import System, largest_first, permitted, received
from service.api.keys import client_of, sent_key
from service.api.problems import count, request_id
from service.api.routes import ChosenEngine, answered
from service.api.schemas import FaceAnswer, ImageSize, Problem
from service.api.uploads import from_base64, json_object, media_type
from service.errors import InvalidParameter, UnsupportedMediaType

TARGET: Final = "RekognitionService.DetectFaces"
MEDIA_TYPE: Final = "application/x-amz-json-1.1"
ATTRIBUTES: Final = frozenset(
    {
        *("DEFAULT", "ALL", "AGE_RANGE", "BEARD", "EMOTIONS", "EYE_DIRECTION", "EYEGLASSES", "EYES_OPEN", "GENDER"),
        *("MOUTH_OPEN", "MUSTACHE", "FACE_OCCLUDED", "SMILE", "SUNGLASSES"),
    }
)
"""What a client may ask for."""
ANSWERED: Final = {"age": "AGE_RANGE", "gender": "GENDER"}
"""What of it is answered beside the default attributes, by the names that it has here."""
GENDERS: Final = {"male": "Male", "female": "Female"}
LANDMARKS: Final = {
    "left_eye": "eyeLeft",
    "right_eye": "eyeRight",
    "mouth_left": "mouthLeft",
    "mouth_right": "mouthRight",
    "nose": "nose",
}
"""Landmarks by the names that they have here; left and right are the viewer's in both."""
FORM: Final = '{"Image": {"Bytes": "<base64>"}, "Attributes": […]}'
UNKNOWN: Final = "UnknownOperationException"
ONLY: Final = "Of Rekognition's operations, DetectFaces alone is answered here."
KINDS: Final = {
    "unauthenticated": "AccessDeniedException",
    "rate_limited": "ProvisionedThroughputExceededException",
    "body_too_large": "ImageTooLargeException",
    "image_too_large": "ImageTooLargeException",
    "unsupported_format": "InvalidImageFormatException",
    "corrupt_image": "InvalidImageFormatException",
    "malformed_json": "SerializationException",
    "malformed_base64": "SerializationException",
    "not_found": UNKNOWN,
    "method_not_allowed": UNKNOWN,
    "queue_full": "ThrottlingException",
    "not_ready": "ThrottlingException",
    "deadline_exceeded": "ThrottlingException",
}
"""Exceptions by the problem's code. Any other fault of the request is an InvalidParameterException."""

HEADERS: Final = (
    *("Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Target"),
    "X-Amz-User-Agent",
)
"""What a client of AWS sends from a page, beside its credentials; of all this, only the target is looked at."""
EXPOSED: Final = ("x-amzn-ErrorType", "x-amzn-RequestId")

_CREDENTIAL: Final = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^,\s]{1,512})/[0-9]{8}/[\w-]+/[\w-]+/aws4_request\s*,", re.ASCII
)


class BoundingBox(TypedDict):
    """A box in shares of the photo's sides."""

    Width: float
    Height: float
    Left: float
    Top: float


class Landmark(TypedDict):
    """A point in shares of the photo's sides."""

    Type: str
    X: float
    Y: float


class AgeRange(TypedDict):
    """Years, bounds included."""

    Low: int
    High: int


class Gender(TypedDict):
    """The more probable of two; confidence in percent."""

    Value: str
    Confidence: float


class FaceDetail(TypedDict):
    """One face. Pose has the roll alone, and Quality the brightness alone: the others' units are not ours."""

    BoundingBox: BoundingBox
    Landmarks: list[Landmark]
    Pose: dict[str, float]
    Quality: dict[str, float]
    Confidence: float
    AgeRange: NotRequired[AgeRange]
    Gender: NotRequired[Gender]


def key_of(api_key: str | None, authorization: str | None) -> str:
    """Find the API key of a request, which a client of AWS sends as its access key's id.

    The signature is not looked at: only who holds the secret of an access key could check it, and here there is none.

    Args:
        api_key: The header `X-API-Key`, or None.
        authorization: The header `Authorization`, or None.

    Returns:
        The key; empty where there is none.
    """
    credential = _CREDENTIAL.match(authorization or "")
    return sent_key(api_key, authorization) or (credential[1] if credential else "")


def fields(body: bytes, content_type: str, content_encoding: str, /) -> tuple[bytes, Mapping[str, object]]:
    """Parse a request.

    Args:
        body: The whole body.
        content_type: The header; empty where absent.
        content_encoding: The header; empty where absent.

    Returns:
        The photo, empty where an object in S3 is named instead, and the request's fields.

    Raises:
        InvalidParameter: There is no photo in it.
        UnsupportedMediaType: It is not JSON.
        RequestError: The body breaks its own grammar.
    """
    kind, _ = media_type(content_type, content_encoding)
    if kind not in (MEDIA_TYPE.encode(), b"application/json"):
        raise UnsupportedMediaType(f"Send {MEDIA_TYPE}.")
    document = json_object(body, FORM)
    image = document.get("Image")
    if not isinstance(image, dict):
        raise InvalidParameter("Image is missing.")
    if "S3Object" in image and "Bytes" not in image:
        return b"", document
    if not isinstance(image.get("Bytes"), str):
        raise InvalidParameter("Image: send its Bytes.")
    return from_base64(image["Bytes"]), document


def wanted(value: object) -> list[str]:
    """Read which attributes a client asks for.

    Args:
        value: A list of `ATTRIBUTES`, or None for the default ones.

    Returns:
        Those of `ANSWERED`, by our names.

    Raises:
        InvalidParameter: It is no list of them.
    """
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(name, str) and name in ATTRIBUTES for name in value):
        raise InvalidParameter(f"Attributes: choose from {', '.join(sorted(ATTRIBUTES))}.")
    return [ours for ours, theirs in ANSWERED.items() if theirs in value or "ALL" in value]


def detail(face: FaceAnswer, image: ImageSize) -> FaceDetail:
    """Translate a face.

    Args:
        face: As `POST /predict` answers it, with landmarks.
        image: Of the photo.

    Returns:
        The face as Rekognition has it; what was not answered is absent.
    """
    points = {} if face.landmarks is None else {name: getattr(face.landmarks, name) for name in LANDMARKS}
    box = face.box
    found = FaceDetail(
        BoundingBox=BoundingBox(
            Width=box.width / image.width,
            Height=box.height / image.height,
            Left=box.x / image.width,
            Top=box.y / image.height,
        ),
        Landmarks=[Landmark(Type=LANDMARKS[name], X=x / image.width, Y=y / image.height) for name, (x, y) in points.items()],
        Pose={"Roll": face.quality.roll},
        Quality={"Brightness": round(100 * face.quality.brightness, 1)},
        Confidence=_percent(face.confidence),
    )
    if face.age is not None and face.age.low is not None and face.age.high is not None:
        found["AgeRange"] = AgeRange(Low=face.age.low, High=face.age.high)
    if face.gender is not None and face.gender.label in GENDERS:
        found["Gender"] = Gender(Value=GENDERS[face.gender.label], Confidence=_percent(face.gender.confidence))
    return found


def _percent(probability: float) -> float:
    return round(100 * probability, 2)


router = APIRouter()


@router.post("/compat/rekognition", include_in_schema=False)
@router.post("/compat/rekognition/", include_in_schema=False)
async def detect_faces(request: Request, engine: ChosenEngine) -> Response:
    """Answer `{"FaceDetails": […]}`, a face each, the largest first; no face is an empty list."""
    identity = request_id(request)
    if request.headers.get("x-amz-target") != TARGET:
        raise HTTPException(404)
    photo, given, due = await received(request, engine, fields)
    if not photo:
        refusal = InvalidParameter("Image: buckets are not read; send the photo's Bytes.")
        count(refusal, identity)
        return _failure("InvalidS3ObjectException", str(refusal), identity)
    names: Sequence[str] = permitted(engine, wanted(given.get("Attributes")))
    options = engine.options(names, None, None, client=client_of(request.scope))
    answer = await answered(engine, photo, options, due, identity, landmarks=True)
    details = [detail(face, answer.image) for face in largest_first(answer.faces)]
    return JSONResponse({"FaceDetails": details}, headers={"x-amzn-RequestId": identity}, media_type=MEDIA_TYPE)


def failure(problem: Problem) -> Response:
    """Translate a problem: 400 for what is the client's to change, as there, and our own status otherwise.

    Args:
        problem: Any problem.

    Returns:
        `{"__type": …, "message": …}`.
    """
    kind = KINDS.get(problem.code, "InvalidParameterException" if problem.status < 500 else "InternalServerError")
    message = ONLY if kind == UNKNOWN else problem.detail
    return _failure(kind, message, problem.request_id, problem.status if problem.status >= 500 else 400)


def _failure(kind: str, message: str, identity: str, status: int = 400) -> Response:
    headers = {"x-amzn-RequestId": identity, "x-amzn-ErrorType": kind}
    return JSONResponse({"__type": kind, "message": message}, status, headers, MEDIA_TYPE)


SYSTEM: Final = System("rekognition", "/compat/rekognition", router, failure, key_of, headers=HEADERS, exposed=EXPOSED)
