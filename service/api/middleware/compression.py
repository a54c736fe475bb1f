"""Answers are compressed where the client accepts it."""

from __future__ import annotations

import re
from typing import Final

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

_REFUSED: Final = re.compile(rb"gzip\s*;\s*q\s*=\s*0(\.0{0,3})?", re.IGNORECASE)


class Compression(GZipMiddleware):
    """Starlette's, which looks for the word alone: `gzip;q=0` says that it is not accepted (RFC 9110, 12.4.2)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            scope["headers"] = [one for one in scope["headers"] if not (one[0] == b"accept-encoding" and _refused(one[1]))]
        await super().__call__(scope, receive, send)


def _refused(accepted: bytes) -> bool:
    return any(_REFUSED.fullmatch(coding.strip()) for coding in accepted.split(b","))
