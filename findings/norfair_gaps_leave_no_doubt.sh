#!/usr/bin/env bash
# Question: who blurs or crops the faces of a film by a tracker takes the boxes that it tells (`estimate`). norfair has two Kalman
#   filters: that of FilterPy, and the default, which is documented as a faster one. Do they tell the same boxes, also of a face
#   that was hidden for a while?
# Guess before the run: to a millionth of a pixel; the one is the other, written for speed.
# Found: no, and the default does not know how long a face was hidden. Its predict() moves the box and leaves the variances as they
#   are, so that after 35 frames without a face the old place counts for as much as after one. A face that comes back 60 pixels
#   on is told 33 pixels short of where it is, of a width of 80, and 15 and 3 in the next two frames, to the last digit the
#   same after each time. FilterPy's is 20 short after one frame, and less than one after 15. Who stops while he is hidden is
#   told 42 pixels ahead, half of his face uncovered, where FilterPy's is one off. The variances at the start, which the
#   default has the other way round (10 of place and 1 of speed, not 1 and 10), make no difference then. Faces that are seen in each
#   frame are told within a sixteenth of their width by both, so that a trial without gaps shows nothing. Take
#   FilterPyKalmanFilterFactory.
# Versions: norfair 2.3.0, filterpy 1.4.5, scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (pixels by which the told box is right of the face, in the three frames in which it is seen again):
#   default
#     stood, hidden for 1, 60 pixels on: -33.3 -14.6 -2.5
#     stood, hidden for 15, 60 pixels on: -33.3 -14.6 -2.5
#     stood, hidden for 35, 60 pixels on: -33.3 -14.6 -2.5
#     walked, stopped while hidden for 15: 41.7 21.0 7.1
#   default, FilterPy's variances: the same
#   FilterPy
#     stood, hidden for 1, 60 pixels on: -20.2 -5.5 1.6
#     stood, hidden for 15, 60 pixels on: -0.8 1.3 2.4
#     stood, hidden for 35, 60 pixels on: -0.1 0.8 1.2
#     walked, stopped while hidden for 15: 1.1 0.3 -0.1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install="$folder/venv/bin/pip install --quiet --disable-pip-version-check"
$install numpy==2.4.6 scipy==1.17.1 filterpy==1.4.5 rich
$install --no-deps norfair==2.3.0
cat >"$folder/follow.py" <<'PYTHON'
import numpy as np
from norfair import Detection, Tracker
from norfair.filter import FilterPyKalmanFilterFactory, OptimizedKalmanFilterFactory

WIDTH, HEIGHT, HIDDEN = 80, 100, 15
FILTERS = {
    "default": OptimizedKalmanFilterFactory(),
    "default, FilterPy's variances": OptimizedKalmanFilterFactory(pos_variance=1, vel_variance=10),
    "FilterPy": FilterPyKalmanFilterFactory(),
}


def tracker(name):
    options = {"distance_threshold": 150, "initialization_delay": 0, "hit_counter_max": 40}
    return Tracker("euclidean", filter_factory=FILTERS[name], **options)


def told(following, left):
    """How far the told box of the one face lies right of the true one; left is None where it is not seen."""
    seen = [] if left is None else [Detection(np.array([[left, 100], [left + WIDTH, 100 + HEIGHT]], float))]
    (face,) = following.update(seen)
    return face.estimate[0, 0]


def after(name, hidden, walks, stands):
    """Errors of the first three frames in which a face is seen again; it walks and stops, or jumps, while it is hidden."""
    following = tracker(name)
    for time in range(40):
        told(following, 100 + walks * time)
    for _ in range(hidden):
        told(following, None)
    return [told(following, stands) - stands for _ in range(3)]


for name in FILTERS:
    jumped = {hidden: after(name, hidden, 0, 160) for hidden in (1, HIDDEN, 35)}
    stopped = after(name, HIDDEN, 5, 300)
    print(name)
    for hidden, errors in jumped.items():
        print(f"  stood, hidden for {hidden}, 60 pixels on: " + " ".join(f"{error:.1f}" for error in errors))
    print(f"  walked, stopped while hidden for {HIDDEN}: " + " ".join(f"{error:.1f}" for error in stopped))
    following = tracker(name)
    late = [told(following, place) - place for place in [100] * 10 + list(range(105, 250, 5))]
    assert max(abs(error) for error in late) < WIDTH / 16
    if name == "FilterPy":
        assert abs(jumped[HIDDEN][0]) < 1 < 15 < abs(jumped[1][0]) and abs(stopped[0]) < 2
    else:
        assert np.ptp(list(jumped.values()), axis=0).max() < 1e-6
        assert abs(jumped[35][0]) > 30 and abs(stopped[0]) > 38 and abs(stopped[1]) > 18
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/follow.py"
