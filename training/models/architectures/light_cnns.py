"""Three light networks for small devices: a base, a deeper one, and one that looks at several parts of a face.

Published of them is that the deeper one takes 160 by 160 pixels and the last several inputs of 64 by 64. Their layers are
Facet's, and so are the parts: a service gives one crop, of which the network cuts its inputs itself, in the manner of
multi-scale patches (Yi et al., "Age estimation by multi-scale convolutional network", ACCV 2014).
"""

from __future__ import annotations

from typing import Any, Final

import keras
from keras import layers

from training.errors import RecipeError
from training.models.architectures.registry import architecture, initialised
from training.models.normalization import FusedBatchNormalization

BASE: Final = (32, 64, 128, 256)
"""Channels of the base's stages: a convolution, then a max pooling that halves the picture."""
DEEP: Final = (32, 64, 128, 192, 256)
"""Channels of the deeper one's stages, of two convolutions each."""
PART: Final = (16, 32, 64, 128)
"""Channels of the stages through which each part goes, with weights of its own."""
PARTS: Final = {"centre": (0.25, 0.25), "eyes": (0.15, 0.25), "mouth": (0.5, 0.25)}
"""Upper left corner of each part in sides of the crop, y before x; a part is half as wide as the crop. The eyes of an aligned
face lie above its middle, the mouth below."""


@architecture(size=64)
def base_cnn(size: int, init: str) -> keras.Model:
    """The trunk: float pixels in [-1, 1], [N, S, S, 3], to features [N, 256].

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `random`, or a weights file of the trunk.

    Returns:
        The trunk.
    """
    pixels = keras.Input((size, size, 3))
    return initialised(keras.Model(pixels, layers.GlobalAveragePooling2D()(_stages(pixels, BASE, 1))), "base_cnn", init)


@architecture(size=160)
def d_cnn(size: int, init: str) -> keras.Model:
    """The trunk: float pixels in [-1, 1], [N, S, S, 3], to features [N, 256].

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `random`, or a weights file of the trunk.

    Returns:
        The trunk.
    """
    pixels = keras.Input((size, size, 3))
    return initialised(keras.Model(pixels, layers.GlobalAveragePooling2D()(_stages(pixels, DEEP, 2))), "d_cnn", init)


@architecture(size=128)
def m_cnn(size: int, init: str) -> keras.Model:
    """The trunk: float pixels in [-1, 1], [N, S, S, 3], S even, to features [N, 512].

    Its four inputs are half as wide as the crop, 64 pixels of 128: the whole crop, averaged over two by two pixels, and its
    centre, eyes and mouth at full resolution.

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `random`, or a weights file of the trunk.

    Returns:
        The trunk.

    Raises:
        RecipeError: `size` is odd.
    """
    if size % 2:
        raise RecipeError(f"m_cnn halves its picture, and {size} pixels are odd")
    pixels = keras.Input((size, size, 3))
    views = [layers.AveragePooling2D(2, name="whole")(pixels)]
    for name, (y, x) in PARTS.items():
        top, left, rest = int(y * size), int(x * size), size - size // 2
        views.append(layers.Cropping2D(((top, rest - top), (left, rest - left)), name=name)(pixels))
    features = [layers.GlobalAveragePooling2D()(_stages(view, PART, 1)) for view in views]
    return initialised(keras.Model(pixels, layers.Concatenate()(features)), "m_cnn", init)


def _stages(x: Any, stages: tuple[int, ...], convolutions: int) -> Any:
    """Stages of so many convolutions, each normalised and rectified, with a max pooling behind them."""
    for channels in stages:
        for _ in range(convolutions):
            x = layers.Conv2D(channels, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
            x = layers.ReLU()(FusedBatchNormalization()(x))
        x = layers.MaxPooling2D(2)(x)
    return x
