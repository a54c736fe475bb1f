"""Inception-ResNet-v1, the trunk of FaceNet (Szegedy et al., "Inception-v4, Inception-ResNet and the impact of residual
connections on learning", AAAI 2017; Schroff et al., "FaceNet", CVPR 2015).

The widths are those of the FaceNet that is known as 20180402-114759, which differs from the paper's in places. Features are
what its last pooling gives: its embedding and its softmax over people are the output nodes that heads replace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
from keras import layers

from training.models.architectures.registry import architecture, initialised
from training.models.normalization import FusedBatchNormalization

Kernel = int | tuple[int, int]
Branch = Sequence[tuple[int, Kernel]]

STEM: Final = ((32, 3, 2, "valid"), (32, 3, 1, "valid"), (64, 3, 1, "same"))
NARROW: Final = ((80, 1, 1, "valid"), (192, 3, 1, "valid"), (256, 3, 2, "valid"))
"""Channels, kernel, stride and padding of the convolutions before and behind the first pooling."""
REPEATS: Final = (5, 10, 5)
"""Blocks of the three resolutions; of the last there is one more, without scale and rectifier."""
BLOCK_35: Final[Sequence[Branch]] = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (32, 3), (32, 3)))
BLOCK_17: Final[Sequence[Branch]] = (((128, 1),), ((128, 1), (128, (1, 7)), (128, (7, 1))))
BLOCK_8: Final[Sequence[Branch]] = (((192, 1),), ((192, 1), (192, (1, 3)), (192, (3, 1))))
"""Branches: channels and kernel of every convolution."""
REDUCTION_A: Final[Sequence[Branch]] = (((384, 3),), ((192, 1), (192, 3), (256, 3)))
REDUCTION_B: Final[Sequence[Branch]] = (((256, 1), (384, 3)), ((256, 1), (256, 3)), ((256, 1), (256, 3), (256, 3)))
"""Branches whose last convolution has a stride of two; a max pooling stands beside them."""


@architecture(size=160)
def inception_resnet_v1(size: int, init: str) -> keras.Model:
    """The trunk: float pixels in [-1, 1], [N, S, S, 3], S at least 75, to features [N, 1792].

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `random`, or a weights file of the trunk.

    Returns:
        The trunk.
    """
    return initialised(assembled(size, REPEATS), "inception_resnet_v1", init)


def assembled(size: int, repeats: tuple[int, int, int]) -> keras.Model:
    """The trunk with random weights.

    Args:
        size: Side of the input in pixels.
        repeats: Blocks of each resolution.

    Returns:
        The trunk.
    """
    x = pixels = keras.Input((size, size, 3))
    for channels, kernel, strides, padding in STEM:
        x = _convolved(x, channels, kernel, strides, padding)
    x = layers.MaxPooling2D(3, 2)(x)
    for channels, kernel, strides, padding in NARROW:
        x = _convolved(x, channels, kernel, strides, padding)
    for _ in range(repeats[0]):
        x = layers.ReLU()(_residual(x, BLOCK_35, 0.17))
    x = _reduced(x, REDUCTION_A)
    for _ in range(repeats[1]):
        x = layers.ReLU()(_residual(x, BLOCK_17, 0.1))
    x = _reduced(x, REDUCTION_B)
    for _ in range(repeats[2]):
        x = layers.ReLU()(_residual(x, BLOCK_8, 0.2))
    x = _residual(x, BLOCK_8, 1.0)
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(x))


def _residual(x: Any, branches: Sequence[Branch], scale: float) -> Any:
    """The input plus its branches' output times `scale`, which keeps deep stacks from diverging."""
    joined = layers.Concatenate()([_branch(x, branch) for branch in branches])
    linear = layers.Conv2D(x.shape[-1], 1, kernel_initializer="he_normal")(joined)
    return layers.Add()([x, linear if scale == 1 else layers.Rescaling(scale)(linear)])


def _reduced(x: Any, branches: Sequence[Branch]) -> Any:
    return layers.Concatenate()([*(_branch(x, branch, strides=2) for branch in branches), layers.MaxPooling2D(3, 2)(x)])


def _branch(x: Any, convolutions: Branch, strides: int = 1) -> Any:
    *first, (channels, kernel) = convolutions
    for before, size in first:
        x = _convolved(x, before, size)
    return _convolved(x, channels, kernel, strides, "same" if strides == 1 else "valid")


def _convolved(x: Any, channels: int, kernel: Kernel, strides: int = 1, padding: str = "same") -> Any:
    x = layers.Conv2D(channels, kernel, strides, padding=padding, use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU()(FusedBatchNormalization(momentum=0.995, epsilon=1e-3, scale=False)(x))
