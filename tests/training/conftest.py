"""What the tests of training share: the tiny network by name, and a store that holds it, exported and calibrated."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import TEMPLATE
from tests.training import made
from training.datasets.base import Split


@pytest.fixture(autouse=True, scope="module")
def file_released(request: pytest.FixtureRequest) -> Iterator[None]:
    """Behind each file but the last its networks go, where Keras was imported."""
    yield
    if request.node is not request.session.items[-1].getparent(pytest.Module) and (keras := sys.modules.get("keras")):
        keras.backend.clear_session()  # which collects garbage, too


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Networks start alike in every run: Keras draws the seeds of what has none of its own from `random`."""
    random.seed(11)


@pytest.fixture(scope="session")
def architecture() -> Iterator[str]:
    """The tiny network among the ones that can be trained."""
    from training.models.architectures import registered

    with registered("tiny", made.tiny):
        yield "tiny"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small UTKFace: the astronaut in every split, two pictures of test without a face."""
    train = [(name, made.face_picture()) for age in (20, 40) for name in made.names(Split.TRAIN, 1, age)]
    validation = [
        (name, made.face_picture(shift))
        for shift, age in enumerate((25, 33, 41, 52))
        for name in made.names(Split.VALIDATION, 1, age, gender=shift % 2, race=shift)
    ]
    test = [
        (name, made.face_picture(shift))
        for shift, age in enumerate((5, 35, 45, 60, 85))
        for name in made.names(Split.TEST, 1, age, gender=shift % 2, race=shift)
    ]
    unseen = [(name, made.black()) for name in made.names(Split.TEST, 2, 70, gender=0, race=4)]
    broken = [("39_1_20170116174525125.jpg.chip.jpg", made.face_picture())]
    return made.folder_of(tmp_path_factory.mktemp("data") / "UTKFace", train + validation + test + unseen + broken)


@pytest.fixture(scope="session")
def run(architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as `train` leaves it, of a tiny network whose batch statistics are those of no other."""
    import keras

    from training.models.heads import build
    from training.provenance import record_run

    folder = tmp_path_factory.mktemp("run")
    recipe = made.recipe()
    keras.utils.set_random_seed(3)
    network = build(recipe.network)
    random = np.random.default_rng(5)
    for variable in network.variables:
        if variable.name in ("moving_mean", "beta", "bias"):
            variable.assign(random.normal(0, 0.3, variable.shape))
        if variable.name in ("moving_variance", "gamma"):
            variable.assign(random.uniform(0.3, 2, variable.shape))
    network.save_weights(folder / "best.weights.h5")
    record_run(folder, recipe, folder, "random", None)
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    described = {"template": TEMPLATE, "sets": {"UTKFace": "UTKFace: non-commercial research."}}
    (folder / "prepare.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="session")
def store(run: Path, pictures: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with the detector and the tiny network, written by `export`, calibrated on `pictures`."""
    from training.datasets.prepare import read_report
    from training.export.export import export
    from training.recipe import Recipe

    folder = tmp_path_factory.mktemp("store")
    shutil.copytree(root / "model_store/centerface", folder / "centerface")
    recipe = Recipe.model_validate_json((run / "recipe.json").read_text())
    described = read_report(run)
    export(
        recipe,
        run / "best.weights.h5",
        described,
        root / "examples",
        made.detector(folder),
        folder,
        1,
        "2026-01-01",
        [pictures],
    )
    return folder
