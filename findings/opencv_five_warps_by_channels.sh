#!/usr/bin/env bash
# Question: warpAffine cuts aligned faces out of photos. OpenCV 4 rounds where it reads to a 32nd of a pixel, OpenCV 5 was said to
#   be exact. Is it, for pictures, masks and maps alike?
# Guess before the run: yes; the number of channels changes how many values are read at a place, not which place.
# Found: no. Linear interpolation is exact for one, three and four channels of uint8, uint16 and float32. Of two channels, of five
#   and more, and of int16 it still rounds to a 32nd of a pixel, and so does remap. A photo and a map of two channels (optical
#   flow, a mask and its depth), warped by one matrix, come apart by up to a 64th of a pixel, 4 of 255 levels at a sharp edge;
#   stacked into one array of five channels, the photo itself is moved elsewhere than alone. INTER_CUBIC is exact for two
#   channels, too. INTER_LANCZOS4 is for none, so that the dearest interpolation is the least exact one. And a crop of OpenCV 5
#   is not a crop of OpenCV 4.
# Versions: opencv-python-headless 4.14.0.94 and 5.0.0.93, numpy 2.4.6, Python 3.11 to 3.13, Linux x86-64.
# Output seen (a ramp in float32, moved by 3 of 128 parts of a pixel, 0.0234375):
#   OpenCV 4.14.0, linear: 0.031250 with 1, 2, 3, 4, 5 channels
#   OpenCV 5.0.0, linear: 0.023438 with 1, 3, 4 channels, 0.031250 with 2, 5
#   OpenCV 5.0.0, remap: 0.023438 with 1, 3, 4 channels, 0.031250 with 2, 5
#   OpenCV 5.0.0, linear, int16: 0.031250 with 1, 2, 3, 4, 5 channels
#   OpenCV 5.0.0, cubic: 3/128 and 4/128 differ with 1, 2, 3, 4 channels
#   OpenCV 5.0.0, Lanczos: 3/128 and 4/128 are one with 1, 2, 3, 4 channels
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/warps.py" <<'PYTHON'
from collections import defaultdict

import cv2
import numpy as np

SIDE, STEP = 64, 3 / 128
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def warped(picture, step, flag):
    """The picture moved by `step` pixels."""
    return cv2.warpAffine(picture, np.float64([[1, 0, step], [0, 1, 0]]), (SIDE, SIDE), flags=flag | cv2.WARP_INVERSE_MAP)


def moved(channels, way, kind=np.float32):
    """Pixels by which a ramp is moved."""
    slope = 256
    ramp = np.repeat((COLUMNS * slope).astype(kind)[..., None], channels, axis=2)
    if way == "remap":
        out = cv2.remap(ramp, COLUMNS + np.float32(STEP), ROWS, cv2.INTER_LINEAR)
    else:
        out = warped(ramp, STEP, cv2.INTER_LINEAR)
    middle = slice(8, -8)
    change = out.reshape(ramp.shape)[middle, middle].astype(float) - ramp[middle, middle]
    return f"{np.median(change) / slope:.6f}"


def show(way, kind=np.float32):
    found = defaultdict(list)
    for channels in (1, 2, 3, 4, 5):
        found[moved(channels, way, kind)].append(channels)
    parts = [f"{far} with {', '.join(map(str, one))}{' channels' * (n == 0)}" for n, (far, one) in enumerate(sorted(found.items()))]
    name = f"{way}, {np.dtype(kind).name}" if kind is not np.float32 else way
    print(f"OpenCV {cv2.__version__}, {name}: {', '.join(parts)}")
    return dict(found)


if cv2.__version__ == "4.14.0":
    assert show("linear") == {"0.031250": [1, 2, 3, 4, 5]}
else:
    for way in ("linear", "remap"):
        assert show(way) == {"0.023438": [1, 3, 4], "0.031250": [2, 5]}
    assert show("linear", np.int16) == {"0.031250": [1, 2, 3, 4, 5]}
    noise = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE, 4)).astype(np.float32)
    for name, flag, differ in (("cubic", cv2.INTER_CUBIC, True), ("Lanczos", cv2.INTER_LANCZOS4, False)):
        for channels in (1, 2, 3, 4):
            near, far = (warped(noise[..., :channels].copy(), step, flag) for step in (STEP, 1 / 32))
            assert differ != np.array_equal(near, far), (name, channels)
        print(f"OpenCV {cv2.__version__}, {name}: 3/128 and 4/128 {'differ' if differ else 'are one'} with 1, 2, 3, 4 channels")
PYTHON
for version in 4.14.0.94 5.0.0.93; do
    python3 -m venv --clear "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "opencv-python-headless==$version" numpy==2.4.6
    "$folder/venv/bin/python" "$folder/warps.py"
done
