#!/usr/bin/env bash
# Question: a PNG without alpha may name one colour that is clear (`tRNS`), in samples of the file's own depth. Scanned portraits and
#   cut-out heads have it. Do readers agree on which pixels are clear, whatever the depth?
# Guess before the run: yes; it is one comparison, and the oldest of PNG's features.
# Found: of three readers one is right at every depth. Pillow compares at eight bits alone. Of grey of 2 or 4 bits it stretches the
#   samples and not the colour, so that nothing is clear; of grey of 16 bits it makes nothing clear either; and of RGB of 16 bits it keeps
#   the high byte of a sample and the low byte of the clear one, so that the clear colour stays and another one goes. OpenCV is right
#   for RGB, and gives no alpha for grey of any depth. imagecodecs (libpng) is right in all five. Whoever lays such a portrait on
#   white with Pillow brings the clear colour to eight bits first.
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, imagecodecs 2026.3.6, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (of four pixels, which are clear; the right one is named first):
#   RGB of 16 bits: right 1, Pillow 2, OpenCV 1, imagecodecs 1
#   grey of 2 bits: right 2, Pillow none, OpenCV none, imagecodecs 2
#   grey of 4 bits: right 2, Pillow none, OpenCV none, imagecodecs 2
#   grey of 8 bits: right 2, Pillow 2, OpenCV none, imagecodecs 2
#   grey of 16 bits: right 1, Pillow none, OpenCV none, imagecodecs 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 \
    imagecodecs==2026.3.6 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct
import zlib

import cv2
import imagecodecs
import numpy as np
from PIL import Image


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(depth, colour, samples, clear):
    """Four pixels in a row; one colour of `clear` samples is clear."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0))
    key = chunk(b"tRNS", b"".join(struct.pack(">H", one) for one in clear))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + samples))
    return b"\x89PNG\r\n\x1a\n" + header + key + pixels + chunk(b"IEND", b"")


def clear_by(alpha):
    return [index + 1 for index, value in enumerate(alpha.ravel()) if not value]


def by_pillow(data):
    return clear_by(np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3])


def by_opencv(data):
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return clear_by(pixels[..., 3]) if pixels.ndim == 3 and pixels.shape[2] == 4 else []


def by_imagecodecs(data):
    return clear_by(imagecodecs.png_decode(data)[..., -1])


COLOURS = ((0x1234, 0x5678, 0x9ABC), (0x3400, 0x7800, 0xBC00), (0x1235, 0x5678, 0x9ABC), (0xFFFF, 0xFFFF, 0xFFFF))
FILES = {
    "RGB of 16 bits": (png(16, 2, b"".join(struct.pack(">3H", *one) for one in COLOURS), COLOURS[0]), [1]),
    "grey of 2 bits": (png(2, 0, bytes([0b00_01_10_11]), [1]), [2]),
    "grey of 4 bits": (png(4, 0, bytes([0x19, 0x3F]), [9]), [2]),
    "grey of 8 bits": (png(8, 0, bytes([1, 9, 3, 15]), [9]), [2]),
    "grey of 16 bits": (png(16, 0, struct.pack(">4H", 1000, 1001, 771, 60000), [1000]), [1]),
}
READERS = {"Pillow": by_pillow, "OpenCV": by_opencv, "imagecodecs": by_imagecodecs}
found = {}
for name, (data, right) in FILES.items():
    found[name] = {reader: read(data) for reader, read in READERS.items()}
    told = {"right": right} | found[name]
    print(f"{name}: " + ", ".join(f"{reader} {' '.join(map(str, clear)) or 'none'}" for reader, clear in told.items()))
    assert found[name]["imagecodecs"] == right
assert [found[name]["Pillow"] for name in FILES] == [[2], [], [], [2], []]
assert [found[name]["OpenCV"] for name in FILES] == [[1], [], [], [], []]
PYTHON
