#!/usr/bin/env bash
# Question: BoT-SORT makes up for a moving camera: it looks for the frame's own motion, and moves all tracks by it. The camera stands,
#   as at a door or in a call; somebody stays where he is, and is hidden for 20 frames while another one walks past. Is he the same
#   person afterwards?
# Guess before the run: yes, as without the frames; what moves is one face of two, and the motion of a still camera is next to none.
# Found: it depends on the wall. Corners are looked for all over the frame, those on faces too, and only those count that have a
#   hundredth of the strongest one's quality. In front of a wall that is plain to 5 of 255 levels all of them are on faces, and the
#   fit follows the one that walks. So his walk counts as the camera's: the track of the hidden one is carried along, 10 pixels a
#   frame, and lies 150 to 161 pixels beside him when he is seen again, by a face of 90 pixels. He gets a new number. With the same
#   boxes and no frames he keeps his, and so he does with frames where the wall has a texture of 10 levels. The method "ecc", which
#   compares whole frames, does as the default does. Nothing is warned of, and films of streets show nothing. Where the
#   camera stands, leave the frames out, or set `enable_cmc=False`.
# Versions: trackers 2.6.1, supervision 0.31.2, opencv-python-headless 5.0.0.93, scikit-image 0.26.0 (its portrait of Eileen Collins,
#   by NASA, in the public domain), scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (contrast of the wall; numbers that the hidden face gets; how far off its track is when it is seen again):
#   wall of  0 levels, with frames: [0, 2], 161 pixels
#   wall of  0 levels, without frames: [0], 0 pixels
#   wall of  5 levels, with frames: [0, 2], 150 pixels
#   wall of  5 levels, without frames: [0], 0 pixels
#   wall of 10 levels, with frames: [0], 0 pixels
#   wall of 10 levels, without frames: [0], 0 pixels
#   wall of 40 levels, with frames: [0], 0 pixels
#   wall of 40 levels, without frames: [0], 0 pixels
#   wall of  0 levels, ecc: [0, 2], 126 pixels
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install="$folder/venv/bin/pip install --quiet --disable-pip-version-check"
$install opencv-python-headless==5.0.0.93 scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6 av==18.1.0 defusedxml matplotlib \
  pillow==12.3.0 "pydeprecate<0.14" pyyaml requests rich tqdm
$install --no-deps trackers==2.6.1 supervision==0.31.2
cat >"$folder/door.py" <<'PYTHON'
import cv2
import numpy as np
import supervision as sv
from skimage import data
from trackers import BoTSORTTracker

HEIGHT, WIDTH, STEP = 480, 640, 10
LEFT, TOP = 280, 180  # of the face that stays
face = cv2.resize(data.astronaut()[:200, 130:310, ::-1], (90, 100), interpolation=cv2.INTER_AREA)
texture = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, (HEIGHT, WIDTH, 1)), (0, 0), 3)
texture = (texture / texture.std())[..., None]


def film(contrast):
    """Frames, boxes, and whether the face that stays is hidden."""
    noise = np.random.default_rng(0)
    wall = np.clip(150 + contrast * texture, 0, 255).repeat(3, 2)
    for time in range(110):
        frame, boxes = wall.copy(), []
        frame[TOP : TOP + 100, LEFT : LEFT + 90] = face
        walker = STEP * (time - 19)
        left, right = max(0, walker), min(WIDTH, walker + 90)
        if right - left > 20:
            frame[TOP + 10 : TOP + 110, left:right] = face[:, left - walker : right - walker]
            boxes.append([left, TOP + 10, right, TOP + 110])
        hidden = abs(walker - LEFT) < 100
        if not hidden:
            boxes.append([LEFT, TOP, LEFT + 90, TOP + 100])
        frame = np.clip(frame + noise.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
        yield frame, np.array(boxes, float).reshape(-1, 4), hidden


def follow(contrast, frames=True, **options):
    """The numbers of the face that stays, in turn, and how far off its track is at the end of the time it is hidden."""
    tracker, numbers, off = BoTSORTTracker(**options), [], 0.0
    for frame, boxes, hidden in film(contrast):
        detections = sv.Detections(xyxy=boxes, confidence=np.full(len(boxes), 0.9), class_id=np.zeros(len(boxes), int))
        told = tracker.update(detections, frame=frame if frames else None)
        numbers += [int(one) for box, one in zip(told.xyxy, told.tracker_id, strict=True) if tuple(box[:2]) == (LEFT, TOP)]
        if hidden:
            off = [track.get_state_bbox()[0] - LEFT for track in tracker.tracks if track.tracker_id == numbers[0]][0]
    return sorted({number for number in numbers if number >= 0}), round(float(off))


for contrast in (0, 5, 10, 40):
    for frames in (True, False):
        numbers, off = follow(contrast, frames)
        print(f"wall of {contrast:2d} levels, {'with' if frames else 'without'} frames: {numbers}, {off} pixels")
        lost = frames and contrast < 10
        assert (len(numbers) == 2 and 120 < off < 180) if lost else (len(numbers) == 1 and abs(off) < 5)
numbers, off = follow(0, cmc_method="ecc")
print(f"wall of  0 levels, ecc: {numbers}, {off} pixels")
assert len(numbers) == 2 and off > 90
assert follow(0, enable_cmc=False) == follow(0, frames=False)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/door.py"
