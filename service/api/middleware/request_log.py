"""An id, a line of the log and a measured time for every request; outermost."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.paths import Templates
from service.metrics import NO_CLOSE_FRAME, REQUEST_SECONDS
from service.tracing import CURRENT, RequestRecord, Tracer, trace_of

logger = logging.getLogger("facet.access")

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Request ids that are taken over from the client; any other is replaced."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestLog:
    """Gives every request an id and a record, and counts, times and logs it by its route's template; outermost.

    `paths` are the templates of routes: what is refused before it reaches its route is counted there too.
    `quiet` are those that make no span, and no line at INFO where all is well. `tracer` makes the others' spans.
    """

    def __init__(
        self, app: ASGIApp, paths: Collection[str] = (), quiet: Collection[str] = (), tracer: Tracer | None = None
    ) -> None:
        self.app = app
        self._paths, self._quiet, self._tracer = Templates(paths), frozenset(quiet), tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        record = RequestRecord(given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex[:16])
        scope.setdefault("state", {})["request_id"] = record.request_id
        # Unknown paths are not labels: anybody can make up as many as they like.
        record.route = self._paths.find(scope["path"]) or "unknown"
        traceparent = ",".join(headers.getlist("traceparent"))  # several are none (W3C Trace Context)
        record.trace_id = trace_of(traceparent)
        end: Callable[[], None] | None = None
        if self._tracer is not None and record.route not in self._quiet:
            end = self._tracer.begin(record, traceparent, ",".join(headers.getlist("tracestate")))
        token = CURRENT.set(record)
        try:
            if scope["type"] == "websocket":
                await self._websocket(scope, receive, send, record)
            else:
                await self._http(scope, receive, send, record)
        finally:
            CURRENT.reset(token)
            if end is not None:
                end()

    async def _http(self, scope: Scope, receive: Receive, send: Send, record: RequestRecord) -> None:
        """Log a request by the status of its answer."""
        began, record.status = time.perf_counter(), 500

        async def received() -> Message:
            message = await receive()
            record.bytes += len(message.get("body", b""))
            return message

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = record.request_id
            await send(message)

        try:
            await self.app(scope, received, named)
        except ClientDisconnect:
            record.status, record.outcome = 499, "client_left"  # nginx's code for it; nobody receives it
        finally:
            seconds = time.perf_counter() - began
            record.route = getattr(scope.get("route"), "path", None) or record.route
            record.method = scope["method"] if scope["method"] in _METHODS else "other"
            exemplar = {"trace_id": record.trace_id} if record.sampled else None
            REQUEST_SECONDS.labels(record.route, record.method, str(record.status)).observe(seconds, exemplar)
            level = logging.INFO
            if record.route in self._quiet:
                level = logging.DEBUG if record.status < 400 else logging.WARNING
            logger.log(
                level,
                "%s %s %d %.1f ms %s",
                *(record.method, record.route, record.status, seconds * 1000, record.request_id),
                extra=_fields(record, scope, seconds),
            )

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, record: RequestRecord) -> None:
        """Log a connection by the code that it was closed with, whoever closed it."""
        began, record.status, record.method, record.stages = time.perf_counter(), NO_CLOSE_FRAME, "WS", None

        async def received() -> Message:
            message = await receive()
            record.bytes += len(message.get("bytes") or message.get("text") or b"")
            if message["type"] == "websocket.disconnect" and record.status == NO_CLOSE_FRAME:
                record.status = message.get("code", NO_CLOSE_FRAME)
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "websocket.close":
                record.status = message.get("code", 1000)
            elif message["type"] == "websocket.http.response.start":  # refused before it began
                record.status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = record.request_id
            await send(message)

        try:
            await self.app(scope, received, sent)
        finally:
            seconds = time.perf_counter() - began
            logger.info(
                "WS %s %d %.1f s %s",
                *(record.route, record.status, seconds, record.request_id),
                extra=_fields(record, scope, seconds),
            )


def _fields(record: RequestRecord, scope: Scope, seconds: float) -> dict[str, str | int | float | None]:
    """What a line of the log says beside its message, where it is a document."""
    client = str(scope["state"].get("client") or "")
    key = client.removeprefix("key ") if client.startswith("key ") else None
    return {
        "request_id": record.request_id,
        "trace_id": record.trace_id or None,
        "method": record.method,
        "route": record.route,
        "status": record.status,
        "duration_ms": round(seconds * 1000, 1),
        "key": key,
        "bytes": record.bytes,
        "faces": record.faces,
        "failed": record.failed,
        "outcome": record.outcome,
    }
