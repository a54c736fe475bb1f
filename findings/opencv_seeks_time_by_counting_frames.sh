#!/usr/bin/env bash
# Question: phones and calls record films whose frames come when there is light and something to see. To look at one frame a
#   second, programs seek by time (`VideoCapture.set(CAP_PROP_POS_MSEC, ...)`). `read()` tells the right time of every
#   such frame. Does seeking by time land on the frame that is shown then?
# Guess before the run: yes, or one frame beside; the time stamps are in the file, and OpenCV knows them.
# Found: no. The time is multiplied by a mean rate and the product counted as frames. In MP4 the mean is frames by length: of ten
#   frames in three seconds, 500 ms gives the one at 500, and 1,500 ms the last one, at 3,033. In Matroska and WebM
#   the rate is the one that the writer named, 30 a second: 500 ms is then beyond the end, and there is no frame but the first.
#   Whether the coder reorders frames matters, too: the same ten times without B-frames have a mean of 3.3 a second, not of 6.0,
#   and 1,500 ms lands on frame 5. Seeking by number is right in all of them. OpenCV 4 and 5 agree. Whoever samples faces of such a film
#   reads on, or seeks with PyAV, and looks at each frame's time.
# Versions: opencv-python-headless 4.14.0.94 and 5.0.0.93, av 18.1.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (the frame, counted from 0, that is read after seeking to 0, 500, 1500 and 3000 ms; right are 0, 3, 5 and 8):
#   OpenCV 4.14.0
#     MP4: 6.0 frames a second, [0, 3, 9, None]
#     MP4 without B-frames: 3.3 frames a second, [0, 2, 5, None]
#     Matroska: 30.0 frames a second, [0, None, None, None]
#     WebM: 30.0 frames a second, [0, None, None, None]
#   OpenCV 5.0.0
#     the same
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/seek.py" <<'PYTHON'
import fractions
import sys
from pathlib import Path

import av
import cv2
import numpy as np

TICK = fractions.Fraction(1, 90_000)
TIMES = [0, 0.033, 0.066, 0.5, 0.533, 1.5, 1.533, 1.566, 3.0, 3.033]
ASKED = [0, 500, 1500, 3000]
FILMS = {
    "MP4": ("film.mp4", "libx264", {}),
    "MP4 without B-frames": ("plain.mp4", "libx264", {"bf": "0"}),
    "Matroska": ("film.mkv", "libx264", {}),
    "WebM": ("film.webm", "libvpx-vp9", {}),
}
EXPECTED = {
    "MP4": [0, 3, 9, None],
    "MP4 without B-frames": [0, 2, 5, None],
    "Matroska": [0, None, None, None],
    "WebM": [0, None, None, None],
}


def write(path, codec, options):
    with av.open(path, "w") as film:
        stream = film.add_stream(codec, rate=30, options=options)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK
        for number, seconds in enumerate(TIMES):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 + 20 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(seconds * 90_000), TICK
            film.mux(stream.encode(frame))
        film.mux(stream.encode())


def number(capture):
    there, frame = capture.read()
    return round((float(frame.mean()) - 20) / 20) if there else None


def after(capture, what, value):
    capture.set(what, value)
    return number(capture)


print(f"OpenCV {cv2.__version__}")
for name, (file, codec, options) in FILMS.items():
    path = str(Path(sys.argv[1]) / file)
    write(path, codec, options)
    capture, told = cv2.VideoCapture(path), []
    while number(capture) is not None:
        told.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    assert np.allclose(told, np.multiply(TIMES, 1000), atol=1), told
    by_time = [after(capture, cv2.CAP_PROP_POS_MSEC, asked) for asked in ASKED]
    by_number = [after(capture, cv2.CAP_PROP_POS_FRAMES, asked) for asked in (0, 3, 5, 8)]
    print(f"  {name}: {capture.get(cv2.CAP_PROP_FPS):.1f} frames a second, {by_time}")
    assert by_number == [0, 3, 5, 8], by_number
    assert by_time == EXPECTED[name], by_time
PYTHON
for release in 4.14.0.94 5.0.0.93; do
    python3 -m venv "$folder/$release"
    "$folder/$release/bin/pip" install --quiet --disable-pip-version-check "opencv-python-headless==$release" av==18.1.0 numpy==2.4.6
    "$folder/$release/bin/python" "$folder/seek.py" "$folder" 2>/dev/null
done
