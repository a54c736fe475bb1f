"""Bodies are capped in bytes, each and together, and in the time that they take to arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import respond
from service.errors import BodyTimeout, BodyTooLarge, QueueFull


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
