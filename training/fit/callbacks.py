"""What happens while a network is fitted: seeds by epoch, the best weights, the history, and the state to go on from."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from keras import ops

from service.files import replacing
from training.artifacts import take_room, write_rows
from training.errors import Diverged
from training.fit.batches import Batches

HISTORY: Final = "history.csv"
"""File of a run's epochs."""
_NUMBER, _DESCRIPTION = 4, 4096  # bytes, at most, of a weight, and of what HDF5 writes about a variable


class EpochSeeds(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets what is drawn in an epoch, batches and dropout's masks, by the epoch's number: no file holds the state of either."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    def on_train_begin(self, logs: Any = None) -> None:
        """Keep the states of the seeds as they are before the first epoch.

        Args:
            logs: Not used.
        """
        states = [variable for variable in self.model.variables if variable.name == "seed_generator_state"]
        self.states = [(state, ops.convert_to_numpy(state)) for state in states]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set order, augmentation and dropout masks of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
            logs: Not used.
        """
        self.batches.epoch = epoch
        for state, first in self.states:
            state.assign(first + np.array([0, epoch * len(self.batches)], first.dtype))


class FiniteLoss(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a run whose loss is not a number: weights or moving statistics are lost, and the last state is still good."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check the loss of a step.

        Args:
            batch: Number of the step in its epoch, from 0.
            logs: The epoch's figures so far, with `loss`.

        Raises:
            Diverged: The loss is infinite or not a number.
        """
        if not math.isfinite(logs["loss"]):
            raise Diverged("the loss is no longer finite; train again, more slowly, in another folder")


class BestWeights(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights that gave the least validation loss, where it is below `least`.

    Stands before `SwapEMAWeights`, which puts the averaged weights in when validation begins and takes them out when it ends.
    """

    def __init__(self, path: Path, least: float) -> None:
        super().__init__()
        self.path, self.least = path, least

    def on_test_end(self, logs: Any = None) -> None:
        """Write the weights where the validation loss is the least so far.

        Args:
            logs: Validation figures, with `loss`.
        """
        if logs["loss"] < self.least:
            self.least = logs["loss"]
            save_weights(self.model, self.path)


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
        """Start the clocks.

        Args:
            epoch: Number of the epoch, from 0.
            logs: Not used.
        """
        self.began = time.perf_counter()
        self.seconds = 0.0
        self.marks = [time.process_time()]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the CPU time after a step.

        Args:
            batch: Number of the step in its epoch, from 0.
            logs: Not used.
        """
        self.marks.append(time.process_time())

    def on_test_begin(self, logs: Any = None) -> None:
        """Stop the clock before validation.

        Args:
            logs: Not used.
        """
        self.seconds = time.perf_counter() - self.began

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the epoch's cost to its figures.

        Args:
            epoch: Number of the epoch, from 0.
            logs: The epoch's figures by name, which are changed.
        """
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
        """Write the epoch's figures behind those before it.

        Args:
            epoch: Number of the epoch, from 0.
            logs: The epoch's figures by name.
        """
        self.rows.append({"epoch": str(epoch), **{name: str(float(logs[name])) for name in sorted(logs)}})
        write_rows(self.path, self.rows)


class State(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes weights and optimizer after every epoch; behind all that writes, so that what it holds is wholly done."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write weights and optimizer.

        Args:
            epoch: Number of the epoch, from 0.
            logs: Not used.
        """
        save_weights(self.model, self.path)


def save_weights(network: keras.Model, path: Path) -> None:
    """Write weights and, of a compiled network, its optimizer.

    Room for them is taken first: HDF5 that finds a disk full may end the process.

    Args:
        network: The network.
        path: File, `.weights.h5`; at every moment whole.

    Raises:
        OSError: The disk has too little room, or the file cannot be written.
    """
    taking_steps = getattr(network, "optimizer", None)
    variables = [*network.variables, *([] if taking_steps is None else taking_steps.variables)]
    most = sum(math.prod(one.shape) * _NUMBER + _DESCRIPTION for one in variables)
    with replacing(path) as new:
        take_room(new, most)
        network.save_weights(new)


def history_of(path: Path) -> list[dict[str, str]]:
    """Read the epochs of a run, by which it goes on.

    Args:
        path: File, `history.csv`.

    Returns:
        A row for each epoch; none where there is no such file.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
