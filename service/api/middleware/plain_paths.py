"""A path leads nowhere that is spelt otherwise than keys and proxies look for it."""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import not_found


class PlainPaths:
    """Answers a path with a line feed, such as `/predict%0A`, and escapes in one of `kept`, such as `/%6Detrics`, with 404.

    Starlette's patterns end with `$`, which stands before a last line feed, too: the router would take such a path for the one
    without, past keys and caps that go by the path. `kept` are paths that proxies keep from the world; OpenShift's router, for
    one, compares a path as it was sent.
    """

    def __init__(self, app: ASGIApp, kept: Collection[str]) -> None:
        self.app = app
        self._kept = frozenset(kept)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        refused = scope["type"] in ("http", "websocket") and self._refused(scope)
        await (not_found if refused else self.app)(scope, receive, send)

    def _refused(self, scope: Scope) -> bool:
        path: str = scope["path"]
        return "\n" in path or (path in self._kept and scope.get("raw_path") not in (None, path.encode()))
