"""A light network of separable convolutions, regularised by dropping whole channels."""

from __future__ import annotations

from typing import Final

import keras
from keras import layers

from training.models.architectures.registry import architecture, initialised
from training.models.normalization import FusedBatchNormalization

STEM: Final = 32
STAGES: Final = ((64, 0.2), (128, 0.25), (256, 0.3), (512, 0.35))
"""Channels of each separable convolution, and the share of them that a training step leaves out."""


@architecture(size=198)
def separable_cnn(size: int, init: str) -> keras.Model:
    """The trunk: float pixels in [-1, 1], [N, S, S, 3], to features [N, 512].

    SeparableConv2D (Chollet, CVPR 2017) with SpatialDropout2D (Tompson et al., "Efficient object localization using
    convolutional networks", CVPR 2015) behind it. Published are the two kinds of layers and dropout of 0.2 to 0.35; number and
    width of the layers, and batch normalisation, are Facet's. `init` is `random` or a weights file.

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `random`, or a weights file of the trunk.

    Returns:
        The trunk.
    """
    pixels = keras.Input((size, size, 3))
    x = layers.Conv2D(STEM, 3, strides=2, padding="same", use_bias=False, kernel_initializer="he_normal")(pixels)
    x = layers.ReLU()(FusedBatchNormalization()(x))
    for channels, dropout in STAGES:
        x = layers.SeparableConv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(FusedBatchNormalization()(x))
        x = layers.SpatialDropout2D(dropout)(x)
        x = layers.MaxPooling2D(2)(x)
    return initialised(keras.Model(pixels, layers.GlobalAveragePooling2D()(x)), "separable_cnn", init)
