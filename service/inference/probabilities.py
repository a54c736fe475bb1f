"""Probabilities and their logits: the conversions that calibration and averages share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.arrays import Doubles


def softmax(logits: Doubles) -> Doubles:
    """Probabilities of logits.

    Args:
        logits: Any values [..., K].

    Returns:
        Probabilities [..., K], which add up to 1 along the last axis.
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def temperature_scaled(probabilities: npt.ArrayLike, temperature: float) -> Doubles:
    """Probabilities whose logits are divided by a temperature.

    Args:
        probabilities: Probabilities [..., K].
        temperature: The divisor, above 0.

    Returns:
        Probabilities [..., K].
    """
    return softmax(np.log(np.clip(np.asarray(probabilities, np.float64), 1e-9, 1)) / temperature)


def sigmoid(logits: Doubles) -> Doubles:
    """Probabilities of logarithms of odds.

    Args:
        logits: Any values [...].

    Returns:
        Probabilities [...].
    """
    return np.asarray(1 / (1 + np.exp(-logits)))


def logit(probabilities: Doubles, least: float) -> Doubles:
    """Logarithms of the odds of probabilities.

    Args:
        probabilities: Probabilities [...].
        least: Distance that they keep from 0 and 1, so that the logarithms stay finite; above 0.

    Returns:
        Finite values [...].
    """
    clipped = np.clip(probabilities, least, 1 - least)
    return np.asarray(np.log(clipped / (1 - clipped)))
