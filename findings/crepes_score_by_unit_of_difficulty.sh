#!/usr/bin/env bash
# Question: an age comes as a distribution: residuals that were measured, laid around each estimate. Errors grow with age, so that
#   residuals are divided by a difficulty (`sigmas`), and multiplied by that of the face at hand. crepes makes such distributions and
#   judges them by the CRPS, in years: less is better. Is its figure that of the formula, with and without difficulties?
# Guess before the run: yes, to nine decimals, and a difficulty in months is as good as one in years: the factor cancels out.
# Found: without difficulties, and by groups (`bins`) without them, yes. With them the distributions are right, and the figure is not.
#   The piece between the two residuals around the true age is multiplied by the difficulty, though it is in years already. So the
#   figure grows with the unit: the same distributions of 100 residuals have 4.8 by the formula, and 4.6, 7.1 and 34.5 by crepes where
#   the difficulty is a hundredth of the error in years, the error in years, and the error in months. Whoever asks whether
#   difficulties help is told that they harm, 7.1 with and 5.1 without them, and by groups it is the same with 1,000 residuals. The
#   smaller the unit, the better the forecast seems, down to one that beats the formula. Intervals and their shares are the
#   same in all units. Take the figure from `predict_cpds`, by the formula below: it is four lines.
# Versions: crepes 0.9.1, pandas 3.1.1, scipy 1.17.1, scikit-learn 1.9.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (CRPS in years):
#   100 residuals
#     no difficulty: crepes 5.07, formula 5.07; 89% held by intervals of 90%
#     difficulty, a hundredth of the error: crepes 4.60, formula 4.83; 90% held by intervals of 90%
#     difficulty, the error in years: crepes 7.07, formula 4.83; 90% held by intervals of 90%
#     difficulty, the error in months: crepes 34.46, formula 4.83; 90% held by intervals of 90%
#   500 residuals
#     no difficulty: crepes 5.03, formula 5.03; 89% held by intervals of 90%
#     no difficulty, four groups: crepes 4.82, formula 4.82; 91% held by intervals of 90%
#     difficulty, a hundredth of the error: crepes 4.73, formula 4.79; 90% held by intervals of 90%
#     difficulty, the error in years: crepes 5.37, formula 4.79; 90% held by intervals of 90%
#     difficulty, the error in months: crepes 12.53, formula 4.79; 90% held by intervals of 90%
#     difficulty, the error in years, four groups: crepes 6.68, formula 4.80; 91% held by intervals of 90%
#   1,000 residuals
#     no difficulty: crepes 5.03, formula 5.03; 89% held by intervals of 90%
#     no difficulty, four groups: crepes 4.82, formula 4.82; 91% held by intervals of 90%
#     difficulty, a hundredth of the error: crepes 4.75, formula 4.78; 90% held by intervals of 90%
#     difficulty, the error in years: crepes 5.09, formula 4.78; 90% held by intervals of 90%
#     difficulty, the error in months: crepes 8.83, formula 4.78; 90% held by intervals of 90%
#     difficulty, the error in years, four groups: crepes 5.73, formula 4.80; 91% held by intervals of 90%
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check crepes==0.9.1 pandas==3.1.1 scikit-learn==1.9.1 scipy==1.17.1 \
    numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from crepes import ConformalPredictiveSystem

TESTED, TRIALS = 200, 5


def faces(draw, number):
    """True ages, estimates and the honest difficulty: the standard deviation of the error."""
    estimate = draw.uniform(5, 90, number)
    spread = 1 + 0.15 * estimate
    return estimate + spread * draw.normal(0, 1, number), estimate, spread


def crps(samples, age):
    """By the formula, of an ensemble: distance from the age, less half of the distance of the ensemble from itself."""
    scores = []
    for row, true in zip(samples, age, strict=True):
        weights = (2 * np.arange(len(row)) - len(row) + 1) / len(row) ** 2
        scores.append(abs(row - true).mean() - np.sort(row) @ weights)
    return np.mean(scores)


def judge(calibration, test, factor, bins=(None, None)):
    """crepes's figure, the formula's of crepes's own distributions, and the share of ages within the interval of 90%."""
    (age, estimate, spread), (true, told, hard) = calibration, test
    sigmas = (None, None) if factor is None else (factor * spread, factor * hard)
    system = ConformalPredictiveSystem().fit(age - estimate, sigmas=sigmas[0], bins=bins[0])
    options = {"sigmas": sigmas[1], "bins": bins[1]}
    figures = system.evaluate(told, true, confidence=0.9, metrics=["CRPS", "error"], **options)
    return figures["CRPS"], crps(system.predict_cpds(told, **options), true), 1 - figures["error"]


def row(name, number, factor, groups=1):
    trials = []
    for trial in range(TRIALS):
        draw = np.random.default_rng(trial)
        test, calibration = faces(draw, TESTED), faces(draw, number)
        bins = [(part[1] * groups // 90.001).astype(int) if groups > 1 else None for part in (calibration, test)]
        trials.append(judge(calibration, test, factor, bins))
    told, formula, held = np.mean(trials, 0)
    print(f"  {name}: crepes {told:.2f}, formula {formula:.2f}; {held:.0%} held by intervals of 90%")
    return told, formula


for number in (100, 500, 1000):
    print(f"{number:,} residuals")
    told, formula = row("no difficulty", number, None)
    assert abs(told - formula) < 1e-9
    plain = formula
    if number > 100:
        told, formula = row("no difficulty, four groups", number, None, 4)
        assert abs(told - formula) < 1e-9
    figures = []
    for name, factor in (("a hundredth of the error", 0.01), ("the error in years", 1), ("the error in months", 12)):
        figures.append(row(f"difficulty, {name}", number, factor))
    told, formula = np.transpose(figures)
    assert np.ptp(formula) < 1e-9 and formula.max() < plain, (formula, plain)
    assert told[0] < formula[0] and told[2] - formula[2] > 10 * (told[1] - formula[1]) > 0, (told, formula)
    assert number > 100 or told[1] > plain, (told, plain)
    if number > 100:
        told, formula = row("difficulty, the error in years, four groups", number, 1, 4)
        assert told > formula + 0.2
PYTHON
