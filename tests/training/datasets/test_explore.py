"""What is in data sets: counts by hand, tables, plots and the sheet."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import encoded
from tests.training import made
from training.__main__ import app
from training.datasets.base import Label
from training.datasets.explore import CAPTION, COLUMNS, TILE, explore, value

NAMES = ["34_0_0_1.jpg.chip.jpg", "36_1_0_2.jpg.chip.jpg", "36_1_4_3.jpg.chip.jpg", "7_0_1_4.jpg.chip.jpg"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("explore")
    files = [(name, encoded(made.square_picture(5, 5), "JPEG")) for name in NAMES]
    utkface = made.folder_of(folder / "UTKFace", [*files, ("broken_1.jpg.chip.jpg", b"")])
    own = made.folder_of(folder / "own", [("a.png", b"no picture"), ("b.png", encoded(made.square_picture(1, 1)))])
    (own / "labels.csv").write_text("file,age,gender\na.png,70-90,\nb.png,,female\n")
    return [utkface, own]


@pytest.fixture(scope="module")
def out(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explored")
    assert explore(sources, folder) == json.loads((folder / "counts.json").read_text())
    return folder


def test_counts_by_hand(out: Path) -> None:
    document = json.loads((out / "counts.json").read_text())
    utkface = document["UTKFace"]
    assert (utkface["pictures"], utkface["unlabelled"]) == (4, 1)
    assert utkface["age"] == {"7": 1, "34": 1, "36": 2}
    assert utkface["gender"] == {"male": 2, "female": 2}
    assert utkface["race"] == {"white": 2, "black": 1, "other": 1}
    assert utkface["decade and gender"] == {"0-9 male": 1, "30-39 male": 1, "30-39 female": 2}
    assert utkface["race and gender"] == {"white male": 1, "white female": 1, "black male": 1, "other female": 1}
    own = document["own"]
    assert own["age"] == {"80": 1, "unknown": 1}
    assert own["gender"] == {"female": 1, "unknown": 1}
    with (out / "counts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["pictures"]) for row in rows) == 6
    assert ("own", "80", "unknown") in {(row["set"], row["age"], row["gender"]) for row in rows}


def test_plots_and_the_sheet_are_drawn(out: Path) -> None:
    for name in ("age", "gender", "race", "crossings"):
        with Image.open(out / f"{name}.png") as plot:
            assert len(np.unique(np.asarray(plot.convert("L")))) > 20
    with Image.open(out / "samples.jpg") as sheet:
        assert sheet.size == (COLUMNS * TILE, TILE + CAPTION)
        tiles = np.asarray(sheet)[:TILE].reshape(TILE, COLUMNS, TILE, 3).mean(axis=(0, 2))
    grey = np.abs(tiles - 128).max(axis=1) < 3
    assert grey.sum() == 1  # the one that is no picture
    assert (tiles[6:] > 250).all()  # six were drawn


def test_from_the_command_line(sources: list[Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["explore", "--data", str(sources[0]), "--out", str(tmp_path / "out"), "--samples", "0"])
    assert result.exit_code == 0, result.stderr
    assert "counts.json" in result.stdout
    assert (tmp_path / "out/age.png").exists()
    assert not (tmp_path / "out/samples.jpg").exists()
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, ["explore", "--data", str(tmp_path / "empty")])
    assert result.exit_code == 1
    assert result.stderr.startswith("training: no labelled picture in")


def test_words_of_a_label() -> None:
    label = Label({"age": 30, "gender": "female"})
    assert [value(label, name) for name in ("age", "decade", "gender", "race")] == ["30", "30-39", "female", "unknown"]
