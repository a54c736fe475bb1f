"""What a trunk costs: its weights, and the multiply-adds of one face."""

from __future__ import annotations

import math

import keras
from keras import layers

from training.models.architectures import ARCHITECTURES, RANDOM, SIZES


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of the convolutions and dense layers for one picture; what else there is costs next to nothing.

    Args:
        model: The network.

    Returns:
        Their number.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif isinstance(layer, layers.SeparableConv2D):
            kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
            total += kernels * math.prod(layer.output.shape[1:3])
        elif isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
        elif isinstance(layer, layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total


def row(name: str, trunk: keras.Model) -> str:
    """A line of the table of architectures, in Markdown.

    Args:
        name: Name of the architecture.
        trunk: Its trunk.

    Returns:
        The line.
    """
    size, (_, features) = trunk.input.shape[1], trunk.output.shape
    return f"| `{name}` | {size} | {features} | {trunk.count_params():,} | {multiply_adds(trunk) / 1e6:,.1f} |"


def table() -> list[str]:
    """The table of all architectures, each at the size for which it was described, without heads.

    Returns:
        Its lines.
    """
    header = ["| architecture | input [pixels] | features | weights | multiply-adds [millions] |", "|---|---|---|---|---|"]
    return header + [row(name, ARCHITECTURES[name](size, RANDOM)) for name, size in sorted(SIZES.items())]
