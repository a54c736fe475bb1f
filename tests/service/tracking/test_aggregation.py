"""A track's mean: weights by quality, an interval that narrows as far as the frames differ, labels that grow surer."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.inference.attributes import Attributes, Expectation, LabelProbabilities, bounds, deviation
from service.models.manifest import AgeInterval, Manifest, TrackCalibration
from service.tracking.aggregation import Average, impairments, narrowing, weight
from service.vision.quality import Quality
from tests.fakes import GLASSES, INTERVAL, RACES, attributes, manifest

EASY = Quality(size_px=120, sharpness=12, brightness=0.45, roll=0, yaw=0, noise=0.4, contrast=0.2)
TRACK = TrackCalibration(
    correlation=0.6,
    scale=1.0,
    gains={"gender": 1.0, "race": 1.5},
    doublings={"small": 1.0, "blurred": 0.5, "dark": 1.0, "bright": 1.0, "rolled": 0.5, "turned": 2.0, "cut_off": 1.0},
)
MANIFEST = manifest(track=TRACK)


def gaussian(years: float, spread: float = 4.0) -> npt.NDArray[np.float32]:
    values = np.exp(-0.5 * np.square((np.arange(101) - years) / spread))
    return (values / values.sum()).astype(np.float32)


GENDER_THRESHOLDS = {"male": 0.6, "female": 0.8}


def one(years: float = 40.0, female: float = 0.7, **changes: Any) -> Attributes:
    """One frame's answer."""
    distribution = gaussian(years)
    interval = AgeInterval.model_validate(INTERVAL)
    low, high = bounds(years, deviation(distribution), interval)
    given = {
        "age": Expectation(years, low, high, interval.coverage, distribution),
        "gender": LabelProbabilities(
            "female" if female > 0.5 else "male", {"male": 1 - female, "female": female}, GENDER_THRESHOLDS
        ),
        "race": LabelProbabilities(
            "asian", dict(zip(RACES, (0.1, 0.1, 0.5, 0.2, 0.1), strict=True)), dict.fromkeys(RACES, 0.9)
        ),
    }
    return given | changes


def mean(*frames: tuple[Attributes, float], described: Manifest = MANIFEST) -> Attributes:
    average = Average(described)
    for frame, counts in frames:
        average.add(frame, counts)
    return average.attributes()


def test_the_probability_of_an_age_is_the_mean_of_the_frames_log_odds() -> None:
    def frame(*chances: float) -> Attributes:
        return one(age=Expectation(20.0, 15, 25, 0.8, gaussian(20), dict(zip((18, 21), chances, strict=True))))

    chances = mean((frame(0.8, 0.5), 1.0), (frame(0.5, 0.2), 1.0))["age"].at_least
    assert chances == pytest.approx({18: 2 / 3, 21: 1 / 3})
    weighted = mean((frame(0.8, 0.5), 3.0), (frame(0.5, 0.2), 1.0))["age"].at_least
    assert weighted[18] == pytest.approx(1 / (1 + 4**-0.75))
    assert mean((frame(1.0, 0.0), 1.0))["age"].at_least[18] < 1
    assert mean((one(), 1.0))["age"].at_least is None


# Weights ----------------------------------------------------------------------------------------------------------------


def test_an_easy_face_counts_in_full_and_nothing_impairs_it() -> None:
    assert set(impairments(EASY, []).values()) == {0.0}
    assert weight(EASY, [], TRACK) == 1.0


@pytest.mark.parametrize(
    ("changes", "warnings", "expected"),
    [
        ({"size_px": 32}, ["small"], 0.5),  # one octave, one doubling
        ({"size_px": 16}, ["small"], 0.25),
        ({"sharpness": 2}, ["blurred"], 0.5),  # two octaves of half a doubling
        ({"brightness": 0.15}, [], 0.5),
        ({"brightness": 0.9}, ["bright"], 1 / 1.5),
        ({"roll": -45}, [], 2**-0.5),
        ({"yaw": -0.5}, [], 0.5),
        ({}, ["cut_off"], 0.5),
        ({"size_px": 32, "brightness": 0.15}, ["small"], 0.25),
    ],
)
def test_what_is_amiss_divides_the_weight(changes: dict[str, float], warnings: list[str], expected: float) -> None:
    assert weight(replace(EASY, **changes), warnings, TRACK) == pytest.approx(expected)


def test_the_doubts_have_names_that_the_calibration_knows() -> None:
    assert set(TrackCalibration().doublings) == set(impairments(EASY, []))
    assert set(TRACK.doublings) == set(impairments(EASY, []))


@pytest.mark.parametrize("yaw", [1e3, -2e3, 1e6])
def test_eyes_that_coincide_are_no_error(yaw: float) -> None:
    average = Average(MANIFEST)
    average.add(one(30), weight(replace(EASY, yaw=yaw), [], TRACK))
    assert average.frames == pytest.approx(1)
    assert average.attributes()["age"].value == pytest.approx(30)


def test_measures_of_nothing_are_no_error() -> None:
    assert 0 < weight(Quality(size_px=0, sharpness=0, brightness=0, roll=180, yaw=3, noise=9, contrast=0), [], TRACK) < 0.01


# Ages -------------------------------------------------------------------------------------------------------------------


def test_one_frame_is_answered_as_a_photo_would_be() -> None:
    photo = one(40.0)
    track = mean((photo, 0.3))
    assert track["age"].value == pytest.approx(40.0)
    assert (track["age"].low, track["age"].high) == (photo["age"].low, photo["age"].high)
    assert track["gender"].probabilities == pytest.approx({"male": 0.3, "female": 0.7})
    assert track["gender"].thresholds == pytest.approx(GENDER_THRESHOLDS)


def test_the_age_is_the_weighted_mean() -> None:
    age = mean((one(30.0), 3.0), (one(50.0), 1.0))["age"]
    assert age.value == pytest.approx(35.0)


def test_the_interval_narrows_with_every_frame_but_never_to_nothing() -> None:
    average, widths = Average(MANIFEST), []
    for _ in range(40):
        average.add(one(40.0), 1.0)
        age = average.attributes()["age"]
        widths.append(age.high - age.low)
    assert all(later <= earlier for earlier, later in itertools.pairwise(widths))
    assert widths[-1] < widths[0]
    assert widths[-1] >= round(widths[0] * 0.6**0.5) - 1  # what the frames have in common stays
    assert average.frames == pytest.approx(40)


def test_frames_that_count_for_little_narrow_it_little() -> None:
    average = Average(MANIFEST)
    average.add(one(), 1.0)
    average.add(one(), 0.1)
    assert 1 < average.frames < 1.25


@pytest.mark.parametrize(("frames", "expected"), [(1, 1.0), (2, 0.8**0.5), (4, 0.7**0.5), (1e9, 0.6**0.5), (0.5, 1.0)])
def test_the_narrowing_is_that_of_a_mean_of_correlated_errors(frames: float, expected: float) -> None:
    assert narrowing(frames, TRACK) == pytest.approx(expected)


def test_the_narrowing_holds_for_errors_that_are_drawn() -> None:
    """Errors with a common part: the deviation of their mean, over that of one, is what is claimed."""
    random = np.random.default_rng(0)
    errors = 0.6**0.5 * random.normal(size=(200_000, 1)) + 0.4**0.5 * random.normal(size=(200_000, 8))
    assert errors.mean(axis=1).std() / errors[:, 0].std() == pytest.approx(narrowing(8, TRACK), rel=0.01)


def test_an_age_without_an_interval_has_none_in_the_mean() -> None:
    bare = one(age=Expectation(40.0))
    age = mean((bare, 1.0), (bare, 1.0), described=manifest(attributes=attributes(age={})))["age"]
    assert age == Expectation(40.0)


def test_an_interval_in_years_needs_no_distribution() -> None:
    interval = {"coverage": 0.8, "unit": "years", "bands": [{"below": 200, "low": -10, "high": 10}]}
    described = manifest(attributes=attributes(age={"interval": interval}), track=TRACK)
    plain = one(age=Expectation(40.0, 30, 50, 0.8))
    once, often = (mean(*[(plain, 1.0)] * count, described=described)["age"] for count in (1, 50))
    assert (once.low, once.high) == (30, 50)
    assert (often.low, often.high) == (32, 48)  # ten years times the root of 0.6


# Labels -----------------------------------------------------------------------------------------------------------------


def test_a_label_is_the_mean_of_logits() -> None:
    gender = mean((one(female=0.9), 1.0), (one(female=0.4), 1.0))["gender"]
    odds = (0.9 / 0.1 * 0.4 / 0.6) ** 0.5
    assert gender.probabilities["female"] == pytest.approx(odds / (1 + odds))
    assert gender.label == "female"
    assert sum(gender.probabilities.values()) == pytest.approx(1)


def test_the_better_frame_wins() -> None:
    gender = mean((one(female=0.9), 0.1), (one(female=0.2), 1.0))["gender"]
    assert gender.label == "male"


def test_a_gain_above_one_makes_a_label_surer_with_more_frames() -> None:
    confidences = [mean(*[(one(), 1.0)] * count)["race"].confidence for count in (1, 2, 10)]
    assert confidences[0] == pytest.approx(0.5)
    assert confidences[0] < confidences[1] < confidences[2]


def test_a_probability_of_zero_is_no_error() -> None:
    gender = mean((one(female=1.0), 1.0), (one(female=0.5), 1.0))["gender"]
    assert 0.99 < gender.confidence < 1


def test_what_was_not_asked_for_is_not_in_the_mean() -> None:
    age = one()["age"]
    assert mean(({"age": age}, 1.0)) == {"age": mean((one(), 1.0))["age"]}


def test_before_the_first_frame_nothing_is_known() -> None:
    average = Average(MANIFEST)
    assert (average.attributes(), average.frames) == ({}, 0.0)


# Somebody else ----------------------------------------------------------------------------------------------------------


def race(label: str, confidence: float, threshold: float = 0.6) -> LabelProbabilities:
    rest = (1 - confidence) / (len(RACES) - 1)
    return LabelProbabilities(
        label, {name: confidence if name == label else rest for name in RACES}, dict.fromkeys(RACES, threshold)
    )


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (one(), False),
        (one(years=43), False),
        (one(years=60), True),
        (one(female=0.05), True),
        (one(female=0.25), False),
        (one(race=race("black", 0.9)), True),
        (one(race=race("black", 0.9, threshold=0.95)), False),
        ({"age": one(years=60)["age"]}, True),
        (one(age=Expectation(60.0)), False),
        ({}, False),
    ],
)
def test_a_frame_of_another_age_or_of_a_sure_other_gender_or_race_contradicts_those_before(
    frame: Attributes, expected: bool
) -> None:
    average = Average(MANIFEST)
    assert not average.is_contradicted_by(frame)
    average.add(one(female=0.95, race=race("asian", 0.9)), 1.0)
    assert average.is_contradicted_by(frame) is expected


def test_what_may_change_in_one_person_contradicts_nothing() -> None:
    described = manifest(attributes=[*MANIFEST.model_dump()["attributes"], GLASSES], track=TRACK)
    glasses = {
        sure: LabelProbabilities(sure, {"no": 0.99, "yes": 0.01} if sure == "no" else {"no": 0.01, "yes": 0.99})
        for sure in ("no", "yes")
    }
    average = Average(described)
    average.add(one(glasses=glasses["no"]), 1.0)
    assert not average.is_contradicted_by(one(glasses=glasses["yes"]))
