#!/usr/bin/env bash
# Question: cut-out portraits come with alpha, their colours either as they are or already multiplied by it. TIFF says which, and so
#   does AVIF. Laid on white, colours that are multiplied twice, or taken for plain, give the head a dark rim. Do readers agree?
# Guess before the run: a TIFF that is not multiplied comes as it is in every reader; of a multiplied one only Pillow divides again,
#   the others give what is stored. Of a multiplied AVIF all divide, for libavif and libheif do that for them.
# Found: missed in three places, and no reader but Pillow gives the same colours four times. OpenCV multiplies the TIFF that is not
#   multiplied, and only at 8 bits: the same picture at 16 bits keeps its colours (IMREAD_UNCHANGED), and loses them again as
#   IMREAD_COLOR. It cannot tell the two TIFFs apart, and divides in AVIF. libvips is the other way round: it divides in TIFF
#   and gives AVIF multiplied, and none of its fields says so. So one and the same cut-out gets its rim from OpenCV as TIFF, and from
#   libvips as AVIF; who turns one format into the other before a network sees it divides by hand, or has Pillow read it.
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, pyvips-binary 8.18.7, pyvips 3.2.0, tifffile 2026.3.3, numpy 2.4.6,
#   Python 3.11, Linux x86-64.
# Output seen (colour and alpha as read where (200, 100, 40) has the alpha 57; OpenCV in the order of the others):
#   TIFF, 8 bits, plain: Pillow [200, 100, 40, 57], OpenCV [45, 22, 9, 57], libvips [200, 100, 40, 57]
#   TIFF, 8 bits, multiplied: Pillow [201, 98, 40, 57], OpenCV [45, 22, 9, 57], libvips [201, 98, 40, 57]
#   AVIF, plain: Pillow [200, 100, 40, 57], OpenCV [200, 100, 40, 57], libvips [200, 100, 40, 57]
#   AVIF, multiplied: Pillow [202, 103, 45, 57], OpenCV [202, 103, 45, 57], libvips [45, 23, 10, 57]
#   OpenCV, TIFF of 16 bits, plain: [200, 100, 40, 57] unchanged, [45, 22, 9] as colours
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 \
  pyvips-binary==8.18.7 pyvips==3.2.0 tifffile==2026.3.3 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io

import cv2
import numpy as np
import pyvips
import tifffile
from PIL import Image

COLOUR, PLACE = (200, 100, 40), (32, 5)
plain = np.empty((64, 64, 4), np.uint8)
plain[..., :3] = COLOUR
plain[..., 3] = np.linspace(40, 255, 64).astype(np.uint8)
multiplied = plain.copy()
multiplied[..., :3] = np.round(plain[..., :3] * (plain[..., 3:] / 255))


def tiff(pixels, kind):
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, photometric="rgb", extrasamples=[kind])
    return stream.getvalue()


def avif(alpha_premultiplied):
    stream = io.BytesIO()
    image = Image.fromarray(plain)
    image.save(stream, "AVIF", quality=100, subsampling="4:4:4", alpha_premultiplied=alpha_premultiplied)
    return stream.getvalue()


def by_opencv(coded, how=cv2.IMREAD_UNCHANGED):
    pixel = cv2.imdecode(np.frombuffer(coded, np.uint8), how)[PLACE]
    return [int(value) for value in (*pixel[2::-1], *pixel[3:])]


READERS = {
    "Pillow": lambda coded: np.asarray(Image.open(io.BytesIO(coded)).convert("RGBA"))[PLACE].tolist(),
    "OpenCV": by_opencv,
    "libvips": lambda coded: pyvips.Image.new_from_buffer(coded, "").numpy()[PLACE].tolist(),
}
FILES = {
    "TIFF, 8 bits, plain": tiff(plain, "UNASSALPHA"),
    "TIFF, 8 bits, multiplied": tiff(multiplied, "ASSOCALPHA"),
    "AVIF, plain": avif(False),
    "AVIF, multiplied": avif(True),
}
keeps = set()
for name, coded in FILES.items():
    row = {reader: read(coded) for reader, read in READERS.items()}
    print(f"{name}: " + ", ".join(f"{reader} {pixel}" for reader, pixel in row.items()))
    for reader, pixel in row.items():
        assert pixel[3] == plain[PLACE][3]
        if abs(np.subtract(pixel[:3], COLOUR)).max() <= 6:
            keeps.add((reader, name))
        else:
            assert abs(np.subtract(pixel[:3], multiplied[PLACE][:3])).max() <= 2, (reader, name, pixel)
lost = {(reader, name) for reader in READERS for name in FILES} - keeps
tiffs = {("OpenCV", "TIFF, 8 bits, plain"), ("OpenCV", "TIFF, 8 bits, multiplied")}
assert lost == tiffs | {("libvips", "AVIF, multiplied")}, lost
told = pyvips.Image.new_from_buffer(FILES["AVIF, multiplied"], "").get_fields()
assert not [field for field in told if "alpha" in field or "multipl" in field], told
assert told == pyvips.Image.new_from_buffer(FILES["AVIF, plain"], "").get_fields()
deep = tiff(plain.astype(np.uint16) * 257, "UNASSALPHA")
unchanged, colours = [value // 257 for value in by_opencv(deep)], by_opencv(deep, cv2.IMREAD_COLOR)
print(f"OpenCV, TIFF of 16 bits, plain: {unchanged} unchanged, {colours} as colours")
assert unchanged == plain[PLACE].tolist() and colours == by_opencv(FILES["TIFF, 8 bits, plain"])[:3]
PYTHON
