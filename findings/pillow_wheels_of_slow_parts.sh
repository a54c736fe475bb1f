#!/usr/bin/env bash
# Question: Pillow's wheel of release 13.0 carries the releases of Little CMS, OpenJPEG, libwebp and zlib-ng that 12.3's does. Does
#   it read pictures and convert colours in the same time?
# Guess before the run: within a tenth; what differs between the two is Pillow's own code, which does none of that.
# Found: no. With 13.0 Little CMS and OpenJPEG take 0.56 of the time, to read and to write; libwebp and zlib-ng take what they took.
#   All give the same bytes. The two are smaller files, too (Little CMS 412 KB, not 507), by the same compiler (GCC 14.2.1): it is how
#   they are built that differs, and 11.3 to 12.2 are as slow as 12.3. The releases that `features` lists do not say how fast a part is.
# Versions: pillow 12.3.0 and 13.0.0 (Little CMS 2.19, OpenJPEG 2.5.4, libwebp 1.6.0, zlib-ng 2.3.3), numpy 2.4.6, Linux x86-64,
#   Python 3.11 to 3.13.
# Output seen (12.3.0, 13.0.0, and the median of the ratios of five rounds in turn):
#   OpenJPEG: 114.5 ms and 63.9 ms, 1.79 times
#   libwebp: 5.8 ms and 5.8 ms, 0.98 times
#   zlib-ng, PNG: 10.3 ms and 10.3 ms, 0.99 times
#   Little CMS, to Lab: 27.3 ms and 15.4 ms, 1.78 times
#   OpenJPEG, to write: 127.3 ms and 68.9 ms, 1.84 times
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/parts.py" <<'PYTHON'
import hashlib
import io
import json
import sys
import time

import numpy as np
from PIL import Image, ImageCms, features

rng = np.random.default_rng(0)
small = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
picture = small.resize((800, 600), Image.Resampling.BICUBIC)
srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
to_lab = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")


def stored(form, **options):
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def read(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.tobytes()


files = {
    "OpenJPEG": stored("JPEG2000"),
    "libwebp": stored("WEBP", quality=80),
    "zlib-ng, PNG": stored("PNG"),
}
work = {name: lambda data=data: read(data) for name, data in files.items()}
work["Little CMS, to Lab"] = lambda: ImageCms.applyTransform(picture, to_lab).tobytes()
work["OpenJPEG, to write"] = lambda: stored("JPEG2000")
found = {}
for name, once in work.items():
    digest = hashlib.sha256(once()).hexdigest()
    spent = []
    for _ in range(7):
        began = time.perf_counter()
        once()
        spent.append(time.perf_counter() - began)
    found[name] = [1000 * min(spent), digest]
parts = {name: features.version(name) for name in ("littlecms2", "jpg_2000", "webp", "zlib_ng")}
json.dump([parts, found], sys.stdout)
PYTHON
cat >"$folder/compare.py" <<'PYTHON'
import json
import statistics
import subprocess
import sys
from collections import defaultdict

folder = sys.argv[1]
times, digests, parts = defaultdict(lambda: defaultdict(list)), defaultdict(set), {}
for _ in range(5):
    for release in ("12.3.0", "13.0.0"):
        text = subprocess.run([f"{folder}/{release}/bin/python", f"{folder}/parts.py"], capture_output=True, check=True).stdout
        parts[release], found = json.loads(text)
        for name, (spent, digest) in found.items():
            times[name][release].append(spent)
            digests[name].add(digest)
print(parts["13.0.0"])
assert parts["12.3.0"] == parts["13.0.0"], "the parts differ"
ratios = {}
for name, by in times.items():
    ratios[name] = statistics.median(one / other for one, other in zip(by["12.3.0"], by["13.0.0"], strict=True))
    print(f"  {name}: {statistics.median(by['12.3.0']):.1f} ms and {statistics.median(by['13.0.0']):.1f} ms, {ratios[name]:.2f} times")
assert all(len(one) == 1 for one in digests.values()), "some bytes differ"
for name in ("OpenJPEG", "OpenJPEG, to write", "Little CMS, to Lab"):
    assert ratios[name] > 1.3, f"{name} is as fast in both"
for name in ("libwebp", "zlib-ng, PNG"):
    assert 0.75 < ratios[name] < 1.25, f"{name} is not as fast in both"
PYTHON
for version in 12.3.0 13.0.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "pillow==$version" numpy==2.4.6
done
"$folder/13.0.0/bin/python" "$folder/compare.py" "$folder"
