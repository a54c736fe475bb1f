"""What every translated system has: its routes, where its clients put their key, and the shape of its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fastapi import Request
from fastapi.routing import APIRoute, APIRouter
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.keys import sent_key
from service.api.problems import MEDIA_TYPE, UNROUTED
from service.api.schemas import FaceAnswer, Problem
from service.api.uploads import parsed
from service.inference.engine import Engine

LEAST_CONFIDENCE: Final = 0.5
"""Confidence below which no face is kept, as of `POST /predict`."""
KEPT_HEADERS: Final = ("allow", "connection", "retry-after", "www-authenticate")
"""Headers of a problem that its translation keeps."""


@dataclass(frozen=True, slots=True)
class System:
    """Another system whose clients are answered below `prefix`.

    `failure` puts a problem into the shape of its errors; they stay problems where it is None. `key` finds the API key of a
    request in its headers `X-API-Key` and `Authorization`. `probes` are paths that machines ask again and again: they want no
    key. `batches` are paths whose bodies may hold several photos. `headers` are those that its clients send from a page, beside
    ours, and `exposed` those of its answers that they read there.
    """

    name: str
    prefix: str
    router: APIRouter
    failure: Callable[[Problem], Response] | None = None
    key: Callable[[str | None, str | None], str] = sent_key
    probes: frozenset[str] = frozenset()
    batches: frozenset[str] = frozenset()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Paths of its routes, as templates."""
        return [route.path for route in self.router.routes if isinstance(route, APIRoute)]

    @property
    def photo_paths(self) -> list[str]:
        """Those that take photos."""
        return [route.path for route in self.router.routes if isinstance(route, APIRoute) and "POST" in (route.methods or ())]


class TranslatedProblems:
    """Answers every problem below a system's prefix in the shape of that system's errors, whoever raised it."""

    def __init__(self, app: ASGIApp, systems: Sequence[System]) -> None:
        self.app = app
        self._systems = tuple((one, one.failure) for one in systems if one.failure is not None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = f"{scope.get('path', '')}/"
        system, failure = next((one for one in self._systems if path.startswith(f"{one[0].prefix}/")), (None, None))
        if scope["type"] != "http" or system is None or failure is None:
            await self.app(scope, receive, send)
            return
        held: Headers | None = None
        document = b""

        async def translated(message: Message) -> None:
            nonlocal held, document
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                if headers.get("content-type") == MEDIA_TYPE:
                    held = headers
                    return
            if held is None:
                await send(message)
                return
            document += message.get("body", b"")
            if not message.get("more_body", False):
                problem = Problem.model_validate_json(document)
                if problem.code == UNROUTED[404]:  # /docs, which it names, knows nothing of the system's paths
                    problem.detail = f"There is nothing here; photos go to {system.photo_paths[0]}."
                response = failure(problem)
                response.headers.update({name: held[name] for name in KEPT_HEADERS if name in held})
                await response(scope, receive, send)

        await self.app(scope, receive, translated)


class Parser(Protocol):
    """Takes a body apart, given its headers Content-Type and Content-Encoding."""

    def __call__(self, body: bytes, content_type: str, content_encoding: str, /) -> tuple[bytes, Mapping[str, object]]:
        """Return the photo, and the other fields by name."""
        ...


async def received(request: Request, engine: Engine, parse: Parser) -> tuple[bytes, Mapping[str, object], float]:
    """Receive a body with one photo.

    Args:
        request: Of a translated route.
        engine: What answers it.
        parse: Takes its body apart.

    Returns:
        The photo, the other fields by name, and when the photo is to be answered, on the event loop's clock.

    Raises:
        RequestError: The body is not what `parse` takes.
    """
    body = await request.body()
    due = engine.due()
    headers = request.headers
    photo, fields = await parsed(parse, body, headers.get("content-type", ""), headers.get("content-encoding", ""))
    return photo, fields, due


def permitted(engine: Engine, names: Sequence[str]) -> list[str]:
    """Attributes that are asked for and are answered; another system has no error for one that is switched off or unknown.

    Args:
        engine: What answers.
        names: Of attributes.

    Returns:
        Those that the model says and the operator allows.
    """
    said = {attribute.name for attribute in engine.model.manifest.attributes}
    return [name for name in names if name in said and name in engine.attributes]


def least_confidence(threshold: float | None) -> float | None:
    """Translate a threshold that may be lower than any here.

    Args:
        threshold: From 0 to 1, or None.

    Returns:
        At least `LEAST_CONFIDENCE`; None, for the operator's own, where there is none.
    """
    return None if threshold is None else max(LEAST_CONFIDENCE, threshold)


def largest_first(faces: Sequence[FaceAnswer]) -> list[FaceAnswer]:
    """Order faces as systems do whose clients take the first one for the photo's subject.

    Args:
        faces: From left to right.

    Returns:
        The same, by the area of their boxes; of equal ones the left one first.
    """
    return sorted(faces, key=lambda face: face.box.width * face.box.height, reverse=True)
