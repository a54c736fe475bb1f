#!/usr/bin/env bash
# Question: an AVIF can say, beside its pixels, that it is to be cropped (`clap`), turned (`irot`) and mirrored (`imir`), so that
#   an editor need not code it anew. The standard (MIAF) has readers apply them. Does each give the same picture?
# Guess before the run: all crop alike, and all turn but PyAV and imagecodecs; OpenCV turns JPEGs by their EXIF, and so AVIFs, too.
# Found: libvips alone crops. Pillow, OpenCV, imagecodecs and PyAV give the whole stored picture, so that what was cut away is
#   there again: a neighbour's face is counted, and boxes lie beside the faces that libvips shows. None of them says
#   that there was a crop. Turns and mirrors libvips applies, and Pillow tells as an orientation, which exif_transpose follows.
#   OpenCV, imagecodecs and PyAV do neither: a portrait that Pillow saved as AVIF, with the orientation of its JPEG, stands
#   upright in OpenCV as JPEG, and lies on its side as AVIF. Whoever takes AVIF reads it by libvips, or looks for `clap` first.
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, imagecodecs 2026.3.6, av 18.1.0, pyvips-binary 8.18.7, pyvips 3.2.0,
#   numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (size of the picture, and colours of its corners, row by row):
#   plain: 160 x 96, red green blue white: Pillow, Pillow with exif_transpose, OpenCV, imagecodecs, PyAV, libvips
#   clap: 160 x 96, red green blue white: Pillow, Pillow with exif_transpose, OpenCV, imagecodecs, PyAV
#   clap: 80 x 64, red green blue white: libvips
#   irot: 160 x 96, red green blue white: Pillow, OpenCV, imagecodecs, PyAV
#   irot: 96 x 160, blue red white green: Pillow with exif_transpose, libvips
#   imir: 160 x 96, red green blue white: Pillow, OpenCV, imagecodecs, PyAV
#   imir: 160 x 96, green red white blue: Pillow with exif_transpose, libvips
#   orientation 6 by Pillow, JPEG: OpenCV 96 x 160, blue red white green
#   orientation 6 by Pillow, AVIF: OpenCV 160 x 96, red green blue white
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 \
  imagecodecs==2026.3.6 av==18.1.0 pyvips-binary==8.18.7 pyvips==3.2.0 numpy==2.4.6
cat >"$folder/avif.py" <<'PYTHON'
import io
import struct

import av
import cv2
import imagecodecs
import numpy as np
import pyvips
from PIL import Image, ImageOps

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 220), "white": (220, 220, 220)}
CLAP = struct.pack(">I4s8i", 40, b"clap", 80, 1, 64, 1, -60, 2, 8, 2)  # 80 by 64 pixels from (10, 20), by its offset from the middle
IROT, IMIR = struct.pack(">I4sB", 9, b"irot", 3), struct.pack(">I4sB", 9, b"imir", 1)


def saved(form, **options):
    picture = np.zeros((96, 160, 3), np.uint8)
    for place, colour in enumerate(COLOURS.values()):
        picture[place // 2 * 48 :][:48, place % 2 * 80 :][:, :80] = colour
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, quality=95, subsampling="4:4:4", **options)
    return stream.getvalue()


def boxes(data, start, end):
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        yield kind, start, start + size
        start += size


def inside(data, *path, skip):
    start, end = 0, len(data)
    for kind in path:
        start, end = next((first, last) for name, first, last in boxes(data, start, end) if name == kind)
        start += 8 + (4 if kind == b"meta" else 0)
    return start - skip, end


def with_property(data, added):
    """An AVIF of one item, whose pixels lie behind its boxes, with one more property that has to be applied."""
    start, end = inside(data, b"meta", b"iprp", b"ipco", skip=8)
    number = len(list(boxes(data, start + 8, end))) + 1
    old = data[start:end]
    new = struct.pack(">I4s", len(old) + len(added), b"ipco") + old[8:] + added
    first, last = inside(data, b"meta", b"iprp", b"ipma", skip=8)
    links = data[first:last]
    assert links[8:16] == bytes(7) + b"\1" and links[16:18] == b"\0\1", links
    more = struct.pack(">I", len(links) + 1) + links[4:18] + bytes([links[18] + 1]) + links[19:] + bytes([0x80 | number])
    grown = len(added) + 1
    changed = bytearray(data)
    for name in (b"meta", b"iprp"):
        place = inside(data, *((b"meta",) if name == b"meta" else (b"meta", b"iprp")), skip=12 if name == b"meta" else 8)[0]
        struct.pack_into(">I", changed, place, struct.unpack_from(">I", data, place)[0] + grown)
    place = inside(data, b"meta", b"iloc", skip=8)[0]
    assert data[place + 8 : place + 16] == bytes([0, 0, 0, 0, 0x44, 0, 0, 1]) and data[place + 18 : place + 22] == b"\0\0\0\1"
    struct.pack_into(">I", changed, place + 22, struct.unpack_from(">I", data, place + 22)[0] + grown)
    changed[first:last] = more
    changed[start:end] = new
    return bytes(changed)


def by_av(data):
    with av.open(io.BytesIO(data)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


READERS = {
    "Pillow": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
    "Pillow with exif_transpose": lambda data: np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")),
    "OpenCV": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1],
    "imagecodecs": lambda data: imagecodecs.avif_decode(data)[..., :3],
    "PyAV": by_av,
    "libvips": lambda data: pyvips.Image.new_from_buffer(data, "").numpy()[..., :3],
}
AS_STORED = "160 x 96, red green blue white"
APPLIED = {
    "plain": AS_STORED,
    "clap": "80 x 64, red green blue white",
    "irot": "96 x 160, blue red white green",
    "imir": "160 x 96, green red white blue",
}


def seen(picture):
    corners = picture[[3, 3, -4, -4], [3, -4, 3, -4]].astype(int)
    names = [min(COLOURS, key=lambda name: np.abs(np.subtract(COLOURS[name], corner)).sum()) for corner in corners]
    return f"{picture.shape[1]} x {picture.shape[0]}, {' '.join(names)}"


plain = saved("AVIF")
for kind, added in {"plain": b"", "clap": CLAP, "irot": IROT, "imir": IMIR}.items():
    data = with_property(plain, added) if added else plain
    found = {name: seen(reader(data)) for name, reader in READERS.items()}
    for answer in sorted(set(found.values()), key=list(found.values()).index):
        print(f"{kind}: {answer}: {', '.join(name for name, each in found.items() if each == answer)}")
    right = {"libvips"} | ({"Pillow with exif_transpose"} if kind in ("irot", "imir") else set())
    assert found == {name: APPLIED[kind] if name in right else AS_STORED for name in READERS}, found
for form in ("JPEG", "AVIF"):
    exif = Image.Exif()
    exif[0x112] = 6
    answer = seen(READERS["OpenCV"](saved(form, exif=exif)))
    print(f"orientation 6 by Pillow, {form}: OpenCV {answer}")
    assert answer == (APPLIED["irot"] if form == "JPEG" else AS_STORED)
PYTHON
"$folder/venv/bin/python" "$folder/avif.py"
