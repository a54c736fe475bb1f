"""A photo that would be refused for want of a place is refused before its body is read."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.keys import client_of
from service.api.problems import respond
from service.errors import QueueFull
from service.inference.workers import Workers


class Admission:
    """Asks, for the requests of some paths, whether their client has a place in the queue.

    A refusal then costs neither a body nor a route. A place may be gone once the body is there: the queue asks again.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str], workers: Callable[[], Workers]) -> None:
        self.app = app
        self._paths, self._workers = frozenset(paths), workers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._paths:
            try:
                self._workers().require_place(client_of(scope))
            except QueueFull as error:
                await respond(error, scope["state"]["request_id"])(scope, receive, send)
                return
        await self.app(scope, receive, send)
