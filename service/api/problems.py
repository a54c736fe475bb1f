"""Errors to application/problem+json (RFC 9457), answered and counted."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from service import errors
from service.api.schemas import Problem
from service.api.statuses import problem_of, status_of
from service.errors import FacetError, InvalidParameter, unexpected
from service.metrics import REJECTIONS
from service.tracing import CURRENT

logger = logging.getLogger("facet")

MEDIA_TYPE: Final = "application/problem+json"

UNROUTED: Final[Mapping[int, str]] = {404: "not_found", 405: "method_not_allowed"}
"""Codes of the problems that no error of Facet's stands for."""


def _codes(kind: type[FacetError]) -> Iterator[str]:
    yield kind.code
    for below in kind.__subclasses__():
        yield from _codes(below)


for _code in {*_codes(FacetError), *UNROUTED.values()}:
    REJECTIONS.labels(_code)  # at 0: the first burst of a problem must be an increase


def respond(error: FacetError, request_id: str) -> Response:
    """Answer with an error and count it; a fault of the service's own is logged with its cause.

    Args:
        error: Any error of Facet's.
        request_id: The request's id.

    Returns:
        The response, with `Retry-After` where another attempt helps.
    """
    problem = problem_of(error, request_id)
    count(error, request_id)
    note(error.code)
    headers = {}
    if isinstance(error, errors.Unavailable | errors.RateLimited):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="facet"'
    if problem.status in (408, 413, 431) or isinstance(error, errors.MalformedRequest):
        headers["Connection"] = "close"
    return _response(problem, headers)


def count(error: FacetError, request_id: str) -> None:
    """Count a problem by its code, and log it where it is the service's fault.

    Args:
        error: Any error of Facet's.
        request_id: The request's id.
    """
    REJECTIONS.labels(error.code).inc()
    if status_of(type(error)) == 500:
        logger.error("request %s failed: %s", request_id, error.code, exc_info=error)


def note(code: str) -> None:
    """Write a problem's code into the record of the request that it answers, or of the stream that it ends.

    Args:
        code: Of the problem.
    """
    record = CURRENT.get()
    if record is not None:
        record.outcome = code


def _response(problem: Problem, headers: dict[str, str]) -> Response:
    return Response(problem.model_dump_json(), problem.status, headers, MEDIA_TYPE)


def unrouted(status: int, request_id: str, headers: dict[str, str]) -> Response:
    """Answer what the router refuses, and count it.

    Args:
        status: 404, 405, or another status of the framework.
        request_id: The request's id.
        headers: Of the response; `Allow` names the methods of a path.

    Returns:
        The response.
    """
    code = UNROUTED.get(status, "http_error")
    phrase = HTTPStatus(status).phrase
    if headers.get("Allow") in ("GET", "HEAD, GET"):  # of a set, which has another order in each process
        headers["Allow"] = "GET, HEAD"
    details = {
        404: "There is nothing here; /docs says what is where.",
        405: f"This path takes {headers.get('Allow', 'another method')}.",
        426: "This path takes WebSockets: a proxy in front of it has to pass the headers Upgrade and Connection on.",
    }
    REJECTIONS.labels(code).inc()
    note(code)
    problem = Problem(
        type=f"urn:facet:problem:{code}",
        title=phrase,
        status=status,
        detail=details.get(status, phrase + "."),
        code=code,
        request_id=request_id,
    )
    return _response(problem, headers)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what no route takes with 404; a WebSocket is refused with a document, as a request is, where the server can.

    Args:
        scope: Of the connection.
        receive: As ASGI has it.
        send: As ASGI has it.
    """
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await WebSocketClose()(scope, receive, send)
        return
    await unrouted(404, scope["state"]["request_id"], {})(scope, receive, send)


def install(app: FastAPI) -> None:
    """Answer every failure of an app with a problem document.

    Args:
        app: The application, before it starts.
    """

    async def known(request: Request, error: Exception) -> Response:
        if not isinstance(error, FacetError):  # pragma: no cover - the handler is registered for FacetError alone
            raise error
        return respond(error, request_id(request))

    async def invalid(request: Request, error: Exception) -> Response:
        places = []
        if isinstance(error, RequestValidationError):
            places = [f"{one['loc'][-1]}: {errors.in_own_words(one['msg'])}" for one in error.errors()]
        return respond(InvalidParameter("; ".join(places)[:500] or "A parameter is not valid."), request_id(request))

    async def http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return unrouted(status, request_id(request), dict(getattr(error, "headers", None) or {}))

    async def unknown(request: Request, error: Exception) -> Response:
        return respond(unexpected(error), request_id(request))

    app.router.default = not_found
    app.add_exception_handler(FacetError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unknown)


def request_id(request: HTTPConnection) -> str:
    """Id of a request.

    Args:
        request: Any request, or the one that opened a WebSocket.

    Returns:
        The id that `service.api.middleware.request_log` assigned, or `-`.
    """
    return str(request.scope.get("state", {}).get("request_id", "-"))


def documented(*kinds: type[FacetError], unrouted: Collection[int] = ()) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a route that can fail.

    Args:
        kinds: The errors that it raises.
        unrouted: Statuses of `UNROUTED` that it answers with where a setting leaves it out.

    Returns:
        A response for each status, ascending; its description lists the errors' codes.
    """
    codes: dict[int, list[str]] = {status: [UNROUTED[status]] for status in unrouted}
    for kind in kinds:
        codes.setdefault(status_of(kind), []).append(kind.code)
    return {
        status: {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{name}`' for name in names)}",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, names in sorted(codes.items())
    }
