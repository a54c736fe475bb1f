#!/usr/bin/env bash
# Question: networks that were made with TensorFlow or Keras say of a layer "pad so that the size stays the same". Keras's export to
#   ONNX writes out the pads where the size of the input is fixed, and auto_pad where it is open. With stride 2 and an even size
#   one side gets a pixel more: the far one by SAME_UPPER, which is TensorFlow's, the near one by SAME_LOWER. Does OpenCV put it
#   there, in its old engine and in that of release 5?
# Guess before the run: yes; SAME_UPPER is what every such network has, and what an engine does not know it refuses.
# Found: for layers of 3 by 3 each engine knows one side, and takes either word for it. OpenCV 4, and the classic engine of 5, pad
#   far, so that TensorFlow's networks are right and those of SAME_LOWER are not. The new engine of OpenCV 5 pads near: a layer
#   reads a pixel beside what it was trained on, the next one two, and five of them, as in a network for 224 pixels, add up to
#   31 columns and rows, a seventh of the face. Nothing fails and the shapes are right. An odd size, 225, is read alike by all.
#   Pooling layers go the same way. Who moves a network to OpenCV 5 compares its answers first, exports it with a fixed size, or
#   asks for ENGINE_CLASSIC.
# Versions: opencv-python-headless 4.14.0.94 and 5.0.0.93, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (by how many columns what the middle of the last layer reads lies beside ONNX Runtime's):
#   224 pixels, layers: 1, SAME_UPPER: 4.14.0 +0; 5.0.0 -1; 5.0.0, classic engine +0
#   224 pixels, layers: 1, SAME_LOWER: 4.14.0 +1; 5.0.0 +0; 5.0.0, classic engine +1
#   224 pixels, layers: 5, SAME_UPPER: 4.14.0 +0; 5.0.0 -31; 5.0.0, classic engine +0
#   224 pixels, layers: 5, SAME_LOWER: 4.14.0 +31; 5.0.0 +0; 5.0.0, classic engine +31
#   225 pixels, layers: 1, SAME_UPPER: 4.14.0 +0; 5.0.0 +0; 5.0.0, classic engine +0
#   225 pixels, layers: 1, SAME_LOWER: 4.14.0 +0; 5.0.0 +0; 5.0.0, classic engine +0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
for release in 4.14.0.94 5.0.0.93; do
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$folder/$release" \
    "opencv-python-headless==$release"
done
cat >"$folder/pads.py" <<'PYTHON'
import os
import subprocess
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CODE = """
import sys
import cv2
import numpy as np
net = cv2.dnn.readNetFromONNX(sys.argv[1], *map(int, sys.argv[3:]))
net.setInput(np.load(sys.argv[2]))
np.save(sys.argv[2], net.forward())
"""
CLASSIC = 1  # cv2.dnn.ENGINE_CLASSIC of OpenCV 5


def network(pad, side, layers):
    """Convolutions of 3 by 3 with stride 2, each of which takes the middle of what it sees."""
    middle = np.zeros((1, 1, 3, 3), np.float32)
    middle[0, 0, 1, 1] = 1
    names = ["x", *(f"c{index}" for index in range(1, layers)), "y"]
    nodes = [
        helper.make_node("Conv", [one, "middle"], [other], kernel_shape=[3, 3], strides=[2, 2], auto_pad=pad)
        for one, other in zip(names, names[1:])
    ]
    small = -(-side // 2**layers)
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, side, side])]
    answers = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, small, small])]
    graph = helper.make_graph(nodes, "net", values, answers, [numpy_helper.from_array(middle, "middle")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 7
    return model.SerializeToString()


def by_opencv(folder, model, values, *engine):
    network_file, values_file = os.path.join(work, "net.onnx"), os.path.join(work, "values.npy")
    with open(network_file, "wb") as file:
        file.write(model)
    np.save(values_file, values)
    there = {**os.environ, "PYTHONPATH": folder}
    command = [sys.executable, "-c", CODE, network_file, values_file, *map(str, engine)]
    subprocess.run(command, env=there, check=True, capture_output=True)
    return np.load(values_file)


work, old, new = sys.argv[1:]
found = {}
for side, layers in ((224, 1), (224, 5), (225, 1)):
    ramp = np.tile(np.arange(side, dtype=np.float32), (1, 1, side, 1))
    for pad in ("SAME_UPPER", "SAME_LOWER"):
        model = network(pad, side, layers)
        right = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": ramp})[0]
        engines = {"4.14.0": (old,), "5.0.0": (new,), "5.0.0, classic engine": (new, CLASSIC)}
        row = []
        for name, (folder, *engine) in engines.items():
            answer = by_opencv(folder, model, ramp, *engine)
            assert answer.shape == right.shape
            # The column that is read in the middle of the last layer, beside that of ONNX Runtime.
            place = (0, 0, answer.shape[2] // 2, answer.shape[3] // 2)
            found[side, layers, pad, name] = int(answer[place] - right[place])
            row.append(f"{name} {found[side, layers, pad, name]:+d}")
        print(f"{side} pixels, layers: {layers}, {pad}: {'; '.join(row)}")
for (side, layers, pad, name), shift in found.items():
    engine_takes = "SAME_LOWER" if name == "5.0.0" else "SAME_UPPER"
    whole = 0 if side % 2 else 2**layers - 1
    assert shift == (0 if pad == engine_takes else whole if pad == "SAME_LOWER" else -whole), (side, layers, pad, name, shift)
PYTHON
"$folder/venv/bin/python" "$folder/pads.py" "$folder" "$folder/4.14.0.94" "$folder/5.0.0.93"
