#!/usr/bin/env bash
# Question: archives and scanners store portraits as JPEG 2000, which has 10, 12 or 16 bits for each colour, and Pillow reads it with
#   OpenJPEG as 8 bits. What becomes of the highest values?
# Guess before the run: white stays white, as in every reader; a value is a level higher or lower, by how it is rounded.
# Found: white becomes black in Pillow, and without a word. It adds half a step, to round, before it cuts the lower bits off, and
#   the highest values then need a ninth bit, which goes: at 12 bits 4,088 to 4,095 become 0, at 16 bits 65,408 to 65,535. What
#   lies below is right to the level. So sparks in eyes, lamps, white shirts and blown sky are black holes, in each colour by
#   itself, which turns a bright yellow blue. With alpha it is worse: opaque is the highest value, and so the whole picture is
#   clear, and laid on white there is no face. Grey is right, for it comes as 16 bits. OpenCV, PyAV and imagecodecs read the same
#   files right. Whoever takes JPEG 2000 has another reader for it, or looks at its depth first (the SIZ marker, or ihdr).
# Versions: pillow 13.0.0 and 12.3.0 (OpenJPEG 2.5.4; 11.3.0 tried, too), imagecodecs 2026.3.6, opencv-python-headless 5.0.0.93,
#   av 18.1.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (skin and a white spark as read; the last values that are right, and those that are not):
#   Pillow 12.3.0
#     the same
#   Pillow 13.0.0
#     10 bits, skin: Pillow [205, 154, 128], OpenCV [204, 153, 128], PyAV [204, 154, 128]
#     10 bits, spark: Pillow [0, 0, 0], OpenCV [255, 255, 255], PyAV [255, 255, 255]
#     10 bits: 1021 becomes 255, 1022 to 1023 become 0
#     12 bits, skin: Pillow [205, 154, 128], OpenCV [204, 153, 128], PyAV [205, 154, 128]
#     12 bits, spark: Pillow [0, 0, 0], OpenCV [255, 255, 255], PyAV [255, 255, 255]
#     12 bits: 4087 becomes 255, 4088 to 4095 become 0
#     16 bits, skin: Pillow [205, 154, 128], OpenCV [204, 153, 128], PyAV [205, 154, 128]
#     16 bits, spark: Pillow [0, 0, 0], OpenCV [255, 255, 255], PyAV [255, 255, 255]
#     16 bits: 65407 becomes 255, 65408 to 65535 become 0
#     16 bits with alpha, all of it opaque: skin [205, 154, 128, 0]
#     16 bits, grey: I;16, spark 65535
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/white.py" <<'PYTHON'
import io

import av
import cv2
import imagecodecs
import numpy as np
import PIL
from PIL import Image

print(f"Pillow {PIL.__version__}")
FACE = np.full((64, 64, 3), (0.8, 0.6, 0.5))
# A spark in an eye, and a lamp behind.
FACE[20:24, 20:24] = FACE[:8] = 1
PLACES = {"skin": (40, 40), "spark": (22, 22)}


def packed(values, bits):
    coded = np.round(values * (2**bits - 1)).astype(np.uint16)
    content = imagecodecs.jpeg2k_encode(coded, level=0, reversible=True, bitspersample=bits, codecformat="jp2")
    assert np.array_equal(imagecodecs.jpeg2k_decode(content), coded)
    return content


def by_pillow(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def by_opencv(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)


def by_pyav(content):
    with av.open(io.BytesIO(content)) as film:
        return next(film.decode(video=0)).to_ndarray(format="rgb24")


for bits in (10, 12, 16):
    content = packed(FACE, bits)
    read = {"Pillow": by_pillow(content), "OpenCV": by_opencv(content), "PyAV": by_pyav(content)}
    for place, (row, column) in PLACES.items():
        found = {name: picture[row, column].tolist() for name, picture in read.items()}
        print(f"  {bits} bits, {place}: " + ", ".join(f"{name} {colour}" for name, colour in found.items()))
        right = 255 * FACE[row, column]
        for name, colour in found.items():
            wrong = name == "Pillow" and place == "spark"
            assert np.allclose(colour, 0 if wrong else right, atol=1), (name, colour)
    top = 2**bits - 1
    row = np.repeat(np.arange(top - 200, top + 1)[None], 64, 0) / top
    levels = by_pillow(packed(np.stack([row] * 3, -1), bits))[32, :, 0]
    first = top - 200 + int(np.argmax(levels == 0))
    print(f"  {bits} bits: {first - 1} becomes {levels[first - 1 - top + 200]}, {first} to {top} become 0")
    assert levels[first - 1 - top + 200] == 255 and not levels[first - top + 200 :].any() and top + 1 - first == 2 ** (bits - 9)
opaque = np.dstack([FACE, np.ones(FACE.shape[:2])])
picture = by_pillow(packed(opaque, 16))
print(f"  16 bits with alpha, all of it opaque: skin {picture[40, 40].tolist()}")
assert not picture[..., 3].any()
grey = Image.open(io.BytesIO(packed(FACE[..., 0], 16)))
print(f"  16 bits, grey: {grey.mode}, spark {np.asarray(grey)[22, 22]}")
assert np.asarray(grey)[22, 22] == 65535
PYTHON
for release in 12.3.0 13.0.0; do
    python3 -m venv "$folder/$release"
    "$folder/$release/bin/pip" install --quiet --disable-pip-version-check "pillow==$release" imagecodecs==2026.3.6 \
      opencv-python-headless==5.0.0.93 av==18.1.0 numpy==2.4.6
    "$folder/$release/bin/python" "$folder/white.py" 2>/dev/null
done
