"""InceptionV3 (Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016)."""

from __future__ import annotations

import keras

from training.models.architectures.registry import architecture
from training.models.normalization import fused


@architecture(size=128)
def inceptionv3(size: int, init: str) -> keras.Model:
    """The trunk without its top, pooled: float pixels in [-1, 1], [N, S, S, 3], S at least 75, to features [N, 2048].

    Args:
        size: Side of the input in pixels.
        init: Initial weights: `imagenet`, `random`, or a weights file of the trunk.

    Returns:
        The trunk.
    """
    weights = {"random": None}.get(init, init)
    return fused(keras.applications.InceptionV3(include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg"))
