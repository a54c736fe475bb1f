#!/usr/bin/env bash
# Question: AlexNet and GoogLeNet, and the age and gender networks made of them, divide each value by its neighbours in other channels
#   (LRN): x / (bias + alpha / size * sum of squares) ** beta. Does OpenVINO compute it as ONNX Runtime and OpenCV do?
# Guess before the run: yes, to a thousandth, for each bias; the layer is in every engine since 2015.
# Found: for a whole bias only, such as GoogLeNet's 1 and AlexNet's 2. The CPU's layer takes a whole number for it, and cuts
#   decimals off: 1.5 counts as 1 and 2.5 as 2, so that values are 1.36 and 1.18 times as large, and with 1.99 two thirds too large.
#   Below 1 it is 0: then 0.9 gives 200 times the value, and where all channels are 0, as behind a ReLU, NaN. The graph that was read
#   says the right bias, so that looking at it shows nothing, and networks that were tried first are those that are right.
#   The operation of OpenVINO itself errs alike, so that no reader of a format is to blame. ONNX Runtime, OpenCV and tract are
#   within a hundred thousandth. With another bias b, divide alpha by b, take the bias 1 and multiply by b ** -beta behind.
# Versions: openvino 2026.4.1, onnxruntime 1.32.0, opencv-python-headless 5.0.0.93, tract 0.23.9, onnx 1.23.2, numpy 2.4.6,
#   Python 3.11, Linux x86-64.
# Output seen (how many times the right value OpenVINO gives, in the median, and what it gives for zeros; others):
#   bias 0.5: 128.77, nan; others 1.00
#   bias 0.9: 200.01, nan; others 1.00
#   bias 1.0: 1.00, 0.0; others 1.00
#   bias 1.5: 1.36, 0.0; others 1.00
#   bias 1.99: 1.68, 0.0; others 1.00
#   bias 2.0: 1.00, 0.0; others 1.00
#   bias 2.5: 1.18, 0.0; others 1.00
#   built of OpenVINO's own operation, bias 1.5: 1.36; the graph says 1.5
#   bias 1.5 as a bias of 1 and a factor behind: 1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 onnxruntime==1.32.0 \
  opencv-python-headless==5.0.0.93 tract==0.23.9 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/lrn.onnx" <<'PYTHON'
import sys

import cv2
import numpy as np
import onnxruntime
import openvino
import tract
from onnx import TensorProto, helper
from openvino import opset13

SHAPE, SIZE, ALPHA, BETA = [1, 64, 8, 8], 5, 1e-4, 0.75
path = sys.argv[1]
core = openvino.Core()
maps = np.abs(np.random.default_rng(0).normal(0, 3, SHAPE)).astype(np.float32)
maps[..., 0, 0] = 0


def right(bias):
    squares = np.pad(maps.astype(float) ** 2, ((0, 0), (SIZE // 2, SIZE // 2), (0, 0), (0, 0)))
    sums = sum(squares[:, first : first + SHAPE[1]] for first in range(SIZE))
    return maps / (bias + ALPHA / SIZE * sums) ** BETA


def write(bias):
    value, answer = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    node = helper.make_node("LRN", ["x"], ["y"], size=SIZE, alpha=ALPHA, beta=BETA, bias=bias)
    model = helper.make_model(helper.make_graph([node], "lrn", [value], [answer]), opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def by_openvino(model):
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(maps)[0]


def by_opencv():
    net = cv2.dnn.readNetFromONNX(path)
    net.setInput(maps)
    return net.forward()


def own(alpha, bias, factor):
    parameter = opset13.parameter(SHAPE, np.float32)
    layer = opset13.lrn(parameter, opset13.constant(np.array([1], np.int64)), alpha, BETA, bias, SIZE)
    return openvino.Model([opset13.multiply(layer, np.float32(factor))], [parameter]), layer.get_attributes()["bias"]


def times(answer, bias):
    return float(np.median(answer[maps > 0] / right(bias)[maps > 0]))


seen = {}
for bias in (0.5, 0.9, 1.0, 1.5, 1.99, 2.0, 2.5):
    write(bias)
    answer = by_openvino(core.read_model(path))
    seen[bias], zero = times(answer, bias), answer[0, 0, 0, 0]
    runnable = tract.onnx().load(path).into_model().into_runnable()
    others = [onnxruntime.InferenceSession(path).run(None, {"x": maps})[0], by_opencv(), runnable.run([maps])[0].to_numpy()]
    print(f"bias {bias}: {seen[bias]:.2f}, {zero}; others {times(others[0], bias):.2f}")
    assert all(np.abs(other - right(bias)).max() < 1e-4 for other in others)
    assert np.isnan(zero) == (bias < 1)
    if bias > 1:
        assert np.allclose(answer, right(int(bias)), atol=1e-4)
model, bias = own(ALPHA, 1.5, 1.0)
alone = times(by_openvino(model), 1.5)
mended = times(by_openvino(own(ALPHA / 1.5, 1.0, 1.5**-BETA)[0]), 1.5)
print(f"built of OpenVINO's own operation, bias 1.5: {alone:.2f}; the graph says {bias}")
print(f"bias 1.5 as a bias of 1 and a factor behind: {mended:.2f}")
assert seen[0.5] > 100 and seen[0.9] > 150 and seen[1.99] > 1.6 and abs(alone - seen[1.5]) < 1e-3 and abs(mended - 1) < 1e-3
assert bias == 1.5
PYTHON
