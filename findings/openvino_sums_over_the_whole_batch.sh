#!/usr/bin/env bash
# Question: a network's log-probabilities are its logits less their ReduceLogSumExp over the classes, and an embedding may be divided
#   by its ReduceL1. ONNX names the axes as an attribute until opset 17, and as an input from 18 on. Does OpenVINO sum over them?
# Guess before the run: yes, for all ten reductions, in every opset; they are among the oldest operations, and differ in one formula.
# Found: in opsets 13 to 17, which many exporters wrote for years, ReduceL1, ReduceLogSum and ReduceLogSumExp leave the axes
#   out and sum over everything, the batch, too. The other seven reductions are right, and so are all up to 12 and from 18
#   on. With the axes kept as ones nothing refuses, for the sum fits any shape. One face alone has its right probabilities,
#   so that a trial with one photo shows nothing. Two like faces in a batch have half of theirs each, eight an eighth, and the
#   face beside a surer one next to nothing: what a face is answered depends on its company. Names by the greatest value are right,
#   so that accuracy tells nothing, and thresholds fail. ONNX Runtime, OpenCV and tract are right. Convert such a file to
#   opset 18 (onnx.version_converter), or have LogSoftmax in it.
# Versions: openvino 2026.4.1, onnxruntime 1.32.0, opencv-python-headless 5.0.0.93, tract 0.23.9, onnx 1.23.2, numpy 2.4.6,
#   Python 3.11, Linux x86-64.
# Output seen (which reductions OpenVINO takes over all axes; the probability of one face alone, among like ones, beside a surer one):
#   opset 12: none
#   opset 13: ReduceL1, ReduceLogSum, ReduceLogSumExp
#   opset 17: ReduceL1, ReduceLogSum, ReduceLogSumExp
#   opset 18: none
#   ONNX Runtime: alone 0.90, of two 0.90, of eight 0.90, beside a surer one 0.90
#   OpenVINO: alone 0.90, of two 0.45, of eight 0.11, beside a surer one 0.02
#   OpenVINO, converted to opset 18: alone 0.90, of two 0.90, of eight 0.90, beside a surer one 0.90
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 onnxruntime==1.32.0 \
  opencv-python-headless==5.0.0.93 tract==0.23.9 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/reduce.onnx" <<'PYTHON'
import sys

import cv2
import numpy as np
import onnxruntime
import openvino
import tract
from onnx import TensorProto, helper, version_converter

path = sys.argv[1]
core = openvino.Core()
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def network(nodes, opset, inits, faces, columns):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [faces, 5])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [faces, columns])
    graph = helper.make_graph(nodes, "reduce", [value], [answer], inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def reduce_by(reduction, opset, name="y"):
    if opset >= 18 or (reduction == "Sum" and opset >= 13):
        axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
        return helper.make_node("Reduce" + reduction, ["x", "axes"], [name], keepdims=1), [axes]
    return helper.make_node("Reduce" + reduction, ["x"], [name], keepdims=1, axes=[1]), []


def by_openvino(model, values):
    return core.compile_model(core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values)[0]


def by_onnxruntime(model, values):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": values})[0]


def by_opencv(model, values):
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(values)
    return net.forward()


def by_tract(model, values):
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
    return tract.onnx().load(path).into_model().into_runnable().run([values])[0].to_numpy()


values = np.abs(np.random.default_rng(0).normal(0, 3, (8, 5))).astype(np.float32)
for opset in (12, 13, 17, 18):
    whole = []
    for reduction in REDUCTIONS:
        node, inits = reduce_by(reduction, opset)
        model = network([node], opset, inits, 8, 1)
        right = by_onnxruntime(model, values)
        assert right.shape == (8, 1)
        assert all(np.allclose(engine(model, values), right, rtol=1e-3) for engine in (by_opencv, by_tract))
        found = by_openvino(model, values)
        if found.shape != right.shape:
            assert found.shape == (1, 1)
            whole.append("Reduce" + reduction)
        else:
            assert np.allclose(found, right, rtol=1e-3)
    print(f"opset {opset}: {', '.join(whole) or 'none'}")
    assert whole == (["ReduceL1", "ReduceLogSum", "ReduceLogSumExp"] if 13 <= opset <= 17 else [])

face = np.log(np.array([0.9, 0.04, 0.03, 0.02, 0.01], np.float32))
batches = {"alone": [face], "of two": [face] * 2, "of eight": [face] * 8, "beside a surer one": [face, face * 3 + 4]}


def probabilities(engine, converted):
    answers = []
    for batch in batches.values():
        node, inits = reduce_by("LogSumExp", 17, "sum")
        model = network([node, helper.make_node("Sub", ["x", "sum"], ["y"])], 17, inits, len(batch), 5)
        model = version_converter.convert_version(model, 18) if converted else model
        answers.append(float(np.exp(engine(model, np.array(batch)))[0, 0]))
    return answers


rows = {"ONNX Runtime": probabilities(by_onnxruntime, False), "OpenVINO": probabilities(by_openvino, False)}
rows["OpenVINO, converted to opset 18"] = probabilities(by_openvino, True)
for name, row in rows.items():
    print(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in zip(batches, row)))
    if name != "OpenVINO":
        assert np.allclose(row, 0.9, atol=1e-4)
wrong = rows["OpenVINO"]
assert abs(wrong[0] - 0.9) < 1e-4 and abs(wrong[1] - 0.45) < 1e-4 and abs(wrong[2] - 0.9 / 8) < 1e-4 and wrong[3] < 0.05
PYTHON
