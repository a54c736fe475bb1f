"""The probability of being at least so old: the distribution's own tail, calibrated, never higher for a higher age."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.errors import InvalidParameter
from service.inference.at_least import AGES, HIGHEST, LOWEST, MOST, at_least, parse_ages
from service.inference.attributes import describe
from service.models.manifest import AtLeastCalibration
from tests.fakes import attributes, manifest

AS_IT_IS = AtLeastCalibration()
EIGHTEEN = AtLeastCalibration(slope=1.2, ages=(10, 18, 30), offsets=(0.0, -0.5, 0.0))

distributions = st.lists(st.floats(0, 1), min_size=40, max_size=101).filter(lambda values: sum(values) > 0.01)


def shares(values: list[float]) -> Any:
    return (np.array(values) / sum(values)).astype(np.float32)


@given(distributions)
def test_uncalibrated_it_is_the_share_of_the_distribution_from_that_age_on(values: list[float]) -> None:
    given_ = shares(values)
    for age, chance in at_least(given_, (1, 18, 39, 99), AS_IT_IS).items():
        assert chance == pytest.approx(np.clip(given_[age:].sum(), 1e-4, 1 - 1e-4), abs=1e-5)


@given(distributions, st.floats(0.2, 5), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_it_never_rises_with_the_age_however_it_is_calibrated(values: list[float], slope: float, offsets: list[float]) -> None:
    calibration = AtLeastCalibration(slope=slope, ages=(13, 18, 25), offsets=tuple(offsets))
    chances = list(at_least(shares(values), AGES, calibration).values())
    assert len(chances) == HIGHEST - LOWEST + 1
    assert all(0 < chance < 1 for chance in chances)
    assert (np.diff(chances) <= 0).all()


def test_slope_and_offset_act_on_the_logarithm_of_the_odds() -> None:
    even = np.zeros(101, np.float32)
    even[[10, 40]] = 0.25, 0.75
    (chance,) = at_least(even, (18,), EIGHTEEN).values()
    assert np.log(chance / (1 - chance)) == pytest.approx(1.2 * np.log(3) - 0.5, abs=1e-5)
    between = at_least(even, (14,), EIGHTEEN)[14]  # halfway between an offset of nothing and one of a half
    assert np.log(between / (1 - between)) == pytest.approx(1.2 * np.log(3) - 0.25, abs=1e-5)


def test_a_calibration_has_an_offset_for_each_of_its_rising_ages() -> None:
    for ages, offsets in (((18, 21), (0.0,)), ((21, 18), (0.0, 0.0)), ((18, 18), (0.0, 0.0)), ((), ())):
        with pytest.raises(ValidationError):
            AtLeastCalibration(ages=ages, offsets=offsets)


def test_a_manifest_may_bring_it() -> None:
    declared = attributes()
    declared[0]["calibration"] = declared[0].get("calibration", {}) | {"at_least": EIGHTEEN.model_dump(mode="json")}
    distribution = shares([1.0] * 101)
    outputs: dict[str, Any] = {"age": np.float32(50), "age_distribution": distribution}
    age = describe(outputs, manifest(attributes=declared), ("age",), (18, 21))["age"]
    assert age.at_least == at_least(distribution, (18, 21), EIGHTEEN)
    assert describe(outputs, manifest(attributes=declared), ("age",))["age"].at_least is None


# What a client writes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ages"),
    [
        (None, ()),
        ("", ()),
        ("18", (18,)),
        (" 21, 18 ,", (18, 21)),
        ("18,18", (18,)),
        ("1,99", (1, 99)),
        ([25, 18], (18, 25)),
        (list(range(1, MOST + 1)) * 2, tuple(range(1, MOST + 1))),
    ],
)
def test_ages_are_read(text: str | list[int] | None, ages: tuple[int, ...]) -> None:
    assert parse_ages(text) == ages


@pytest.mark.parametrize(
    "text", ["0", "100", "-1", "18.5", "adult", "18;21", "٣", "9" * 5000, [0], [100], [-1], "1,2,3,4,5,6,7,8,9"]
)
def test_what_is_no_age_is_refused(text: str | list[int]) -> None:
    with pytest.raises(InvalidParameter, match=r"^at_least: "):
        parse_ages(text)
