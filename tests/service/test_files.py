"""Files that are at every moment whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.files import replacing


def test_a_file_that_is_half_written_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

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
