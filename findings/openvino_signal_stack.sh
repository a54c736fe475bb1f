#!/usr/bin/env bash
# Question: does compiling a model with OpenVINO change how the calling thread receives signals?
# Guess before the run: no; a library that computes leaves the alternate signal stack of its caller alone.
# Found: on a CPU with AMX it does. faulthandler gives Python's main thread a signal stack of 5 times the kernel's minimum
#   (59,760 bytes here). The first compile_model of an ov.Core puts a smaller one of its own in its place, 20,144 bytes,
#   before anything is inferred. ov.Core() alone changes nothing, and a second core that compiles replaces the stack again.
#   It comes back when the core goes, on the thread that compiled. So whose stack a handler runs on depends on which
#   thread loaded which model: keep one core for the life of a process.
# Versions: openvino 2026.4.1, numpy 2.4.6, Python 3.11 to 3.13, Linux with AMX (Sapphire Rapids and later).
# Output seen:
#   start: 59760 bytes
#   core: the same stack
#   compiled: another stack of 20144 bytes
#   second core compiled: a third stack
#   released: the first stack
# Needs a CPU with AMX, whose signal frames are large; elsewhere it says so and ends with 77.
set -euo pipefail
grep -q amx_tile /proc/cpuinfo || { echo "no AMX here: nothing to see"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import ctypes
import faulthandler
import gc

import numpy as np
import openvino as ov
from openvino import opset13


class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def stack():
    found = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return found.address, found.size


faulthandler.enable()
start = stack()
print(f"start: {start[1]} bytes")
core = ov.Core()
assert stack() == start
print("core: the same stack")
data = opset13.parameter([1, 3, 8, 8], np.float32)
model = ov.Model([opset13.relu(data)], [data])
compiled = core.compile_model(model, "CPU")
first = stack()
assert first[0] != start[0] and first[1] < start[1], first
print(f"compiled: another stack of {first[1]} bytes")
second = ov.Core()
other = second.compile_model(model, "CPU")
assert stack()[0] not in (start[0], first[0])
print("second core compiled: a third stack")
del other, second
gc.collect()
del compiled, core
gc.collect()
assert stack() == start
print("released: the first stack")
PYTHON
