"""Files that are at every moment whole."""

from __future__ import annotations

import ast
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from training.artifacts import mapped_pixels, new_folder, one_writer, whole_folder, writable, write_json, write_rows
from training.plotting import save


def test_a_folder_that_is_half_filled_is_not_there(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with whole_folder(tmp_path / "model") as folder:
            (folder / "1").mkdir(parents=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "model") as folder:
        folder.mkdir()
    assert folder.is_dir()


def test_a_folder_of_a_store_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    made = tmp_path / "model/1"
    with new_folder(tmp_path, made) as draft:
        (draft / "file").write_text("whole")
        assert not made.parent.exists(), "what a process that is killed here leaves"
    assert (made / "file").read_text() == "whole"
    assert list(tmp_path.iterdir()) == [made.parent]

    with pytest.raises(FileExistsError, match="never change"), new_folder(tmp_path, made):
        pytest.fail("it is said before the work")


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder = tmp_path / "runs" / "club"
    with one_writer(folder), pytest.raises(BlockingIOError, match="another command is writing there"), one_writer(folder):
        raise AssertionError
    with one_writer(folder):
        assert list(folder.iterdir()) == []


def test_a_folder_is_tried_and_nothing_stays_in_it(tmp_path: Path) -> None:
    writable(tmp_path / "a" / "b")
    writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with pytest.raises(OSError, match="/proc"):  # where nobody makes a file, root neither
        writable(Path("/proc"))


takes_room = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system takes no room in advance")


@takes_room
def test_a_mapped_array_has_its_room_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "crops.npy"
    pixels = mapped_pixels(path, (100, 50, 50, 3))
    assert path.stat().st_blocks * 512 >= pixels.nbytes == 750_000
    pixels[99] = 7
    assert np.load(path, mmap_mode="r")[99].min() == 7


@takes_room
def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="no space"):
        mapped_pixels(tmp_path / "crops.npy", (10, 50, 50, 3))


def test_json_is_readable_and_knows_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"mae": 4.25})
    assert json.loads(path.read_text()) == {"mae": 4.25}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"mae": float("nan")})
    assert json.loads(path.read_text()) == {"mae": 4.25}


def test_a_table_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    write_rows(path, [{"epoch": "0", "loss": "1.5"}])
    with pytest.raises(ValueError, match="accuracy"):
        write_rows(path, [{"epoch": "0", "loss": "1.5"}, {"epoch": "1", "accuracy": "0.5"}])
    assert path.read_text().splitlines() == ["epoch,loss", "0,1.5"]
    assert list(tmp_path.iterdir()) == [path]


class FullDisk(Figure):
    """A figure of which half can be written."""

    def savefig(self, fname: Any, **_: Any) -> None:
        Path(fname).write_bytes(b"\x89PNG half of")
        raise OSError(errno.ENOSPC, "no space left on device")


def test_a_plot_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "roc.png"
    save(plt.figure(), path)
    old = path.read_bytes()
    assert old.startswith(b"\x89PNG")
    with pytest.raises(OSError, match="no space"):
        save(plt.figure(FigureClass=FullDisk), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
    assert not plt.get_fignums()


WRITERS = frozenset(
    ["copyfile", "open_memmap", "save", "save_weights", "savefig", "savez", "savez_compressed", "write_bytes", "write_text"]
)
"""Methods that write a file."""


def written(source: str) -> Iterator[str]:
    """Calls that write a file by its own name, and neither in memory nor as what takes the file's place."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            modes = {part.value for part in node.args if isinstance(part, ast.Constant)}
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            if (node.func.attr in WRITERS or (node.func.attr == "open" and "w" in modes)) and not names & {"new", "buffer"}:
                yield ast.unparse(node)


def test_a_write_past_artifacts_is_seen() -> None:
    assert list(written("with replacing(path) as new:\n    np.savez(new, a=a)\n    figure.savefig(new)")) == []
    assert list(written("path.write_text(text)\npath.open('w')\nnp.save(out / 'a.npy', a)")) == [
        "path.write_text(text)",
        "path.open('w')",
        "np.save(out / 'a.npy', a)",
    ]


def test_every_file_of_training_is_written_whole(root: Path) -> None:
    calls = [call for path in (root / "training").rglob("*.py") for call in written(path.read_text())]
    # A SavedModel is a folder of many files; that of an export that fails is removed.
    assert [call for call in calls if not call.startswith("tf.saved_model.save(")] == []
