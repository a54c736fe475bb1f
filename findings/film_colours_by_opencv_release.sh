#!/usr/bin/env bash
# Question: phones film in BT.2020 with HLG or PQ, and some in Display P3; calls and cameras in BT.709. OpenCV and PyAV read films
#   with one FFmpeg, each its own copy. Which colours does a network get, from which reader and release?
# Guess before the run: PyAV goes by the matrix that a film names and leaves primaries and brightness alone. OpenCV takes every
#   film for BT.601, as it always did, so that skin is a few levels off, by the same in every release.
# Found: right up to OpenCV 4.12. Since 4.13 its FFmpeg is of release 8, and the same call gives sRGB: BT.709 is exact, Display P3
#   and BT.2020 are brought to BT.709's primaries, and HLG and PQ are mapped to the brightness of a screen. PyAV has the same
#   FFmpeg and does none of it. Skin that a film stores at (150, 115, 95) reaches a network as (149, 114, 95) from PyAV, and
#   from OpenCV as (160, 116, 91), (189, 127, 107) or (255, 123, 88), for P3, HLG and PQ. What was calibrated on films of a phone
#   with OpenCV 4.12, or reads them with PyAV, sees paler faces than OpenCV 4.13 and later show, which has no property for it.
# Versions: opencv-python-headless 4.12.0.88 (libavcodec 59), 5.0.0.93 (62), and 4.13.0.92 and 4.14.0.94 like 5.0.0.93; av 18.1.0
#   (62), numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (skin and grey, by PyAV and two releases of OpenCV; stored are (150, 115, 95) and (100, 100, 100)):
#   BT.709: PyAV (149, 114, 95) (100, 100, 100); 4.12.0 (146, 111, 96) (100, 100, 100); 5.0.0 (149, 114, 95) (100, 100, 100)
#   Display P3: PyAV (149, 114, 95) (100, 100, 100); 4.12.0 (146, 111, 96) (100, 100, 100); 5.0.0 (160, 116, 91) (100, 100, 100)
#   BT.2020, HLG: PyAV (149, 114, 95) (100, 100, 100); 4.12.0 (148, 114, 96) (100, 100, 100); 5.0.0 (189, 127, 107) (112, 112, 112)
#   BT.2020, PQ: PyAV (149, 114, 95) (100, 100, 100); 4.12.0 (148, 114, 96) (100, 100, 100); 5.0.0 (255, 123, 88) (114, 115, 114)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
for release in 4.12.0.88 5.0.0.93; do
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$folder/$release" \
    "opencv-python-headless==$release"
done
cat >"$folder/films.py" <<'PYTHON'
import os
import subprocess
import sys

import av
import numpy as np

WIDTH, HEIGHT = 256, 144
SKIN, GREY = (150, 115, 95), (100, 100, 100)
picture = np.empty((HEIGHT, WIDTH, 3))
picture[:, : WIDTH // 2], picture[:, WIDTH // 2 :] = SKIN, GREY
# Matrix, primaries and transfer by their numbers in H.273, with the matrix's shares of red and blue.
BT709, BT2020 = (1, 0.2126, 0.0722), (9, 0.2627, 0.0593)
FILMS = {
    "BT.709": (BT709, 1, 1),
    "Display P3": (BT709, 12, 1),
    "BT.2020, HLG": (BT2020, 9, 18),
    "BT.2020, PQ": (BT2020, 9, 16),
}


def planes(red_share, blue_share):
    red, green, blue = np.moveaxis(picture / 255, 2, 0)
    bright = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    blueness, redness = (blue - bright) / (2 - 2 * blue_share), (red - bright) / (2 - 2 * red_share)
    rows = [16 + 219 * bright, *((128 + 224 * each)[::2, ::2].reshape(-1, WIDTH) for each in (blueness, redness))]
    return np.vstack(rows).round().astype(np.uint8)


def write(path, matrix, primaries, transfer):
    number, *shares = matrix
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        coder = stream.codec_context
        coder.color_range, coder.colorspace, coder.color_primaries, coder.color_trc = 1, number, primaries, transfer
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(planes(*shares), format="yuv420p")
            frame.pts, frame.color_range, frame.colorspace = index, 1, number
            frame.color_primaries, frame.color_trc = primaries, transfer
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def pixels(frame):
    return [tuple(int(value) for value in frame[HEIGHT // 2, column]) for column in (WIDTH // 4, 3 * WIDTH // 4)]


def by_pyav(path):
    with av.open(path) as container:
        return pixels(next(container.decode(video=0)).to_ndarray(format="rgb24"))


CODE = "import sys, cv2; _, frame = cv2.VideoCapture(sys.argv[1]).read(); "
CODE += f"print(frame[{HEIGHT // 2}, [{WIDTH // 4}, {3 * WIDTH // 4}], ::-1].ravel().tolist())"


def by_opencv(path, folder):
    there = {**os.environ, "PYTHONPATH": folder}
    said = subprocess.run([sys.executable, "-c", CODE, path], env=there, capture_output=True, check=True)
    values = [int(value) for value in said.stdout.decode().strip("[]\n").split(",")]
    return [tuple(values[:3]), tuple(values[3:])]


def off(found):
    return max(abs(np.subtract(found, (SKIN, GREY))).ravel())


work, old, new = sys.argv[1:]
found = {}
for film, (matrix, primaries, transfer) in FILMS.items():
    path = os.path.join(work, "film.mp4")
    write(path, matrix, primaries, transfer)
    found[film] = [by_pyav(path), by_opencv(path, old), by_opencv(path, new)]
    row = (f"{name} {skin} {grey}" for name, (skin, grey) in zip(("PyAV", "4.12.0", "5.0.0"), found[film]))
    print(f"{film}: {'; '.join(row)}")
    assert off(found[film][0]) <= 2 and 2 <= off(found[film][1]) <= 5, found[film]
assert off(found["BT.709"][2]) <= 2
for film, least in (("Display P3", 7), ("BT.2020, HLG", 30), ("BT.2020, PQ", 60)):
    assert off(found[film][2]) >= least, (film, found[film])
PYTHON
"$folder/venv/bin/python" "$folder/films.py" "$folder" "$folder/4.12.0.88" "$folder/5.0.0.93"
