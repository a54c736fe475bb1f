"""Figures against worked examples: the headline rules, calibration error, confusion, groups."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.arrays import Bools, Doubles
from service.models.evaluation import Figures
from tests.training.evaluation.made import predictions_of
from training.evaluation import scoring
from training.evaluation.curves import confusion_matrices as confusion
from training.evaluation.curves import errors_by_year, roc_curves
from training.evaluation.metrics import metrics_of
from training.evaluation.metrics.labels import BINS, expected_calibration_errors
from training.evaluation.predictions import AttributeSpec, LabelPredictions, Predictions
from training.evaluation.scoring import applicable, bootstrap_intervals

NAN = math.nan


def aged(given: Predictions, mean_age: float) -> Predictions:
    return given.with_fallbacks({"age": mean_age})


def figures(given: Predictions, mean_age: float) -> dict[str, Any]:
    """As a report writes them."""
    return plain(scoring.figures(aged(given, mean_age)))


def plain(given: Figures) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(given.model_dump_json())
    return document


def intervals(given: Predictions, mean_age: float) -> dict[str, tuple[float, float]]:
    return bootstrap_intervals(aged(given, mean_age))


def by_group(given: Predictions, mean_age: float) -> dict[str, dict[str, dict[str, Any]]]:
    groups = scoring.by_group(aged(given, mean_age))
    return {kind: {name: plain(one) for name, one in members.items()} for kind, members in groups.items()}


def intervals_by_group(given: Predictions, mean_age: float) -> dict[str, dict[str, dict[str, tuple[float, float]]]]:
    return scoring.bootstrap_intervals_by_group(aged(given, mean_age))


def weighted(given: Predictions, mean_age: float, weights: Any) -> dict[str, Any]:
    """Every bootstrapped figure [B] of weightings [B, N]."""
    given = aged(given, mean_age)
    return {one.key: one.compute(given, weights) for one in applicable(given) if one.bootstrapped}


def mae_by_age(given: Predictions) -> dict[int, tuple[float, int]]:
    return {int(year): (one.mae, one.count) for year, one in errors_by_year(given, "age").items()}


def roc(given: Predictions) -> dict[str, dict[str, list[float]]]:
    return {name: {key: list(points) for key, points in one} for name, one in roc_curves(given).items()}


def marked(given: Predictions, **uncertain: Any) -> Predictions:
    """With labels marked as uncertain, by attribute."""
    labels = {name: replace(one, uncertain=uncertain.get(name, one.uncertain)) for name, one in given.labels.items()}
    return replace(given, labels=labels)


def answers(
    *rows: tuple[float, int, int, Any], outputs: tuple[str, ...] = ("age", "interval", "gender", "race")
) -> Predictions:
    """Rows of age, gender, race and the answer: None, or years, low, high, probability of female, and race by number."""

    def races(answer: Any) -> list[float]:
        return [NAN] * 5 if answer is None or "race" not in outputs else (np.eye(5) * 0.75 + 0.05)[answer[4]].tolist()

    def column(place: int, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([NAN if row[3] is None or name not in outputs else row[3][place] for row in rows], np.float64)

    return predictions_of(
        age=np.array([row[0] for row in rows], np.float64),
        gender=np.array([row[1] for row in rows], np.int64),
        race=np.array([row[2] for row in rows], np.int64),
        found=np.array([row[3] is not None for row in rows], np.bool_),
        years=column(0, "age"),
        low=column(1, "interval"),
        high=column(2, "interval"),
        female=column(3, "gender"),
        races=np.array([races(row[3]) for row in rows], np.float64).reshape(-1, 5),
    )


FOUR = answers(
    (30, 1, 0, (33.0, 30, 36, 0.9, 0)),  # error 3, on the lower bound; a woman, right; white, right
    (40, 0, 1, (36.0, 30, 40, 0.2, 2)),  # error -4, on the upper bound; a man, right; black taken for asian
    (60, 0, 1, (54.0, 50, 59, 0.7, 1)),  # error -6, outside; a man taken for a woman; black, right
    (20, 1, 4, None),  # not found; the mean age of 32 is 12 off
)


def test_headline_counts_a_face_that_is_not_found_as_wrong() -> None:
    given = figures(FOUR, mean_age=32)
    assert given["count"] == 4
    assert given["found"] == 0.75
    assert given["age_mae"] == pytest.approx((3 + 4 + 6 + 12) / 4)
    assert given["age_rmse"] == pytest.approx(math.sqrt((9 + 16 + 36 + 144) / 4))
    assert given["age_bias"] == pytest.approx((3 - 4 - 6 + 12) / 4)
    assert given["age_within_5"] == 0.5
    assert given["interval_coverage"] == 0.5
    assert given["gender_accuracy"] == 0.5
    assert given["race_accuracy"] == 0.5
    # Women: one of two is found, and of the two answers one is right. Men: one of two; two answers, of which one was no face.
    assert given["gender"]["female"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert given["gender"]["male"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    # White: 1. Black: precision 1, recall 1/2, so 2/3. Other: nothing found. Asian and indian have no picture.
    assert given["race_macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_ages_by_hand_squared_exact_and_by_class() -> None:
    """Of 5 classes the bounds are 13, 25, 40 and 60; of 9 they are 3, 10, 20 and so on to 70."""
    given = figures(
        answers(
            (24, 1, 0, (24.4, 20, 30, 0.9, 0)),  # 24: the very year
            (25, 1, 0, (24.4, 20, 30, 0.9, 0)),  # 24: another of 5, the same of 9
            (12, 1, 0, (9.6, 5, 15, 0.9, 0)),  # 10: the same of both
            (9, 1, 0, (10.5, 5, 15, 0.9, 0)),  # 10, the even year: the same of 5, another of 9
            (70, 1, 0, (66.0, 60, 75, 0.9, 0)),  # the same of 5, another of 9
            (80, 1, 0, None),  # the mean of train, 32
        ),
        mean_age=32,
    )
    assert given["age_mse"] == pytest.approx((0.4**2 + 0.6**2 + 2.4**2 + 1.5**2 + 4**2 + 48**2) / 6)
    assert given["age_rmse"] == pytest.approx(math.sqrt(given["age_mse"]))
    assert given["age_exact"] == pytest.approx(1 / 6)
    assert given["age_bins_5"] == pytest.approx(4 / 6)
    assert given["age_bins_9"] == pytest.approx(3 / 6)
    assert given["age_within_5"] == pytest.approx(5 / 6)


def test_a_face_not_found_is_in_no_class_where_no_mean_stands_for_its_age() -> None:
    given = figures(answers((80, 1, 0, None), (70, 1, 0, (75.0, 60, 80, 0.9, 0))), mean_age=math.nan)
    assert given["age_bins_5"] == given["age_bins_9"] == 0.5


HALF_KNOWN = answers(
    (30, -1, 0, (33.0, 30, 36, 0.9, 0)),  # the gender is unknown
    (-1, 0, 1, (36.0, 30, 40, 0.2, 1)),  # nor the age
    (40, 1, -1, (50.0, 45, 55, 0.6, 3)),  # nor the race
    (-1, 1, -1, None),  # not found, and only a woman's by its label
)


def test_a_label_that_is_not_known_counts_nowhere() -> None:
    given = figures(HALF_KNOWN, mean_age=32)
    assert (given["count"], given["found"]) == (4, 0.75)
    assert given["age_mae"] == pytest.approx((3 + 10) / 2)
    assert given["interval_coverage"] == 0.5
    assert given["gender_accuracy"] == pytest.approx(2 / 3)  # a man and a woman right; she who was not found is wrong
    assert given["gender"]["female"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)}
    assert given["race_accuracy"] == 1.0
    assert given["race_macro_f1"] == 1.0
    assert confusion(HALF_KNOWN)["gender"].tolist() == [[1, 0], [0, 1]]
    assert mae_by_age(HALF_KNOWN) == {30: (3.0, 1), 40: (10.0, 1)}
    ones = weighted(HALF_KNOWN, 32, np.ones((1, 4)))
    assert {name: values[0] for name, values in ones.items()} == pytest.approx({name: given[name] for name in ones})


def test_a_set_that_lacks_a_label_has_no_figure_of_it() -> None:
    """CelebA and LFW have labels of gender alone."""
    given = answers((-1, 1, -1, (33.0, 30, 36, 0.9, 0)), (-1, 0, -1, (36.0, 30, 40, 0.2, 1)))
    assert given.judged() == {"gender"}
    assert not {name for name in figures(given, math.nan) if name.startswith(("age", "interval", "race"))}
    assert by_group(given, math.nan)["age"] == {}
    json.dumps([figures(given, math.nan), intervals(given, math.nan), by_group(given, math.nan)], allow_nan=False)


def test_points_of_the_curve_by_hand() -> None:
    given = answers(*((30, gender, 0, (30.0, 30, 30, p, 0)) for gender, p in ((1, 0.9), (0, 0.8), (1, 0.7), (0, 0.1))))
    assert roc(given) == {
        "female": {"false_positive_rate": [0, 0, 0.5, 0.5, 1], "true_positive_rate": [0, 0.5, 0.5, 1, 1]},
    }  # all are white: of no race there are both


def test_width_auc_and_calibration_are_over_faces_that_were_found() -> None:
    given = figures(FOUR, mean_age=32)
    assert given["interval_width"] == pytest.approx((6 + 10 + 9) / 3)
    assert given["gender_auc"] == 1.0  # 0.9 of the woman above 0.2 and 0.7 of the men
    # Each face is a bin of its own: |0.9 - 1|, |0.8 - 1| and |0.7 - 0|.
    assert given["gender_ece"] == pytest.approx((0.1 + 0.2 + 0.7) / 3)
    assert given["race_ece"] == pytest.approx(0.8 - 2 / 3)  # all are of one confidence, and two of three are right


def test_over_found_faces_only() -> None:
    given = figures(FOUR.where(FOUR.found), mean_age=32)
    assert given["age_mae"] == pytest.approx(13 / 3)
    assert given["race_accuracy"] == pytest.approx(2 / 3)


def calibration_error(confidence: Doubles, right: Bools, **options: int) -> float:
    """The expected calibration error of pictures that all count once."""
    return float(expected_calibration_errors(confidence, right, np.ones((1, len(confidence))), **options)[0])


def test_calibration_error_by_hand() -> None:
    right = np.array([True, False, True, True])
    assert calibration_error(np.array([0.6, 0.6, 0.9, 0.9]), right, bins=2) == pytest.approx(0.1)
    # Bins of two and one: |0.6 - 1| weighs twice as much as |0.9 - 0|.
    assert calibration_error(np.array([0.9, 0.5, 0.7]), right[[1, 0, 2]], bins=2) == pytest.approx((0.8 + 0.9) / 3)
    assert np.isnan(calibration_error(np.zeros(0), right[:0]))


def test_the_order_of_pictures_is_no_matter_to_the_calibration_error() -> None:
    """Of four of one confidence, half of which are right, each of two bins has the mean, whichever come first."""
    confidence = np.array([0.5, 0.5, 0.5, 0.5])
    orders = ([True, True, False, False], [True, False, True, False], [False, False, True, True])
    assert [calibration_error(confidence, np.array(one), bins=2) for one in orders] == [0, 0, 0]


def test_calibration_error_of_bins_of_equal_width_by_hand() -> None:
    given = np.array([0.02, 0.02, 0.03, 0.03, 0.97])
    assert BINS == 15
    reached = np.array([True, False, False, False, True])
    weights = np.array([[1.0] * 5, [2.0, 1.0, 0.0, 0.0, 2.0]])
    once, twice = expected_calibration_errors(given, reached, weights, equal="width")
    assert once == pytest.approx((abs(0.1 - 1) + abs(0.97 - 1)) / 5)
    assert twice == pytest.approx((abs(0.06 - 2) + abs(1.94 - 2)) / 5)
    assert expected_calibration_errors(np.ones(3), np.ones(3, bool), np.ones((1, 3)), equal="width").tolist() == [0]
    # An edge belongs to the bin above it: 0.2 is no longer in the third of fifteen.
    edge = expected_calibration_errors(np.array([0.19, 0.2]), np.array([True, False]), np.ones((1, 2)), equal="width")
    assert edge == pytest.approx((0.81 + 0.2) / 2)


def test_perfect_calibration_has_no_error() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 50_000)
    right = random.uniform(size=50_000) < confidence
    assert calibration_error(confidence, right) < 0.01
    assert calibration_error(confidence**2, right) > 0.1


def test_rows_of_a_confusion_matrix_are_labels() -> None:
    matrices = confusion(FOUR)
    assert matrices["gender"].tolist() == [[1, 1], [0, 1]]  # of two men, one was taken for a woman
    assert matrices["race"][1].tolist() == [0, 1, 1, 0, 0]  # of two black people, one was taken for asian
    assert matrices["race"].sum() == 3


def test_groups_are_by_label_and_bounds_belong_to_a_band() -> None:
    ages = (0, 9, 10, 79, 80, 116)
    given = by_group(answers(*((age, 0, 3, (age, age, age, 0.1, 3)) for age in ages)), mean_age=30)
    assert {name: group["count"] for name, group in given["age"].items()} == {"0-9": 2, "10-19": 1, "70-79": 1, "80+": 2}
    assert set(given["gender"]) == {"male"}
    assert set(given["race"]) == {"indian"}
    whole = by_group(FOUR, mean_age=32)
    assert whole["race"]["black"]["race_accuracy"] == 0.5
    assert whole["gender"]["female"]["age_mae"] == pytest.approx((3 + 12) / 2)
    assert whole["race"]["other"]["race_accuracy"] == 0


def test_error_by_year_of_true_age() -> None:
    rows = [(30, 0, 0, (33.0, 0, 0, 0.1, 0)), (30, 0, 0, (29.0, 0, 0, 0.1, 0)), (50, 0, 0, None)]
    assert mae_by_age(answers(*rows)) == {30: (2.0, 2)}


def test_nothing_found_is_all_wrong_and_has_no_nan() -> None:
    given = figures(answers((30, 1, 0, None), (34, 0, 1, None)), mean_age=32)
    assert (given["age_mae"], given["gender_accuracy"], given["race_accuracy"], given["interval_coverage"]) == (2, 0, 0, 0)
    assert (given["interval_width"], given["gender_auc"], given["gender_ece"], given["race_ece"]) == (None,) * 4
    json.dumps(given, allow_nan=False)
    assert figures(answers(), mean_age=32) == {"count": 0}


def test_figures_of_what_a_model_does_not_say_are_absent() -> None:
    rows = (30, 1, 0, (33.0, 30, 36, 0.9, 0)), (20, 0, 4, None)
    only_age = answers(*rows, outputs=("age",))
    given = figures(only_age, mean_age=32)
    assert given["age_mae"] == pytest.approx((3 + 12) / 2)
    assert not [name for name in given if name.startswith(("gender", "race", "interval"))]
    groups = by_group(only_age, mean_age=32)
    assert set(groups["race"]["other"]) == set(given)
    assert confusion(only_age) == {}
    assert "age_mae" not in figures(answers(*rows, outputs=("gender",)), mean_age=32)


def many(count: int, seed: int = 0) -> Predictions:
    """Answers of chance to so many pictures, a twentieth of them without a face, with ties among the probabilities."""
    random = np.random.default_rng(seed)
    found = random.uniform(size=count) > 0.05
    age = random.integers(0, 100, count).astype(np.float64)
    gender, race = random.integers(0, 2, count), random.choice(5, count, p=(0.5, 0.2, 0.15, 0.1, 0.05))
    years = age + random.normal(0, 5, count)
    female = (random.normal(0.3 + 0.4 * gender, 0.3).clip(0, 1) * 20).round() / 20
    races = random.dirichlet(np.ones(5), count) + 0.4 * np.eye(5)[race]
    return predictions_of(
        age=age,
        gender=gender,
        race=race,
        found=found,
        years=np.where(found, years, NAN),
        low=np.where(found, years - 6, NAN),
        high=np.where(found, years + 6, NAN),
        female=np.where(found, female, NAN),
        races=np.where(found[:, np.newaxis], races, NAN),
        gender_uncertain=found & (random.uniform(size=count) < 0.1),
        race_uncertain=found & (random.uniform(size=count) < 0.3),
    )


def test_certain_labels_are_counted_over_found_faces() -> None:
    given = figures(marked(FOUR, gender=np.array([0, 0, 1, 0], bool), race=np.array([1, 0, 0, 0], bool)), mean_age=32)
    assert given["gender_certain_share"] == given["race_certain_share"] == pytest.approx(2 / 3)
    assert given["gender_certain_accuracy"] == 1  # the man who was taken for a woman is marked
    assert given["race_certain_accuracy"] == 0.5
    unmarked = figures(FOUR, mean_age=32)
    assert (unmarked["gender_certain_share"], unmarked["gender_certain_accuracy"]) == (1, pytest.approx(2 / 3))
    none = figures(marked(FOUR, race=np.ones(4, bool)), mean_age=32)
    assert (none["race_certain_share"], none["race_certain_accuracy"]) == (0, None)
    assert FOUR.where(FOUR.found).labels["race"].uncertain.tolist() == [False] * 3


def test_a_weight_of_two_is_a_picture_that_comes_twice() -> None:
    """All figures at once, ties of the area under the ROC and labels that are not drawn among them."""
    given = many(60)
    weights = np.random.default_rng(1).integers(0, 3, (20, 60))
    weights[0] = 1
    weights[1, given.labels["race"].label == 4] = 0
    weights[2, given.labels["gender"].label == 1] = 0
    values = weighted(given, 40.0, weights.astype(np.float64))
    for row, times in enumerate(weights):
        expected = figures(given.where(np.repeat(np.arange(60), times)), 40.0)
        for name, column in values.items():
            wanted = NAN if expected[name] is None else expected[name]
            assert column[row] == pytest.approx(wanted, nan_ok=True), name
    assert np.isnan(values["gender_auc"][2])


@pytest.mark.parametrize("count", [400, 4000])
def test_intervals_are_those_of_the_normal_approximation(count: int) -> None:
    given = many(count)
    bounds, value = intervals(given, 40.0), figures(given, 40.0)
    error = np.abs(np.where(given.found, given.expectations["age"].value, 40.0) - given.expectations["age"].label)
    deviations = {
        "age_mae": error.std() / math.sqrt(count),
        "gender_accuracy": math.sqrt(value["gender_accuracy"] * (1 - value["gender_accuracy"]) / count),
        "found": math.sqrt(value["found"] * (1 - value["found"]) / count),
    }
    for name, deviation in deviations.items():
        low, high = bounds[name]
        assert low < value[name] < high
        assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.08)
        assert (low + high) / 2 == pytest.approx(value[name], abs=0.2 * deviation)


def test_interval_of_the_area_is_that_of_hanley_and_mcneil() -> None:
    """Their formula (Radiology 1982) is for exponential scores; of these it gives the deviation within a tenth."""
    random = np.random.default_rng(3)
    gender = np.repeat([0, 1], 1000)
    rows = [(30, one, 0, (30.0, 30, 30, p, 0)) for one, p in zip(gender, random.exponential(1 + gender * 3) / 100, strict=True)]
    given = answers(*rows)
    area = figures(given, 30)["gender_auc"]
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    deviation = math.sqrt((area * (1 - area) + 999 * (q1 + q2 - 2 * area**2)) / 1e6)
    low, high = intervals(given, 30)["gender_auc"]
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_intervals_are_the_same_every_time_and_stand_beside_every_group() -> None:
    given = many(300)
    assert intervals(given, 40.0) == intervals(given, 40.0)
    groups, bounds = by_group(given, 40.0), intervals_by_group(given, 40.0)
    assert {kind: set(members) for kind, members in groups.items()} == {kind: set(members) for kind, members in bounds.items()}
    for kind, members in bounds.items():
        for name, interval in members.items():
            assert {key for key in interval if groups[kind][name][key] is None} == set()
            low, high = interval["age_mae"]
            assert low < groups[kind][name]["age_mae"] < high
    assert "gender_auc" not in bounds["gender"]["male"]  # of one gender there is none
    json.dumps(bounds, allow_nan=False)


def test_labels_may_have_dots_in_them() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    lens = LabelPredictions(("1.0", "e.g. f/2.8"), np.array([0, 1, 1]), probabilities)
    given = scoring.figures(Predictions(np.ones(3, np.bool_), {}, {"lens": lens}))
    assert given.scores()["lens"]["e.g. f/2.8"].precision == 1
    assert given.number("lens.e.g. f/2.8.recall") == 0.5
    assert given.number("lens.1.0.precision") == 0.5
    assert given.number("lens.1.precision") is None
    shown = [metric for metric in metrics_of([AttributeSpec(name="lens", kind="labels", labels=lens.names)]) if metric.path]
    assert len(shown) == 6
    assert all(given.has(metric.place) for metric in shown)


def test_intervals_of_less() -> None:
    assert intervals(answers(), 32) == {}
    nothing = intervals(answers((30, 1, 0, None), (34, 0, 1, None)), mean_age=32)
    assert nothing["gender_accuracy"] == (0, 0)
    assert not {"gender_auc", "gender_certain_accuracy"} & set(nothing)
    json.dumps(nothing, allow_nan=False)
    rows = (30, 1, 0, (33.0, 30, 36, 0.9, 0)), (20, 0, 4, None)
    assert set(intervals(answers(*rows, outputs=("age",)), mean_age=32)) == {"found", "age_mae", "age_rmse", "age_within_5"}
