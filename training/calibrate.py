"""Validation answers to a calibration: temperatures, and the quantiles from which age intervals are made."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from service.attributes import bounds, tempered
from service.model_store import AgeInterval, Calibration, IntervalBand

Floats = npt.NDArray[np.float64]

COVERAGE: Final = 0.8
BANDS: Final = (4.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, float("inf"))
"""Upper ends, in predicted years, of the bands that get quantiles of their own."""
LEAST: Final = 60
"""Faces that a band needs for that; smaller ones are joined to the next."""
ROUNDING: Final = 5e-5
"""The service's answers have four digits: a probability of zero stands for anything below this."""


def temperature(probabilities: Floats, labels: npt.NDArray[np.int64]) -> float:
    """The temperature, 0.25 to 4, under which probabilities [N, K] give the labels [N] the least negative log-likelihood."""

    def loss(logarithm: float) -> float:
        likelihood = tempered(probabilities, float(np.exp(logarithm)))[np.arange(len(labels)), labels]
        return -float(np.log(np.maximum(likelihood, 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.25), np.log(4)), method="bounded").x))


def age_interval(
    years: Floats, spread: Floats, age: Floats, unit: Literal["deviation", "years"], coverage: float = COVERAGE
) -> AgeInterval:
    """Quantiles of (age - years) / spread in each band of predicted age, widened or narrowed until the whole-year intervals
    that the service makes of them hold a share `coverage` of the band's true ages.

    Split conformal prediction (Lei et al., JASA 2018), locally weighted by the spread. Raises `ValueError` without faces.
    """
    if len(years) == 0:
        raise ValueError("a calibration needs faces, and none was found")
    edges = _joined(years)
    bands = []
    below = -np.inf
    for edge in edges:
        rows = (years >= below) & (years < edge)
        below = edge
        ratio = (age[rows] - years[rows]) / spread[rows]
        best: tuple[float, IntervalBand] | None = None
        for tail in np.linspace(0.02, 0.25, 93):
            low, high = np.quantile(ratio, [tail, 1 - tail])
            band = IntervalBand(below=float(min(edge, 1e6)), low=float(low), high=float(high))
            interval = AgeInterval(coverage=coverage, unit=unit, bands=(band,))
            ends = np.array([bounds(y, s, interval) for y, s in zip(years[rows], spread[rows], strict=True)])
            gap = abs(float(np.mean((ends[:, 0] <= age[rows]) & (age[rows] <= ends[:, 1]))) - coverage)
            if best is None or gap < best[0]:
                best = gap, band
        if best is not None:
            bands.append(best[1])
    return AgeInterval(coverage=coverage, unit=unit, bands=tuple(bands))


def fit(
    years: Floats,
    spread: Floats,
    age: Floats,
    female: Floats,
    gender: npt.NDArray[np.int64],
    races: Floats,
    race: npt.NDArray[np.int64],
) -> Calibration:
    """Calibration of a network with all three heads from its uncalibrated answers; `spread` is the age distributions'
    standard deviation [N] in years."""
    interval = age_interval(years, spread, age, "deviation")
    both = np.stack([1 - female, female], axis=1)
    return Calibration(
        gender_temperature=round(temperature(np.maximum(both, ROUNDING), gender), 4),
        race_temperature=round(temperature(np.maximum(races, ROUNDING), race), 4),
        age_interval=interval,
    )


def _joined(years: Floats) -> list[float]:
    """Upper ends of bands, each with at least `LEAST` predictions."""
    edges: list[float] = []
    below = -np.inf
    for edge in BANDS:
        if ((years >= below) & (years < edge)).sum() >= LEAST:
            edges.append(edge)
            below = edge
    if edges:
        edges[-1] = float("inf")
    return edges or [float("inf")]
