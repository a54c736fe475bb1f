#!/usr/bin/env bash
# Question: a network that judges faces has inside what others use, too: maps of features, and an embedding before its last layers.
#   OpenCV's `forward(name)` runs a network up to a layer and gives what that layer says. Does OpenCV 5 give the same as OpenCV 4?
# Guess before the run: yes, or it refuses; a name stands for one layer, and there is nothing to confuse.
# Found: its new engine gives another layer's answer, and says nothing. It knows all names in the file. But layers share a few
#   buffers in turn, and the whole network is run before one is read: who asks gets what the last layer left in that buffer.
#   Here all layers share two, so that each one gives the third last layer's answer or the second last one's. Mostly the shape
#   tells, as two values where 64 belong. The embedding behind its Tanh has its 64, and they are those of a later layer. Only a
#   convolution whose ReLU is put into it raises. OpenCV 4 and the classic engine of OpenCV 5, asked by their own names
#   ("onnx_node!embedding"), are right in all. So embeddings of faces that were stored under OpenCV 4 match none that OpenCV 5
#   takes: add the layer to the file's outputs, or read the file with ENGINE_CLASSIC.
# Versions: opencv-python-headless 5.0.0.93 and 4.14.0.94, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (which layer's answer each name gives; ONNX Runtime says what is right):
#   OpenCV 4.14.0: stage1 right, stage2 right, embedding right, embedding_tanh right, age right, age_tanh right, gender right
#   OpenCV 5.0.0, classic: stage1 right, stage2 right, embedding right, embedding_tanh right, age right, age_tanh right, gender right
#   OpenCV 5.0.0, new: stage1 age_tanh, stage2 gender, embedding gender, embedding_tanh age_tanh, age gender, age_tanh right,
#     gender right
#   OpenCV 5.0.0, new: conv1 raises; of embedding_tanh [-0.71  0.32 -0.8 ] comes [ 0.89  0.84 -0.21]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for release in 4.14.0.94 5.0.0.93; do
  python3 -m venv "$folder/$release"
  "$folder/$release/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless=="$release" numpy==2.4.6
done
"$folder/5.0.0.93/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0
cat >"$folder/network.py" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(0)
nodes, weights = [], []


def layer(kind, name, taken, shape=None, **attributes):
    inputs = [taken]
    if shape is not None:
        values = random.normal(size=shape, scale=(2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{name}_weights"))
        inputs.append(f"{name}_weights")
    nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
    return name


last = "photo"
for number in range(4):
    last = layer("Conv", f"conv{number}", last, (32, 32 if number else 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    last = layer("Relu", f"stage{number}", last)
last = layer("Flatten", "flat", layer("GlobalAveragePool", "pooled", last))
last = layer("Tanh", "embedding_tanh", layer("Gemm", "embedding", last, (64, 32), transB=1))
last = layer("Tanh", "age_tanh", layer("Gemm", "age", last, (64, 64), transB=1))
layer("Softmax", "answer", layer("Gemm", "gender", last, (2, 64), transB=1), axis=1)
taken = helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, 64, 64])
given = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 2])
graph = helper.make_graph(nodes, "faces", [taken], [given], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, f"{sys.argv[1]}/faces.onnx")
model.graph.output.extend(helper.make_empty_tensor_value_info(node.name) for node in nodes[:-1])
session = onnxruntime.InferenceSession(model.SerializeToString())
photo = random.normal(size=(1, 3, 64, 64)).astype(np.float32)
names = [output.name for output in session.get_outputs()]
np.savez(f"{sys.argv[1]}/right.npz", photo=photo, **dict(zip(names, session.run(None, {"photo": photo}), strict=True)))
PYTHON
cat >"$folder/ask.py" <<'PYTHON'
import sys

import cv2
import numpy as np

NAMES = ("stage1", "stage2", "embedding", "embedding_tanh", "age", "age_tanh", "gender")
WRONG = {"stage1": "age_tanh", "stage2": "gender", "embedding": "gender", "embedding_tanh": "age_tanh", "age": "gender"}
right = dict(np.load(f"{sys.argv[1]}/right.npz"))
photo = right.pop("photo")
five = cv2.__version__.startswith("5")
engines = {", classic": [cv2.dnn.ENGINE_CLASSIC], ", new": []} if five else {"": []}


def close(one, other):
    return one.size == other.size and np.allclose(one.ravel(), other.ravel(), atol=1e-4)


for engine, chosen in engines.items():
    network = cv2.dnn.readNetFromONNX(f"{sys.argv[1]}/faces.onnx", *chosen)
    known = {name.removeprefix("onnx_node!"): name for name in network.getLayerNames()}
    found = {}
    for name in NAMES:
        network.setInput(photo)
        values = network.forward(known.get(name, name))
        found[name] = "right" if close(values, right[name]) else next(one for one in right if close(values, right[one]))
        if name == "embedding_tanh" and engine == ", new":
            assert values.shape == right[name].shape
            told = f"of {name} {right[name].ravel()[:3].round(2)} comes {values.ravel()[:3].round(2)}"
    print(f"OpenCV {cv2.__version__}{engine}: " + ", ".join(f"{name} {each}" for name, each in found.items()))
    assert found == {name: WRONG.get(name, "right") if engine == ", new" else "right" for name in NAMES}, found
if five:
    network.setInput(photo)
    try:
        network.forward("conv1")
    except cv2.error:
        print(f"OpenCV {cv2.__version__}, new: conv1 raises; {told}")
    else:
        raise SystemExit("conv1 is given")
PYTHON
"$folder/5.0.0.93/bin/python" "$folder/network.py" "$folder"
for release in 4.14.0.94 5.0.0.93; do
  OPENCV_LOG_LEVEL=OFF "$folder/$release/bin/python" "$folder/ask.py" "$folder"
done
