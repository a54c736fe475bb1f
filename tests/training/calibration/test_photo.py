"""Calibration: temperatures and intervals that give back what made-up answers were made with."""

from __future__ import annotations

import numpy as np
import pytest

from service.arrays import Doubles, Ints
from service.inference.attributes import bounds
from service.models.manifest import AgeInterval, AttributeCalibration
from training.calibration.intervals import BANDS, FLOOR, MARGIN, MIN_FACES, age_interval, intervals
from training.calibration.photo import fit as fit_predictions
from training.calibration.photo import fit_expectation, fit_labels, temperature
from training.datasets.base import RACES
from training.errors import CalibrationError
from training.evaluation.predictions import AttributeSpec, ExpectationPredictions, LabelPredictions, Predictions
from training.recipe import ATTRIBUTES, Attribute

Made = tuple[Doubles, Doubles, Doubles]
GENDER = AttributeSpec(name="gender", kind="labels", labels=("male", "female"))
RACE = AttributeSpec(name="race", kind="labels", labels=RACES)
RECIPE = {one.name: one.selective_accuracy for one in ATTRIBUTES}


def answers(count: int, seed: int) -> Made:
    """Predicted ages, deviations that the network claims, and true ages, which lie 1.6 times as far as it claims."""
    random = np.random.default_rng(seed)
    years = random.uniform(1, 90, count)
    spread = (1 + 0.08 * years) * random.uniform(0.7, 1.5, count)
    return years, spread, np.maximum(0, np.rint(random.normal(years, 1.6 * spread)))


def fit(
    years: Doubles, spread: Doubles | None, age: Doubles, female: Doubles, gender: Ints, races: Doubles, race: Ints
) -> dict[str, AttributeCalibration]:
    """Calibrations of age, gender and race."""
    fitted = {
        "age": fit_expectation(years, spread, age),
        "gender": fit_labels(GENDER, np.stack([1 - female, female], axis=1), gender, RECIPE["gender"], years),
        "race": fit_labels(RACE, races, race, RECIPE["race"], years),
    }
    return {name: one for name, one in fitted.items() if one is not None}


def covered(interval: AgeInterval, made: Made) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    low, high = intervals(made[0], made[1], interval)
    return np.asarray((low <= made[2]) & (made[2] <= high))


def probabilities(logits: Doubles) -> Doubles:
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def labels(logits: Doubles, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A label for each row, drawn by the probabilities of these logits."""
    noise = np.random.default_rng(seed).gumbel(size=logits.shape)
    return np.argmax(logits + noise, axis=1)


@pytest.mark.parametrize("true", [0.6, 1.0, 2.2])
def test_temperature_is_recovered(true: float) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (20_000, 5))
    assert temperature(probabilities(logits), labels(logits / true, 1)) == pytest.approx(true, rel=0.05)


def test_many_intervals_are_those_that_the_service_answers() -> None:
    years, spread, _ = made = answers(2000, 12)
    years[:4] = 30.0, 25.0, 4.0, 100.0  # edges of bands, and whole years
    interval = age_interval(*made, "deviation")
    expected = [bounds(*one, interval) for one in zip(years, spread, strict=True)]
    np.testing.assert_array_equal(np.stack(intervals(years, spread, interval), axis=1), expected)


@pytest.mark.parametrize("margin", [0.0, MARGIN, 0.1])
def test_intervals_hold_eighty_per_cent_and_the_margin(margin: float) -> None:
    made = answers(3000, 0)
    interval = age_interval(*made, "deviation", margin=margin)
    assert (interval.coverage, interval.unit) == (0.8, "deviation")
    assert covered(interval, made).mean() == pytest.approx(0.8 + margin, abs=0.01)
    assert covered(interval, answers(10_000, 1)).mean() == pytest.approx(0.8 + margin, abs=0.015)


def test_a_small_set_counts_as_much_as_a_large_one() -> None:
    """The small set's people look ten years older than they are: the pooled faces' intervals miss most of them."""
    years, spread, age = answers(4000, 0)
    small = np.arange(4000) < 400
    made = years, spread, np.maximum(0, np.where(small, age - 10, age))
    pooled, by_set = (age_interval(*made, "deviation", sets) for sets in (None, small.astype(np.int64)))
    held = {one: covered(one, made) for one in (pooled, by_set)}
    assert held[pooled].mean() == pytest.approx(0.8 + MARGIN, abs=0.01)
    assert held[pooled][small].mean() < 0.75
    assert held[by_set][small].mean() >= 0.8 - FLOOR - 0.02
    assert np.mean([held[by_set][small].mean(), held[by_set][~small].mean()]) == pytest.approx(0.8 + MARGIN, abs=0.01)


def test_intervals_miss_no_band_of_true_age() -> None:
    """A tenth of the faces are half as old as the network says: the ordinary quantiles, which never ask, would miss them."""
    random = np.random.default_rng(8)
    years = random.uniform(22, 30, 3000)
    age = np.where(np.arange(3000) % 10 == 0, np.rint(years / 2), np.rint(random.normal(years, 2)))
    made = years, np.full(3000, 3.0), age
    inside = covered(age_interval(*made, "deviation"), made)
    assert 0.78 < inside.mean() < 0.9  # whoever holds the young one holds many others
    young = age < 20
    assert inside[young].mean() >= 0.8 - FLOOR - 0.05
    low, high = np.quantile((age - years) / 3, [0.1, 0.9])
    plain = (years + 3 * low <= age) & (age <= years + 3 * high)
    assert plain[young].mean() < 0.4


def test_intervals_are_no_wider_than_quantiles_where_nobody_is_missed() -> None:
    years, spread, age = made = answers(3000, 9)
    lowest, highest = intervals(years, spread, age_interval(*made, "deviation", margin=0))
    low, high = np.quantile((age - years) / spread, [0.1, 0.9])
    assert (highest - lowest).mean() < 1.05 * ((high - low) * spread).mean()


def test_intervals_hardly_depend_on_which_faces_were_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight draws of 1,000 faces: the ends of a band differ less than those that are the shortest for one draw each."""

    def spread_of_ends() -> float:
        drawn = [age_interval(*answers(1000, seed), "deviation").bands for seed in range(8)]
        ends = [[(one.low, one.high) for one in bands if one.below in (40.0, 50.0, 60.0)] for bands in drawn]
        return float(np.std(ends, axis=0).mean())

    averaged = spread_of_ends()
    monkeypatch.setattr("training.calibration.intervals._samples", lambda origin: iter([np.arange(len(origin))]))
    assert averaged < 0.8 * spread_of_ends()


def test_intervals_follow_the_share_that_is_asked_for() -> None:
    made = answers(1500, 2)
    interval = age_interval(*made, "deviation", coverage=0.6)
    assert interval.coverage == 0.6
    assert covered(interval, made).mean() == pytest.approx(0.6 + MARGIN, abs=0.01)


def test_bounds_count_as_inside() -> None:
    error = np.repeat([-2.0, -1, 0, 1, 2], [20, 40, 80, 40, 20])
    years = np.full(200, 35.0)
    interval = age_interval(years, np.ones(200), years + error, "years", margin=0)
    assert bounds(35, 1, interval) == (34, 36)  # with its bounds this holds 160 of 200, without them 80


def test_bands_have_enough_faces_and_reach_over_all_ages() -> None:
    random = np.random.default_rng(3)
    years = np.concatenate([random.uniform(25, 30, 200), random.uniform(30, 40, MIN_FACES - 1), random.uniform(60, 70, 100)])
    interval = age_interval(years, np.ones(len(years)), np.rint(years), "years")
    edges = [band.below for band in interval.bands]
    assert edges == [30.0, 1e6]  # 30 to 40 is too small and joins the last; the last serves what lies above
    assert BANDS[5] == 30


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
    assert calibration["gender"].temperature == pytest.approx(2, rel=0.15)
    assert calibration["race"].temperature == pytest.approx(1.5, rel=0.15)
    assert 0.5 < calibration["gender"].threshold < 1
    assert 0.2 < calibration["race"].threshold < 1
    assert calibration["age"].interval is not None
    assert calibration["age"].interval.unit == "deviation"


def test_a_recipe_declares_how_often_labels_that_are_not_marked_are_right() -> None:
    """Of glasses, which no line of code names, as of gender."""
    random = np.random.default_rng(6)
    logits = random.normal(0, 1.5, (4000, 2))
    glasses = LabelPredictions(("no", "yes"), labels(logits, 8), probabilities(logits))
    given = [Predictions(np.ones(4000, np.bool_), labels={"glasses": glasses})]
    declared = Attribute.model_validate(
        {"name": "glasses", "labels": ["no", "yes"], "selective_accuracy": {"overall": 0.85, "group": 0.8}}
    )
    bold, default = (
        fit_predictions(given, accuracies)["glasses"] for accuracies in ({"glasses": declared.selective_accuracy}, None)
    )
    assert bold.threshold < default.threshold
    confidence, right = glasses.probabilities.max(axis=1), glasses.right(given[0].found)
    assert right[confidence >= bold.threshold].mean() == pytest.approx(0.85, abs=0.01)
    assert right[confidence >= default.threshold].mean() == pytest.approx(0.95, abs=0.01)
    assert set(bold.thresholds.labels) == {"no", "yes"}
    assert all(bold.thresholds.labels[name] < default.thresholds.labels[name] for name in ("no", "yes"))


def test_a_set_whose_labels_are_wrong_more_often_raises_the_threshold_of_its_bands() -> None:
    random = np.random.default_rng(7)
    logits = random.normal(0, 2, (2000, 2))
    right = labels(logits, 9)
    names = ("no", "yes")

    def part(rows: slice, shown: Ints) -> Predictions:
        years = np.full(len(shown), 5.0)
        ages = ExpectationPredictions(years, years, years, years)
        glasses = LabelPredictions(names, shown, probabilities(logits[rows]))
        return Predictions(np.ones(len(shown), np.bool_), {"age": ages}, {"glasses": glasses})

    easy, hard = slice(0, 1900), slice(1900, 2000)
    sure = np.argmax(logits[easy], axis=1)
    together = part(slice(0, 2000), np.concatenate([sure, right[hard]]))
    apart = [part(easy, sure), part(hard, right[hard])]
    one, two = (fit_predictions(parts)["glasses"].thresholds.bands[0].threshold for parts in ([together], apart))
    assert two > one


def test_sets_may_know_other_labels_of_what_the_model_does_not_predict() -> None:
    random = np.random.default_rng(8)

    def part(*places: str) -> Predictions:
        logits = random.normal(0, 2, (200, 2))
        glasses = LabelPredictions(("no", "yes"), labels(logits, 9), probabilities(logits))
        place = LabelPredictions(places, random.integers(0, len(places), 200), np.full((200, len(places)), np.nan))
        return Predictions(np.ones(200, np.bool_), {}, {"glasses": glasses, "place": place})

    assert set(fit_predictions([part("here", "there"), part("here", "elsewhere", "nowhere")])) == {"glasses"}


def test_no_faces_no_calibration() -> None:
    with pytest.raises(CalibrationError, match="needs faces"):
        fit_predictions([Predictions(np.zeros(3, np.bool_))])


def test_no_labels_of_what_is_predicted_no_calibration() -> None:
    hat = LabelPredictions(("no", "yes"), np.full(9, -1), np.full((9, 2), 0.5))
    place = LabelPredictions(("here", "there"), np.arange(9) % 2, np.full((9, 2), np.nan))
    with pytest.raises(CalibrationError, match="needs labels"):
        fit_predictions([Predictions(np.ones(9, np.bool_), {}, {"hat": hat, "place": place})])


def test_what_a_network_lacks_or_nobody_labelled_is_not_calibrated() -> None:
    years, spread, age = answers(500, 3)
    nothing = np.full(500, np.nan)
    unlabelled = np.full(500, -1)
    female = np.random.default_rng(4).uniform(0.01, 0.99, 500)
    gender = (np.random.default_rng(5).uniform(size=500) < female).astype(np.int64)
    races = np.full((500, 5), 0.2)
    ages_alone = fit(years, None, age, nothing, gender, np.full((500, 5), np.nan), unlabelled)
    assert set(ages_alone) == {"age"}
    assert ages_alone["age"].interval is not None
    assert ages_alone["age"].interval.unit == "years"
    genders_alone = fit(nothing, None, age, female, gender, races, unlabelled)
    assert set(genders_alone) == {"gender"}
    assert genders_alone["gender"].temperature != 1
    strangers = np.where(np.arange(500) % 2, np.nan, age)
    half = fit(years[::2], None, age[::2], nothing[::2], gender[::2], races[::2], unlabelled[::2])
    assert fit(years, None, strangers, nothing, gender, races, unlabelled)["age"] == half["age"]
    assert "age" not in fit(years, None, nothing, female, gender, races, unlabelled)
    both = fit(years, spread, age, female, gender, races, unlabelled)
    assert both["age"].interval is not None
    assert both["age"].interval.unit == "deviation"


def test_intervals_in_years_hold_eighty_per_cent() -> None:
    years, _, age = answers(3000, 0)
    nobody, nothing = np.zeros(3000, np.int64), np.full(3000, np.nan)
    interval = fit(years, None, age, nothing, nobody, np.full((3000, 5), np.nan), nobody)["age"].interval
    assert interval is not None
    assert covered(interval, (years, np.ones(3000), age)).mean() == pytest.approx(0.8 + MARGIN, abs=0.01)
