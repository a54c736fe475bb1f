"""Attributes that no line of code names: from a table beside pictures to what the service answers of a face."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from facet_client import Client, Expectation, Label
from service.cli import app as facet
from service.inference.attributes import describe
from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
from service.web import FOLDER
from tests.service.server.test_serve import Service, started
from tests.training import made
from training.__main__ import app
from training.datasets.base import UNKNOWN, Split, number
from training.datasets.prepared import coded, labels_of, load_prepared
from training.errors import DataSetError, PreparedError
from training.recipe import ATTRIBUTES, Attribute, Recipe, changed, load_recipe

RACES = ("black", "east asian", "indian", "latino", "middle eastern", "southeast asian", "white")
RECIPE = f"""
name = "made"
[[attributes]]
name = "age"
[[attributes]]
name = "race"
labels = {list(RACES)}
[[attributes]]
name = "glasses"
labels = ["no", "yes"]
[[attributes]]
name = "bmi"
kind = "expectation"
range = [10, 50]
unit = "kg/m²"
[[attributes]]
name = "mood"
kind = "expectation"
range = [-1, 1]
[network]
architecture = "tiny"
size = {made.SIDE}
head_units = 16
[data]
train = ["club"]
validation = ["club"]
[schedule]
epochs = 2
batch_size = 7
learning_rate = 0.01
[loss]
weights = {{ glasses = 0.5, bmi = 2.0 }}
[balance]
class_weights = ["glasses", "bmi"]
repeat = ["race"]
[smote]
heads = ["glasses"]
epochs = 1
"""
ROWS = [
    (
        f"{split}{number}.png",
        split,
        20 + number,
        RACES[number % 7],
        ("no", "yes")[number % 2],
        18.5 + number,
        number % 5 / 2 - 1,
    )
    for split, count in (("train", 14), ("validation", 7))
    for number in range(count)
]


@pytest.fixture(scope="module")
def club(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of a face, and a table of ages, seven races, glasses, and two numbers."""
    folder = tmp_path_factory.mktemp("data") / "club"
    made.folder_of(folder, [(name, made.face_picture(number % 5)) for number, (name, *_) in enumerate(ROWS)])
    lines = ["file,split,age,race,glasses,bmi,mood", *(",".join(map(str, row)) for row in ROWS)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def prepared(club: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    template = root / "model_store/mobilenet/5/model.json"
    run("prepare", "--data", club, "--prepared", out, "--size", 40, "--template", template)
    return out


@pytest.fixture(scope="module")
def step(prepared: Path, tmp_path_factory: pytest.TempPathFactory, architecture: str) -> tuple[object, ...]:
    """Arguments that name the run of a fitted model."""
    assert architecture == "tiny"
    folder = tmp_path_factory.mktemp("run")
    (folder / "recipe.toml").write_text(RECIPE)
    arguments = "--prepared", prepared, "--run", folder / "run"
    run("train", "--recipe", folder / "recipe.toml", *arguments, "--init", "random")
    return arguments


@pytest.fixture(scope="module")
def store(step: tuple[object, ...], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model `made/1` and a detector."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copytree(root / "model_store/centerface", folder / "centerface")
    run("export", *step, "--store", folder, "--version", 1)
    return folder


def test_from_a_table_to_an_answer(store: Path) -> None:
    model = ModelStore(store).load("made", 1, loader(Runtime.AUTO, Precision.F32, 1))
    declared = [(one.name, one.kind, one.labels, one.outputs) for one in model.manifest.attributes]
    assert declared == [
        ("age", "expectation", (), ("age", "age_distribution")),
        ("race", "labels", RACES, ("race",)),
        ("glasses", "labels", ("no", "yes"), ("glasses",)),
        ("bmi", "expectation", (), ("bmi", "bmi_distribution")),
        ("mood", "expectation", (), ("mood", "mood_distribution")),
    ]
    assert [(one.range, one.unit) for one in model.manifest.attributes[3:]] == [((10, 50), "kg/m²"), ((-1, 1), "")]
    crops = np.random.default_rng(0).integers(0, 256, (2, made.SIDE, made.SIDE, 3), np.uint8)
    outputs = model.networks["faces"](crops)
    assert (outputs["glasses"].shape, outputs["race"].shape) == ((2,), (2, 7))
    answer: dict[str, Any] = dict(
        describe(
            {name: values[0] for name, values in outputs.items()}, model.manifest, {"age", "race", "glasses", "bmi", "mood"}
        )
    )
    assert answer["glasses"].probabilities["yes"] == pytest.approx(float(outputs["glasses"][0]), abs=1e-5)
    assert tuple(answer["race"].probabilities) == RACES
    assert 0 <= answer["age"].value <= 100
    for name, low, high in (("bmi", 10, 50), ("mood", -1, 1)):
        share = outputs[f"{name}_distribution"][0]
        assert share.shape == (101,)
        assert answer[name].value == pytest.approx(float(share @ np.linspace(low, high, 101)), abs=1e-3 * (high - low))


def test_tracks_are_calibrated_by_what_the_model_declares(
    store: Path, step: tuple[object, ...], club: Path, tmp_path: Path
) -> None:
    run("export", *step, "--store", store, "--version", 2, "--data", club)
    films = "--data", club, "--model", "made", "--store", store, "--precision", "f32", "--out", tmp_path / "report"
    run("tracks", *films, "--record")
    manifest = ModelStore(store).load("made", 3, loader(Runtime.AUTO, Precision.F32, 1)).manifest
    assert manifest.track is not None
    assert set(manifest.track.gains) == {"race", "glasses"}
    measured = json.loads((tmp_path / "report/tracks.json").read_text())["tracks"][0]
    assert {"age_error", "bmi_error", "bmi_held", "mood_error", "mood_width"} <= set(measured)
    assert 0 < measured["mood_width"]["value"] <= 2


def test_an_expectation_of_any_range_is_calibrated_and_measured(
    store: Path, step: tuple[object, ...], club: Path, tmp_path: Path
) -> None:
    run("export", *step, "--store", store, "--version", 7, "--data", club)
    chosen = "--data", club, "--model", "made", "--version", 7, "--store", store
    run("evaluate", *chosen, "--split", "validation", "--out", tmp_path, "--precision", "f32")
    network = ModelStore(store).load("made", 7, loader(Runtime.AUTO, Precision.F32, 1))
    for name in ("bmi", "mood"):
        fitted = network.manifest.attribute(name)
        assert fitted is not None
        assert fitted.calibration.interval is not None
        assert fitted.calibration.interval.unit == "deviation"
        assert fitted.calibration.at_least is None
    report = json.loads((tmp_path / "report.json").read_text())
    values = {name: [row[place] for row in ROWS if row[1] == "validation"] for name, place in (("bmi", 5), ("mood", 6))}
    for name, (low, high) in {"bmi": (10, 50), "mood": (-1, 1)}.items():
        assert 0 < report["headline"][f"{name}_mae"] < high - low
        assert report["headline"][f"{name}_interval_coverage"] >= 0.5
        counts = {group: figures["count"] for group, figures in report["groups"][name].items()}
        assert sum(counts.values()) == len(values[name])
    assert set(report["groups"]["mood"]) == {"-1 to -0.8", "-0.6 to -0.4", "0 to 0.2", "0.4 to 0.6", "0.8 to 1"}
    assert set(report["bmi_mae_by_bmi"]) == {"18.4", "19.6", "20.4", "21.6", "22.4", "23.6", "24.4"}  # hundredths of the range
    assert (tmp_path / "bmi_scatter.png").exists()


def environment(store: Path) -> dict[str, str]:
    """Settings of a service of the model."""
    return {"FACET_MODEL_STORE": str(store), "FACET_MODEL": "made", "FACET_MODEL_VERSION": "1", "FACET_PRECISION": "f32"}


@pytest.fixture(scope="module")
def service(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    with started(log, sys.executable, "-m", "service.cli", **environment(store)) as running:
        yield running
        assert "Traceback" not in running.log


def test_openapi_names_it(service: Service) -> None:
    schemas = httpx.get(f"{service.url}/openapi.json").json()["components"]["schemas"]
    for name in ("FaceAnswer", "TrackedFace"):
        assert schemas[name]["properties"]["glasses"]["description"] == "Labels: no, yes."
        assert schemas[name]["properties"]["race"]["description"] == f"Labels: {', '.join(RACES)}."
        assert schemas[name]["properties"]["bmi"]["description"] == "From 10 to 50 kg/m²."


def test_the_command_line_has_a_column_of_it(store: Path, monkeypatch: pytest.MonkeyPatch, examples: Path) -> None:
    for name, value in {**environment(store), "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(facet, ["predict", str(examples / "astronaut.jpg")])
    assert result.exit_code == 0, result.output
    header, row = (line for line in result.stdout.splitlines() if "confidence" in line or " at " in line)
    assert re.split(r"\s*[┃|]\s*", header.strip("┃ "))[2:7] == ["age", "race", "glasses", "bmi", "mood"]
    assert re.search(rf"({'|'.join(RACES)})\??\s+\d+%", row)
    assert re.search(r"(no|yes)\??\s+\d+%", row)
    assert re.search(r"\d\d\.\d+ kg/m²", row)
    listed = CliRunner().invoke(facet, ["models"]).stdout
    assert "made/1  attributes: age, race, glasses, bmi, mood" in listed


def test_the_python_client_finds_it_by_name(service: Service, examples: Path) -> None:
    with Client(service.url) as client:
        (face,) = client.predict(examples / "astronaut.jpg").faces
        card = client.model()
        (alone,) = client.predict(examples / "astronaut.jpg", attributes=["glasses"]).faces
    assert list(face.attributes) == ["age", "race", "glasses", "bmi", "mood"]
    bmi = face.attributes["bmi"]
    assert isinstance(bmi, Expectation)
    assert (bmi.unit, bmi.range) == ("kg/m²", (10, 50))
    assert 10 <= bmi.value <= 50
    glasses = face.attributes["glasses"]
    assert isinstance(glasses, Label)
    assert set(glasses.probabilities) == {"no", "yes"}
    assert alone.attributes == {"glasses": glasses}
    assert face.race is not None
    assert tuple(face.race.probabilities) == RACES
    declared = card.attribute("glasses")
    assert declared is not None
    assert declared.labels == ("no", "yes")


SCRIPT = """
import { readFile } from "node:fs/promises";
import { Facet, attributesOf } from "./facet.js";
const facet = new Facet({ baseUrl: process.argv[2] });
const { faces } = await facet.predict(await readFile(process.argv[3]));
const { attributes } = await facet.model();
console.log(JSON.stringify([attributesOf(faces[0]), attributes.map(({ name, labels }) => [name, labels])]));
"""


def test_the_javascript_client_finds_it_by_name(service: Service, examples: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    shutil.copy(FOLDER / "facet.js", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "ask.js").write_text(SCRIPT)
    command = [node, tmp_path / "ask.js", service.url, examples / "astronaut.jpg"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answered, declared = json.loads(done.stdout)
    assert list(answered) == ["age", "race", "glasses", "bmi", "mood"]
    assert answered["mood"]["range"] == [-1, 1]
    assert set(answered["glasses"]["probabilities"]) == {"no", "yes"}
    assert declared == [["age", []], ["race", list(RACES)], ["glasses", ["no", "yes"]], ["bmi", []], ["mood", []]]


def test_words_become_indices_of_the_recipe_s_labels(prepared: Path) -> None:
    turned = Attribute(name="glasses", labels=("yes", "no"))
    data = load_prepared(prepared, Split.TRAIN, attributes=(turned,))
    glasses = {name: word for name, _, _, _, word, *_ in ROWS}
    assert [turned.labels[int(code)] for code in data.labels["glasses"]] == [glasses[name] for name in data.names.tolist()]


def test_numbers_become_hundredths_of_the_range(prepared: Path) -> None:
    mood, narrow = (
        Attribute(name="mood", kind="expectation", range=(-1, 1)),
        Attribute(name="bmi", kind="expectation", range=(20, 21)),
    )
    data = load_prepared(prepared, Split.TRAIN, attributes=(mood, narrow))
    values = {name: (bmi, value) for name, _, _, _, _, bmi, value in ROWS}
    expected = [(np.clip((values[name][0] - 20) * 100, 0, 100), (values[name][1] + 1) * 50) for name in data.names.tolist()]
    assert list(zip(data.labels["bmi"].tolist(), data.labels["mood"].tolist(), strict=True)) == expected
    with pytest.raises(DataSetError, match="the glasses 'no' is not a number"):
        load_prepared(prepared, Split.TRAIN, attributes=(Attribute(name="glasses", kind="expectation", range=(0, 1)),))


@pytest.mark.parametrize("word", ["nan", "inf", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_named_and_never_learnt(word: str) -> None:
    bmi = Attribute(name="bmi", kind="expectation", range=(20, 21))
    with pytest.raises(DataSetError, match=f"the bmi '{word}' is not a number"):
        labels_of(coded(["20.5", word, None], "bmi"), bmi, Path("faces"))
    with pytest.raises(DataSetError, match=f"the bmi '{word}' is not a number"):
        number("bmi", word)


def test_a_word_that_the_recipe_lacks_is_named(prepared: Path) -> None:
    with pytest.raises(DataSetError, match="the race 'east asian' is none of the recipe's labels: white, black, asian"):
        load_prepared(prepared, Split.TRAIN)
    with pytest.raises(PreparedError, match="has labels of hat"):
        load_prepared(prepared, Split.TRAIN, attributes=(Attribute(name="hat", labels=("no", "yes")),))


def test_folders_that_were_prepared_before_words_were_written_still_load(tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", train=5, validation=1)
    assert not any("/" in name for name in np.load(folder / "faces.npz").files)
    turned = Attribute(name="gender", labels=("female", "male"))
    before, after = (load_prepared(folder, Split.TRAIN, attributes=(one,)).labels["gender"] for one in (ATTRIBUTES[1], turned))
    assert before.tolist() == [0, 1, 0, 1, 0]
    assert after.tolist() == [1, 0, 1, 0, 1]


def test_what_a_table_leaves_empty_is_unknown(tmp_path: Path, root: Path) -> None:
    source = made.folder_of(tmp_path / "half", [(f"{i}.png", made.face_picture()) for i in range(2)])
    (source / "labels.csv").write_text("file,split,age,glasses\n0.png,train,,yes\n1.png,train,30,\n")
    run("prepare", "--data", source, "--prepared", tmp_path / "out", "--template", root / "model_store/mobilenet/5/model.json")
    glasses = Attribute(name="glasses", labels=("no", "yes"))
    data = load_prepared(tmp_path / "out", Split.TRAIN, attributes=(ATTRIBUTES[0], glasses))
    assert data.labels["age"].tolist() == [UNKNOWN, 30]
    assert data.labels["glasses"].tolist() == [1, UNKNOWN]


def test_a_recipe_that_declares_nothing_learns_age_gender_and_race() -> None:
    recipe = made.recipe()
    assert [one.name for one in recipe.learnt] == ["age", "gender", "race"]
    assert recipe.attribute("gender").labels == ("male", "female")
    assert recipe.attribute("race").labels == ("white", "black", "asian", "indian", "other")


def test_recipes_of_before_read_alike() -> None:
    old = made.recipe(network={"hint_units": 128}, loss={"hint_weight": 2.0})
    assert (old.network.embedding_units, old.loss.embedding_weight) == (128, 2.0)
    assert old == made.recipe(network={"embedding_units": 128}, loss={"embedding_weight": 2.0})
    assert changed(old, {"network": {"hint_units": 64}}).network.embedding_units == 64
    old = made.recipe(network={"gender_units": 2}, loss={"gender_weight": 3.0, "race_weight": 1.0})
    assert (old.network.pair_units, old.loss.weights) == ({"gender": 2}, {"gender": 3.0})
    assert old == made.recipe(network={"pair_units": {"gender": 2}}, loss={"weights": {"gender": 3.0}})
    assert changed(old, {"loss": {"gender_weight": 4.0}}).loss.weight_of("gender") == 4


def test_old_names_of_recipes_are_read(root: Path) -> None:
    recipes = root / "training/recipes"
    assert load_recipe(recipes / "mobilenet-taught.toml") == load_recipe(recipes / "mobilenet-distilled.toml")
    assert load_recipe(recipes / "inceptionv3-hints.toml").name == "inceptionv3-embeddings"
    old = made.recipe().model_dump(mode="json") | {"follows": "mobilenet-taught"}
    assert Recipe.model_validate(old).follows == "mobilenet-distilled"


def test_recipes_of_shipped_models_load(root: Path) -> None:
    recipes = sorted((root / "model_store").glob("*/*/recipe.json"))
    assert recipes
    for path in recipes:
        assert load_recipe(path).attributes == ATTRIBUTES


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"attributes": [{"name": "glasses"}]}, "needs two labels"),
        ({"attributes": [{"name": "height", "kind": "expectation"}]}, "needs a range"),
        ({"attributes": [{"name": "height", "kind": "expectation", "range": [2, 1]}]}, "two numbers that rise"),
        ({"attributes": [{"name": "age", "range": [0, 50]}]}, "only an expectation beside age has"),
        ({"attributes": [{"name": "glasses", "labels": ["no", "yes"], "unit": "kg"}]}, "needs the range"),
        ({"attributes": [{"name": "age", "kind": "labels", "labels": ["a", "b"]}]}, "is an expectation, in years"),
        ({"attributes": [{"name": "trunk", "labels": ["a", "b"]}]}, "that of another layer"),
        ({"attributes": [{"name": "count", "labels": ["a", "b"]}]}, "'count' is that of another layer, output or figure"),
        ({"attributes": [{"name": "found", "labels": ["a", "b"]}]}, "'found' is that of another layer, output or figure"),
        ({"attributes": [{"name": "age"}, {"name": "age"}]}, "different names"),
        ({"balance": {"class_weights": ["hat"]}}, "balance.class_weights names 'hat'; there is: age, gender, race"),
        ({"smote": {"heads": ["age"]}}, "smote.heads names 'age'; there is: gender, race"),
        ({"transfer": {"replaced": ["hat"]}}, "transfer.replaced names 'hat'"),
        ({"loss": {"weights": {"hat": 1.0}}}, "loss.weights names 'hat'"),
        (
            {"network": {"architecture": "tiny", "size": 32, "pair_units": {"age": 2}}},
            "network.pair_units names 'age'; there is: gender, race",
        ),
    ],
)
def test_a_recipe_that_names_what_is_not_declared(document: dict[str, Any], message: str) -> None:
    base = made.recipe().model_dump(exclude={"attributes"})
    base["network"].pop("outputs")
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(base | document)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("schedule.learning_rate", math.inf, "finite number"),
        ("schedule.clip_norm", math.inf, "finite number"),
        ("schedule.steps", [[0, math.nan]], "finite number"),
        ("data.shares", [math.nan], "finite number"),
        ("loss.weights", {"age": math.inf}, "finite number"),
        ("schedule.seed", 2**32, "less than 4294967296"),
        ("network.outputs", ["age", "age"], "network.outputs names each attribute once"),
        ("name", "../club", "should match pattern"),
        ("name", "club.2024", "should match pattern"),
        ("name", "", "should match pattern"),
        ("attributes", {"name": "age"}, "valid tuple"),
        ("attributes", 5, "valid tuple"),
        ("loss", {"weights": 5, "gender_weight": 2}, "valid dictionary"),
    ],
)
def test_a_recipe_that_no_run_could_go_on_by(place: str, value: Any, message: str) -> None:
    document = made.recipe().model_dump()
    *sections, field = place.split(".")
    for section in sections:
        document[section] = dict(document[section])
    (document[sections[0]] if sections else document)[field] = value
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(document)
