"""A distribution over ages to the calibrated probability that somebody is at least so old."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from service.arrays import Doubles, Floats
from service.errors import InvalidParameter
from service.inference.probabilities import logit, sigmoid
from service.models.manifest import AtLeastCalibration

MOST: Final = 8
"""Ages that one request may name."""
LOWEST: Final = 1
HIGHEST: Final = 99
AGES: Final = np.arange(LOWEST, HIGHEST + 1)

_LEAST: Final = 1e-4
"""Distance that probabilities keep from 0 and 1: no validation split can tell more."""


def parse_ages(given: Sequence[int] | str | None) -> tuple[int, ...]:
    """Ages that a client names.

    Args:
        given: Whole years, or a comma-separated list of them; None or nothing where none is asked for.

    Returns:
        The ages, each once, from low to high.

    Raises:
        InvalidParameter: An age is not a whole number from 1 to 99, or more than 8 differ.
    """
    words = (
        [word.strip() for word in given.split(",") if word.strip()]
        if isinstance(given, str)
        else [str(age) for age in given or ()]
    )
    if not all(word.isascii() and word.isdecimal() and len(word) <= len(str(HIGHEST)) for word in words):
        raise InvalidParameter(f"at_least: give whole ages from {LOWEST} to {HIGHEST}, separated by commas.")
    ages = sorted({int(word) for word in words})
    if ages and not LOWEST <= ages[0] <= ages[-1] <= HIGHEST:
        raise InvalidParameter(f"at_least: give whole ages from {LOWEST} to {HIGHEST}, separated by commas.")
    if len(ages) > MOST:
        raise InvalidParameter(f"at_least: name at most {MOST} ages.")
    return tuple(ages)


def log_odds(distributions: Floats | Doubles) -> Doubles:
    """Logarithms of the odds that the age is at least each of `AGES`, before any calibration.

    Args:
        distributions: Probabilities [..., K] of the whole years 0 to K - 1.

    Returns:
        Logarithms [..., 99], which never rise with the age.
    """
    values = np.asarray(distributions, np.float64)
    tails = np.flip(np.cumsum(np.flip(values, -1), -1), -1)
    known = tails[..., LOWEST : HIGHEST + 1]
    missing = len(AGES) - known.shape[-1]
    tails = np.concatenate([known, np.zeros((*known.shape[:-1], missing))], -1)
    return logit(tails, _LEAST)


def calibrated(logits: Doubles, calibration: AtLeastCalibration) -> Doubles:
    """Calibrated probabilities that the age is at least each of `AGES`.

    Args:
        logits: Logarithms of odds [..., 99], as `log_odds` gives them.
        calibration: Slope and offsets (Platt, "Probabilistic outputs for support vector machines", 1999); between its ages
            the offsets are interpolated.

    Returns:
        Probabilities [..., 99], which never rise with the age.
    """
    offsets = np.interp(AGES, calibration.ages, calibration.offsets)
    scaled = np.minimum.accumulate(calibration.slope * logits + offsets, axis=-1)
    return np.clip(sigmoid(scaled), _LEAST, 1 - _LEAST)


def at_least(distribution: Floats, ages: Iterable[int], calibration: AtLeastCalibration) -> dict[int, float]:
    """Probability that a face's age is at least each of some ages.

    Args:
        distribution: Probabilities [K] of the whole years 0 to K - 1.
        ages: From 1 to 99.
        calibration: That of the model.

    Returns:
        Probabilities by age; never a higher one for a higher age.
    """
    probabilities = calibrated(log_odds(distribution), calibration)
    return {age: float(probabilities[age - LOWEST]) for age in ages}
