"""Connections end with their next answer while the service drains."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ConnectionClose:
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
