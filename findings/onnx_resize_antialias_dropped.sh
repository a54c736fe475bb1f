#!/usr/bin/env bash
# Question: since opset 18 ONNX's Resize has `antialias`, so that a network can take whole photos and make them smaller itself, as
#   Pillow does. Do ONNX Runtime and OpenVINO then give the same picture, of floats and of bytes?
# Guess before the run: yes, to a thousandth of a level; of bytes both round to the nearest.
# Found: neither. OpenVINO reads the attribute, says antialias=True of its operation, and computes to the bit what it computes
#   without: noise that is made eight times smaller is 27 of 255 levels off in the mean, where ONNX Runtime is Pillow's to a
#   hundredth. Linear or cubic, read from ONNX or built of OpenVINO's own operations; only the modes that are named after
#   Pillow average. ONNX Runtime, in turn, cuts off the decimals of bytes without antialias, and rounds them with it, so that
#   its photos come half a level darker than OpenVINO's. A network that is moved from one to the other sees another picture
#   without a word: make photos smaller in front of it, or in OpenVINO by RESIZE_BILINEAR_PILLOW, and turn bytes into
#   floats before Resize.
# Versions: openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, pillow 13.0.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (mean difference to Pillow, of 255):
#   linear, antialias: ONNX Runtime 0.00, OpenVINO 26.94, as without
#   OpenVINO, bilinear_pillow: 0.00
#   cubic, antialias: ONNX Runtime 0.00, OpenVINO 35.12, as without
#   OpenVINO, bicubic_pillow: 0.00
#   ONNX Runtime, bytes, without antialias: -0.5 level in the mean
#   OpenVINO, bytes, without antialias: +0.0 level in the mean
#   ONNX Runtime, bytes, with antialias: +0.0 level in the mean
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 \
  pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper
from openvino import opset11
from PIL import Image

LARGE, SMALL = 256, 32
picture = np.random.default_rng(0).integers(0, 256, (LARGE, LARGE)).astype(np.uint8)
pillow = {
    "linear": np.asarray(Image.fromarray(picture.astype(np.float32)).resize((SMALL, SMALL), Image.Resampling.BILINEAR)),
    "cubic": np.asarray(Image.fromarray(picture.astype(np.float32)).resize((SMALL, SMALL), Image.Resampling.BICUBIC)),
}


def network(mode, antialias, kind=TensorProto.FLOAT, side=SMALL):
    empty = [helper.make_tensor(name, TensorProto.FLOAT, [0], []) for name in ("roi", "scales")]
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, side, side])
    attributes = {"mode": mode, "antialias": antialias, "exclude_outside": antialias, "cubic_coeff_a": -0.5}
    node = helper.make_node("Resize", ["x", "roi", "scales", "sizes"], ["y"], **attributes)
    values = [helper.make_tensor_value_info("x", kind, [1, 1, LARGE, LARGE])]
    answers = [helper.make_tensor_value_info("y", kind, [1, 1, side, side])]
    graph = helper.make_graph([node], "resize", values, answers, [*empty, sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model.SerializeToString()


def by_onnxruntime(network, values):
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": values[None, None]})[0][0, 0]


core = openvino.Core()


def by_openvino(model, values):
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(values[None, None])[0][0, 0]


def own(mode, antialias):
    x = opset11.parameter([1, 1, LARGE, LARGE], name="x")
    sizes, axes = np.array([SMALL, SMALL], np.int64), np.array([2, 3], np.int64)
    y = opset11.interpolate(x, sizes, mode, "sizes", antialias=antialias, axes=axes, cube_coeff=-0.5)
    return openvino.Model([y], [x], "own")


def off(values, mode):
    return abs(values.astype(float) - pillow[mode]).mean()


photo = picture.astype(np.float32)
for mode in ("linear", "cubic"):
    plain, smooth = network(mode, 0), network(mode, 1)
    model = core.read_model(smooth)
    said = [each.get_attributes()["antialias"] for each in model.get_ordered_ops() if each.get_type_name() == "Interpolate"]
    assert said == [True]
    right, wrong = by_onnxruntime(smooth, photo), by_openvino(model, photo)
    assert np.array_equal(wrong, by_openvino(core.read_model(plain), photo))
    print(f"{mode}, antialias: ONNX Runtime {off(right, mode):.2f}, OpenVINO {off(wrong, mode):.2f}, as without")
    assert off(right, mode) < 0.05 and off(wrong, mode) > 20
    native = mode if mode == "cubic" else "linear_onnx"
    assert np.array_equal(by_openvino(own(native, True), photo), by_openvino(own(native, False), photo))
    named = f"bi{mode}_pillow"
    print(f"OpenVINO, {named}: {off(by_openvino(own(named, False), photo), mode):.2f}")
    assert off(by_openvino(own(named, False), photo), mode) < 0.05
BYTES = 99
for antialias in (0, 1):
    exact = by_onnxruntime(network("linear", antialias, side=BYTES), photo)
    coded = network("linear", antialias, TensorProto.UINT8, BYTES)
    cut = by_onnxruntime(coded, picture) - exact
    print(f"ONNX Runtime, bytes, {'with' if antialias else 'without'} antialias: {round(cut.mean(), 1) + 0.0:+.1f} level in the mean")
    assert abs(cut.mean()) < 0.1 if antialias else cut.mean() < -0.4, cut.mean()
    if not antialias:
        rounded = by_openvino(core.read_model(coded), picture) - exact
        print(f"OpenVINO, bytes, without antialias: {round(rounded.mean(), 1) + 0.0:+.1f} level in the mean")
        assert abs(rounded.mean()) < 0.1, rounded.mean()
PYTHON
