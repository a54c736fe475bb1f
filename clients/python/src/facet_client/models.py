"""The answers to photos, frames and probes as types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, JsonValue

from facet_client.base import Answer

Point = tuple[float, float]


class Box(Answer):
    """Face box in pixels of the upright photo."""

    x: int
    y: int
    width: int
    height: int


class Landmarks(Answer):
    """Points (x, y) in pixels of the upright photo; left and right are the viewer's."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


class Age(Answer):
    """Apparent age in years. The true one lies in `low` to `high`, bounds included, in a share `coverage` of cases. `at_least`
    has the probability of being so old, by the ages that were asked for.
    """

    years: float
    low: int | None = None
    high: int | None = None
    coverage: float | None = None
    distribution: list[float] | None = None
    at_least: dict[int, float] | None = None


class Expectation(Answer):
    """Another expected value, in `unit` and from `range`. The true one lies in `low` to `high`, bounds included, in a share
    `coverage` of cases. `distribution` is over values spread evenly over the range.
    """

    value: float
    unit: str
    range: tuple[float, float]
    low: float | None = None
    high: float | None = None
    coverage: float | None = None
    distribution: list[float] | None = None


class Label(Answer):
    """The most probable label, the probability of each, and whether the label is too improbable to rely on."""

    label: str
    confidence: float
    uncertain: bool
    probabilities: dict[str, float]


class Quality(Answer):
    """What was measured of a face."""

    size_px: float
    sharpness: float
    brightness: float
    roll: float
    yaw: float
    noise: float
    contrast: float


NAMED: Final = ("age", "gender", "race")
"""Attributes that have a field of their own."""

Further = Annotated[Expectation | Label | JsonValue, Field(union_mode="left_to_right")]


class Face(Answer):
    """One face. What was not asked for, or what the model does not say, is None.

    What a model says beside age, gender and race is found in `attributes`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Further] = Field(init=False)

    box: Box
    confidence: float
    landmarks: Landmarks | None = None
    age: Age | None = None
    gender: Label | None = None
    race: Label | None = None
    quality: Quality
    warnings: list[str]

    @property
    def attributes(self) -> Mapping[str, Age | Expectation | Label]:
        """Everything that was answered of the face, by the name of the attribute."""
        values = {name: getattr(self, name) for name in NAMED} | self.__pydantic_extra__
        return {name: value for name, value in values.items() if isinstance(value, Age | Expectation | Label)}


class ModelName(Answer):
    """The model that answered."""

    name: str
    version: int


class ImageSize(Answer):
    """The upright photo in pixels, and the photo as a small JPEG, a `data:` address, where `preview` asked for it."""

    width: int
    height: int
    preview: str | None = None


class Prediction(Answer):
    """Every face of one photo, left to right."""

    request_id: str
    model: ModelName
    image: ImageSize
    faces: list[Face]
    timing_ms: dict[str, float]


class Problem(Answer):
    """A failure, by RFC 9457. `code` is stable; `request_id` finds the request in the service's log."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class BatchItem(Answer):
    """One photo of a batch: its place in the request, and its result or its problem."""

    index: int
    status: int
    result: Prediction | None = None
    problem: Problem | None = None


class Batch(Answer):
    """A result or a problem for every photo, in the order they were sent."""

    request_id: str
    results: list[BatchItem]


class Health(Answer):
    """State of the service; `uptime_s` in seconds."""

    status: Literal["ok", "unavailable"]
    model: ModelName
    version: str
    uptime_s: float
    detail: str | None = None


class Reload(Answer):
    """What came of asking for another version of the model; `model` and `digest` are those in service now."""

    outcome: Literal["swapped", "unchanged"]
    model: ModelName
    digest: str


class StreamReady(Answer):
    """What a stream's frames may be, and how long it may last."""

    type: Literal["ready"] = "ready"
    protocol: Literal[1] = 1
    model: ModelName
    max_frame_bytes: int
    max_fps: float
    idle_timeout_s: float
    max_duration_s: float


class TrackedFace(Face):
    """One face of a frame. Its attributes are those of its track by now; `answers` of its `frames` were looked at for them."""

    id: int
    frames: int
    answers: int
    age_of_track_ms: int


class StreamFrame(Answer):
    """The answer to the frame with this number; `dropped` frames before it got none, and the next is due `next_in_ms` on."""

    type: Literal["frame"] = "frame"
    frame: int
    image: ImageSize
    faces: list[TrackedFace]
    dropped: int
    next_in_ms: int
    timing_ms: dict[str, float]


class StreamProblem(Answer):
    """A failure: of the frame with this number, after which the stream goes on, or, without one, of the stream."""

    type: Literal["problem"] = "problem"
    frame: int | None = None
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retry_after_s: float | None = None
