"""Bodies are capped in bytes, each and together, and in the time that they take to arrive."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.bodies import Body, BodyBudget
from service.api.keys import client_of
from service.api.paths import Templates
from service.api.problems import respond
from service.errors import BodyTimeout, BodyTooLarge, FacetError, MalformedRequest, QueueFull

LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
"""A plausible Content-Length; longer ones are no length of anything, and slow to convert."""
UNREAD: Final = ("GET", "HEAD")
"""Methods whose bodies no route reads (RFC 9110, 9.3.1)."""


class BodyLimits:
    """Caps a body, by Content-Length and while it streams, the bytes of all bodies, and the time that each takes to arrive.

    `caps` is bytes by a path's template, `default` that of every other path, `total` that of all requests under way. A body
    must be there within `timeout` seconds, or come at `rate` bytes a second from then on. What is refused is not read: the
    server throws away for a while what the client still sends, so that it gets to see the answer.
    """

    def __init__(self, app: ASGIApp, caps: Mapping[str, int], default: int, total: int, timeout: float, rate: float) -> None:
        self.app = app
        self._caps, self._default, self._templates = dict(caps), default, Templates(caps)
        self._timeout, self._rate = timeout, rate
        self._budget = BodyBudget(total)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        template = self._templates.find(scope["path"].rstrip("/"))
        cap = self._default if template is None else self._caps[template]
        loop = asyncio.get_running_loop()
        try:
            declared = declared_length(Headers(scope=scope))
            if scope["method"] in UNREAD:
                declared = 0
            elif declared is not None and declared > cap:
                raise _too_large(cap)
            body = self._budget.admit(client_of(scope), declared, loop.time())
        except FacetError as error:
            await respond(error, scope["state"]["request_id"])(scope, receive, send)
            return

        async def limited() -> Message:
            if body.complete:
                return await receive()  # the wait for a disconnect has no deadline
            message = await self._next(body, receive)
            arrived = len(message.get("body", b""))
            self._budget.arrive(body, arrived, loop.time())
            body.complete = not message.get("more_body", False)
            if body.arrived > cap:
                raise _too_large(cap)
            return message

        try:
            await self.app(scope, limited, send)
        finally:
            self._budget.leave(body, loop.time())

    async def _next(self, body: Body, receive: Receive) -> Message:
        """The next part of a body. Raises `BodyTimeout` where it does not come in time, `QueueFull` where it lost its place."""
        body.receipt = asyncio.timeout_at(body.began + self._timeout + body.arrived / self._rate)
        try:
            async with body.receipt:
                return await receive()
        except TimeoutError as error:
            if body.displaced:
                raise QueueFull("Other clients are sending photos too, and have sent fewer.") from error
            raise BodyTimeout(
                f"The body did not arrive within {self._timeout:.15g} s, nor at {self._rate / 1024:g} KiB a second."
            ) from error
        finally:
            body.receipt = None


def declared_length(headers: Headers) -> int | None:
    """Length of a body as its headers declare it.

    Args:
        headers: Those of the request.

    Returns:
        Bytes, or None where the body comes in chunks.

    Raises:
        MalformedRequest: The Content-Length is not a valid number.
    """
    values = headers.getlist("content-length")
    if not values:
        return None if "transfer-encoding" in headers else 0
    if len(set(values)) > 1 or not LENGTH.fullmatch(values[0]):
        raise MalformedRequest("The Content-Length is not a valid number.")
    return int(values[0])


def _too_large(cap: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {cap / 2**20:g} MiB.")
