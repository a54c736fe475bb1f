"""Training: what a batch holds, how the optimizer steps, and a run that is interrupted and taken up again."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from tests.fakes import TEMPLATE
from tests.training import made
from training.artifacts import one_writer
from training.datasets.base import Split
from training.datasets.prepare import read_template
from training.datasets.prepared import load_prepared
from training.errors import DataSetError, Diverged, RunError, TrainingError
from training.fit.augmentation import resized
from training.fit.batches import Batches
from training.fit.callbacks import BestWeights, EpochSeeds, FiniteLoss, save_weights
from training.fit.losses import losses_and_metrics
from training.fit.optimizers import AdamWIfFinite, optimizer
from training.fit.schedules import WarmupCosine
from training.fit.train import identity_of, train
from training.fit.weight_averaging import average
from training.models.heads import build
from training.recipe import AugmentSection, Recipe

Arrays = list[np.ndarray[Any, Any]]
HEADS = ("age", "gender", "race")
STEPS = 4
"""Steps of an epoch of the runs below: 34 pictures by eight, the rest of which is left out."""

pytestmark = pytest.mark.usefixtures("architecture")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.prepared(tmp_path_factory.mktemp("train") / "prepared", train=34, validation=10)


# Batches ---------------------------------------------------------------------------------------------------------------


def test_plain_batches_are_the_pictures_in_order(prepared: Path) -> None:
    data = load_prepared(prepared, Split.VALIDATION)
    batches = Batches(data, HEADS, made.SIDE, 8)
    assert len(batches) == 2
    pixels, labels = batches[1]
    assert (pixels.shape, pixels.dtype) == ((2, 32, 32, 3), np.float32)
    np.testing.assert_allclose(pixels[0], resized(data.crops[8], 32) / 127.5 - 1, atol=1e-6)
    for name, values in labels.items():
        np.testing.assert_array_equal(values, data.labels[name][8:])


def test_an_epoch_takes_every_picture_at_most_once_in_another_order(prepared: Path) -> None:
    batches = Batches(load_prepared(prepared, Split.TRAIN), HEADS, made.SIDE, 8, AugmentSection(), seed=1)
    assert len(batches) == STEPS
    rows = np.arange(34)
    batches.data = replace(batches.data, labels={name: rows.astype(np.float32) for name in ("age", "gender", "race")})
    orders = []
    for epoch in (0, 1):
        batches.epoch = epoch
        orders.append(np.concatenate([batches[i][1]["age"] for i in range(STEPS)]).tolist())
    assert all(len(set(order)) == 32 for order in orders)
    assert orders[0] != orders[1]


def test_a_batch_comes_from_seed_epoch_and_number_alone(prepared: Path) -> None:
    def batch(seed: int, epoch: int, index: int) -> np.ndarray[Any, Any]:
        batches = Batches(load_prepared(prepared, Split.TRAIN), HEADS, made.SIDE, 8, AugmentSection(), seed)
        batches.epoch = epoch
        pixels: np.ndarray[Any, Any] = batches[index][0]
        return pixels

    np.testing.assert_array_equal(batch(1, 2, 3), batch(1, 2, 3))
    for other in ((2, 2, 3), (1, 1, 3), (1, 2, 2)):
        assert not np.array_equal(batch(1, 2, 3), batch(*other))


def test_a_set_smaller_than_a_batch_is_one_batch(prepared: Path) -> None:
    batches = Batches(load_prepared(prepared, Split.VALIDATION), ("age",), made.SIDE, 64, AugmentSection())
    assert len(batches) == 1
    pixels, labels = batches[0]
    assert len(pixels) == 10
    assert set(labels) == {"age"}


# Optimizer -------------------------------------------------------------------------------------------------------------


def test_learning_rate_rises_and_falls() -> None:
    rate = WarmupCosine(peak=0.8, warmup=4, steps=12)
    values = [float(rate(step)) for step in range(14)]
    np.testing.assert_allclose(values[:5], [0.2, 0.4, 0.6, 0.8, 0.8], rtol=1e-6)
    assert values[6] == pytest.approx(0.4 * (1 + math.cos(math.pi / 4)), rel=1e-6)
    assert values[8] == pytest.approx(0.4, rel=1e-6)
    np.testing.assert_allclose(values[12:], 0, atol=1e-7)
    assert float(WarmupCosine(0.8, 0, 12)(0)) == pytest.approx(0.8)
    assert WarmupCosine.from_config(rate.get_config())(3) == rate(3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_skipped(bad: float) -> None:
    good, other = keras.Variable([1.0, 2.0]), keras.Variable([3.0])
    adamw = AdamWIfFinite(0.1, weight_decay=0.0, global_clipnorm=1.0)
    adamw.apply([np.array([0.5, bad], np.float32), np.array([0.5], np.float32)], [good, other])
    np.testing.assert_array_equal(good.numpy(), [1, 2])
    np.testing.assert_array_equal(other.numpy(), [3])
    adamw.apply([np.array([0.5, -0.5], np.float32), np.array([0.5], np.float32)], [good, other])
    assert all(np.isfinite(variable.numpy()).all() for variable in adamw.variables)
    assert good.numpy()[0] < 1
    assert good.numpy()[1] > 2
    assert other.numpy()[0] < 3


def test_a_finite_gradient_makes_adamw_own_step() -> None:
    steps = []
    for kind in (AdamWIfFinite, keras.optimizers.AdamW):
        variable = keras.Variable([1.0, 2.0])
        adamw = kind(0.1, weight_decay=0.01, global_clipnorm=1.0)
        for _ in range(3):
            adamw.apply([np.array([0.5, -3.0], np.float32)], [variable])
        steps.append(variable.numpy())
    np.testing.assert_array_equal(*steps)


def test_only_kernels_decay() -> None:
    network = build(made.recipe().network)
    adamw = optimizer(made.recipe().schedule, 1)
    adamw.build(network.trainable_variables)
    for variable in network.trainable_variables:
        variable.assign(np.ones(variable.shape, np.float32))
    adamw.apply([np.zeros(variable.shape, np.float32) for variable in network.trainable_variables])
    assert {variable.name for variable in network.trainable_variables if (variable.numpy() < 1).all()} == {"kernel"}
    assert all((variable.numpy() == 1).all() for variable in network.trainable_variables if variable.name != "kernel")


def test_slopes_of_rectifiers_do_not_decay() -> None:
    """They are no kernels: MobileFaceNet's PReLUs learn one for each channel."""
    network = build(made.recipe(network={"architecture": "mobilefacenet", "size": 62}).network)
    adamw = optimizer(made.recipe().schedule, 1)
    slopes = [variable for variable in network.trainable_variables if variable.name == "alpha"]
    adamw.build(slopes)
    for variable in slopes:
        variable.assign(np.ones(variable.shape, np.float32))
    adamw.apply([np.zeros(variable.shape, np.float32) for variable in slopes])
    assert slopes
    assert all((variable.numpy() == 1).all() for variable in slopes)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    FiniteLoss().on_train_batch_end(0, {"loss": 1.0})
    for loss in (math.nan, math.inf):
        with pytest.raises(Diverged, match="no longer finite"):
            FiniteLoss().on_train_batch_end(1, {"loss": loss})


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system takes no room in advance")
def test_a_full_disk_leaves_the_weights_of_before(tmp_path: Path) -> None:
    """HDF5 would write on, and fail in the destructors of its objects."""
    import resource

    path, network = tmp_path / "state.weights.h5", build(made.recipe().network)
    network.compile(optimizer(made.recipe().schedule, 1))
    network.optimizer.build(network.trainable_variables)
    save_weights(network, path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_weights(network, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_every_epoch_draws_anew_and_the_same_one_the_same(prepared: Path) -> None:
    network = build(made.recipe().network)
    batches = Batches(load_prepared(prepared, Split.TRAIN), HEADS, made.SIDE, 8, AugmentSection())
    seeds = EpochSeeds(batches)
    seeds.set_model(network)
    seeds.on_train_begin()
    inputs = np.random.default_rng(2).uniform(0, 255, (2, made.SIDE, made.SIDE, 3)).astype(np.float32)
    drawn = []
    for epoch in (0, 2, 0):
        seeds.on_epoch_begin(epoch)
        assert batches.epoch == epoch
        drawn.append(ops.convert_to_numpy(network(inputs, training=True)["race"]))
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize(
    ("split", "unknown", "message"),
    [
        ("train", ("race",), "no training picture has a label of race"),
        ("validation", HEADS, "no validation picture has a label of age, gender, race: no epoch"),
    ],
)
def test_what_no_label_teaches_or_measures_is_refused(
    split: str, unknown: Sequence[str], message: str, prepared: Path, tmp_path: Path
) -> None:
    """Without, a head stayed as random as it began, or the first epoch was the best one."""
    folder = shutil.copytree(prepared, tmp_path / "prepared")
    with np.load(folder / "faces.npz") as table:
        labels = dict(table)
    for name in unknown:
        labels[name] = np.where(labels["split"] == split, -1, labels[name])
    np.savez(folder / "faces.npz", **labels)
    with pytest.raises(DataSetError, match=message):
        train(made.recipe(), folder, tmp_path / "run", "random")
    if split == "train":
        np.savez(folder / "teacher.npz", race=np.full((44, 5), 0.2))
        taught = made.recipe(loss={"teacher_weight": 0.5}, schedule={"epochs": 1})
        with pytest.raises(Interrupted):
            train(taught, folder, tmp_path / "taught", "random", callbacks=[InterruptedStart()])


def test_ages_that_the_head_does_not_know_are_no_labels(prepared: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(prepared, tmp_path / "prepared")
    with np.load(folder / "faces.npz") as table:
        np.savez(folder / "faces.npz", **(dict(table) | {"age": np.full(44, 90)}))
    young = {"outputs": ["age"], "age": {"last": 60, "outside": "unknown"}}
    with pytest.raises(DataSetError, match="no training picture has a label of age"):
        train(made.recipe(network=young), folder, tmp_path / "run", "random")


def test_crops_that_are_too_small_are_said(prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The defaults of `prepare` and `train` are 160 and 192 pixels."""
    caplog.set_level("INFO", "training")
    said = []
    for size in (40, 48):
        recipe = made.recipe(network={"size": size}, schedule={"epochs": 1})
        with pytest.raises(Interrupted):
            train(recipe, prepared, tmp_path / str(size), "random", callbacks=[InterruptedStart()])
        said.append([one.getMessage() for one in caplog.records if one.name.startswith("training")])
    assert said == [[], ["crops of 40 pixels are enlarged to 48; prepare --size 48 cuts sharper ones"]]


def test_labels_that_no_training_picture_has_are_said(prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A set of women alone gives a model that calls everybody a woman, and a validation by which it is always right."""
    folder = shutil.copytree(prepared, tmp_path / "prepared")
    with np.load(folder / "faces.npz") as table:
        columns = {**table, "gender": np.ones(44, int), "race": np.where(table["race"] == 3, -1, table["race"] % 3)}
    np.savez(folder / "faces.npz", **columns)
    caplog.set_level("INFO", "training")
    with pytest.raises(Interrupted):
        train(made.recipe(), folder, tmp_path / "run", "random", callbacks=[InterruptedStart()])
    assert [one.getMessage() for one in caplog.records if one.name.startswith("training")] == [
        "no training picture has the gender male: nothing teaches the network to answer so",
        "no training picture has the race indian or other: nothing teaches the network to answer so",
    ]


# Runs ------------------------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """What a test stops a run with; like Ctrl+C, nothing catches it."""


@dataclass
class Watched:
    """A run, the weights at the end of each of its epochs as they were and as they were averaged, and what it was fed."""

    out: Path
    raw: list[Arrays] = field(default_factory=list)
    averaged: list[Arrays] = field(default_factory=list)

    def history(self) -> list[dict[str, str]]:
        with (self.out / "history.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def best(self, recipe: Recipe) -> keras.Model:
        network = build(recipe.network)
        network.load_weights(self.out / "best.weights.h5")
        return network


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes the weights of each epoch: the averaged ones, which validation is given, and those that training goes on with."""

    def __init__(self, watched: Watched) -> None:
        super().__init__()
        self.watched = watched

    def on_test_begin(self, logs: Any = None) -> None:
        self.watched.averaged.append(self.weights())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.watched.raw.append(self.weights())

    def weights(self) -> Arrays:
        return [variable.numpy() for variable in self.model.trainable_variables]


class InterruptedStart(keras.callbacks.Callback):  # type: ignore[misc]
    """Stops a run before its first step, for which a network is compiled: all that is checked of it has passed."""

    def on_train_begin(self, logs: Any = None) -> None:
        raise Interrupted


class InterruptedStep(keras.callbacks.Callback):  # type: ignore[misc]
    """Stops a run at one of its steps."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise Interrupted


class InterruptedEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Stops a run behind one of its epochs, and keeps the state of the epoch before it."""

    def __init__(self, epoch: int, out: Path, kept: Path) -> None:
        super().__init__()
        self.epoch, self.state, self.kept = epoch, out / "state.weights.h5", kept

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise Interrupted
        shutil.copyfile(self.state, self.kept)


RECIPE = made.recipe(network={"outputs": ["age", "gender"]})  # with augmentation, dropout and averaging


@pytest.fixture(scope="module")
def whole(architecture: str, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A run that nothing interrupts."""
    watched = Watched(tmp_path_factory.mktemp("whole"))
    train(RECIPE, prepared, watched.out, "random", callbacks=[Watch(watched)])
    return watched


def test_history_has_every_epoch_once(whole: Watched) -> None:
    rows = whole.history()
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert {"loss", "val_loss", "age_mae", "val_age_mae", "val_gender_accuracy"} <= set(rows[0])
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    assert all(float(row["pictures_per_second"]) > 0 for row in rows)


def test_best_weights_are_the_averaged_ones_of_the_best_epoch(whole: Watched, prepared: Path) -> None:
    losses = [float(row["val_loss"]) for row in whole.history()]
    epoch = int(np.argmin(losses))
    best = [variable.numpy() for variable in whole.best(RECIPE).trainable_variables]
    for kept, averaged in zip(best, whole.averaged[epoch], strict=True):
        np.testing.assert_allclose(kept, averaged, atol=1e-6)
    assert max(np.abs(kept - raw).max() for kept, raw in zip(best, whole.raw[epoch], strict=True)) > 1e-3
    network = whole.best(RECIPE)
    terms, weights, metrics = losses_and_metrics(RECIPE.loss, RECIPE.network.outputs)
    network.compile(loss=terms, loss_weights=weights, metrics=metrics)
    given = network.evaluate(
        Batches(load_prepared(prepared, Split.VALIDATION), RECIPE.network.outputs, made.SIDE, 8), verbose=0, return_dict=True
    )
    assert given["loss"] == pytest.approx(losses[epoch], rel=1e-4)


def test_average_is_the_running_mean_of_the_weights(prepared: Path) -> None:
    variable = keras.Variable([1.0])
    averaging = optimizer(made.recipe(schedule={"ema_momentum": 0.9, "weight_decay": 0.0}).schedule, STEPS)
    expected = 0.0
    for step in range(5):
        averaging.apply([np.array([0.3], np.float32)], [variable])
        momentum = 0.9 if step else 0.0  # it starts where the first step leads
        expected = momentum * expected + (1 - momentum) * float(variable.numpy()[0])
    averaging.finalize_variable_values([variable])
    assert float(variable.numpy()[0]) == pytest.approx(expected, rel=1e-6)


def test_a_finished_run_leaves_weights_history_and_recipe(whole: Watched, prepared: Path) -> None:
    assert {path.name for path in whole.out.iterdir()} == {
        "beginning.json",
        "best.weights.h5",
        "history.csv",
        "recipe.json",
        "provenance.json",
        "logs",
    }
    assert Recipe.model_validate_json((whole.out / "recipe.json").read_text()) == RECIPE
    before = (whole.out / "best.weights.h5").stat().st_mtime_ns
    assert train(RECIPE, prepared, whole.out, "random") == whole.out / "best.weights.h5"
    assert (whole.out / "best.weights.h5").stat().st_mtime_ns == before


def test_a_run_goes_on_from_a_whole_network(whole: Watched, prepared: Path, tmp_path: Path) -> None:
    """With next to no learning rate, what comes out is what went in, heads included; without `start` it is not."""
    still = made.recipe(network={"outputs": ["age", "gender"]}, schedule={"learning_rate": 1e-12, "epochs": 1})
    for start, same in ((whole.out / "best.weights.h5", True), (None, False)):
        run = Watched(tmp_path / str(same))
        train(still, prepared, run.out, "random", start)
        trained = run.best(still).trainable_variables
        kept = [np.allclose(a, b, atol=1e-5) for a, b in zip(trained, whole.best(RECIPE).trainable_variables, strict=True)]
        assert all(kept) is same


def test_an_interrupted_run_ends_as_an_uninterrupted_one(whole: Watched, prepared: Path, tmp_path: Path) -> None:
    """Stopped within the second epoch, then after the last was logged and before its state was written.

    The weights agree to 1e-5, their own size being about 0.1: TensorFlow's threads may add up in another order.
    """
    out, kept = Watched(tmp_path / "run"), tmp_path / "state.weights.h5"
    with pytest.raises(Interrupted):
        train(RECIPE, prepared, out.out, "random", callbacks=[InterruptedStep(STEPS + 2)])
    assert [row["epoch"] for row in out.history()] == ["0"]
    with pytest.raises(Interrupted):
        train(RECIPE, prepared, out.out, "random", callbacks=[InterruptedEpoch(2, out.out, kept)])
    kept.replace(out.out / "state.weights.h5")  # what a run leaves that is killed before the last epoch's state is written
    assert [row["epoch"] for row in out.history()] == ["0", "1", "2"]
    train(RECIPE, prepared, out.out, "random")

    rows = list(zip(out.history(), whole.history(), strict=True))
    assert [one["epoch"] for one, _ in rows] == ["0", "1", "2"]
    for one, other in rows:
        for name, value in other.items():
            if name in ("pictures_per_second", "cpu_seconds"):  # no two runs are equally quick
                continue
            assert float(one[name]) == pytest.approx(float(value), rel=1e-3), name
    for mine, other in zip(out.best(RECIPE).weights, whole.best(RECIPE).weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=1e-5, err_msg=mine.path)


def test_taking_up_keeps_better_weights_of_before(tmp_path: Path) -> None:
    network = build(RECIPE.network)
    keeper = BestWeights(tmp_path / "best.weights.h5", least=2.0)
    keeper.set_model(network)
    keeper.on_test_end({"loss": 2.5})
    assert not (tmp_path / "best.weights.h5").exists()
    keeper.on_test_end({"loss": 1.5})
    written = (tmp_path / "best.weights.h5").stat().st_mtime_ns
    keeper.on_test_end({"loss": 1.7})
    assert (tmp_path / "best.weights.h5").stat().st_mtime_ns == written


def test_a_folder_belongs_to_one_recipe(whole: Watched, prepared: Path) -> None:
    with pytest.raises(TrainingError, match="holds a run of another recipe"):
        train(made.recipe(schedule={"seed": 2}), prepared, whole.out, "random")


def test_a_folder_belongs_to_one_beginning(whole: Watched, prepared: Path, tmp_path: Path) -> None:
    """A run never goes on from other weights than it says, and the same command that is done does not say that it obeyed."""
    start = whole.out / "best.weights.h5"
    with pytest.raises(Interrupted):
        train(RECIPE, prepared, tmp_path / "run", "random", start, callbacks=[InterruptedStep(STEPS + 2)])
    for out, other in ((tmp_path / "run", None), (whole.out, start)):
        with pytest.raises(TrainingError, match="holds a run that began with other weights"):
            train(RECIPE, prepared, out, "random", other)


def test_a_folder_belongs_to_crops_of_one_detector_template_and_size(tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", train=34, validation=10)
    report = {"sets": {}, "template": TEMPLATE, "size": 40, "detector": "centerface/2"}
    (folder / "prepare.json").write_text(json.dumps(report))
    with pytest.raises(Interrupted):
        train(RECIPE, folder, tmp_path / "run", "random", callbacks=[InterruptedStep(STEPS + 2)])
    for other in ({"template": TEMPLATE[::-1]}, {"size": 48}, {"detector": "mtcnn/2"}):
        (folder / "prepare.json").write_text(json.dumps(report | other))
        with pytest.raises(TrainingError, match="holds a run that learnt crops of another detector, landmark template or size"):
            train(RECIPE, folder, tmp_path / "run", "random")
    (tmp_path / "run/beginning.json").write_text(json.dumps({"initial": "random"}))  # as runs of before have it
    (folder / "prepare.json").write_text(json.dumps(report | {"size": 48}))
    with pytest.raises(TrainingError, match="holds a run that learnt crops of another landmark template or size"):
        train(RECIPE, folder, tmp_path / "run", "random")
    np.testing.assert_allclose(read_template(tmp_path / "run/prepare.json"), TEMPLATE, atol=1e-6)


def test_crops_are_told_apart_by_what_cut_them(prepared: Path, tmp_path: Path) -> None:
    """So a search and a comparison notice other ones; a `prepare.json` of before, without a detector, does not say."""
    folder = shutil.copytree(prepared, tmp_path / "prepared")
    bare = identity_of(RECIPE, folder)
    report = {"sets": {}, "template": TEMPLATE, "size": 40}
    found = []
    for more in ({}, {"detector": "centerface/2"}, {"detector": "mtcnn/2"}, {"detector": "mtcnn/2", "size": 48}):
        (folder / "prepare.json").write_text(json.dumps(report | more))
        found.append(identity_of(RECIPE, folder))
    assert found[0] == bare
    assert all(one.items() >= bare.items() for one in found)
    assert len({one.get("crops") for one in found}) == 4


@pytest.mark.parametrize("train_pictures", [17, 100])
def test_a_run_goes_on_with_as_many_pictures_as_it_began(prepared: Path, train_pictures: int, tmp_path: Path) -> None:
    """Half as many pictures made two epochs four, and twice as many one: epochs were skipped, or trained twice."""
    with pytest.raises(Interrupted):
        train(RECIPE, prepared, tmp_path / "run", "random", callbacks=[InterruptedStep(2 * STEPS + 1)])
    other = made.prepared(tmp_path / "prepared", train=train_pictures, validation=10)
    with pytest.raises(TrainingError, match="holds a run that learnt another number of pictures"):
        train(RECIPE, other, tmp_path / "run", "random")
    (tmp_path / "run/beginning.json").write_text(json.dumps({"initial": "random"}))  # as runs of before have it
    with pytest.raises(TrainingError, match="holds a run that learnt another number of pictures; choose another folder"):
        train(RECIPE, other, tmp_path / "run", "random")


def test_a_folder_belongs_to_one_set_of_pictures_and_labels(whole: Watched, prepared: Path, tmp_path: Path) -> None:
    """The same command behind another `prepare` said that it was done, and had learnt nothing of it."""
    more = made.prepared(tmp_path / "more", train=100, validation=10)
    with pytest.raises(RunError, match="learnt another number of pictures than there is now; choose another folder"):
        train(RECIPE, more, whole.out, "random")
    mended = shutil.copytree(prepared, tmp_path / "mended")
    with np.load(mended / "faces.npz") as table:
        columns = {**table, "gender": 1 - table["gender"]}
    np.savez(mended / "faces.npz", **columns)
    with pytest.raises(RunError, match="learnt other pictures or labels than there are now; choose another folder"):
        train(RECIPE, mended, whole.out, "random")


def test_what_a_run_does_not_learn_may_change(tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", train=34, validation=10)
    recipe = made.recipe(network={"outputs": ["gender"]}, schedule={"epochs": 1})
    best = train(recipe, folder, tmp_path / "run", "random")
    with np.load(folder / "faces.npz") as table:
        longer = {name: np.concatenate([values, values]) for name, values in table.items()}
    longer["set"] = np.repeat(["UTKFace", "a set of a longer name"], 44)
    np.savez(folder / "faces.npz", **longer | {"age": longer["age"] + 1})
    assert train(recipe, folder, tmp_path / "run", "random") == best


def test_a_run_goes_on_with_the_teacher_that_it_began_with(tmp_path: Path) -> None:
    """One that `distill` wrote since taught the rest of the epochs, and was recorded as that of all."""
    folder = made.prepared(tmp_path / "prepared", train=34, validation=10)
    np.savez(folder / "teacher.npz", race=np.full((44, 5), 0.2))
    recipe = made.recipe(network={"outputs": ["race"]}, loss={"teacher_weight": 0.5}, schedule={"epochs": 2})
    for name in ("run", "before"):
        with pytest.raises(Interrupted):
            train(recipe, folder, tmp_path / name, "random", callbacks=[InterruptedStep(STEPS + 2)])
    (tmp_path / "before/beginning.json").write_text(json.dumps({"initial": "random"}))
    np.savez(folder / "teacher.npz", race=np.full((44, 5), 0.1))
    with pytest.raises(RunError, match=r"holds a run that learnt another teacher\.npz than there is now"):
        train(recipe, folder, tmp_path / "run", "random")
    with pytest.raises(Interrupted):  # what a run of before does not say is of no matter
        train(recipe, folder, tmp_path / "before", "random", callbacks=[InterruptedStart()])


def test_a_run_in_parts_that_learnt_nothing_yet_keeps_no_recipe(prepared: Path, tmp_path: Path) -> None:
    wrong = made.recipe(data={"train": ["Village"]}, schedule={"epochs": 1, "parts": 2})
    with pytest.raises(DataSetError, match="no train picture of Village"):
        train(wrong, prepared, tmp_path / "run", "random")
    right = made.recipe(schedule={"epochs": 1, "parts": 2})
    with pytest.raises(Interrupted):
        train(right, prepared, tmp_path / "run", "random", callbacks=[InterruptedStart()])


def test_two_commands_never_train_in_one_folder(prepared: Path, tmp_path: Path) -> None:
    with one_writer(tmp_path / "run"), pytest.raises(BlockingIOError, match="another command is writing there"):
        train(RECIPE, prepared, tmp_path / "run", "random")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_takes_no_place_of_a_mean(whole: Watched, prepared: Path, tmp_path: Path) -> None:
    mean = average([whole.out], [1.0], tmp_path / "mean")
    before = mean.read_bytes()
    with pytest.raises(TrainingError, match="holds weights that `average` or `reopen` wrote"):
        train(RECIPE, prepared, tmp_path / "mean", "random", mean)
    assert mean.read_bytes() == before


def test_a_few_pictures_are_learnt_by_heart(tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", train=128, validation=8, kinds=8)
    recipe = made.recipe(
        network={"dropout": 0.0, "head_units": 64},
        schedule={"epochs": 6, "ema_momentum": 0.0, "weight_decay": 0.0},
        loss={"label_smoothing": 0.0},
        augment=dict.fromkeys(AugmentSection.model_fields, 0.0),
    )
    run = Watched(tmp_path / "run")
    train(recipe, folder, run.out, "random")
    best = min(run.history(), key=lambda row: float(row["val_loss"]))
    assert float(best["val_gender_accuracy"]) == 1
    assert float(best["val_race_accuracy"]) == 1
    assert float(best["val_age_mae"]) < 5
