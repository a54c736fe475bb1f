"""Checks for a least age are counted by hand: who is taken for an adult, by rule, band and group, and the table of it."""

from __future__ import annotations

import numpy as np
import pytest

from service.models.evaluation import AgeChecks
from training.evaluation.age_checks import age_checks, rules
from training.evaluation.model_card import age_check_table
from training.evaluation.predictions import ExpectationPredictions, LabelPredictions, Predictions

AGES = [13, 15, 16, 17, 18, 24, 25, 60, 12, 15]
ADULT = [0.1, 0.5, 0.93, 0.995, 0.4, 0.97, 0.999, 1.0, 0.9, 0.9]
YEARS = [14.0, 19.0, 25.0, 30.0, 17.0, 26.0, 24.0, 61.0, 13.0, 40.0]
FOUND = [True] * 9 + [False]
WOMEN = [1, 1, 0, 0, 1, 0, 1, 0, 0, 1]


def predictions(*, asked: bool = True) -> Predictions:
    count = len(AGES)
    none, adult = np.full(count, np.nan), np.array(ADULT)
    probabilities = {18: adult, 21: adult * 0.9, 25: adult * 0.8} if asked else {}
    return Predictions(
        np.array(FOUND),
        {"age": ExpectationPredictions(np.array(AGES, float), np.array(YEARS), none, none, at_least=probabilities)},
        {"gender": LabelPredictions(("male", "female"), np.array(WOMEN), np.full((count, 2), 0.5))},
    )


def checks() -> AgeChecks:
    found = age_checks(predictions())
    assert found is not None
    return found


def test_every_rule_counts_who_is_taken_for_an_adult() -> None:
    names = [rule.key for rule in rules()]
    assert names == ["0.5", "0.9", "0.95", "0.99", "challenge 25"]
    bands = checks().bands
    assert {name: band.count for name, band in bands.items()} == {"13-17": 4, "18-24": 2, "25+": 2}
    shares = {name: [band.adult[rule].value for rule in names] for name, band in bands.items()}
    assert shares == {
        "13-17": [0.75, 0.5, 0.25, 0.25, 0.5],
        "18-24": [0.5, 0.5, 0.5, 0.0, 0.5],
        "25+": [1.0, 1.0, 1.0, 1.0, 0.5],
    }


def test_a_group_is_a_gender_where_no_race_is_known() -> None:
    groups = checks().groups
    assert {name: {band: one.count for band, one in bands.items()} for name, bands in groups.items()} == {
        "male": {"13-17": 2, "18-24": 1, "25+": 1},
        "female": {"13-17": 2, "18-24": 1, "25+": 1},
    }
    assert groups["male"]["13-17"].adult["0.9"].value == 1
    assert groups["female"]["13-17"].adult["0.9"].value == 0


def test_crossings_of_gender_and_race() -> None:
    given = predictions()
    race = LabelPredictions(("a", "b"), np.array([0, 1] * 5), np.full((10, 2), 0.5))
    found = age_checks(Predictions(given.found, given.expectations, {**given.labels, "race": race}))
    assert found is not None
    assert set(found.groups) == {"male, a", "male, b", "female, a", "female, b"}
    assert sum(band.count for bands in found.groups.values() for band in bands.values()) == 8


def test_labels_of_any_name_are_crossed() -> None:
    given = predictions()
    glasses = LabelPredictions(("no", "yes"), np.array([0, 1] * 5), np.full((10, 2), 0.5))
    both, alone = (
        age_checks(Predictions(given.found, given.expectations, labels))
        for labels in ({**given.labels, "glasses": glasses}, {"glasses": glasses})
    )
    assert both is not None
    assert set(both.groups) == {f"{one}, glasses {other}" for one in ("male", "female") for other in ("no", "yes")}
    assert alone is not None
    assert set(alone.groups) == {"glasses no", "glasses yes"}


def test_the_error_of_minors_and_the_intervals() -> None:
    found = checks()
    assert found.error_of_minors.value == pytest.approx((1 + 4 + 9 + 13) / 4)
    assert found.error_of_minors.interval is not None
    assert found.error_of_minors.interval == (2.5, 11.0)
    assert found.bands["13-17"].adult["0.5"].interval == (0.25, 1.0)
    assert found.calibration_error == {"18": 0.44378, "21": 0.34607, "25": 0.42613}
    assert found.bands["25+"].adult["0.5"].interval == (1.0, 1.0)


def test_what_has_no_such_probability_has_no_checks() -> None:
    assert age_checks(predictions(asked=False)) is None
    assert age_checks(predictions().where(np.array(FOUND) & False)) is None


def test_the_table_tells_minors_taken_for_adults_and_adults_for_minors() -> None:
    lines = age_check_table(checks()).splitlines()
    assert lines[0] == "| group | true age | faces | 0.5 | 0.9 | 0.95 | 0.99 | challenge 25 |"
    assert len(lines) == 2 + 3 * 3
    assert lines[2].startswith("| all | 13-17 | 4 | 75.0 % (")
    assert (
        lines[4]
        == "| all | 25+ | 2 | 0.0 % (0.0 to 0.0) | " + " | ".join(["0.0 % (0.0 to 0.0)"] * 3 + ["50.0 % (0.0 to 100.0)"]) + " |"
    )
