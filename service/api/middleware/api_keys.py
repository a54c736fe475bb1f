"""Protected paths ask for a known key, and hold it to its rate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.keys import Keys, sent_key
from service.api.paths import Templates
from service.api.problems import respond
from service.errors import FacetError

KeyReader = Callable[[str | None, str | None], str]
"""Finds the key of a request in its headers `X-API-Key` and `Authorization`, as `sent_key` does."""


class ApiKeys:
    """Lets a request to a protected path pass with a known key, `X-API-Key` or `Authorization: Bearer`, within its rate.

    A request that is answered with 503 does not count: its client is asked to come again. Paths are templates. `readers` find
    the key of requests to their paths in another way. WebSockets pass: a browser sends their key in the first message, which
    `service.api.stream` looks at.
    """

    def __init__(
        self, app: ASGIApp, keys: Keys, protected: Collection[str], readers: Mapping[str, KeyReader] = MappingProxyType({})
    ) -> None:
        self.app = app
        self._keys = keys
        self._protected = Templates(protected)
        self._readers = dict(readers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = self._protected.find(scope["path"].rstrip("/")) if scope["type"] == "http" else None
        if path is not None and scope["method"] != "OPTIONS":
            read = self._readers.get(path, sent_key)
            headers = Headers(scope=scope)
            try:
                # A header is bytes, which Starlette reads as Latin-1.
                sent = read(headers.get("x-api-key"), headers.get("authorization")).encode("latin-1")
                scope["state"]["client"] = self._keys.take(sent)
            except FacetError as error:
                await respond(error, scope["state"]["request_id"])(scope, receive, send)
                return
            send = self._counting(sent, send)
        await self.app(scope, receive, send)

    def _counting(self, sent: bytes, send: Send) -> Send:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
                self._keys.give_back(sent)
            await send(message)

        return counting
