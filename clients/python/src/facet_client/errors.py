"""What can go wrong.

FacetClientError
├── ConnectionFailed        the service was not reached, or did not answer in time
├── ProblemError            the service answered with a problem
│   └── UnavailableError    one that may pass: 429, 502, 503, 504
└── StreamClosed            the service ended a stream
"""

from __future__ import annotations

import copyreg
from typing import Any

from facet_client.models import Problem, StreamProblem


class FacetClientError(Exception):
    """Base of every error of this package; all can be copied and pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew without `__init__`: Exception's own way calls it with the message alone."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class ConnectionFailed(FacetClientError):
    """The service was not reached, broke off, or did not answer in time; `sent` is False where it cannot have the request."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class ProblemError(FacetClientError):
    """The service answered with a `status` of a failure; `problem` says more, where the answer came from the service itself.

    `leads_to` is the address that something before the service names in its place, as for HTTPS; photos are not sent there.
    """

    def __init__(self, status: int, problem: Problem | None, leads_to: str = "") -> None:
        said = f"{problem.detail} ({problem.code})" if problem else "not an answer of Facet's"
        super().__init__(f"{status}: {said}" + (f"; it leads to {leads_to}" if leads_to else ""))
        self.status = status
        self.problem = problem

    @property
    def code(self) -> str:
        """The problem's stable code; empty where something before the service answered."""
        return self.problem.code if self.problem else ""


class UnavailableError(ProblemError):
    """The service could not answer now; `retry_after` is in seconds, where it said when it can."""

    def __init__(self, status: int, problem: Problem | None, retry_after: float | None) -> None:
        super().__init__(status, problem)
        self.retry_after = retry_after


class StreamClosed(FacetClientError):
    """A stream has ended with a `code` of WebSocket's; `problem` says why, where the service did."""

    def __init__(self, code: int, problem: StreamProblem | None) -> None:
        super().__init__(f"{code}: {problem.detail} ({problem.code})" if problem else f"closed with {code}")
        self.code = code
        self.problem = problem
