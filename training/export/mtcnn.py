"""Export the three networks of the `mtcnn` package, once, to a model that the service runs without the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from mtcnn.network.onet import ONet
from mtcnn.network.rnet import RNet
from mtcnn.utils.tensorflow import load_weights

from service.arrays import Floats, Pixels
from service.files import replacing
from service.models.manifest import Manifest
from service.models.runtime.tensorflow import loader
from service.models.store import GOLDEN, write_manifest
from training.artifacts import new_version
from training.export.tolerance import TOLERANCE

NETWORKS: Final = {"pnet": None, "rnet": 24, "onet": 48}
"""Side of the input in pixels; P-Net takes any."""
_MEAN: Final = 127.5
_SCALE: Final = 128.0


class _Exported(tf.Module):  # type: ignore[misc]
    """One network with its input scaling inside and its outputs named."""

    def __init__(self, network: Any, side: int) -> None:
        super().__init__()
        self.network = network
        spec = tf.TensorSpec([None, side, side, 3], tf.uint8, name="pixels")
        self.serve = tf.function(self._serve, input_signature=[spec])

    def _serve(self, pixels: Any) -> dict[str, Any]:
        offsets, *points, scores = self.network((tf.cast(pixels, tf.float32) - _MEAN) / _SCALE)
        outputs = {"offsets": offsets, "probability": scores[..., 1]}
        return outputs | {"landmarks": points[0]} if points else outputs


class _Proposals(tf.Module):  # type: ignore[misc]
    """P-Net with its input's scaling in the first convolution and both heads in one, a fifth cheaper than layer by layer.

    The softmax over two classes is the sigmoid of their difference.
    """

    def __init__(self, weights: Sequence[Floats]) -> None:
        super().__init__()
        first, bias, *middle = weights[:9]
        offsets, offset_bias, scores, score_bias = weights[9:]
        self.blocks = [
            (first / _SCALE, bias - _MEAN / _SCALE * first.sum(axis=(0, 1, 2)), middle[0]),
            (middle[1], middle[2], middle[3]),
            (middle[4], middle[5], middle[6]),
        ]
        self.head = np.concatenate([scores[..., 1:] - scores[..., :1], offsets], axis=3)
        self.head_bias = np.concatenate([score_bias[1:] - score_bias[:1], offset_bias])
        spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="pixels")
        self.serve = tf.function(self._serve, input_signature=[spec])

    def _serve(self, pixels: Any) -> dict[str, Any]:
        values = tf.cast(pixels, tf.float32)
        for index, (kernel, bias, slopes) in enumerate(self.blocks):
            values = tf.nn.conv2d(values, kernel, 1, "VALID") + bias
            values = tf.nn.relu(values) - slopes.reshape(-1) * tf.nn.relu(-values)
            if index == 0:
                values = tf.nn.max_pool2d(values, 2, 2, "SAME")
        values = tf.nn.conv2d(values, self.head, 1, "VALID") + self.head_bias
        return {"offsets": values[..., 1:], "probability": tf.sigmoid(values[..., 0])}


def _module(name: str, side: int | None) -> tf.Module:
    """A network of the package, ready to be saved."""
    weights = load_weights(f"{name}.lz4")
    if side is None:
        return _Proposals(weights)
    network = {"rnet": RNet, "onet": ONet}[name]()
    network.build()
    network.set_weights(weights)
    return _Exported(network, side)


def export(store: Path, version: int, photo: Pixels, created: str) -> Manifest:
    """Write `store/mtcnn/VERSION`: `pnet`, `rnet` and `onet`, golden answers on parts of `photo`, and the manifest.

    Args:
        store: The model store.
        version: Version to write.
        photo: uint8 RGB [H, W, 3], at least 96 by 96.
        created: Date, such as 2026-09-01.

    Returns:
        The manifest.

    Raises:
        FileExistsError: The version is there already.
    """
    with new_version(store, "mtcnn", version) as folder:
        return _write(folder, photo, created)


def _write(folder: Path, photo: Pixels, created: str) -> Manifest:
    """Networks, golden answers and manifest, into the folder of a version."""
    load = loader(threads=1)
    golden: dict[str, np.ndarray[Any, Any]] = {}
    for name, side in NETWORKS.items():
        module = _module(name, side)
        tf.saved_model.save(module, str(folder / name), signatures=module.serve.get_concrete_function())
        step = side or 64
        parts = [photo[i : i + step, i : i + step] for i in range(0, min(photo.shape[:2]) - step, step)][:4]
        golden[f"{name}/input"] = np.stack(parts)
        golden |= {f"{name}/{key}": value for key, value in load(folder / name)(golden[f"{name}/input"]).items()}
    with replacing(folder / GOLDEN) as new:
        np.savez_compressed(new, **golden)  # type: ignore[arg-type]
    return write_manifest(
        folder,
        {
            "name": folder.parent.name,
            "version": int(folder.name),
            "kind": "detector",
            "architecture": "mtcnn",
            "created": created,
            "licence": "MIT (weights of the mtcnn package 1.0.0, Ivan de Paz Centeno)",
            "trained_on": ["WIDER FACE", "CelebA"],
            "description": "P-Net, R-Net and O-Net of Zhang et al. 2016, exported from the mtcnn package.",
            "networks": {name: name for name in NETWORKS},
            "attributes": [],
            "tolerance": {"f32": TOLERANCE["f32"], "bf16": TOLERANCE["bf16"]},
        },
    )
