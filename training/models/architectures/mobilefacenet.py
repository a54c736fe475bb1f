"""A thinner MobileFaceNet for 62-pixel faces (after Chen et al., "MobileFaceNets", CCBR 2018), half a million weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
from keras import layers

from training.models.architectures.registry import architecture, initialised
from training.models.normalization import FusedBatchNormalization

STAGES: Final = ((2, 48, 5, 2), (4, 96, 1, 2), (2, 96, 6, 1), (4, 96, 1, 2), (2, 96, 2, 1))
"""Bottlenecks: expansion, channels, repeats, stride of the first of them."""
STEM, LAST, FEATURES = 48, 512, 128


@architecture(size=62)
def mobilefacenet(size: int, init: str) -> keras.Model:
    """The trunk of all its bottlenecks; see `assembled`.

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `random`, or a weights file of the trunk.

    Returns:
        The trunk.

    Raises:
        WeightsError: `init` is `imagenet`, on which it was never trained.
    """
    return initialised(assembled(size, STAGES), "mobilefacenet", init)


def assembled(size: int, stages: Sequence[tuple[int, int, int, int]]) -> keras.Model:
    """The trunk: float pixels in [-1, 1], [N, S, S, 3], to features [N, 128].

    Ends in a linear depthwise convolution over all that is left of the picture, 4 by 4 at 62 pixels, which learns what each
    place is worth where an average pool would weigh all alike.

    Args:
        size: Side of the input in pixels.
        stages: Bottlenecks: expansion, channels, repeats, and the stride of the first of them.

    Returns:
        The trunk, with random weights.
    """
    pixels = keras.Input((size, size, 3))
    x = _convolved(pixels, STEM, 3, strides=2)
    x = _depthwise(x, 3)
    for expansion, channels, repeats, stride in stages:
        for index in range(repeats):
            x = _bottleneck(x, expansion, channels, stride if index == 0 else 1)
    x = _convolved(x, LAST, 1)
    x = _depthwise(x, x.shape[1], padding="valid", linear=True)
    x = _convolved(x, FEATURES, 1, linear=True)
    return keras.Model(pixels, layers.Flatten()(x))


def _bottleneck(x: Any, expansion: int, channels: int, stride: int) -> Any:
    """Inverted residual (Sandler et al., MobileNetV2, CVPR 2018): expand, filter each channel, project linearly."""
    y = _convolved(x, expansion * x.shape[-1], 1)
    y = _depthwise(y, 3, strides=stride)
    y = _convolved(y, channels, 1, linear=True)
    return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y


def _convolved(x: Any, channels: int, kernel: int, strides: int = 1, linear: bool = False) -> Any:
    x = layers.Conv2D(channels, kernel, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return _normalised(x, linear)


def _depthwise(x: Any, kernel: int, strides: int = 1, padding: str = "same", linear: bool = False) -> Any:
    x = layers.DepthwiseConv2D(kernel, strides, padding=padding, use_bias=False, depthwise_initializer="he_normal")(x)
    return _normalised(x, linear)


def _normalised(x: Any, linear: bool) -> Any:
    x = FusedBatchNormalization(momentum=0.99, epsilon=1e-3)(x)
    return x if linear else layers.PReLU(shared_axes=[1, 2])(x)
