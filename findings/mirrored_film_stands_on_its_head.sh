#!/usr/bin/env bash
# Question: cameras store a film as their sensor lies and say by a matrix how to show it. A front camera's may mirror as well, so
#   that the film is what its user saw. OpenCV and decord turn frames by the matrix, PyAV says by how much to turn them
#   (`frame.rotation`). Does a network see faces upright?
# Guess before the run: yes, for each of the eight matrices that turn by quarters; at worst a mirror is left out.
# Found: not where the film is mirrored in landscape. All three make an angle of the matrix, and a mirror to the side has one, for
#   its cosine is that of 180 degrees: OpenCV and decord turn such a film upside down, PyAV says -180, and CAP_PROP_ORIENTATION_META
#   is 180 as for a camera that was held so. The same film from a phone that was held the other way has the angle 0 and stays on
#   its head. In portrait, with a quarter turn, only the mirror is left out. FFmpeg's own program, which is what people look
#   at, shows all eight right. So a film that looks right has no face, and its twin in portrait has; who takes films
#   reads the matrix (PyAV gives it as the frame's DISPLAYMATRIX), and where its determinant is negative, mirrors.
# Versions: opencv-python-headless 4.14.0.94 and 5.0.0.93, decord 0.6.0, av 18.1.0, imageio 2.38.1, imageio-ffmpeg 0.8.1 (FFmpeg's
#   program), numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (PyAV's frames turned by its rotation):
#   OpenCV 4.14.0
#     as stored: OpenCV right, decord right, PyAV right, FFmpeg right
#     turned by 90: OpenCV right, decord right, PyAV right, FFmpeg right
#     turned by 180: OpenCV right, decord right, PyAV right, FFmpeg right
#     turned by 270: OpenCV right, decord right, PyAV right, FFmpeg right
#     mirrored to the side: OpenCV upside down, decord upside down, PyAV upside down, FFmpeg right
#     mirrored up and down: OpenCV upside down, decord upside down, PyAV upside down, FFmpeg right
#     mirrored, turned by 90: OpenCV not mirrored, decord not mirrored, PyAV not mirrored, FFmpeg right
#     mirrored, turned by 270: OpenCV not mirrored, decord not mirrored, PyAV not mirrored, FFmpeg right
#   OpenCV 5.0.0
#     the same
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/mirror.py" <<'PYTHON'
import struct
import sys
from pathlib import Path

import av
import cv2
import decord
import imageio.v2 as imageio
import numpy as np

# The four numbers of the matrix (how far right and down a step to the right leads, and a step down), and what it makes of a frame.
MATRICES = {
    "as stored": ((1, 0, 0, 1), lambda frame: frame),
    "turned by 90": ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
    "turned by 180": ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
    "turned by 270": ((0, -1, 1, 0), lambda frame: np.rot90(frame)),
    "mirrored to the side": ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
    "mirrored up and down": ((1, 0, 0, -1), lambda frame: frame[::-1]),
    "mirrored, turned by 90": ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
    "mirrored, turned by 270": ((0, -1, -1, 0), lambda frame: np.rot90(frame, 2).swapaxes(0, 1)),
}
WIDTH, HEIGHT = 96, 64
ONE = 1 << 16


def write(path, matrix):
    stored = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    stored[:32, :32], stored[:32, -32:] = (250, 60, 60), (60, 250, 60)
    with av.open(path, "w") as film:
        stream = film.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(5):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        film.mux(stream.encode())
    a, b, c, d = matrix
    right = (WIDTH if a < 0 else 0) + (HEIGHT if c < 0 else 0)
    down = (WIDTH if b < 0 else 0) + (HEIGHT if d < 0 else 0)
    content = bytearray(Path(path).read_bytes())
    place = content.index(b"tkhd") + 44
    numbers = [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, right * ONE, down * ONE, 1 << 30]
    content[place : place + 36] = struct.pack(">9i", *numbers)
    Path(path).write_bytes(content)
    return stored


def by_opencv(path):
    capture = cv2.VideoCapture(path)
    return capture.read()[1][..., ::-1]


def by_decord(path):
    return decord.VideoReader(path)[0].asnumpy()


def by_pyav(path):
    with av.open(path) as film:
        frame = next(film.decode(video=0))
        return np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)


def by_ffmpeg(path):
    with imageio.get_reader(path, format="ffmpeg") as film:
        return np.asarray(film.get_data(0))


def near(frame, other):
    return frame.shape == other.shape and np.abs(frame.astype(int) - other).mean() < 5


WAYS = {
    "right": lambda frame: frame,
    "not mirrored": lambda frame: frame[:, ::-1],
    "upside down": lambda frame: frame[::-1],
    "turned by 180": lambda frame: np.rot90(frame, 2),
}


def word(frame, expected):
    (found,) = (name for name, way in WAYS.items() if near(frame, way(expected)))
    return found


READERS = {"OpenCV": by_opencv, "decord": by_decord, "PyAV": by_pyav, "FFmpeg": by_ffmpeg}
print(f"OpenCV {cv2.__version__}")
for name, (matrix, make) in MATRICES.items():
    path = str(Path(sys.argv[1]) / "film.mp4")
    expected = make(write(path, matrix))
    found = {reader: word(read(path), expected) for reader, read in READERS.items()}
    print(f"  {name}: " + ", ".join(f"{reader} {each}" for reader, each in found.items()))
    assert found.pop("FFmpeg") == "right"
    wrong = "not mirrored" if "turned" in name else "upside down"
    assert set(found.values()) == {wrong if "mirrored" in name else "right"}, found
PYTHON
for release in 4.14.0.94 5.0.0.93; do
    python3 -m venv "$folder/$release"
    "$folder/$release/bin/pip" install --quiet --disable-pip-version-check "opencv-python-headless==$release" decord==0.6.0 \
      av==18.1.0 imageio==2.38.1 imageio-ffmpeg==0.8.1 numpy==2.4.6
    "$folder/$release/bin/python" "$folder/mirror.py" "$folder" 2>/dev/null
done
