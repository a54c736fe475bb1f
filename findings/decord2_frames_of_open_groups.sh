#!/usr/bin/env bash
# Question: x265 lets frames that are shown before a key frame lean on it (open groups), unless it is told not to. decord2, the
#   follower of decord, gives frames by number, to sample a film for faces. Does each number give its frame?
# Guess before the run: yes, as PyAV does that decodes all in turn, whatever the coder, and in the order asked for.
# Found: read in turn all frames are right. By number those around a key frame are others. In MP4 frame 7 is frame 10, 8 is 11, and
#   10 is 13. In Matroska, with the same pictures, 7 to 12 are 0 to 5, which a group earlier shows. A third of the numbers is
#   concerned where a group has ten frames. Nothing is raised, and get_frame_timestamp tells the time of the frame that was
#   asked for. So a face that is found by number is reported at a time at which it was elsewhere. Closed groups are right, and
#   OpenCV, which seeks by number in the same films, is right in all. Read in turn and leave out, or write films with open-gop=0.
# Versions: decord2 3.4.0, opencv-python-headless 5.0.0.93, av 18.1.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (asked for 7, 8, 9, 10, 11, 12 and 25: what decord2 gives, its times in frames, what OpenCV gives):
#   H.265 in MP4, open: 10 11 12 13 14 15 25; 7 8 9 10 11 12 25; 7 8 9 10 11 12 25
#   H.265 in Matroska, open: 0 1 2 3 4 5 25; 7 8 9 10 11 12 25; 7 8 9 10 11 12 25
#   H.264 in MP4, closed: 7 8 9 10 11 12 25; 7 8 9 10 11 12 25; 7 8 9 10 11 12 25
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check decord2==3.4.0 opencv-python-headless==5.0.0.93 av==18.1.0 \
  numpy==2.4.6
cat >"$folder/write.py" <<'PYTHON'
import sys

import av
import numpy as np

X265 = {"x265-params": "open-gop=1:keyint=10:bframes=3:log-level=none:scenecut=0"}
X264 = {"x264-params": "open-gop=0:keyint=10:bframes=3:scenecut=0"}
for name, coder, options in (
    ("open.mp4", "libx265", X265),
    ("open.mkv", "libx265", X265),
    ("closed.mp4", "libx264", X264),
):
    with av.open(f"{sys.argv[1]}/{name}", "w") as film:
        stream = film.add_stream(coder, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(60):
            picture = np.full((96, 128, 3), 128, np.uint8)
            for bit in range(8):
                picture[:16, bit * 16 : bit * 16 + 16] = 255 * (number >> bit & 1)
            picture[30:] = np.random.default_rng(number).integers(0, 60, (66, 128, 3))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode())
    with av.open(f"{sys.argv[1]}/{name}") as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    numbers = [sum((int(frame[8, bit * 16 + 8, 0]) > 128) << bit for bit in range(8)) for frame in frames]
    assert numbers == list(range(60)), name
PYTHON
cat >"$folder/read.py" <<'PYTHON'
import sys

import cv2
import decord

ASKED = [7, 8, 9, 10, 11, 12, 25]


def number(frame):
    return sum((int(frame[8, bit * 16 + 8, 0]) > 128) << bit for bit in range(8))


for name, title, seen in (
    ("open.mp4", "H.265 in MP4, open", [10, 11, 12, 13, 14, 15, 25]),
    ("open.mkv", "H.265 in Matroska, open", [0, 1, 2, 3, 4, 5, 25]),
    ("closed.mp4", "H.264 in MP4, closed", ASKED),
):
    path = f"{sys.argv[1]}/{name}"
    assert [number(frame.asnumpy()) for frame in decord.VideoReader(path)] == list(range(60))
    reader = decord.VideoReader(path)
    assert len(reader) == 60
    by_number = [number(frame) for frame in reader.get_batch(ASKED).asnumpy()]
    times = [round(float(reader.get_frame_timestamp(each)[0]) * 25) for each in ASKED]
    capture, by_opencv = cv2.VideoCapture(path), []
    for each in ASKED:
        capture.set(cv2.CAP_PROP_POS_FRAMES, each)
        by_opencv.append(number(capture.read()[1]))
    print(f"{title}: " + "; ".join(" ".join(map(str, each)) for each in (by_number, times, by_opencv)))
    assert by_number == seen and times == by_opencv == ASKED, name
PYTHON
"$folder/venv/bin/python" "$folder/write.py" "$folder"
"$folder/venv/bin/python" "$folder/read.py" "$folder"
