"""What one request was: its ids, what came and was answered, and when each of its stages ran; for the log and for spans."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Protocol

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that has run, from and to nanoseconds since 1970."""

    name: str
    began_ns: int
    ended_ns: int


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request so far.

    `bytes` are those of its body that have come, `faces` those answered, `failed` the photos of a batch that have a problem,
    and `outcome` is `answered` or the code of its problem. `trace_id` is empty where the request belongs to no trace, and
    `sampled` says whether its spans are kept. A stream keeps no stages.
    """

    request_id: str
    trace_id: str = ""
    span_id: str = ""
    sampled: bool = False
    bytes: int = 0
    faces: int = 0
    failed: int = 0
    outcome: str = "answered"
    method: str = ""
    route: str = ""
    status: int = 0
    began_ns: int = field(default_factory=time.time_ns)
    stages: list[Stage] | None = field(default_factory=list)


CURRENT: Final[ContextVar[RequestRecord | None]] = ContextVar("current request", default=None)
"""The request on whose account something runs, on the event loop and on the threads of workers."""


class Tracer(Protocol):
    """Makes spans of requests."""

    def begin(self, record: RequestRecord, traceparent: str, tracestate: str) -> Callable[[], None]:
        """Begin the span of a request and write its ids into the record.

        Args:
            record: Of the request.
            traceparent: The header (W3C Trace Context), or an empty string.
            tracestate: The header, or an empty string.

        Returns:
            What ends the span, and makes one of each of the record's stages.
        """

    def close(self) -> None:
        """Send what has not been sent; blocks for a few seconds at most."""


def trace_of(traceparent: str) -> str:
    """Find the trace that a request belongs to.

    Args:
        traceparent: The header (W3C Trace Context, 3.2), or an empty string.

    Returns:
        Its id, 32 hexadecimal digits; empty where the header is none.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[1] if found is not None and (found[2] is None or not traceparent.startswith("00")) else ""


def note_stage(name: str, seconds: float) -> None:
    """Note a stage that has just ended on the request on whose account it ran.

    Args:
        name: Of the stage.
        seconds: How long it took.
    """
    record = CURRENT.get()
    if record is not None and record.stages is not None:
        now = time.time_ns()
        record.stages.append(Stage(name, now - round(seconds * 1e9), now))
