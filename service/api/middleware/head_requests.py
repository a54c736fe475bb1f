"""HEAD is answered wherever GET is."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """Answers HEAD as GET, without the body (RFC 9110, 9.3.2); FastAPI's routes take the methods that they name alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        as_get = dict(scope, method="GET")

        async def bodiless(message: Message) -> None:
            await send(message if message["type"] == "http.response.start" else {**message, "body": b""})

        try:
            await self.app(as_get, receive, bodiless)
        finally:
            if "route" in as_get:
                scope["route"] = as_get["route"]
