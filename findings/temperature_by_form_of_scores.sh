#!/usr/bin/env bash
# Question: scikit-learn 1.8 brought temperature scaling (`CalibratedClassifierCV(method="temperature")`) for networks that are
#   too sure. It takes what a network says as logits or as probabilities. Is a network's temperature the same on all ways?
# Guess before the run: yes, within a hundredth; probabilities are the logits' softmax, and three decimals of them are plenty.
# Found: no, and twice over. A network of two classes (gender) that gives its one logit has twice the temperature of the same
#   network with probabilities: the logit x becomes the pair (-x, x), whose distance is 2x. The calibrated answers agree, but
#   whoever takes the temperature out, to serve sigmoid(x / T) elsewhere, is half as sure as the data say. Of five classes (race),
#   probabilities of three decimals, as services answer them, or of a softmax in float16 are no longer taken for probabilities:
#   one row whose sum is not 1 to the fifth decimal turns all of them into logits, without a word. The temperature is then 0.38
#   where it was 2, the surest answer falls from 0.996 to 0.78, and four tenths of the gain in log loss are lost. Calibrate
#   logits, or divide each row by its sum.
# Versions: scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1, Python 3.11, Linux x86-64.
# Output seen (20,000 made answers of networks twice too sure: temperature, log loss after, surest answer):
#   2 classes: the data's temperature 2.00, log loss 0.441, 0.513 before
#     Probabilities: 1.96, 0.441, 1.000
#     Logits: 3.92, 0.441, 1.000
#     ThreeDecimals: 2.04, 0.446, 1.000
#     Float16: 1.99, 0.443, 1.000
#   5 classes: the data's temperature 2.00, log loss 1.092, 1.296 before
#     Probabilities: 2.03, 1.092, 0.996
#     Logits: 2.03, 1.092, 0.996
#     ThreeDecimals: 0.38, 1.180, 0.779
#     Float16: 0.38, 1.180, 0.779
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


class Network(ClassifierMixin, BaseEstimator):
    """Takes its logits for its input, one column a class."""

    def __init__(self, classes):
        self.classes_, self.n_features_in_ = np.arange(classes), classes

    def fit(self, logits, labels):
        return self

    def predict(self, logits):
        return logits.argmax(1)


class Probabilities(Network):
    def predict_proba(self, logits):
        return softmax(logits)


class Logits(Network):
    def decision_function(self, logits):
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits


class ThreeDecimals(Network):
    def predict_proba(self, logits):
        return softmax(logits).round(3)


class Float16(Network):
    def predict_proba(self, logits):
        return softmax(logits.astype(np.float16)).astype(np.float32)


def log_loss(labels, probabilities):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


rng = np.random.default_rng(0)
temperature, loss, surest = {}, {}, {}
for classes in (2, 5):
    logits = rng.normal(scale=3, size=(20_000, classes))
    true = softmax(logits / 2)
    labels = (true.cumsum(1) > rng.random((len(true), 1))).argmax(1)
    before = log_loss(labels, softmax(logits))
    print(f"{classes} classes: the data's temperature 2.00, log loss {log_loss(labels, true):.3f}, {before:.3f} before")
    for network in (Probabilities, Logits, ThreeDecimals, Float16):
        key = classes, network.__name__
        fitted = CalibratedClassifierCV(FrozenEstimator(network(classes)), method="temperature").fit(logits, labels)
        after = fitted.predict_proba(logits)
        temperature[key] = 1 / float(fitted.calibrated_classifiers_[0].calibrators[0].beta_)
        loss[key], surest[key] = log_loss(labels, after), after.max()
        print(f"  {network.__name__}: {temperature[key]:.2f}, {loss[key]:.3f}, {surest[key]:.3f}")
assert abs(temperature[2, "Probabilities"] - 2) < 0.1 and abs(temperature[2, "Logits"] - 4) < 0.2
assert abs(loss[2, "Probabilities"] - loss[2, "Logits"]) < 1e-4
assert all(abs(temperature[5, name] - 2) < 0.1 for name in ("Probabilities", "Logits"))
for name in ("ThreeDecimals", "Float16"):
    assert temperature[5, name] < 0.5 and surest[5, name] < 0.8 < 0.99 < surest[5, "Logits"]
    assert loss[5, name] - loss[5, "Logits"] > 0.4 * (before - loss[5, "Logits"])
PYTHON
