"""Thresholds of uncertain labels: the least under which what is not marked is right often enough, of every label and age."""

from __future__ import annotations

import numpy as np
import pytest

from service.arrays import Bools, Doubles, Ints
from service.inference.attributes import thresholds
from service.models.manifest import Attribute, AttributeCalibration, LabelThresholds
from training.calibration.thresholds import BANDS, MIN_FACES, fit_thresholds, joined, threshold

NAMES = ("round", "square")
Made = tuple[Doubles, Ints, Bools, Doubles]


def answers(count: int, seed: int) -> Made:
    """Confidence, label, whether it is right, and predicted age.

    A label is right as often as it says, but for those below 10 years, whose doubts are three times as large, and for the
    second label, whose doubts are twice as large.
    """
    random = np.random.default_rng(seed)
    confidence, label, years = random.uniform(0.5, 1, count), random.integers(0, 2, count), random.uniform(0, 80, count)
    doubt = (1 - confidence) * np.where(years < 10, 3, np.where(label == 1, 2, 1))
    return confidence, label, random.uniform(size=count) > doubt, years


def certain(made: Made, fitted: LabelThresholds) -> Bools:
    """Which answers the service would not mark, with these thresholds alone."""
    attribute = Attribute(
        name="shape",
        kind="labels",
        labels=NAMES,
        outputs=("shape",),
        calibration=AttributeCalibration(thresholds=fitted),
    )
    confidence, label, _, years = made
    least = [thresholds(attribute, age)[NAMES[number]] for age, number in zip(years, label, strict=True)]
    return np.asarray(confidence >= np.array(least))


@pytest.mark.parametrize("accuracy", [0.9, 0.97])
def test_the_threshold_is_the_least_that_gives_the_accuracy(accuracy: float) -> None:
    confidence, _, right, _ = answers(5000, 0)
    least = threshold(confidence, right, accuracy)
    assert right[confidence >= least].mean() >= accuracy
    assert right[confidence >= least - 0.01].mean() < accuracy


def test_answers_that_are_always_or_never_right_have_no_threshold_or_all() -> None:
    confidence = np.array([0.7, 0.8])
    assert threshold(confidence, np.array([True, True]), 0.97) == 0
    assert threshold(confidence, np.array([False, False]), 0.97) == 1


def test_a_few_right_answers_are_not_enough_where_there_is_doubt() -> None:
    confidence, right = np.full(3, 0.9), np.ones(3, np.bool_)
    assert threshold(confidence, right, 0.9) == 0
    assert threshold(confidence, right, 0.9, standard_errors=1) == 1
    assert threshold(np.full(30, 0.9), np.ones(30, np.bool_), 0.9, standard_errors=1) == 0


def test_every_label_and_band_of_unseen_faces_reaches_the_accuracy() -> None:
    made, unseen = answers(6000, 1), answers(30_000, 2)
    fitted = fit_thresholds(*made, NAMES, 0.9)
    sure = certain(unseen, fitted)
    _, label, right, years = unseen
    groups = [label == 0, label == 1, *[(years >= low) & (years < low + 10) for low in range(0, 80, 10)]]
    for group in groups:
        assert right[group & sure].mean() >= 0.87
    assert right[years < 10].mean() < 0.6
    assert 0.02 < sure[years < 10].mean() < 0.3
    assert sure[(years >= 10) & (label == 0)].mean() > 0.2


def test_the_children_of_a_small_set_reach_the_accuracy_among_those_of_a_large_one() -> None:
    """The large set's are always right; a tenth of the children are another's, whose answers are wrong as often as before."""
    children, many = (60, 600)
    confidence, label, right, _ = answers(children + many, 5)
    sets = np.repeat([0, 1], [children, many])
    made = confidence, label, right | (sets == 1), np.full(children + many, 5.0)
    pooled, by_set = (fit_thresholds(*made, NAMES, 0.9, known) for known in (None, sets))
    held = [made[2][(sets == 0) & certain(made, one)].mean() for one in (pooled, by_set)]
    assert held[0] < 0.9 <= held[1]


def test_thresholds_are_those_of_the_doubts_that_the_answers_were_made_with() -> None:
    """Above a confidence c a label is wrong (1 - c) / 2 times its doubt."""
    fitted = fit_thresholds(*answers(20_000, 1), NAMES, 0.9)
    assert fitted.bands[0].threshold == pytest.approx(0.93, abs=0.03)
    assert [band.threshold for band in fitted.bands[1:]] == pytest.approx([0.87] * 7, abs=0.05)  # half are of each label
    assert fitted.labels == pytest.approx({"square": 0.9}, abs=0.03)  # the others are certain enough by their bands


def test_without_ages_there_are_thresholds_of_labels_alone() -> None:
    confidence, label, right, _ = answers(4000, 3)
    fitted = fit_thresholds(confidence, label, right, None, NAMES, 0.9)
    assert fitted.bands == ()
    assert fitted.labels["square"] > fitted.labels.get("round", 0)


def test_a_rare_label_has_no_threshold_of_its_own() -> None:
    confidence, label, right, years = answers(3000, 4)
    rare = np.where(np.arange(3000) < MIN_FACES - 1, 2, label)
    fitted = fit_thresholds(confidence, rare, right & (rare != 2), years, (*NAMES, "star"), 0.9)
    assert "star" not in fitted.labels


def test_bands_have_enough_faces_and_reach_over_all_ages() -> None:
    years = np.concatenate([np.full(100, 5.0), np.full(MIN_FACES - 1, 15.0), np.full(100, 25.0), np.full(10, 85.0)])
    assert joined(years, BANDS, MIN_FACES) == [10.0, float("inf")]
    assert joined(years[:3], BANDS, MIN_FACES) == [float("inf")]
