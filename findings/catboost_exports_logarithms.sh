#!/usr/bin/env bash
# Question: CatBoost writes its trees as ONNX by itself, save_model(format="onnx"), so that age, gender and race are told from a
#   face's embedding without CatBoost. Does ONNX Runtime say what CatBoost's predict and predict_proba say?
# Guess before the run: yes, to a thousandth, for each loss, or the export refuses, as it does trees of other shapes.
# Found: for the usual losses, yes. Learnt by Poisson's or Tweedie's loss, as waiting times and ages may be, an age is its logarithm:
#   3.1 for 23, and nobody is older than five. Races learnt one against all come as a softmax, where CatBoost gives each its own
#   probability: none is above 0.58, and a face that is unlike all five still has a sum of one. Three attributes that
#   may hold at once (`MultiLogloss`: a beard, glasses, a smile) become three classes of which one holds. The names that ONNX's first
#   output gives are places, 0 and 1, where the classes are two other whole numbers: whoever codes men as 1 and women as 2 gets 1 for
#   each woman and 0 for each man, while the second output has the right names. Text is right, and so are five numbers. A
#   threshold that was set (`set_probability_threshold`) is lost. Nothing is said of any of it, though a scale that was set, and
#   labels of floats, are refused. Take the second output, and exp() for these losses.
# Versions: catboost 1.2.10, onnxruntime 1.32.0, onnx 1.23.2, pandas 3.1.1, scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (made embeddings; the first faces by CatBoost, and in ONNX):
#   age by RMSE: 27.40 13.77 56.99, in ONNX 27.40 13.77 56.99
#   age by MAE: 30.04 27.86 53.60, in ONNX 30.04 27.86 53.60
#   age by Quantile:alpha=0.9: 44.52 45.19 66.65, in ONNX 44.52 45.19 66.65
#   age by Huber:delta=3: 26.23 20.70 54.85, in ONNX 26.23 20.70 54.85
#   age by Poisson: 22.66 20.70 50.98, in ONNX 3.12 3.03 3.93
#   age by Tweedie:variance_power=1.5: 13.15 12.43 17.12, in ONNX 2.58 2.52 2.84
#   race by MultiClass: 0.02 0.04 0.56 0.29 0.08, in ONNX 0.02 0.04 0.56 0.29 0.08
#     sums from 1.00 to 1.00, in ONNX 1; surest 0.98, in ONNX 0.98
#   race by MultiClassOneVsAll: 0.23 0.23 0.28 0.29 0.25, in ONNX 0.17 0.17 0.22 0.24 0.19
#     sums from 1.22 to 1.62, in ONNX 1; surest 0.55, in ONNX 0.55
#   woman, glasses, smile: 0.69 0.70 0.98, in ONNX 0.04 0.05 0.91
#   woman, glasses, smile: 0.78 0.65 0.96, in ONNX 0.12 0.06 0.82
#     faces with two of three above 0.5: 251 of 1000, in ONNX 0
#   men 0, women 1: [1, 0, 1, 1], in ONNX [1, 0, 1, 1]; 1.00 the same
#   men 1, women 2: [2, 1, 2, 2], in ONNX [1, 0, 1, 1]; 0.00 the same
#   men -1, women 1: [1, -1, 1, 1], in ONNX [1, 0, 1, 1]; 0.50 the same
#   men man, women woman: ['woman', 'man', 'woman', 'woman'], in ONNX ['woman', 'man', 'woman', 'woman']; 1.00 the same
#   glasses from a threshold of 0.2 on: 0.42 of the faces, in ONNX 0.18
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check catboost==1.2.10 onnxruntime==1.32.0 onnx==1.23.2 \
    pandas==3.1.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
from catboost import CatBoostClassifier, CatBoostRegressor

onnxruntime.set_default_logger_severity(4)
draw = np.random.default_rng(0)
faces = draw.normal(size=(3000, 16)).astype(np.float32)
noise = draw.normal(0, 1, (3000, 8))
age = np.clip(35 + 12 * faces[:, 0] + 8 * abs(faces[:, 1]) + 4 * noise[:, 0], 0, 100)
race = np.argmax(faces[:, :5] + noise[:, :5], 1)
woman = (faces[:, 5] + noise[:, 5] > 0).astype(int)
attributes = np.stack([woman, faces[:, 6] + noise[:, 6] > 1, faces[:, 7] > 0.5], 1).astype(int)
old, new = slice(0, 2000), slice(2000, 3000)
trees = dict(iterations=60, thread_count=1, random_seed=0, verbose=False, allow_writing_files=False)


def fitted(kind, truth, **options):
    return kind(**trees, **options).fit(faces[old], truth[old])


def answer(model):
    """What ONNX Runtime says of the new faces: ages, or names and rows of probabilities in the order of their keys."""
    model.save_model("model.onnx", format="onnx")
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    given = session.run(None, {session.get_inputs()[0].name: faces[new]})
    if len(given) == 1:
        return given[0].ravel()
    return np.array(given[0]), np.array([[row[key] for key in sorted(row)] for row in given[1]])


def show(name, told, given):
    words = [" ".join(f"{value:.2f}" for value in values) for values in (told, given)]
    print(f"{name}: {words[0]}, in ONNX {words[1]}")


for loss in ("RMSE", "MAE", "Quantile:alpha=0.9", "Huber:delta=3", "Poisson", "Tweedie:variance_power=1.5"):
    model = fitted(CatBoostRegressor, age + 1, loss_function=loss)
    told, given = model.predict(faces[new]), answer(model)
    show(f"age by {loss}", told[:3], given[:3])
    logarithm = loss.startswith(("Poisson", "Tweedie"))
    assert np.allclose(told, np.exp(given) if logarithm else given, rtol=1e-4)
    assert not logarithm or given.max() < 5

for loss in ("MultiClass", "MultiClassOneVsAll"):
    model = fitted(CatBoostClassifier, race, loss_function=loss)
    told, (_, given) = model.predict_proba(faces[new]), answer(model)
    show(f"race by {loss}", told[0], given[0])
    sums = told.sum(1)
    print(f"  sums from {sums.min():.2f} to {sums.max():.2f}, in ONNX 1; surest {told.max():.2f}, in ONNX {given.max():.2f}")
    assert np.allclose(given.sum(1), 1, atol=1e-5) and np.allclose(told, given, atol=1e-4) == (loss == "MultiClass")
model = fitted(CatBoostClassifier, attributes, loss_function="MultiLogloss")
told, (_, given) = model.predict_proba(faces[new]), answer(model)
for face in (0, 2):
    show("woman, glasses, smile", told[face], given[face])
print(f"  faces with two of three above 0.5: {((told > 0.5).sum(1) > 1).sum()} of 1000, in ONNX {((given > 0.5).sum(1) > 1).sum()}")
assert ((told > 0.5).sum(1) > 1).sum() > 200 and np.allclose(given.sum(1), 1, atol=1e-5)

for man, female in ((0, 1), (1, 2), (-1, 1), ("man", "woman")):
    model = fitted(CatBoostClassifier, np.where(woman, female, man))
    told, (names, given) = model.predict(faces[new]), answer(model)
    same = (names.astype(str) == told.astype(str)).mean()
    print(f"men {man}, women {female}: {told[:4].tolist()}, in ONNX {names[:4].tolist()}; {same:.2f} the same")
    assert np.allclose(given, model.predict_proba(faces[new]), atol=1e-4)
    assert (same == 1) == (man in (0, "man")) and ((man, female) != (1, 2) or set(names[told == 2]) == {1})
model = fitted(CatBoostClassifier, np.array([3, 10, 7, 20, 1])[race], loss_function="MultiClass")
assert (answer(model)[0] == model.predict(faces[new]).ravel()).all()
model = fitted(CatBoostClassifier, attributes[:, 1])
model.set_probability_threshold(0.2)
told, (names, _) = model.predict(faces[new]), answer(model)
print(f"glasses from a threshold of 0.2 on: {told.mean():.2f} of the faces, in ONNX {names.mean():.2f}")
assert told.mean() > 1.5 * names.mean()
PYTHON
