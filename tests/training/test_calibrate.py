"""Calibration: temperatures and intervals that give back what made-up answers were made with."""

from __future__ import annotations

import numpy as np
import pytest

from service.attributes import bounds
from service.model_store import AgeInterval
from training.calibrate import BANDS, LEAST, Floats, age_interval, fit, temperature

Made = tuple[Floats, Floats, Floats]


def answers(count: int, seed: int) -> Made:
    """Predicted ages, deviations that the network claims, and true ages, which lie 1.6 times as far as it claims."""
    random = np.random.default_rng(seed)
    years = random.uniform(1, 90, count)
    spread = (1 + 0.08 * years) * random.uniform(0.7, 1.5, count)
    return years, spread, np.maximum(0, np.rint(random.normal(years, 1.6 * spread)))


def covered(interval: AgeInterval, made: Made) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    ends = [bounds(years, spread, interval) for years, spread in zip(made[0], made[1], strict=True)]
    return np.array([low <= age <= high for (low, high), age in zip(ends, made[2], strict=True)])


def probabilities(logits: Floats) -> Floats:
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def labels(logits: Floats, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A label for each row, drawn by the probabilities of these logits."""
    noise = np.random.default_rng(seed).gumbel(size=logits.shape)
    return np.argmax(logits + noise, axis=1)


@pytest.mark.parametrize("true", [0.6, 1.0, 2.2])
def test_temperature_is_recovered(true: float) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (20_000, 5))
    assert temperature(probabilities(logits), labels(logits / true, 1)) == pytest.approx(true, rel=0.05)


def test_intervals_hold_eighty_per_cent() -> None:
    made = answers(3000, 0)
    interval = age_interval(*made, "deviation")
    assert (interval.coverage, interval.unit) == (0.8, "deviation")
    assert covered(interval, made).mean() == pytest.approx(0.8, abs=0.01)
    unseen = answers(10_000, 1)
    inside = covered(interval, unseen)
    assert inside.mean() == pytest.approx(0.8, abs=0.01)
    for low, high in ((0, 20), (20, 50), (50, 90)):  # everywhere, not on average alone
        assert inside[(low <= unseen[0]) & (unseen[0] < high)].mean() == pytest.approx(0.8, abs=0.03)


def test_intervals_follow_the_share_that_is_asked_for() -> None:
    made = answers(1500, 2)
    interval = age_interval(*made, "deviation", coverage=0.6)
    assert interval.coverage == 0.6
    assert covered(interval, made).mean() == pytest.approx(0.6, abs=0.01)


def test_bounds_count_as_inside() -> None:
    error = np.repeat([-2.0, -1, 0, 1, 2], [20, 40, 80, 40, 20])
    years = np.full(200, 30.0)
    interval = age_interval(years, np.ones(200), years + error, "years")
    assert bounds(30, 1, interval) == (29, 31)  # with its bounds this holds 160 of 200, without them 80


def test_bands_have_enough_faces_and_reach_over_all_ages() -> None:
    random = np.random.default_rng(3)
    years = np.concatenate([random.uniform(20, 30, 200), random.uniform(30, 40, LEAST - 1), random.uniform(60, 70, 100)])
    interval = age_interval(years, np.ones(len(years)), np.rint(years), "years")
    edges = [band.below for band in interval.bands]
    assert edges == [30.0, 1e6]  # 30 to 40 is too small and joins the last; the last serves what lies above
    assert BANDS[3] == 30


def test_fit_puts_all_together_from_answers_of_four_digits() -> None:
    random = np.random.default_rng(4)
    made = answers(1500, 5)
    gender_logits, race_logits = random.normal(0, 6, (1500, 2)), random.normal(0, 4, (1500, 5))
    calibration = fit(
        *made,
        np.round(probabilities(gender_logits)[:, 1], 4),
        labels(gender_logits / 2, 6),
        np.round(probabilities(race_logits), 4),
        labels(race_logits / 1.5, 7),
    )
    assert calibration.gender_temperature == pytest.approx(2, rel=0.15)
    assert calibration.race_temperature == pytest.approx(1.5, rel=0.15)
    assert calibration.age_interval is not None
    assert calibration.age_interval.unit == "deviation"


def test_no_faces_no_calibration() -> None:
    nothing = np.zeros(0)
    with pytest.raises(ValueError, match="needs faces"):
        fit(nothing, nothing, nothing, nothing, nothing.astype(np.int64), np.zeros((0, 5)), nothing.astype(np.int64))
