"""Every Prometheus collector, with its unit and the reason for its buckets."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from service import __version__
from service.tracing import note_stage

# From an empty /health to a batch at its deadline; dense between 10 and 250 ms, where a photo's answer lies.
_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# A crop takes tenths of a millisecond, a 64-megapixel PNG seconds.
_STAGE_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUEST_SECONDS: Final = Histogram(
    "facet_request_seconds",
    "Seconds from a request's first byte to its answer's last, by route template, method and status.",
    ["route", "method", "status"],
    buckets=_REQUEST_BUCKETS,
)
STAGE_SECONDS: Final = Histogram(
    "facet_stage_seconds",
    "Seconds of one photo in a stage: wait (for a worker), decode, detect, crop, predict (queue and network).",
    ["stage"],
    buckets=_STAGE_BUCKETS,
)
FACES: Final = Histogram(
    "facet_faces_per_image",
    "Faces answered for one photo.",
    buckets=(0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 100),  # most photos hold none to three, a class photo thirty
)
BATCH_SIZE: Final = Histogram(
    "facet_batch_size",
    "Faces in one run of the network, before padding.",
    buckets=(1, 2, 4, 8, 16),  # the sizes that batches are padded to
)
QUEUE_DEPTH: Final = Gauge(
    "facet_queue_depth", "Photos that wait for a worker, and faces that wait for the network.", ["queue"]
)
REJECTIONS: Final = Counter(
    "facet_rejections_total", "Requests, or photos of a batch, answered by a problem, by its code.", ["code"]
)
PREDICTIONS: Final = Counter(
    "facet_predictions_total",
    "Faces answered, by model, attribute and label; ages by decade, other numbers by a tenth of their range. A shift shows "
    "drift, of clients or of the model.",
    ["model", "attribute", "label"],
)
PHOTO_SECONDS: Final = Histogram(
    "facet_photo_seconds",
    "Seconds of an answered photo in all its stages, by the model that answered it.",
    ["model"],
    buckets=_STAGE_BUCKETS,
)
PHOTO_FAILURES: Final = Counter(
    "facet_photo_failures_total", "Photos that the detector or the network failed on, by the model that was asked.", ["model"]
)
STREAMS: Final = Gauge("facet_streams", "Streams that are open.")
STREAM_FRAMES: Final = Counter(
    "facet_stream_frames_total",
    "Frames of streams, by what became of them: answered, dropped for a newer one, failed, or abandoned at their stream's end.",
    ["outcome"],
)
STREAM_FRAME_SECONDS: Final = Histogram(
    "facet_stream_frame_seconds",
    "Seconds from the arrival of a stream's frame to its answer: how old the answer on the screen is.",
    buckets=_REQUEST_BUCKETS,
)
STREAM_FACES: Final = Counter(
    "facet_stream_faces_total",
    "Faces answered in frames, by whether the network looked at them in that frame (run) or their track sufficed (spared).",
    ["network"],
)
STREAM_CLOSED: Final = Counter(
    "facet_streams_closed_total",
    "Streams that were closed, by the code of their end; 1005 is a close frame without a code, 1006 no close frame at all.",
    ["code"],
)
NO_CLOSE_FRAME: Final = 1006
"""Code (RFC 6455, 7.1.5) of a stream whose connection was lost; 1005 is that of a close frame without a code."""
MODEL_INFO: Final = Gauge(
    "facet_model_info",
    "1 for each model in service, by its role: default, named (beside it), or canary.",
    ["role", "name", "version", "runtime", "precision", "digest"],
)
DETECTOR_INFO: Final = Gauge(
    "facet_detector_info",
    "1 for the detector in service, by its role: photos or streams.",
    ["role", "name", "version", "architecture", "digest"],
)
MODEL_RELOADS: Final = Counter(
    "facet_model_reloads_total",
    "Times that another version of the model was asked for, by what came of it: swapped, unchanged, or refused.",
    ["outcome"],
)
BUILD_INFO: Final = Gauge("facet_build_info", "1 for this build.", ["version", "python"])
MEMORY_LIMIT: Final = Gauge(
    "facet_memory_limit_bytes", "Memory that the service may use: the container's limit, or as it was set."
)
MEMORY: Final = Gauge(
    "facet_memory_bytes", "Memory that the service holds, in its own process and in those that decode photos for it."
)
DECODER_CPU_SECONDS: Final = Counter(
    "facet_decoder_cpu_seconds_total",
    "CPU seconds of the processes that decode photos, which `process_cpu_seconds_total` leaves out.",
)
READY: Final = Gauge("facet_ready", "1 while the service accepts work, 0 while it drains.")

BUILD_INFO.labels(__version__, platform.python_version()).set(1)

# A series that begins with its first event has no increase: every value that is known beforehand begins at 0.
for _outcome in ("answered", "dropped", "failed", "abandoned"):
    STREAM_FRAMES.labels(_outcome)
for _outcome in ("swapped", "unchanged", "refused"):
    MODEL_RELOADS.labels(_outcome)
for _network in ("run", "spared"):
    STREAM_FACES.labels(_network)
for _stage in ("wait", "decode", "detect", "crop", "predict"):
    STAGE_SECONDS.labels(_stage)


def begin_requests(routes: Sequence[str]) -> None:
    """Start at 0 what the alerts ask of routes that take photos: a series that begins with its first failure has no increase.

    Args:
        routes: Their templates.
    """
    for route in routes:
        for status in ("200", "500", "503", "504"):
            REQUEST_SECONDS.labels(route, "POST", status)


def begin_predictions(model: str, attribute: str, labels: Sequence[str]) -> None:
    """Start at 0 the count of every label of an attribute.

    Args:
        model: NAME/VERSION of the model that says it.
        attribute: Its name.
        labels: Its labels, or what numbers are counted by.
    """
    for label in labels:
        PREDICTIONS.labels(model, attribute, label)


def forget_models(kept: Collection[str]) -> None:
    """Drop the series of models that are gone: each version would leave its own behind for ever.

    Args:
        kept: NAME/VERSION of every model that is, or was until now, in service.
    """
    for one in (PREDICTIONS, PHOTO_SECONDS, PHOTO_FAILURES):
        (family,) = one.collect()
        for model in {sample.labels["model"] for sample in family.samples} - set(kept):
            one.remove_by_labels({"model": model})


def watch_queue(queue: str, depth: Callable[[], int]) -> None:
    """Report a queue's depth whenever metrics are read.

    Args:
        queue: Its name.
        depth: What counts the items that wait.
    """
    QUEUE_DEPTH.labels(queue).set_function(depth)


def observe(stage: str, seconds: float, timings: dict[str, float]) -> None:
    """Record how long a stage took.

    Args:
        stage: Its name.
        seconds: The time; its histogram counts seconds.
        timings: Where the time is kept by stage, in milliseconds.
    """
    STAGE_SECONDS.labels(stage).observe(seconds)
    note_stage(stage, seconds)
    timings[stage] = seconds * 1000


@contextmanager
def timed(stage: str, timings: dict[str, float]) -> Iterator[None]:
    """Time a stage and record it, even where it fails.

    Args:
        stage: Its name.
        timings: Where the time is kept by stage, in milliseconds.

    Yields:
        Nothing, while the stage runs.
    """
    began = time.perf_counter()
    try:
        yield
    finally:
        observe(stage, time.perf_counter() - began, timings)
