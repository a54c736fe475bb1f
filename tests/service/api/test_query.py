"""The query of a prediction is read once for all requests that ask for the same."""

from __future__ import annotations

import pytest
from fastapi.exceptions import RequestValidationError

from service.api.query import REMEMBERED_BYTES, parameters, read
from service.errors import InvalidParameter


def test_what_is_asked() -> None:
    asked = read(b"attributes=age,%20race&max_faces=3&min_confidence=.9&landmarks=true&at_least=18,21&model=mobilenet%2F5")
    assert asked.names == ("age", "race")
    assert asked.ages == (18, 21)
    assert (asked.max_faces, asked.min_confidence, asked.model) == (3, 0.9, "mobilenet/5")
    assert (asked.landmarks, asked.distribution, asked.preview) == (True, False, False)


@pytest.mark.parametrize("confidence", [2 / 3, 0.1 + 0.7, 0.5000000000000001, 1.0])
def test_a_number_is_read_as_languages_write_it(confidence: float) -> None:
    assert read(f"min_confidence={confidence}".encode()).min_confidence == confidence


def test_what_is_left_open() -> None:
    asked = read(b"")
    assert asked.names is None
    assert asked.ages == ()
    assert (asked.model, asked.max_faces, asked.min_confidence) == (None, None, None)


def test_the_same_query_is_read_once() -> None:
    assert read(b"max_faces=7&preview=1") is read(b"max_faces=7&preview=1")
    assert read(b"max_faces=7&preview=1") != read(b"max_faces=8&preview=1")


def test_a_long_query_is_not_kept() -> None:
    query = b"attributes=" + b"age," * (REMEMBERED_BYTES // 4)
    assert read(query) == read(query)
    assert read(query) is not read(query)


@pytest.mark.parametrize(
    "query", [b"max_faces=0", b"max_faces=1_0", b"max_faces=", b"min_confidence=0.4", b"landmarks=perhaps"]
)
def test_a_value_that_is_none_is_refused_each_time(query: bytes) -> None:
    name, _, value = query.decode().partition("=")
    for _ in range(2):
        with pytest.raises(RequestValidationError) as caught:
            read(query)
        (error,) = caught.value.errors()
        assert error["loc"] == (name,)
        assert not value or value not in error["msg"] or value == "0", "what a client sent is not told to anybody"


@pytest.mark.parametrize(
    ("query", "words"), [(b"max_face=3", "max_face: there is no"), (b"preview=1&preview=0", "preview: give it once")]
)
def test_a_name_that_is_none_or_comes_twice_is_refused_each_time(query: bytes, words: str) -> None:
    for _ in range(2):
        with pytest.raises(InvalidParameter, match=words):
            read(query)


def test_bounds_are_documented_where_generators_of_clients_read_them() -> None:
    documented = {one["name"]: one["schema"] for one in parameters()}
    assert documented["max_faces"]["anyOf"][0] == {"type": "integer", "minimum": 1}
    assert documented["min_confidence"]["anyOf"][0] == {"type": "number", "minimum": 0.5, "maximum": 1}
    assert documented["attributes"]["anyOf"][0] == {"type": "string", "maxLength": 4096}
    assert documented["landmarks"]["default"] is False
