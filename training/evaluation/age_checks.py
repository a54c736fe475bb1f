"""How often a check for a least age errs: minors taken for adults, and adults for minors.

NIST's evaluation of age estimation and verification (NISTIR 8525) and ISO/IEC 27566-1 count both shares by band of true ages
and by group; an operator reads from them what a threshold costs whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from service.arrays import Bools, Doubles
from service.models.evaluation import AgeBand, AgeChecks, Interval, Rate
from training.evaluation.predictions import ExpectationPredictions, Predictions

ADULT: Final = 18
"""The age that is checked."""
CHALLENGE: Final = 25
"""Who looks younger is asked for a document, where the rule is "challenge 25"."""
AGES: Final = (18, 21, 25)
"""Ages whose probabilities are judged."""
MINORS: Final = "13-17"
BANDS: Final = {MINORS: (13, 17), "18-24": (18, 24), "25+": (25, 200)}
"""Bands of true ages, bounds included."""
THRESHOLDS: Final = (0.5, 0.9, 0.95, 0.99)
"""Least probabilities of being adult at which somebody is taken for one."""
BINS: Final = 15
"""Bins of equal width of the expected calibration error."""
REPLICATES: Final = 2000
"""Resamplings of a bootstrap."""

_SEED: Final = 20170101


def age_checks(predictions: Predictions) -> AgeChecks | None:
    """Every share that errs, over the faces that were found and whose age is known.

    Args:
        predictions: Of N pictures.

    Returns:
        The shares of all, and by the crossings of labels of gender and race that are known; None where the model says no
        probability of being so old, or no age is known.
    """
    age = predictions.expectations.get("age")
    if age is None or set(AGES) - set(age.at_least):
        return None
    rows = predictions.found & age.known
    if not rows.any():
        return None
    seen = age.where(rows)
    return AgeChecks(
        calibration_error={str(least): _calibration_error(seen, least) for least in AGES},
        error_of_minors=_mean_error(seen),
        bands=dict(_bands(seen)),
        groups={name: dict(_bands(seen.where(chosen))) for name, chosen in _crossings(predictions.where(rows))},
    )


def rules() -> tuple[str, ...]:
    """Names of the rules by which somebody is taken for an adult, in the order of a table.

    Returns:
        Least probabilities of being 18, and the rule of the estimated age.
    """
    return (*(f"{threshold:g}" for threshold in THRESHOLDS), f"challenge {CHALLENGE}")


def expected_calibration_error(probabilities: Doubles, reached: Bools) -> float:
    """Mean distance, weighted by faces, between predicted probability and true share in `BINS` bins of equal width.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.

    Args:
        probabilities: Predicted ones [N].
        reached: Whether the true age is at least that [N].

    Returns:
        Between 0 and 1.
    """
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    predicted, true = (np.bincount(bins, values.astype(np.float64), minlength=BINS) for values in (probabilities, reached))
    return float(np.abs(predicted - true).sum() / max(1, len(probabilities)))


def _calibration_error(age: ExpectationPredictions, least: int) -> float:
    return round(expected_calibration_error(age.at_least[least], age.label >= least), 5)


def _mean_error(age: ExpectationPredictions) -> Rate:
    """Mean absolute error of the 13 to 17 years old, in years."""
    low, high = BANDS[MINORS]
    chosen = (low <= age.label) & (age.label <= high)
    return _rate(np.abs(age.value - age.label)[chosen])


def _bands(age: ExpectationPredictions) -> Iterator[tuple[str, AgeBand]]:
    """Each band that has faces."""
    adult = {f"{threshold:g}": age.at_least[ADULT] >= threshold for threshold in THRESHOLDS}
    adult[f"challenge {CHALLENGE}"] = age.value >= CHALLENGE
    for name, (low, high) in BANDS.items():
        chosen = (low <= age.label) & (age.label <= high)
        if chosen.any():
            taken = {rule: _rate(passed[chosen].astype(np.float64)) for rule, passed in adult.items()}
            yield name, AgeBand(count=int(chosen.sum()), adult=taken)


def _rate(values: Doubles) -> Rate:
    """A mean, with its 95 % percentile bootstrap interval over faces."""
    if not len(values):
        return Rate(value=None)
    drawn = np.random.default_rng(_SEED).integers(0, len(values), (REPLICATES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    interval: Interval = (round(float(low), 5), round(float(high), 5))
    return Rate(value=round(float(values.mean()), 5), interval=interval)


def _crossings(predictions: Predictions) -> Iterator[tuple[str, Bools]]:
    """The faces of each crossing of gender and race, by what is known of them."""
    gender, race = (predictions.labels.get(name) for name in ("gender", "race"))
    if gender is None:
        return
    for number, word in enumerate(gender.names):
        of_gender = gender.label == number
        if race is None or not race.known.any():
            if of_gender.any():
                yield word, of_gender
            continue
        for other, second in enumerate(race.names):
            chosen = of_gender & (race.label == other)
            if chosen.any():
                yield f"{word}, {second}", chosen
