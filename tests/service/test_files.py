"""Files that are at every moment whole."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from service.files import folder_made, replacing, require_name


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


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_synced_is_no_failure_but_a_broken_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """SMB syncs files alone, and says EINVAL of a folder."""
    sync = os.fsync

    def files_alone(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    path = tmp_path / "table.csv"
    with nullcontext() if number == errno.EINVAL else pytest.raises(OSError, match="Input/output"), replacing(path) as new:
        new.write_text("rows")
    assert path.read_text() == "rows"


@pytest.mark.skipif(sys.platform == "win32", reason="names are counted otherwise there")
def test_a_name_that_leaves_no_room_for_the_one_beside_it_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    fits, too_long = tmp_path / "a/b" / ("x" * 250), tmp_path / "a/b" / ("x" * 251)
    require_name(fits)
    with pytest.raises(OSError, match="too long") as refused:
        require_name(too_long)
    assert refused.value.filename == str(too_long)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_taken_away_again_where_nothing_came_into_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    def fail(folder: Path, *, content: bool) -> None:
        with folder_made(folder):
            if content:
                (folder / "of somebody else").touch()
            raise KeyError("a bug in between")

    for folder in ("there", "there/new/of/it", "kept/it"):
        with pytest.raises(KeyError):
            fail(tmp_path / folder, content=folder == "kept/it")
    assert {path.name for path in tmp_path.rglob("*")} == {"there", "kept", "it", "of somebody else"}
