#!/usr/bin/env bash
# Question: who shortens a film on a phone, or copies a part of it without coding it anew, gets one that begins at a key frame
#   before the cut, and an edit list that says what of it to show. Readers look for faces by number and by time. Do they agree?
# Guess before the run: yes, for all three carry FFmpeg, which keeps to edit lists unless it is told not to: each film begins at its
#   cut, at 0 s, and has as many frames as are shown.
# Found: in decord2 pictures keep to the edit list, and times and numbers do not. Its first frame is the first one that is shown, and
#   has the time of the key frame before: -0.5 s where half a second was cut off, up to a whole group of frames. So each face is told
#   that much too early, and the frame for a time, by get_frame_timestamp, is that much too late. len() counts hidden frames,
#   too: 40 where 35 are shown, and the last five numbers are all the last picture, so that who stands there last is sampled
#   again and again; key frames are numbered by the same count. From nine such numbers on a line of log calls them corrupted.
#   OpenCV has the right pictures and times, but its CAP_PROP_FRAME_COUNT is of what is stored: of eight frames that are spread
#   evenly over it, one to three are beyond the end. PyAV is right, but for the stream's `frames`. Read in turn and count what
#   comes, and take from each time that of the first frame.
# Versions: decord2 3.4.0, opencv-python-headless 5.0.0.93, av 18.1.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (frames that are shown; what each counts, the first one's time, and how often the last picture comes by number):
#   whole: 40 frames from 0 on at 0.0 s; decord2 40, 0.0 s, last 1 times; OpenCV 40, of 8 spread evenly 0 beyond the end
#   0.5 s cut: 35 frames from 5 on at 0.0 s; decord2 40, -0.5 s, last 6 times; OpenCV 40, of 8 spread evenly 1 beyond the end
#   1.5 s cut: 25 frames from 15 on at 0.0 s; decord2 28, -0.3 s, last 4 times; OpenCV 28, of 8 spread evenly 1 beyond the end
#   2.3 s cut: 17 frames from 23 on at 0.0 s; decord2 28, -1.1 s, last 12 times; OpenCV 28, of 8 spread evenly 3 beyond the end
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check decord2==3.4.0 opencv-python-headless==5.0.0.93 av==18.1.0 \
  numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import av
import cv2
import decord
import numpy as np

FRAMES, GROUP, BITS = 40, 12, 6


def draw(number):
    """A picture that says its number by bars, which are light for the ones of its binary digits."""
    picture = np.full((96, 160, 3), 60, np.uint8)
    for bit in range(BITS):
        picture[20:70, 8 + 24 * bit : 24 + 24 * bit] = 230 if number >> bit & 1 else 20
    return picture


def number_of(picture):
    return sum(1 << bit for bit in range(BITS) if picture[30:60, 12 + 24 * bit : 20 + 24 * bit].mean() > 128)


def write(path):
    with av.open(path, "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.options = {"g": str(GROUP), "crf": "10", "bf": "2"}
        for number in range(FRAMES):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number), format="rgb24")))
        film.mux(stream.encode())


def cut(source, path, seconds):
    """Copies the packets from the key frame before the cut on; times before 0 make FFmpeg write an edit list."""
    with av.open(source) as film, av.open(path, "w") as part:
        stream = film.streams.video[0]
        copy, offset, begins = part.add_stream_from_template(stream), round(seconds / stream.time_base), False
        for packet in film.demux(stream):
            if packet.dts is None:
                continue
            begins = begins or (packet.is_keyframe and packet.pts * stream.time_base > seconds - GROUP / 10)
            if begins:
                packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, copy
                part.mux(packet)


def look(path):
    with av.open(path) as film:
        shown = [(number_of(frame.to_ndarray(format="rgb24")), round(frame.time, 2)) for frame in film.decode(video=0)]
    numbers = [number for number, _ in shown]
    reader = decord.VideoReader(path)
    by_number = [number_of(reader[place].asnumpy()) for place in range(len(reader))]
    assert by_number[: len(numbers)] == numbers and set(by_number[len(numbers) :]) <= {FRAMES - 1}
    first = float(reader.get_frame_timestamp(0)[0])
    film = cv2.VideoCapture(path)
    count = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
    beyond = 0
    for place in np.linspace(0, count - 1, 8).astype(int):
        film = cv2.VideoCapture(path)
        film.set(cv2.CAP_PROP_POS_FRAMES, int(place))
        found, picture = film.read()
        beyond += not found
        assert not found or number_of(picture) == numbers[place]
    return shown, (len(by_number), round(first, 1), by_number.count(FRAMES - 1)), (count, beyond)


write("whole.mp4")
SEEN = {0.0: (40, 0.0, 1), 0.5: (40, -0.5, 6), 1.5: (28, -0.3, 4), 2.3: (28, -1.1, 12)}
for seconds, expected in SEEN.items():
    path = "whole.mp4"
    if seconds:
        path = f"cut-{seconds}.mp4"
        cut("whole.mp4", path, seconds)
    shown, (length, first, last), (count, beyond) = look(path)
    start = round(seconds * 10)
    assert [number for number, _ in shown] == list(range(start, FRAMES)) and shown[0][1] == 0
    print(f"{f'{seconds} s cut' if seconds else 'whole'}: {len(shown)} frames from {start} on at 0.0 s; decord2 {length}, {first} s, "
          f"last {last} times; OpenCV {count}, of 8 spread evenly {beyond} beyond the end")
    assert (length, first, last) == expected, (seconds, length, first, last)
    assert count > len(shown) and beyond or not seconds, (count, beyond)
PYTHON
