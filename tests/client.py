"""A client of an app built round fakes, the bodies it sends, and the one shape that every failure has."""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from service.app import create_app
from service.inference.engine import Engine
from service.settings import Settings
from tests.fakes import engine_factory

ROOT = Path(__file__).resolve().parent.parent
CANARY = "canary-7f3e"
"""Put it into whatever is sent: no answer to a failure may hold it."""

Colour = tuple[int, int, int]


class Client(httpx.AsyncClient):
    """Speaks ASGI to an app that runs, and knows it."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(transport=httpx.ASGITransport(app), base_url="http://facet.test")
        self.app = app

    @property
    def engine(self) -> Engine:
        return self.app.state.engine


@asynccontextmanager
async def serving(
    engine: Callable[[Settings], Engine] | None = None, clock: Callable[[], float] = time.monotonic, **settings: Any
) -> AsyncIterator[Client]:
    """Start an app of its own, round fakes; give a client of it, and stop it."""
    app = create_app(Settings(**settings), engine or engine_factory(), clock)
    async with app.router.lifespan_context(app), Client(app) as client:
        yield client


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Wait until something is so; fail where it is not so in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it looks at threads, which set no event of the loop's
            await asyncio.sleep(0.002)


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is this problem, whole, with the headers that belong to it, and says nothing that is nobody's business."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert_problem_document(problem, status, code)
    assert problem["request_id"] == response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (status in (429, 503, 504))
    assert int(response.headers.get("retry-after", "1")) >= 1
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert ("allow" in response.headers) == (status == 405)
    assert (response.headers.get("connection") == "close") == (status in (408, 413, 431) or code == "malformed_request")
    assert_discreet(response.text + str(response.headers.raw))
    return problem


def assert_problem_document(problem: dict[str, Any], status: int, code: str) -> None:
    """The document alone, as it stands in an answer or in a result of a batch."""
    assert list(problem) == ["type", "title", "status", "detail", "code", "request_id"]
    assert problem["type"] == f"urn:facet:problem:{code}"
    assert problem["title"] == HTTPStatus(status).phrase
    assert problem["status"] == status
    assert problem["code"] == code
    assert len(problem["detail"]) > 10
    assert_discreet(str(problem))


def assert_discreet(text: str) -> None:
    """No traceback, no path, and nothing of what was sent."""
    for secret in (CANARY, "Traceback", 'File "', "site-packages", str(ROOT), "service/", ".py", "Error(", " object at 0x"):
        assert secret not in text


def multipart(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> dict[str, Any]:
    """Arguments of a POST whose multipart body is made of these parts, each the lines of its head and its data."""
    body = b"".join(b"--b\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return {"content": body + end, "headers": {"content-type": "multipart/form-data; boundary=b"}}


def disposition(name: str = "file", **more: str) -> str:
    """Content-Disposition of a part."""
    return "; ".join([f'Content-Disposition: form-data; name="{name}"', *(f'{key}="{value}"' for key, value in more.items())])


def png(width: int, height: int, *chunks: tuple[bytes, bytes], pixels: bytes = b"") -> bytes:
    """An RGB PNG whose header says this size, with extra chunks before its data, made of `pixels`, whole or not."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    every: Iterable[tuple[bytes, bytes]] = itertools.chain(
        [(b"IHDR", header)], chunks, [(b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in every
    )


def blank_rows(width: int, height: int) -> bytes:
    """The unfiltered black rows of an RGB PNG."""
    return (b"\0" * (3 * width + 1)) * height


def years(face: dict[str, Any]) -> float:
    """A face's age: what `ColourNetwork` makes of its red."""
    return face["age"]["years"]


def same(answer: dict[str, Any]) -> dict[str, Any]:
    """What of an answer does not change from one request to the next."""
    return {key: value for key, value in answer.items() if key not in ("request_id", "timing_ms")}
