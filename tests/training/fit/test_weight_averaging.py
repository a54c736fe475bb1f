"""The mean of runs' weights."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.training import made
from training.datasets.prepare import read_report
from training.errors import TrainingError
from training.fit.weight_averaging import average
from training.models.architectures import registered
from training.models.heads import STATE, TRUNK, build
from training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("architecture")


@pytest.fixture
def other(run: Path, tmp_path: Path) -> Path:
    """A second run, whose weights are three times those of the first."""
    folder = shutil.copytree(run, tmp_path / "other")
    network = loaded(run)
    network.set_weights([3 * weight for weight in network.get_weights()])
    network.save_weights(folder / "best.weights.h5")
    return folder


def loaded(run: Path) -> Any:
    network = build(Recipe.model_validate_json((run / "recipe.json").read_text()).network)
    network.load_weights(run / "best.weights.h5")
    return network


@pytest.mark.parametrize(("shares", "factor"), [((1.0, 1.0), 2.0), ((3.0, 1.0), 1.5), ((0.25, 0.75), 2.5)])
def test_mean_is_weighted(run: Path, other: Path, shares: tuple[float, float], factor: float, tmp_path: Path) -> None:
    average([run, other], shares, tmp_path / "mean")
    for mean, first in zip(loaded(tmp_path / "mean").get_weights(), loaded(run).get_weights(), strict=True):
        np.testing.assert_allclose(mean, factor * first, rtol=1e-5, atol=1e-6)


def test_a_mean_has_the_licences_of_all_sets(run: Path, other: Path, tmp_path: Path) -> None:
    described = json.loads((other / "prepare.json").read_text())
    (other / "prepare.json").write_text(json.dumps(described | {"sets": {"AgeDB": "AgeDB: research."}}))
    average([run, other], [1.0, 1.0], tmp_path / "mean")
    report = read_report(tmp_path / "mean")
    assert report.sets == described["sets"] | {"AgeDB": "AgeDB: research."}
    assert report.template == read_report(run).template


def test_weights_of_an_interrupted_run_are_said_to_be_such(
    run: Path, other: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here of a mean; `train --start`, `--teacher`, `distill` and `export` read weights by the same function."""
    caplog.set_level("INFO", "training")
    average([run, other], [1.0, 1.0], tmp_path / "whole")
    assert not caplog.messages
    (other / STATE).touch()
    average([run, other], [1.0, 1.0], tmp_path / "mean")
    (said,) = caplog.messages
    assert said.startswith(f"not finished: {other} holds the best weights of an interrupted run")


def test_what_has_no_mean_is_refused(run: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="each run needs its share"):
        average([run, other], [1.0], tmp_path / "mean")
    for shares in ([math.nan, 1.0], [-1.0, 2.0]):
        with pytest.raises(TrainingError, match="each run needs its share"):
            average([run, other], shares, tmp_path / "mean")
    recipe = (other / "recipe.json").read_text()
    (other / "recipe.json").write_text(recipe.replace('"head_units":16', '"head_units":8'))
    with pytest.raises(TrainingError, match="the runs' networks differ"):
        average([run, other], [1.0, 1.0], tmp_path / "mean")
    (other / "recipe.json").write_text(recipe)
    described = json.loads((other / "prepare.json").read_text())
    (other / "prepare.json").write_text(json.dumps(described | {"template": described["template"][::-1]}))
    with pytest.raises(TrainingError, match="crops of different landmark templates"):
        average([run, other], [1.0, 1.0], tmp_path / "mean")
    (other / "prepare.json").unlink()  # one of a run from before it was kept
    larger = Recipe.model_validate_json(recipe.replace(f'"size":{made.SIDE}', f'"size":{2 * made.SIDE}'))
    (other / "recipe.json").write_text(larger.model_dump_json())
    build(larger.network).save_weights(other / "best.weights.h5")
    with pytest.raises(TrainingError, match="other shapes"):  # this network's weights depend on the size
        average([run, other], [1.0, 1.0], tmp_path / "mean")


def test_a_mean_takes_no_place_of_a_run(run: Path, other: Path, tmp_path: Path) -> None:
    before = (other / "best.weights.h5").read_bytes()
    with pytest.raises(TrainingError, match="is one of the runs"):
        average([run, other], [1.0, 1.0], other)
    (other / "history.csv").write_text("epoch,val_loss\n0,1.5\n")
    with pytest.raises(TrainingError, match="holds a training run"):
        average([run], [1.0], other)
    assert (other / "best.weights.h5").read_bytes() == before


def test_runs_at_several_sizes_have_a_mean_where_their_weights_are_alike(tmp_path: Path) -> None:
    def pooled(size: int, init: str) -> Any:
        trunk = made.tiny(size, init)
        return keras.Model(trunk.input, layers.GlobalAveragePooling2D()(trunk.layers[-2].output), name=TRUNK)

    with registered("pooled", pooled):
        runs = []
        for size, value in ((48, 1.0), (64, 3.0)):
            recipe = made.recipe(network={"architecture": "pooled", "size": size})
            runs.append(tmp_path / str(size))
            runs[-1].mkdir()
            network = build(recipe.network)
            network.set_weights([np.full_like(weight, value) for weight in network.get_weights()])
            network.save_weights(runs[-1] / "best.weights.h5")
            (runs[-1] / "recipe.json").write_text(recipe.model_dump_json())
        average(runs, [1, 1], tmp_path / "mean")
        assert json.loads((tmp_path / "mean/recipe.json").read_text())["network"]["size"] == 64
        assert all((np.asarray(weight) == 2).all() for weight in loaded(tmp_path / "mean").get_weights())
