#!/usr/bin/env bash
# Question: a network can brighten a dark face itself, before its first layer: x / 255 to the power of 1 / 2.2, or the root, or the
#   other way round. pnnx carries such a network from ONNX to ncnn, the engine of phones. Are powers there what ONNX Runtime gives?
# Guess before the run: to a thousandth, and 0 to any of these powers is 0.
# Found: black is 2.4e38. ncnn computes powers of many values at once as exp(p log x). Its logarithm of 0, and of all that is less, is
#   a NaN, and its exp makes the greatest number it knows of that; for negative values this was reported in 2020. One red value of
#   0 in a face that has no other is enough: a convolution of 3 by 3 and a mean over the whole face end above 1e33 or infinite, in
#   each of four channels. The portrait has 2,310 such values, and the black border of letterboxes and turned crops is made of
#   them. Of values centred at 0, the third power is wrong wherever they are negative. The exponent 2 is right, for pnnx makes a
#   square of it. Neither program says anything, and a trial with a photo that has no black shows nothing. Clip to 1e-6 before a
#   power, or multiply.
# Versions: ncnn 1.0.20261020, pnnx 20261020, onnxruntime 1.32.0, onnx 1.23.2, scikit-image 0.26.0 (its public-domain portrait of
#   Eileen Collins), numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (values of her face, 160 by 160, in three colours, that are wrong, of those that are 0 or less; the greatest one):
#   power 1 / 2.2: 2,310 of 2,310, 2.41e+38
#   power 2.2: 2,310 of 2,310, 2.41e+38
#   root: 2,310 of 2,310, 2.41e+38
#   third power, centred: 33,316 of 33,316, 2.41e+38
#   second power, centred: 0 of 33,316, 1
#   x x, and that by itself, centred: 0 of 33,316, 1
#   power 1 / 2.2 of what is clipped: 0 of 2,310, 1
#   means of four channels behind a convolution, no black: right to a thousandth
#   means of four channels behind a convolution, one value is 0: none below 1e33
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ncnn==1.0.20261020 onnxruntime==1.32.0 onnx==1.23.2 \
  scikit-image==0.26.0 numpy==2.4.6
# The program of pnnx needs no torch where it reads ONNX; the package asks for it.
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps pnnx==20261020
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import re
import subprocess
from pathlib import Path

import ncnn
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skimage import data

PNNX = importlib.metadata.distribution("pnnx").locate_file("pnnx/pnnx")
face = np.ascontiguousarray(data.astronaut()[40:200, 150:310].transpose(2, 0, 1)[None].astype(np.float32))
weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)


def both(steps, picture):
    """What ncnn and ONNX Runtime give for a chain of operators, each with its constants."""
    nodes, constants, last = [], [], "x"
    for place, (op, *values) in enumerate(steps):
        names = [last if value is None else f"c{place}_{index}" for index, value in enumerate(values)]
        pairs = zip(names, values, strict=True)
        constants += [numpy_helper.from_array(np.float32(value), name) for name, value in pairs if value is not None]
        last = "y" if place == len(steps) - 1 else f"t{place}"
        nodes.append(helper.make_node(op, names, [last]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", picture.shape), ("y", [None] * 4))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(onnx.shape_inference.infer_shapes(model), "m.onnx")
    shape = ",".join(map(str, picture.shape))
    run = subprocess.run([PNNX, "m.onnx", f"inputshape=[{shape}]", "fp16=0"], capture_output=True, text=True, check=True)
    assert "unsupported" not in run.stdout + run.stderr
    # The reader that pnnx writes says which axis is the batch.
    axes = [int(axis) for axis in re.findall(r"batch_index=(\d+)", Path("m_ncnn.py").read_text())]
    network = ncnn.Net()
    assert network.load_param("m.ncnn.param") == 0 and network.load_model("m.ncnn.bin") == 0
    extractor = network.create_extractor()
    extractor.input("in0", ncnn.Mat(picture, batch_index=axes[0]).clone())
    code, answer = extractor.extract("out0")
    assert code == 0
    right = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": picture})[0]
    answer = answer.numpy(batch_index=axes[1]).copy()
    assert answer.shape == right.shape
    return answer, right


scale, centre, half = ("Div", None, 255), ("Sub", None, 127.5), ("Div", None, 127.5)
CASES = [
    ("power 1 / 2.2", [scale, ("Pow", None, 1 / 2.2)], True),
    ("power 2.2", [scale, ("Pow", None, 2.2)], True),
    ("root", [scale, ("Pow", None, 0.5)], True),
    ("third power, centred", [centre, half, ("Pow", None, 3)], True),
    ("second power, centred", [centre, half, ("Pow", None, 2)], False),
    ("x x, and that by itself, centred", [centre, half, ("Mul", None, None), ("Mul", None, None)], False),
    ("power 1 / 2.2 of what is clipped", [scale, ("Clip", None, 1e-6, 1), ("Pow", None, 1 / 2.2)], False),
]
for text, steps, wrong in CASES:
    answer, right = both(steps, face)
    off, low = abs(answer - right) > 0.01, face <= (127.5 if "centred" in text else 0)
    assert np.array_equal(off, low) if wrong else not off.any()
    assert not wrong or (answer[off] > 2.4e38).all()
    print(f"{text}: {off.sum():,} of {low.sum():,}, {answer.max():.3g}")
steps = [scale, ("Pow", None, 1 / 2.2), ("Conv", None, weights), ("Relu", None), ("GlobalAveragePool", None)]
bright = np.maximum(face, 1)
answer, right = both(steps, bright)
assert np.allclose(answer, right, atol=1e-3)
print("means of four channels behind a convolution, no black: right to a thousandth")
bright[0, 0, 80, 80] = 0
answer, right = both(steps, bright)
assert right.max() < 10 and not (answer < 1e33).any()
print("means of four channels behind a convolution, one value is 0: none below 1e33")
PYTHON
