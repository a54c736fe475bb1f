"""Heads on balanced features: what is laid between which, what is trained, and what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training import made
from training.datasets.base import Split
from training.datasets.prepared import load_prepared
from training.errors import DataSetError, TrainingError
from training.fit.smote import features_of, oversampled, retrain_heads
from training.fit.train import train
from training.models.heads import TRUNK, build

pytestmark = pytest.mark.usefixtures("architecture")


def test_new_features_lie_between_those_of_their_class() -> None:
    random = np.random.default_rng(0)
    common, rare = random.normal(0, 1, (40, 3)), 50 + random.normal(0, 1, (4, 3))
    features = np.concatenate([common, rare, [[9, 9, 9]]]).astype(np.float32)
    labels = np.array([0] * 40 + [3] * 4 + [-1], np.float32)
    more, answers = oversampled(features, labels, neighbours=5, seed=1)
    assert np.bincount(answers.astype(int)).tolist() == [40, 0, 0, 40]
    np.testing.assert_array_equal(more[:44], features[:44])  # what is real stays, and what is unknown is left out
    new = more[44:]
    for one in new:  # on a line between two of the four
        ways = [
            np.linalg.norm(np.cross(one - a, b - a)) / np.linalg.norm(b - a) for i, a in enumerate(rare) for b in rare[i + 1 :]
        ]
        assert min(ways) < 1e-3
    assert (new >= rare.min(axis=0) - 1e-4).all()
    assert (new <= rare.max(axis=0) + 1e-4).all()
    assert len(np.unique(new, axis=0)) == 36


def test_a_class_of_one_is_refused() -> None:
    with pytest.raises(TrainingError, match="two training pictures of every class"):
        oversampled(np.zeros((3, 2), np.float32), np.array([0, 0, 1], np.float32), 5, 1)


def test_only_the_named_head_learns_and_the_trunk_is_kept(tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", train=40, validation=10)
    recipe = made.recipe(smote={"heads": ["race"], "epochs": 2, "learning_rate": 0.01})
    network, untouched = build(recipe.network), build(recipe.network)
    untouched.set_weights(network.get_weights())
    train_data, validation = (load_prepared(folder, split) for split in (Split.TRAIN, Split.VALIDATION))
    path = tmp_path / "best.weights.h5"
    retrain_heads(network, recipe, train_data, validation, path)
    for layer in network.layers:
        pairs = zip(layer.get_weights(), untouched.get_layer(layer.name).get_weights(), strict=True)
        same = all(np.array_equal(*pair) for pair in pairs)
        assert same is not (layer.name in ("race", "race_hidden")), layer.name
    untouched.load_weights(path)
    np.testing.assert_array_equal(untouched.get_layer("race").get_weights()[0], network.get_layer("race").get_weights()[0])
    assert features_of(network.get_layer(TRUNK), validation, made.SIDE).shape[0] == 10


def test_a_recipe_ends_with_it(tmp_path: Path) -> None:
    """From one file: the rare class, which alone is bright, is not found by a head of two steps, and is by the next."""
    folder = made.prepared(tmp_path / "prepared", train=66, validation=40)
    crops, bright = np.load(folder / "crops.npy") // 8, np.arange(106) % 11 == 0
    crops[bright] += 200
    np.save(folder / "crops.npy", crops)
    with np.load(folder / "faces.npz") as table:
        np.savez(folder / "faces.npz", **(dict(table) | {"race": np.where(bright, 4, 0)}))
    plain = made.recipe(network={"outputs": ["race"]}, schedule={"epochs": 1, "batch_size": 33, "learning_rate": 1e-6})
    with_smote = plain.model_copy(update={"smote": made.recipe(smote={"heads": ["race"], "learning_rate": 0.01}).smote})
    recalls = []
    for number, recipe in enumerate((plain, with_smote)):
        weights = train(recipe, folder, tmp_path / f"run{number}", "random")
        network = build(recipe.network)
        network.load_weights(weights)
        data = load_prepared(folder, Split.VALIDATION)
        features = data.crops[:, :32, :32].astype(np.float32) / 127.5 - 1
        answers = np.asarray(network(features)["race"]).argmax(axis=1)
        recalls.append((answers[data.labels["race"] == 4] == 4).mean())
        assert not (tmp_path / f"run{number}/state.weights.h5").exists()
    assert recalls[1] >= 0.75 > recalls[0]


@pytest.mark.parametrize(
    ("race", "message"),
    [
        ([0] * 15 + [1] + [0] * 4, "two training pictures of every class"),
        ([0, 1] * 8 + [-1] * 4, "of train and of validation with a label of race"),
    ],
)
def test_what_cannot_be_balanced_is_said_before_an_epoch(race: list[int], message: str, tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", train=16, validation=4)
    with np.load(folder / "faces.npz") as table:
        np.savez(folder / "faces.npz", **(dict(table) | {"race": np.array(race)}))
    with pytest.raises(DataSetError, match=message):
        train(made.recipe(smote={"heads": ["race"]}), folder, tmp_path / "run", "random")
    assert not (tmp_path / "run/history.csv").exists()
