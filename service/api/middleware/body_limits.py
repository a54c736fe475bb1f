"""What stands before the routes, as plain ASGI: request id and log, farewell, API keys and rates, body cap and deadline."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.keys import Keys, sent_key
from service.api.problems import respond
from service.errors import BodyTimeout, BodyTooLarge, FacetError, QueueFull
from service.metrics import REQUEST_SECONDS

logger = logging.getLogger("facet.access")

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Request ids that are taken over from the client; any other is replaced."""


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
        began, code = time.perf_counter(), 1006

        async def received() -> Message:
            nonlocal code
            message = await receive()
            if message["type"] == "websocket.disconnect" and code == 1006:
                code = message.get("code", 1006)
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


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Farewell:
    """Ends every connection with its next answer once `leaving()`, so that its client's next request goes elsewhere.

    A connection that a client keeps open outlives every routing table: until it is closed its requests come here, and one
    that is on its way when the process closes it is lost.
    """

    def __init__(self, app: ASGIApp, leaving: Callable[[], bool]) -> None:
        self.app = app
        self._leaving = leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._leaving():
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self.app(scope, receive, closing)


class ApiKeys:
    """Lets a request to a protected path pass with a known key, `X-API-Key` or `Authorization: Bearer`, within its rate.

    WebSockets pass: a browser sends their key in the first message, which `service.api.stream` looks at.
    """

    def __init__(self, app: ASGIApp, keys: Keys, protected: Collection[str]) -> None:
        self.app = app
        self._keys = keys
        self._protected = frozenset(protected)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["path"].rstrip("/") in self._protected and scope["method"] != "OPTIONS":
            headers = Headers(scope=scope)
            try:
                # A header is bytes, which Starlette reads as Latin-1.
                self._keys.take(sent_key(headers.get("x-api-key"), headers.get("authorization")).encode("latin-1"))
            except FacetError as error:
                await respond(error, scope["state"]["request_id"])(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Unforeseen:
    """Makes a problem of what no handler knows, inside CORS and the log; Starlette's own last resort stands outside both."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            raise
        except Exception as error:
            if started:
                raise
            failure = FacetError("An unforeseen error.")
            failure.__cause__ = error
            await respond(failure, scope["state"]["request_id"])(scope, receive, send)


class BodyLimits:
    """Caps a body, by Content-Length and while it streams, and the time that it takes to arrive.

    `caps` is bytes by path, `default` that of every other path, `total` that of all requests under way; `timeout` seconds
    for the whole body. What is over a cap is read and thrown away for at most `drain` seconds, so that the client, still
    sending, gets to see the answer; then the connection is closed.
    """

    def __init__(
        self, app: ASGIApp, caps: Mapping[str, int], default: int, total: int, timeout: float, drain: float = 2.0
    ) -> None:
        self.app = app
        self._caps, self._default, self._total = dict(caps), default, total
        self._timeout, self._drain = timeout, drain
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        cap = self._caps.get(scope["path"].rstrip("/"), self._default)
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        identity = scope["state"]["request_id"]
        if declared.isdecimal() and int(declared) > cap:
            if headers.get("expect", "").lower() != "100-continue":
                await self._discard(receive)
            await respond(_too_large(cap), identity)(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        received, complete = 0, False

        async def limited() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()  # the wait for a disconnect has no deadline
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTimeout(f"The body did not arrive within {self._timeout:g} s.") from error
            arrived = len(message.get("body", b""))
            received += arrived
            self._held += arrived
            complete = not message.get("more_body", False)
            if received > cap or self._held > self._total:
                if not complete:
                    await self._discard(receive)
                raise _too_large(cap) if received > cap else QueueFull("As many bytes are in flight as may be held.")
            return message

        try:
            await self.app(scope, limited, send)
        finally:
            self._held -= received

    async def _discard(self, receive: Receive) -> None:
        try:
            async with asyncio.timeout(self._drain):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return


def _too_large(cap: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {cap / 2**20:g} MiB.")
