"""Public functions say what they take, give and raise."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.docs.docstrings import Function, gaps, unsaid

WELL_SAID = '''
def area(width: float, height: float) -> float:
    """The area of a box.

    Args:
        width: Its width in pixels.
        height: Its height in pixels.

    Returns:
        Square pixels.

    Raises:
        ValueError: Where a side is negative.
    """
    if min(width, height) < 0:
        raise ValueError("a side is negative")
    return width * height
'''


def function(source: str) -> Function:
    """The first function of a source."""
    found = ast.parse(source).body[0]
    assert isinstance(found, Function)
    return found


def test_a_function_that_says_everything_leaves_no_gap() -> None:
    assert not list(gaps(function(WELL_SAID)))


@pytest.mark.parametrize(
    ("line", "gap"),
    [
        ("        height: Its height in pixels.\n", "Args: height"),
        ("    Returns:\n        Square pixels.\n\n", "Returns"),
        ("        ValueError: Where a side is negative.\n", "Raises: ValueError"),
    ],
)
def test_what_is_left_out_is_named(line: str, gap: str) -> None:
    assert line in WELL_SAID
    assert list(gaps(function(WELL_SAID.replace(line, "")))) == [gap]


UNSAID = {
    "service": 0,
    "training": 0,
    "clients/python/src": 0,
}
"""Public functions of each package that leave something unsaid. The numbers may only fall."""


@pytest.mark.parametrize("package", UNSAID)
def test_no_more_public_functions_leave_something_unsaid(root: Path, package: str) -> None:
    lines = list(unsaid(root / package))
    assert len(lines) <= UNSAID[package], "\n".join(lines)
