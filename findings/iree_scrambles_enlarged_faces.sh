#!/usr/bin/env bash
# Question: IREE compiles a network of ONNX into code for a CPU or a GPU, without an engine around it. Networks that enlarge or repair
#   faces end in a DepthToSpace of mode CRD, which is what PyTorch's PixelShuffle becomes. Are answers ONNX Runtime's?
# Guess before the run, when the pools had been seen to differ and nothing else had been tried: other layers are right to a
#   ten-thousandth, or import or compiler refuses; of 150 files of one layer at most two differ silently.
# Found: many settings are refused by name, and five layers differ, of which nothing is said. CRD lays the values of neighbouring
#   channels in a row instead of a square's: shapes are right, and a portrait is a weave of stripes, 75 levels of 255 off in the
#   mean; even one channel is wrong, for which CRD and DCR are the same thing. DCR, as TensorFlow has it, is right. MaxPool's second
#   output counts within each channel, where ONNX counts over the whole batch, so that who goes back by it to where the maxima were
#   finds them in the first channel of the first face alone. A mean that counts pads (count_include_pad) counts what was added by
#   rounding up, too: a white face gets a grey rim. ReduceLogSumExp is the formula as it is written, infinite above 88. And bytes
#   that a network makes come back as int8: skin of 200 is -56. Write the shuffle as Reshape, Transpose and Reshape, take
#   `.view("uint8")`, and compare before serving.
# Versions: iree-base-compiler and iree-base-runtime 3.13.0 (llvm-cpu), onnxruntime 1.32.0, onnx 1.23.2, scikit-image 0.26.0 (its
#   public-domain portrait of Eileen Collins), scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (ONNX Runtime, IREE):
#   portrait of 3 colours, enlarged 2 times, DCR: 0.0, 0.0 levels off in the mean
#   portrait of 3 colours, enlarged 4 times, DCR: 0.0, 0.0 levels off in the mean
#   portrait of 1 colours, enlarged 2 times, DCR: 0.0, 0.0 levels off in the mean
#   portrait of 3 colours, enlarged 2 times, CRD: 0.0, 75.0 levels off in the mean
#   portrait of 3 colours, enlarged 4 times, CRD: 0.0, 74.7 levels off in the mean
#   portrait of 1 colours, enlarged 2 times, CRD: 0.0, 64.8 levels off in the mean
#   maxima of 100 found again by their number, three channels of face 0: 100 100 100, 100 0 0
#   maxima of 100 found again by their number, three channels of face 1: 100 100 100, 0 0 0
#   last row of a white face, halved and rounded up: [255.0, 255.0, 255.0], [127.5, 127.5, 63.8]
#   ReduceLogSumExp of logits of 10, 88 and 89: [10.0, 88.0, 89.0], [10.0, 88.0, inf]
#   values of 100, 127, 128, 200 and 255 as bytes: [100, 127, 128, 200, 255], [100, 127, -128, -56, -1]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check iree-base-compiler==3.13.0 iree-base-runtime==3.13.0 \
    onnxruntime==1.32.0 onnx==1.23.2 scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
cd "$folder"
PATH="$folder/venv/bin:$PATH" python -W ignore - 2> log <<'PYTHON' || { cat log; exit 1; }
import subprocess

import iree.compiler
import iree.runtime
import numpy as np
import onnx
import onnxruntime
import skimage.data
from onnx import helper

portrait = skimage.data.astronaut()[:224, 112:336]


def both(operator, values, outputs=1, **attributes):
    """What ONNX Runtime and IREE give for a network of one layer: a list of outputs each."""
    given = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(values.dtype), values.shape)
    names = [f"out{number}" for number in range(outputs)]
    node = helper.make_node(operator, ["x"], names, **attributes)
    graph = helper.make_graph([node], "layer", [given], [onnx.ValueInfoProto(name=name) for name in names])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model)
    onnx.save(model, "layer.onnx")
    told = onnxruntime.InferenceSession("layer.onnx").run(None, {"x": values})
    subprocess.run(["iree-import-onnx", "layer.onnx", "-o", "layer.mlir"], check=True)
    code = iree.compiler.compile_file("layer.mlir", target_backends=["llvm-cpu"], extra_args=["--iree-llvmcpu-target-cpu=host"])
    module = iree.runtime.load_vm_flatbuffer(code, driver="local-sync")
    found = module["layer"](values)
    found = [np.asarray(each) for each in (found if isinstance(found, (tuple, list)) else [found])]
    assert [each.shape for each in told] == [each.shape for each in found]
    return told, found


for mode in ("DCR", "CRD"):
    for block, colours in ((2, 3), (4, 3), (2, 1)):
        side = 224 // block
        squares = portrait[:, :, :colours].reshape(side, block, side, block, colours)
        order = (4, 1, 3, 0, 2) if mode == "CRD" else (1, 3, 4, 0, 2)
        channels = squares.transpose(order).reshape(1, -1, side, side).astype(np.float32)
        (told,), (found,) = both("DepthToSpace", channels, blocksize=block, mode=mode)
        enlarged = told[0].transpose(1, 2, 0)
        assert np.array_equal(enlarged, portrait[:, :, :colours])
        error = np.abs(told - found).mean()
        print(f"portrait of {colours} colours, enlarged {block} times, {mode}: 0.0, {error:.1f} levels off in the mean")
        assert error == 0 if mode == "DCR" else error > 20
faces = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
told, found = both("MaxPool", faces, outputs=2, kernel_shape=[2, 2], strides=[2, 2])
assert np.array_equal(told[0], found[0])
shares = [np.mean(faces.ravel()[each[1].astype(int)] == each[0], axis=(2, 3)) for each in (told, found)]
for face in (0, 1):
    words = [" ".join(f"{100 * share:.0f}" for share in each[face]) for each in shares]
    print(f"maxima of 100 found again by their number, three channels of face {face}: {words[0]}, {words[1]}")
assert shares[0].min() == 1 and shares[1][0, 0] == 1 and np.delete(shares[1].ravel(), 0).max() < 0.1
white = np.full((1, 1, 5, 5), 255, np.float32)
(told,), (found,) = both("AveragePool", white, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1)
rows = [each[0, 0, -1].astype(float).round(1).tolist() for each in (told, found)]
print(f"last row of a white face, halved and rounded up: {rows[0]}, {rows[1]}")
assert (told == 255).all() and np.allclose(found[0, 0, -1], [127.5, 127.5, 63.75])
logits = np.float32([[10, 0, 0], [88, 0, 0], [89, 0, 0]])
(told,), (found,) = both("ReduceLogSumExp", logits, axes=[1], keepdims=0)
print(f"ReduceLogSumExp of logits of 10, 88 and 89: {np.round(told, 1).tolist()}, {np.round(found, 1).tolist()}")
assert np.allclose(told, [10, 88, 89], atol=0.01) and np.allclose(found[:2], [10, 88], atol=0.01) and np.isinf(found[2])
skin = np.float32([[100, 127, 128, 200, 255]])
(told,), (found,) = both("Cast", skin, to=onnx.TensorProto.UINT8)
print(f"values of 100, 127, 128, 200 and 255 as bytes: {told[0].tolist()}, {found[0].tolist()}")
assert np.array_equal(told, skin) and found.dtype == np.int8 and np.array_equal(found.view(np.uint8), told)
PYTHON
