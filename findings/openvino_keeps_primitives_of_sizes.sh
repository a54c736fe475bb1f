#!/usr/bin/env bash
# Question: a detector takes photos of any size. OpenVINO compiles its layers for each size that comes, and keeps the last ones:
#   `CPU_RUNTIME_CACHE_CAPACITY` says how many. Is memory flat where that is 0, and does it go back with the compiled model?
# Guess before the run: yes to both; nothing of former sizes is kept, so that each photo of another size is slower.
# Found: neither. Below OpenVINO's cache lies one of oneDNN, of 1,024 primitives, for the whole process and all its models. With
#   a capacity of 0 memory grows with each size, and nearly all of that stays when the model is gone. A size that came before takes
#   half of a new one's time, so it is not forgotten. What bounds it is an environment variable of oneDNN,
#   ONEDNN_PRIMITIVE_CACHE_CAPACITY, which is read once: with 0 memory is flat. A new size takes two to three times as
#   long as one that was just computed. So a benchmark that sends one photo again and again says little of photos of many
#   sizes. Pad pictures to few sizes.
# Versions: openvino 2026.4.1, numpy 2.4.6, Python 3.11, Linux x86-64, two CPUs with AVX-512. MiB and milliseconds depend on
#   the CPU; what is checked is their order.
# Output seen (40 convolutions, 20 sizes of some 1,500 pixels; private memory, medians of one thread):
#   OpenVINO 0, oneDNN 1,024: 63 MiB more, 52 when the model is gone; a new size 21 ms, one that came before 11, the same again 8
#   OpenVINO 5,000, oneDNN 1,024: 94 MiB more, 63 when the model is gone; a new size 21 ms, one that came before 9, the same again 8
#   both 0: 1 MiB more, -15 when the model is gone; a new size 19 ms, one that came before 19, the same again 8
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cat > "$folder/sizes.py" <<'PYTHON'
import ctypes
import gc
import json
import statistics
import sys
import time

import numpy as np
import openvino as ov
from openvino import opset13 as ops

SIZES = [(24 + number, 60 - number) for number in range(20)]


def held():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = (line.split() for line in open("/proc/self/smaps_rollup"))
    return next(int(words[1]) / 1024 for words in lines if words[0] == "Pss_Anon:")


def network():
    draw = np.random.default_rng(1)
    picture = ops.parameter([1, 8, -1, -1], np.float32)
    value, channels = picture, 8
    for wider in range(16, 176, 8):
        point = ops.constant((draw.normal(size=(wider, channels, 1, 1)) / channels**0.5).astype(np.float32))
        value = ops.relu(ops.convolution(value, point, [1, 1], [0, 0], [0, 0], [1, 1]))
        depth = ops.constant((draw.normal(size=(wider, 1, 1, 3, 3)) / 3).astype(np.float32))
        value = ops.relu(ops.group_convolution(value, depth, [1, 1], [1, 1], [1, 1], [1, 1]))
        channels = wider
    return ov.Model([value], [picture])


def took(request, size):
    picture = np.ones((1, 8, *size), np.float32)
    began = time.perf_counter()
    request.infer([picture])
    return (time.perf_counter() - began) * 1000


core = ov.Core()
options = {"CPU_RUNTIME_CACHE_CAPACITY": int(sys.argv[1]), "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
compiled = core.compile_model(network(), "CPU", options)
request = compiled.create_infer_request()
took(request, (64, 64))  # the largest: what lies between layers does not grow any more
before = held()
new = statistics.median(took(request, size) for size in SIZES)
grown = held() - before
came = statistics.median(took(request, size) for size in SIZES)
same = statistics.median(took(request, SIZES[10]) for _ in range(9))
del request, compiled
print(json.dumps({"grown": grown, "left": held() - before, "new": new, "came": came, "same": same}))
PYTHON
for capacities in "0 1024" "5000 1024" "0 0"; do
    ONEDNN_PRIMITIVE_CACHE_CAPACITY=${capacities#* } "$folder/venv/bin/python" "$folder/sizes.py" "${capacities% *}"
done > "$folder/rows"
"$folder/venv/bin/python" - "$folder/rows" <<'PYTHON'
import json
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]
for title, row in zip(("OpenVINO 0, oneDNN 1,024", "OpenVINO 5,000, oneDNN 1,024", "both 0"), rows, strict=True):
    print(
        f"{title}: {row['grown']:.0f} MiB more, {row['left']:.0f} when the model is gone; a new size {row['new']:.0f} ms, "
        f"one that came before {row['came']:.0f}, the same again {row['same']:.0f}"
    )
nothing, much, none = rows
assert nothing["grown"] > 20 and nothing["left"] > 20, "a capacity of 0 keeps nothing now"
assert none["grown"] < 0.2 * nothing["grown"] and none["left"] < 5
assert nothing["came"] < 0.85 * nothing["new"] and none["came"] > 0.85 * none["new"]
assert all(row["new"] > 1.5 * row["same"] for row in rows)
PYTHON
