"""The service's answers as types; a field that a newer service adds is left out of account."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Point = tuple[float, float]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Box(_Model):
    """Face box in pixels of the upright photo."""

    x: int
    y: int
    width: int
    height: int


class Landmarks(_Model):
    """Points (x, y) in pixels of the upright photo; left and right are the viewer's."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


class Age(_Model):
    """Apparent age in years. The true one lies in `low` to `high`, bounds included, in a share `coverage` of cases. `at_least`
    has the probability of being so old, by the ages that were asked for."""

    years: float
    low: int | None = None
    high: int | None = None
    coverage: float | None = None
    distribution: list[float] | None = None
    at_least: dict[int, float] | None = None


class Label(_Model):
    """The most probable label, the probability of each, and whether the label is too improbable to rely on."""

    label: str
    confidence: float
    uncertain: bool
    probabilities: dict[str, float]


class Quality(_Model):
    """What was measured of a face."""

    size_px: float
    sharpness: float
    brightness: float
    roll: float
    yaw: float


class Face(_Model):
    """One face. What was not asked for, or what the model does not say, is None."""

    box: Box
    confidence: float
    landmarks: Landmarks | None = None
    age: Age | None = None
    gender: Label | None = None
    race: Label | None = None
    quality: Quality
    warnings: list[str]


class ModelName(_Model):
    """The model that answered."""

    name: str
    version: int


class ImageSize(_Model):
    """The upright photo in pixels."""

    width: int
    height: int


class Prediction(_Model):
    """Every face of one photo, left to right."""

    request_id: str
    model: ModelName
    image: ImageSize
    faces: list[Face]
    timing_ms: dict[str, float]


class Problem(_Model):
    """A failure, by RFC 9457. `code` is stable; `request_id` finds the request in the service's log."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class BatchItem(_Model):
    """One photo of a batch: its place in the request, and its result or its problem."""

    index: int
    status: int
    result: Prediction | None = None
    problem: Problem | None = None


class Batch(_Model):
    """A result or a problem for every photo, in the order they were sent."""

    request_id: str
    results: list[BatchItem]


class Health(_Model):
    """State of the service; `uptime_s` in seconds."""

    status: Literal["ok", "unavailable"]
    model: ModelName
    version: str
    uptime_s: float
    detail: str | None = None


class StreamReady(_Model):
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


class StreamFrame(_Model):
    """The answer to the frame with this number; `dropped` frames before it got none, and the next is due `next_in_ms` on."""

    type: Literal["frame"] = "frame"
    frame: int
    image: ImageSize
    faces: list[TrackedFace]
    dropped: int
    next_in_ms: int
    timing_ms: dict[str, float]


class StreamProblem(_Model):
    """A failure: of the frame with this number, after which the stream goes on, or, without one, of the stream."""

    type: Literal["problem"] = "problem"
    frame: int | None = None
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retry_after_s: float | None = None
