"""Teachers that see what their pupil sees: predictions of the very variants, mixed ones without labels, and their record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops
from pydantic import ValidationError

from service.models.store import file_digest
from tests.training import made
from training.datasets.base import UNKNOWN, Split
from training.datasets.prepared import load_prepared
from training.errors import TrainingError
from training.fit.batches import Batches
from training.fit.teacher_networks import TeacherNetwork
from training.fit.train import train
from training.models.heads import EMBEDDING, build
from training.provenance import of_run
from training.recipe import AugmentSection, Recipe

pytestmark = pytest.mark.usefixtures("architecture")

HEADS = ("age", "gender", "race")
TAUGHT: dict[str, Any] = {"loss": {"teacher_weight": 1.0, "teacher_sees": "variant"}}


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return made.prepared(tmp_path / "prepared", train=70, validation=10)


def batch(prepared: Path, teachers: list[TeacherNetwork], mix: float = 0.0) -> tuple[Any, dict[str, Any]]:
    data = load_prepared(prepared, Split.TRAIN)
    pixels, labels = Batches(data, HEADS, made.SIDE, 24, AugmentSection(mix=mix), seed=4, teachers=teachers)[1]
    return pixels, labels


def test_a_teacher_predicts_the_variants_of_a_batch(run: Path, prepared: Path) -> None:
    teacher = TeacherNetwork(run)
    pixels, labels = batch(prepared, [teacher])
    outputs = teacher.network(pixels, training=False)
    np.testing.assert_allclose(labels["race"][:, 1:], ops.softmax(outputs["race"]), atol=1e-5)
    np.testing.assert_allclose(labels["gender"][:, 1:], ops.sigmoid(outputs["gender"]), atol=1e-5)
    np.testing.assert_allclose(labels["age"][:, 1:], ops.softmax(outputs["age"]), atol=1e-5)
    plain, without = batch(prepared, [])
    np.testing.assert_array_equal(pixels, plain)
    for name in HEADS:
        np.testing.assert_array_equal(labels[name][:, 0], without[name])


def test_several_teachers_predict_their_mean(run: Path, prepared: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    one = TeacherNetwork(run)
    one.network.get_layer("race").bias.assign([5, 0, 0, 0, 0])
    one.network.save_weights(other / "best.weights.h5")
    both = [TeacherNetwork(run), TeacherNetwork(other)]
    each = [batch(prepared, [teacher])[1]["race"][:, 1:] for teacher in both]
    assert np.abs(each[0] - each[1]).max() > 0.01
    np.testing.assert_allclose(batch(prepared, both)[1]["race"][:, 1:], np.mean(each, axis=0), atol=1e-6)


def test_a_mixed_picture_has_the_teachers_prediction_alone(run: Path, prepared: Path) -> None:
    teacher = TeacherNetwork(run)
    pixels, labels = batch(prepared, [teacher], mix=0.5)
    plain, without = batch(prepared, [teacher])
    mixed = np.array([not np.array_equal(one, other) for one, other in zip(pixels, plain, strict=True)])
    assert 0.2 < mixed.mean() < 0.8
    for name in HEADS:
        np.testing.assert_array_equal(labels[name][mixed, 0], UNKNOWN)
        np.testing.assert_array_equal(labels[name][~mixed, 0], without[name][~mixed, 0])
    np.testing.assert_allclose(labels["race"][:, 1:], ops.softmax(teacher.network(pixels)["race"]), atol=1e-5)


def test_a_mixed_picture_has_no_face_embedding(run: Path, prepared: Path) -> None:
    np.save(prepared / "embeddings.npy", np.ones((80, 4), np.float16))
    data = load_prepared(prepared, Split.TRAIN, embeddings=True)
    batches = Batches(data, (*HEADS, EMBEDDING), made.SIDE, 24, AugmentSection(mix=0.5), teachers=[TeacherNetwork(run)])
    labels = batches[0][1]
    np.testing.assert_array_equal(labels[EMBEDDING].any(axis=1), labels["race"][:, 0] != UNKNOWN)
    assert 0.2 < labels[EMBEDDING].any(axis=1).mean() < 0.8
    assert data.embedding is not None
    assert data.embedding.all(), "those of the pictures stay"


def test_a_teacher_of_more_pixels_sees_them(run: Path, prepared: Path) -> None:
    """A pupil of half the side: its picture is the teacher's, reduced."""
    teacher = TeacherNetwork(run)
    data = load_prepared(prepared, Split.TRAIN)
    large = Batches(data, HEADS, made.SIDE, 8, AugmentSection(), teachers=[teacher])[0]
    small = Batches(data, HEADS, made.SIDE // 2, 8, AugmentSection(), teachers=[teacher])[0]
    assert small[0].shape[1:3] == (made.SIDE // 2, made.SIDE // 2)
    np.testing.assert_allclose(small[1]["race"], large[1]["race"], atol=1e-6)
    halves = large[0].reshape(8, made.SIDE // 2, 2, made.SIDE // 2, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(small[0], halves, atol=1 / 127)


def test_a_run_learns_from_a_teacher_and_records_it(run: Path, prepared: Path, tmp_path: Path) -> None:
    """A teacher that knows one race alone is believed against all labels."""
    sure = shutil.copytree(run, tmp_path / "sure")
    teacher = TeacherNetwork(run)
    teacher.network.get_layer("race").bias.assign([0, 0, 0, 30, 0])
    teacher.network.save_weights(sure / "best.weights.h5")
    recipe = made.recipe(**TAUGHT, augment={"mix": 0.5}, schedule={"epochs": 6})
    out = tmp_path / "pupil"
    train(recipe, prepared, out, "random", teachers=[sure])
    known = of_run(out)
    assert known is not None
    assert [one.weights for one in known.teachers] == [file_digest(sure / "best.weights.h5")]
    network = build(recipe.network)
    network.load_weights(out / "best.weights.h5")
    pixels, _ = Batches(load_prepared(prepared, Split.TRAIN), ("race",), made.SIDE, 70)[0]
    assert (ops.convert_to_numpy(network(pixels)["race"]).argmax(axis=1) == 3).mean() > 0.9

    with pytest.raises(TrainingError, match="holds a run that began with other weights"):
        train(recipe, prepared, out, "random", teachers=[run])


def test_a_recipe_and_its_teachers_go_together(run: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="teacher sees variants; name its run: --teacher"):
        train(made.recipe(**TAUGHT), prepared, tmp_path / "none", "random")
    with pytest.raises(TrainingError, match="has no teacher that sees variants"):
        train(made.recipe(), prepared, tmp_path / "unwanted", "random", teachers=[run])
    described = json.loads((run / "recipe.json").read_text())
    described["attributes"][2]["labels"].reverse()
    other = shutil.copytree(run, tmp_path / "other")
    (other / "recipe.json").write_text(json.dumps(described))
    with pytest.raises(TrainingError, match="does not learn race as the recipe does"):
        train(made.recipe(**TAUGHT), prepared, tmp_path / "other-labels", "random", teachers=[other])
    with pytest.raises(TrainingError, match="learn different attributes"):
        train(made.recipe(**TAUGHT), prepared, tmp_path / "two", "random", teachers=[run, other])
    assert sorted(path.parent.name for path in tmp_path.glob("*/best.weights.h5")) == ["other"]
    with pytest.raises(ValidationError, match="mix needs a teacher that sees the variant"):
        Recipe.model_validate(made.recipe().model_dump() | {"augment": {"mix": 0.1}})
