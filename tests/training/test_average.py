"""The mean of runs' weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.average import average
from training.networks import build
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


def test_what_has_no_mean_is_refused(run: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="each run needs its share"):
        average([run, other], [1.0], tmp_path / "mean")
    recipe = (other / "recipe.json").read_text()
    (other / "recipe.json").write_text(recipe.replace('"head_units":16', '"head_units":8'))
    with pytest.raises(ValueError, match="the runs' networks differ"):
        average([run, other], [1.0, 1.0], tmp_path / "mean")
