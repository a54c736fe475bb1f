#!/usr/bin/env bash
# Question: a small head of scikit-learn on top of a face's embedding tells its attributes. skl2onnx turns the head into ONNX, so
#   that one engine serves both. Does it give scikit-learn's answers?
# Guess before the run: yes, within a thousandth, or the converter refuses, as it does temperature scaling.
# Found: logistic regression does. Linear discriminant analysis of two classes has each of its log-odds exactly doubled, with every
#   solver: 0.72 becomes 0.87. The label is right, so accuracy tells nothing, but the head is now overconfident: half of the
#   faces pass a threshold of 0.98 where a fifth did. Five classes are right. Ages by nearest neighbours with weights="distance"
#   lose their weights, and the plain mean is given. A face that is itself in the gallery has its own age in scikit-learn, and
#   one tens of years off in ONNX. Isotonic calibration goes in lines in scikit-learn and takes the nearest step in ONNX,
#   some hundredths away. None of it warns. Compare probabilities on both sides, not labels; halve the discriminant's weights.
# Versions: skl2onnx 1.20.0, scikit-learn 1.9.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (what ONNX gives for what scikit-learn gives):
#   logistic regression: 0.000 off
#   discriminant, gender: log-odds times 2.00, 0.87 for 0.72; surer than 0.98 are 50%, not 18%
#   discriminant, race: 0.000 off
#   neighbours, faces of the gallery itself: up to 38.5 years off
#   isotonic: up to 0.032 off, 5% of the faces by more than a thousandth
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check skl2onnx==1.20.0 scikit-learn==1.9.1 onnxruntime==1.32.0 \
  onnx==1.23.2 numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from scipy.special import logit
from skl2onnx import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor

random = np.random.default_rng(0)
known, faces = (random.normal(size=(count, 32)).astype(np.float32) for count in (2000, 1000))
directions = random.normal(size=(32, 5))
noise = random.gumbel(size=(2000, 5)) * 2
race = (known @ directions + noise).argmax(axis=1)
gender = ((known @ directions)[:, 0] + noise[:, 0] - noise[:, 1] > 0).astype(int)
age = np.clip(40 + 3 * (known @ directions)[:, 1] + random.normal(size=2000) * 8, 0, 100)


def answers(head, asked):
    options = {} if isinstance(head, KNeighborsRegressor) else {id(head): {"zipmap": False}}
    model = to_onnx(head, known[:1], options=options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": asked})


head = LogisticRegression().fit(known, gender)
off = np.abs(answers(head, faces)[1] - head.predict_proba(faces)).max()
print(f"logistic regression: {off:.3f} off")
assert off < 1e-3
for solver in ("svd", "lsqr", "eigen"):
    head = LinearDiscriminantAnalysis(solver=solver).fit(known, gender)
    labels, got = answers(head, faces)
    wanted = head.predict_proba(faces)
    assert (labels == head.predict(faces)).all()
    odds = logit(wanted[:, 1].astype(float))
    inside = np.abs(odds) < 3
    ratio = logit(got[inside, 1].astype(float)) / odds[inside]
    assert np.allclose(ratio, 2, atol=0.01), ratio
sure = [np.mean(each.max(axis=1) > 0.98) for each in (wanted, got)]
near = np.abs(wanted[:, 1] - 0.72).argmin()
print(f"discriminant, gender: log-odds times {ratio.mean():.2f}, {got[near, 1]:.2f} for {wanted[near, 1]:.2f};", end=" ")
print(f"surer than 0.98 are {sure[1]:.0%}, not {sure[0]:.0%}")
assert sure[1] > 2 * sure[0]
head = LinearDiscriminantAnalysis().fit(known, race)
off = np.abs(answers(head, faces)[1] - head.predict_proba(faces)).max()
print(f"discriminant, race: {off:.3f} off")
assert off < 1e-3
head = KNeighborsRegressor(7, weights="distance").fit(known, age)
plain = KNeighborsRegressor(7, weights="uniform").fit(known, age)
own = answers(head, known)[0].ravel()
assert np.allclose(head.predict(known), age, atol=0.01)
assert np.allclose(own, plain.predict(known), atol=0.01)
print(f"neighbours, faces of the gallery itself: up to {np.abs(own - age).max():.1f} years off")
assert np.abs(own - age).max() > 10
head = CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3).fit(known, gender)
off = np.abs(answers(head, faces)[1] - head.predict_proba(faces))
print(f"isotonic: up to {off.max():.3f} off, {np.mean(off > 1e-3):.0%} of the faces by more than a thousandth")
assert off.max() > 0.01
PYTHON
