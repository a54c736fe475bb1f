"""Crops to trained weights: one `keras.Model.fit` that can be stopped and taken up again."""

from __future__ import annotations

import csv
import importlib.util
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from training.datasets.base import Prepared, Split, Wanted, load_prepared
from training.fit.augmentation import augmented, resized
from training.fit.batch_composition import Composition
from training.fit.losses import losses_and_metrics
from training.fit.optimizers import optimizer
from training.fit.sampling import chances, draw, picture_weights
from training.fit.schedules import EarlyStop, EpochRate, losses_of, stopped
from training.fit.transfer import freeze, go_on_from
from training.models.heads import HINT, build, dtype_policy
from training.provenance import PROVENANCE, record_run
from training.recipe import AugmentSection, Recipe


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled, augmented batches of a training set, or plain ones in order where `augment` is None.

    Order and augmentation come from the seed, `epoch` and the batch's number alone, so that a run that is taken up again
    sees what it would have seen. Of a shuffled set, a last batch that is not full is left out, unless it is the only one.
    `outputs` names the labels. `recipe`, where it is given, may ask for other draws and weights (see `training.fit.sampling`
    and `training.fit.batch_composition`), and for fewer steps. An age that is known as a range is drawn from it anew each
    time; a plain batch has its middle."""

    def __init__(
        self,
        data: Prepared,
        outputs: Sequence[str],
        size: int,
        batch_size: int,
        augment: AugmentSection | None = None,
        seed: int = 0,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        self.data, self.outputs, self.size, self.batch_size = data, outputs, size, batch_size
        self.augment, self.seed, self.epoch = augment, seed, 0
        self.chances = None if recipe is None else chances(recipe, data)
        self.weights = {} if recipe is None else picture_weights(data, recipe.balance.class_weights)
        self.composition = None if recipe is None or recipe.balance.groups is None else Composition(recipe, data)
        self.most = 0 if recipe is None else recipe.schedule.epoch_steps

    def __len__(self) -> int:
        full, rest = divmod(len(self.data), self.batch_size)
        batches = full if rest == 0 or (self.augment and full) else full + 1
        return min(batches, self.most) if self.most else batches

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        chosen = slice(index * self.batch_size, (index + 1) * self.batch_size)
        if self.augment is None:
            rows = np.arange(len(self.data))[chosen]
            crops = [resized(self.data.crops[row], self.size) for row in rows]
        else:
            rows = self._drawn(index)
            random = np.random.default_rng([self.seed, self.epoch, index])
            crops = [augmented(self.data.crops[row], self.size, self.augment, random) for row in rows]
        labels = {name: self._labels(name, rows) for name in self.outputs}
        if self.augment is not None and "age" in labels:
            self._draw_ages(labels["age"], rows, random)
        pixels = np.stack(crops).astype(np.float32) / 127.5 - 1
        if not self.weights:
            return pixels, labels
        ones = np.ones(len(rows), np.float32)
        return pixels, labels, {name: self.weights[name][rows] if name in self.weights else ones for name in self.outputs}

    def _drawn(self, index: int) -> npt.NDArray[np.int64]:
        """Rows of a shuffled batch."""
        if self.composition is not None:
            return self.composition.rows(self.epoch * len(self) + index)
        random, count = np.random.default_rng([self.seed, self.epoch]), len(self.data)
        order = random.permutation(count) if self.chances is None else draw(self.chances, count, random)
        return order[index * self.batch_size : (index + 1) * self.batch_size]

    def _draw_ages(self, labels: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], random: np.random.Generator) -> None:
        """Put a whole year out of its range in the place of every age that is known as a range."""
        if self.data.ages is None:
            return
        low, high = self.data.ages[rows].T.astype(np.int64)
        wide = np.flatnonzero(high > low)
        if len(wide):
            years = random.integers(low[wide], high[wide] + 1)
            labels[(wide, 0) if labels.ndim > 1 else wide] = years

    def _labels(self, name: str, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Labels [B], or [B, 1 + K] with the teacher's answers behind them."""
        labels: npt.NDArray[np.float32] = getattr(self.data, name)[rows]
        if self.data.taught is None or name not in self.data.taught:
            return labels
        return np.concatenate([labels[:, np.newaxis], self.data.taught[name][rows]], axis=1)


class EpochSeeds(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets what is drawn in an epoch, batches and dropout's masks, by the epoch's number: no file holds the state of either."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    def on_train_begin(self, logs: Any = None) -> None:
        states = [variable for variable in self.model.variables if variable.name == "seed_generator_state"]
        self.states = [(state, ops.convert_to_numpy(state)) for state in states]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.epoch = epoch
        for state, first in self.states:
            state.assign(first + np.array([0, epoch * len(self.batches)], first.dtype))


class FiniteLoss(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a run whose loss is not a number: weights or moving statistics are lost, and the last state is still good."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise FloatingPointError("the loss is no longer finite; train again, more slowly, in another folder")


class BestWeights(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights that gave the least validation loss, where it is below `least`.

    Stands before `SwapEMAWeights`, which puts the averaged weights in when validation begins and takes them out when it ends.
    """

    def __init__(self, path: Path, least: float) -> None:
        super().__init__()
        self.path, self.least = path, least

    def on_test_end(self, logs: Any = None) -> None:
        if logs["loss"] < self.least:
            self.least = logs["loss"]
            _save(self.model, self.path)


class Throughput(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds what an epoch's training, without its validation, cost to the logs: `pictures`, `pictures_per_second`, and
    `cpu_seconds`, which all threads of the process spent on its steps.

    The first step of a run also builds the graph, which has nothing to do with the pictures: it counts as the mean of the
    epoch's others.
    """

    def __init__(self, pictures: int) -> None:
        super().__init__()
        self.pictures = pictures
        self.built = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()
        self.seconds = 0.0
        self.marks = [time.process_time()]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.marks.append(time.process_time())

    def on_test_begin(self, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self.began

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["pictures"] = self.pictures
        logs["pictures_per_second"] = self.pictures / (self.seconds or time.perf_counter() - self.began)
        steps = np.diff(self.marks)
        others = steps[1:] if not self.built and len(steps) > 1 else steps
        logs["cpu_seconds"] = float(others.mean() * len(steps))
        self.built = True


class History(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes `history.csv`, a line an epoch, after the `rows` of the epochs before."""

    def __init__(self, path: Path, rows: list[dict[str, str]]) -> None:
        super().__init__()
        self.path, self.rows = path, rows

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.rows.append({"epoch": str(epoch), **{name: str(float(logs[name])) for name in sorted(logs)}})
        _write(self.path, self.rows)


class State(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes weights and optimizer after every epoch; behind all that writes, so that what it holds is wholly done."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        _save(self.model, self.path)


def train(
    recipe: Recipe,
    prepared: Path,
    out: Path,
    init: str,
    start: Path | None = None,
    watchers: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Train by a recipe on what `prepare` wrote and return the weights file, `out/best.weights.h5`.

    Best is the smallest validation loss of the averaged weights. `out` also gets `history.csv`, `provenance.json`, TensorBoard
    logs where TensorFlow, whose writer they need, is installed, and, until the last epoch is done, the state from which the
    same call goes on after an interruption, as if there had been none: to rounding, where threads add up in another order.
    `start` is the weights file of a whole network to go on from, heads and
    all, at whatever input size it was trained. Of a split that is learnt in parts, each part is a run in a folder of its own,
    and `history.csv` names the part. `watchers` are told of every epoch after all else is done. Raises `ValueError` where `out`
    holds a run of another recipe.
    """
    parts = recipe.schedule.parts
    if parts == 1:
        return _run(recipe, prepared, out, init, start, watchers)
    out.mkdir(parents=True, exist_ok=True)
    runs = [out / f"part-{number + 1}" for number in range(parts)]
    _claim(out / "recipe.json", recipe, begun=runs[0].exists())
    for number, run in enumerate(runs):
        start = _run(recipe, prepared, run, init, start, watchers, number)
        recipe = recipe.model_copy(update={"transfer": recipe.transfer.model_copy(update={"replaced": ()})})
    rows = [{"part": str(number + 1), **row} for number, run in enumerate(runs) for row in history_of(run / "history.csv")]
    _write(out / "history.csv", rows)
    best = out / "best.weights.h5"
    for name in (best.name, PROVENANCE):
        shutil.copyfile(runs[-1] / name, out / name)
    return best


def _run(
    recipe: Recipe,
    prepared: Path,
    out: Path,
    init: str,
    start: Path | None,
    watchers: Sequence[keras.callbacks.Callback],
    part: int = 0,
) -> Path:
    """One run, on one of the recipe's parts of the training split."""
    out.mkdir(parents=True, exist_ok=True)
    best, history, state = out / "best.weights.h5", out / "history.csv", out / "state.weights.h5"
    _claim(out / "recipe.json", recipe, begun=state.exists() or history.exists())
    if not state.exists() and best.exists() and _done(recipe, history_of(history)):
        return best
    keras.utils.set_random_seed(recipe.schedule.seed)
    with dtype_policy(recipe.schedule.policy):
        taught, hints, wanted = recipe.loss.teacher_weight > 0, recipe.network.hint_units > 0, wanted_by(recipe)
        of = (part, recipe.schedule.parts)
        data = (
            load_prepared(prepared, Split.TRAIN, recipe.data.train, taught=taught, hints=hints, wanted=wanted, part=of),
            load_prepared(
                prepared,
                Split.VALIDATION,
                recipe.data.validation,
                hints=hints,
                most=recipe.data.validation_pictures,
                wanted=wanted,
            ),
        )
        network = build(recipe.network, init)
        if start is not None:
            go_on_from(network, recipe.network, start, recipe.transfer.replaced)
        freeze(network, recipe.transfer)
        _fit(recipe, network, *data, out / "logs", best, history, state, watchers)
        if recipe.smote.heads:
            from training.fit.smote import retrain_heads

            network.load_weights(best)
            retrain_heads(network, recipe, *data, best)
    record_run(out, recipe, prepared, init, start)
    state.unlink()
    return best


def wanted_by(recipe: Recipe) -> Wanted:
    """Which of the prepared pictures a recipe learns."""
    return Wanted(recipe.data.age == "real", recipe.data.min_face_px, recipe.data.min_sharpness)


def _fit(
    recipe: Recipe,
    network: keras.Model,
    train_data: Prepared,
    validation_data: Prepared,
    logs: Path,
    best: Path,
    history: Path,
    state: Path,
    watchers: Sequence[keras.callbacks.Callback] = (),
) -> None:
    outputs = (*recipe.network.outputs, HINT) if recipe.network.hint_units else recipe.network.outputs
    size, batch = recipe.network.size, recipe.schedule.batch_size
    training = Batches(train_data, outputs, size, batch, recipe.augment, recipe.schedule.seed, recipe)
    validation = Batches(validation_data, outputs, size, batch)
    losses, weights, metrics = losses_and_metrics(recipe.loss, outputs, recipe.network.age)
    network.compile(optimizer(recipe.schedule, len(training)), losses, loss_weights=weights, metrics=metrics)
    network.optimizer.build(network.trainable_variables)
    if state.exists():
        network.load_weights(state)
    done = int(network.optimizer.iterations) // len(training)
    rows = history_of(history)[:done]  # an epoch that was logged and not saved is trained again
    if _done(recipe, rows):
        return
    callbacks = [
        EpochSeeds(training),
        FiniteLoss(),
        BestWeights(best, min(losses_of(rows), default=math.inf)),
        *([keras.callbacks.SwapEMAWeights()] if recipe.schedule.ema_momentum > 0 else []),
        *([] if recipe.schedule.rate == "cosine" else [EpochRate(recipe.schedule, rows)]),
        Throughput(len(training) * batch),
        History(history, rows),
        *([keras.callbacks.TensorBoard(str(logs), write_graph=False)] if importlib.util.find_spec("tensorflow") else []),
        State(state),
        EarlyStop(recipe.schedule.stop_epochs, rows),
        *watchers,
    ]
    network.fit(
        training,
        validation_data=validation,
        epochs=recipe.schedule.epochs,
        initial_epoch=done,
        callbacks=callbacks,
        shuffle=False,  # `Batches` shuffles pictures itself; Keras would shuffle batches by a state that is not kept
        verbose=1,
    )


def _done(recipe: Recipe, rows: Sequence[dict[str, str]]) -> bool:
    """Whether these epochs are all of a run."""
    return len(rows) >= recipe.schedule.epochs or stopped(losses_of(rows), recipe.schedule.stop_epochs)


def _claim(path: Path, recipe: Recipe, begun: bool) -> None:
    """Write the recipe, unless a run by another one has begun here."""
    if begun and path.exists() and Recipe.model_validate_json(path.read_text()) != recipe:
        raise ValueError(f"{path.parent} holds a run of another recipe; choose another folder")
    path.write_text(recipe.model_dump_json(indent=2) + "\n")


def _save(network: keras.Model, path: Path) -> None:
    """Write weights and optimizer so that `path` is at every moment whole, as it was or as it is."""
    new = path.with_name(f"new.{path.name}")
    network.save_weights(new)
    new.replace(path)


def _write(history: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write epochs so that `history` is at every moment whole: what a run has left to do is read from it."""
    new = history.with_name(f"new.{history.name}")
    with new.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    new.replace(history)


def history_of(history: Path) -> list[dict[str, str]]:
    """Epochs of a `history.csv`, none where there is no such file."""
    if not history.exists():
        return []
    with history.open(newline="") as file:
        return list(csv.DictReader(file))
