"""Paths with a line feed lead nowhere."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import not_found


class PlainPaths:
    """Answers a path with a line feed, such as `/predict%0A`, with 404.

    Starlette's patterns end with `$`, which stands before a last line feed, too: the router would take such a path for the one
    without, past keys and caps that go by the path, and past a proxy that keeps it to itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        refused = scope["type"] in ("http", "websocket") and "\n" in scope["path"]
        await (not_found if refused else self.app)(scope, receive, send)
