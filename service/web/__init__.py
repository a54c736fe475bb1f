"""The page: its files, read once from the package, with their types, validators and security headers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

FOLDER: Final = Path(__file__).resolve().parent / "static"
"""Everything below it is public."""

MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Own table: the system's differs from machine to machine, and browsers run no module of another type."""

CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types facet",
    ]
)
"""Nothing comes from another host, nothing inline runs, and no string becomes a script or markup."""

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent: its bytes, and the tag of this version."""

    body: bytes
    media_type: str
    etag: str


def load(folder: Path = FOLDER) -> dict[str, Asset]:
    """Read the page's files.

    Args:
        folder: Where they lie.

    Returns:
        Every file by its relative path.

    Raises:
        KeyError: A suffix has no media type in `MEDIA_TYPES`.
        OSError: A file cannot be read.
    """
    return {path.relative_to(folder).as_posix(): _asset(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, MEDIA_TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])


def create_router(assets: Mapping[str, Asset] | None = None) -> APIRouter:
    """Routes of the page: `/`, its worker at `/sw.js`, whose reach ends with its folder, and other files below `/page/`.

    Args:
        assets: Files by relative path; None for those of the package.

    Returns:
        The router, whose routes are not in OpenAPI.
    """
    files = load() if assets is None else assets
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return respond(files["index.html"], request)

    @router.api_route("/sw.js", methods=["GET", "HEAD"])
    async def worker(request: Request) -> Response:
        return respond(files["sw.js"], request)

    @router.api_route("/page/{name:path}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404)
        return respond(files[name], request)

    return router


def respond(asset: Asset, request: Request) -> Response:
    """Answer with a file; the browser asks again on every use.

    Args:
        asset: The file.
        request: What asks for it, with `If-None-Match`.

    Returns:
        The file, or 304 where the browser has this version, compressed or not: its tag is a weak one.
    """
    tag = f'"{asset.etag}"'
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-cache", "ETag": f"W/{tag}"}
    if tag in (known.strip().removeprefix("W/") for known in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.media_type)
