#!/usr/bin/env bash
# Question: who blurs faces wants boxes that hold the whole face nine times of ten. puncc widens a detector's boxes by conformal
#   prediction (`SplitBoxWise`), by pixels or by shares of the box, from boxes that were drawn by hand. Detectors have habits: one
#   cuts chins, another one leaves hair out. Do nine boxes of ten hold their face, whatever the habit?
# Guess before the run: yes, at least; edges are calibrated apart, each at 97.5%, and a habit is what calibration takes out.
# Found: only for detectors without habits. The score is the estimate less the truth, for all four edges. For the left and upper ones
#   that is how far the face sticks out; for the right and lower ones it is how far the box does. So a box that ends above the chin is
#   widened downwards by less than a faultless one, where it needs more: where it lacks 2% of the height 83 and 73 of 100 hold their
#   face, by pixels and by shares, at 5% 36 and 28, and at 10% none. More calibration faces do not help, for they measure the
#   fault the wrong way round. Habits of the left and upper edges are taken out, as they should be, but for the inner box, which is to
#   lie within the face: there it is they that harm. Even without a habit, widened by shares 87 hold. With the sign turned for two
#   edges 91 hold, in every case. A detector whose boxes follow another standard than the truth's is habit enough: reckon the four
#   quantiles by hand.
# Versions: puncc 0.9.3, pandas 3.1.1, scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (of 100: outer boxes that hold the face, by pixels, by shares; inner boxes within the face; outer ones by hand):
#   no habit 0%: 92, 87; 93; 91
#   lower edge above the chin by 2%: 83, 73; 93; 91
#   lower edge above the chin by 5%: 36, 28; 93; 91
#   lower edge above the chin by 10%: 0, 0; 93; 91
#   lower edge above the chin by 20%: 0, 0; 94; 91
#   lower edge below the chin by 10%: 94, 91; 93; 91
#   right edge within the face by 5%: 36, 28; 93; 91
#   right edge within the face by 10%: 0, 0; 93; 91
#   upper edge below the hair by 5%: 92, 87; 94; 91
#   upper edge below the hair by 10%: 92, 87; 94; 91
#   upper edge above the hair by 5%: 91, 88; 32; 91
#   upper edge above the hair by 10%: 91, 88; 0; 91
#   left edge within the face by 5%: 92, 87; 94; 91
#   left edge within the face by 10%: 92, 87; 94; 91
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps puncc==0.9.3
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from deel.puncc.api.prediction import IdPredictor
from deel.puncc.metrics import object_detection_mean_coverage
from deel.puncc.object_detection import SplitBoxWise

FACES, TRIALS = 300, 150
OUTWARDS = np.array([1, 1, -1, -1])  # an estimate less the truth, times this: how far the face sticks out of its box


def faces(draw, habit):
    """Boxes drawn by hand and a detector's, (left, top, right, bottom) in pixels; a habit is a share of the box's sides."""
    side = np.exp(draw.uniform(np.log(40), np.log(200), FACES))
    left, top = draw.uniform(0, 1000, (2, FACES))
    truth = np.stack([left, top, left + side, top + 1.3 * side], 1)
    sides = np.stack([side, 1.3 * side, side, 1.3 * side], 1)
    return truth, truth + sides * (draw.normal(0, 0.04, (FACES, 4)) + habit)


def by_hand(truth, told, new):
    """Each edge apart, at 97.5%: the score of rank 0.975 (n + 1), and boxes that are wider by it."""
    sides = lambda box: np.tile(box[:, 2:] - box[:, :2], 2)  # noqa: E731
    scores = np.sort(OUTWARDS * (told - truth) / sides(told), 0)
    return new - OUTWARDS * scores[int(np.ceil(0.975 * (FACES + 1))) - 1] * sides(new)


def judge(habit):
    held = []
    for trial in range(TRIALS):
        draw = np.random.default_rng(trial)
        (truth, told), (other, new) = faces(draw, habit), faces(draw, habit)
        row = []
        for method in ("additive", "multiplicative"):
            boxes = SplitBoxWise(IdPredictor(), method=method, train=False)
            boxes.fit(X_calib=told, y_calib=truth)
            _, inner, outer = boxes.predict(new, alpha=0.1)
            row.append(object_detection_mean_coverage(outer, other))
        row += [object_detection_mean_coverage(other, inner), object_detection_mean_coverage(by_hand(truth, told, new), other)]
        held.append(row)
    return 100 * np.mean(held, 0)


for name, edge, shares in (
    ("no habit", 3, (0,)),
    ("lower edge above the chin by", 3, (0.02, 0.05, 0.1, 0.2)),
    ("lower edge below the chin by", 3, (-0.1,)),
    ("right edge within the face by", 2, (0.05, 0.1)),
    ("upper edge below the hair by", 1, (0.05, 0.1)),
    ("upper edge above the hair by", 1, (-0.05, -0.1)),
    ("left edge within the face by", 0, (0.05, 0.1)),
):
    for share in shares:
        pixels, parts, inner, hand = judge(OUTWARDS * np.eye(4)[edge] * share)
        print(f"{name} {abs(share):.0%}: {pixels:.0f}, {parts:.0f}; {inner:.0f}; {hand:.0f}")
        assert 89 < hand < 94
        if edge < 2 or share <= 0:
            assert pixels > 89 and parts > 83
            assert inner < 25 if (edge, share) == (1, -0.1) else inner > 83 or share < 0
        else:
            assert max(pixels, parts) < (10 if share >= 0.1 else 90 - 300 * share)
PYTHON
