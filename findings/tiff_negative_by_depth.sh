#!/usr/bin/env bash
# Question: scanners and microfilm store grey TIFF with 0 as white (MinIsWhite), and the head says so. A portrait that is read as if
#   0 were black is a negative. Do readers turn such values, at each depth?
# Guess before the run: all but tifffile, which gives what is stored, turn them at each depth; it is one flag, and one subtraction.
# Found: no reader does so at each depth. Pillow turns 1 and 8 bits, and of 16 bits it gives the negative, with the same head. OpenCV
#   does either: of 16 bits IMREAD_GRAYSCALE and IMREAD_COLOR give the picture, and IMREAD_UNCHANGED and IMREAD_ANYDEPTH,
#   which are what one takes to keep 16 bits, its negative; 8 bits are right by all four. libvips turns 16 bits, too, and
#   not floats. Nothing but the head tells, for a negative has the full range and all detail, and skin of 200 is 55.
#   The flag stays in Pillow's picture where values were turned (`tag_v2[262]` is 0 in both cases), so that who subtracts by it
#   spoils those of 8 bits. Look at the flag and the depth, or read 16 bits by libvips.
# Versions: pillow 13.0.0, opencv-python-headless 4.14.0.94 and 5.0.0.93, pyvips-binary 8.18.7, pyvips 3.2.0, tifffile 2026.3.3,
#   numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (+: as scanned, -: the negative, none: not read; 1, 8, 16 bits and floats):
#   Pillow: + + - -
#   OpenCV 4.14.0, IMREAD_UNCHANGED: + + - -
#   OpenCV 4.14.0, IMREAD_ANYDEPTH: + + - -
#   OpenCV 4.14.0, IMREAD_GRAYSCALE: + + + none
#   OpenCV 4.14.0, IMREAD_COLOR: + + + none
#   OpenCV 5.0.0: the same
#   libvips: + + + -
#   tifffile: - - - -
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for release in 4.14.0.94 5.0.0.93; do
  python3 -m venv "$folder/$release"
  "$folder/$release/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless=="$release" pillow==13.0.0 \
    pyvips==3.2.0 pyvips-binary==8.18.7 tifffile==2026.3.3 numpy==2.4.6
done
cat >"$folder/read.py" <<'PYTHON'
import sys

import cv2
import numpy as np
import pyvips
import tifffile
from PIL import Image

folder, others = sys.argv[1:]
scene = np.tile(np.linspace(0, 1, 256), (64, 1))
stored = {
    "1": scene < 0.5,
    "8": np.rint(255 * (1 - scene)).astype(np.uint8),
    "16": np.rint(65535 * (1 - scene)).astype(np.uint16),
    "float": (1 - scene).astype(np.float32),
}
paths = []
for name, values in stored.items():
    paths.append(f"{folder}/{name}.tif")
    tifffile.imwrite(paths[-1], values, photometric="miniswhite")


def by_pillow(path):
    with Image.open(path) as picture:
        assert picture.tag_v2[262] == 0
        return np.asarray(picture)


readers = {"Pillow": by_pillow} if others == "with" else {}
for flag in ("IMREAD_UNCHANGED", "IMREAD_ANYDEPTH", "IMREAD_GRAYSCALE", "IMREAD_COLOR"):
    readers[f"OpenCV {cv2.__version__}, {flag}"] = lambda path, flag=flag: cv2.imread(path, getattr(cv2, flag))
if others == "with":
    readers["libvips"] = lambda path: pyvips.Image.new_from_file(path).numpy()
    readers["tifffile"] = tifffile.imread


def sign(read, path):
    """Whether values grow with the scene, fall as it grows, or are not there."""
    values = read(path)
    if values is None:
        return "none"
    row = values[5].reshape(256, -1)[:, 0].astype(float)
    assert abs(np.corrcoef(row, scene[0])[0, 1]) > 0.8
    return "+" if row[255] > row[0] else "-"


found = {}
for name, read in readers.items():
    found[name] = " ".join(sign(read, path) for path in paths)
    print(f"{name}: {found[name]}")
expected = {"libvips": "+ + + -", "tifffile": "- - - -", "IMREAD_GRAYSCALE": "+ + + none", "IMREAD_COLOR": "+ + + none"}
for name, signs in found.items():
    assert signs == expected.get(name.split(", ")[-1], "+ + - -"), name
PYTHON
export OPENCV_LOG_LEVEL=OFF
"$folder/4.14.0.94/bin/python" "$folder/read.py" "$folder" with
"$folder/5.0.0.93/bin/python" "$folder/read.py" "$folder" without
