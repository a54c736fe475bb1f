"""Files that are at every moment whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.artifacts import replacing, write_json, write_text


def test_a_file_that_is_half_written_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def fail_half_way() -> None:
        with replacing(path) as new:
            new.write_text("ne")
            raise KeyError("a bug in between")

    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_written_takes_the_old_ones_place_under_its_own_ending(tmp_path: Path) -> None:
    path = tmp_path / "best.weights.h5"
    with replacing(path) as new:
        assert new.suffix == path.suffix
        assert not path.exists()
        new.write_text("weights")
    assert path.read_text() == "weights"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_readable_and_knows_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"mae": 4.25})
    assert json.loads(path.read_text()) == {"mae": 4.25}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"mae": float("nan")})
    assert json.loads(path.read_text()) == {"mae": 4.25}
