#!/usr/bin/env bash
# Question: an age is never negative, and so networks that estimate it may end in a Softplus, log(1 + exp(x)). For all but small
#   values that is x itself. Do engines answer the same age, up to 101 years?
# Guess before the run: OpenCV 5's new engine overflows, as a first look showed. OpenCV 4, the classic engine and tract are right.
# Found: all engines of OpenCV and tract compute the formula as it is written. exp(89) is more than a float32 holds: whoever is 88
#   is 88, and whoever is 89 is infinitely old. Nothing is raised, and the mean age of a crowd with one great-grandmother is
#   infinite. ONNX Runtime and OpenVINO are right, OpenVINO at half precision, too. Test faces are seldom that old. In
#   months, or with a variance instead of an age, the border lies amid what is common. Clip before the Softplus, or leave the
#   network's last layer linear.
# Versions: opencv-python-headless 4.14.0.94 and 5.0.0.93, tract 0.23.9, onnxruntime 1.32.0, openvino 2026.4.1, onnx 1.23.2,
#   numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (ages that are 5, 60, 88, 89 and 101 years before the Softplus):
#   OpenCV 4.14.0: 5.0 60.0 88.0 inf inf
#   OpenCV 5.0.0, classic: 5.0 60.0 88.0 inf inf
#   OpenCV 5.0.0, new: 5.0 60.0 88.0 inf inf
#   tract: 5.0 60.0 88.0 inf inf
#   ONNX Runtime: 5.0 60.0 88.0 89.0 101.0
#   OpenVINO, f32: 5.0 60.0 88.0 89.0 101.0
#   OpenVINO, f16: 5.0 60.0 88.0 89.0 101.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/four"
python3 -m venv "$folder/five"
"$folder/four/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==4.14.0.94 numpy==2.4.6
"$folder/five/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6 tract==0.23.9 \
  onnxruntime==1.32.0 openvino==2026.4.1 onnx==1.23.2
cat >"$folder/ages.py" <<'PYTHON'
import sys

import cv2
import numpy as np

path = sys.argv[1] + "/age.onnx"
ages = np.array([[5, 60, 88, 89, 101]], np.float32)


def answer(name, values, whole):
    values = np.asarray(values).ravel()
    print(f"{name}: " + " ".join(f"{value:.1f}" for value in values))
    assert np.allclose(values[:3], ages[0, :3], atol=0.3), name
    if whole:
        assert np.allclose(values, ages[0], atol=0.5), name
    else:
        assert np.isposinf(values[3:]).all(), name


if cv2.__version__.startswith("5"):
    engines = {", classic": [cv2.dnn.ENGINE_CLASSIC], ", new": [cv2.dnn.ENGINE_NEW]}
else:
    engines = {"": []}
for engine, chosen in engines.items():
    network = cv2.dnn.readNetFromONNX(path, *chosen)
    network.setInput(ages)
    answer(f"OpenCV {cv2.__version__}{engine}", network.forward(), False)
if cv2.__version__.startswith("5"):
    import onnxruntime
    import openvino
    import tract

    runnable = tract.onnx().load(path).into_model().into_runnable()
    answer("tract", runnable.run([ages])[0].to_numpy(), False)
    answer("ONNX Runtime", onnxruntime.InferenceSession(path).run(None, {"x": ages})[0], True)
    for precision in ("f32", "f16"):
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
        answer(f"OpenVINO, {precision}", compiled(ages)[0], True)
PYTHON
"$folder/five/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

nodes = [helper.make_node("Gemm", ["x", "w"], ["years"]), helper.make_node("Softplus", ["years"], ["age"])]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 5]) for name in ("x", "age")]
weights = [numpy_helper.from_array(np.eye(5, dtype=np.float32), "w")]
graph = helper.make_graph(nodes, "age", ends[:1], ends[1:], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
checker.check_model(model, full_check=True)
save(model, sys.argv[1] + "/age.onnx")
PYTHON
for release in four five; do
  "$folder/$release/bin/python" "$folder/ages.py" "$folder"
done
