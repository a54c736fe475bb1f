"""The probability of being at least so old is fitted: what was made wrong is right again for faces not seen."""

from __future__ import annotations

import numpy as np
import pytest

from service.arrays import Doubles
from service.inference.at_least import calibrated, log_odds
from service.models.manifest import AtLeastCalibration
from training.calibration.at_least import AGES, fit_at_least
from training.evaluation.metrics.labels import expected_calibration_errors

AS_IT_IS = AtLeastCalibration()


def faces(count: int, seed: int, *, shift: float = 0.0, claimed: float = 4.0) -> tuple[Doubles, Doubles]:
    """Distributions [N, 101] of faces whose true ages lie 4 years about them, and those ages; the network shifts and claims."""
    random = np.random.default_rng(seed)
    middle = random.uniform(2, 80, count)
    ages = np.clip(np.rint(random.normal(middle, 4)), 0, 100)
    powers = np.exp(-0.5 * np.square((np.arange(101) - middle[:, np.newaxis] - shift) / claimed))
    return powers / powers.sum(axis=1, keepdims=True), ages


def error(distributions: Doubles, ages: Doubles, age: int, calibration: AtLeastCalibration) -> float:
    reached = ages >= age
    return float(
        expected_calibration_errors(
            calibrated(log_odds(distributions), calibration)[:, age - 1], reached, np.ones((1, len(ages))), equal="width"
        )[0]
    )


def test_what_is_calibrated_stays() -> None:
    fitted = fit_at_least(*faces(3000, 0))
    assert fitted.ages == AGES
    assert fitted.slope == pytest.approx(1, abs=0.1)
    assert np.abs(fitted.offsets).max() < 0.4


@pytest.mark.parametrize(("shift", "claimed"), [(4.0, 4.0), (-3.0, 4.0), (0.0, 1.5), (0.0, 9.0)])
def test_what_is_wrong_by_years_or_too_sure_is_mended_for_others(shift: float, claimed: float) -> None:
    fitted = fit_at_least(*faces(3000, 1, shift=shift, claimed=claimed))
    others = faces(6000, 2, shift=shift, claimed=claimed)
    for age in (18, 21, 25):
        assert error(*others, age, fitted) < 0.02
        assert error(*others, age, fitted) < 0.6 * error(*others, age, AS_IT_IS)


def test_few_faces_move_little() -> None:
    fitted = fit_at_least(*faces(5, 3, shift=4))
    assert max(abs(np.log(fitted.slope)), *np.abs(fitted.offsets)) < 0.6
