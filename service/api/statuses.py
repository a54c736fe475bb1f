"""The status and the document of an error, over HTTP or not; the one place where a status is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from service import errors
from service.api.schemas import Problem
from service.errors import FacetError

STATUS: Final[Mapping[type[FacetError], int]] = {
    errors.RequestError: 400,
    errors.HeadTooLarge: 431,
    errors.HeadTimeout: 408,
    errors.BodyTooLarge: 413,
    errors.BodyTimeout: 408,
    errors.InvalidParameter: 422,
    errors.UnknownModel: 404,
    errors.UnsupportedMediaType: 415,
    errors.UnsupportedEncoding: 415,
    errors.Unauthenticated: 401,
    errors.ForeignOrigin: 403,
    errors.StreamIdle: 408,
    errors.RateLimited: 429,
    errors.ModelRefused: 409,
    errors.ImageError: 422,
    errors.UnsupportedFormat: 415,
    errors.EmptyFile: 400,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.FacetError: 500,
}
"""Status of an error: that of the nearest class above it that stands here."""


def status_of(kind: type[FacetError]) -> int:
    """HTTP status of a class of errors.

    Args:
        kind: Any class of Facet's errors.

    Returns:
        Its own status, or that of the nearest base that has one.
    """
    return next(STATUS[above] for above in kind.__mro__ if above in STATUS)


def problem_of(error: FacetError, request_id: str) -> Problem:
    """Describe an error to a client; a fault of the service's own keeps its cause to the log.

    Args:
        error: Any error of Facet's.
        request_id: The request's id.

    Returns:
        The problem document (RFC 9457).
    """
    status = status_of(type(error))
    detail = str(error) if status != 500 else "The photo could not be analysed. The fault is the service's."
    return Problem(
        type=f"urn:facet:problem:{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=error.code,
        request_id=request_id,
    )
