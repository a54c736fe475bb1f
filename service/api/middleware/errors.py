"""What no handler knows becomes a problem all the same, and so does what the shutdown cuts short."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import respond
from service.errors import FacetError, NotReady


class UnhandledErrors:
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
        except asyncio.CancelledError:  # the time for accepted requests is over
            if not started:
                await respond(NotReady("The service is shutting down."), scope["state"]["request_id"])(scope, receive, send)
            raise
        except Exception as error:
            if started:
                raise
            failure = FacetError("An unforeseen error.")
            failure.__cause__ = error
            await respond(failure, scope["state"]["request_id"])(scope, receive, send)
