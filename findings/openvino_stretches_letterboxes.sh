#!/usr/bin/env bash
# Question: a network can take whole photos and fit them in by itself. Since opset 19 ONNX's Resize keeps a photo's shape
#   (`keep_aspect_ratio_policy`), CenterCropPad adds the bars, or cuts what sticks out. Do engines give one picture?
# Guess before the run: ONNX Runtime gives what ONNX's own reference evaluator gives; OpenVINO does so, too, or refuses.
# Found: OpenVINO reads the attribute over and stretches. What CenterCropPad then gets has its size already, so that nothing is
#   raised, and every shape is as declared. A round face in a photo of 2 to 1 is 30 by 30 pixels of 112 where bars were asked for,
#   and 60 by 60 where the sides are cut. OpenVINO makes it 30 by 60 in both cases: half as wide as it is high. It is so
#   with a fixed size and with an open one, for linear, cubic and nearest. Square photos are right, so that a test with aligned
#   crops shows nothing. Whoever serves by OpenVINO fits photos in before the network, or computes the two scales in the graph.
# Versions: openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (width and height of a round face, of the reference evaluator, ONNX Runtime and OpenVINO; the photo's size first):
#   240 x 120, not_larger, linear: 30 x 30, 30 x 30, 30 x 60
#   240 x 120, not_smaller, linear: 60 x 60, 60 x 60, 30 x 60
#   240 x 120, not_larger, cubic: 30 x 30, 30 x 30, 30 x 60
#   240 x 120, not_smaller, cubic: 60 x 60, 60 x 60, 30 x 60
#   240 x 120, not_larger, nearest: 30 x 30, 30 x 30, 30 x 60
#   240 x 120, not_smaller, nearest: 60 x 60, 60 x 60, 30 x 60
#   120 x 120, not_larger, linear: 60 x 60, 60 x 60, 60 x 60
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 \
  numpy==2.4.6
cat >"$folder/letterbox.py" <<'PYTHON'
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, checker, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SIDE = 112


def network(policy, mode, height, width):
    nodes = [
        helper.make_node("Resize", ["photo", "", "", "sides"], ["fitted"], mode=mode, axes=[2, 3], keep_aspect_ratio_policy=policy),
        helper.make_node("CenterCropPad", ["fitted", "sides"], ["picture"], axes=[2, 3]),
    ]
    photo = helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, height, width])
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    sides = numpy_helper.from_array(np.array([SIDE, SIDE]), "sides")
    graph = helper.make_graph(nodes, "letterbox", [photo], [picture], [sides])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    checker.check_model(model, full_check=True)
    return model


def face(picture):
    lit = picture[0, 0] > 0.5
    return int(lit.any(0).sum()), int(lit.any(1).sum())


def round_face(width, height):
    rows, columns = np.mgrid[:height, :width]
    inside = np.hypot(rows - height / 2 + 0.5, columns - width / 2 + 0.5) < 32
    return np.repeat(inside[None, None].astype(np.float32), 3, 1)


core = openvino.Core()
cases = [(240, 120, policy, mode) for mode in ("linear", "cubic", "nearest") for policy in ("not_larger", "not_smaller")]
for width, height, policy, mode in [*cases, (120, 120, "not_larger", "linear")]:
    photo = round_face(width, height)
    for sides in ((height, width), ("height", "width")):
        model = network(policy, mode, *sides)
        held = model.SerializeToString()
        reference = ReferenceEvaluator(model).run(None, {"photo": photo})[0]
        runtime = onnxruntime.InferenceSession(held).run(None, {"photo": photo})[0]
        compiled = core.compile_model(core.read_model(held), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        stretched = compiled(photo)[0]
        assert reference.shape == runtime.shape == stretched.shape == (1, 3, SIDE, SIDE)
        assert np.allclose(reference, runtime, atol=1e-4)
        sizes = [face(each) for each in (reference, runtime, stretched)]
        assert sizes[0] == sizes[1] and abs(sizes[0][0] - sizes[0][1]) <= 1
        if width == height:
            assert np.allclose(reference, stretched, atol=1e-4)
        else:
            assert 1.8 < sizes[2][1] / sizes[2][0] < 2.2
    print(f"{width} x {height}, {policy}, {mode}: " + ", ".join(f"{across} x {down}" for across, down in sizes))
PYTHON
"$folder/venv/bin/python" "$folder/letterbox.py"
