#!/usr/bin/env bash
# Question: to find faces in large photos fast, OpenCV reads them at a half, a quarter or an eighth (IMREAD_REDUCED_COLOR_8). Boxes
#   are then multiplied by that, or by the ratio of the widths. Is a photo the same picture from each format, and a box in its place?
# Guess before the run: yes, within 3 levels of 255 in the mean; all are averaged, to one size, and the ways differ by a pixel.
# Found: no to all three. Of JPEG each value is the mean of its 8 by 8 pixels, to half a level, for the decoder does it. Of each
#   other format the photo is decoded whole, and a value is made of the 2 by 2 pixels in the middle of its 64: the portrait is 3
#   levels off in the mean at a quarter, and 8 at an eighth. So hair and noise stay as grains that JPEG does not have. Sizes are
#   rounded up for JPEG and down for all others: 1,004 columns are 126 and 125. And 126 of JPEG stand for 1,008, of which the last
#   four are the coder's padding, where the 125 of the others are spread over the photo. So a place of JPEG is to be multiplied
#   by 8, and by the ratio of the widths it lies 4 pixels beside at the right; a place of the others the other way round. Sides that 8
#   divides, as 4,032 by 3,024, are right on both ways. Read other formats whole, and reduce by INTER_AREA.
# Versions: opencv-python-headless 4.14.0.94 and 5.0.0.93, pillow 13.0.0, scikit-image 0.26.0 (its portrait of Eileen Collins, by
#   NASA, in the public domain), numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (of both releases: width of 1,004; how far the portrait is from means; how far a dot at 940 is from its place):
#   2, JPEG: 502 wide, 0.4 levels; +0.0 by 2, +0.0 by the ratio
#   2, PNG, WebP, AVIF, TIFF, JPEG2000, BMP: 502 wide, 0.2 levels; +0.0 by 2, +0.0 by the ratio
#   4, JPEG: 251 wide, 0.4 levels; -0.0 by 4, -0.0 by the ratio
#   4, PNG, WebP, AVIF, TIFF, JPEG2000, BMP: 251 wide, 3.4 levels; -0.0 by 4, -0.0 by the ratio
#   8, JPEG: 126 wide, 0.4 levels; -0.1 by 8, -3.8 by the ratio
#   8, PNG, WebP, AVIF, TIFF, JPEG2000, BMP: 125 wide, 8.0 levels; -3.6 by 8, +0.1 by the ratio
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6 scikit-image==0.26.0
for release in 4.14.0.94 5.0.0.93; do
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$folder/$release" \
    opencv-python-headless=="$release"
done
cat >"$folder/reduce.py" <<'PYTHON'
import io

import cv2
import numpy as np
from PIL import Image
from skimage import data

FORMATS = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "PNG": {},
    "WebP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "TIFF": {},
    "JPEG2000": {},
    "BMP": {},
}
WIDTH, AT = 1004, 940.0


def read(pixels, kind, flag=cv2.IMREAD_COLOR):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **FORMATS[kind])
    return cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), flag).astype(float)


y, x = np.mgrid[:200, :WIDTH]
dot = np.repeat((255 * np.exp(-((x - AT) ** 2 + (y - 100) ** 2) / 128)).astype(np.uint8)[..., None], 3, 2)
print(cv2.__version__)
for factor in (2, 4, 8):
    flag = getattr(cv2, f"IMREAD_REDUCED_COLOR_{factor}")
    found = {}
    for kind in FORMATS:
        whole = read(data.astronaut(), kind)
        means = whole.reshape(512 // factor, factor, 512 // factor, factor, 3).mean((1, 3))
        off = float(np.abs(read(data.astronaut(), kind, flag) - means).mean())
        small = read(dot, kind, flag)[..., 0]
        small[small < 8] = 0
        place = float((small.sum(0) * (np.arange(small.shape[1]) + 0.5)).sum() / small.sum())
        places = [place * times - 0.5 - AT for times in (factor, WIDTH / small.shape[1])]
        found[kind] = f"{small.shape[1]} wide, {off:.1f} levels; {places[0]:+.1f} by {factor}, {places[1]:+.1f} by the ratio"
        average = kind == "JPEG"
        assert small.shape[1] == (-(-WIDTH // factor) if average else WIDTH // factor)
        assert off < 0.6 if average else {2: 0, 4: 3, 8: 7.5}[factor] < off < {2: 0.6, 4: 4, 8: 8.5}[factor]
        assert abs(places[0 if average else 1]) < 0.2
        assert factor < 8 or abs(places[1 if average else 0]) > 3
    for told in dict.fromkeys(found.values()):
        print(f"  {factor}, {', '.join(kind for kind, one in found.items() if one == told)}: {told}")
PYTHON
for release in 4.14.0.94 5.0.0.93; do
  PYTHONPATH="$folder/$release" "$folder/venv/bin/python" "$folder/reduce.py"
done
