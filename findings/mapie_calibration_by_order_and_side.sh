#!/usr/bin/env bash
# Question: a network that says 90% should be right nine times of ten. mapie measures how far it is off: by bins of confidence
#   (`expected_calibration_error`, in three ways), for each group that is named (`top_label_ece`), and by three tests whose p-value is
#   small where confidence is wrong. Do bins agree with a count by hand, and is too little confidence found like too much?
# Guess before the run: to nine decimals, in each way and for each group; and a test doubts faultless confidence five times of 100.
# Found: only the last holds. "array split" is to give bins of equal numbers, and splits faces as they come, not by confidence.
#   Each part has somebody next to 100%, so that nearly all fall into one bin, where too much and too little confidence cancel
#   out: a network that is 14 points off has 0.5, and the same faces, sorted, 14.1. Spiegelhalter's test looks at one side. A network
#   that is too sure has p = 0.000, one that is as much too unsure 1.000, though "the closer to zero, the better" is said of the
#   statistic: it is never found, where the other two tests always find it. What was calibrated with label smoothing or by too
#   high a temperature passes. And top_label_ece counts groups alike, where its paper counts faces: a group of one face in a hundred
#   weighs a fifth, and is chance alone. Of faultless confidences it makes 18.5 points for 6.8. Of N bins "uniform" has N - 1, so
#   that two are one, and one is nan. Sort first, take 2 * min(p, 1 - p), and weigh groups by their faces.
# Versions: mapie 1.6.0, scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6, Python 3.11, Linux x86-64.
# Output seen (points of 100):
#   confidence too high above 60% and too low below, 5,000 faces: like width, like number by hand; uniform, quantile, array split
#     bins 1, as they come: 0.5, 0.5, nan, 20.0, 0.5
#     bins 1, sorted: 0.5, 0.5, nan, 20.0, 0.5
#     bins 2, as they come: 13.8, 14.2, 0.5, 0.5, 0.5
#     bins 2, sorted: 13.8, 14.2, 0.5, 0.5, 14.2
#     bins 3, as they come: 13.1, 12.8, 13.8, 14.2, 0.5
#     bins 3, sorted: 13.1, 12.8, 13.8, 14.2, 12.8
#     bins 15, as they come: 14.2, 14.1, 14.1, 14.2, 0.5
#     bins 15, sorted: 14.2, 14.1, 14.1, 14.2, 14.1
#   2,000 faces, 200 times: found at 5% by Kolmogorov-Smirnov, Kuiper, Spiegelhalter (of 100); median p of Spiegelhalter's
#     temperature 0.67: 99.5, 100.0, 100.0; 0.000000
#     temperature 1.00: 6.5, 5.0, 5.0; 0.386862
#     temperature 1.50: 99.5, 100.0, 0.0; 1.000000
#     temperature 2.00: 100.0, 100.0, 0.0; 1.000000
#   five groups, faultless confidences, 2,000 faces, 20 times: all faces, groups by their shares, top_label_ece
#     shares of 20%, 20%, 20%, 20%, 20%: 4.7, 10.4, 10.4
#     shares of 84%, 8%, 5%, 2%, 1%: 4.1, 6.8, 18.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mapie==1.6.0 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from mapie.metrics.calibration import (
    expected_calibration_error,
    kolmogorov_smirnov_p_value,
    kuiper_p_value,
    spiegelhalter_p_value,
    top_label_ece,
)

WAYS = ("uniform", "quantile", "array split")
TESTS = (kolmogorov_smirnov_p_value, kuiper_p_value, spiegelhalter_p_value)
draw = np.random.default_rng(0)


def by_hand(right, confidence, bins):
    """Points between confidence and share of right faces, over bins of like width and over bins of like numbers."""
    of_width = np.minimum((confidence * bins).astype(int), bins - 1)
    of_number = np.empty(len(confidence), int)
    of_number[np.argsort(confidence)] = np.arange(len(confidence)) * bins // len(confidence)
    gaps = [[abs((right - confidence)[place == at].sum()) for at in range(bins)] for place in (of_width, of_number)]
    return 100 * np.sum(gaps, 1) / len(confidence)


def by_mapie(right, confidence, bins):
    return [100 * expected_calibration_error(right, confidence, num_bins=bins, split_strategy=way) for way in WAYS]


def show(name, figures, digits=1):
    print(f"{name}: {', '.join(f'{figure:.{digits}f}' for figure in figures)}")
    return figures


confidence = draw.uniform(0.2, 1, 5000)
right = (draw.uniform(size=5000) < 0.6 + 0.3 * (confidence - 0.6)).astype(int)
print("confidence too high above 60% and too low below, 5,000 faces: like width, like number by hand; uniform, quantile, array split")
for bins in (1, 2, 3, 15):
    for name, order in (("as they come", np.arange(5000)), ("sorted", np.argsort(confidence))):
        hand, ways = by_hand(right, confidence, bins), by_mapie(right[order], confidence[order], bins)
        show(f"  bins {bins}, {name}", [*hand, *ways])
        if bins == 15:
            assert max(abs(np.subtract(ways[:2], hand))) < 0.5 and hand.min() > 13, (hand, ways)
            assert ways[2] < 1 if name == "as they come" else abs(ways[2] - hand[1]) < 0.5, (hand, ways)
        assert bins != 1 or np.isnan(ways[0])
        assert bins != 2 or abs(ways[0] - by_hand(right, confidence, 1)[0]) < 1e-6
others = [by_mapie(right[order], confidence[order], 15)[2] for order in (draw.permutation(5000) for _ in range(20))]
assert max(others) < 1, others

print("2,000 faces, 200 times: found at 5% by Kolmogorov-Smirnov, Kuiper, Spiegelhalter (of 100); median p of Spiegelhalter's")
for temperature in (1 / 1.5, 1, 1.5, 2):
    p = []
    for _ in range(200):
        logit = draw.normal(0, 2, 2000)
        truth = (draw.uniform(size=2000) < 1 / (1 + np.exp(-logit))).astype(int)
        p.append([test(truth, 1 / (1 + np.exp(-logit / temperature))) for test in TESTS])
    found = 100 * (np.array(p) < 0.05).mean(0)
    print(f"  temperature {temperature:.2f}: {', '.join(f'{figure:.1f}' for figure in found)}; {np.median(p, 0)[2]:.6f}")
    if temperature == 1:
        assert found.max() < 10
    else:
        assert found[:2].min() > 90 and (found[2] == 100 if temperature < 1 else found[2] == 0), found

print("five groups, faultless confidences, 2,000 faces, 20 times: all faces, groups by their shares, top_label_ece")
for shares in ([0.2] * 5, [0.84, 0.08, 0.05, 0.02, 0.01]):
    trials = []
    for _ in range(20):
        odds = np.exp(draw.normal(0, 1.5, (2000, 5))) * shares
        probability = odds / odds.sum(1, keepdims=True)
        truth = np.minimum((probability.cumsum(1) < draw.uniform(size=(2000, 1))).sum(1), 4)
        answer, confidence = probability.argmax(1), probability.max(1)
        right = (truth == answer).astype(int)
        of_group = [expected_calibration_error(right[answer == at], confidence[answer == at]) for at in range(5)]
        weighted = np.dot(of_group, np.bincount(answer, minlength=5) / 2000)
        trials.append([expected_calibration_error(right, confidence), weighted, top_label_ece(truth, probability)])
        assert abs(trials[-1][2] - np.mean(of_group)) < 1e-9
    all_faces, weighted, top = 100 * np.mean(trials, 0)
    show(f"  shares of {', '.join(f'{share:.0%}' for share in shares)}", (all_faces, weighted, top))
    assert abs(top - weighted) < 0.5 if shares[0] == 0.2 else top > 2 * weighted, (weighted, top)
PYTHON
