#!/usr/bin/env bash
# Question: whoever changes the network that recognises faces keeps old embeddings, and brings them to the new one's by an adapter: a
#   matrix, and the length back to 1 (`torch.nn.functional.normalize`). pnnx carries such a network from ONNX to ncnn, the engine
#   of phones. Does its answer have the length 1, and do two faces stay as like each other as they are?
# Guess before the run: to a thousandth, both; a length is a root of a sum.
# Found: each of 512 values is 1 or -1, and the length 22.6. pnnx has to know which axis is the batch, and learns it from layers such
#   as convolutions. An adapter has none. Then the length is taken over an axis that ncnn keeps for channels, where a row of
#   numbers has one each: every value is divided by its own size. Products of two faces, which are cosines as long as lengths are 1,
#   go from 0.50 to 168 for two photos of one person, and lie about 23 beside 0 for strangers, of whom nearly half pass any
#   threshold. Who divides by the lengths gets 0.33 for 0.50, and at 0.35 three persons of four are not known again. pnnx says
#   "unsupported normalize for 2-rank tensor with axis 1" among its steps and ends well; ncnn loads what it wrote without a word.
#   Behind a convolution the same operators are right, so that a network can be tried, and its adapter is lost. Written as
#   x / x.norm(dim=1, keepdim=True) the adapter is right.
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (of 200 made persons with two photos each: mean product of one person, spread of strangers', and shares above 0.35):
#   ONNX Runtime: length 1.0; one person 0.50, 100%; strangers 0.05, 0%
#   ncnn, normalize: length 22.6; one person 168.20, 100%; strangers 23.38, 47%
#   ncnn, normalize, divided by its length: length 1.0; one person 0.33, 28%; strangers 0.05, 0%
#   ncnn, division by norm: length 1.0; one person 0.50, 100%; strangers 0.05, 0%
#   ncnn, normalize behind a convolution: length 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ncnn==1.0.20261020 onnxruntime==1.32.0 onnx==1.23.2 \
  numpy==2.4.6
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

PNNX = importlib.metadata.distribution("pnnx").locate_file("pnnx/pnnx")
SIZE, PERSONS, LEAST = 512, 200, 0.35
rng = np.random.default_rng(0)
old = rng.normal(size=(2, PERSONS, SIZE)).astype(np.float32)
old[1] = 0.5 * old[0] + 0.75**0.5 * old[1]
adapter = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0].astype(np.float32)
# What PyTorch writes for normalize, and for a division by norm.
NORMALIZE = [
    helper.make_node("ReduceL2", ["t"], ["length"], axes=[1], keepdims=1),
    helper.make_node("Clip", ["length", "least"], ["clipped"]),
    helper.make_node("Shape", ["t"], ["shape"]),
    helper.make_node("Expand", ["clipped", "shape"], ["lengths"]),
    helper.make_node("Div", ["t", "lengths"], ["y"]),
]
DIVIDE = [helper.make_node("ReduceL2", ["t"], ["length"], axes=[1], keepdims=1), helper.make_node("Div", ["t", "length"], ["y"])]
ADAPT = [helper.make_node("Gemm", ["x", "adapter"], ["t"], transB=1)]
CONVOLVE = [helper.make_node("Conv", ["x", "kernel"], ["map"], strides=[2, 2]), helper.make_node("Flatten", ["map"], ["t"])]


def both(nodes, inputs):
    """What ncnn and ONNX Runtime give for each input, and what pnnx said it does not support."""
    used = {name for node in nodes for name in node.input}
    constants = {"adapter": adapter, "kernel": rng.normal(size=(8, 2, 2, 2)).astype(np.float32), "least": np.float32(1e-12)}
    values = [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used]
    sizes = {"x": inputs[0].shape, "y": [SIZE]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *size]) for name, size in sizes.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(onnx.shape_inference.infer_shapes(model), "m.onnx")
    shape = ",".join(map(str, (1, *inputs[0].shape)))
    run = subprocess.run([PNNX, "m.onnx", f"inputshape=[{shape}]", "fp16=0"], capture_output=True, text=True, check=True)
    said = [line for line in (run.stdout + run.stderr).splitlines() if "unsupported" in line]
    # The reader that pnnx writes says which axis is the batch; 233 stands for none.
    axes = [int(axis) for axis in re.findall(r"batch_index=(\d+)", Path("m_ncnn.py").read_text())]
    network = ncnn.Net()
    assert network.load_param("m.ncnn.param") == 0 and network.load_model("m.ncnn.bin") == 0
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    answers, right = [], []
    for value in inputs:
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(value[None], batch_index=axes[0]).clone())
        code, answer = extractor.extract("out0")
        assert code == 0
        answers.append(answer.numpy(batch_index=axes[1])[0].copy())
        right.append(session.run(None, {"x": value[None]})[0][0])
    return np.array(answers), np.array(right), said


def tell(text, values):
    values = values.reshape(2, PERSONS, SIZE)
    same, other = (values[0] * values[1]).sum(1), (values[0] * np.roll(values[1], 1, 0)).sum(1)
    length = np.linalg.norm(values, axis=-1).mean()
    passed, wrong = ((each > LEAST).mean() for each in (same, other))
    print(f"{text}: length {length:.1f}; one person {same.mean():.2f}, {passed:.0%}; strangers {other.std():.2f}, {wrong:.0%}")
    return length, same.mean(), passed, wrong


answers, right, said = both(ADAPT + NORMALIZE, old.reshape(-1, SIZE))
assert said == ["unsupported normalize for 2-rank tensor with axis 1"] and abs(abs(answers) - 1).max() < 1e-3
assert (np.sign(answers) == np.sign(right)).mean() > 0.99
length, same, passed, wrong = tell("ONNX Runtime", right)
assert abs(length - 1) < 1e-3 and abs(same - 0.5) < 0.01 and passed > 0.99 and wrong < 0.01
length, same, passed, wrong = tell("ncnn, normalize", answers)
assert 22 < length < 23 and 150 < same < 190 and passed > 0.99 and 0.4 < wrong < 0.55
length, same, passed, wrong = tell("ncnn, normalize, divided by its length", answers / SIZE**0.5)
assert abs(length - 1) < 1e-3 and 0.31 < same < 0.35 and passed < 0.4 and wrong < 0.01
answers, right, said = both(ADAPT + DIVIDE, old.reshape(-1, SIZE))
assert not said and abs(answers - right).max() < 1e-3
tell("ncnn, division by norm", answers)
answers, right, said = both(CONVOLVE + NORMALIZE, rng.normal(size=(8, 2, 16, 16)).astype(np.float32))
assert not said and abs(answers - right).max() < 1e-3
print(f"ncnn, normalize behind a convolution: length {np.linalg.norm(answers, axis=-1).mean():.1f}")
PYTHON
