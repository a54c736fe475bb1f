"""A plain convolutional network: convolutions and max pooling, and nothing that has to be trained before."""

from __future__ import annotations

from typing import Final

import keras
from keras import layers

from training.models.architectures.registry import architecture, initialised

CHANNELS: Final = (32, 64, 128, 256)
"""Filters of each convolution; a max pooling that halves the picture follows it."""


@architecture(size=128)
def own_cnn(size: int, init: str) -> keras.Model:
    """The trunk: float pixels in [-1, 1], [N, S, S, 3], to features [N, 256]; no batch normalisation.

    What is published is its kinds of layers, Conv2D, MaxPooling2D, Dense and Dropout, the last two of which stand in the heads;
    their number and width are Facet's. `init` is `random` or a weights file.

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `random`, or a weights file of the trunk.

    Returns:
        The trunk.
    """
    pixels = keras.Input((size, size, 3))
    x = pixels
    for channels in CHANNELS:
        x = layers.Conv2D(channels, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
        x = layers.MaxPooling2D(2)(x)
    return initialised(keras.Model(pixels, layers.GlobalAveragePooling2D()(x)), "own_cnn", init)
