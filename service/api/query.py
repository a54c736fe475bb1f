"""The query of a prediction: checked once for all requests that ask for the same, and documented.

FastAPI takes a route's parameters apart anew for every request, a fifth of what a photo costs the event loop.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from service.errors import InvalidParameter
from service.inference.at_least import parse_ages

PLAIN_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,20})?|\.[0-9]{1,20}")
"""Numbers of a query: Python reads `1_0` as ten, and nobody else does. A double such as 2/3 has up to 17 decimals."""
MODEL: Final = "NAME or NAME/VERSION of a model that is served; the default model if omitted."
MAX_TITLE: Final = 100
"""Characters of a model's title at most."""
REMEMBERED: Final = 256
"""Queries that are remembered."""
REMEMBERED_BYTES: Final = 1024
"""Bytes of a query that is: a client may send one of tens of thousands, and each another one."""


def plain(value: object) -> object:
    """Let a query's number pass as it came.

    Args:
        value: What the query has.

    Returns:
        The same.

    Raises:
        ValueError: It is no number that every reader takes for the same.
    """
    if isinstance(value, str) and not PLAIN_NUMBER.fullmatch(value):
        raise ValueError("it has to be a number of digits, such as 3 or 0.9")
    return value


class PredictQuery(BaseModel):
    """What a query asks of a prediction."""

    model_config = ConfigDict(frozen=True)

    model: Annotated[str, Field(max_length=MAX_TITLE)] | None = Field(None, description=MODEL)
    attributes: Annotated[str, Field(max_length=4096)] | None = Field(
        None, description="Comma-separated: age, gender, race. What is not named is left out."
    )
    max_faces: Annotated[int, Field(ge=1), BeforeValidator(plain)] | None = Field(
        None, description="Maximum number of faces; the largest are returned."
    )
    min_confidence: Annotated[float, Field(ge=0.5, le=1), BeforeValidator(plain)] | None = Field(
        None, description="Minimum detection confidence of a face."
    )
    landmarks: bool = Field(False, description="Include the five landmarks of every face.")
    distribution: bool = Field(False, description="Include the probability of every age from 0 to 100.")
    at_least: Annotated[str, Field(max_length=100)] | None = Field(
        None,
        description="Comma-separated ages, 1 to 99, at most 8: include the probability of being at least that old.",
        examples=["18,21,25"],
    )
    preview: bool = Field(
        False, description="Include the upright photo as a small JPEG, for programs that cannot show its format."
    )

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """The attributes that are named; None where all are wanted."""
        return None if self.attributes is None else tuple(name.strip() for name in self.attributes.split(",") if name.strip())

    @cached_property
    def ages(self) -> tuple[int, ...]:
        """The ages of `at_least`. Raises `InvalidParameter` where they are none."""
        return parse_ages(self.at_least)


def read(query: bytes) -> PredictQuery:
    """Read the query of a prediction.

    Args:
        query: As it was sent.

    Returns:
        What it asks for.

    Raises:
        RequestValidationError: A value is not of its kind.
        InvalidParameter: A name is none of these, or comes twice.
    """
    return _remembered(query) if len(query) <= REMEMBERED_BYTES else _read(query)


def _read(query: bytes) -> PredictQuery:
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    try:
        asked = PredictQuery.model_validate(dict(given))
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error
    check_names([name for name, _ in given], known_names())
    return asked


_remembered = lru_cache(REMEMBERED)(_read)


def known_names() -> list[str]:
    """List the names that the query of a prediction may have.

    Returns:
        Names, sorted.
    """
    return sorted(PredictQuery.model_fields)


def check_names(given: Sequence[str], known: Sequence[str]) -> None:
    """Refuse what would pass for an answer to something else: names that are none here, and such as come twice.

    Args:
        given: Names of a query, as they come.
        known: Names that it may have.

    Raises:
        InvalidParameter: One is of neither kind.
    """
    if unknown := next((name for name in given if name not in known), None):
        raise InvalidParameter(f"{unknown[:50]}: there is no such parameter; choose from {', '.join(known)}.")
    if twice := next((name for name in given if given.count(name) > 1), None):
        raise InvalidParameter(f"{twice}: give it once; separate several values with commas.")


def parameters() -> list[dict[str, Any]]:
    """The query of a prediction as OpenAPI describes it.

    Returns:
        One parameter object a name.
    """
    described = PredictQuery.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {key: value for key, value in schema.items() if key != "default" or value is not None},
            "description": schema["description"],
        }
        for name, schema in described.items()
    ]
