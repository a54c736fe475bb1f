#!/usr/bin/env bash
# Question: networks want red first, and OpenCV reads pictures that way since 4.10, by IMREAD_COLOR_RGB. Is what it gives the
#   reverse of what IMREAD_COLOR gives, for every format and depth?
# Guess before the run: yes; the order is turned once, behind all readers.
# Found: not for AVIF with alpha. There IMREAD_COLOR_RGB gives blue first, the very bytes of IMREAD_COLOR. Each reader turns its own
#   way, and that of AVIF does so for pictures without alpha alone. It is the same at 10 bits, from a file or from memory, and for
#   each frame of an animation. One clear pixel in a corner is enough, and a still picture that is opaque everywhere is right, for
#   Pillow then stores no alpha. So cut-out heads with skin of (200, 140, 110) are blue for a network, and whole photos in the
#   same folder are not. PNG, WebP, JPEG 2000 and TIFF are right with alpha. The other odd one is PAM, which has no need of
#   alpha for it. Read by IMREAD_COLOR and turn by cvtColor, which is right in all.
# Versions: opencv-python-headless 4.14.0.94 and 5.0.0.93, pillow 13.0.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (of both releases: a pixel of skin, red first as written, by IMREAD_COLOR and by IMREAD_COLOR_RGB):
#   AVIF: 109 141 200, 200 141 109
#   AVIF with alpha: 109 141 200, 109 141 200
#   AVIF of 10 bits with alpha: 110 140 199, 110 140 199
#   PNG with alpha: 110 140 200, 200 140 110
#   WebP with alpha: 112 140 200, 200 140 112
#   JPEG 2000 with alpha: 110 140 200, 200 140 110
#   TIFF with alpha: 110 140 200, 200 140 110
#   PAM: 110 140 200, 110 140 200
#   AVIF with alpha, two frames: 109 141 200 and 54 70 99, 109 141 200 and 54 70 99
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for release in 4.14.0.94 5.0.0.93; do
  python3 -m venv "$folder/$release"
  "$folder/$release/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless=="$release" pillow==13.0.0 \
    numpy==2.4.6
done
cat >"$folder/order.py" <<'PYTHON'
import io
import sys

import cv2
import numpy as np
from PIL import Image

skin = np.zeros((64, 64, 3), np.uint8) + np.array([200, 140, 110], np.uint8)
plain = Image.fromarray(skin)
clear = plain.copy()
alpha = np.full((64, 64), 255, np.uint8)
alpha[63, 63] = 0
clear.putalpha(Image.fromarray(alpha))


def written(kind, picture, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return np.frombuffer(stream.getvalue(), np.uint8)


ten = np.dstack([skin[..., ::-1].astype(np.uint16) * 4, np.full((64, 64), 1020, np.uint16)])
files = {
    "AVIF": written("AVIF", plain),
    "AVIF with alpha": written("AVIF", clear),
    "AVIF of 10 bits with alpha": cv2.imencode(".avif", ten, [cv2.IMWRITE_AVIF_DEPTH, 10])[1],
    "PNG with alpha": written("PNG", clear),
    "WebP with alpha": written("WEBP", clear),
    "JPEG 2000 with alpha": written("JPEG2000", clear),
    "TIFF with alpha": written("TIFF", clear),
    "PAM": cv2.imencode(".pam", skin[..., ::-1].copy())[1],
}
print(cv2.__version__)
path = sys.argv[1] + "/picture.bin"
for name, held in files.items():
    held.tofile(path)
    blue, red = (cv2.imdecode(held, flag) for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR_RGB))
    assert np.array_equal(red, cv2.imread(path, cv2.IMREAD_COLOR_RGB))
    print(f"  {name}: " + ", ".join(" ".join(str(value) for value in each[5, 5]) for each in (blue, red)))
    assert np.abs(blue[:32, :32, ::-1].astype(int) - skin[:32, :32]).max() <= 4, name
    wrong = name == "PAM" or (name.startswith("AVIF") and "alpha" in name)
    assert np.array_equal(red, blue if wrong else blue[..., ::-1]), name
clear.save(path + ".avif", "AVIF", save_all=True, append_images=[Image.fromarray(skin // 2).convert("RGBA")], duration=100)
both = [cv2.imreadmulti(path + ".avif", flags=flag)[1] for flag in (cv2.IMREAD_COLOR, cv2.IMREAD_COLOR_RGB)]
shown = [" and ".join(" ".join(str(value) for value in frame[5, 5]) for frame in frames) for frames in both]
print(f"  AVIF with alpha, two frames: {', '.join(shown)}")
assert len(both[0]) == len(both[1]) == 2 and all(np.array_equal(*pair) for pair in zip(*both, strict=True))
PYTHON
for release in 4.14.0.94 5.0.0.93; do
  "$folder/$release/bin/python" "$folder/order.py" "$folder"
done
