#!/usr/bin/env bash
# Question: dlib has a reader of its own, load_rgb_image, and a detector of faces behind it. Scanned portraits are PNGs of grey with
#   16 bits, and cut-out ones have alpha. Does it read them as Pillow and OpenCV do?
# Guess before the run: within two levels of 255; of 16 bits it keeps the high byte, and alpha it leaves out.
# Found: of RGB with 16 bits it keeps the high byte. Of grey it keeps the whole value and stops at 255, so that all but black is
#   white: of 256 levels two are left, and no face is found where the same portrait at 8 bits has one. load_grayscale_image
#   does the same. Alpha is left out of grey, as guessed, but RGB is laid on black by it. So a cut-out head has one
#   background as a grey PNG and another one in colour, and what its maker hid under clear pixels is seen in grey only. Nothing
#   is raised; an archive that scans in grey seems to hold no faces. Read by Pillow or OpenCV, and hand dlib the array.
# Versions: dlib-bin 20.0.1.post1, imagecodecs 2026.3.6, pillow 13.0.0, numpy 2.4.6, scikit-image 0.26.0 (its public-domain portrait
#   of Eileen Collins), Python 3.11, Linux x86-64.
# Output seen (of her portrait, and of a pixel of 200):
#   grey of 8 bits: mean 115, 256 levels, her face is found
#   grey of 16 bits: mean 227, 2 levels, her face is not found
#   RGB of 8 bits: mean 115, 256 levels, her face is found
#   RGB of 16 bits: mean 115, 256 levels, her face is found
#   200 with alpha 255: in grey 200, in RGB 200
#   200 with alpha 128: in grey 200, in RGB 100
#   200 with alpha 0: in grey 200, in RGB 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dlib-bin==20.0.1.post1 imagecodecs==2026.3.6 pillow==13.0.0 \
  numpy==2.4.6 scikit-image==0.26.0
cat >"$folder/read.py" <<'PYTHON'
import sys

import dlib
import imagecodecs
import numpy as np
from PIL import Image
from skimage.data import astronaut

path = sys.argv[1] + "/portrait.png"
detector = dlib.get_frontal_face_detector()
colour = astronaut()
grey = np.asarray(Image.fromarray(colour).convert("L"))


def write(pixels):
    with open(path, "wb") as file:
        file.write(imagecodecs.png_encode(np.ascontiguousarray(pixels)))


def deep(pixels):
    return pixels.astype(np.uint16) * 257


for name, pixels, right in (
    ("grey of 8 bits", grey, True),
    ("grey of 16 bits", deep(grey), False),
    ("RGB of 8 bits", colour, True),
    ("RGB of 16 bits", deep(colour), True),
):
    write(pixels)
    read = dlib.load_rgb_image(path)
    found = any(box.contains(223, 115) for box in detector(read, 1))
    levels = len(np.unique(read[..., 0]))
    print(f"{name}: mean {read.mean():.0f}, {levels} levels, her face is {'found' if found else 'not found'}")
    assert found == right and (levels > 200 if right else levels == 2)
    if pixels.ndim == 2:
        assert np.array_equal(dlib.load_grayscale_image(path), read[..., 0])
    if right:
        assert np.array_equal(read, colour if pixels.ndim == 3 else np.dstack([grey] * 3))
for alpha in (255, 128, 0):
    clear = np.full((8, 8, 1), alpha, np.uint8)
    write(np.concatenate([np.full((8, 8, 1), 200, np.uint8), clear], axis=-1))
    of_grey = dlib.load_rgb_image(path)[0, 0].tolist()
    write(np.concatenate([np.full((8, 8, 3), 200, np.uint8), clear], axis=-1))
    of_colour = dlib.load_rgb_image(path)[0, 0].tolist()
    print(f"200 with alpha {alpha}: in grey {of_grey[0]}, in RGB {of_colour[0]}")
    assert of_grey == [200] * 3 and np.allclose(of_colour, 200 * alpha / 255, atol=1.5)
PYTHON
"$folder/venv/bin/python" "$folder/read.py" "$folder"
