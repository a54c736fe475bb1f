#!/usr/bin/env bash
# Question: intervals of ages are calibrated for each camera or group apart (Mondrian conformal prediction, `bins` in crepes). Later a
#   face comes from a group of which no calibration face was at hand. What interval does it get, and what do the figures say?
# Guess before the run: from minus infinity to infinity, as with too few faces, or an error that names the group.
# Found: 0 to 0 years, whoever it is: an interval of no width, and none of its ages is right. Nothing is raised or warned of, where
#   too few faces give an infinite interval and a warning. Told that ages lie from 1 to 100, it is 1 to 1. Nor do the figures show it:
#   with a third of the faces from such a camera, intervals seem a third narrower, and the CRPS falls from 2.9 to 2.0, for these
#   faces count as faultless. Whoever compares forecasts by it chooses the one that leaves out most cameras. Only the share of ages
#   that are held tells. The same package's classifier does what is right: it puts each group into the set nine times of ten. Compare
#   names of groups before each call, and give those that are not known the calibration of all.
# Versions: crepes 0.9.1, pandas 3.1.1, scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen:
#   regressor, intervals of 90%
#     door: 87% held, 16.1 years wide; an estimate of 15: 7-24
#     hall: 90% held, 17.2 years wide; an estimate of 68: 59-77
#     yard: 0% held, 0.0 years wide; an estimate of 21: 0-0
#     yard with y_min=1, y_max=100: 1-1
#     evaluate, all three: {'error': 0.394, 'eff_mean': 11.391}
#     evaluate, door and hall: {'error': 0.115, 'eff_mean': 16.643}
#   predictive system, intervals of 90%
#     door: 88% held, 16.2 years wide; an estimate of 15: 7-24
#     hall: 90% held, 17.2 years wide; an estimate of 68: 59-77
#     yard: 0% held, 0.0 years wide; an estimate of 21: 0-0
#     yard with y_min=1, y_max=100: 1-1
#     evaluate, all three: {'error': 0.39, 'eff_mean': 11.421, 'CRPS': 1.977}
#     evaluate, door and hall: {'error': 0.109, 'eff_mean': 16.686, 'CRPS': 2.889}
#   five calibration faces: -inf-inf, with a warning: True
#   classifier, door: 94% held, 2.25 of five groups in a set
#   classifier, hall: 90% held, 2.03 of five groups in a set
#   classifier, yard: 93% held, 4.56 of five groups in a set
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check crepes==0.9.1 pandas==3.1.1 scikit-learn==1.9.1 scipy==1.17.1 \
    numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
from crepes import ConformalClassifier, ConformalPredictiveSystem, ConformalRegressor
from crepes.extras import hinge

CAMERAS = np.array(["door", "hall", "yard"])
draw = np.random.default_rng(0)


def faces(number, cameras):
    """True ages, estimates and cameras."""
    camera = draw.choice(cameras, number)
    age = draw.uniform(5, 90, number)
    return age, age + draw.normal(0, np.where(camera == "yard", 9, 5)), camera


def span(interval):
    return "-".join(f"{end:.0f}" for end in interval)


age, told, camera = faces(600, CAMERAS[:2])
true, estimate, where = faces(900, CAMERAS)
yard = where == "yard"
for name, kind in (("regressor", ConformalRegressor), ("predictive system", ConformalPredictiveSystem)):
    with warnings.catch_warnings(record=True) as of_the_yard:
        warnings.simplefilter("always")
        model = kind().fit(age - told, bins=camera)
        intervals = model.predict_int(estimate, bins=where, confidence=0.9)
    assert not of_the_yard
    held = (intervals[:, 0] <= true) & (true <= intervals[:, 1])
    print(f"{name}, intervals of 90%")
    for at in ("door", "hall", "yard"):
        one = np.flatnonzero(where == at)[0]
        width = np.ptp(intervals[where == at], 1).mean()
        example = f"an estimate of {estimate[one]:.0f}: {span(intervals[one])}"
        print(f"  {at}: {held[where == at].mean():.0%} held, {width:.1f} years wide; {example}")
    assert (intervals[yard] == 0).all() and held[~yard].mean() > 0.87
    limited = model.predict_int(estimate, bins=where, confidence=0.9, y_min=1, y_max=100)
    print(f"  yard with y_min=1, y_max=100: {span(limited[yard][0])}")
    kept = {}
    for title, of in (("all three", slice(None)), ("door and hall", ~yard)):
        figures = model.evaluate(estimate[of], true[of], bins=where[of], confidence=0.9)
        kept[title] = {key: round(float(figures[key]), 3) for key in ("error", "eff_mean", "CRPS") if key in figures}
        print(f"  evaluate, {title}: {kept[title]}")
    wrong, right = kept.values()
    assert wrong["eff_mean"] < 0.75 * right["eff_mean"] and wrong["error"] > 0.35
    assert "CRPS" not in wrong or wrong["CRPS"] < 0.75 * right["CRPS"]

few = ConformalRegressor().fit((age - told)[:5], bins=np.full(5, "door"))
with warnings.catch_warnings(record=True) as of_few:
    warnings.simplefilter("always")
    widest = few.predict_int(estimate[:1], bins=np.array(["door"]), confidence=0.9)[0]
print(f"five calibration faces: {span(widest)}, with a warning: {'maximum size' in str(of_few[0].message)}")
assert np.isinf(widest).all()

odds = np.exp(draw.normal(0, 2, (900, 5)))
probability = odds / odds.sum(1, keepdims=True)
group = np.minimum((probability.cumsum(1) < draw.uniform(size=(900, 1))).sum(1), 4)
known = where[:600] != "yard"
sets = ConformalClassifier().fit(hinge(probability[:600], np.arange(5), group[:600])[known], bins=where[:600][known])
answer = sets.predict_set(hinge(probability[600:]), bins=where[600:], confidence=0.9, seed=0)
for at in CAMERAS:
    of = where[600:] == at
    right = answer[of, group[600:][of]].mean()
    assert right > 0.85
    print(f"classifier, {at}: {right:.0%} held, {answer[of].sum(1).mean():.2f} of five groups in a set")
PYTHON
