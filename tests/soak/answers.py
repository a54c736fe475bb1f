"""What an answer may be: its status, its problem document, and how far it lies from the golden one."""

from __future__ import annotations

import math
from typing import Any, Final

from service.api.problems import UNROUTED
from service.api.statuses import status_of
from service.errors import FacetError

BUSY: Final = frozenset({408, 503, 504})
"""Statuses that a busy service or a slow network may give to any request; none of them is an answer that could be wrong."""
TOLERANCE: Final = 0.11
"""Most that a number may differ from its golden one: one step of the coarsest that is rounded, years to a tenth.

The networks add up in another order where a batch is larger, so that the last digit may turn.
"""


def _statuses(kind: type[FacetError]) -> dict[str, int]:
    found = {kind.code: status_of(kind)}
    for below in kind.__subclasses__():
        found |= _statuses(below)
    return found


STATUS_OF: Final = _statuses(FacetError) | {code: status for status, code in UNROUTED.items()}
"""Status of each documented problem by its code."""


def flaw_of(status: int, content_type: str, document: Any) -> str | None:
    """What is wrong with an answer to a prediction, whatever was sent.

    Args:
        status: The answer's status.
        content_type: Its `Content-Type`.
        document: Its body, read as JSON.

    Returns:
        A sentence, or None where it is as documented.
    """
    if status == 200:
        return None if content_type == "application/json" and isinstance(document, dict) else "200 without a JSON object"
    if content_type != "application/problem+json" or not isinstance(document, dict):
        return f"{status} without a problem document ({content_type})"
    code = str(document.get("code"))
    if STATUS_OF.get(code) != status or document.get("status") != status:
        return f"{status} with the code {code}"
    if status == 500:
        return f"500 with the code {code}"
    return None


def essence(document: dict[str, Any]) -> dict[str, Any]:
    """What of an answer does not change from one request to the next.

    Args:
        document: An answer to a prediction, or a frame's.

    Returns:
        It without ids and times.
    """
    if "results" in document:
        return {"results": [essence(result.get("result") or result.get("problem") or {}) for result in document["results"]]}
    return {key: value for key, value in document.items() if key not in ("request_id", "timing_ms", "next_in_ms", "dropped")}


def distance(golden: Any, answer: Any) -> float:
    """The largest difference of two documents' numbers.

    Args:
        golden: One document.
        answer: The other.

    Returns:
        0 where they are equal, and infinity where they differ in anything but numbers.
    """
    if isinstance(golden, bool) or isinstance(answer, bool) or golden is None or isinstance(golden, str):
        return 0.0 if golden == answer and type(golden) is type(answer) else math.inf
    if isinstance(golden, dict) and isinstance(answer, dict):
        if golden.keys() != answer.keys():
            return math.inf
        return max((distance(value, answer[key]) for key, value in golden.items()), default=0.0)
    if isinstance(golden, list) and isinstance(answer, list):
        if len(golden) != len(answer):
            return math.inf
        return max((distance(one, other) for one, other in zip(golden, answer, strict=True)), default=0.0)
    if isinstance(golden, int | float) and isinstance(answer, int | float):
        return abs(golden - answer)
    return math.inf
