"""MobileNet (Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017)."""

from __future__ import annotations

import keras

from training.models.architectures.registry import architecture
from training.models.normalization import fused


@architecture(size=160)
def mobilenet(size: int, init: str) -> keras.Model:
    """The trunk of full width without its top, pooled: float pixels in [-1, 1], [N, S, S, 3], to features [N, 1024].

    `init` is `imagenet`, `random`, or a weights file, such as what `training.fit.weight_conversion` makes of a face
    recognition network's.

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `imagenet`, `random`, or a weights file of the trunk.

    Returns:
        The trunk.
    """
    weights = init if init == "imagenet" else None
    trunk = fused(keras.applications.MobileNet(include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg"))
    if init not in ("imagenet", "random"):
        trunk.load_weights(init)
    return trunk
