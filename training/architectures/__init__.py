"""The trunks that can be trained, one file a family; `training.networks` sets the heads on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import keras

from training.architectures.inceptionv3 import inceptionv3
from training.architectures.mobilefacenet import mobilefacenet
from training.architectures.mobilenet import mobilenet

IMAGENET: Final = "imagenet"
RANDOM: Final = "random"
"""Initial weights that are no file."""

ARCHITECTURES: Final[dict[str, Callable[[int, str], keras.Model]]] = {
    "inceptionv3": inceptionv3,
    "mobilefacenet": mobilefacenet,
    "mobilenet": mobilenet,
}
"""Trunks: (input size, initial weights) to a model from float pixels in [-1, 1], [N, S, S, 3], to features [N, F]."""
