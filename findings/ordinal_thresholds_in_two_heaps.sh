#!/usr/bin/env bash
# Question: networks tell one of eight age groups (0-2 to 60+), and a head for classes in order puts seven thresholds on one number.
#   LogisticIT weighs for each face the two thresholds beside its group, LogisticAT all seven. mord and skordinal have both, with
#   predict_proba. Do the two packages tell the same groups, and are the probabilities such?
# Guess before the first run, without any code: mord's predict is its most probable group for 95 of 100 faces; skordinal's, of which
#   an issue says that it differs, is so for all. LogisticAT is alike in both. A group's mean probability is within 2 points of its
#   share.
# Found: LogisticAT is alike in both, and its shares are right; its predict is the median, which is another group than the most
#   probable one for four faces of ten. LogisticIT has one set of weights and thresholds in both, and its probabilities are none.
#   Where embeddings leave a face one group off in the mean, its thresholds draw together into two heaps, for only neighbours hold
#   them apart. Between two that are one and the same there is no probability. So the mean probabilities of 0-2 and 60+ are 0.36 and
#   0.29, where 13 and 10 of 100 faces are of these groups; the log loss is 3.7 to 8.7 (zeros counted as 1e-9), and 1.97 where
#   everybody gets the shares themselves. Of faces that are 0-2 by 0.5 or more, 42 of 100 are. mord's predict counts thresholds, is
#   1.2 groups off and never tells two to four of the groups. skordinal's takes the greatest probability, is 1.6 off and tells three
#   groups of eight, ever: 0-2, 25-32 and 60+. Where embeddings part groups well, all is right, so that a trial with easy data shows
#   nothing, and accuracy by mord's predict hides it. Take LogisticAT, or put scikit-learn's CalibratedClassifierCV around
#   skordinal's, which brings the log loss to 1.6 or 1.7.
# Versions: mord 0.7, skordinal 0.2.0, scikit-learn 1.9.1, scipy 1.17.1, pandas 3.1.1, numpy 2.4.6, Python 3.11, Linux x86-64. That
#   skordinal's predict differs from mord's is its issue #176.
# Output seen (made embeddings; groups off by predict and by the greatest probability, mean probability of 0-2 and 60+; the first of
#   three sets of hard faces, and easy ones):
#   hard faces, log loss of the shares alone 1.97
#     mord LogisticIT: 1.22 and 1.64 off, log loss 5.04, 36 and 28 of 100, never told: 15-20, 48-53
#     skordinal LogisticIT: 1.63 and 1.63 off, log loss 3.73, 36 and 28 of 100, never told: 4-6, 8-13, 15-20, 38-43, 48-53
#     mord LogisticAT: 1.07 and 1.13 off, log loss 1.60, 13 and 10 of 100, never told: none
#     skordinal LogisticAT: 1.08 and 1.14 off, log loss 1.60, 13 and 10 of 100, never told: none
#     skordinal POM: 1.14 and 1.14 off, log loss 1.60, 14 and 10 of 100, never told: 15-20, 48-53
#   easy faces, log loss of the shares alone 1.98
#     mord LogisticIT: 0.16 and 0.16 off, log loss 0.37, 14 and 10 of 100, never told: none
#     skordinal LogisticIT: 0.16 and 0.16 off, log loss 0.37, 14 and 10 of 100, never told: none
#     mord LogisticAT: 0.15 and 0.16 off, log loss 0.37, 14 and 10 of 100, never told: none
#     skordinal LogisticAT: 0.15 and 0.15 off, log loss 0.37, 14 and 10 of 100, never told: none
#     skordinal POM: 0.15 and 0.15 off, log loss 0.36, 14 and 10 of 100, never told: none
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mord==0.7 skordinal==0.2.0 scikit-learn==1.9.1 scipy==1.17.1 \
  pandas==3.1.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import mord
import numpy as np
from sklearn.metrics import log_loss
from skordinal.classifiers import POM, LogisticAT, LogisticIT

warnings.simplefilter("ignore")
GROUPS = ("0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60+")
SHARES = np.array([0.13, 0.11, 0.12, 0.09, 0.27, 0.13, 0.05, 0.10])
MODELS = (mord.LogisticIT, LogisticIT, mord.LogisticAT, LogisticAT, POM)


def trial(seed, strength):
    """Groups off by predict and by the greatest probability, log loss, mean probabilities, how many sure 0-2 are, groups told."""
    random = np.random.default_rng(seed)
    embeddings, direction = random.normal(size=(4000, 8)), random.normal(size=8)
    age = embeddings @ direction / np.linalg.norm(direction) * strength + random.logistic(size=4000)
    truth = np.searchsorted(np.quantile(age, np.cumsum(SHARES)[:-1]), age)
    known, new = (embeddings[:2000], truth[:2000]), (embeddings[2000:], truth[2000:])
    found, fitted = {}, {}
    for model in MODELS:
        name = f"{model.__module__.split('.')[0]} {model.__name__}"
        fitted[name] = model().fit(*known)
        told, probabilities = fitted[name].predict(new[0]), fitted[name].predict_proba(new[0])
        assert np.allclose(probabilities.sum(axis=1), 1) and probabilities.min() >= 0
        off = [abs(answer - new[1]).mean() for answer in (told, probabilities.argmax(axis=1))]
        loss = log_loss(new[1], np.clip(probabilities, 1e-9, 1), labels=range(8))
        sure = np.mean(new[1][probabilities[:, 0] >= 0.5] == 0)
        found[name] = (*off, loss, probabilities.mean(axis=0), sure, np.mean(told != probabilities.argmax(axis=1)), np.unique(told))
    return found, fitted, log_loss(new[1], np.tile(SHARES, (2000, 1)), labels=range(8))


for seed, strength in ((0, 2), (1, 2), (2, 2), (0, 20)):
    found, fitted, plain = trial(seed, strength)
    lines = [f"{'easy' if strength > 2 else 'hard'} faces, log loss of the shares alone {plain:.2f}"]
    for name, (told, greatest, loss, mean, sure, other, groups) in found.items():
        silent = ", ".join(GROUPS[number] for number in range(8) if number not in groups) or "none"
        ends = f"{100 * mean[0]:.0f} and {100 * mean[-1]:.0f} of 100"
        lines.append(f"  {name}: {told:.2f} and {greatest:.2f} off, log loss {loss:.2f}, {ends}, never told: {silent}")
        right = strength > 2 or not name.endswith("IT")
        assert loss < plain - 0.3 and abs(mean - SHARES).max() < 0.02 if right else loss > plain + 1.5 and mean[[0, -1]].min() > 0.25
        assert name.endswith(("IT", "POM")) or strength > 2 or 0.3 < other < 0.5
        assert right or (greatest > 1.5 and sure < 0.45 and (told > 1.5) == name.startswith("skordinal"))
        assert right or (len(groups) == 3 if name.startswith("skordinal") else 4 <= len(groups) <= 6)
    theirs, ours = (fitted[f"{package} LogisticIT"] for package in ("mord", "skordinal"))
    assert abs(theirs.coef_ - ours.coef_).max() < 0.02 and abs(theirs.theta_ - ours.thresholds_).max() < 0.05
    assert strength > 2 or np.sort(np.diff(theirs.theta_))[:5].max() < 0.2
    if seed == 0:
        print(*lines, sep="\n")
PYTHON
