#!/usr/bin/env bash
# Question: MNN runs networks on phones and other small machines, and its converter reads ONNX. A network may cut the aligned face
#   out of the photo itself, by GridSample, and make pictures larger or smaller by Resize. Does MNN compute what ONNX Runtime does?
# Guess before the run: yes, to a thousandth, or its converter refuses.
# Found: no. It reads six settings as others, ends with "Converted Success!", and gives to the bit what those others give.
#   Bicubic crops are bilinear; reflection beyond the photo's edge is border. `antialias` is dropped, so that a photo made
#   4.6 times smaller is 6 of 255 levels off. `half_pixel_symmetric` is `asymmetric`, and SAME_LOWER is SAME_UPPER, each of which
#   moves the picture. AveragePool with pads at the far sides alone does not count them where the network says to; with pads on
#   all sides it does. And cubic Resize with half pixels errs at the start: where a place lies left of the first pixel's middle, it
#   takes the place one pixel on. Of four times as many rows the first two hold what the fifth and sixth hold.
#   It tells of the bicubic mode alone, among its notes ("Don't support mode bicubic"); of "linear", the name of opset 20, it
#   says the same and does it right. Where a network resamples, compare its crops before MNN is trusted with it.
# Versions: MNN 3.6.1, onnxruntime 1.32.0, onnx 1.23.2, scikit-image 0.26.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (differences to ONNX Runtime on the astronaut's face of scikit-image, 160 by 160, with antialias on its photo; of 255):
#   GridSample, bicubic, is bilinear: mean 1.47, at most 25.6
#   GridSample, reflection, is border: mean 0.25, at most 127.3, 9.5 beyond the photo's edge
#   Resize, antialias, is without: mean 6.41, at most 103.5
#   Resize, half_pixel_symmetric, is asymmetric: mean 2.85, at most 64.4
#   MaxPool, SAME_LOWER, is SAME_UPPER: mean 8.19, at most 173.0
#   Conv, SAME_LOWER, is SAME_UPPER: mean 9.63, at most 128.6
#   AveragePool, far pads counted, is not counted: mean 1.06, at most 129.2
#   Resize, cubic, 2 times: first 1 of rows mean 10.95, at most 52.8
#   Resize, cubic, 4 times: first 2 of rows mean 10.72, at most 61.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check MNN==3.6.1 onnxruntime==1.32.0 onnx==1.23.2 \
  scikit-image==0.26.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import subprocess
import sys

import MNN.expr
import MNN.nn
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skimage import data

ONNX, MNN_FILE = f"{sys.argv[1]}/network.onnx", f"{sys.argv[1]}/network.mnn"
# The command mnnconvert installs a package first, which reports its use. This is the function that it calls to convert.
CONVERT = [sys.executable, "-c", "import sys, _tools; _tools.mnnconvert(sys.argv)", "-f", "ONNX", "--bizCode", "x"]
CROP, TURN = 112, np.deg2rad(15)
photo = data.astronaut().transpose(2, 0, 1)[None].astype(np.float32)
face = np.ascontiguousarray(photo[:, :, 40:200, 150:310])


def write(op, inputs, opset, attributes, shape):
    names = ["" if value is None else f"input{index}" for index, value in enumerate(inputs)]
    constants = [numpy_helper.from_array(value, name) for name, value in zip(names, inputs, strict=True) if name]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", [None] * 4))]
    graph = helper.make_graph([helper.make_node(op, ["x", *names], ["y"], **attributes)], "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, ONNX)


def both(op, inputs, opset, attributes, picture=face):
    """What MNN and ONNX Runtime give, and whether the converter said that it does not support something."""
    write(op, inputs, opset, attributes, picture.shape)
    run = subprocess.run([*CONVERT, "--modelFile", ONNX, "--MNNModel", MNN_FILE], capture_output=True, text=True, check=True)
    said = run.stdout + run.stderr
    assert "Converted Success!" in said
    value = MNN.expr.placeholder(list(picture.shape), MNN.expr.NCHW, MNN.expr.float)
    value.write(picture.ravel().tolist())
    answer = MNN.nn.load_module_from_file(MNN_FILE, ["x"], ["y"]).forward([value])[0]
    if answer.data_format == MNN.expr.NC4HW4:
        answer = MNN.expr.convert(answer, MNN.expr.NCHW)
    right = onnxruntime.InferenceSession(ONNX, providers=["CPUExecutionProvider"]).run(None, {"x": picture})[0]
    return np.array(answer.read()), right, "Don't support" in said


across, down = np.meshgrid(*[(np.arange(CROP) + 0.5) / CROP * 2 - 1] * 2)
turned = [np.cos(TURN) * across - np.sin(TURN) * down, np.sin(TURN) * across + np.cos(TURN) * down]
grid = [0.9 * np.stack(turned, -1)[None].astype(np.float32)]
outside = (abs(grid[0][0]) > 1).any(-1)
double, small = [None, np.float32([1, 1, 2, 2])], [None, None, np.int64([1, 3, CROP, CROP])]
symmetric, plain = ({"mode": "linear", "coordinate_transformation_mode": name} for name in ("half_pixel_symmetric", "asymmetric"))
bicubic, bilinear = ({"mode": mode, "padding_mode": "border"} for mode in ("bicubic", "bilinear"))
reflection = {"mode": "bilinear", "padding_mode": "reflection"}
mean = [np.full((3, 1, 3, 3), 1 / 9, np.float32)]
linear, smooth = {"mode": "linear"}, {"antialias": 1, "exclude_outside": 1}
pool = {"kernel_shape": [3, 3], "strides": [2, 2]}
lower, upper = pool | {"auto_pad": "SAME_LOWER"}, pool | {"auto_pad": "SAME_UPPER"}
far, counting = pool | {"pads": [0, 0, 1, 1]}, {"count_include_pad": 1}
CASES = [
    ("GridSample, bicubic, is bilinear", "GridSample", grid, 16, bicubic, bilinear, face, (1.47, 25.6)),
    ("GridSample, reflection, is border", "GridSample", grid, 16, reflection, bilinear, face, (0.25, 127.3)),
    ("Resize, antialias, is without", "Resize", small, 18, linear | smooth, linear, photo, (6.41, 103.5)),
    ("Resize, half_pixel_symmetric, is asymmetric", "Resize", double, 19, symmetric, plain, face, (2.85, 64.4)),
    ("MaxPool, SAME_LOWER, is SAME_UPPER", "MaxPool", [], 17, lower, upper, face, (8.19, 173.0)),
    ("Conv, SAME_LOWER, is SAME_UPPER", "Conv", mean, 17, lower | {"group": 3}, upper | {"group": 3}, face, (9.63, 128.6)),
    ("AveragePool, far pads counted, is not counted", "AveragePool", [], 17, far | counting, far, face, (1.06, 129.2)),
]
for text, op, inputs, opset, asked, taken, picture, seen in CASES:
    (wrong, right, told), (other, as_other, _) = (both(op, inputs, opset, each, picture) for each in (asked, taken))
    assert wrong.shape == right.shape and np.array_equal(wrong, other) and abs(other - as_other).max() < 0.01
    assert told is (asked is bicubic)
    off = abs(wrong - right)
    assert np.allclose([off.mean(), off.max()], seen, atol=0.06), (off.mean(), off.max())
    note = f", {off[0].mean(0)[outside].mean():.1f} beyond the photo's edge" if asked is reflection else ""
    print(f"{text}: mean {off.mean():.2f}, at most {off.max():.1f}{note}")
counted, right, _ = both("AveragePool", [], 17, pool | counting | {"pads": [1, 1, 1, 1]})
assert abs(counted - right).max() < 0.01
answer, right, told = both("GridSample", grid, 20, {"mode": "linear", "padding_mode": "border"})
assert told and abs(answer - right).max() < 0.01
for times, seen in ((2, (10.95, 52.8)), (4, (10.72, 61.5))):
    inputs = [None, np.float32([1, 1, times, times])]
    wrong, right, told = both("Resize", inputs, 13, {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"})
    first = times // 2
    for side in (0, 1):
        a, b = (values.transpose(0, 1, 3, 2)[:, :, :, times:] if side else values[:, :, :, times:] for values in (wrong, right))
        assert abs(a[:, :, :first] - b[:, :, times : times + first]).max() < 0.01 and abs(a - b)[:, :, first:].max() < 0.01
    off = abs(wrong - right)[:, :, :first]
    assert not told and np.allclose([off.mean(), off.max()], seen, atol=0.06), (off.mean(), off.max())
    print(f"Resize, cubic, {times} times: first {first} of rows mean {off.mean():.2f}, at most {off.max():.1f}")
PYTHON
