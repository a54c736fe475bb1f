"""Unhandled errors, and requests that the shutdown cuts short, are answered with a problem."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import respond
from service.errors import NotReady, unexpected


class UnhandledErrors:
    """Answers an unhandled error with a problem, inside CORS and the log; Starlette's own handler stands outside both."""

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
        except asyncio.CancelledError:  # the time for accepted requests is over
            if not started:
                await respond(NotReady("The service is shutting down."), scope["state"]["request_id"])(scope, receive, send)
            raise
        except Exception as error:
            if started:
                raise
            await respond(unexpected(error), scope["state"]["request_id"])(scope, receive, send)
