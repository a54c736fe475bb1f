"""SavedModels run by TensorFlow, the reference."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from service.arrays import Floats, Pixels
from service.errors import ModelIncompatible
from service.models.runtime import Loader, Network


def loader(threads: int) -> Loader:
    """Make the function that reads SavedModel folders with TensorFlow, which computes in float32.

    Args:
        threads: Most threads of an operation, unless TensorFlow already runs in this process.

    Returns:
        The function; it raises `ModelIncompatible` for a folder that TensorFlow cannot read.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # already running in this process, with the pools it has
        pass

    def load(folder: Path) -> Network:
        try:
            loaded = tf.saved_model.load(str(folder))
            signature = loaded.signatures["serving_default"]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ModelIncompatible("TensorFlow cannot read the SavedModel.") from error
        network = _Network(signature)  # while `loaded` still holds the variables that are frozen
        del loaded, signature
        gc.collect()  # cycles through both hold every weight a second time
        return network

    return load


class _Network:
    """A frozen signature, so that weights are cast from float16 once and not in every call."""

    precision = "f32"

    def __init__(self, signature: Any) -> None:
        self._call = convert_variables_to_constants_v2(signature)
        self._names = sorted(signature.structured_outputs)

    def __call__(self, batch: Pixels) -> dict[str, Floats]:
        outputs = self._call(tf.constant(batch))
        return {name: np.array(value, dtype=np.float32) for name, value in zip(self._names, outputs, strict=True)}
