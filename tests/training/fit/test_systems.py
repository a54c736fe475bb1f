"""The recipes: each is read, and builds the network that it is meant to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.vision.quality import BLURRED
from tests.training import made
from tests.training.models.test_architectures import trunk
from training.fit.callbacks import history_of
from training.fit.train import train
from training.models.heads import ARCHITECTURES, assemble
from training.recipe import Recipe, load_recipe

FOLDER = Path(__file__).resolve().parents[3] / "training/recipes"
RECIPES = {path.stem: path for path in sorted(FOLDER.rglob("*.toml"))}
SYSTEMS = {
    "inception-utkface": {"age": 1, "gender": 1, "race": 5},
    "own-cnn": {"age": 1, "gender": 1, "race": 5},
    "xception-frozen": {"age": 1, "gender": 1, "race": 5},
    "facenet-exact": {"age": 63, "gender": 1, "race": 5},
    "facenet-bins": {"age": 9, "gender": 1, "race": 5},
    "mobilefacenet-celeba": {"gender": 2},
    "mobilefacenet-asian": {"age": 48, "gender": 2},
    "base-cnn": {"age": 102, "gender": 1},
    "d-cnn-imdb-wiki": {"age": 102, "gender": 1},
    "d-cnn-kl-g3": {"age": 102, "gender": 1},
    "d-cnn-focal": {"age": 102, "gender": 1},
    "m-cnn": {"age": 102, "gender": 1},
    "separable-5-bins": {"age": 5, "gender": 1},
    "separable-regression": {"age": 1},
}


def test_every_recipe_of_a_system_is_known_here() -> None:
    assert {path.stem for path in (FOLDER / "systems").glob("*.toml")} == set(SYSTEMS)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_read_and_follows_one_that_is_there(name: str) -> None:
    recipe = load_recipe(RECIPES[name])
    assert recipe.name == name
    assert recipe.follows in ("", *RECIPES)
    assert recipe.network.architecture in ARCHITECTURES
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_recipe_builds_its_network(name: str) -> None:
    recipe = load_recipe(RECIPES[name])
    given = trunk(recipe.network.architecture)
    if recipe.network.size != given.input.shape[1]:
        given = ARCHITECTURES[recipe.network.architecture](recipe.network.size, "random")
    network = assemble(given, recipe.network, recipe.network.dropout)
    assert {head: output.shape[-1] for head, output in network.output.items()} == SYSTEMS[name]


def test_what_was_published_of_the_systems() -> None:
    """Elements of the published recipes, each in its recipe."""
    recipes = {name: load_recipe(RECIPES[name]) for name in SYSTEMS}
    inception, xception = recipes["inception-utkface"], recipes["xception-frozen"]
    assert (inception.transfer.frozen_layers, xception.transfer.frozen_layers) == (52, "all")
    assert (inception.schedule.parts, inception.schedule.stop_epochs, inception.schedule.rate) == (4, 5, "plateau")
    assert (inception.loss.age_error, inception.loss.age_error_weight) == ("squared", 1)
    assert recipes["facenet-bins"].transfer.replaced == ("age",)
    asian = recipes["mobilefacenet-asian"]
    assert (asian.network.size, asian.schedule.batch_size, asian.schedule.learning_rate) == (62, 128, 0.01)
    assert (asian.data.min_face_px, asian.data.min_sharpness) == (32, BLURRED)
    assert asian.balance.groups is not None
    assert [phase.step for phase in asian.balance.groups.phases] == [0, 560_000]
    ranges = recipes["separable-regression"].augment
    assert (ranges.rotation_range, ranges.shift_range, ranges.zoom_range) == (30, 0.2, 0.5)
    assert (ranges.brightness, ranges.flip, ranges.rotation, ranges.shift, ranges.scale) == (0.4, 0.5, 0, 0, 0)
    light = recipes["d-cnn-kl-g3"]
    assert (light.network.size, light.loss.age_divergence, light.loss.age_gap) == (160, "kl", 3)
    assert (light.schedule.batch_size, light.schedule.epochs, light.schedule.rate_factor) == (512, 100, 0.1)
    assert (light.schedule.rate_epochs, light.schedule.least_rate) == (10, 1e-5)
    assert recipes["d-cnn-focal"].loss.age_divergence == "focal"
    bins = recipes["separable-5-bins"]
    assert (bins.network.size, bins.schedule.batch_size, dict(bins.schedule.steps)[22]) == (198, 32, 0.002)
    halved = [0.008 / 2 ** (epoch // 5) for epoch in range(22)] + [0.002 / 2 ** (epoch // 5) for epoch in range(22)]
    from training.fit.schedules import rate

    np.testing.assert_allclose([rate(bins.schedule, epoch, []) for epoch in range(44)], halved)
    assert recipes["separable-regression"].schedule.rate == "inverse"


@pytest.mark.usefixtures("architecture")
@pytest.mark.parametrize("name", ["xception-frozen", "mobilefacenet-asian", "d-cnn-kl-g3", "d-cnn-focal", "separable-5-bins"])
def test_a_recipe_trains(name: str, tmp_path: Path) -> None:
    """One epoch by a recipe's own settings, but of the tiny trunk on a few small pictures of one set."""
    recipe = load_recipe(RECIPES[name])
    small: dict[str, Any] = recipe.model_dump()
    small["network"] |= {"architecture": "tiny", "size": made.SIDE, "head_units": 8}
    small["data"], small["balance"] = {}, {}  # batches composed of several sets have tests of their own
    small["schedule"] |= {"epochs": 1, "batch_size": 8, "parts": min(2, recipe.schedule.parts)}
    prepared = made.prepared(tmp_path / "prepared", train=16, validation=4)
    out = tmp_path / "run"
    assert train(Recipe.model_validate(small), prepared, out, "random").exists()
    rows = history_of(out / "history.csv")
    assert np.isfinite([float(row["val_loss"]) for row in rows]).all()
    assert float(rows[0]["learning_rate"]) == pytest.approx(recipe.schedule.learning_rate)
