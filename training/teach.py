"""Trained networks to a teacher: their mean answer for every prepared crop, from which another network learns.

A network that learns another's probabilities beside the labels (Hinton et al., "Distilling the knowledge in a neural network",
2015) learns how sure one may be of a picture, and labels that are wrong weigh less; where a data set has no label, it learns
the teacher's answer alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from rich.progress import track

from training.augment import resized
from training.data import TAUGHT
from training.networks import UNITS, build, dtype_policy
from training.recipe import Recipe

BATCH = 64


def teach(runs: Sequence[Path], prepared: Path) -> Path:
    """Write `taught.npz` beside the crops: the mean of the runs' best networks' answers, each for a crop and its mirror image.

    Arrays of float16 in the crops' order: `age` [N, 101], `gender` [N, 1] and `race` [N, 5], all probabilities. Raises
    `FileNotFoundError` where a run or the crops are not there, and `ValueError` where a network lacks one of the heads.
    """
    crops = np.load(prepared / "crops.npy", mmap_mode="r")
    sums = {name: np.zeros((len(crops), units), np.float32) for name, units in UNITS.items()}
    for run in runs:
        recipe = Recipe.model_validate_json((run / "recipe.json").read_text())
        if set(recipe.network.outputs) != set(UNITS):
            raise ValueError(f"{run} has the heads {', '.join(recipe.network.outputs)} alone; a teacher needs all three")
        with dtype_policy(recipe.schedule.policy):
            network = build(recipe.network)
            network.load_weights(run / "best.weights.h5")
            for begin in track(range(0, len(crops), BATCH), f"{run.name}: answering"):
                rows = slice(begin, begin + BATCH)
                for name, values in _answers(network, crops[rows], recipe.network.size).items():
                    sums[name][rows] += values / len(runs)
    path = prepared / TAUGHT
    np.savez(path, **{name: values.astype(np.float16) for name, values in sums.items()})  # type: ignore[arg-type]
    return path


def _answers(network: keras.Model, crops: npt.NDArray[np.uint8], size: int) -> dict[str, npt.NDArray[np.float32]]:
    """Probabilities of each head, [B, units], the mean of those for the crops and for their mirror images."""
    pixels = np.stack([resized(crop, size) for crop in crops]).astype(np.float32) / 127.5 - 1
    both = [network(pixels, training=False), network(pixels[:, :, ::-1], training=False)]
    squash = {"age": ops.softmax, "gender": ops.sigmoid, "race": ops.softmax}
    return {
        name: np.mean([ops.convert_to_numpy(squash[name](logits[name])) for logits in both], axis=0, dtype=np.float32)
        for name in squash
    }
