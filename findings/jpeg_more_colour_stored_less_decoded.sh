#!/usr/bin/env bash
# Question: services decode large JPEGs at a half, a quarter or an eighth of their size, which libjpeg does in the transform itself.
#   4:2:0 stores a value of colour for four pixels, 4:2:2, as many cameras write it, one for two. Which is nearer to the photo
#   that was decoded whole and averaged down?
# Guess before the run: 4:2:2, by a little; it has twice the values of colour, and brightness is stored alike.
# Found: 4:2:0, by far. At an eighth 4:2:2 errs 5 levels of 255 in colour where 4:2:0 and 4:4:4 err half a level, and at a
#   quarter still three times as much. The transform halves both sides or none. Of 4:2:0 it leaves the stored colour larger than
#   the brightness, so that both come out at one size, and nothing is lost. Of 4:2:2 it cannot make only one side larger: colour
#   is reduced as far as brightness is and then stretched, so that it keeps half of the columns that were asked for. Brightness is
#   right in all three. OpenCV and Pillow agree to the byte, each with its own copy of libjpeg-turbo. Whoever wants the colour
#   of 4:2:2 decodes at twice the size and averages, which errs a third as much.
# Versions: pillow 13.0.0 (libjpeg-turbo 3.2.0), opencv-python-headless 5.0.0.93, numpy 2.4.6, Python 3.11 to 3.13, Linux x86-64.
# Output seen (mean difference of brightness and of colour to the averaged photo, of 255):
#   1/2: 4:4:4 0.6 0.5, 4:2:2 0.6 0.7, 4:2:0 0.6 0.6
#   1/4: 4:4:4 0.5 0.5, 4:2:2 0.5 2.0, 4:2:0 0.5 0.6
#   1/8: 4:4:4 0.5 0.5, 4:2:2 0.5 4.9, 4:2:0 0.5 0.5
#   1/8 of 4:2:2, decoded at 1/4 and averaged: 0.4 1.8
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io

import cv2
import numpy as np
from PIL import Image

SIDE = 256
colours = np.random.default_rng(0).integers(40, 216, (16, 16, 3)).astype(np.uint8)
picture = Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


def averaged(image, parts):
    return image.resize((SIDE // parts, SIDE // parts), Image.Resampling.BOX)


def errors(image, whole):
    """Mean differences of brightness and of colour."""
    one, other = (np.asarray(each.convert("YCbCr")).astype(int) for each in (image, whole))
    return abs(one - other)[..., 0].mean(), abs(one - other)[..., 1:].mean()


def reduced(coded, parts):
    image = Image.open(io.BytesIO(coded))
    image.draft("RGB", (SIDE // parts, SIDE // parts))
    same = cv2.imdecode(np.frombuffer(coded, np.uint8), REDUCED[parts])[..., ::-1]
    assert np.array_equal(np.asarray(image), same)
    return image


found, files = {}, {}
for name in ("4:4:4", "4:2:2", "4:2:0"):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=95, subsampling=name)
    files[name] = stream.getvalue()
    whole = Image.open(io.BytesIO(files[name])).convert("RGB")
    for parts in REDUCED:
        found[name, parts] = errors(reduced(files[name], parts), averaged(whole, parts))
for parts in REDUCED:
    row = ", ".join(f"{name} {found[name, parts][0]:.1f} {found[name, parts][1]:.1f}" for name in files)
    print(f"1/{parts}: {row}")
assert all(brightness < 0.7 for brightness, _ in found.values())
assert all(found[name, parts][1] < 0.7 for name in ("4:4:4", "4:2:0") for parts in REDUCED)
assert found["4:2:2", 4][1] > 3 * found["4:2:0", 4][1] and found["4:2:2", 8][1] > 4
whole = Image.open(io.BytesIO(files["4:2:2"])).convert("RGB")
brightness, colour = errors(averaged(reduced(files["4:2:2"], 4), 8), averaged(whole, 8))
print(f"1/8 of 4:2:2, decoded at 1/4 and averaged: {brightness:.1f} {colour:.1f}")
assert colour < found["4:2:2", 8][1] / 2
PYTHON
