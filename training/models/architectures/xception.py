"""Xception (Chollet, "Xception: deep learning with depthwise separable convolutions", CVPR 2017)."""

from __future__ import annotations

import keras

from training.models.architectures.registry import architecture
from training.models.normalization import fused


@architecture(size=128)
def xception(size: int, init: str) -> keras.Model:
    """The trunk without its top, pooled: float pixels in [-1, 1], [N, S, S, 3], S at least 71, to features [N, 2048].

    `init` is `imagenet`, `random`, or a weights file of the trunk.

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `imagenet`, `random`, or a weights file of the trunk.

    Returns:
        The trunk.
    """
    weights = init if init == "imagenet" else None
    trunk = fused(keras.applications.Xception(include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg"))
    if init not in ("imagenet", "random"):
        trunk.load_weights(init)
    return trunk
