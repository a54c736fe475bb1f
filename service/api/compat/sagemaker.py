"""What Amazon SageMaker asks of a container behind an endpoint: `GET /ping` and `POST /invocations`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.responses import Response

from service.api.compat.translation import System
from service.api.routes import EngineDependency, health, predict

CUSTOM_ATTRIBUTES: Final = "x-amzn-sagemaker-custom-attributes"
"""Header that InvokeEndpoint hands on: the query of `POST /predict`, since SageMaker hands on no query."""


class _Invocations(APIRoute):
    """A route whose query may stand in `CUSTOM_ATTRIBUTES`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            given = request.headers.get(CUSTOM_ATTRIBUTES, "").encode("latin-1")
            query = b"&".join(part for part in (request.scope["query_string"], given) if part)
            return await handle(Request({**request.scope, "query_string": query}, request.receive))

        return handled


router = APIRouter(include_in_schema=False, route_class=_Invocations)


@router.get("/ping")
async def ping(engine: EngineDependency) -> JSONResponse:
    """As `GET /health`: 200 while photos are accepted."""
    return await health(engine)


@router.post("/invocations")
async def invocations(request: Request) -> Response:
    """As `POST /predict`."""
    return await predict(request)


SYSTEM: Final = System("sagemaker", "", router, probes=frozenset({"/ping"}))
