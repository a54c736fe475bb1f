"""Photos to tables: the schema, every format, going on after an end, and what ends a run."""

from __future__ import annotations

import asyncio
import csv
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.api.schemas import EXAMPLE, PredictAnswer
from service.errors import InvalidParameter
from service.offline import command, run
from service.offline.errors import FormatError, Interrupted, OutputError, SourceError
from service.offline.formats import Parquet
from service.offline.output import Output
from service.offline.predictors import LocalPredictor
from service.offline.table import Table
from service.offline.terminal import as_table
from service.settings import Settings
from tests.conftest import ROOT
from tests.fakes import GLASSES, attributes, engine_factory, manifest
from tests.service.offline.made import folder, local, photo, predict, requested

CONTRACT = (
    "file face x y width height confidence age_years age_low age_high gender gender_confidence gender_uncertain "
    "race race_confidence race_uncertain p_at_least_18 p_at_least_21 p_male p_female p_white p_black p_asian p_indian p_other "
    "size_px sharpness brightness roll yaw noise contrast warnings model version digest problem detail time_s"
)


def rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a table in JSON Lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


# The table --------------------------------------------------------------------------------------------------------------


def test_the_schema_is_the_documented_one() -> None:
    declared = manifest().attributes
    assert " ".join(column.name for column in Table(declared, ages=(18, 21)).columns) == CONTRACT
    names = {column.name for column in Table(declared, landmarks=True, distribution=True).columns}
    assert {"left_eye_x", "mouth_right_y", "age_distribution"} <= names
    page = (ROOT / "docs/tables.md").read_text()
    for column in Table(declared).columns:
        assert f"`{column.name}`" in page or column.name.startswith("p_"), column.name


def test_a_further_attribute_has_columns_of_its_name() -> None:
    declared = manifest(attributes=[*attributes(), GLASSES]).attributes
    names = [column.name for column in Table(declared).columns]
    assert [name for name in names if "glasses" in name] == [
        "glasses", "glasses_confidence", "glasses_uncertain", "p_glasses_no", "p_glasses_yes",
    ]  # fmt: skip


def test_every_face_is_a_row_and_so_is_a_photo_without_one_and_one_that_failed(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(photo(200, 90))
    (photos / "b.png").write_bytes(photo())
    (photos / "c.jpg").write_bytes(b"no photo")
    (photos / "d.png").write_bytes(photo(120)[:-40])
    success, errors = predict(photos, tmp_path / "none.jpg", out=tmp_path / "faces.jsonl", at_least=(18,))
    assert success
    assert "5 photos (3 failed), 2 faces" in errors
    first, second, none, text, cut, missing = rows(tmp_path / "faces.jsonl")
    assert [first["face"], second["face"], none["face"]] == [0, 1, None]
    assert first["file"] == second["file"] == f"{photos.as_posix()}/a.png"
    assert first["age_years"] > 70 > second["age_years"] > 30
    assert first["p_at_least_18"] > 0.9
    assert (first["model"], first["version"], first["digest"]) == ("fake", 3, "0" * 64)
    assert (none["model"], none["problem"], none["x"]) == ("fake", None, None)
    assert [row["problem"] for row in (text, cut, missing)] == ["unsupported_format", "corrupt_image", "unreadable"]
    assert missing["detail"] == "No such file or directory"
    assert missing["digest"] is None


def test_a_name_is_shown_as_it_is(tmp_path: Path) -> None:
    """Not as what rich makes of brackets and colons: a style, its end, a picture; and on one line, however narrow the table."""
    path = tmp_path / "IMG [edited] [/b] :100:.jpg"
    path.parent.mkdir()
    path.write_bytes(b"no photo")
    assert as_table(str(path), PredictAnswer.model_validate(EXAMPLE), []).startswith(f"{path}: 1 face\n")
    assert f"facet: {path}: The file is not a JPEG" in predict(path)[1]


def test_files_of_folders_that_are_left_out_are_not_said_to_be_no_photos(tmp_path: Path) -> None:
    """TIFF and what cameras call raw are photos, too."""
    (tmp_path / "scan.tif").write_bytes(b"II*\0")
    assert predict(tmp_path)[1] == "no photo was found\nleft out 1 file of folders: no photo in a format that Facet reads\n"


def test_formats_hold_the_same(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 9)
    options = {"distribution": True, "landmarks": True, "at_least": (18,)}
    for name in ("faces.csv", "faces.jsonl"):
        predict(photos, out=tmp_path / name, photos_a_part=4, **options)
    lines = rows(tmp_path / "faces.jsonl")
    with (tmp_path / "faces.csv").open(newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert list(cells[0]) == list(lines[0])
    for line, row in zip(lines, cells, strict=True):
        assert row["age_years"] == ("" if line["age_years"] is None else str(line["age_years"]))
        assert row["gender_uncertain"] in ("true", "false", "")
        assert len(row["age_distribution"].split()) == len(line["age_distribution"] or [])


def test_parquet_holds_the_same_and_its_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    photos = folder(tmp_path / "photos", 9)
    for name in ("faces.parquet", "faces.jsonl"):
        predict(photos, out=tmp_path / name, photos_a_part=4, distribution=True)
    read = parquet.read_table(tmp_path / "faces.parquet")
    assert read.to_pylist() == rows(tmp_path / "faces.jsonl")
    kinds = {field.name: str(field.type) for field in read.schema}
    assert (kinds["face"], kinds["age_years"], kinds["gender_uncertain"], kinds["detail"]) == (
        "int64",
        "double",
        "bool",
        "string",
    )
    assert read.schema.metadata[b"facet.schema"] == b"1"


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_any_name_of_a_file_is_one_row(tmp_path: Path, ending: str) -> None:
    names = ["new\nline.png", "return\r.png", 'quo"te, comma.png', "-dash.png", "=1+1.png", "[bold]x.png", "bytes\udcff.png"]
    (tmp_path / "photos").mkdir()
    for name in names:
        (tmp_path / "photos" / name).write_bytes(photo(120))
    out = tmp_path / f"faces.{ending}"
    predict(tmp_path / "photos", out=out)
    _, errors = predict(tmp_path / "photos", out=out, resume=True)
    assert f"{len(names)} photos were there before" in errors
    with out.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file)) if ending == "csv" else rows(out)
    assert sorted(Path(row["file"]).name for row in found) == sorted([*names[:-1], "bytes\\xff.png"])


def test_a_csv_that_another_program_wrote_again_can_be_gone_on_with(tmp_path: Path) -> None:
    """Line ends of Windows, quotes around all, and no end of the last line."""
    photos, out = folder(tmp_path / "photos", 3), tmp_path / "faces.csv"
    predict(photos, out=out)
    with out.open(newline="", encoding="utf-8") as file:
        before = list(csv.reader(file))
    with out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(before)
    out.write_bytes(out.read_bytes().removesuffix(b"\r\n"))
    (photos / "zz.png").write_bytes(photo(99))
    predict(photos, out=out, resume=True)
    with out.open(newline="", encoding="utf-8") as file:
        after = list(csv.reader(file))
    assert after[:-1] == before
    assert after[-1][0].endswith("zz.png")


def test_parquet_lies_in_a_folder_whose_name_is_like_a_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow takes a path that begins so for an address."""
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    out = Path("camera:1/faces.parquet")
    for count in (1, 2):
        (tmp_path / f"{count}.png").write_bytes(photo(200))
        predict(*tmp_path.glob("*.png"), out=out, resume=True)
        assert len(list(Parquet([]).entries(out))) == count


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    with pytest.raises(FormatError, match="extra `parquet`"):
        predict(folder(tmp_path / "photos", 1), out=tmp_path / "faces.parquet")


def test_parameters_hold_for_every_photo(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(photo(200, 90))
    predict(tmp_path / "x.png", out=tmp_path / "f.jsonl", attributes=["gender"], max_faces=1)
    (row,) = rows(tmp_path / "f.jsonl")
    assert "age_years" not in row
    assert row["gender"] == "male"
    predict(tmp_path / "x.png", out=tmp_path / "g.jsonl", min_confidence=1.0)
    assert [row["face"] for row in rows(tmp_path / "g.jsonl")] == [None]


@pytest.mark.parametrize(
    "options",
    [
        {"resume": True},
        {"aggregate": True},
        {"out": Path("x.csv"), "json": True},
        {"out": Path("x.csv"), "resume": True, "overwrite": True},
        {"out": Path("x.csv"), "aggregate": True, "landmarks": True},
        {"listed": "-", "sources": ["-"]},
        {"sources": []},
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    sources = options.get("sources", ["x.jpg"])
    with pytest.raises(InvalidParameter):
        requested(*sources, **{name: value for name, value in options.items() if name != "sources"}).check()


# Going on ---------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="its event loop knows no signals")
def test_ctrl_c_waits_for_the_step_that_it_falls_into() -> None:
    """Where a result is just being set, to cancel who waits for it would fail that, with a traceback."""
    steps: list[bool] = []

    async def work() -> None:
        answer = asyncio.get_running_loop().create_future()

        def step() -> None:
            signal.raise_signal(signal.SIGINT)
            steps.append(answer.done())
            answer.set_result(None)

        asyncio.get_running_loop().call_soon(step)
        await answer
        await asyncio.sleep(30)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run.interruptible(work()))
    assert steps == [False]
    assert signal.getsignal(signal.SIGINT) == before


def test_nothing_is_written_over_unless_that_is_asked_for(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "photos", 3), tmp_path / "faces.csv"
    out.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        predict(photos, out=out)
    with pytest.raises(OutputError, match="other columns"):
        predict(photos, out=out, resume=True)
    assert out.read_text() == "precious"
    predict(photos, out=out, overwrite=True)
    assert out.read_text().startswith("file,face,")


def test_a_finished_table_takes_up_what_is_new(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "photos", 6), tmp_path / "faces.jsonl"
    predict(photos, out=out)
    before = out.read_text()
    (photos / "zz.png").write_bytes(photo(99))
    _, errors = predict(photos, out=out, resume=True)
    assert "1 photo, 1 face" in errors
    assert "6 photos were there before" in errors
    assert out.read_text().startswith(before)
    assert rows(out)[-1]["file"].endswith("zz.png")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("faces")] == ["faces.jsonl"]


def test_a_finished_table_takes_up_nothing_of_another_model(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "photos", 3), tmp_path / "faces.csv"
    predict(photos, out=out)
    before = out.read_text()
    out.write_text(before.replace(",fake,3,", ",fake,2,").replace("0" * 64, "1" * 64))
    with pytest.raises(OutputError, match=r"of the model fake/2, and this run's is fake/3"):
        predict(photos, out=out, resume=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("faces")] == ["faces.csv"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_what_is_no_table_is_not_gone_on_with(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    photos, out = folder(tmp_path / "photos", 3), tmp_path / f"faces.{ending}"
    predict(photos, out=out)
    torn = out.read_bytes()[:-200] if ending != "csv" else out.read_bytes() + b"\xff,"
    for data in (torn, b"\xff\xd8\xff"):
        out.write_bytes(data)
        with pytest.raises(OutputError, match="no table, or damaged; --overwrite"):
            predict(photos, out=out, resume=True)
        assert out.read_bytes() == data
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("faces")] == [out.name]
    out.unlink()
    out.mkdir()
    with pytest.raises(FormatError, match="the name of a table"):  # as of an empty variable of a script
        predict(tmp_path / "photos", out=Path())
    with pytest.raises(OutputError, match="is a folder"):
        predict(photos, out=out, overwrite=True)


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing matches"):
        predict(f"{tmp_path}/*.jpg", out=tmp_path / "faces.csv")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "faces.csv.parts").mkdir()  # of one that was killed before its first part
    predict(folder(tmp_path / "photos", 2), out=tmp_path / "faces.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.csv", "photos"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_that_are_no_runs_stay_as_they_are(tmp_path: Path, overwrite: bool) -> None:
    photos, out = folder(tmp_path / "photos", 2), tmp_path / "faces.csv"
    for name in ("faces.csv.new", "faces.csv.parts.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("precious")
    predict(photos, out=out, overwrite=overwrite)
    out.unlink()
    (tmp_path / "faces.csv.parts").mkdir()
    (tmp_path / "faces.csv.parts" / "mine").write_text("precious")
    with pytest.raises(OutputError, match="holds no parts"):
        predict(photos, out=out, overwrite=overwrite)
    assert len(list(tmp_path.glob("*/mine"))) == 3
    assert len(list(tmp_path.iterdir())) == 4, "and nothing else is left"


def test_two_runs_do_not_write_one_table(tmp_path: Path) -> None:
    output = Output(tmp_path / "f.csv", Table(manifest().attributes).columns, {})
    output.begin()
    with output:
        output.add("x.jpg", [])
        if sys.platform != "win32":
            with pytest.raises(OutputError, match="another run"):
                Output(tmp_path / "f.csv", Table(manifest().attributes).columns, {}).begin(overwrite=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no file has a lock there")
@pytest.mark.parametrize("lacking", [errno.ENOSYS, errno.ENOLCK, None])
def test_a_disk_or_a_system_without_locks_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: int | None
) -> None:
    """As Lustre is mounted by default, NFS without its daemon, and Windows."""

    def refuse(*_: object) -> None:
        raise OSError(lacking, os.strerror(lacking or 0))

    if lacking is None:
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:
        monkeypatch.setattr("fcntl.flock", refuse)
    photos, out = folder(tmp_path / "photos", 3), tmp_path / "faces.jsonl"
    with pytest.raises(ZeroDivisionError):
        predict(photos, out=out, predictor=Stopping(local(command.Request([])), 2))
    assert sorted(path.name for path in (tmp_path / "faces.jsonl.parts").iterdir()) == [
        "lock",
        "part-00000001.jsonl",
        "state.json",
    ]
    predict(photos, out=out, resume=True)
    assert [row["file"] for row in rows(out)] == [str(photo) for photo in sorted(photos.iterdir())]


def test_going_on_asks_for_the_same(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "photos", 6), tmp_path / "faces.jsonl"
    with pytest.raises(ZeroDivisionError):
        predict(photos, out=out, predictor=Stopping(local(command.Request([])), 3))
    assert (tmp_path / "faces.jsonl.parts").is_dir()
    with pytest.raises(OutputError, match="max_faces was 100 and is 1"):
        predict(photos, out=out, resume=True, max_faces=1)
    engine = engine_factory()(Settings())
    engine.detector = replace(engine.detector, manifest=manifest(name="other"))
    other = LocalPredictor(engine, requested().parameters_of)
    with pytest.raises(OutputError, match="detector was fake/3 and is other/3"):
        predict(photos, out=out, resume=True, predictor=other)
    changed = {"min_confidence": 0.9, "attributes": ("age",), "max_faces": 50, "min_face_px": 48.0, "detection_side_px": 640}
    for name, value in (changed | {"precision": "bf16"}).items():  # settings of the operator, named by no option
        engine = engine_factory()(Settings())
        setattr(engine, name, value)
        with pytest.raises(OutputError, match=f"{name} was .* and is"):
            predict(photos, out=out, resume=True, predictor=LocalPredictor(engine, requested().parameters_of))
    predict(photos, out=out, resume=True)
    predict(photos, out=tmp_path / "whole.jsonl")
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()


class Stopping:
    """A predictor that does something else at a photo of `folder`, by its number, once: it fails as nobody foresees."""

    def __init__(self, inner: Any, number: int, do: Callable[[], Any] = lambda: 1 / 0) -> None:
        self._inner, self._number, self._do = inner, number, do
        self.model = inner.model

    async def predict(self, name: str, data: bytes) -> Any:
        if int(Path(name).stem) == self._number:  # photos are asked for side by side, in any order
            self._do()
        return await self._inner.predict(name, data)

    async def close(self) -> None:
        await self._inner.close()


def test_counts_that_cannot_be_written_are_refused_before_a_photo_is_looked_at(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 2)
    (tmp_path / "file").write_text("")
    (tmp_path / "counts.csv").mkdir()
    for out, words in ((tmp_path / "file/counts.csv", "exists|directory"), (tmp_path / "counts.csv", "is a folder")):
        with pytest.raises(OutputError, match=words):
            predict(photos, out=out, aggregate=True, overwrite=True, predictor=Stopping(local(requested(aggregate=True)), 0))


def test_a_photo_that_is_named_twice_is_in_the_table_once(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 3)
    predict(photos, photos / "0001.png", photos, out=tmp_path / "f.jsonl")
    assert [row["file"][-8:] for row in rows(tmp_path / "f.jsonl")] == ["0000.png", "0001.png", "0002.png"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_run_that_is_killed_anywhere_loses_nothing_and_has_nothing_twice(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "photos", 18), tmp_path / "faces.jsonl"
    predict(photos, out=tmp_path / "whole.jsonl")
    run = [sys.executable, "-m", "tests.service.offline.crashes", str(photos), str(out), "7"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5, "kills"
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.jsonl", "photos", "whole.jsonl"]


def test_ctrl_c_writes_what_is_done(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "photos", 30), tmp_path / "faces.jsonl"
    pressing = Stopping(local(command.Request([])), 12, lambda: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    try:
        with pytest.raises(Interrupted, match=r"stopped: .* has \d+ photos so far, and --resume goes on"):
            predict(photos, out=out, predictor=pressing, photos_a_part=2)
    finally:
        signal.signal(signal.SIGINT, before)
    predict(photos, out=out, resume=True)
    predict(photos, out=tmp_path / "whole.jsonl")
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()


# Ends -------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_full_disk_ends_it_with_one_line_and_it_can_go_on(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "photos", 60), tmp_path / "faces.csv"
    predict(photos, out=tmp_path / "whole.csv")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(OutputError, match=r"File too large; \d+ photos are written, and --resume goes on"):
            predict(photos, out=out, photos_a_part=20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not out.exists()
    predict(photos, out=out, resume=True)
    assert out.read_text() == (tmp_path / "whole.csv").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_disk_that_is_full_before_it_begins_has_nothing_more_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is gone on with is copied where it cannot be linked."""
    photos, out = folder(tmp_path / "photos", 20), tmp_path / "faces.csv"
    predict(photos, out=out)
    before, whole = sorted(tmp_path.iterdir()), out.read_text()
    monkeypatch.setattr("os.link", lambda *_: os.open(tmp_path / "no" / "links", os.O_RDONLY))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most, more in ((0, {"overwrite": True}), (len(whole) - 1, {"resume": True})):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            with pytest.raises(OutputError, match="File too large"):
                predict(photos, out=out, **more)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (sorted(tmp_path.iterdir()), out.read_text()) == (before, whole)


def test_memory_does_not_grow_with_the_number_of_photos(tmp_path: Path) -> None:
    """What Python holds at its peak, for a tenth of the photos and for all of them."""
    paths = [folder(tmp_path / "photos", 10) / "0000.png"]
    peaks = []
    for count in (30, 240):
        listed = tmp_path / f"{count}.txt"
        names = []
        for index in range(count):
            link = tmp_path / f"{count}-{index}.png"
            link.hardlink_to(paths[0])
            names.append(f"{link}\n")
        listed.write_text("".join(names))
        tracemalloc.start()
        predict(listed=str(listed), out=tmp_path / f"{count}.jsonl", photos_a_part=20)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20, peaks
