#!/usr/bin/env bash
# Question: a compiled OpenVINO network can be exported and imported again in a fraction of the time that compiling takes. Does
#   that also hold for the imported one: can it be exported, and what it writes be imported?
# Guess before the run: yes; export_model is a method of every compiled model, and both answer alike.
# Found: no. The imported network answers to the bit as the first one does, and its export_model succeeds without a word, but
#   nothing can import what it writes: "Unable to read the model". The first export hides its graph behind a simple code, of
#   which import_model undoes one layer. The export of an imported network writes the graph as plain XML, into a blob with
#   the same head, and import_model takes that for coded text. So keep the network that was compiled, or the bytes that it
#   wrote, for as long as copies are wanted; a copy of a copy fails only where it is read.
# Versions: openvino 2026.4.1, numpy 2.4.6, Python 3.11 to 3.13, Linux x86-64, CPU plugin.
# Output seen:
#   first export: the graph is not plain
#   imported: the same answers
#   second export: the graph is plain
#   imported from that: [ CORE ] Unable to read the model. Please check if the model format is supported and model is correct.
#   imported from the first once more: the same answers
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import openvino as ov
from openvino import opset13

core = ov.Core()
data = opset13.parameter([1, 3, 8, 8], np.float32)
compiled = core.compile_model(ov.Model([opset13.relu(data)], [data]), "CPU")
batch = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)


def exported(network):
    stream = io.BytesIO()
    network.export_model(stream)
    return stream.getvalue()


first = exported(compiled)
assert b"</net>" not in first
print("first export: the graph is not plain")
imported = core.import_model(first, "CPU")
assert np.array_equal(imported(batch)[0], compiled(batch)[0])
print("imported: the same answers")
second = exported(imported)
assert b"</net>" in second and second[:12] == first[:12]
print("second export: the graph is plain")
try:
    core.import_model(second, "CPU")
except RuntimeError as error:
    last = str(error).strip().splitlines()[-1]
    assert "Unable to read the model" in last, last
    print(f"imported from that: {last}")
else:
    raise SystemExit("it can be imported now")
assert np.array_equal(core.import_model(first, "CPU")(batch)[0], compiled(batch)[0])
print("imported from the first once more: the same answers")
PYTHON
