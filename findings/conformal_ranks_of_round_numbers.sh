#!/usr/bin/env bash
# Question: an age comes with an interval that holds nine times of ten, by split conformal prediction: of n errors that were
#   measured, the one of rank ceil(0.9 (n + 1)). Nine errors are the fewest that suffice, for they ask for the ninth. Do the three
#   libraries mapie, crepes and puncc take the same error, whatever n is?
# Guess before the run: yes; with nine errors all three give the greatest, with fewer mapie and puncc refuse and crepes says infinite.
# Found: puncc alone does. At 80% and at 90% crepes takes one rank too many for every n whose rank is a whole number, that is for the
#   round ones: 9, 19, 99, 999. It cuts (1 - 0.9) * 10 off to a whole number, and in floats that is 0.9999999999999998. Of nine
#   errors its interval is infinite, of 19 it is the widest, which holds 95 times of 100; at 95% and 99% it errs in none, nor
#   for any other n. mapie errs in one place each, and there it refuses: four for 80%, nine for 90%, 19 for 95%, 99 for 99%. This
#   matters where groups are calibrated apart and are small, for who picks a number of errors picks a round rank: take 20, not 19.
# Versions: mapie 1.6.0, crepes 0.9.1, puncc 0.9.3, scikit-learn 1.9.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (how many n below 300 give a wrong error, where the rank is whole and where it is not; those of nine and of 19):
#   80%, 60 whole ranks: mapie 1 and 0, crepes 60 and 0, puncc 0 and 0
#   90%, 30 whole ranks: mapie 1 and 0, crepes 30 and 0, puncc 0 and 0
#   95%, 15 whole ranks: mapie 1 and 0, crepes 0 and 0, puncc 0 and 0
#   99%, 3 whole ranks: mapie 1 and 0, crepes 0 and 0, puncc 0 and 0
#   90% of 9: mapie refuses, crepes infinite, puncc rank 9
#   90% of 19: mapie rank 18, crepes rank 19, puncc rank 18
#   90% of 20: mapie rank 19, crepes rank 19, puncc rank 19
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mapie==1.6.0 crepes==0.9.1 scikit-learn==1.9.1 numpy==2.4.6 \
  matplotlib tqdm
# Its metadata asks for NumPy 1, which has no wheel for Python 3.13; it runs with either.
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps puncc==0.9.3
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from fractions import Fraction

import crepes
import numpy as np
from deel.puncc.api.prediction import BasePredictor
from deel.puncc.regression import SplitCP
from mapie.regression import SplitConformalRegressor
from sklearn.dummy import DummyRegressor

warnings.simplefilter("ignore")
zero = DummyRegressor(strategy="constant", constant=0).fit([[0], [1]], [0, 1])


def by_mapie(errors, level):
    nothing = np.zeros((len(errors), 1))
    fitted = SplitConformalRegressor(zero, confidence_level=float(level), prefit=True).conformalize(nothing, errors)
    return fitted.predict_interval(nothing[:2])[1][0, 1, 0]


def by_crepes(errors, level):
    return crepes.ConformalRegressor().fit(errors).predict_int(np.zeros(2), confidence=float(level))[0, 1]


def by_puncc(errors, level):
    nothing = np.zeros((len(errors), 1))
    fitted = SplitCP(BasePredictor(zero, is_trained=True), train=False)
    fitted.fit(X_calib=nothing, y_calib=errors)
    return fitted.predict(nothing[:2], alpha=float(1 - level))[2][0]


def answer(library, n, level):
    """The rank of the error that is taken, infinity, or None for a refusal."""
    try:
        return float(library(np.arange(1.0, n + 1), level))
    except ValueError:
        return None


LIBRARIES = {"mapie": by_mapie, "crepes": by_crepes, "puncc": by_puncc}
for level in map(Fraction, ("0.8", "0.9", "0.95", "0.99")):
    wrong = {(name, whole): [] for name in LIBRARIES for whole in (True, False)}
    whole_ones = 0
    for n in range(4, 300):
        exact = level * (n + 1)
        rank, whole = -(-exact.numerator // exact.denominator), exact.denominator == 1
        if rank > n:
            continue
        whole_ones += whole
        for name, library in LIBRARIES.items():
            found = answer(library, n, level)
            if found != rank:
                wrong[name, whole].append((n, found))
                one_more = rank + 1 if rank < n else np.inf
                assert found == (None if name == "mapie" else one_more), (name, n, found)
    row = ", ".join(f"{name} {len(wrong[name, True])} and {len(wrong[name, False])}" for name in LIBRARIES)
    print(f"{float(level):.0%}, {whole_ones} whole ranks: {row}")
    assert not wrong["puncc", True] and not any(wrong[name, False] for name in LIBRARIES)
    assert wrong["mapie", True] == [(level.denominator - 1, None)], wrong["mapie", True]
    assert len(wrong["crepes", True]) == (whole_ones if level < Fraction("0.95") else 0)
for n in (9, 19, 20):
    found = {name: answer(library, n, Fraction("0.9")) for name, library in LIBRARIES.items()}
    words = {None: "refuses", np.inf: "infinite"}
    print(f"90% of {n}: " + ", ".join(f"{name} {words.get(rank) or f'rank {rank:.0f}'}" for name, rank in found.items()))
PYTHON
