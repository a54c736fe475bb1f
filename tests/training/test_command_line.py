"""`python -m training`: help that explains, the four steps one after another, errors of one line."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from pydantic import ValidationError
from typer import Exit
from typer.main import get_command
from typer.testing import CliRunner, Result

from service.errors import ModelNotFound
from service.models.evaluation import Evaluation
from tests.conftest import encoded
from tests.training import made
from training.__main__ import ROOT, app, one_line_errors
from training.datasets.base import Split
from training.datasets.prepared import load_prepared
from training.errors import RecipeError, RunError, TrainingError
from training.provenance import PROVENANCE, of_run

RECIPE = """
name = "tiny"
[network]
architecture = "tiny"
size = 32
head_units = 4
outputs = ["age"]
[schedule]
policy = "mixed_bfloat16"
epochs = 1
batch_size = 2
learning_rate = 0.01
"""


def training(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def plain(text: str) -> str:
    """Text without colours, frames and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", "", text).split())


DOCUMENTED = [
    pytest.param(shlex.split(line)[1 if line.startswith("facet-training") else 3 :], id=f"{path.name}: {line[:90]}")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)
    for line in re.sub(r"\\\n\s*", "", re.sub(r"\s+#.*", "", block)).splitlines()
    if line.startswith((".venv/bin/python -m training ", "facet-training "))
]


@pytest.mark.parametrize("words", DOCUMENTED)
def test_a_documented_command_is_one(words: list[str]) -> None:
    name, *arguments = words
    commands = get_command(app).commands  # type: ignore[attr-defined]
    commands[name].make_context(name, arguments).close()  # refuses an option that is none
    for recipe in re.findall(r"training/recipes/\S+", " ".join(arguments)):
        assert (ROOT / recipe).is_file()


def assert_one_line(result: Result, *parts: str) -> None:
    """The command failed with status 1 and one line with the reason, behind the progress it had made."""
    assert (result.exit_code, result.stdout) == (1, "")
    *progress, line = result.stderr.splitlines()
    assert line.startswith("training: ")
    assert all("━" in one or ": taken for " in one for one in progress)
    for part in parts:
        assert part in line


def test_module_explains_itself(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training", "--help"], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    text = plain(done.stdout)
    assert "four steps" in text
    for command in ("explore", "prepare", "train", "search", "export", "evaluate", "mtcnn"):
        assert command in text


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "prepare",
            ("--data", "--prepared", "--size", "A data set: its folder, or a tar file of it", "detector and crop"),
        ),
        (
            "train",
            ("--recipe", "--prepared", "--run", "--init", "imagenet", "random", "goes on where an interrupted run stopped"),
        ),
        ("export", ("--run", "--prepared", "--data", "--version", "float16", "versions never change")),
        ("evaluate", ("--data", "--split", "--model", "--record", "service's own /predict", "for reports alone")),
        ("mtcnn", ("--photo", "--store", "mtcnn package")),
    ],
)
def test_every_command_explains_itself(command: str, message: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    result = training(command, "--help")
    assert result.exit_code == 0
    for part in message:
        assert part in plain(result.stdout)


@pytest.mark.usefixtures("architecture")
def test_from_pictures_to_a_report(tmp_path: Path, pictures: Path, root: Path) -> None:
    """The four steps, with a model of one output, in mixed precision; the store's only detector is not the default one."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    prepared, run, store, out = (tmp_path / name for name in ("prepared", "run", "store", "report"))
    shutil.copytree(root / "model_store/mtcnn", store / "other")
    manifest = store / "other/1/model.json"
    manifest.write_text(manifest.read_text().replace('"name": "mtcnn"', '"name": "other"'))
    chosen = "--store", store, "--detector", "other/1"

    result = training("prepare", "--data", pictures, "--prepared", prepared, "--size", 40, *chosen)
    assert result.exit_code == 0, result.stderr
    assert len(load_prepared(prepared, Split.TRAIN)) == 2
    assert '"UTKFace test: no face": 2' in result.stdout

    step = "train", "--recipe", tmp_path / "recipe.toml", "--prepared", prepared, "--run", run
    result = training(*step, "--init", "random")
    assert result.exit_code == 0, result.stderr
    assert "best weights:" in result.stdout
    assert keras.config.dtype_policy().name == "float32"  # what the recipe asks for ends with the run

    described = json.loads((prepared / "prepare.json").read_text())
    assert described["detector"] == "other/1"
    template = described["template"]
    shutil.rmtree(prepared)  # a model cuts faces by the template that its run learnt, whatever is prepared later
    exported = "export", "--run", run, "--prepared", prepared, "--version", 3, *chosen
    result = training(*exported, "--data", pictures)
    assert result.exit_code == 0, result.stderr
    assert "wrote tiny/3: age, age_distribution\n" in result.stdout
    assert json.loads((store / "tiny/3/model.json").read_text())["input"]["template"] == template
    assert_one_line(training(*exported), "tiny/3 exists")

    result = training("evaluate", "--data", pictures, "--out", out, "--model", "tiny", *chosen, "--record")
    assert result.exit_code == 0, result.stderr
    assert '"age_mae":' in result.stdout
    evaluation = json.loads((store / "tiny/3/evaluation.json").read_text())
    assert evaluation["headline"] == json.loads((out / "report.json").read_text())["headline"]
    assert "gender_accuracy" not in evaluation["headline"]


@pytest.mark.parametrize(("missing", "command"), [("keras", "train"), ("imagehash", "evaluate"), ("matplotlib", "explore")])
def test_without_the_extra_one_line_says_what_is_missing(missing: str, command: str, tmp_path: Path, root: Path) -> None:
    """As after `make serve`, or from the wheel alone."""
    program = (
        "import sys, training.__main__ as line\n"
        f"sys.modules[{missing!r}] = None\n"
        f"sys.argv = ['training', {command!r}, *sys.argv[1:]]\n"
        "line.main()"
    )
    arguments = [] if command == "train" else ["--data", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == f"training: training needs {missing}: make extra EXTRA=train\n"


def test_data_that_is_not_there(tmp_path: Path) -> None:
    assert_one_line(training("prepare", "--data", tmp_path / "nowhere", "--prepared", tmp_path / "out"), "nowhere")


@pytest.mark.parametrize("detector", ["nobody", "mtcnn/9", "mtcnn/newest"])
def test_a_detector_that_is_not_there(tmp_path: Path, pictures: Path, detector: str) -> None:
    result = training("prepare", "--data", pictures, "--prepared", tmp_path / "out", "--detector", detector)
    assert_one_line(result, detector)


def test_data_that_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"PK\x03\x04")
    assert_one_line(
        training("prepare", "--data", tmp_path / "set.zip", "--prepared", tmp_path / "out"), "neither a folder nor a tar"
    )
    (tmp_path / "empty").mkdir()
    assert_one_line(training("prepare", "--data", tmp_path / "empty", "--prepared", tmp_path / "out"), "no labelled picture")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("name = ", "Invalid value"),
        (RECIPE.replace("epochs = 1", "epochs = 0"), "recipe: schedule.epochs: "),
        (RECIPE + "speed = 3", "recipe: schedule.speed: Extra inputs"),
        (RECIPE.replace('["age"]', '["height"]'), "recipe: network.outputs names 'height'; there is: age, gender, race"),
        (RECIPE.replace('"tiny"', '"vgg"'), "no architecture 'vgg'"),
    ],
)
def test_recipe_that_is_wrong(recipe: str, message: str, tmp_path: Path) -> None:
    made.prepared(tmp_path / "prepared", train=4, validation=2)
    (tmp_path / "recipe.toml").write_text(recipe)
    step = "train", "--recipe", tmp_path / "recipe.toml", "--prepared", tmp_path / "prepared", "--run", tmp_path / "run"
    assert_one_line(training(*step), message)


@pytest.mark.usefixtures("architecture")
def test_training_without_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    step = "train", "--recipe", tmp_path / "recipe.toml", "--run", tmp_path / "run", "--prepared"
    assert_one_line(training(*step, tmp_path / "nothing"), "nothing/faces.npz")
    made.prepared(tmp_path / "prepared", train=4, validation=2)
    assert_one_line(training(*step, tmp_path / "prepared", "--init", "nowhere.h5"), "no initial weights at nowhere.h5")
    assert_one_line(training("train", "--recipe", tmp_path / "nowhere.toml"), "nowhere.toml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepare", "--data", "nowhere", "--limit", "-1"], "Invalid value for '--limit'"),
        (["evaluate", "--data", "nowhere", "--limit", "0"], "Invalid value for '--limit'"),
        (["compare", "--minutes", "-1"], "budget: minutes: Input should be greater than 0"),
        (["compare", "--pictures", "0"], "budget: pictures: Input should be greater than or equal to 1"),
    ],
)
def test_numbers_that_are_none_of_an_option_are_named(words: list[str], message: str) -> None:
    result = training(*words)
    assert isinstance(result.exception, SystemExit)
    assert message in plain(result.stderr)


def test_models_that_are_not_there(tmp_path: Path, root: Path) -> None:
    files = [(made.names(split, 1)[0], encoded(made.square_picture(1, 1))) for split in (Split.TRAIN, Split.TEST)]
    data = made.folder_of(tmp_path / "set", files)
    assert_one_line(training("prepare", "--data", data, "--store", tmp_path / "store"), "centerface")
    shutil.copytree(root / "model_store/centerface", tmp_path / "store/centerface")
    assert_one_line(training("evaluate", "--data", data, "--model", "other", "--store", tmp_path / "store"), "no model 'other'")
    assert_one_line(training("export", "--run", tmp_path / "run", "--version", 1), "recipe.json")


def test_settings_that_are_wrong_are_named_as_settings(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_WORKERS", "many")
    assert_one_line(training("evaluate", "--data", pictures), "settings: workers: ")


@pytest.mark.parametrize("bug", [KeyError("row"), ValueError("row"), FloatingPointError("overflow"), TypeError("row")])
def test_a_bug_keeps_its_traceback(bug: Exception) -> None:
    with pytest.raises(type(bug)), one_line_errors():
        raise bug


def test_a_document_of_our_own_that_does_not_fit_is_a_bug() -> None:
    with pytest.raises(ValidationError), one_line_errors():
        Evaluation.model_validate({"data": 3})


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / PROVENANCE).write_text("{}")
    with pytest.raises(RunError, match=r"provenance: \w+: Field required"):
        of_run(tmp_path)


@pytest.mark.parametrize(
    "error", [TrainingError("mend it"), RecipeError("mend it"), FileNotFoundError("mend it"), ModelNotFound("mend it")]
)
def test_what_a_user_can_mend_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as left, one_line_errors():
        raise error
    assert (left.value.exit_code, capsys.readouterr().err) == (1, "training: mend it\n")


def test_weights_of_another_network_are_one_line(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "run")
    (other / "best.weights.h5").write_bytes(b"no weights")
    result = training("export", "--run", other, "--prepared", other, "--version", 1)
    assert result.exit_code == 1
    assert "does not hold the weights of its recipe's network" in result.stderr
