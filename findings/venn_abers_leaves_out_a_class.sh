#!/usr/bin/env bash
# Question: venn-abers calibrates what a network says of several classes, here five groups. Calibration is often done
#   for each camera or age apart, on few faces, and a rare group may have none among them. What becomes of its column?
# Guess before the run: it stays and gets 0, or next to it; the network's own five columns tell how many there are.
# Found: it is left out. Five columns go in, four come out, and each column behind the gap is one place further left. Nothing is
#   raised or warned of. Who takes the place of the greatest value for the group, as with every network, has names that are one
#   off: where the first group is missing, 9 of 100 are right, and of the network as it was 76. predict(one_hot=False) gives the
#   right names, so that one object answers in two ways. Where the last group is missing no name is off, and a trial with that one
#   shows nothing. Compare the number of columns, or calibrate with at least one face of each group.
# Versions: venn-abers 1.5.4, scikit-learn 1.9.1, pandas 3.1.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (group that is missing: columns, and how many of 100 are right by the greatest value and by predict):
#   as the network says: 5 columns, 76
#   None: 5 columns, 75, 75
#   0: 4 columns, 9, 63
#   1: 4 columns, 24, 65
#   2: 4 columns, 38, 62
#   3: 4 columns, 51, 64
#   4: 4 columns, 62, 62
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check venn-abers==1.5.4 \
  scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
from venn_abers import VennAbersCalibrator

warnings.simplefilter("error")
random = np.random.default_rng(0)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def network(faces):
    """What a network that is twice too sure says of faces, and their groups."""
    logits = random.normal(size=(faces, 5)) * 3
    groups = [random.choice(5, p=each) for each in softmax(logits)]
    return softmax(logits * 2), np.array(groups)


said, groups = network(3000)
new, truth = network(4000)
print(f"as the network says: 5 columns, {100 * np.mean(new.argmax(axis=1) == truth):.0f}")
for missing in (None, 0, 1, 2, 3, 4):
    kept = groups != missing
    calibrated = VennAbersCalibrator().predict_proba(p_cal=said[kept], y_cal=groups[kept], p_test=new)
    names = VennAbersCalibrator().predict(p_cal=said[kept], y_cal=groups[kept], p_test=new, one_hot=False)
    columns = calibrated.shape[1]
    greatest, predicted = (np.mean(each == truth) for each in (calibrated.argmax(axis=1), np.ravel(names)))
    print(f"{missing}: {columns} columns, {100 * greatest:.0f}, {100 * predicted:.0f}")
    present = [each for each in range(5) if each != missing]
    alike = np.corrcoef(calibrated.T, new.T)[:columns, columns:].argmax(axis=1)
    assert np.allclose(calibrated.sum(axis=1), 1)
    assert list(alike) == present and columns == len(present)
    assert predicted > 0.55 and (missing in (None, 4) or greatest < predicted - 0.1)
PYTHON
