#!/usr/bin/env bash
# Question: photos of phones come in Display P3, and Pillow has Little CMS bring them to sRGB, pixel by pixel. A table made once
#   should be quicker than curves and a matrix for each pixel. What does FORCE_CLUT gain, and what does it cost?
# Guess before the run: a third of the time, for two levels of 255 at most; HIGHRESPRECALC takes one of these back.
# Found: the table is slower, by half, and lies up to 13 levels beside: it rounds the corner at which a colour leaves sRGB, and
#   gives saturated greens a red that they have not. HIGHRESPRECALC leaves 9 levels, 64 grid points a side 7, LOWRESPRECALC 20, all
#   in the same time. Without FORCE_CLUT none of these flags changes a byte, for Little CMS makes no table for such a profile.
#   Its default is within one level of NOOPTIMIZE, which takes twelve times as long.
# Versions: pillow 13.0.0 (Little CMS 2.19) and 12.0.0 (2.17), numpy 2.4.6, Python 3.11 to 3.13, Linux x86-64.
# Output seen:
#   Pillow 13.0.0, Little CMS 2.19
#     NOOPTIMIZE: 111 ms
#     default: 9 ms, at most 1 levels, 0.0% of values more than one
#     HIGHRESPRECALC: 9 ms; LOWRESPRECALC: 9 ms, both as by default
#     FORCE_CLUT: 15 ms, at most 13 levels, 1.9% of values more than one; (114, 246, 0) becomes (13, 250, 0), not (0, 250, 0)
#     FORCE_CLUT, HIGHRESPRECALC: 16 ms, at most 9 levels, 0.7% of values more than one
#     FORCE_CLUT, LOWRESPRECALC: 15 ms, at most 20 levels, 7.3% of values more than one
#     FORCE_CLUT, 64 points: 16 ms, at most 7 levels, 0.4% of values more than one
#   Pillow 12.0.0, Little CMS 2.17: the same colours, in twice these times
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/table.py" <<'PYTHON'
import io
import struct
import time

import numpy as np
import PIL
from PIL import Image, ImageCms, features

Flags = ImageCms.Flags
# Red, green and blue of Display P3 to XYZ under D50, and sRGB's curve (ICC.1:2001, "curv" and "para").
PRIMARIES = {"r": (0.51512, 0.2412, -0.00105), "g": (0.29198, 0.69225, 0.04189), "b": (0.1571, 0.06657, 0.78407)}
CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def fixed(*values):
    return b"".join(struct.pack(">i", round(65536 * value)) for value in values)


def display_p3():
    """A profile of curves and a matrix."""
    name = b"P3\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249),
        **{f"{one}XYZ".encode(): b"XYZ " + bytes(4) + fixed(*column) for one, column in PRIMARIES.items()},
        **{f"{one}TRC".encode(): b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(*CURVE) for one in PRIMARIES},
    }
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I", 128 + len(table + body)) + bytes(4) + b"\x04\x20\x00\x00mntrRGB XYZ " + bytes(12) + b"acsp"
    return head + bytes(28) + fixed(0.9642, 1, 0.8249) + bytes(48) + table + body


STEPS = np.arange(0, 256, 3, dtype=np.uint8)
COLOURS = Image.fromarray(np.stack(np.meshgrid(STEPS, STEPS, STEPS), axis=-1).reshape(len(STEPS), -1, 3))


def converted(flags):
    """All colours, and the least of seven times in milliseconds."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(display_p3()))
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", flags=flags)
    spent = []
    for _ in range(7):
        began = time.perf_counter()
        out = ImageCms.applyTransform(COLOURS, transform)
        spent.append(1000 * (time.perf_counter() - began))
    return np.asarray(out).astype(int), min(spent)


ways = {
    "NOOPTIMIZE": Flags.NOOPTIMIZE,
    "default": Flags(0),
    "HIGHRESPRECALC": Flags.HIGHRESPRECALC,
    "LOWRESPRECALC": Flags.LOWRESPRECALC,
    "FORCE_CLUT": Flags.FORCE_CLUT,
    "FORCE_CLUT, HIGHRESPRECALC": Flags.FORCE_CLUT | Flags.HIGHRESPRECALC,
    "FORCE_CLUT, LOWRESPRECALC": Flags.FORCE_CLUT | Flags.LOWRESPRECALC,
    "FORCE_CLUT, 64 points": Flags.FORCE_CLUT | Flags.GRIDPOINTS(64),
}
found = {name: converted(flags) for name, flags in ways.items()}
exact, slowest = found["NOOPTIMIZE"]
apart = {name: np.abs(out - exact) for name, (out, _) in found.items()}
print(f"Pillow {PIL.__version__}, Little CMS {features.version('littlecms2')}")
for name, (out, spent) in found.items():
    far = apart[name]
    where = np.unravel_index(far.argmax(), far.shape)[:2]
    print(
        f"  {name}: {spent:.0f} ms, at most {far.max()} levels, {100 * (far > 1).mean():.1f}% of values more than one;"
        f" {COLOURS.getpixel(where[::-1])} becomes {tuple(map(int, out[where]))}, not {tuple(map(int, exact[where]))}"
    )
assert [int(far.max()) for far in apart.values()] == [0, 1, 1, 1, 13, 9, 20, 7], "the distances have changed"
for name in ("HIGHRESPRECALC", "LOWRESPRECALC"):
    assert (found[name][0] == found["default"][0]).all(), f"{name} changes something"
assert found["FORCE_CLUT"][1] > 1.15 * found["default"][1], "the table is quicker"
assert slowest > 3 * found["default"][1], "NOOPTIMIZE is quicker"
PYTHON
for version in 12.0.0 13.0.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "pillow==$version" numpy==2.4.6
  "$folder/$version/bin/python" "$folder/table.py"
done
