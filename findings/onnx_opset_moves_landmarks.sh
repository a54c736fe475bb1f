#!/usr/bin/env bash
# Question: networks for landmarks enlarge a heat map, and the place of its middle is the landmark. Older files are of opset 9 or 10,
#   and quantisers and newer engines want 11 or more, for which ONNX has a converter. Does the landmark stay?
# Guess before the run: yes; a converter writes the old meaning out where a default has changed, or refuses.
# Found: it moves right and down. Linear Upsample of opset 9 and Resize of opset 10 begin at the corner. Opset 11 brought an attribute
#   for that, whose default is the middle of pixels, and the converter leaves it out. At four times the size each landmark is
#   1.5 pixels off, at eight times 3.5. Nobody need ask for it: ONNX Runtime's own tools convert without a word. quantize_dynamic
#   of a file of opset 9 does, though it only makes weights smaller, and so does the preparation that its guide recommends, for
#   opset 10. What is searched then is a loss by int8, and no int8 is to blame. OpenCV 5 reads opset 10 as if it were converted,
#   OpenVINO reads it right. Set coordinate_transformation_mode to "asymmetric" by hand in each converted Resize.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, openvino 2026.4.1, opencv-python-headless 5.0.0.93, numpy 2.4.6, Python 3.11,
#   Linux x86-64.
# Output seen (column and row of the landmark in a map of 64, of a dot at column 8 and row 5 of a map of 16):
#   opset 9, as it is: 32.0 20.0
#   opset 9, as it is, OpenVINO: 32.0 20.0
#   opset 9, onnx.version_converter: 33.5 21.5
#   opset 9, update_onnx_opset: 33.5 21.5
#   opset 9, quantize_dynamic: 33.5 21.5
#   opset 10, as it is: 32.0 20.0
#   opset 10, as it is, OpenVINO: 32.0 20.0
#   opset 10, onnx.version_converter: 33.5 21.5
#   opset 10, update_onnx_opset: 33.5 21.5
#   opset 10, as it is, OpenCV: 33.5 21.5
#   opset 10, quant_pre_process: 33.5 21.5
#   opset 10, converted and mended: 32.0 20.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 sympy==1.14.0 openvino==2026.4.1 \
  opencv-python-headless==5.0.0.93 numpy==2.4.6
cat >"$folder/move.py" <<'PYTHON'
import logging
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.tools.onnx_model_utils import update_onnx_opset

logging.disable(logging.WARNING)
folder = Path(sys.argv[1])
dot = np.zeros((1, 1, 16, 16), np.float32)
dot[0, 0, 5, 8] = 1


def write(operator, opset):
    """A convolution that keeps the map as it is, then the map at four times the size."""
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, 1, 1] = 1
    nodes = [helper.make_node("Conv", ["x", "w"], ["h"], pads=[1] * 4)]
    nodes.append(helper.make_node(operator, ["h", "s"], ["y"], mode="linear"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, side, side]) for name, side in (("x", 16), ("y", 64))]
    constants = [numpy_helper.from_array(kernel, "w"), numpy_helper.from_array(np.float32([1, 1, 4, 4]), "s")]
    graph = helper.make_graph(nodes, "landmark", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / f"{opset}.onnx")
    return folder / f"{opset}.onnx"


def tell(name, answer, wanted):
    heat = answer[0, 0]
    place = [float((heat.sum(axis=axis) * np.arange(64)).sum() / heat.sum()) for axis in (0, 1)]
    print(f"{name}: {place[0]:.1f} {place[1]:.1f}")
    assert np.allclose(place, wanted, atol=0.01), (name, place)


def by_runtime(name, path, wanted):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    tell(name, session.run(None, {"x": dot})[0], wanted)


STAYED, MOVED = (32, 20), (33.5, 21.5)
other = folder / "other.onnx"
for operator, opset in (("Upsample", 9), ("Resize", 10)):
    path = write(operator, opset)
    name = f"opset {opset}"
    by_runtime(f"{name}, as it is", path, STAYED)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    tell(f"{name}, as it is, OpenVINO", compiled(dot)[0], STAYED)
    onnx.save(version_converter.convert_version(onnx.load(path), 17), other)
    by_runtime(f"{name}, onnx.version_converter", other, MOVED)
    update_onnx_opset(path, 17, other)
    by_runtime(f"{name}, update_onnx_opset", other, MOVED)
    if opset == 9:
        quantize_dynamic(path, other)
        by_runtime(f"{name}, quantize_dynamic", other, MOVED)
    else:
        network = cv2.dnn.readNetFromONNX(str(path))
        network.setInput(dot)
        tell(f"{name}, as it is, OpenCV", network.forward(), MOVED)
        quant_pre_process(str(path), str(other))
        by_runtime(f"{name}, quant_pre_process", other, MOVED)
        model = version_converter.convert_version(onnx.load(path), 17)
        [resize] = [node for node in model.graph.node if node.op_type == "Resize"]
        resize.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        onnx.save(model, other)
        by_runtime(f"{name}, converted and mended", other, STAYED)
PYTHON
"$folder/venv/bin/python" "$folder/move.py" "$folder"
