"""A served model is opened again: the same answers from a network with normalisations, which training goes on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.fakes import TEMPLATE, SquareDetector
from tests.training import made
from training.__main__ import app
from training.datasets.documents import PreparedReport
from training.datasets.prepare import read_report
from training.errors import DataSetError, EvaluationError, RunError, WeightsError
from training.export.export import export, plain, rounded
from training.export.reopen import reopen
from training.fit.augmentation import resized
from training.fit.train import train
from training.fit.weight_averaging import average
from training.models.heads import TRUNK, build
from training.models.normalization import FusedBatchNormalization
from training.models.pixels import scaled as to_floats
from training.provenance import of_run
from training.recipe import Recipe, load_recipe

pytestmark = pytest.mark.usefixtures("architecture")


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the tiny network."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "examples").mkdir()
    (folder / "examples/square.jpg").write_bytes(made.encoded(made.square_picture(20, 20)))
    recipe = Recipe.model_validate_json((run / "recipe.json").read_text())
    described = PreparedReport(template=TEMPLATE, sets={"UTKFace": ""})
    weights, store = run / "best.weights.h5", folder / "store"
    export(recipe, weights, described, folder / "examples", SquareDetector(), store, 1, "2026-01-01")
    return store


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.prepared(tmp_path_factory.mktemp("faces") / "prepared", train=24, validation=8)


def network_of(weights: Path) -> keras.Model:
    network = build(load_recipe(weights.parent / "recipe.json").network)
    network.load_weights(weights)
    return network


def test_the_network_answers_as_the_model_does(exported: Path, faces: Path, run: Path, tmp_path: Path) -> None:
    opened = network_of(reopen(exported, "tiny", 1, faces, tmp_path / "opened"))
    pixels = np.random.default_rng(0).uniform(-1, 1, (5, made.SIDE, made.SIDE, 3)).astype(np.float32)
    served = plain(network_of(run / "best.weights.h5"), made.recipe().network)
    for weight in served.weights:
        weight.assign(rounded(np.asarray(weight)).astype(np.float16).astype(np.float32))
    ours, theirs = opened(pixels, training=False), served(pixels, training=False)
    assert set(ours) == set(theirs) == {"age", "gender", "race"}
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-4)


def test_a_network_without_normalisations_is_opened_too(exported: Path, faces: Path, tmp_path: Path) -> None:
    """One that has none to unfold; `own_cnn` ended in a traceback."""
    recipe = made.recipe(network={"architecture": "own_cnn", "size": 64})
    network = build(recipe.network)
    network.save_weights(tmp_path / "own.weights.h5")
    described = PreparedReport(template=TEMPLATE, sets={"UTKFace": ""})
    store, examples = tmp_path / "store", exported.parent / "examples"
    export(recipe, tmp_path / "own.weights.h5", described, examples, SquareDetector(), store, 1, "2026-01-01")
    opened = network_of(reopen(store, "tiny", 1, faces, tmp_path / "opened"))
    for weight, ours in zip(network.get_weights(), opened.get_weights(), strict=True):
        np.testing.assert_allclose(ours, rounded(weight), atol=1e-3)


def test_without_training_faces_nothing_is_opened(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="has no train picture, whose statistics normalisations need"):
        reopen(exported, "tiny", 1, made.prepared(tmp_path / "prepared", train=0, validation=4), tmp_path / "opened")
    assert not (tmp_path / "opened").exists()


def test_the_normalisations_have_the_statistics_of_faces(exported: Path, faces: Path, tmp_path: Path) -> None:
    """So that a first step of training finds what it would find in a network that had never been folded."""
    trunk = network_of(reopen(exported, "tiny", 1, faces, tmp_path / "opened")).get_layer(TRUNK)
    scaled, shifted = (layer for layer in trunk.layers if isinstance(layer, FusedBatchNormalization))
    inner = keras.Model(trunk.input, [scaled.input, shifted.input])
    crops = np.load(faces / "crops.npy")[:24, :, :, :]
    before, behind = inner(to_floats(np.stack([resized(crop, made.SIDE) for crop in crops])), training=False)
    np.testing.assert_allclose(scaled.moving_mean, np.mean(before, axis=(0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(scaled.moving_variance, np.var(before, axis=(0, 1, 2)), rtol=1e-3)
    np.testing.assert_allclose(shifted.moving_mean, np.mean(behind, axis=(0, 1, 2)), atol=1e-4)


def test_training_goes_on_from_it_and_remembers_what_it_was(exported: Path, faces: Path, tmp_path: Path) -> None:
    weights = reopen(exported, "tiny", 1, faces, tmp_path / "opened")
    recipe = made.recipe(schedule={"epochs": 1, "learning_rate": 1e-4, "ema_momentum": 0.0})
    best = train(recipe, faces, tmp_path / "further", "random", weights)
    made_of, before = of_run(tmp_path / "further"), of_run(tmp_path / "opened")
    assert made_of is not None
    assert before is not None
    assert made_of.follows == before
    assert before.recipe == "tiny/1 as it is served"
    assert before.follows is not None
    assert before.follows.recipe == "tiny"
    moved = np.abs(network_of(best).get_weights()[0] - network_of(weights).get_weights()[0]).max()
    assert 0 < moved < 0.01
    with pytest.raises(RunError, match="holds a training run"):
        reopen(exported, "tiny", 1, faces, tmp_path / "further")


def test_what_goes_on_from_a_model_is_under_its_licence_too(exported: Path, faces: Path, tmp_path: Path) -> None:
    """`/model` named the new pictures' terms alone, as if those of the model's did not hold for what was made of it."""
    store, prepared = shutil.copytree(exported, tmp_path / "store"), shutil.copytree(faces, tmp_path / "prepared")
    manifest = json.loads((store / "tiny/1/model.json").read_text())
    terms = "Trained on data for research alone. Village: research."
    (store / "tiny/1/model.json").write_text(json.dumps(manifest | {"licence": terms}))
    described = PreparedReport(template=TEMPLATE, sets={"UTKFace": "Our own terms."})
    (prepared / "prepare.json").write_text(described.model_dump_json())
    weights = reopen(store, "tiny", 1, prepared, tmp_path / "opened")
    further = made.recipe(schedule={"epochs": 1, "learning_rate": 1e-4, "ema_momentum": 0.0})
    train(further, prepared, tmp_path / "further", "random", weights)
    average([tmp_path / "opened", tmp_path / "further"], [1, 1], tmp_path / "mean")
    for version, run in enumerate(("further", "mean"), 2):
        arguments = (tmp_path / run / "best.weights.h5", described, exported.parent / "examples", SquareDetector(), store)
        licence = export(further, *arguments, version, "2026-01-01").licence
        assert licence == "Trained on data for research alone. Our own terms. Village: research."


def test_it_keeps_the_template_that_it_learnt(exported: Path, faces: Path, tmp_path: Path) -> None:
    """Whatever is prepared by then: `export` would cut its faces by that, and `average` join it with runs on others."""
    prepared = shutil.copytree(faces, tmp_path / "prepared")
    (prepared / "prepare.json").write_text(PreparedReport(template=TEMPLATE[::-1], sets={"UTKFace": "terms"}).model_dump_json())
    reopen(exported, "tiny", 1, prepared, tmp_path / "opened")
    described = read_report(tmp_path / "opened")
    np.testing.assert_allclose(described.template, TEMPLATE)
    assert described.sets == {"UTKFace": "terms"}
    train(made.recipe(schedule={"epochs": 1}), prepared, tmp_path / "other", "random")
    with pytest.raises(RunError, match="crops of different landmark templates"):
        average([tmp_path / "opened", tmp_path / "other"], [1, 1], tmp_path / "mean")


def test_what_export_did_not_write_is_refused(exported: Path, faces: Path, root: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no tiny/2"):
        reopen(exported, "tiny", 2, faces, tmp_path / "opened")
    with pytest.raises(WeightsError, match="has no recipe"):
        reopen(root / "model_store", "mtcnn", 1, faces, tmp_path / "opened")
    other = exported / "tiny/1/recipe.json"
    given = other.read_text()
    try:
        document = json.loads(given)
        document["network"]["head_units"] = 17
        other.write_text(json.dumps(document))
        with pytest.raises(WeightsError, match="other weights"):
            reopen(exported, "tiny", 1, faces, tmp_path / "opened")
    finally:
        other.write_text(given)
    assert not (tmp_path / "opened").exists()


def test_the_command_says_where_the_weights_are(exported: Path, faces: Path, tmp_path: Path) -> None:
    arguments = ["reopen", "--prepared", str(faces), "--run", str(tmp_path / "opened"), "--store", str(exported)]
    done = CliRunner().invoke(app, [*arguments, "--model", "tiny/1"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "opened/best.weights.h5").is_file()
    refused = CliRunner().invoke(app, [*arguments, "--model", "tiny"])
    assert refused.exit_code == 1
    assert "tiny is no NAME/VERSION" in refused.stderr
