"""A teacher's probabilities: the runs' own, of a crop and its mirror image, and a network that learns them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from tests.training import made
from training.datasets.base import Split
from training.datasets.prepared import coded, load_prepared
from training.errors import DataSetError, PreparedError, TrainingError
from training.fit.batches import Batches
from training.fit.distillation import from_features, write_teacher_predictions
from training.fit.train import train
from training.models.heads import build
from training.recipe import Attribute, Recipe, write_recipe

pytestmark = pytest.mark.usefixtures("architecture")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return made.prepared(tmp_path / "prepared", train=70, validation=10)


def test_the_probabilities_are_those_of_the_runs(run: Path, prepared: Path, tmp_path: Path) -> None:
    write_teacher_predictions([run], prepared)
    alone = load_prepared(prepared, Split.VALIDATION, teacher=True).teacher
    assert alone is not None
    assert {name: values.shape for name, values in alone.items()} == {"age": (10, 101), "gender": (10, 1), "race": (10, 5)}
    network = build(Recipe.model_validate_json((run / "recipe.json").read_text()).network)
    network.load_weights(run / "best.weights.h5")
    batches = Batches(load_prepared(prepared, Split.VALIDATION), ("race",), made.SIDE, 10)
    pixels, _ = batches[0]
    expected = [ops.softmax(network(one)["race"]) for one in (pixels, pixels[:, :, ::-1])]
    np.testing.assert_allclose(alone["race"], np.mean(expected, axis=0), atol=2e-3)

    table = dict(np.load(prepared / "faces.npz"))
    np.savez(prepared / "faces.npz", **table | {"split": np.where(np.arange(80) < 5, "test", table["split"])})
    write_teacher_predictions([run], prepared)
    with np.load(prepared / "teacher.npz") as table:
        assert not table["race"][:5].any(), "those of test are left out"
        assert table["race"][5:].any(axis=1).all()

    other = shutil.copytree(run, tmp_path / "other")
    network.get_layer("race").bias.assign([5, 0, 0, 0, 0])
    network.save_weights(other / "best.weights.h5")
    write_teacher_predictions([other], prepared)
    second = load_prepared(prepared, Split.VALIDATION, teacher=True).teacher
    write_teacher_predictions([run, other], prepared)
    mean = load_prepared(prepared, Split.VALIDATION, teacher=True).teacher
    assert second is not None
    assert mean is not None
    assert np.abs(second["race"] - alone["race"]).max() > 0.01
    np.testing.assert_allclose(mean["race"], (alone["race"] + second["race"]) / 2, atol=2e-3)


def test_a_network_learns_the_teacher_against_the_labels(prepared: Path, tmp_path: Path) -> None:
    teacher = {"age": np.full((80, 101), 1 / 101), "gender": np.ones((80, 1)), "race": np.tile(np.eye(5)[3], (80, 1))}
    np.savez(prepared / "taught.npz", **teacher)  # type: ignore[arg-type]
    recipe = made.recipe(loss={"teacher_weight": 1.0}, schedule={"epochs": 6})
    best = train(recipe, prepared, tmp_path / "run", "random")
    network = build(recipe.network)
    network.load_weights(best)
    pixels, _ = Batches(load_prepared(prepared, Split.TRAIN), ("race",), made.SIDE, 70)[0]
    assert (ops.convert_to_numpy(network(pixels)["race"]).argmax(axis=1) == 3).mean() > 0.9


@pytest.mark.parametrize(
    ("count", "races"),
    [(4, [0, 1, 2, 3, 4]), (70, [2]), (70, [0] * 69 + [1]), (70, [-1])],
    ids=["few pictures", "one label", "a rare label", "no label"],
)
def test_what_too_few_pictures_show_is_left_to_the_runs(count: int, races: list[int], run: Path, tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", train=count, validation=10)
    with np.load(folder / "faces.npz") as table:
        np.savez(folder / "faces.npz", **(dict(table) | {"race": np.resize(races, count + 10)}))
    features = np.random.default_rng(1).normal(size=(count + 10, 8)).astype(np.float32)
    assert "race" not in from_features([features], folder)
    np.save(folder / "embeddings.npy", features)
    with pytest.raises(DataSetError, match="too few training pictures have a label of"):
        write_teacher_predictions([], folder, embeddings=True)
    assert not (folder / "teacher.npz").exists()
    write_teacher_predictions([run], folder, embeddings=True)
    with np.load(folder / "teacher.npz") as table:
        assert table["race"].shape == (count + 10, 5)


def test_a_recipe_with_a_teacher_needs_one(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"teacher\.npz"):
        train(made.recipe(loss={"teacher_weight": 0.5}), prepared, tmp_path / "run", "random")


def test_a_teacher_needs_all_heads(run: Path, prepared: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    described = json.loads((other / "recipe.json").read_text())
    described["network"]["outputs"] = ["age"]
    (other / "recipe.json").write_text(json.dumps(described))
    with pytest.raises(TrainingError, match="has the heads age alone"):
        write_teacher_predictions([other], prepared)


def finished(folder: Path, age: dict[str, Any]) -> Path:
    """A run with random weights, whose age has a form and whose gender has two units."""
    recipe = made.recipe(network={"age": age, "gender_units": 2})
    folder.mkdir()
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    build(recipe.network).save_weights(folder / "best.weights.h5")
    return folder


def test_ages_of_any_classes_are_taught_as_years(prepared: Path, tmp_path: Path) -> None:
    write_teacher_predictions([finished(tmp_path / "both", {"form": "both", "bins": [0, 50]})], prepared)
    teacher = load_prepared(prepared, Split.VALIDATION, teacher=True).teacher
    assert teacher is not None
    assert {name: values.shape for name, values in teacher.items()} == {"age": (10, 101), "gender": (10, 1), "race": (10, 5)}
    np.testing.assert_allclose(teacher["age"].sum(axis=1), 1, atol=1e-2)
    np.testing.assert_allclose(teacher["age"][:, 0], teacher["age"][:, 49], rtol=1e-2)


def test_a_teacher_needs_a_distribution_of_ages(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="predicts the age as a number alone"):
        write_teacher_predictions([finished(tmp_path / "years", {"form": "regression"})], prepared)


def test_descriptors_answer_for_pictures_that_their_network_has_not_seen(tmp_path: Path) -> None:
    """Descriptors that give the label away, but for ten pictures of train, whose labels are wrong."""
    folder = made.prepared(tmp_path / "prepared", train=400, validation=50)
    table = dict(np.load(folder / "faces.npz"))
    embeddings = np.random.default_rng(0).normal(0, 0.3, (450, 8)).astype(np.float32)
    embeddings[np.arange(450), table["race"]] += 2
    embeddings[3] = 0
    truth = table["race"].copy()
    table["race"][10:20] = (truth[10:20] + 1) % 5
    table["race"][20:25] = -1
    np.savez(folder / "faces.npz", **table)
    np.save(folder / "hints.npy", embeddings)
    probabilities = from_features([embeddings], folder)
    assert (probabilities["gender"].shape, probabilities["race"].shape) == ((450, 1), (450, 5))
    known = np.arange(450) != 3
    assert (probabilities["race"].argmax(axis=1) == truth)[known].mean() > 0.97
    assert (probabilities["race"].argmax(axis=1) == truth)[10:25].all(), "wrong and missing labels are not repeated"
    np.testing.assert_allclose(probabilities["race"].sum(axis=1), 1, atol=1e-5)
    assert probabilities["race"][3].max() < 0.3
    write_teacher_predictions([], folder, embeddings=True)
    teacher = load_prepared(folder, Split.TRAIN, teacher=True).teacher
    assert teacher is not None
    assert set(teacher) == {"gender", "race"}
    with pytest.raises(TrainingError, match="a run, face embeddings or a face"):
        write_teacher_predictions([], folder)


def test_a_face_networks_features_teach_too(tmp_path: Path) -> None:
    """Features that give the gender away, by the brightness of the crops' left half."""
    folder = made.prepared(tmp_path / "prepared", train=200, validation=20)
    crops = np.load(folder / "crops.npy")
    gender = np.load(folder / "faces.npz")["gender"]
    crops[:, :, :20] = np.where(gender == 1, 200, 50)[:, np.newaxis, np.newaxis, np.newaxis]
    np.save(folder / "crops.npy", crops)

    face = tmp_path / "face.weights.h5"
    face.write_bytes(b"weights")

    def halves(size: int, init: str) -> Any:
        assert (size, init) == (224, str(face))
        return lambda pixels, training: pixels[:, :, : size // 2].mean(axis=(1, 2))

    write_teacher_predictions([], folder, recognition=face, trunk=halves)
    teacher = load_prepared(folder, Split.VALIDATION, teacher=True).teacher
    assert teacher is not None
    assert ((teacher["gender"][:, 0] > 0.5) == gender[200:]).all()


def test_a_teacher_of_another_range_is_refused(prepared: Path, tmp_path: Path) -> None:
    """Its probabilities are of hundredths of its own range."""
    one, other = (Attribute(name="bmi", kind="expectation", range=(10, highest)) for highest in (50, 100))
    with np.load(prepared / "faces.npz") as table:
        words = coded(["20"] * 80, "bmi")
        np.savez(prepared / "faces.npz", **(dict(table) | words))
    run = tmp_path / "bmi"
    run.mkdir()
    own = {"attributes": [one.model_dump()], "network": {"architecture": "tiny", "size": made.SIDE}}
    recipe = Recipe.model_validate(made.recipe().model_dump() | own)
    write_recipe(run / "recipe.json", recipe)
    build(recipe.network, attributes=recipe.attributes).save_weights(run / "best.weights.h5")
    write_teacher_predictions([run], prepared)
    given = load_prepared(prepared, Split.TRAIN, attributes=(one,), teacher=True).teacher
    assert given is not None
    assert given["bmi"].shape == (70, 101)
    with pytest.raises(PreparedError, match=r"the range of bmi in .* is not the recipe's; distil again"):
        load_prepared(prepared, Split.TRAIN, attributes=(other,), teacher=True)
