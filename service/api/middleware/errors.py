"""Unhandled errors, and requests that the shutdown cuts short, are answered with a problem."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import respond
from service.errors import FacetError, NotReady, unexpected


class UnhandledErrors:
    """Answers an unhandled error with a problem, inside CORS and the log; Starlette's own handler stands outside both."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._websocket(scope, receive, send)
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
        except asyncio.CancelledError:  # the time for accepted requests is over
            if not started:
                await respond(NotReady(), scope["state"]["request_id"])(scope, receive, send)
            raise
        except Exception as error:
            if started:
                raise
            await respond(unexpected(error), scope["state"]["request_id"])(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close with 1011 after an unhandled error; the server would send no close frame at all."""
        try:
            await self.app(scope, receive, send)
        except Exception:
            with contextlib.suppress(Exception):  # it is closed already, or gone
                await send({"type": "websocket.close", "code": 1011, "reason": FacetError.code})
            raise
