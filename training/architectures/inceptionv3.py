"""InceptionV3 (Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016)."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.normalization import FusedBatchNormalization


def inceptionv3(size: int, init: str) -> keras.Model:
    """The trunk without its top, pooled: float pixels in [-1, 1], [N, S, S, 3], S at least 75, to features [N, 2048]."""
    weights = {"random": None}.get(init, init)
    trunk = keras.applications.InceptionV3(include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg")
    fused = keras.models.clone_model(trunk, clone_function=_fused)
    fused.set_weights(trunk.get_weights())
    return fused


def _fused(layer: Any) -> Any:
    """The layer anew, with batch normalisation fused."""
    config = layer.get_config()
    if isinstance(layer, layers.BatchNormalization):
        return FusedBatchNormalization.from_config(config)
    return layer.__class__.from_config(config)
