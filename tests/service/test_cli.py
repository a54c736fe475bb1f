"""The command line: a table for people, JSON for programs, a picture; and one clear line where something is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import Result
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

from service import __version__
from service.api.schemas import ModelName
from service.cli import Parts, app
from service.inference.engine import Engine
from service.models.evaluation import EVALUATION
from service.models.store import MANIFEST
from service.settings import Settings
from tests.fakes import BMI, GLASSES, ColourNetwork, attributes, engine_factory, manifest
from tests.service.models.test_store import shipped
from tests.service.server.test_serve import PHOTO

Facet = Callable[..., Result]


@pytest.fixture
def facet(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> Facet:
    """Run a command on the store with the small model."""
    for name, value in {"MODEL_STORE": str(tiny_store), "MODEL": "tiny", "THREADS": "2"}.items():
        monkeypatch.setenv(f"FACET_{name}", value)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str | Path, **settings: str) -> Result:
        for name, value in settings.items():
            monkeypatch.setenv(f"FACET_{name}", value)
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


def assert_one_line(result: Result, *words: str) -> None:
    """Exit status 1 and one line on standard error that says what is wrong; no traceback."""
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("facet: ")
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


def picture(path: Path) -> npt.NDArray[np.uint8]:
    """A file's pixels."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


# What it says -----------------------------------------------------------------------------------------------------------


def test_a_table_has_a_row_for_each_face(facet: Facet, examples: Path) -> None:
    result = facet("predict", examples / "astronaut.jpg", examples / "group.jpg")
    assert result.exit_code == 0, result.output
    assert re.search(r"astronaut\.jpg: 1 face *\n", result.stdout)
    assert "group.jpg: 7 faces" in result.stdout
    for column in ("box", "confidence", "age", "gender", "race", "warnings"):
        assert column in result.stdout
    rows = [line for line in result.stdout.splitlines() if " at " in line]
    assert len(rows) == 8
    assert all("male" in row and "%" in row for row in rows)


def test_json_is_the_answer_of_the_service_a_photo_a_line(facet: Facet, examples: Path) -> None:
    result = facet("predict", "--json", examples / "astronaut.jpg", examples / "group.jpg")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    one, group = (json.loads(line) for line in result.stdout.splitlines())
    assert one["model"] == {"name": "tiny", "version": 1}
    assert one["image"] == {"width": 512, "height": 512}
    assert len(group["faces"]) == 7
    (face,) = one["faces"]
    assert abs(face["box"]["x"] - 182) < 12
    assert abs(face["box"]["y"] - 61) < 12
    assert set(face["landmarks"]) == {"left_eye", "right_eye", "nose", "mouth_left", "mouth_right"}
    assert face["age"]["low"] <= face["age"]["years"] <= face["age"]["high"]
    assert set(face["gender"]["probabilities"]) == {"female", "male"}
    assert list(face["race"]["probabilities"]) == ["white", "black", "asian", "indian", "other"]


def test_the_probability_of_being_so_old_is_told(facet: Facet, examples: Path) -> None:
    (face,) = json.loads(facet("predict", "--json", "--at-least", "21,18", examples / "astronaut.jpg").stdout)["faces"]
    assert list(face["age"]["at_least"]) == ["18", "21"]
    table = facet("predict", "--at-least", "18", examples / "astronaut.jpg")
    assert re.search(r"≥18: *\d+%", table.stdout.replace("\n", " "))
    refused = facet("predict", "--at-least", "0", examples / "astronaut.jpg")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == "facet: at_least: give whole ages from 1 to 99, separated by commas.\n"


def test_a_picture_is_drawn(facet: Facet, examples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert facet("predict", examples / "astronaut.jpg", "--draw", out).exit_code == 0
    drawn, photo = picture(out).astype(int), picture(examples / "astronaut.jpg")
    assert drawn.shape == photo.shape
    changed = np.abs(drawn - photo).max(axis=2) > 40
    rows, columns = np.nonzero(changed)
    assert abs(columns.min() - 180) < 12
    assert abs(rows.max() - 172) < 30
    assert not changed[100:140, 205:245].any(), "the face itself stays to be seen"
    assert changed[100:140, 170:190].any(), "the left side of its box"


def test_several_pictures_are_drawn_into_a_folder(facet: Facet, examples: Path, tmp_path: Path) -> None:
    result = facet("predict", examples / "astronaut.jpg", examples / "biden.jpg", "--draw", tmp_path / "new" / "folder")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "new/folder").iterdir()} == {"astronaut.faces.jpg", "biden.faces.jpg"}
    assert picture(tmp_path / "new/folder/biden.faces.jpg").shape == picture(examples / "biden.jpg").shape


def test_photos_of_one_name_keep_pictures_of_their_own(facet: Facet, examples: Path, tmp_path: Path) -> None:
    for place in ("a/x.jpg", "b/x.jpg", "b/x.jpeg"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copyfile(examples / "astronaut.jpg", tmp_path / place)
    given = [tmp_path / "a/x.jpg", tmp_path / "b/x.jpg", tmp_path / "b/x.jpeg"]
    assert facet("predict", *given, "--draw", tmp_path / "out").exit_code == 0
    drawn = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg")}
    assert drawn == {"a/x.faces.jpg", "b/x.jpg.faces.jpg", "b/x.jpeg.faces.jpg"}


def test_a_picture_takes_the_place_of_no_other_file(facet: Facet, examples: Path, tmp_path: Path) -> None:
    """As of `--draw *.jpg`, which a shell expands; or of a hard link, which is the photo itself."""
    photo, other, linked = tmp_path / "x.jpg", tmp_path / "other.jpg", tmp_path / "linked.jpg"
    shutil.copyfile(examples / "astronaut.jpg", photo)
    other.write_bytes(b"precious")
    linked.hardlink_to(photo)
    before = photo.read_bytes()
    for out in (other, linked):
        assert_one_line(facet("predict", photo, "--draw", out), "--overwrite")
    assert other.read_bytes() == b"precious"
    assert facet("predict", photo, "--draw", linked, "--overwrite").exit_code == 0
    assert photo.read_bytes() == before
    assert picture(linked).shape == picture(photo).shape
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert_one_line(facet("predict", tmp_path / "loop.jpg", "--draw", tmp_path / "out.jpg"), "symbolic links")


@pytest.mark.parametrize("several", [False, True])
def test_no_photo_is_overwritten(facet: Facet, examples: Path, tmp_path: Path, several: bool) -> None:
    """Whatever way the picture's name leads to it."""
    first, second = tmp_path / "x.jpg", tmp_path / "x.faces.jpg"
    for path in (first, second):
        shutil.copyfile(examples / "astronaut.jpg", path)
    (tmp_path / "link.jpg").symlink_to(second)
    given, draw = ([first, second], tmp_path) if several else ([second], tmp_path / "link.jpg")
    before = second.read_bytes()
    assert_one_line(facet("predict", *given, "--draw", draw), "would overwrite a photo")
    assert second.read_bytes() == before


def program(root: Path, store: Path) -> tuple[list[str], dict[str, str]]:
    """The command as a process of its own, and its environment."""
    settings = {"FACET_MODEL_STORE": str(store), "FACET_MODEL": "tiny", "FACET_THREADS": "1"}
    return [sys.executable, "-m", "service.cli", "predict", "--json"], os.environ | settings


def test_it_stops_where_its_reader_has_left(root: Path, tiny_store: Path, examples: Path) -> None:
    """As SIGPIPE would end it, without a word, and without looking at the rest."""
    command, settings = program(root, tiny_store)
    command += [str(examples / "astronaut.jpg")] * 30
    with subprocess.Popen(command, cwd=root, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline().startswith("{")
        run.stdout.close()
        complaints = run.stderr.read()
    assert run.returncode == 141
    assert "facet:" not in complaints
    assert "Traceback" not in complaints


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
def test_sigterm_ends_a_run_that_waits_for_its_list(root: Path, tiny_store: Path, examples: Path) -> None:
    """And an answer does not wait for the next name: lists may come from what watches a folder."""
    command, settings = program(root, tiny_store)
    command += ["--from", "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=root, env=settings, text=True, **pipes) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdin.write(f"{examples / 'astronaut.jpg'}\n")
        run.stdin.flush()
        assert run.stdout.readline().startswith("{")
        run.send_signal(signal.SIGTERM)
        complaints = run.stderr.read()
        assert run.wait() == 143
    assert "Traceback" not in complaints


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not say what is imported")
@pytest.mark.parametrize(("command", "status"), [("serve", 130), ("predict", -signal.SIGINT)])
def test_ctrl_c_while_it_is_imported_shows_no_traceback(root: Path, command: str, status: int) -> None:
    line = [sys.executable, "-m", "service.cli", command, "--help"]
    with subprocess.Popen(line, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        while "_multiarray_umath" not in Path(f"/proc/{run.pid}/maps").read_text():
            time.sleep(0.001)
        run.send_signal(signal.SIGINT)
        _, complaints = run.communicate(timeout=60)
    assert (run.returncode, complaints) == (status, "")


ANSWERING = """
from service import cli
from tests.fakes import ColourNetwork, engine_factory

cli.main(cli.Parts(engine_factory(ColourNetwork())))
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_photo_of_any_name_is_answered_whatever_standard_output_can_write(root: Path, tmp_path: Path, encoding: str) -> None:
    """As at an old locale, and in a pipe on Windows; JSON is UTF-8 for whoever reads it (RFC 8259, 8.1)."""
    photo = tmp_path / "né 東京 😀.png"
    photo.write_bytes(PHOTO)
    line = [sys.executable, "-c", ANSWERING, "predict", str(photo)]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    shown, told = (
        subprocess.run([*line, *more], cwd=root, env=environment, capture_output=True, timeout=60, check=True).stdout
        for more in ([], ["--json"])
    )
    assert json.loads(told.decode())["request_id"] == str(photo)
    name = {"ascii": r"n\u00e9 \u6771\u4eac \ud83d\ude00", "cp1252": r"né \u6771\u4eac \ud83d\ude00", "utf-8": "né 東京 😀"}
    assert f"{name[encoding]}.png: 1 face" in shown.decode(encoding)


REFUSING = """
import fsspec

def refuse(*_):
    raise {}

fsspec.filesystem("memory").put_file = refuse  # the only one there is
"""
EXPIRED = 'PermissionError("the token has expired")'


@pytest.mark.parametrize(
    ("error", "status", "why"),
    [
        (EXPIRED, 1, "memory://tables/faces.csv: the token has expired"),
        ("KeyboardInterrupt", 130, "stopped: nothing is written to memory://tables/faces.csv"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--aggregate"]])
def test_a_table_that_cannot_be_put_at_its_address_is_kept(
    root: Path, tmp_path: Path, error: str, status: int, why: str, more: list[str]
) -> None:
    """As it is: it is whole, and --aggregate takes no --resume."""
    pytest.importorskip("fsspec")
    (tmp_path / "one.png").write_bytes(PHOTO)
    line = [
        sys.executable,
        "-c",
        REFUSING.format(error) + ANSWERING,
        "predict",
        str(tmp_path / "one.png"),
        "--out",
        "memory://tables/faces.csv",
        *more,
    ]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(line, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    *_, said = done.stderr.splitlines()
    (kept,) = tmp_path.glob("facet-*/faces.csv")
    assert said == f"facet: {why}; what is done is kept as {kept}"
    assert len(kept.read_text().splitlines()) > 1


@pytest.mark.parametrize("name", ["", "faces.txt"])
def test_a_table_of_no_format_is_called_by_its_address(name: str, examples: Path) -> None:
    """And not by the file that it would have been on this machine."""
    pytest.importorskip("fsspec")
    line = ["predict", str(examples / "astronaut.jpg"), "--out", f"memory://tables/{name}"]
    said = CliRunner().invoke(app, line, obj=Parts(engine_factory(ColourNetwork())))
    assert_one_line(said, f"memory://tables/{name}: the name of a table ends in")


@pytest.mark.parametrize("more", [[], ["--aggregate"]])
def test_a_table_at_an_address_is_called_by_it(tmp_path: Path, more: list[str]) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "one.png").write_bytes(PHOTO)
    out = f"memory://tables/called{len(more)}.csv"
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "one.png"), "--out", out, *more], obj=Parts(engine_factory()))
    assert done.exit_code == 0
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == [out, out]


LOADING = """
import sys, time
from service import cli

def create_engine(settings):
    try:
        print("here", flush=True)
        for _ in range(3000):
            time.sleep(0.01)
    except KeyboardInterrupt as error:  # as what is interrupted while it initialises a library of C++
        raise ImportError("initialization failed") from error

cli.main(cli.Parts(create_engine=create_engine))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", [["predict", "x.jpg"], ["annotate", "x.mp4", "--out", "y.mp4"]])
def test_a_signal_while_the_models_load_ends_it_without_a_word(
    root: Path, command: list[str], sent: signal.Signals, status: int
) -> None:
    line = [sys.executable, "-c", LOADING, *command]
    with subprocess.Popen(line, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "here\n"
        run.send_signal(sent)
        _, complaints = run.communicate(timeout=20)
    assert (run.returncode, complaints) == (status, "")


ELSEWHERE = """
import signal, threading, time
from service import cli

def create_engine(settings):
    time.sleep(0.5)  # the command waits by then
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    time.sleep(30)

cli.main(cli.Parts(create_engine=create_engine))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no thread a signal")
def test_a_signal_that_another_thread_gets_ends_the_wait_for_the_models(root: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, "predict", "x.jpg"], cwd=root, capture_output=True, timeout=20, check=False
    )
    assert (run.returncode, run.stderr) == (130, b"")


CLOSED = """
import os, socket, sys
import service.cli
opened = socket.socketpair()
with open(sys.argv[1], "w") as file:
    print(*sorted(os.readlink(f"/proc/self/fd/{number}") for number in range(3)), file=file)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not say what is open")
@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2)])
def test_no_socket_takes_the_place_of_what_was_closed(root: Path, tmp_path: Path, closed: tuple[int, ...]) -> None:
    """What a library prints would be sent to a client, and a process that decodes would find its parent gone."""
    shell = " ".join(f"{number}<&-" for number in closed)
    line = ["sh", "-c", f'exec "$0" -c "$1" "$2" {shell}', sys.executable, CLOSED, str(tmp_path / "open")]
    subprocess.run(line, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    assert (tmp_path / "open").read_text().split() == [os.devnull] * 3


def test_a_list_out_of_a_closed_input_is_one_line(root: Path) -> None:
    line = ["sh", "-c", 'exec "$0" -m service.cli predict --from - <&-', sys.executable]
    result = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (1, "facet: -: standard input is closed\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
def test_a_full_disk_is_not_the_photos_fault(root: Path, tiny_store: Path, examples: Path) -> None:
    command, settings = program(root, tiny_store)
    command += [str(examples / "astronaut.jpg")] * 3
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(command, cwd=root, env=settings, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    lines = [line for line in run.stderr.splitlines() if line.startswith("facet: ")]
    assert (run.returncode, lines) == (1, ["facet: standard output: No space left on device"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
@pytest.mark.parametrize("argument", ["version", "--help"])
def test_a_full_disk_is_one_line_of_every_command(root: Path, argument: str) -> None:
    with Path("/dev/full").open("w") as full:
        line, settings = [sys.executable, "-m", "service.cli", argument], {"PATH": os.environ["PATH"]}
        run = subprocess.run(line, cwd=root, env=settings, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (1, "facet: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
def test_a_run_that_fails_waits_for_no_list(root: Path, tiny_store: Path, examples: Path) -> None:
    """What watches a folder names the next photo in hours, or never."""
    command, settings = program(root, tiny_store)
    command += ["--from", "-"]
    with Path("/dev/full").open("w") as full:
        run = subprocess.Popen(command, cwd=root, env=settings, stdin=subprocess.PIPE, stdout=full, stderr=subprocess.PIPE)
    with run:
        assert run.stdin is not None
        assert run.stderr is not None
        run.stdin.write(f"{examples / 'astronaut.jpg'}\n".encode())
        run.stdin.flush()
        try:
            assert run.wait(40) == 1
        finally:
            run.kill()
        assert run.stderr.read().decode().splitlines()[-1] == "facet: standard output: No space left on device"


def test_the_model_that_is_named_answers_whatever_a_service_would_serve(
    facet: Facet, tiny_store: Path, examples: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(tiny_store, tmp_path / "store"))
    other = Path(shutil.copytree(store / "tiny/1", store / "other/1")) / "model.json"
    other.write_text(other.read_text().replace('"name": "tiny"', '"name": "other"'))
    served = {"MODEL_STORE": str(store), "MODELS": "tiny,other", "CANARY": "absent/2:0.5"}
    for model, name in ((None, "tiny"), ("other", "other"), ("tiny/1", "tiny")):
        words = () if model is None else ("--model", model)
        result = facet("predict", "--json", *words, examples / "astronaut.jpg", **served)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["model"]["name"] == name


def test_a_picture_goes_into_a_folder_that_is_there(facet: Facet, examples: Path, tmp_path: Path) -> None:
    assert facet("predict", examples / "astronaut.jpg", "--draw", tmp_path).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["astronaut.faces.jpg"]


def test_no_face_is_an_empty_table(facet: Facet, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "plain.png")
    result = facet("predict", tmp_path / "plain.png")
    assert result.exit_code == 0
    assert "0 faces" in result.stdout


def test_the_least_confidence_can_be_given(facet: Facet, examples: Path) -> None:
    result = facet("predict", "--json", "--min-confidence", "1.0", examples / "astronaut.jpg")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["faces"] == []
    assert facet("predict", "--min-confidence", "7", examples / "astronaut.jpg").exit_code == 2


def test_attributes_that_are_switched_off_are_not_told(facet: Facet, examples: Path) -> None:
    result = facet("predict", "--json", examples / "astronaut.jpg", ATTRIBUTES="age")
    (face,) = json.loads(result.stdout)["faces"]
    assert "age" in face
    assert not {"gender", "race"} & set(face)


def test_models_are_listed(facet: Facet) -> None:
    result = facet("models")
    assert result.exit_code == 0
    for word in ("tiny", "attributes", "CC0-1.0", "mtcnn", "detector", "WIDER FACE"):
        assert word in result.stdout
    served = [line for line in result.stdout.splitlines() if line.endswith("(served)")]
    assert [line.split()[0] for line in served] == ["centerface/2", "tiny/1"]
    assert len(re.findall(r"^  \d+\.\d MB", result.stdout, re.MULTILINE)) == 4


def test_models_say_how_good_they_are(facet: Facet, root: Path) -> None:
    shown = facet("models", MODEL_STORE=str(root / "model_store"), MODEL="mobilenet").stdout
    newest = max(int(path.name) for path in (root / "model_store/mobilenet").iterdir() if path.name.isdigit())
    assert re.search(rf"^mobilenet/{newest}  attributes: age, gender, race  \(served\)$", shown, re.MULTILINE)
    assert re.search(
        r"MB; age within \d\.\d years on average, gender right for 9\d\.\d%, race right .* of UTKFace$", shown, re.MULTILINE
    )


def test_int8_is_asked_of_models_that_have_it(facet: Facet, root: Path, examples: Path) -> None:
    photo = examples / "astronaut.jpg"
    assert_one_line(facet("predict", photo, PRECISION="int8"), "tiny/1 has no int8 variant")
    assert_one_line(facet("predict", photo, PRECISION="int8", RUNTIME="tensorflow"), "openvino runtime for int8")
    shown = facet("models", MODEL_STORE=str(root / "model_store"), MODEL="mobilenet", PRECISION="int8", RUNTIME="auto").stdout
    assert re.search(r"^mobilenet/5 .*\(served in int8\)\n  8\.\d MB; int8 \d\.\d MB; age", shown, re.MULTILINE)


def test_every_model_that_is_served_is_marked(facet: Facet, root: Path) -> None:
    several = {"MODEL": "mobilenet", "MODELS": "mobilenet,mobilefacenet", "CANARY": "inceptionv3/3:0.1"}
    shown = facet("models", MODEL_STORE=str(root / "model_store"), **several)
    served = [line.split()[0] for line in shown.stdout.splitlines() if line.endswith("(served)")]
    assert {one.split("/")[0] for one in served} == {"mobilefacenet", "mobilenet", "inceptionv3", "centerface"}


def test_models_say_how_good_they_are_at_any_attribute(facet: Facet, tmp_path: Path) -> None:
    folder = tmp_path / "fake" / "3"
    folder.mkdir(parents=True)
    declared = manifest(attributes=[*attributes(), GLASSES, BMI])
    (folder / MANIFEST).write_text(declared.model_dump_json(), encoding="utf-8")
    figures = {"count": 90, "age_mae": 4.21, "glasses_accuracy": 0.934, "bmi_mae": 2.345}
    parts: dict[str, Any] = {"found_only": figures, "groups": {}, "mean_age_of_train": 40.0}
    measured = {"data": "club", "split": "test", "precision": "f32", "headline": figures, **parts}
    intervals: dict[str, Any] = {"headline": {}, "found_only": {}, "groups": {}}
    (folder / EVALUATION).write_text(json.dumps(measured | {"intervals": intervals}), encoding="utf-8")
    shown = " ".join(facet("models", MODEL_STORE=str(tmp_path)).stdout.split())
    assert "attributes: age, gender, race, glasses, bmi" in shown
    quality = (
        "age within 4.2 years on average, glasses right for 93.4%, bmi within 2.35 kg/m² on average of 90 pictures of club"
    )
    assert quality in shown


def test_the_version_is_told(facet: Facet) -> None:
    assert facet("version").stdout == facet("--version").stdout == f"facet {__version__}\n"


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (["pred"], ["predict"]),
        (["predict", "--max"], ["--max-faces"]),
        (["predict", "--model", "ti"], ["tiny", "tiny/1"]),
        (["predict", "--model", "mtcnn"], []),
        (["annotate", "--detector", "mt"], ["mtcnn", "mtcnn/1", "mtcnn/2"]),
    ],
)
def test_shells_complete_commands_options_and_models(tiny_store: Path, words: list[str], completions: list[str]) -> None:
    completing = {
        "_FACET_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["facet", *words]),
        "COMP_CWORD": str(len(words)),
        "FACET_MODEL_STORE": str(tiny_store),
    }
    program = "import sys; sys.argv[0] = 'facet'; from service.cli import main; main()"
    environment = os.environ | completing
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == completions, done.stderr


def test_help_names_every_command(facet: Facet) -> None:
    result = facet("--help")
    assert result.exit_code == 0
    for command in ("serve", "predict", "models", "version"):
        assert command in result.stdout


# What is wrong ----------------------------------------------------------------------------------------------------------


def test_a_missing_photo_is_one_line(facet: Facet, tmp_path: Path) -> None:
    assert_one_line(facet("predict", tmp_path / "none.jpg"), "none.jpg", "No such file")


def test_a_folder_gives_a_table_of_its_photos(facet: Facet, examples: Path, tmp_path: Path) -> None:
    for name in ("astronaut.jpg", "group.jpg"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        shutil.copyfile(examples / name, tmp_path / "photos" / name)
    result = facet("predict", tmp_path / "photos", "--out", tmp_path / "faces.csv", "--model", "tiny/1", "--jobs", "2")
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert "2 photos, 8 faces" in result.stderr
    lines = (tmp_path / "faces.csv").read_text().splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("file,face,x,y,width,height,confidence,age_years,")
    assert_one_line(facet("predict", tmp_path / "photos", "--out", tmp_path / "faces.csv"), "there already", "--resume")
    again = facet("predict", tmp_path / "photos", "--out", tmp_path / "faces.csv", "--resume")
    assert again.exit_code == 0
    assert (tmp_path / "faces.csv").read_text().splitlines() == lines


def test_a_service_that_is_not_there_is_one_line(facet: Facet, examples: Path) -> None:
    assert_one_line(facet("predict", examples / "astronaut.jpg", "--url", "ftp://nowhere"), "such as http://localhost:8000")
    assert_one_line(facet("predict"), "name a source")
    assert_one_line(facet("predict", ""), "a source is empty")
    for out in ("", "s3://bucket/faces.jpg"):  # a path is the current folder, and a folder `s3:` of it
        assert_one_line(facet("predict", examples / "astronaut.jpg", "--draw", out), "--draw: name a file")
    assert_one_line(facet("predict", examples / "astronaut.jpg", "--model", "no/such/model"), "NAME/VERSION")
    assert_one_line(facet("predict", examples / "astronaut.jpg", "--detector", "none"), "no model 'none'")
    assert_one_line(facet("predict", examples / "astronaut.jpg", "--url", "http://a", "--detector", "mtcnn"), "its own")


def test_pictures_lie_outside_of_the_photos(facet: Facet, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "in/side").mkdir(parents=True)
    shutil.copyfile(examples / "astronaut.jpg", tmp_path / "in/side/x.jpg")
    assert_one_line(facet("predict", tmp_path / "in", "--draw", tmp_path / "in/out"), "inside of")
    assert facet("predict", "-r", tmp_path / "in", "--draw", tmp_path / "out").exit_code == 0
    assert [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg")] == [
        "side/x.jpg.faces.jpg"
    ]


def test_a_damaged_photo_is_one_line(facet: Facet, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes((examples / "astronaut.jpg").read_bytes()[:5000])
    assert_one_line(facet("predict", tmp_path / "cut.jpg"), "cut.jpg", "truncated")


@pytest.mark.parametrize(("content", "word"), [(b"", "empty"), (b"a text", "not a JPEG"), (b"[brackets]", "not a JPEG")])
def test_what_is_no_photo_is_one_line(facet: Facet, tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "what[bold].jpg").write_bytes(content)
    assert_one_line(facet("predict", tmp_path / "what[bold].jpg"), "what[bold].jpg", word)


def test_a_bad_photo_does_not_cost_the_others(facet: Facet, examples: Path, tmp_path: Path) -> None:
    result = facet("predict", "--json", tmp_path / "none.jpg", examples / "astronaut.jpg")
    assert_one_line(result, "none.jpg")
    assert len(json.loads(result.stdout)["faces"]) == 1


def test_a_picture_of_no_format_is_one_line(facet: Facet, examples: Path, tmp_path: Path) -> None:
    assert_one_line(facet("predict", examples / "astronaut.jpg", "--draw", tmp_path / "out.xyz"), "out.xyz", ".jpg")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("PORT", "many"), ("MAX_FACES", "0"), ("ATTRIBUTES", ""), ("PRECISION", "f64"), ("RATE_LIMIT", "5")),
        *(("COMPAT", "deepfase"), ("CORS_ORIGINS", "example.org"), ("MAX_BODIES_MIB", "10"), ("TLS_KEY", "facet.key")),
        *((name, "") for name in ("MODEL_STORE", "MODEL_CACHE", "TLS_CERTIFICATE", "TLS_KEY")),
        *((f"MAX_{name}_MIB", "1e308") for name in ("BODY", "BATCH", "BODIES")),
    ],
)
@pytest.mark.parametrize("command", ["models", "serve"])
def test_a_bad_setting_is_one_line(facet: Facet, command: str, name: str, value: str) -> None:
    result = facet(command, **{name: value})
    assert_one_line(result)
    assert f"FACET_{name}" in re.findall(r"FACET_\w+", result.stderr)
    assert "Value error" not in result.stderr


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.annotation is float])
def test_a_number_is_bounded_above(name: str) -> None:
    """A thread cannot wait for 1e308 seconds."""
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: 1e308, "api_keys": "one"})


@pytest.mark.parametrize(
    "name",
    ["rate_limit", "model_poll_s", "stream_max_fps", "body_min_kib_s", "max_megapixels", "stream_max_megapixels"],
)
def test_what_is_divided_by_or_rounded_is_bounded_below(name: str) -> None:
    """`Retry-After` was infinite, and 0 pixels were as many as a photo may have."""
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: 1e-308, "api_keys": "one"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        *((name, "center face", "NAME or NAME/VERSION") for name in ("DETECTOR", "STREAM_DETECTOR")),
        ("DETECTOR", "centerface/1234567890", "NAME or NAME/VERSION"),
        ("MODEL_DIGEST", "5f", "64 hexadecimal digits"),
        ("OTLP_ENDPOINT", "collector:4318", "such as http://collector:4318"),
    ],
)
def test_a_setting_of_another_form_is_told_the_form(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    """And no regular expression."""
    monkeypatch.setenv(f"FACET_{name}", value)
    assert_one_line(CliRunner().invoke(app, ["models"]), f"setting FACET_{name}: ", said)


def test_a_wrong_value_of_a_list_is_counted(facet: Facet) -> None:
    assert_one_line(facet("models", COMPAT="deepface,compre"), "setting FACET_COMPAT: no. 2: Input should be")


def test_a_version_in_the_models_name_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `facet models`, `--model` and other settings call it; the store holds no model of such a name."""
    monkeypatch.setenv("FACET_MODEL", "mobilenet/5")
    assert_one_line(CliRunner().invoke(app, ["models"]), "FACET_MODEL: ", "FACET_MODEL_VERSION")


def test_a_bug_is_blamed_on_no_setting_and_keeps_its_traceback(examples: Path) -> None:
    """A document of the service's own that does not fit its schema is no mistake of the user's."""

    def broken(settings: Settings) -> Engine:
        raise AssertionError(ModelName.model_validate({"name": settings.model, "version": "no number"}))

    result = CliRunner().invoke(app, ["predict", str(examples / "astronaut.jpg")], obj=Parts(create_engine=broken))
    assert isinstance(result.exception, ValidationError)
    assert "setting FACET_" not in result.stderr


@pytest.mark.parametrize("command", [("serve",), ("predict", "photo.jpg")])
def test_an_attribute_that_the_model_does_not_say_is_one_line(facet: Facet, command: tuple[str, ...]) -> None:
    assert_one_line(facet(*command, ATTRIBUTES="age,mood"), "tiny/1", "age, gender, race", "'mood'")


def test_a_missing_model_is_one_line(facet: Facet, examples: Path, tmp_path: Path) -> None:
    assert_one_line(facet("predict", examples / "astronaut.jpg", MODEL="nobody"), "nobody")
    assert_one_line(facet("serve", MODEL="nobody"), "nobody")
    assert_one_line(facet("predict", examples / "astronaut.jpg", MODEL_STORE=str(tmp_path / "nowhere")), "centerface")


@pytest.mark.parametrize(("setting", "value"), [("STREAM_DETECTOR", "nobody"), ("CANARY", "nobody/1:0.1")])
def test_a_missing_model_names_the_setting_that_chose_it(facet: Facet, setting: str, value: str) -> None:
    assert_one_line(facet("serve", **{setting: value}), "nobody", f"FACET_{setting}")


def test_a_missing_model_of_an_address_is_one_line_where_nothing_can_be_written_but_the_cache(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = pytest.importorskip("fsspec").filesystem("memory")
    system.put(str(shipped(tmp_path / "made", "alpha")), "/missing/alpha/1", recursive=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    for name, value in {"STORE": "memory://missing", "CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(f"FACET_MODEL_{name}", value)
    said = CliRunner().invoke(app, ["predict", str(examples / "astronaut.jpg")])
    system.rm("/missing", recursive=True)
    assert_one_line(said, "no model 'centerface'", "memory://missing holds alpha/1.")


def test_a_refused_model_is_one_line(facet: Facet, examples: Path, tiny_store: Path, tmp_path: Path) -> None:
    assert_one_line(facet("predict", examples / "astronaut.jpg", MODEL_DIGEST="0" * 64), "tiny/1", "pinned")
    store = tmp_path / "store"
    shutil.copytree(tiny_store, store)
    with (store / "tiny/1/variables/variables.data-00000-of-00001").open("r+b") as file:
        file.write(b"\x00\x01\x02\x03")
    pinned = hashlib.sha256((store / "tiny/1" / MANIFEST).read_bytes()).hexdigest()
    assert_one_line(facet("serve", MODEL_STORE=str(store), MODEL_DIGEST=pinned), "tiny/1", "hash")


# The command itself -----------------------------------------------------------------------------------------------------


def test_the_command_runs_as_a_program(root: Path, tiny_store: Path, examples: Path) -> None:
    """In a process of its own, as a person calls it: the exit status, and nothing but JSON on standard output."""
    environment = {"FACET_MODEL_STORE": str(tiny_store), "FACET_MODEL": "tiny", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "service.cli", "predict", "--json", str(examples / "astronaut.jpg"), "none.jpg"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["faces"]) == 1
    assert done.stderr == "facet: none.jpg: No such file or directory\n"


PEOPLE = {
    "astronaut": (36, "female", "white"),
    "biden": (67, "male", "white"),
    "casar": (33, "male", "other"),
    "khanna": (42, "male", "indian"),
    "lieu": (53, "male", "asian"),
    "matsui": (78, "female", "asian"),
    "obama": (51, "male", "black"),
    "underwood": (36, "female", "black"),
    "waters": (84, "female", "black"),
}
"""Age at the time of the photo, gender and race, as they are publicly known."""


@pytest.mark.model
@pytest.mark.parametrize("precision", ["f32", "auto"])
def test_who_the_examples_show_is_answered_right_or_marked_uncertain(
    facet: Facet, root: Path, examples: Path, precision: str
) -> None:
    model, files = Settings.model_fields["model"].default, [examples / f"{name}.jpg" for name in PEOPLE]
    result = facet("predict", "--json", *files, MODEL_STORE=str(root / "model_store"), MODEL=model, PRECISION=precision)
    assert result.exit_code == 0, result.output
    faces = [face for line in result.stdout.splitlines() for face in json.loads(line)["faces"]]
    ages = [face["age"] for face in faces]
    for face, (_, gender, race) in zip(faces, PEOPLE.values(), strict=True):
        assert face["gender"]["label"] == gender or face["gender"]["uncertain"]
        assert face["race"]["label"] == race or face["race"]["uncertain"]
    within = [age["low"] <= years <= age["high"] + 1 for age, (years, _, _) in zip(ages, PEOPLE.values(), strict=True)]
    assert sum(within) >= 7, "an 80% interval"
