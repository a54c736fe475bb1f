"""Schedules and optimizers: each rate by hand or as Keras has it, and each kept when a run is taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from tests.training import made
from training.fit.callbacks import history_of
from training.fit.optimizers import AdamIfFinite, AdamWIfFinite, SGDIfFinite, optimizer
from training.fit.schedules import WarmupCosine, rate, stopped
from training.fit.train import train
from training.recipe import ScheduleSection

LOSSES = [9, 8, 8.5, 8.1, 7, 7, 7.5, 6.9, 7, 7.1, 7.2, 7.3, 7.4, 6.8, 7]


def schedule(**changes: Any) -> ScheduleSection:
    return ScheduleSection.model_validate({"epochs": 40, "learning_rate": 0.8} | changes)


def rates(section: ScheduleSection, epochs: int) -> list[float]:
    return [rate(section, epoch, []) for epoch in range(epochs)]


def test_constant() -> None:
    assert rates(schedule(rate="constant"), 3) == [0.8] * 3


def test_step() -> None:
    assert rates(schedule(rate="step", steps=[[1, 0.5], [3, 0.25]]), 5) == [0.8, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": "step"},
        {"rate": "halving", "steps": [[1, 0.5]]},
        {"rate": "step", "steps": [[3, 0.5], [1, 0.2]]},
        {"rate": "step", "steps": [[1, 0]]},
    ],
)
def test_steps_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="epochs that rise, each with a rate above 0"):
        schedule(**wrong)


def test_halving() -> None:
    assert rates(schedule(rate="halving", rate_epochs=2), 6) == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]
    assert rates(schedule(rate="halving", rate_epochs=2, least_rate=0.3), 6) == [0.8, 0.8, 0.4, 0.4, 0.3, 0.3]


def test_inverse() -> None:
    np.testing.assert_allclose(rates(schedule(rate="inverse", rate_decay=0.5), 4), [0.8, 0.8 / 1.5, 0.4, 0.32])


class Model:
    """As much of a model as Keras's callbacks of epochs know."""

    def __init__(self) -> None:
        self.optimizer = keras.optimizers.SGD(0.8)
        self.stop_training = False


@pytest.mark.parametrize("patience", [1, 2, 3, 5])
def test_plateau_is_keras_own(patience: int) -> None:
    section = schedule(rate="plateau", rate_factor=0.1, rate_epochs=patience, least_rate=1e-3)
    callback = keras.callbacks.ReduceLROnPlateau(factor=0.1, patience=patience, min_delta=0, min_lr=1e-3)
    callback.set_model(Model())
    callback.on_train_begin()
    for epoch, loss in enumerate(LOSSES):
        assert rate(section, epoch, LOSSES[:epoch]) == pytest.approx(float(callback.model.optimizer.learning_rate), rel=1e-5)
        callback.on_epoch_end(epoch, {"val_loss": loss})


@pytest.mark.parametrize("patience", [1, 2, 3, 5])
def test_early_stopping_is_keras_own(patience: int) -> None:
    callback = keras.callbacks.EarlyStopping(patience=patience)
    callback.set_model(Model())
    callback.on_train_begin()
    for epoch, loss in enumerate(LOSSES):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        assert stopped(LOSSES[: epoch + 1], patience) is callback.model.stop_training
        if callback.model.stop_training:
            break
    assert callback.model.stop_training
    assert not stopped(LOSSES, 0)


@pytest.mark.parametrize(("name", "kind"), [("adamw", AdamWIfFinite), ("adam", AdamIfFinite), ("sgd", SGDIfFinite)])
def test_optimizers_take_keras_own_steps_and_skip_what_is_not_finite(name: str, kind: type) -> None:
    section = schedule(optimizer=name, rate="constant", ema_momentum=0, momentum=0.7, weight_decay=0.01)
    mine = optimizer(section, 4)
    assert type(mine) is kind
    own = {
        "adamw": lambda: keras.optimizers.AdamW(0.8, weight_decay=0.01, global_clipnorm=1.0),
        "adam": lambda: keras.optimizers.Adam(0.8, global_clipnorm=1.0),
        "sgd": lambda: keras.optimizers.SGD(0.8, momentum=0.7, global_clipnorm=1.0),
    }[name]()
    values = []
    for one in (mine, own):
        variable = keras.Variable([1.0, 2.0])
        for _ in range(3):
            one.apply([np.array([0.5, -3.0], np.float32)], [variable])
        values.append(variable.numpy())
    np.testing.assert_array_equal(*values)
    fresh, variable = optimizer(schedule(optimizer=name, rate="constant", weight_decay=0), 4), keras.Variable([1.0, 2.0])
    fresh.apply([np.array([np.nan, 1], np.float32)], [variable])
    np.testing.assert_array_equal(variable.numpy(), [1, 2])


def test_what_a_recipe_says_nothing_of_is_as_it_was() -> None:
    section = schedule()
    given = optimizer(section, 10)
    assert type(given) is AdamWIfFinite
    rate = given.get_config()["learning_rate"]
    assert rate["class_name"] == WarmupCosine.__name__
    assert rate["config"] == {"peak": 0.8, "warmup": 5, "steps": 400}
    assert (given.global_clipnorm, given.weight_decay, given.use_ema) == (1.0, 0.01, True)
    assert optimizer(schedule(clip_norm=0), 10).global_clipnorm is None


# Runs ------------------------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """What a test stops a run with."""


class PowerCut(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a run behind an epoch whose history is written and whose state is not: that of the epoch before is still there."""

    def __init__(self, state: Path, epoch: int) -> None:
        super().__init__()
        self.state, self.epoch, self.kept = state, epoch, b""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            self.state.write_bytes(self.kept)
            raise Interrupted
        self.kept = self.state.read_bytes()


class NoStep(keras.callbacks.Callback):  # type: ignore[misc]
    """Fails where a run takes a step."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        raise AssertionError("a run that has ended takes another step")


PLATEAU = {
    "epochs": 9,
    "optimizer": "sgd",
    "learning_rate": 1e-20,  # changes no weight, so that no validation loss is lower than the first
    "rate": "plateau",
    "rate_epochs": 1,
    "stop_epochs": 5,
    "ema_momentum": 0.0,
}


@pytest.mark.usefixtures("architecture")
def test_plateau_and_early_stopping_outlive_an_interruption(tmp_path: Path) -> None:
    """The rate falls behind every epoch but the first, and the run ends behind the sixth."""
    prepared = made.prepared(tmp_path / "prepared", train=16, validation=4)
    recipe = made.recipe(network={"outputs": ["gender"]}, schedule=PLATEAU)
    train(recipe, prepared, tmp_path / "whole", "random")
    run = tmp_path / "again"
    with pytest.raises(Interrupted):
        train(recipe, prepared, run, "random", callbacks=[PowerCut(run / "state.weights.h5", 3)])
    train(recipe, prepared, run, "random")
    train(recipe, prepared, run, "random", callbacks=[NoStep()])
    whole, again = (history_of(tmp_path / name / "history.csv") for name in ("whole", "again"))
    assert [row["epoch"] for row in again] == ["0", "1", "2", "3", "4", "5"]
    expected = 1e-20 * np.array([1, 1, 0.5, 0.25, 0.125, 0.0625])
    np.testing.assert_allclose([float(row["learning_rate"]) for row in again], expected, rtol=1e-5)
    for one, other in zip(whole, again, strict=True):
        assert float(one["loss"]) == pytest.approx(float(other["loss"]), rel=1e-3)
        assert one["learning_rate"] == other["learning_rate"]
