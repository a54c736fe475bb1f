#!/usr/bin/env bash
# Question: the detector mtcnn takes one picture, or a list of them of any sizes as a batch. Is a picture's answer the same on
#   both ways?
# Guess before the run: yes, to a rounding in the last digit of the confidence; a batch is there for speed.
# Found: only beside pictures of its own size. Pictures of a batch are padded to the largest, and the scales at which faces
#   are looked for are those of the padded size, so that what a picture answers depends on its company: beside a black picture
#   of twice the side, a face of 83 by 107 pixels becomes one of 87 by 114. A companion of 64 pixels more is enough to move
#   it. So a service that fills batches as photos come answers a photo differently from one minute to the next, and a crop for
#   a second network, cut by that box, too.
# Versions: mtcnn 1.0.0, tensorflow-cpu 2.21.0, scikit-image 0.26.0 (its picture of E. Collins, by NASA, in the public
#   domain), numpy 2.4.6, Python 3.11 to 3.13, Linux x86-64.
# Output seen:
#   alone: [182, 64, 83, 107] 0.9991
#   beside one of its size: [182, 64, 83, 107] 0.9991
#   beside 64 pixels more: [180, 61, 85, 111] 0.9993
#   beside twice the side: [182, 59, 87, 114] 0.9994
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mtcnn==1.0.0 tensorflow-cpu==2.21.0 scikit-image==0.26.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON'
import numpy as np
from mtcnn import MTCNN
from skimage import data

picture = data.astronaut()
side = len(picture)
detector = MTCNN(device="CPU:0")


def asked(*company):
    """Box and confidence of the face, beside other pictures."""
    faces = detector.detect_faces([picture, *company] if company else picture)
    (face,) = faces[0] if company else faces
    return face["box"], face["confidence"]


alone, sure = asked()
print(f"alone: {alone} {sure:.4f}")
for name, other in (("one of its size", side), ("64 pixels more", side + 64), ("twice the side", 2 * side)):
    box, confidence = asked(np.zeros((other, other, 3), np.uint8))
    far = max(abs(a - b) for a, b in zip(box, alone, strict=True))
    print(f"beside {name}: {box} {confidence:.4f}")
    assert (far == 0) == (other == side), (name, box, alone)
PYTHON
