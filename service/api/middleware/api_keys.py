"""Protected paths ask for a known key, and hold it to its rate."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.keys import Keys, sent_key
from service.api.problems import respond
from service.errors import FacetError


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
                sent = sent_key(headers.get("x-api-key"), headers.get("authorization")).encode("latin-1")
                scope["state"]["client"] = self._keys.take(sent)
            except FacetError as error:
                await respond(error, scope["state"]["request_id"])(scope, receive, send)
                return
        await self.app(scope, receive, send)
