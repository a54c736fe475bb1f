"""The benchmark of swaps gives no verdict on memory that it has not compared."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from rich.console import Console


def test_too_few_swaps_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(root / "benchmarks")
    swaps = importlib.import_module("swaps")
    monkeypatch.setattr(sys, "argv", ["swaps.py", "--swaps", "25"])
    with pytest.raises(SystemExit):
        swaps.main()
    assert "26 swaps or more" in capsys.readouterr().err


@pytest.mark.parametrize("swaps_made", [26, 50])
def test_memory_that_grows_is_found(root: Path, monkeypatch: pytest.MonkeyPatch, swaps_made: int) -> None:
    monkeypatch.syspath_prepend(root / "benchmarks")
    swaps = importlib.import_module("swaps")
    outcome = swaps.Outcome()
    outcome.answered.update({1: 10, 2: 10})
    for growth, held in ((0.0, True), (1.5, False)):
        memory = {swap: 300 + growth * swap for swap in range(1, swaps_made + 1)}
        found = swaps.verdict(outcome, {"under load": memory}, [1.0] * swaps_made, 2, Console(quiet=True))
        assert found is held
