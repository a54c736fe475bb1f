#!/usr/bin/env bash
# Question: ages come with a median and intervals, and one number judges all of them: the weighted interval score, or the CRPS of a
#   sample (`crps_ensemble`). scoringrules computes both, with Numba where it is installed and with NumPy where not. Is it one number?
# Guess before the run: yes, to the fifth decimal; every function gives one number on both ways, and that of its formula.
# Found: twice no, and each way has one of the faults. Without Numba the score adds half of the median itself, where the formula adds
#   half of its distance from the true age. So people above 80 are judged three times as badly as those below 20, by a network that
#   errs alike for both; to say all ages two years too young is better than to say them right; and a median of 0 years for
#   everybody beats an honest one by far. With Numba that score is right, and the CRPS by the estimator "akr" is not: the first
#   member is compared with the last but one, not with the last. Of two members half of the spread is lost, and 3.4 years become
#   5.1; of more the mean stays, and one person's score is up to years off. Nothing is raised, and which way is taken hangs on
#   whether any package brought Numba. The other estimators agree. Score each interval by interval_score, which is right on
#   both ways, and weigh by hand.
# Versions: scoringrules 0.10.0, numba 0.68.1, numpy 2.4.6, scipy 1.17.1, Python 3.11, Linux x86-64.
# Output seen (mean of the weighted interval score by the formula, by NumPy and by Numba; mean CRPS of a sample by "akr"):
#   honest: formula 2.6, NumPy 9.1, Numba 2.6
#   median 0 for everybody: formula 9.1, NumPy 1.9, Numba 9.1
#   two years too young: formula 2.7, NumPy 8.9, Numba 2.7
#   honest, true age below 20: formula 2.6, NumPy 4.1, Numba 2.6
#   honest, true age above 80: formula 2.6, NumPy 14.1, Numba 2.6
#   best of the first three: formula honest, NumPy median 0 for everybody, Numba honest
#   "akr" of 2 members: formula 3.38, NumPy 3.38, Numba 5.07, for one person up to 9.9 apart
#   "akr" of 4 members: formula 3.38, NumPy 3.38, Numba 3.38, for one person up to 3.2 apart
#   "akr" of 10 members: formula 3.41, NumPy 3.41, Numba 3.41, for one person up to 1.8 apart
#   "akr" of 50 members: formula 3.41, NumPy 3.41, Numba 3.41, for one person up to 0.3 apart
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scoringrules==0.10.0 numba==0.68.1 numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import scoringrules
from scipy.stats import norm

WAYS = ("numpy", "numba")
PEOPLE, SPREAD = 20_000, 6.0
ALPHAS = np.array([0.5, 0.2, 0.05])
draw = np.random.default_rng(0)
ages = draw.uniform(10, 90, PEOPLE)
middles = ages + draw.normal(0, SPREAD, PEOPLE)
halves = SPREAD * norm.ppf(1 - ALPHAS / 2)


def by_formula(truth, median, lower, upper):
    """Bracher et al. 2021, equation 2: the median's error counts half, each interval's score half of its alpha."""
    y = truth[:, None]
    scores = upper - lower + 2 / ALPHAS * (np.maximum(lower - y, 0) + np.maximum(y - upper, 0))
    return (abs(truth - median) / 2 + (ALPHAS / 2 * scores).sum(1)) / (len(ALPHAS) + 0.5)


def judged(median, shift, chosen=slice(None)):
    """The mean score by the formula, by NumPy and by Numba."""
    lower, upper = ((middles + shift)[:, None] + sign * halves for sign in (-1, 1))
    given = [values[chosen] for values in (ages, median, lower, upper)]
    ways = [scoringrules.weighted_interval_score(*given, ALPHAS, backend=way).mean() for way in WAYS]
    return np.array([by_formula(*given).mean(), *ways])


cases = {
    "honest": judged(middles, 0),
    "median 0 for everybody": judged(np.zeros(PEOPLE), 0),
    "two years too young": judged(middles - 2, -2),
    "honest, true age below 20": judged(middles, 0, ages < 20),
    "honest, true age above 80": judged(middles, 0, ages > 80),
}
for name, (formula, plain, compiled) in cases.items():
    print(f"{name}: formula {formula:.1f}, NumPy {plain:.1f}, Numba {compiled:.1f}")
    assert abs(compiled - formula) < 1e-6
lowest = [min(cases, key=lambda name: cases[name][place] if "true" not in name else np.inf) for place in range(3)]
print(f"best of the first three: formula {lowest[0]}, NumPy {lowest[1]}, Numba {lowest[2]}")
assert lowest == ["honest", "median 0 for everybody", "honest"], lowest
assert cases["two years too young"][1] < cases["honest"][1]
assert cases["honest, true age above 80"][1] > 3 * cases["honest, true age below 20"][1]
for members in (2, 4, 10, 50):
    sample = middles[:, None] + draw.normal(0, SPREAD, (PEOPLE, members))
    spread = abs(sample - np.roll(sample, 1, axis=1)).mean(1) / 2
    formula = (abs(sample - ages[:, None]).mean(1) - spread).mean()
    plain, compiled = (scoringrules.crps_ensemble(ages, sample, estimator="akr", backend=way) for way in WAYS)
    others = [abs(np.subtract(*(scoringrules.crps_ensemble(ages, sample, estimator=name, backend=way) for way in WAYS))).max()
              for name in ("nrg", "fair", "pwm", "qd", "int")]
    apart = abs(plain - compiled).max()
    print(f'"akr" of {members} members: formula {formula:.2f}, NumPy {plain.mean():.2f}, Numba {compiled.mean():.2f}, '
          f"for one person up to {apart:.1f} apart")
    assert max(others) < 1e-6 and abs(plain.mean() - formula) < 1e-6 and apart > 0.1, (others, plain.mean(), formula)
    assert compiled.mean() > plain.mean() + 1 or members > 2
PYTHON
