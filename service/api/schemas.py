"""The JSON contract. Within a major version it only gains fields."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from service.inference.attributes import Attributes, Expectation, LabelProbabilities
from service.inference.pipeline import AnalysedFace, Analysis
from service.models.manifest import AGE, STEPS
from service.models.store import Model
from service.tracking.session import FaceTrack
from service.vision.detection import LANDMARKS

Probability = Annotated[float, Field(ge=0, le=1)]
Point = tuple[float, float]


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True)


class Box(_Schema):
    """Face box in pixels of the upright photo."""

    x: int
    y: int
    width: int
    height: int


class Landmarks(_Schema):
    """Points (x, y) in pixels of the upright photo; left and right are the viewer's."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


class AgeAnswer(_Schema):
    """Apparent age: expectation and interval in years. The true age lies in `low` to `high`, bounds included, in a share
    `coverage` of cases. `at_least` has the calibrated probability of being so old, by the ages that were asked for.
    """

    years: float
    low: int | None = None
    high: int | None = None
    coverage: Probability | None = None
    distribution: list[float] | None = None
    at_least: dict[str, Probability] | None = None


class ExpectationAnswer(_Schema):
    """Any other expectation, in `unit`. The true value lies in `low` to `high`, bounds included, in a share `coverage` of
    cases; `distribution` is over 101 values spread evenly over `range`.
    """

    value: float
    unit: str
    range: tuple[float, float]
    low: float | None = None
    high: float | None = None
    coverage: Probability | None = None
    distribution: list[float] | None = None


class LabelAnswer(_Schema):
    """The most probable label, every label's calibrated probability, and whether the label is too improbable to rely on."""

    label: str
    confidence: Probability
    uncertain: bool
    probabilities: dict[str, Probability]


class QualityAnswer(_Schema):
    """What was measured of the face.

    `size_px` is the longer side of its box in pixels of the photo. `sharpness` is how much of its contrast is fine detail, in
    percent. `brightness` is its mean luma, 0 to 1, and `contrast` the standard deviation of that, 0 to 0.5. `noise` is what is
    random in smooth skin, in grey levels of 255. `roll` is the slope of the eyes in degrees, positive where the viewer's right
    eye is lower. `yaw` is how far the nose lies beside the middle of the eyes, in half distances of the eyes, positive to the
    viewer's right.
    """

    size_px: float
    sharpness: float
    brightness: float
    roll: float
    yaw: float
    noise: float
    contrast: float


class FaceAnswer(_Schema):
    """One face. An attribute that was not asked for, or that the model does not say, is absent.

    `warnings` are those that apply of `small`, `blurred`, `dark`, `bright`, `noisy`, `low_contrast`, `rolled`, `turned`,
    `cut_off`, `occluded`.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    # What a model says beside age, gender and race stands under its own name.
    __pydantic_extra__: dict[str, ExpectationAnswer | LabelAnswer] = Field(init=False)

    box: Box
    confidence: Probability
    landmarks: Landmarks | None = None
    age: AgeAnswer | None = None
    gender: LabelAnswer | None = None
    race: LabelAnswer | None = None
    quality: QualityAnswer
    warnings: list[str]


class ModelName(_Schema):
    """The model that answered."""

    name: str
    version: int

    @classmethod
    def of(cls, model: Model) -> ModelName:
        """Name a model.

        Args:
            model: A loaded model.

        Returns:
            Its name and version.
        """
        return cls(name=model.manifest.name, version=model.manifest.version)


class ReloadAnswer(_Schema):
    """The model in service after another one was asked for, and whether it was put in the place of a former one."""

    outcome: Literal["swapped", "unchanged"]
    model: ModelName
    digest: str


class ImageSize(_Schema):
    """The upright photo in pixels, and the photo as a small JPEG, a `data:` address, where `preview` asked for it."""

    width: int
    height: int
    preview: str | None = None


EXAMPLE: dict[str, Any] = {
    "request_id": "9f3c1c2a7e0b4a55",
    "model": {"name": "mobilenet", "version": 1},
    "image": {"width": 1280, "height": 960},
    "faces": [
        {
            "box": {"x": 411, "y": 120, "width": 180, "height": 221},
            "confidence": 0.998,
            "age": {"years": 31.4, "low": 26, "high": 38, "coverage": 0.8},
            "gender": {
                "label": "female",
                "confidence": 0.97,
                "uncertain": False,
                "probabilities": {"male": 0.03, "female": 0.97},
            },
            "race": {
                "label": "asian",
                "confidence": 0.88,
                "uncertain": False,
                "probabilities": {"white": 0.05, "black": 0.01, "asian": 0.88, "indian": 0.02, "other": 0.04},
            },
            "quality": {
                "size_px": 221.0,
                "sharpness": 11.2,
                "brightness": 0.47,
                "roll": -3.1,
                "yaw": 0.08,
                "noise": 0.41,
                "contrast": 0.21,
            },
            "warnings": [],
        }
    ],
    "timing_ms": {"wait": 0.1, "decode": 2.1, "detect": 9.7, "crop": 0.3, "predict": 5.9, "total": 18.4},
}


class PredictAnswer(_Schema):
    """Every face of one photo, left to right; no face is an empty list."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": EXAMPLE})

    request_id: str
    model: ModelName
    image: ImageSize
    faces: list[FaceAnswer]
    timing_ms: dict[str, float]


class Problem(BaseModel):
    """A failure, by RFC 9457. `code` is stable; `request_id` finds the request in the log."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class BatchItem(_Schema):
    """One photo of a batch: its place in the request, and its result or its problem."""

    index: int
    status: int
    result: PredictAnswer | None = None
    problem: Problem | None = None


class BatchAnswer(_Schema):
    """A result or a problem for every photo, in the order they came in."""

    request_id: str
    results: list[BatchItem]


class Health(_Schema):
    """State of the service; `uptime_s` in seconds."""

    status: Literal["ok", "unavailable"]
    model: ModelName
    version: str
    uptime_s: float
    detail: str | None = None


def _number(value: object) -> object:
    """A number as it came. Raises `ValueError` for true and false, which pydantic reads as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("it has to be a number")
    return value


_NUMBER: Final = BeforeValidator(_number)


class StreamStart(BaseModel):
    """A stream's first message, from the client: a key where the service asks for one, and what is wanted."""

    model_config = ConfigDict(extra="forbid")  # who misspells `attributes` would be answered all of them

    type: Literal["start"]
    key: Annotated[SecretStr, Field(max_length=1000)] | None = None
    model: Annotated[str, Field(max_length=100)] | None = None
    attributes: Annotated[list[str], Field(max_length=100)] | None = None
    max_faces: Annotated[int, Field(ge=1), _NUMBER] | None = None
    min_confidence: Annotated[float, Field(ge=0.5, le=1), _NUMBER] | None = None
    landmarks: bool = False
    at_least: Annotated[list[Annotated[int, _NUMBER]], Field(max_length=100)] | None = None


class StreamReady(_Schema):
    """The answer to a stream's start: what its frames may be, and how long it may last."""

    type: Literal["ready"] = "ready"
    protocol: Literal[1] = 1
    model: ModelName
    max_frame_bytes: int
    max_fps: float
    idle_timeout_s: float
    max_duration_s: float


class TrackedFace(FaceAnswer):
    """One face of a frame. Its attributes are those of its track by now, absent until the network has looked at it once.

    `frames` are those in which it was seen, `answers` those of them that its attributes come from.
    """

    id: int
    frames: int
    answers: int
    age_of_track_ms: int


class StreamFrame(_Schema):
    """The answer to the frame with the number `frame`; `dropped` frames before it, since the last answer, got none.

    `next_in_ms` is how long to wait before the next frame is sent, so that none is sent in vain.
    """

    type: Literal["frame"] = "frame"
    frame: int
    image: ImageSize
    faces: list[TrackedFace]
    dropped: int
    next_in_ms: int
    timing_ms: dict[str, float]


class StreamProblem(_Schema):
    """A failure: of the frame with the number `frame`, after which the stream goes on, or, without one, of the stream."""

    type: Literal["problem"] = "problem"
    frame: int | None = None
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retry_after_s: float | None = None


def tracked(face: FaceTrack, *, landmarks: bool) -> TrackedFace:
    """Convert a tracked face to its JSON schema.

    Args:
        face: A face of a frame.
        landmarks: Whether its landmarks are included.

    Returns:
        The face, in the rounding of `answer`.
    """
    return TrackedFace(
        **dict(_face(face, landmarks, distribution=False)),
        id=face.id,
        frames=face.frames,
        answers=face.answers,
        age_of_track_ms=round(1000 * face.age_s),
    )


def answer(analysis: Analysis, request_id: str, model: ModelName, *, landmarks: bool, distribution: bool) -> PredictAnswer:
    """Convert an analysis to its JSON schema: whole pixels, years to a tenth, probabilities to four digits.

    Args:
        analysis: The answer for one photo.
        request_id: The request's id.
        model: The model that answered.
        landmarks: Whether landmarks are included.
        distribution: Whether the distribution over ages is included.

    Returns:
        The answer.
    """
    return PredictAnswer(
        request_id=request_id,
        model=model,
        image=ImageSize(width=analysis.width, height=analysis.height, preview=_data_address(analysis.preview)),
        faces=[_face(person, landmarks, distribution) for person in analysis.faces],
        timing_ms={stage: round(spent, 2) for stage, spent in analysis.timings.items()},
    )


def _data_address(jpeg: bytes | None) -> str | None:
    """A JPEG as an address that a browser shows (RFC 2397)."""
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _face(person: AnalysedFace, landmarks: bool, distribution: bool) -> FaceAnswer:
    x0, y0, x1, y1 = (round(float(value)) for value in person.face.box)
    points = [(round(float(x), 1), round(float(y), 1)) for x, y in person.face.landmarks]
    return FaceAnswer(
        box=Box(x=x0, y=y0, width=x1 - x0, height=y1 - y0),
        confidence=round(min(1.0, person.face.confidence), 4),
        landmarks=Landmarks(**dict(zip(LANDMARKS, points, strict=True))) if landmarks else None,
        quality=QualityAnswer(**person.quality.rounded()),
        warnings=person.warnings,
        **_attributes(person.attributes, distribution),
    )


def _attributes(attributes: Attributes, distribution: bool) -> dict[str, Any]:
    return {
        name: _expectation(name, value, distribution) if isinstance(value, Expectation) else _label(value)
        for name, value in attributes.items()
    }


def _expectation(name: str, one: Expectation, distribution: bool) -> AgeAnswer | ExpectationAnswer:
    values = [round(float(value), 5) for value in one.distribution] if distribution and one.distribution is not None else None
    value = round(one.value, one.scale.digits)
    if name != AGE:
        return ExpectationAnswer(
            value=value,
            unit=one.scale.unit,
            range=(one.scale.at(0), one.scale.at(STEPS)),
            low=one.low,
            high=one.high,
            coverage=one.coverage,
            distribution=values,
        )
    low, high = (None if end is None else int(end) for end in (one.low, one.high))
    chances = None if one.at_least is None else {str(least): round(value, 4) for least, value in one.at_least.items()}
    return AgeAnswer(years=value, low=low, high=high, coverage=one.coverage, distribution=values, at_least=chances)


def _label(label: LabelProbabilities) -> LabelAnswer:
    probabilities = {name: round(value, 4) for name, value in label.probabilities.items()}
    return LabelAnswer(
        label=label.label,
        confidence=probabilities[label.label],
        uncertain=label.uncertain,
        probabilities=probabilities,
    )
