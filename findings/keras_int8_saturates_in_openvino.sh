#!/usr/bin/env bash
# Question: Keras makes the dense layers of a network int8 by one call, quantize("int8"), and writes it for OpenVINO by another,
#   export(format="openvino"). Does the head that names one of five classes answer there as it does in Keras?
# Guess before the run: yes, to a hundredth, for int4 as for int8, and whether it goes by ONNX or not.
# Found: int4 is right, and int8 is lost. Keras multiplies bytes by bytes and asks for 32 bits. The reader of TensorFlow's graphs
#   leaves that out, so that OpenVINO's MatMul takes int8 and gives int8: each sum stops at 127 and -128, and is then
#   scaled as if it were whole. Logits of 11 become 0.04, and little but their signs is left. Nearly half of the faces get
#   another class, and the surest one is sure to 0.21 where it was 1.00; nothing is raised. By ONNX the same network is right,
#   in OpenVINO, too, for there the product is a MatMulInteger; and Keras on its OpenVINO backend is right. So
#   quantize a network of Keras with OpenVINO's own tool, or go by ONNX, and compare answers, for the file loads and runs.
# Versions: keras 3.15.1, tensorflow-cpu 2.21.0, openvino 2026.4.1, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, scipy 1.17.1,
#   numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (64 made embeddings; share of classes as in Keras, greatest difference of a logit, surest answer):
#   float
#     Keras, to the weights as they were: 100%, 0.00, 1.00
#     ONNX, ONNX Runtime: 100%, 0.00, 1.00
#     ONNX, OpenVINO: 100%, 0.00, 1.00
#     export for OpenVINO: 100%, 0.00, 1.00
#   int4
#     Keras, to the weights as they were: 94%, 1.10, 1.00
#     the others as with float
#   int8
#     Keras, to the weights as they were: 100%, 0.08, 1.00
#     ONNX, ONNX Runtime: 100%, 0.00, 1.00
#     ONNX, OpenVINO: 100%, 0.00, 1.00
#     export for OpenVINO: 53%, 11.37, 0.21
#     types of MatMul there: ['i8', 'i8', 'i8'], greatest logit 0.04 of 11.40
#   int8, Keras on OpenVINO
#     Keras: 100%, 0.07, 1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 openvino==2026.4.1 \
  tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 scipy==1.17.1 numpy==2.4.6
export KERAS_HOME="$folder" TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0
cat >"$folder/head.py" <<'PYTHON'
import os
import sys
import warnings

os.environ["KERAS_BACKEND"] = sys.argv[2]
import keras
import numpy as np
import onnxruntime
import openvino

warnings.simplefilter("ignore")
random = np.random.default_rng(0)
embeddings = np.maximum(random.normal(size=(64, 128)), 0).astype(np.float32)
weights = random.normal(size=(128, 5), scale=0.5).astype(np.float32)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def by_openvino(file):
    return openvino.compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(embeddings)[0]


def told(name, logits, right):
    same, most = np.mean(logits.argmax(1) == right.argmax(1)), np.abs(logits - right).max()
    print(f"  {name}: {same:.0%}, {most:.2f}, {softmax(logits).max():.2f}")
    return same, most


def head(kind):
    taken = keras.Input((128,))
    dense = keras.layers.Dense(5)
    network = keras.Model(taken, dense(taken))
    dense.kernel.assign(weights)
    if kind != "float":
        network.quantize(kind)
    return network


wanted = embeddings @ weights
if sys.argv[2] == "openvino":
    print("int8, Keras on OpenVINO")
    assert told("Keras", np.asarray(head("int8").predict(embeddings, verbose=0)), wanted)[0] > 0.9
    raise SystemExit
for kind in ("float", "int4", "int8"):
    print(kind)
    network = head(kind)
    right = np.asarray(network.predict(embeddings, verbose=0))
    assert told("Keras, to the weights as they were", right, wanted)[0] > 0.9
    file = f"{sys.argv[1]}/{kind}"
    network.export(f"{file}.xml", format="openvino", verbose=False)
    network.export(f"{file}.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(f"{file}.onnx")
    assert told("ONNX, ONNX Runtime", session.run(None, {session.get_inputs()[0].name: embeddings})[0], right)[1] < 0.01
    assert told("ONNX, OpenVINO", by_openvino(f"{file}.onnx"), right)[1] < 0.01
    logits = by_openvino(f"{file}.xml")
    same, most = told("export for OpenVINO", logits, right)
    if kind == "int8":
        product = [each for each in openvino.Core().read_model(f"{file}.xml").get_ops() if each.get_type_name() == "MatMul"]
        types = [one.get_element_type().get_type_name() for one in (*product[0].inputs(), product[0].output(0))]
        print(f"  types of MatMul there: {types}, greatest logit {np.abs(logits).max():.2f} of {np.abs(right).max():.2f}")
        assert len(product) == 1 and types == ["i8"] * 3, types
        assert same < 0.7 and np.abs(logits).max() < 0.1 and softmax(logits).max() < 0.25
    else:
        assert most < 0.01
PYTHON
for backend in tensorflow openvino; do
  "$folder/venv/bin/python" "$folder/head.py" "$folder" "$backend"
done
