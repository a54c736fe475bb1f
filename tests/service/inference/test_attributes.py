"""Raw outputs to what is said of a face: names in their places, calibrated probabilities, intervals that hold the age."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.attributes import (
    CONTRACT,
    Attributes,
    Expectation,
    aged,
    bounds,
    decade,
    describe,
    deviation,
    thresholds,
)
from service.inference.probabilities import temperature_scaled
from service.models.manifest import AgeInterval, IntervalBand, Manifest
from tests.fakes import BMI, RACES, attributes, manifest


def outputs(
    age: float = 30.0, female: float = 0.5, race: tuple[float, ...] = (0.2,) * 5, spread: float = 4.0
) -> dict[str, Any]:
    """One face's outputs as a batch of one gives them."""
    powers = np.exp(-0.5 * np.square((np.arange(101) - age) / spread))
    return {
        "age": np.float32(age),
        "age_distribution": (powers / powers.sum()).astype(np.float32),
        "gender": np.float32(female),
        "race": np.array(race, np.float32),
    }


def person(given_: dict[str, Any], described: Manifest | None = None, wanted: tuple[str, ...] = CONTRACT) -> Attributes:
    return describe(given_, described or manifest(), wanted)


# Names ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("female", "label"), [(0.97, "female"), (0.51, "female"), (0.49, "male"), (0.02, "male")])
def test_gender_is_the_probability_of_female(female: float, label: str) -> None:
    gender = person(outputs(female=female))["gender"]
    assert gender.label == label
    assert gender.probabilities["female"] == pytest.approx(female, abs=1e-6)
    assert gender.probabilities["male"] == pytest.approx(1 - female, abs=1e-6)
    assert gender.confidence == pytest.approx(max(female, 1 - female), abs=1e-6)


@pytest.mark.parametrize(("index", "name"), list(enumerate(RACES)))
def test_races_come_in_the_order_of_the_contract(index: int, name: str) -> None:
    values = [0.05, 0.06, 0.07, 0.08, 0.09]
    values[index] = 0.7
    race = person(outputs(race=tuple(values)))["race"]
    assert race.label == name
    for place, other in enumerate(RACES):
        assert race.probabilities[other] == pytest.approx(values[place] / sum(values), abs=1e-6)
    assert race.confidence == race.probabilities[name]


def test_a_model_may_name_its_races_in_its_own_order() -> None:
    race = person(outputs(race=(0.6, 0.1, 0.1, 0.1, 0.1)), manifest(attributes=attributes(tuple(reversed(RACES)))))["race"]
    assert race.label == "other"


# What is there and what is not ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [(), ("age",), ("gender",), ("race",), ("race", "age"), CONTRACT])
def test_what_is_not_asked_for_is_not_told(wanted: tuple[str, ...]) -> None:
    told = person(outputs(), wanted=wanted)
    assert set(told) == set(wanted)


@pytest.mark.parametrize("missing", [("age", "age_distribution"), ("gender",), ("race",), ("age", "age_distribution", "race")])
def test_what_a_model_lacks_is_not_told(missing: tuple[str, ...]) -> None:
    told = person({name: value for name, value in outputs().items() if name not in missing})
    assert set(told) == set(CONTRACT) - set(missing)


def test_an_age_without_a_distribution_has_no_interval_where_it_needs_one() -> None:
    age = person({"age": np.float32(33)})["age"]
    assert (age.value, age.low, age.high, age.coverage, age.distribution) == (33, None, None, None, None)


def test_an_age_without_calibration_has_no_interval() -> None:
    age = person(outputs(age=33), manifest(attributes=attributes(age={})))["age"]
    assert (age.low, age.high, age.coverage) == (None, None, None)
    assert age.distribution is not None


@pytest.mark.parametrize(
    ("years", "words"), [(32.5, "33"), (33.5, "34"), (32.46, "33"), (32.44, "32"), (0.49, "1"), (0.2, "0"), (100.0, "100")]
)
def test_an_age_in_words_is_the_answer_s_in_whole_years(years: float, words: str) -> None:
    """Halves go upwards, as the page's do: 32.46 is answered as 32.5, and 33 stands beside the face everywhere."""
    assert str(Expectation(years)) == words
    assert aged(years, 27, 41) == f"{words} (27-41)"


@pytest.mark.parametrize(
    ("years", "label"),
    [(-3, "0-9"), (0, "0-9"), (9.9, "0-9"), (10, "10-19"), (39.99, "30-39"), (89.9, "80-89"), (90, "90+"), (130, "90+")],
)
def test_ages_are_counted_by_decade(years: float, label: str) -> None:
    assert decade(years) == label


def test_an_interval_in_years_needs_no_distribution() -> None:
    interval = {
        "coverage": 0.9,
        "unit": "years",
        "bands": [{"below": 20, "low": -2, "high": 3}, {"below": 99, "low": -8, "high": 6}],
    }
    described = manifest(attributes=attributes(age={"interval": interval}))
    young, old = (person({"age": np.float32(years)}, described)["age"] for years in (10, 40))
    assert (young.low, young.high, young.coverage) == (8, 13, 0.9)
    assert (old.low, old.high) == (32, 46)


def test_an_interval_by_deviation_grows_with_it() -> None:
    narrow, wide = (person(outputs(age=40, spread=spread))["age"] for spread in (2, 8))
    assert (narrow.low, narrow.high) == (37, 43)  # 40 -/+ 1.3 * 2
    assert (wide.low, wide.high) == (30, 50)
    assert narrow.coverage == 0.8


@pytest.mark.parametrize(("age", "bmi"), [(-0.3, 9.7), (-4.0, 60.0), (30.0, 50.2), (-0.0, 10.0)])
def test_what_lies_outside_its_range_is_answered_as_the_nearest_end(age: float, bmi: float) -> None:
    """Where arithmetic is rounded, or a network has no last step that bounds it: an interval still holds its value."""
    given_ = outputs(age) | {"bmi": np.float32(bmi), "bmi_distribution": outputs(50)["age_distribution"]}
    told = person(given_, manifest(attributes=[*attributes(), BMI]), ("age", "bmi"))
    assert (told["age"].value, told["bmi"].value) == (max(0.0, age), min(max(bmi, 10.0), 50.0))
    for one in told.values():
        assert isinstance(one, Expectation)
        assert one.scale.at(0) <= one.low <= one.value <= one.high


def test_a_range_of_0_to_100_years_ends_as_any_other() -> None:
    """The age alone has no end, whose scale is else the same."""
    steps = {"coverage": 0.8, "unit": "steps", "bands": [{"below": 200, "low": -8, "high": 8}]}
    span = {"name": "span", "kind": "expectation", "range": [0, 100], "unit": "years", "outputs": ["span"]}
    described = manifest(attributes=[*attributes(), span | {"calibration": {"interval": steps}}])
    for value, low in ((96.2, 88), (104, 92)):
        told = person(outputs(104) | {"span": np.float32(value)}, described, ("age", "span"))
        assert told["span"].value == pytest.approx(min(value, 100))
        assert (told["span"].low, told["span"].high) == (low, 100)
        assert (told["span"].group, told["age"].value) == ("90 to 100", 104)


# Calibration ------------------------------------------------------------------------------------------------------------


def test_a_temperature_of_one_changes_nothing() -> None:
    values = np.array([0.5, 0.3, 0.1, 0.07, 0.03])
    assert temperature_scaled(values, 1) == pytest.approx(values)


def test_a_temperature_divides_the_logits() -> None:
    logits = np.array([2.0, -1.0, 0.5, 0.0, 0.3])
    softmax = np.exp(logits) / np.exp(logits).sum()
    for temperature in (0.5, 1.7, 4.0):
        expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        assert temperature_scaled(softmax, temperature) == pytest.approx(expected)


def test_temperatures_are_those_of_their_outputs() -> None:
    described = manifest(attributes=attributes(gender={"temperature": 2.0}, race={"temperature": 0.5}))
    told = person(outputs(female=0.9, race=(0.5, 0.2, 0.1, 0.1, 0.1)), described)
    odds = math.sqrt(9)  # half the logit of 0.9
    assert told["gender"].probabilities["female"] == pytest.approx(odds / (1 + odds), abs=1e-5)
    assert told["race"].probabilities["white"] == pytest.approx(0.25 / (0.25 + 0.04 + 3 * 0.01), abs=1e-5)


@given(
    values=st.lists(st.floats(0, 1), min_size=2, max_size=5).filter(lambda values: sum(values) > 0.01),
    temperature=st.floats(0.05, 20),
)
def test_tempered_probabilities_stay_probabilities_in_their_order(values: list[float], temperature: float) -> None:
    before = np.array(values) / sum(values)
    after = temperature_scaled(before, temperature)
    assert after.sum() == pytest.approx(1)
    assert (after >= 0).all()
    assert after[before.argmax()] == pytest.approx(after.max())


def test_certainty_survives() -> None:
    assert temperature_scaled([1.0, 0.0], 1.5) == pytest.approx([1, 0], abs=1e-5)
    assert temperature_scaled([0.0, 1.0], 0.3) == pytest.approx([0, 1], abs=1e-5)


def test_the_deviation_is_that_of_the_distribution() -> None:
    even = np.zeros(101, np.float32)
    even[[20, 30]] = 0.5
    assert deviation(even) == pytest.approx(5)
    sure = np.zeros(101, np.float32)
    sure[77] = 1
    assert deviation(sure) == pytest.approx(0, abs=1e-3)


@given(
    years=st.floats(0, 116),
    spread=st.floats(0, 40),
    low=st.floats(-6, 2),
    high=st.floats(-2, 6),
)
def test_bounds_always_hold_the_age(years: float, spread: float, low: float, high: float) -> None:
    interval = AgeInterval(coverage=0.8, unit="deviation", bands=(IntervalBand(below=1000, low=low, high=high),))
    lower, upper = bounds(years, spread, interval)
    assert isinstance(lower, int)
    assert isinstance(upper, int)
    assert 0 <= lower <= years <= upper
    if low <= 0 <= high:
        assert lower <= max(0, years + low * spread) + 0.5
        assert upper >= years + high * spread - 0.5
        assert lower >= min(math.floor(years), years + low * spread - 0.5)
        assert upper <= max(math.ceil(years), years + high * spread + 0.5)


@pytest.mark.parametrize(
    ("years", "expected"), [(5, (4, 6)), (9.9, (9, 11)), (10, (8, 12)), (39, (37, 41)), (40, (36, 44)), (90, (86, 94))]
)
def test_the_band_is_that_of_the_predicted_age(years: float, expected: tuple[int, int]) -> None:
    bands = tuple(IntervalBand(below=below, low=-by, high=by) for below, by in ((10, 1), (40, 2), (60, 4)))
    assert bounds(years, 1.0, AgeInterval(coverage=0.8, unit="years", bands=bands)) == expected


# Uncertain -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("female", "uncertain"), [(0.79, True), (0.81, False), (0.21, True), (0.19, False), (0.5, True)])
def test_a_label_below_its_threshold_is_uncertain(female: float, uncertain: bool) -> None:
    gender = person(outputs(female=female), manifest(attributes=attributes(gender={"threshold": 0.8})))["gender"]
    assert gender.uncertain is uncertain


def test_thresholds_are_those_of_calibrated_probabilities_each_of_its_attribute() -> None:
    given_ = outputs(female=0.9, race=(0.6, 0.1, 0.1, 0.1, 0.1))
    declared = attributes(gender={"temperature": 3.0, "threshold": 0.8}, race={"threshold": 0.5})
    said = person(given_, manifest(attributes=declared))
    assert said["gender"].confidence < 0.8
    assert (said["gender"].uncertain, said["race"].uncertain) == (True, False)


def test_without_thresholds_nothing_is_uncertain() -> None:
    said = person(outputs())
    assert not said["race"].uncertain


@pytest.mark.parametrize(
    ("years", "race", "uncertain"),
    [
        (5, (0.8, 0.1, 0.0, 0.0, 0.1), True),  # below a child's
        (5, (0.96, 0.0, 0.0, 0.0, 0.04), False),
        (40, (0.8, 0.1, 0.0, 0.0, 0.1), False),
        (90, (0.8, 0.1, 0.0, 0.0, 0.1), False),  # the last band serves what lies above
        (40, (0.1, 0.1, 0.0, 0.0, 0.8), True),  # a label that is seldom right
        (40, (0.4, 0.3, 0.1, 0.1, 0.1), True),  # what all share
    ],
)
def test_a_threshold_goes_by_the_predicted_age_and_by_the_label(years: float, race: tuple[float, ...], uncertain: bool) -> None:
    bands = [{"below": 10.0, "threshold": 0.95}, {"below": 60.0, "threshold": 0.3}]
    declared = attributes(race={"threshold": 0.5, "thresholds": {"labels": {"other": 0.9}, "bands": bands}})
    described = manifest(attributes=declared)
    said = person(outputs(age=years, race=race), described)["race"]
    assert said.uncertain is uncertain
    alone = describe(outputs(age=years, race=race), described, ["race"])["race"]
    assert alone == said  # the age need not be asked for


def test_without_an_age_the_label_s_own_threshold_and_the_common_one_hold() -> None:
    fitted = {"threshold": 0.5, "thresholds": {"labels": {"other": 0.9}, "bands": [{"below": 10.0, "threshold": 0.95}]}}
    race = manifest(attributes=attributes(race=fitted)).attribute("race")
    assert race is not None
    assert thresholds(race, None) == {"white": 0.5, "black": 0.5, "asian": 0.5, "indian": 0.5, "other": 0.9}
