"""How fast an epoch learns, and whether a run ends: functions of the epoch's number and the validation losses so far.

Nothing else is remembered, so that a run that is taken up again, from its `history.csv`, goes on as if nothing had been.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from training.recipe import ScheduleSection

Rows = Sequence[dict[str, str]]
"""Epochs of a `history.csv`."""


def rate(section: ScheduleSection, epoch: int, losses: Sequence[float]) -> float:
    """Learning rate of an epoch, counted from 0, behind the validation losses of those before it; not of the cosine, which
    changes with every step.

    Args:
        section: The schedule.
        epoch: The epoch's number.
        losses: Validation losses of the epochs before it.

    Returns:
        The learning rate.
    """
    value = section.learning_rate
    if section.rate == "step":
        value = next((given for first, given in reversed(section.steps) if epoch >= first), value)
    elif section.rate == "halving":
        value *= section.rate_factor ** (epoch // section.rate_epochs)
    elif section.rate == "inverse":
        value /= 1 + section.rate_decay * epoch
    elif section.rate == "plateau":
        value *= section.rate_factor ** plateaus(losses, section.rate_epochs)
    return max(value, section.least_rate)


def plateaus(losses: Sequence[float], patience: int) -> int:
    """How often so many losses came, one after the other, none of which was the least so far; each is counted once.

    Args:
        losses: Validation losses, one an epoch.
        patience: How many.

    Returns:
        How often.
    """
    least, waited, times = math.inf, 0, 0
    for loss in losses:
        if loss < least:
            least, waited = loss, 0
            continue
        waited += 1
        if waited == patience:
            times, waited = times + 1, 0
    return times


def stopped(losses: Sequence[float], patience: int) -> bool:
    """Whether a run ends behind these losses: `patience` epochs, where it is not 0, have brought no lower one.

    Args:
        losses: Validation losses, one an epoch.
        patience: Epochs without a lower one; 0 for any number.

    Returns:
        Whether it does.
    """
    return patience > 0 and plateaus(losses, patience) > 0


def losses_of(rows: Rows) -> list[float]:
    """Validation losses of the epochs of a history.

    Args:
        rows: Epochs of a history.

    Returns:
        A loss for each epoch.
    """
    return [float(row["val_loss"]) for row in rows]


@keras.saving.register_keras_serializable("facet")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear warm-up to `peak`, then a cosine to zero at `steps` (Loshchilov and Hutter, SGDR, ICLR 2017)."""

    def __init__(self, peak: float, warmup: int, steps: int) -> None:
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: Any) -> Any:
        """The rate of a step.

        Args:
            step: Number of the step, from 0.

        Returns:
            The learning rate, a scalar tensor from 0 to `peak`.
        """
        step = ops.cast(step, "float32")
        progress = ops.clip((step - self.warmup) / max(1, self.steps - self.warmup), 0, 1)
        falling = 0.5 * self.peak * (1 + ops.cos(math.pi * progress))
        return ops.where(step < self.warmup, self.peak * (step + 1) / max(1, self.warmup), falling)

    def get_config(self) -> dict[str, Any]:
        """What Keras writes of the schedule, to make it again.

        Returns:
            The arguments of the constructor by name.
        """
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


class EpochRate(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the learning rate of every epoch from the `rows` of the history before it."""

    def __init__(self, section: ScheduleSection, rows: Rows) -> None:
        super().__init__()
        self.section, self.rows = section, rows

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the learning rate of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
            logs: Not used.
        """
        self.model.optimizer.learning_rate = rate(self.section, epoch, losses_of(self.rows[:epoch]))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the learning rate to the epoch's figures.

        Args:
            epoch: Number of the epoch, from 0.
            logs: The epoch's figures by name, which are changed.
        """
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class EarlyStop(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a run behind `patience` epochs without a lower validation loss; stands behind what writes the history's `rows`."""

    def __init__(self, patience: int, rows: Rows) -> None:
        super().__init__()
        self.patience, self.rows = patience, rows

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """End the run where the validation loss has not fallen for `patience` epochs.

        Args:
            epoch: Number of the epoch, from 0.
            logs: Not used.
        """
        if stopped(losses_of(self.rows), self.patience):
            self.model.stop_training = True
