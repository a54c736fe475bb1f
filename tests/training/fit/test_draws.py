"""What batches make of a recipe's settings: weights beside labels, drawn ages, shares, groups, and faces that are left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.training import made
from training.datasets.base import Split
from training.datasets.prepared import Selection, load_prepared
from training.errors import TrainingError
from training.fit.batches import Batches
from training.fit.losses import CategoricalCrossEntropy
from training.fit.sampling import picture_weights
from training.fit.train import train
from training.recipe import AugmentSection, Recipe

pytestmark = pytest.mark.usefixtures("architecture")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return made.prepared(tmp_path / "prepared", train=40, validation=8)


def batches(prepared: Path, recipe: Recipe, **changes: Any) -> Batches:
    data = load_prepared(prepared, Split.TRAIN)
    labels = {name: changes.pop(name) for name in ("age", "race") if name in changes}
    data = replace(data, labels={**data.labels, **labels}, **changes)
    return Batches(data, recipe.network.outputs, made.SIDE, 8, AugmentSection(), seed=1, recipe=recipe)


def test_without_wishes_batches_are_what_they_were(prepared: Path) -> None:
    data = load_prepared(prepared, Split.TRAIN)
    plain = Batches(data, ("age", "race"), made.SIDE, 8, AugmentSection(), seed=1)
    wished = batches(prepared, made.recipe(network={"outputs": ["age", "race"]}))
    assert len(plain[2]) == len(wished[2]) == 2
    np.testing.assert_array_equal(plain[2][0], wished[2][0])
    np.testing.assert_array_equal(plain[2][1]["race"], wished[2][1]["race"])


def test_weights_of_classes_go_beside_the_labels_of_their_head(prepared: Path) -> None:
    race = np.array([0] * 30 + [1] * 10, np.float32)
    recipe = made.recipe(balance={"class_weights": ["race"]})
    given = batches(prepared, recipe, race=race)
    for index in range(len(given)):
        _, labels, weights = given[index]
        assert set(weights) == set(labels) == {"age", "gender", "race"}
        np.testing.assert_allclose(weights["race"], np.where(labels["race"] == 0, 40 / 60, 2), rtol=1e-6)
        assert (weights["age"] == 1).all()


def test_keras_weighs_the_loss_by_them(prepared: Path) -> None:
    """The loss that Keras reports of a batch is the mean of the pictures' losses times their weights."""
    recipe = made.recipe(
        network={"outputs": ["race"], "dropout": 0.0}, balance={"class_weights": ["race"]}, loss={"label_smoothing": 0.0}
    )
    from training.models.heads import build

    given = batches(prepared, recipe, race=np.array([0] * 30 + [1] * 10, np.float32))
    network = build(recipe.network)
    network.compile(loss={"race": CategoricalCrossEntropy(0.0)})
    pixels, labels, weights = given[0]
    reported = network.evaluate(pixels, labels, sample_weight=weights, verbose=0)
    each = keras.ops.convert_to_numpy(CategoricalCrossEntropy(0.0).call(labels["race"], network(pixels)["race"]))
    assert reported == pytest.approx(float((each * weights["race"]).mean()), rel=1e-4)
    assert reported != pytest.approx(float(each.mean()), rel=1e-2)


def test_an_age_known_as_a_range_is_drawn_from_it_anew(prepared: Path) -> None:
    low, high = np.full(40, 25), np.where(np.arange(40) < 20, 32, 25)
    age = (low + high) // 2
    given = batches(prepared, made.recipe(), age=age.astype(np.float32), ages=np.stack([low, high], axis=1).astype(np.float32))
    drawn = set()
    for epoch in range(30):
        given.epoch = epoch
        drawn |= set(np.concatenate([given[i][1]["age"] for i in range(5)]).tolist())
    assert drawn == set(range(25, 33))
    plain = Batches(given.data, ("age",), made.SIDE, 8)
    assert np.concatenate([plain[i][1]["age"] for i in range(5)]).tolist() == age.tolist()


def test_a_batch_is_composed_by_group_in_a_run_of_its_own(prepared: Path, tmp_path: Path) -> None:
    """Six young and two old, in every batch; from the third step on, four and four."""
    age = np.where(np.arange(40) < 10, 20, 50).astype(np.float32)
    phases = [
        {"step": step, "counts": [{"up_to": 39, "each": [young]}, {"up_to": 59, "each": [old]}]}
        for step, young, old in ((0, 6, 2), (2, 4, 4))
    ]
    groups = {"pools": [["UTKFace"]], "lowest": 20, "width": 20, "phases": phases}
    recipe = made.recipe(balance={"groups": groups}, schedule={"epochs": 1})
    given = batches(prepared, recipe, age=age)
    young = [int((given[i][1]["age"] == 20).sum()) for i in range(len(given))]
    assert young == [6, 6, 4, 4, 4]
    given.epoch = 1
    assert (given[0][1]["age"] == 20).sum() == 4
    with np.load(prepared / "faces.npz") as table:
        np.savez(prepared / "faces.npz", **(dict(table) | {"age": np.resize(age, 48)}))
    assert train(recipe, prepared, tmp_path / "run", "random").exists()


def test_shares_and_rare_groups_are_drawn(prepared: Path) -> None:
    race = np.array([0] * 36 + [4] * 4, np.float32)
    given = batches(prepared, made.recipe(balance={"repeat": ["race"]}), race=race)
    pixels, races = [], []
    for index in range(len(given)):
        batch = given[index]
        pixels.append(batch[0])
        races.append(batch[1]["race"])
    assert (np.concatenate(races) == 4).sum() == 20
    rare = np.concatenate(pixels)[np.concatenate(races) == 4]
    assert len(np.unique(rare.reshape(20, -1), axis=0)) == 20  # each time augmented anew


def test_small_and_blurred_faces_are_left_out(prepared: Path) -> None:
    with np.load(prepared / "faces.npz") as table:
        sides = np.where(np.arange(48) % 2 == 0, 31.0, 32.0)
        box = np.stack([np.zeros(48), np.zeros(48), sides, sides - 5], axis=1)
        sharpness = np.where(np.arange(48) < 10, 2.5, 3.0).astype(np.float32)
        np.savez(prepared / "faces.npz", **(dict(table) | {"box": box}))
    assert len(load_prepared(prepared, Split.TRAIN, selection=Selection(face_px=32))) == 20
    with pytest.raises(TrainingError, match="prepare again"):
        load_prepared(prepared, Split.TRAIN, selection=Selection(sharpness=2.9))
    with np.load(prepared / "faces.npz") as table:
        np.savez(prepared / "faces.npz", **(dict(table) | {"sharpness": sharpness}))
    kept = load_prepared(prepared, Split.TRAIN, selection=Selection(face_px=32, sharpness=2.9))
    assert kept.names.tolist() == [f"{i}.jpg" for i in range(11, 40, 2)]


def test_the_age_that_was_lived_is_learnt_where_it_is_asked_for(prepared: Path) -> None:
    with np.load(prepared / "faces.npz") as table:
        real = np.where(np.arange(48) < 3, 77, -1)
        np.savez(prepared / "faces.npz", **(dict(table) | {"real_age": real}))
    apparent, lived = (
        load_prepared(prepared, Split.TRAIN),
        load_prepared(prepared, Split.TRAIN, selection=Selection(real_age=True)),
    )
    assert lived.labels["age"][:3].tolist() == [77] * 3
    np.testing.assert_array_equal(lived.labels["age"][3:], apparent.labels["age"][3:])


def test_a_weight_is_one_on_average(prepared: Path) -> None:
    data = load_prepared(prepared, Split.TRAIN)
    for name, weights in picture_weights(data, ("age", "gender", "race")).items():
        assert weights.mean() == pytest.approx(1, rel=1e-5), name
