#!/usr/bin/env bash
# Question: two processes on a machine of two or more CPUs run an OpenVINO network of one thread each. On which CPUs?
# Guess before the run: on two. A process knows nothing of the other, its calling thread may run anywhere, and the system
#   spreads the two.
# Found: both run on the first CPU, and the others stay idle. For the time of each infer() the thread that calls it is itself
#   bound to CPU 0, in every process, and it is let go afterwards, so that its affinity looks untouched whenever the
#   program looks. A service of one-thread replicas therefore got half of a machine of two CPUs, and took its idle half for
#   waiting: two replicas answered 30 photos a second, and 53 with ENABLE_CPU_PINNING off.
# Versions: openvino 2026.4.1, numpy 2.4.6, Python 3.11 to 3.13, Linux.
# Output seen:
#   pinning by default: both processes on CPU 0 while they infer; anywhere before and after
#   pinning off: anywhere all the time
# Needs two CPUs; elsewhere it says so and ends with 77.
set -euo pipefail
[ "$(nproc)" -ge 2 ] || { echo "one CPU: nothing to see"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cat > "$folder/infer.py" <<'PYTHON'
"""Infer for two seconds, watch the affinity of the thread that does, and print it as JSON: before, during, after."""

import json
import os
import sys
import threading
import time

import numpy as np
import openvino as ov
from openvino import opset13

data = opset13.parameter([8, 16, 64, 64], np.float32)
kernel = opset13.constant(np.ones((16, 16, 3, 3), np.float32) / 144)
for _ in range(4):
    value = opset13.convolution(data if _ == 0 else value, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
model = ov.Model([value], [data])
options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
if sys.argv[1] == "off":
    options["ENABLE_CPU_PINNING"] = False
request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
pixels = np.zeros((8, 16, 64, 64), np.float32)
caller = threading.get_native_id()
before, during, ended = sorted(os.sched_getaffinity(caller)), set(), threading.Event()


def watch():
    while not ended.is_set():
        during.add(tuple(sorted(os.sched_getaffinity(caller))))


watcher = threading.Thread(target=watch)
watcher.start()
until = time.monotonic() + 2
while time.monotonic() < until:
    request.infer([pixels])
ended.set()
watcher.join()
print(json.dumps([before, sorted(during), sorted(os.sched_getaffinity(caller))]))
PYTHON
for pinning in default off; do
  "$folder/venv/bin/python" "$folder/infer.py" "$pinning" > "$folder/one.$pinning" &
  "$folder/venv/bin/python" "$folder/infer.py" "$pinning" > "$folder/other.$pinning"
  wait
done
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import sys
from pathlib import Path

found = {path.name: json.loads(path.read_text()) for path in Path(sys.argv[1]).glob("o*.*") if path.suffix in (".default", ".off")}
assert len(found) == 4, found
for name, (before, during, after) in found.items():
    assert before == after and len(before) >= 2, (name, before, after)
    free = [cpus for cpus in during if cpus != before]
    assert free == ([[before[0]]] if name.endswith(".default") else []), (name, during)
print(f"pinning by default: both processes on CPU {before[0]} while they infer; anywhere before and after")
print("pinning off: anywhere all the time")
PYTHON
