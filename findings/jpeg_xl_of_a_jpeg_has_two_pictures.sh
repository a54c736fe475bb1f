#!/usr/bin/env bash
# Question: JPEG XL repacks a JPEG without loss, a sixth smaller, and gives back the same file, byte for byte. Does a reader of
#   JPEG XL show the pixels of that JPEG?
# Guess before the run: within 2 levels of 255, as two decoders of JPEG do, and nearest where colour is stored whole (4:4:4).
# Found: it depends on the reader, and 4:4:4 is the furthest. Pillow's plug-in rebuilds the JPEG and lets Pillow decode it: not a
#   level of difference. imagecodecs asks libjxl for pixels, which come straight from the repacked values: 10 to 21 levels beside
#   where colour is stored whole, the more the coarser the JPEG, and 3 to 5 where half or a quarter of it is. Only in
#   4:4:4 are colours predicted from brightness. A file that is repacked "without loss" may so give another face crop, another
#   hash and another near-duplicate; whoever archives JPEGs as JPEG XL rebuilds the JPEG before a network sees it.
# Versions: pillow-jxl-plugin 1.3.8, imagecodecs 2026.3.6 (libjxl 0.11.2), pillow 13.0.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (largest and mean difference to the JPEG's pixels, of 255):
#   4:4:4, quality 60: plug-in 0 0.00, imagecodecs 21 1.58
#   4:4:4, quality 75: plug-in 0 0.00, imagecodecs 16 1.20
#   4:4:4, quality 90: plug-in 0 0.00, imagecodecs 10 0.86
#   4:2:2, quality 60: plug-in 0 0.00, imagecodecs 5 0.65
#   4:2:2, quality 75: plug-in 0 0.00, imagecodecs 4 0.60
#   4:2:2, quality 90: plug-in 0 0.00, imagecodecs 3 0.56
#   4:2:0, quality 60: plug-in 0 0.00, imagecodecs 4 0.66
#   4:2:0, quality 75: plug-in 0 0.00, imagecodecs 4 0.60
#   4:2:0, quality 90: plug-in 0 0.00, imagecodecs 3 0.54
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 pillow-jxl-plugin==1.3.8 imagecodecs==2026.3.6 \
    numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_jxl  # noqa: F401 - it registers itself with Pillow
from PIL import Image

SIDE = 256
colours = np.random.default_rng(0).integers(40, 216, (SIDE // 8, SIDE // 8, 3)).astype(np.uint8)
picture = Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def difference(pixels, reference):
    apart = abs(pixels.astype(int) - reference)
    return apart.max(), apart.mean()


most = {}
for sampling in ("4:4:4", "4:2:2", "4:2:0"):
    for quality in (60, 75, 90):
        picture.save("photo.jpg", quality=quality, subsampling=sampling)
        Image.open("photo.jpg").save("photo.jxl", lossless_jpeg=True)
        assert Path("photo.jxl").stat().st_size < 0.95 * Path("photo.jpg").stat().st_size
        reference = np.asarray(Image.open("photo.jpg").convert("RGB"))
        plugin = difference(np.asarray(Image.open("photo.jxl").convert("RGB")), reference)
        direct = difference(imagecodecs.jpegxl_decode(Path("photo.jxl").read_bytes()), reference)
        print(f"{sampling}, quality {quality}: plug-in {plugin[0]} {plugin[1]:.2f}, imagecodecs {direct[0]} {direct[1]:.2f}")
        assert plugin == (0, 0)
        most[sampling, quality] = direct[0]
for quality in (60, 75, 90):
    assert most["4:4:4", quality] >= 8
    assert 2 <= most["4:2:0", quality] <= 6 and 2 <= most["4:2:2", quality] <= 6
assert most["4:4:4", 60] > most["4:4:4", 90]
PYTHON
