#!/usr/bin/env bash
# Question: JPEG 2000, the format of portraits in passports and archives, stores RGB or, like JPEG, brightness and two differences of
#   colour (sYCC), and its head says which. Do readers give one picture of either?
# Guess before the run: yes, within 3 levels of 255; the numbers of sYCC are JPEG's, in the standard since the year 2000.
# Found: of RGB yes, of sYCC there are three pictures. Pillow and imagecodecs follow the standard. OpenCV turns the values back with
#   the numbers of YUV, which are others: grey is right, skin of (200, 140, 110) becomes (190, 146, 101), ten levels less red and
#   six more green, and pure red loses 34. PyAV takes them to be a film's, from 16 to 235: skin is (212, 145, 108), and brightness
#   above 235 is lost. FFmpeg writes such a range, too, and calls it sYCC, so that its files are right in PyAV alone, and
#   pale in the others: white is 235. With half the values of colour (4:2:0) OpenCV refuses. So a network that judges
#   skin sees another person behind OpenCV than behind Pillow, from a file in which nothing is unusual but its head. Read
#   JPEG 2000 by one library, in calibration and in service, or have it as RGB.
# Versions: pillow 13.0.0, imagecodecs 2026.3.6, opencv-python-headless 5.0.0.93, av 18.1.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (by writer and reader, where (255, 255, 255), (200, 140, 110), (255, 0, 0) and (128, 128, 128) were written):
#   Pillow, RGB
#     Pillow: white (255, 255, 255), skin (200, 140, 110), red (255, 0, 0), grey (128, 128, 128)
#     imagecodecs: white (255, 255, 255), skin (200, 140, 110), red (255, 0, 0), grey (128, 128, 128)
#     OpenCV: white (255, 255, 255), skin (200, 140, 110), red (255, 0, 0), grey (128, 128, 128)
#     PyAV: white (255, 255, 255), skin (200, 140, 110), red (255, 0, 0), grey (128, 128, 128)
#   Pillow, YCbCr
#     Pillow: white (255, 255, 255), skin (198, 140, 107), red (254, 0, 0), grey (128, 128, 128)
#     imagecodecs: white (255, 255, 255), skin (198, 141, 108), red (254, 1, 0), grey (128, 128, 128)
#     OpenCV: white (255, 255, 255), skin (190, 146, 101), red (221, 20, 0), grey (128, 128, 128)
#     PyAV: white (255, 255, 255), skin (212, 145, 108), red (255, 0, 0), grey (130, 130, 130)
#   FFmpeg, yuv444p
#     Pillow: white (235, 235, 235), skin (188, 136, 110), red (238, 14, 13), grey (126, 126, 126)
#     imagecodecs: white (235, 235, 235), skin (188, 137, 111), red (238, 15, 14), grey (126, 126, 126)
#     OpenCV: white (235, 235, 235), skin (181, 141, 104), red (209, 31, 4), grey (126, 126, 126)
#     PyAV: white (255, 255, 255), skin (200, 141, 110), red (254, 0, 0), grey (128, 128, 128)
#   FFmpeg, yuv420p
#     Pillow: white (235, 235, 235), skin (188, 136, 110), red (238, 14, 13), grey (126, 126, 126)
#     imagecodecs: white (235, 235, 235), skin (188, 137, 111), red (238, 15, 14), grey (126, 126, 126)
#     OpenCV: refuses
#     PyAV: white (255, 255, 255), skin (198, 139, 109), red (253, 0, 0), grey (128, 128, 128)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 imagecodecs==2026.3.6 \
  opencv-python-headless==5.0.0.93 av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import io

import av
import cv2
import imagecodecs
import numpy as np
from PIL import Image

COLOURS = {"white": (255, 255, 255), "skin": (200, 140, 110), "red": (255, 0, 0), "grey": (128, 128, 128)}
picture = np.zeros((64, 64 * len(COLOURS), 3), np.uint8)
for number, colour in enumerate(COLOURS.values()):
    picture[:, 64 * number : 64 * number + 64] = colour


def from_pillow(mode):
    stream = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(stream, "JPEG2000", no_jp2=False)
    return stream.getvalue()


def from_ffmpeg(layout):
    stream = io.BytesIO()
    with av.open(stream, "w", format="image2pipe") as film:
        video = film.add_stream("jpeg2000", rate=1, options={"format": "jp2", "pred": "1"})
        video.height, video.width = picture.shape[:2]
        video.pix_fmt = layout
        film.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(video.encode())
    return stream.getvalue()


def by_pillow(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def by_opencv(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)


def by_pyav(content):
    with av.open(io.BytesIO(content)) as film:
        return next(film.decode(video=0)).to_ndarray(format="rgb24")


READERS = {"Pillow": by_pillow, "imagecodecs": imagecodecs.jpeg2k_decode, "OpenCV": by_opencv, "PyAV": by_pyav}
FILES = {
    "Pillow, RGB": (from_pillow("RGB"), 16),
    "Pillow, YCbCr": (from_pillow("YCbCr"), 18),
    "FFmpeg, yuv444p": (from_ffmpeg("yuv444p"), 18),
    "FFmpeg, yuv420p": (from_ffmpeg("yuv420p"), 18),
}
answers = {}
for file, (content, space) in FILES.items():
    # The box that names the colours: method 1, then 16 for sRGB or 18 for sYCC.
    place = content.index(b"colr") + 4
    assert content[place] == 1 and int.from_bytes(content[place + 3 : place + 7], "big") == space
    print(file)
    for reader, read in READERS.items():
        found = read(content)
        if found is None:
            print(f"  {reader}: refuses")
            continue
        answers[file, reader] = {name: found[32, 64 * number + 32].astype(int) for number, name in enumerate(COLOURS)}
        row = ", ".join(f"{name} {tuple(colour.tolist())}" for name, colour in answers[file, reader].items())
        print(f"  {reader}: {row}")


def furthest(file, reader):
    return max(np.abs(answers[file, reader][name] - colour).max() for name, colour in COLOURS.items())


assert all(furthest("Pillow, RGB", reader) == 0 for reader in READERS)
right = {("Pillow, YCbCr", "Pillow"), ("Pillow, YCbCr", "imagecodecs"), ("FFmpeg, yuv444p", "PyAV"), ("FFmpeg, yuv420p", "PyAV")}
for file, reader in answers:
    if file != "Pillow, RGB":
        assert (furthest(file, reader) <= 4) == ((file, reader) in right), (file, reader, furthest(file, reader))
assert ("FFmpeg, yuv420p", "OpenCV") not in answers
grey = {reader: answers["Pillow, YCbCr", reader]["grey"].tolist() for reader in READERS}
assert grey["OpenCV"] == [128] * 3 and furthest("Pillow, YCbCr", "OpenCV") > 25, grey
assert answers["FFmpeg, yuv444p", "Pillow"]["white"].tolist() == [235] * 3
PYTHON
