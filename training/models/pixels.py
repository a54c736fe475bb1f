"""Crops to what a trunk is fed: one scaling, for NumPy and for TensorFlow's graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from service.arrays import Floats, Pixels

HALF_RANGE = 127.5
"""Grey level that becomes 0; 0 becomes -1 and 255 becomes 1."""


def scaled(crops: Pixels) -> Floats:
    """Crops as a trunk takes them.

    Args:
        crops: uint8 RGB [N, S, S, 3].

    Returns:
        The same as float32, in [-1, 1].
    """
    return crops.astype(np.float32) / np.float32(HALF_RANGE) - np.float32(1)


def scaled_tensor(crops: Any) -> Any:
    """The same within a graph, as it is exported: `scaled` of a tensor.

    Args:
        crops: uint8 RGB [N, S, S, 3].

    Returns:
        The same as float32, in [-1, 1].
    """
    return ops.cast(crops, "float32") / HALF_RANGE - 1.0
