#!/usr/bin/env bash
# Question: networks that tell one of eight age groups (0-2 to 60+) are judged by two figures, right and right within one group.
#   dlordinal and skordinal compute the second. Do they agree, for each group alone and for batches, and for ages in years?
# Guess before the run: as the formula says, to nine decimals: an answer counts if it is at most one class off.
# Found: only where every class occurs. dlordinal goes by the classes that the truth holds. Who is taken for another class is left out,
#   of the denominator, too, and classes are neighbours where none between them occurs. So each group alone is right within one in
#   100 of 100 faces, whatever the network says: a table by group shows a network without fault, and a group in which it was
#   never right has nan. Babies and people of 25 to 32 are neighbours where nobody else is there. The mean over batches of eight
#   is 94 for 86. skordinal counts all faces and is right for groups. Its classes are those of truth and answers together, so
#   that of ages in years too many are neighbours: 29 of 100 of 50 faces are within one year by it, and 45 by dlordinal, where 22
#   are. It takes a thousand faces until all agree. Of a single label scikit-learn warns, of more nothing does. Hand all classes
#   over (labels=range(8)), which mends both, or count by hand: it is one line.
# Versions: dlordinal 2.7.0, skordinal 0.2.0, scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (right, and right within one, of 100: by hand, dlordinal, skordinal):
#   4,000 faces, eight groups: 40.7, 86.2, 86.2, 86.2
#   group 0-2 alone: 69.6, 92.1, 100.0, 92.1
#   group 4-6 alone: 32.0, 92.0, 100.0, 92.0
#   group 8-13 alone: 38.1, 84.7, 100.0, 84.7
#   group 15-20 alone: 29.1, 81.0, 100.0, 81.0
#   group 25-32 alone: 35.8, 83.2, 100.0, 83.2
#   group 38-43 alone: 34.5, 83.0, 100.0, 83.0
#   group 48-53 alone: 33.3, 88.3, 100.0, 88.3
#   group 60+ alone: 64.6, 96.3, 100.0, 96.3
#   groups 0-2 and 25-32 alone: 47.2, 86.2, 100.0, 86.2
#   mean of batches of 8: 40.7, 86.2, 94.0, 88.4
#   mean of batches of 32: 40.7, 86.2, 87.4, 86.2
#   50 faces of 25-32 that are all taken for 38-43: 0.0, 100.0, nan, 100.0
#   50 faces, ages from 0 to 100: 7.4, 22.1, 45.4, 29.3
#   100 faces, ages from 0 to 100: 7.2, 21.1, 30.4, 23.2
#   300 faces, ages from 0 to 100: 7.5, 21.3, 22.4, 21.4
#   1000 faces, ages from 0 to 100: 7.3, 21.0, 21.0, 21.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps dlordinal==2.7.0 skordinal==0.2.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from dlordinal.metrics import accuracy_off1
from skordinal.metrics import accuracy_off1_score

GROUPS = ("0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60+")
draw = np.random.default_rng(0)


def scores(truth, answer, classes):
    """Right, and right within one by hand, by dlordinal and by skordinal; told of all classes, both agree with the hand."""
    hand = (abs(truth - answer) <= 1).mean()
    for compute in (accuracy_off1, accuracy_off1_score):
        assert abs(compute(truth, answer, labels=np.arange(classes)) - hand) < 1e-9
    given = hand, accuracy_off1(truth, answer), accuracy_off1_score(truth, answer)
    return 100 * np.array([(truth == answer).mean(), *given])


def show(name, figures):
    print(f"{name}: {', '.join(f'{figure:.1f}' for figure in figures)}")
    return figures


def faces(number, classes, spread, shares=None):
    truth = draw.choice(classes, number, p=shares)
    return truth, np.clip(np.round(truth + draw.normal(0, spread, number)), 0, classes - 1).astype(int)


truth, answer = faces(4000, 8, 1.1, [0.14, 0.12, 0.13, 0.1, 0.29, 0.13, 0.05, 0.04])
whole = show("4,000 faces, eight groups", scores(truth, answer, 8))
assert np.ptp(whole[1:]) < 1e-9
for group, name in enumerate(GROUPS):
    of_group = truth == group
    right, hand, one, two = show(f"group {name} alone", scores(truth[of_group], answer[of_group], 8))
    assert one == 100 and hand < 98 and abs(two - hand) < 1e-9, (hand, one, two)
of_two = np.isin(truth, [0, 4])
right, hand, one, two = show("groups 0-2 and 25-32 alone", scores(truth[of_two], answer[of_two], 8))
assert one == 100 and hand < 90 and abs(two - hand) < 1e-9
for size in (8, 32):
    batches = [scores(truth[at : at + size], answer[at : at + size], 8) for at in range(0, len(truth), size)]
    right, hand, one, two = show(f"mean of batches of {size}", np.mean(batches, 0))
    assert abs(hand - whole[1]) < 1e-9 and one - hand > (5 if size == 8 else 0.5), (hand, one)
none = scores(np.full(50, 4), np.full(50, 5), 8)
show("50 faces of 25-32 that are all taken for 38-43", none)
assert none[1] == 100 and np.isnan(none[2]) and none[3] == 100
for number in (50, 100, 300, 1000):
    trials = [scores(*faces(number, 101, 6), 101) for _ in range(20)]
    right, hand, one, two = show(f"{number} faces, ages from 0 to 100", np.mean(trials, 0))
    if number == 50:
        assert one > 1.7 * hand and two > 1.25 * hand, (hand, one, two)
    if number == 1000:
        assert max(one, two) - hand < 0.5
PYTHON
