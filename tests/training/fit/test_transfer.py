"""Going on from another network: what is kept, what begins anew, and a split that is learnt part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.training import made
from training.datasets.base import Split
from training.datasets.prepared import load_prepared
from training.errors import RunError, WeightsError
from training.fit.callbacks import history_of
from training.fit.train import train
from training.fit.transfer import go_on_from
from training.models.heads import build
from training.recipe import Recipe, changed

pytestmark = pytest.mark.usefixtures("architecture")


def saved(folder: Path, **network: Any) -> tuple[keras.Model, Path]:
    """A run of a network with random weights, and its weights file."""
    recipe = made.recipe(network=network)
    folder.mkdir()
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    given = build(recipe.network)
    given.save_weights(folder / "best.weights.h5")
    return given, folder / "best.weights.h5"


def same(one: keras.Model, other: keras.Model, layer: str) -> bool:
    pairs = zip(one.get_layer(layer).get_weights(), other.get_layer(layer).get_weights(), strict=True)
    return all(mine.shape == given.shape and bool((mine == given).all()) for mine, given in pairs)


def test_output_nodes_are_replaced_and_the_rest_is_kept(tmp_path: Path) -> None:
    given, weights = saved(tmp_path / "exact", age={"first": 18, "last": 80}, dropout=0.0)
    recipe = made.recipe(network={"age": {"bins": [0, 3, 10, 20, 30, 40, 50, 60, 70]}})
    network = build(recipe.network)
    with pytest.raises(WeightsError, match=r"differs from that of .* in its age; transfer\.replaced begins heads anew"):
        go_on_from(network, recipe, weights)
    go_on_from(network, changed(recipe, {"transfer": {"replaced": ["age"]}}), weights)
    kept = ("trunk", "age_hidden", "gender_hidden", "gender", "race_hidden", "race")
    assert [name for name in kept if not same(network, given, name)] == []
    assert network.get_layer("age").get_weights()[0].shape == (16, 9)


def test_output_nodes_of_the_same_number_are_replaced_where_it_is_asked(tmp_path: Path) -> None:
    given, weights = saved(tmp_path / "run")
    recipe = made.recipe(transfer={"replaced": ["race"]})
    network = build(recipe.network)
    go_on_from(network, recipe, weights)
    assert same(network, given, "age")
    assert same(network, given, "race_hidden")
    assert not same(network, given, "race")


def test_a_head_is_added(tmp_path: Path) -> None:
    given, weights = saved(tmp_path / "gender", outputs=["gender"], gender_units=2)
    recipe = made.recipe(network={"outputs": ["age", "gender"], "gender_units": 2, "age": {"form": "both"}})
    network = build(recipe.network)
    before = [weight.copy() for weight in network.get_layer("age_hidden").get_weights()]
    go_on_from(network, recipe, weights)
    assert same(network, given, "trunk")
    assert same(network, given, "gender")
    for mine, first in zip(network.get_layer("age_hidden").get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, first)


def test_classes_of_other_years_are_another_head(tmp_path: Path) -> None:
    """As many classes have weights of the same shapes: those of 0 to 50 were taken for 50 to 100."""
    _, weights = saved(tmp_path / "young", age={"last": 50})
    recipe = made.recipe(network={"age": {"first": 50}})
    with pytest.raises(WeightsError, match=r"the values of age are not those of .*transfer\.replaced"):
        go_on_from(build(recipe.network), recipe, weights)
    go_on_from(build(recipe.network), changed(recipe, {"transfer": {"replaced": ["age"]}}), weights)


def test_another_range_is_another_head(tmp_path: Path) -> None:
    recipes = []
    for highest in (50, 100):
        bmi = {"name": "bmi", "kind": "expectation", "range": (10, highest)}
        own = {"attributes": [bmi], "network": {"architecture": "tiny", "size": made.SIDE}}
        recipes.append(Recipe.model_validate(made.recipe().model_dump() | own))
    (tmp_path / "recipe.json").write_text(recipes[0].model_dump_json())
    network = build(recipes[0].network, attributes=recipes[0].attributes)
    network.save_weights(tmp_path / "best.weights.h5")
    go_on_from(network, recipes[0], tmp_path / "best.weights.h5")
    with pytest.raises(WeightsError, match="the values of bmi are not those of"):
        go_on_from(network, recipes[1], tmp_path / "best.weights.h5")


def test_another_trunk_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    recipe = made.recipe(network={"architecture": "base_cnn"})
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    build(recipe.network).save_weights(folder / "best.weights.h5")
    given = made.recipe()
    with pytest.raises(WeightsError, match="in its trunk"):
        go_on_from(build(given.network), given, folder / "best.weights.h5")


def test_parts_share_no_picture_and_leave_none(tmp_path: Path) -> None:
    prepared = made.prepared(tmp_path / "prepared", train=13, validation=4)
    whole = load_prepared(prepared, Split.TRAIN)
    parts = [load_prepared(prepared, Split.TRAIN, part=(number, 4)) for number in range(4)]
    assert [len(part) for part in parts] == [4, 3, 3, 3]
    assert sorted(name for part in parts for name in part.names) == sorted(whole.names)
    np.testing.assert_array_equal(parts[1].crops[0], whole.crops[1])


def test_a_split_is_learnt_part_by_part(tmp_path: Path) -> None:
    """Each part goes on from the one before; frozen layers stay; an interruption within the second costs nothing."""
    prepared = made.prepared(tmp_path / "prepared", train=16, validation=4)
    schedule = {"epochs": 1, "parts": 2, "ema_momentum": 0.0, "rate": "constant"}
    recipe = made.recipe(network={"outputs": ["gender"]}, schedule=schedule, transfer={"frozen_layers": 2})
    out = tmp_path / "run"

    class InTheSecond(keras.callbacks.Callback):  # type: ignore[misc]
        """Stops within the second part, once the first one is done."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if (out / "part-1/best.weights.h5").exists() and not (out / "part-1/state.weights.h5").exists():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, prepared, out, "random", callbacks=[InTheSecond()])
    assert not (out / "part-2/best.weights.h5").exists()
    first = (out / "part-1/best.weights.h5").stat().st_mtime_ns
    best = train(recipe, prepared, out, "random")
    assert (out / "part-1/best.weights.h5").stat().st_mtime_ns == first
    assert best.read_bytes() == (out / "part-2/best.weights.h5").read_bytes()
    assert [(row["part"], row["epoch"]) for row in history_of(out / "history.csv")] == [("1", "0"), ("2", "0")]
    assert Recipe.model_validate_json((out / "recipe.json").read_text()) == recipe
    networks = []
    for number in (1, 2):
        networks.append(build(recipe.network))
        networks[-1].load_weights(out / f"part-{number}/best.weights.h5")
    frozen, learning = (network.get_layer("trunk").layers[1:4:2] for network in networks)
    assert isinstance(frozen[0], keras.layers.Conv2D)
    np.testing.assert_array_equal(frozen[0].get_weights()[0], learning[0].get_weights()[0])
    assert not same(*networks, "gender")
    with pytest.raises(RunError, match="holds a run of another recipe"):
        train(recipe.model_copy(update={"name": "other"}), prepared, out, "random")
