#!/usr/bin/env bash
# Question: AVIF stores brightness from 0 to 255, or from 16 to 235 as films do, and says which. Do readers give the same picture of
#   either, in colour and in black and white, which AVIF stores without values of colour (4:0:0)?
# Guess before the run: yes, within two levels of 255; the range is one flag that every decoder knows, and grey is the easy case.
# Found: in colour yes, in grey no. Pillow and imagecodecs stretch grey to 0 to 255, and OpenCV, libvips and PyAV give what is stored:
#   black is 16, white 235, a seventh of the contrast is gone. Three of the five carry one library, libavif, and two of these are
#   right. OpenCV, asked for IMREAD_GRAYSCALE of the same portrait stored in colour, is right, too.
#   So a black and white portrait is another picture for a network behind OpenCV than its twin that stores colour, and than what
#   Pillow reads, with which the network was perhaps calibrated. Whoever writes grey AVIF says full range, or keeps 4:2:0.
# Versions: pillow 13.0.0 (libavif 1.4.2), imagecodecs 2026.3.6 (libavif 1.4.0), opencv-python-headless 5.0.0.93 (libavif 1.4.2),
#   pyvips-binary 8.18.7, pyvips 3.2.0, av 18.1.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (what each reads of a grey ramp where 4, 64, 128, 192 and 251 were written):
#   4:2:0, full: all five within 2 levels
#   4:2:0, limited: all five within 2 levels
#   4:0:0, full: all five within 2 levels
#   4:0:0, limited: Pillow [3, 64, 128, 192, 252], imagecodecs [3, 64, 128, 192, 252]
#   4:0:0, limited: OpenCV [19, 71, 126, 181, 232], libvips [19, 71, 126, 181, 232], PyAV [19, 71, 126, 181, 232]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 \
  imagecodecs==2026.3.6 pyvips-binary==8.18.7 pyvips==3.2.0 av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io

import av
import cv2
import imagecodecs
import numpy as np
import pyvips
from PIL import Image

LEVELS = (4, 64, 128, 192, 251)
ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))


def coded(subsampling, levels):
    stream = io.BytesIO()
    Image.fromarray(ramp).convert("RGB").save(stream, "AVIF", quality=95, subsampling=subsampling, range=levels)
    return stream.getvalue()


def by_pyav(data):
    with av.open(io.BytesIO(data)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


READERS = {
    "Pillow": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
    "imagecodecs": imagecodecs.avif_decode,
    "OpenCV": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR),
    "libvips": lambda data: pyvips.Image.new_from_buffer(data, "").numpy(),
    "PyAV": by_pyav,
}


def rows(subsampling, levels):
    """What each reader gives in the middle row where LEVELS were written."""
    data = coded(subsampling, levels)
    pixels = {name: read(data) for name, read in READERS.items()}
    return {name: [int(np.ravel(each[32, level])[0]) for level in LEVELS] for name, each in pixels.items()}


def off(row):
    return max(abs(value - level) for value, level in zip(row, LEVELS))


for subsampling, levels in (("4:2:0", "full"), ("4:2:0", "limited"), ("4:0:0", "full")):
    found = rows(subsampling, levels)
    assert max(map(off, found.values())) <= 2, found
    print(f"{subsampling}, {levels}: all five within 2 levels")
found = rows("4:0:0", "limited")
for names in (("Pillow", "imagecodecs"), ("OpenCV", "libvips", "PyAV")):
    print("4:0:0, limited: " + ", ".join(f"{name} {found[name]}" for name in names))
stored = [16 + 219 * level / 255 for level in LEVELS]
assert off(found["Pillow"]) <= 2 and off(found["imagecodecs"]) <= 2
assert all(max(abs(np.subtract(found[name], stored))) <= 2 for name in ("OpenCV", "libvips", "PyAV"))
colour = cv2.imdecode(np.frombuffer(coded("4:2:0", "limited"), np.uint8), cv2.IMREAD_GRAYSCALE)
assert off([int(colour[32, level]) for level in LEVELS]) <= 2
PYTHON
