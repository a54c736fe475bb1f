"""Distributions over ages and true ages to the calibration of the probability of being at least so old."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.optimize import minimize

from service.arrays import Doubles
from service.inference.at_least import LOWEST, log_odds
from service.models.manifest import AtLeastCalibration

AGES: Final = (13, 18, 21, 25, 40, 60)
"""Ages with an offset of their own; the others' are interpolated."""
PRIOR: Final = 10.0
"""What it costs, in nats, to move an offset or the slope's logarithm by one: few faces move nothing."""


def fit_at_least(distributions: Doubles, ages: Doubles) -> AtLeastCalibration:
    """Slope and offsets under which the true ages are likeliest, over all of `AGES` together.

    Args:
        distributions: Probabilities [N, K] of the whole years 0 to K - 1.
        ages: True ages [N] in years.

    Returns:
        The calibration, of four digits.
    """
    columns = [age - LOWEST for age in AGES]
    logits = log_odds(distributions)[:, columns]
    reached = ages[:, np.newaxis] >= np.array(AGES)

    def cost(moved: Doubles) -> float:
        scaled = np.exp(moved[0]) * logits + moved[1:]
        surprise = np.logaddexp(0, np.where(reached, -scaled, scaled)).sum()
        return float(surprise + PRIOR * np.square(moved).sum())

    best = minimize(cost, np.zeros(1 + len(AGES)), method="L-BFGS-B", bounds=[(-2, 2)] * (1 + len(AGES))).x
    offsets = tuple(round(float(offset), 4) for offset in best[1:])
    return AtLeastCalibration(slope=round(float(np.exp(best[0])), 4), ages=AGES, offsets=offsets)
