"""What is in data sets: counts by hand, tables, plots and the sheet."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import encoded
from tests.training import made
from training.__main__ import app
from training.datasets.base import Label
from training.datasets.columns import MOST_BANDS, MOST_WORDS, Bands, Decades, Words, Years, columns_of
from training.datasets.explore import CAPTION, COLUMNS, TILE, caption, explore

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
    assert explore(sources, folder).model_dump() == json.loads((folder / "counts.json").read_text())
    return folder


def test_every_bar_of_labels_has_its_name_and_every_tenth_year(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: dict[str, list[str]] = {}

    def read(figure: Figure, path: Path) -> None:
        ticks[path.name] = [one.get_text() for one in figure.axes[0].get_xticklabels()]
        plt.close(figure)

    monkeypatch.setattr("training.datasets.explore.save", read)
    explore(sources, tmp_path, samples=0)
    assert ticks["gender.png"] == ["male", "female", "unknown"]
    assert ticks["age.png"] == [str(year) for year in range(10, 90, 10)]


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
    label = Label({"age": 30, "gender": "female", "bmi": "22.5", "glasses": "no"})
    columns = [Years(), Decades(), Words("gender"), Words("race"), Words("glasses"), Bands("bmi", [18.0, 40.5])]
    assert [column.value(label) for column in columns] == ["30", "30-39", "female", "unknown", "no", "22 to 24"]
    assert [column.caption(label) for column in columns] == ["30", "30-39", "female", "?", "glasses: no", "bmi: 22.5"]
    assert Years().caption(Label({"age": 75}, (70, 80))) == "70-80"
    assert caption(label, columns) == ["30 30-39 female ?", "glasses: no bmi:", "22.5"]


def test_what_is_counted_and_how() -> None:
    random = np.random.default_rng(0)
    labels = [
        Label(
            {
                "smoker": random.choice(["yes", "no"]),
                "worn": str(number % 2),
                "bmi": f"{number / 10}",
                "steps": str(1000 * number),
                "note": f"picture {number}",
            }
        )
        for number in range(100, 300)
    ]
    columns = columns_of(labels)
    assert [(type(column).__name__, column.name) for column in columns] == [
        ("Bands", "bmi"),
        ("Words", "smoker"),
        ("Bands", "steps"),
        ("Words", "worn"),
    ], "notes are not counted, numbers are"
    assert len(labels) > MOST_WORDS
    bmi, steps = columns[0].drawn(()), columns[2].drawn(())
    assert (bmi[0], bmi[-1]) == ("10 to 12", "28 to 30")
    assert (steps[0], steps[-1]) == ("100000 to 120000", "280000 to 300000")
    assert max(len(bmi), len(steps)) <= MOST_BANDS
    assert columns_of([Label({"bmi": "22.5"})])[0].value(Label({"bmi": "22.5"})) == "22 to 23"


def test_a_number_and_labels_of_any_name_are_counted_drawn_and_crossed(tmp_path: Path) -> None:
    club = made.folder_of(tmp_path / "club", [(f"{number}.png", encoded(made.square_picture(1, 1))) for number in range(30)])
    rows = [f"{number}.png,{'yes' if number % 3 else 'no'},{18 + number / 2}" for number in range(30)]
    (club / "labels.csv").write_text("\n".join(["file,glasses,bmi", *rows[:-1], "29.png,yes,"]))
    explore([club], tmp_path / "out")
    counts = json.loads((tmp_path / "out/counts.json").read_text())["club"]
    assert set(counts) == {"pictures", "unlabelled", "split", "bmi", "glasses", "bmi and glasses"}
    assert counts["glasses"] == {"no": 10, "yes": 20}
    assert counts["bmi"] == {**{f"{year} to {year + 1}": 2 for year in range(18, 32)}, "32 to 33": 1, "unknown": 1}
    assert counts["bmi and glasses"]["18 to 19 no"] == 1
    for name in ("bmi", "glasses", "crossings"):
        with Image.open(tmp_path / f"out/{name}.png") as plot:
            assert len(np.unique(np.asarray(plot.convert("L")))) > 20
    assert not (tmp_path / "out/age.png").exists()
    with (tmp_path / "out/counts.csv").open(newline="") as file:
        assert list(csv.DictReader(file).fieldnames or ()) == ["set", "split", "bmi", "glasses", "pictures"]


def test_parts_of_one_set_are_counted_together(tmp_path: Path) -> None:
    halves = [
        made.folder_of(tmp_path / str(half), [(name, encoded(made.square_picture(5, 5), "JPEG")) for name in NAMES[half::2]])
        for half in (0, 1)
    ]
    document = explore(halves, tmp_path / "out", samples=4).model_dump()
    assert document["UTKFace"]["pictures"] == 4
    assert document["UTKFace"]["age"] == {"7": 1, "34": 1, "36": 2}


def test_a_column_of_any_name_has_a_plot_in_the_folder(tmp_path: Path) -> None:
    own = made.folder_of(tmp_path / "own", [("a.png", b""), ("b.png", b"")])
    (own / "labels.csv").write_text("file,hair/eyes,../../up\na.png,brown,yes\nb.png,grey,no\n")
    explore([own], tmp_path / "out/below", samples=0)
    plots = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert plots == {"below/hair_eyes.png", "below/_up.png", "below/crossings.png"}


def test_a_column_named_as_something_else_of_the_counts_is_counted_beside_it(tmp_path: Path) -> None:
    own = made.folder_of(tmp_path / "own", [("a.png", b""), ("b.png", b"")])
    header = "file,pictures,unlabelled,set,crossings,hair/eyes,hair eyes"
    (own / "labels.csv").write_text(f"{header}\na.png,few,yes,one,x,brown,grey\nb.png,many,no,two,y,grey,brown\n")
    document = explore([own], tmp_path / "out", samples=0).model_dump()["own"]
    assert (document["pictures"], document["pictures (column)"]) == (2, {"few": 1, "many": 1})
    assert (document["unlabelled"], document["unlabelled (column)"]) == (0, {"no": 1, "yes": 1})
    with (tmp_path / "out/counts.csv").open(newline="") as file:
        titles = next(csv.reader(file))
    assert len(set(titles)) == len(titles) == 9
    plots = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert plots == {
        *("crossings.png", "crossings_2.png", "hair_eyes.png", "hair_eyes_2.png"),
        *("pictures.png", "set.png", "unlabelled.png"),
    }


def test_dollars_of_a_table_are_no_mathematics(tmp_path: Path) -> None:
    own = made.folder_of(tmp_path / "own", [("a.png", b""), ("b.png", b"")])
    (own / "labels.csv").write_text("file,$x_1$,a^$b$\na.png,$\\frac$,$5-$7\nb.png,$_$,more\n")
    explore([own], tmp_path / "out", samples=0)
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
