"""Crops to trained weights: one `keras.Model.fit` that can be stopped and taken up again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from training.augment import augmented, resized
from training.data import Prepared, Split, load_prepared
from training.losses import losses_and_metrics
from training.networks import build
from training.recipe import AugmentSection, Recipe


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled, augmented batches of a training set, or plain ones in order where `augment` is None.

    Order and augmentation come from the seed, the epoch and the batch's number alone, so that a run that is taken up again
    sees what it would have seen.
    """

    def __init__(
        self, data: Prepared, size: int, batch_size: int, augment: AugmentSection | None, seed: int = 0, epoch: int = 0
    ) -> None:
        super().__init__(workers=1, max_queue_size=8)
        self.data, self.size, self.batch_size = data, size, batch_size
        self.augment, self.seed, self.epoch = augment, seed, epoch

    def __len__(self) -> int:
        batches = len(self.data) / self.batch_size
        return math.floor(batches) if self.augment else math.ceil(batches)

    def __getitem__(self, index: int) -> tuple[Any, dict[str, Any]]:
        chosen = slice(index * self.batch_size, (index + 1) * self.batch_size)
        if self.augment is None:
            rows = np.arange(len(self.data))[chosen]
            crops = [resized(self.data.crops[row], self.size) for row in rows]
        else:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.data))[chosen]
            random = np.random.default_rng([self.seed, self.epoch, index])
            crops = [augmented(self.data.crops[row], self.size, self.augment, random) for row in rows]
        labels = {name: getattr(self.data, name)[rows] for name in ("age", "gender", "race")}
        return np.stack(crops).astype(np.float32) / 127.5 - 1, labels

    def on_epoch_end(self) -> None:
        self.epoch += 1


@keras.saving.register_keras_serializable("facet")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear warm-up to `peak`, then a cosine to zero at `steps` (Loshchilov and Hutter, SGDR, ICLR 2017)."""

    def __init__(self, peak: float, warmup: int, steps: int) -> None:
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        progress = ops.clip((step - self.warmup) / max(1, self.steps - self.warmup), 0, 1)
        falling = 0.5 * self.peak * (1 + ops.cos(math.pi * progress))
        return ops.where(step < self.warmup, self.peak * (step + 1) / max(1, self.warmup), falling)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


@keras.saving.register_keras_serializable("facet")
class CarefulAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW that takes no step where a gradient is not finite: one bad batch must not end a long run."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        finite = ops.all(ops.stack([ops.all(ops.isfinite(grad)) for grad in grads if grad is not None]))
        safe = [grad if grad is None else ops.where(finite, grad, ops.zeros_like(grad)) for grad in grads]
        return super().apply(safe, trainable_variables)


def _optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    schedule = recipe.schedule
    rate = WarmupCosine(
        schedule.learning_rate, round(schedule.warmup_epochs * steps_per_epoch), schedule.epochs * steps_per_epoch
    )
    optimizer = CarefulAdamW(
        rate,
        weight_decay=schedule.weight_decay,
        global_clipnorm=schedule.clip_norm,
        use_ema=schedule.ema_momentum > 0,
        ema_momentum=schedule.ema_momentum,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def train(recipe: Recipe, prepared: Path, out: Path, init: str) -> Path:
    """Train by a recipe on what `prepare` wrote and return the weights file, `out/best.weights.h5`.

    Best is the smallest validation loss of the averaged weights. `out` also gets `history.csv`, TensorBoard logs and the
    state from which the same command goes on after an interruption.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(recipe.model_dump(), indent=2))
    keras.utils.set_random_seed(recipe.schedule.seed)
    keras.config.set_dtype_policy(recipe.schedule.policy)
    size, batch = recipe.network.size, recipe.schedule.batch_size
    state = out / "state"
    done = _epochs_done(out / "history.csv") if state.exists() else 0
    training = Batches(load_prepared(prepared, Split.TRAIN), size, batch, recipe.augment, recipe.schedule.seed, done)
    validation = Batches(load_prepared(prepared, Split.VALIDATION), size, batch, None)
    network = build(recipe.network, init)
    losses, weights, metrics = losses_and_metrics(recipe.loss, recipe.network.outputs)
    network.compile(_optimizer(recipe, len(training)), losses, loss_weights=weights, metrics=metrics)
    best = out / "best.weights.h5"
    callbacks: list[Any] = [
        keras.callbacks.BackupAndRestore(str(state)),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True) if recipe.schedule.ema_momentum > 0 else None,
        keras.callbacks.ModelCheckpoint(str(best), monitor="val_loss", save_best_only=True, save_weights_only=True),
        keras.callbacks.CSVLogger(str(out / "history.csv"), append=done > 0),
        keras.callbacks.TensorBoard(str(out / "logs"), write_graph=False),
        keras.callbacks.TerminateOnNaN(),
    ]
    network.fit(
        training, validation_data=validation, epochs=recipe.schedule.epochs, callbacks=[c for c in callbacks if c], verbose=1
    )
    return best


def _epochs_done(history: Path) -> int:
    return max(0, len(history.read_text().splitlines()) - 1) if history.exists() else 0
