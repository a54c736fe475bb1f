"""Tables of the benchmarks that are printed: a unit in brackets is no style of rich's, which would drop it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.client import ROOT

PROGRAMS = sorted(
    path for path in (ROOT / "benchmarks").rglob("*.py") if "from rich.table import Table" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_units_are_printed(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    consoles = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Console"]
    assert consoles
    for console in consoles:
        options = {one.arg: ast.literal_eval(one.value) for one in console.keywords}
        assert options.get("markup") is False, ast.unparse(console)
