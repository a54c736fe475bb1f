"""An id, a line of the log and a measured time for every request; outermost."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import NO_CLOSE_FRAME, REQUEST_SECONDS

logger = logging.getLogger("facet.access")

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Request ids that are taken over from the client; any other is replaced."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestLog:
    """Gives every request an id, and counts, times and logs it by its route's template; outermost.

    `paths` are those whose template is the path itself: what is refused before it reaches its route is counted there too.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str] = ()) -> None:
        self.app = app
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        identity = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex[:16]
        scope.setdefault("state", {})["request_id"] = identity
        # Unknown paths are not labels: anybody can make up as many as they like.
        path = scope["path"] if scope["path"] in self._paths else "unknown"
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, path)
            return
        began, status = time.perf_counter(), 500

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = identity
            await send(message)

        try:
            await self.app(scope, receive, named)
        except ClientDisconnect:
            status = 499  # nginx's code for it; nobody receives it
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", None) or path
            method = scope["method"] if scope["method"] in _METHODS else "other"
            REQUEST_SECONDS.labels(route, method, str(status)).observe(seconds)
            logger.info("%s %s %d %.1f ms %s", method, route, status, seconds * 1000, identity)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, route: str) -> None:
        """Log a connection by the code that it was closed with, whoever closed it."""
        began, code = time.perf_counter(), NO_CLOSE_FRAME

        async def received() -> Message:
            nonlocal code
            message = await receive()
            if message["type"] == "websocket.disconnect" and code == NO_CLOSE_FRAME:
                code = message.get("code", NO_CLOSE_FRAME)
            return message

        async def sent(message: Message) -> None:
            nonlocal code
            if message["type"] == "websocket.close":
                code = message.get("code", 1000)
            await send(message)

        try:
            await self.app(scope, received, sent)
        finally:
            seconds = time.perf_counter() - began
            logger.info("WS %s %d %.1f s %s", route, code, seconds, scope["state"]["request_id"])
