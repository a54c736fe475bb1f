#!/usr/bin/env bash
# Question: a detector of faces gives two maps of scores, not a face and a face, and a softmax over axis 1 makes probabilities of
#   them. ONNX changed what its Softmax means with opset 13, and many a file is of opset 11. Do engines read one file alike?
# Guess before the run: yes; until opset 12 all take axis 1 and what follows as one row, and from 13 on the axis alone.
# Found: no two of three do. ONNX Runtime follows the guess. OpenCV takes the axis alone in every opset. OpenVINO goes with ONNX
#   Runtime up to opset 10, with OpenCV in 11 and 12, and with both from 13 on; and that holds for Softmax alone: LogSoftmax, its
#   twin, it reads as ONNX Runtime does in all of them. So the surest face in a map of 16 by 20 places of opset 11 has 0.998 in
#   OpenVINO and 0.036 in ONNX Runtime, where no threshold finds one. Where the axis is the last one, all agree: who writes
#   such a softmax for opset 11 puts it there with a Transpose, and who moves such a file to another engine compares first.
# Versions: onnxruntime 1.32.0, openvino 2026.4.1, opencv-python-headless 5.0.0.93, onnx 1.23.2, numpy 2.4.6, Python 3.11,
#   Linux x86-64.
# Output seen (what one softmax is taken over by ONNX Runtime, OpenVINO and OpenCV):
#   opset 9: Softmax row, row, axis; LogSoftmax row, row, axis
#   opset 10: Softmax row, row, axis; LogSoftmax row, row, axis
#   opset 11: Softmax row, axis, axis; LogSoftmax row, row, axis
#   opset 12: Softmax row, axis, axis; LogSoftmax row, row, axis
#   opset 13: Softmax axis, axis, axis; LogSoftmax axis, axis, axis
#   opset 14: Softmax axis, axis, axis; LogSoftmax axis, axis, axis
#   the face in opset 11: ONNX Runtime 0.036, OpenVINO 0.998, OpenCV 0.998
#   greatest of ONNX Runtime in opset 11: 0.038
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 openvino==2026.4.1 \
  opencv-python-headless==5.0.0.93 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper

SHAPE = [1, 2, 16, 20]
scores = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
scores[:, 0] += 3
scores[0, :, 8, 10] = (0, 6)


def network(operator, opset):
    value, answer = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], axis=1)], "scores", [value], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 7
    return model.SerializeToString()


def by_onnxruntime(model):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": scores})[0]


core = openvino.Core()


def by_openvino(model):
    return core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(scores)[0]


def by_opencv(model):
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
    net.setInput(scores)
    return net.forward()


powers = np.exp(scores.astype(float))
MEANINGS = {"axis": powers / powers.sum(axis=1, keepdims=True), "row": powers / powers.sum()}
ENGINES = {"ONNX Runtime": by_onnxruntime, "OpenVINO": by_openvino, "OpenCV": by_opencv}


def meaning(values):
    (found,) = (name for name, right in MEANINGS.items() if np.allclose(values, right, rtol=1e-3, atol=1e-9))
    return found


for opset in range(9, 15):
    words = []
    for operator in ("Softmax", "LogSoftmax"):
        answers = {name: engine(network(operator, opset)) for name, engine in ENGINES.items()}
        found = {name: meaning(np.exp(each) if operator == "LogSoftmax" else each) for name, each in answers.items()}
        words.append(f"{operator} " + ", ".join(found.values()))
        old = "row" if opset < 13 else "axis"
        odd = operator == "Softmax" and opset in (11, 12)
        assert found == {"ONNX Runtime": old, "OpenVINO": "axis" if odd else old, "OpenCV": "axis"}
        if opset == 11 and operator == "Softmax":
            face = {name: each[0, 1, 8, 10] for name, each in answers.items()}
            greatest = answers["ONNX Runtime"].max()
    print(f"opset {opset}: {'; '.join(words)}")
print("the face in opset 11: " + ", ".join(f"{name} {each:.3f}" for name, each in face.items()))
print(f"greatest of ONNX Runtime in opset 11: {greatest:.3f}")
PYTHON
