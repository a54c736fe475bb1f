#!/usr/bin/env bash
# Question: networks for landmarks enlarge a heat map by transposed convolutions, and the place of its middle is the landmark. In ONNX
#   such a layer names its pads, or the size that it gives (`output_shape`), from which engines reckon the pads by a formula of the
#   standard. If their sum is odd, `auto_pad` says which side gets more. Do engines put the landmark in one place?
# Guess before the run: yes, or they refuse; a formula leaves no choice.
# Found: no, and they err where nothing was to choose. A kernel of 4 by 4 with stride 2 has one pad on each side. With the pads
#   written out all agree; with the size named, tract cuts off at the far side only: three such layers move each landmark 7 pixels
#   right and down, of a map of 128. OpenCV drops the size and the pads with it: the map is 142 pixels wide in its classic engine and
#   149 in its new one. For 3 by 3 OpenVINO drops SAME_UPPER, by which TensorFlow's side is named, and is 7 pixels left and up of
#   ONNX Runtime. In tract and OpenVINO shapes are as declared, and heat maps look right. Write pads and output_padding out, as
#   PyTorch's exporter does.
# Versions: onnxruntime 1.32.0, openvino 2026.4.1, tract 0.23.9, opencv-python-headless 5.0.0.93, onnx 1.23.2, numpy 2.4.6,
#   Python 3.11, Linux x86-64.
# Output seen (size of the map, and row and column of the landmark, of a dot at row 7 and column 5 of a map of 16):
#   4 by 4, pads
#     ONNX Runtime, OpenVINO, tract, OpenCV classic, OpenCV new: 128, 59.5 43.5
#   4 by 4, size
#     ONNX Runtime, OpenVINO: 128, 59.5 43.5
#     tract: 128, 66.5 50.5
#     OpenCV classic: 142, 66.5 50.5
#     OpenCV new: 149, 66.5 50.5
#   3 by 3, size
#     ONNX Runtime, OpenVINO: 128, 56.0 40.0
#     tract: 128, 63.0 47.0
#     OpenCV classic: 135, 63.0 47.0
#     OpenCV new: 142, 63.0 47.0
#   3 by 3, size, SAME_UPPER
#     ONNX Runtime: 128, 63.0 47.0
#     OpenVINO: 128, 56.0 40.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 openvino==2026.4.1 tract==0.23.9 \
  opencv-python-headless==5.0.0.93 onnx==1.23.2 numpy==2.4.6
OPENCV_LOG_LEVEL=OFF "$folder/venv/bin/python" - "$folder/network.onnx" <<'PYTHON'
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
import tract
from onnx import TensorProto, helper, numpy_helper

PATH = sys.argv[1]
LAYERS, SMALL = 3, 16
LARGE = SMALL * 2**LAYERS
KERNELS = {3: [1, 2, 1], 4: [1, 3, 3, 1]}
dot = np.zeros((1, 1, SMALL, SMALL), np.float32)
dot[0, 0, 7, 5] = 1


def write(side, **attributes):
    """Three transposed convolutions, each of which makes a map twice as large."""
    kernel = np.outer(KERNELS[side], KERNELS[side]).astype(np.float32)[None, None]
    names = ["x", *(f"map{layer}" for layer in range(1, LAYERS)), "y"]
    nodes = []
    for layer in range(LAYERS):
        size = [SMALL * 2 ** (layer + 1)] * 2
        given = {"output_shape": size} if "pads" not in attributes else {}
        ends = [names[layer], "kernel"], [names[layer + 1]]
        nodes.append(helper.make_node("ConvTranspose", *ends, strides=[2, 2], **given, **attributes))
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, dot.shape)
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, LARGE, LARGE])
    graph = helper.make_graph(nodes, "decoder", [value], [answer], [numpy_helper.from_array(kernel, "kernel")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, PATH)


def by_onnxruntime():
    return onnxruntime.InferenceSession(PATH, providers=["CPUExecutionProvider"]).run(None, {"x": dot})[0]


def by_openvino():
    return openvino.Core().compile_model(PATH, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(dot)[0]


def by_tract():
    return tract.onnx().load(PATH).into_model().into_runnable().run([dot])[0].to_numpy()


def by_opencv(engine):
    net = cv2.dnn.readNetFromONNX(PATH, engine)
    net.setInput(dot)
    return net.forward()


def landmark(heat):
    """Size of the map, and the centre of gravity of its values."""
    heat = heat[0, 0] / heat.sum()
    return len(heat), *(round(float((heat.sum(axis=1 - axis) * np.arange(len(heat))).sum()), 1) for axis in (0, 1))


BOTH = {"ONNX Runtime": by_onnxruntime, "OpenVINO": by_openvino}
ALL = BOTH | {
    "tract": by_tract,
    "OpenCV classic": lambda: by_opencv(cv2.dnn.ENGINE_CLASSIC),
    "OpenCV new": lambda: by_opencv(cv2.dnn.ENGINE_NEW),
}
RIGHT, NEAR, FAR = (128, 59.5, 43.5), (128, 56.0, 40.0), (128, 63.0, 47.0)
CASES = [
    ("4 by 4, pads", 4, {"pads": [1, 1, 1, 1]}, ALL, [RIGHT] * 5),
    ("4 by 4, size", 4, {}, ALL, [RIGHT, RIGHT, (128, 66.5, 50.5), (142, 66.5, 50.5), (149, 66.5, 50.5)]),
    ("3 by 3, size", 3, {}, ALL, [NEAR, NEAR, FAR, (135, 63.0, 47.0), (142, 63.0, 47.0)]),
    ("3 by 3, size, SAME_UPPER", 3, {"auto_pad": "SAME_UPPER"}, BOTH, [FAR, NEAR]),
]
for case, side, attributes, engines, seen in CASES:
    write(side, **attributes)
    print(case)
    places = {}
    for name, engine in engines.items():
        places.setdefault(landmark(engine()), []).append(name)
    for (size, row, column), names in places.items():
        print(f"  {', '.join(names)}: {size}, {row} {column}")
    assert {name: place for place, names in places.items() for name in names} == dict(zip(engines, seen, strict=True))
PYTHON
