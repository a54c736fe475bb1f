"""Forms of an age against values worked out by hand: classes, labels, losses, and what a model of each form serves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
from tests.fakes import TEMPLATE
from tests.training import made
from training.datasets.base import Split
from training.datasets.documents import PreparedReport
from training.datasets.readers import open_data_set
from training.fit.losses import AgeLoss, BinaryCrossEntropy, absolute_error, losses_and_metrics
from training.models import age_head as ages
from training.recipe import AgeSection, LossSection

BINS = AgeSection(bins=(0, 10, 40))
ADULTS = AgeSection(first=18, last=65, outside="unknown")
YEARS = AgeSection(form="regression")
BOTH = AgeSection(form="both", first=20, last=23)


def column(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def logits(*probabilities: float) -> np.ndarray[Any, Any]:
    return np.log(np.array([probabilities], np.float32))


# Forms -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "classes"),
    [
        (AgeSection(), 101),
        (ADULTS, 48),
        (AgeSection(first=18, last=80), 63),
        (AgeSection(bins=(0, 3, 10, 20, 30, 40, 50, 60, 70)), 9),
        (AgeSection(bins=(0, 13, 25, 40, 60)), 5),
    ],
)
def test_number_of_classes(form: AgeSection, classes: int) -> None:
    assert ages.class_years(form).shape == (101, classes)
    assert (ages.class_years(form).sum(axis=1) == 1).all()


def test_years_of_a_bin() -> None:
    held = ages.class_years(BINS)
    assert [np.flatnonzero(held[:, index])[[0, -1]].tolist() for index in range(3)] == [[0, 9], [10, 39], [40, 100]]
    spread = ages.spread(BINS)
    np.testing.assert_allclose([spread[0, 9], spread[1, 10], spread[2, 100], spread[0, 10]], [1 / 10, 1 / 30, 1 / 61, 0])


def test_years_outside_belong_to_the_nearest_class_and_are_never_answered() -> None:
    held, spread = ages.class_years(ADULTS), ages.spread(ADULTS)
    assert held[3, 0] == held[18, 0] == held[65, 47] == held[99, 47] == 1
    assert spread[0].nonzero()[0].tolist() == [18]
    assert spread[47].nonzero()[0].tolist() == [65]


@pytest.mark.parametrize(
    "wrong", [{"first": 30, "last": 30}, {"bins": [0]}, {"bins": [5, 10]}, {"bins": [0, 20, 10]}, {"bins": [0, 50, 101]}]
)
def test_classes_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"an age needs two|first years that rise"):
        AgeSection.model_validate(wrong)


def test_answers_in_years() -> None:
    # 0 to 9, 10 to 39 and 40 to 100 have their centres at 4.5, 24.5 and 70.
    given = logits(0.5, 0.25, 0.25)
    assert float(ages.years(given, BINS)[0]) == pytest.approx(0.5 * 4.5 + 0.25 * 24.5 + 0.25 * 70, rel=1e-5)
    np.testing.assert_allclose(
        np.asarray(ages.distribution(given, BINS))[0, [0, 39, 40]], [0.05, 0.25 / 30, 0.25 / 61], rtol=1e-5
    )
    assert float(ages.years(column(31.5)[:, None], YEARS)[0]) == 31.5
    assert ages.distribution(column(31.5)[:, None], YEARS) is None
    both = np.append(logits(0.1, 0.2, 0.3, 0.4), np.float32(22.5))[None]
    assert float(ages.years(both, BOTH)[0]) == 22.5
    np.testing.assert_allclose(np.asarray(ages.distribution(both, BOTH))[0, 19:25], [0, 0.1, 0.2, 0.3, 0.4, 0], rtol=1e-5)


def test_heads_have_the_form_s_units() -> None:
    import keras

    branch = keras.Input((7,))
    for form, units in ((AgeSection(), 101), (BINS, 3), (YEARS, 1), (BOTH, 5)):
        assert ages.head(branch, form).shape == (None, units)
    model = keras.Model(branch, ages.head(branch, YEARS))
    assert float(model(np.zeros((1, 7), np.float32))[0, 0]) == ages.INITIAL_AGE


# Labels ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [1, 3, 5, 7, 10])
def test_gap_label_peaks_at_the_true_age_is_convex_and_falls_off(gap: float) -> None:
    label = np.asarray(ages.gap_age(column(40), gap))[0]
    assert label.argmax() == 40
    assert label.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(label[40 + gap] / label[40], math.exp(-1), rtol=1e-4)
    np.testing.assert_allclose(label[30], label[50], rtol=1e-4)
    falling = label[40:71]
    assert (falling[:-2] + falling[2:] >= 2 * falling[1:-1]).all(), "convex on either side"


def test_gap_label_by_hand() -> None:
    # Of 20 to 23, at 21 with a gap of 1: e^-1, 1, e^-1, e^-2 over their sum.
    label = np.asarray(ages.gap_age(column(21), 1, 20, 23))[0]
    weights = np.exp([-1.0, 0, -1, -2])
    np.testing.assert_allclose(label, weights / weights.sum(), rtol=1e-5)


def test_labels_of_classes() -> None:
    hard = LossSection(age_label="hard")
    np.testing.assert_array_equal(ages.target(column(9, 10, 77, 116), hard, BINS), np.eye(3)[[0, 1, 2, 2]])
    np.testing.assert_array_equal(ages.target(column(18, 65), hard, ADULTS), np.eye(48)[[0, 47]])
    soft = np.asarray(ages.target(column(9.5), LossSection(age_label="gap", age_gap=1), BINS))[0]
    assert soft[0] == pytest.approx(soft[1], rel=1e-3)
    assert soft.sum() == pytest.approx(1, abs=1e-5)


def test_labels_outside() -> None:
    np.testing.assert_array_equal(ages.known(column(17, 18, 65, 66, -1), ADULTS), [-1, 18, 65, -1, -1])
    np.testing.assert_array_equal(ages.known(column(17, 120), AgeSection()), [17, 120])


# Losses ----------------------------------------------------------------------------------------------------------------


def loss_of(section: dict[str, Any], form: AgeSection, label: float, outputs: np.ndarray[Any, Any]) -> float:
    return float(AgeLoss(LossSection.model_validate(section), form).call(column(label), outputs)[0])


def test_mean_squared_and_absolute_error() -> None:
    only = {"age_error_weight": 1, "age_distribution_weight": 7}
    assert loss_of(only | {"age_error": "squared"}, YEARS, 30, column(26.5)[:, None]) == pytest.approx(12.25)
    assert loss_of(only, YEARS, 30, column(26.5)[:, None]) == pytest.approx(3.5)


CLASSES_ALONE = {"age_error_weight": 0, "age_distribution_weight": 1}


def test_categorical_cross_entropy_by_hand() -> None:
    assert loss_of(CLASSES_ALONE | {"age_label": "hard"}, BINS, 12, logits(0.5, 0.2, 0.3)) == pytest.approx(
        -math.log(0.2), rel=1e-5
    )


def test_focal_loss_by_hand() -> None:
    # -(1 - p)^γ log p of the true class, for p = 0.2 and γ = 2 and 0.5; γ = 0 is cross-entropy.
    for gamma, factor in ((2, 0.64), (0.5, math.sqrt(0.8)), (0, 1.0)):
        section = CLASSES_ALONE | {"age_label": "hard", "age_divergence": "focal", "focal_gamma": gamma}
        assert loss_of(section, BINS, 12, logits(0.5, 0.2, 0.3)) == pytest.approx(-factor * math.log(0.2), rel=1e-4)


def test_focal_loss_of_a_soft_label_by_hand() -> None:
    section = LossSection(age_divergence="focal", focal_gamma=2)
    given = ages.divergence(np.array([[0.75, 0.25]], np.float32), logits(0.6, 0.4), section)
    assert float(given[0]) == pytest.approx(-0.75 * 0.16 * math.log(0.6) - 0.25 * 0.36 * math.log(0.4), rel=1e-4)


def test_kl_divergence_by_hand() -> None:
    section = LossSection(age_divergence="kl")
    label = np.array([[0.75, 0.25, 0]], np.float32)
    given = ages.divergence(label, logits(0.5, 0.2, 0.3), section)
    assert float(given[0]) == pytest.approx(0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.2), rel=1e-4)
    assert float(ages.divergence(label[:, :2], logits(0.75, 0.25), section)[0]) == pytest.approx(0, abs=1e-6)


def test_class_and_regression_are_added_up() -> None:
    section = {"age_label": "hard", "age_distribution_weight": 1, "age_error_weight": 1}
    outputs = np.append(logits(0.1, 0.2, 0.3, 0.4), np.float32(22.5))[None]
    assert loss_of(section, BOTH, 21, outputs) == pytest.approx(-math.log(0.2) + 1.5, rel=1e-5)


def test_gradient_of_a_sure_answer_is_finite() -> None:
    import tensorflow as tf

    outputs = tf.constant([[80.0, -80.0, -80.0]])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = AgeLoss(LossSection(age_label="hard", age_divergence="focal", focal_gamma=0.5), BINS).call(column(3), outputs)
    assert np.isfinite(tape.gradient(loss, outputs)).all()


def test_an_age_outside_costs_nothing_where_it_is_unknown() -> None:
    outputs = np.zeros((3, 48), np.float32)
    assert np.asarray(AgeLoss(LossSection(), ADULTS).call(column(17, 30, -1), outputs)).tolist()[::2] == [0, 0]
    _, _, metrics = losses_and_metrics(LossSection(), ("age",), ADULTS)
    mae, accuracy = metrics["age"]
    mae.update_state(column(17, 30, 99), outputs)  # the mean of 18 to 65 is 41.5
    assert float(mae.result()) == pytest.approx(11.5, abs=1e-3)
    accuracy.update_state(column(18, 30, 99), np.eye(48, dtype=np.float32)[[0, 3, 47]])
    assert float(accuracy.result()) == 0.5


def test_a_teacher_s_years_are_gathered_in_classes() -> None:
    teacher = np.zeros(101, np.float32)
    teacher[[5, 50]] = 0.5
    label = np.append(np.float32(12), teacher)[None]
    section = LossSection(age_label="hard", age_distribution_weight=1, age_error_weight=0, teacher_weight=0.5)
    # Half of the label, the second class, and half of the teacher's, half of the first and half of the third.
    expected = -(0.25 * math.log(0.5) + 0.5 * math.log(0.2) + 0.25 * math.log(0.3))
    assert float(AgeLoss(section, BINS).call(label, logits(0.5, 0.2, 0.3))[0]) == pytest.approx(expected, rel=1e-5)


def test_two_gender_units_are_categorical_cross_entropy() -> None:
    # Probabilities 1/4 of male and 3/4 of female.
    outputs = np.log(np.array([[1, 3], [1, 3]], np.float32))
    given = BinaryCrossEntropy(0.0).call(column(1, 0), outputs)
    np.testing.assert_allclose(given, [-math.log(0.75), -math.log(0.25)], rtol=1e-5)
    _, _, metrics = losses_and_metrics(LossSection(), ("gender",))
    metrics["gender"][0].update_state(column(1, 0), outputs)
    assert float(metrics["gender"][0].result()) == 0.5


def test_error_of_each_form() -> None:
    assert float(absolute_error(column(30), column(26.5)[:, None], YEARS)[0]) == pytest.approx(3.5)
    assert float(absolute_error(column(10), logits(0.5, 0.25, 0.25), BINS)[0]) == pytest.approx(15.875, rel=1e-5)


# Served ----------------------------------------------------------------------------------------------------------------

FORMS: dict[str, dict[str, Any]] = {
    "regression": {"age": {"form": "regression"}, "gender_units": 2},
    "bins": {"age": {"bins": [0, 10, 40]}, "outputs": ["age", "gender"]},
    "both": {"age": {"form": "both", "first": 18, "last": 65}, "outputs": ["age"]},
}


@pytest.mark.usefixtures("architecture")
@pytest.mark.parametrize("name", FORMS)
def test_a_model_of_every_form_is_exported_calibrated_and_evaluated(
    name: str, pictures: Path, root: Path, store: Path, tmp_path: Path
) -> None:
    import shutil

    from training.evaluation.evaluate import evaluate
    from training.evaluation.service_client import measured_settings
    from training.export.export import export
    from training.models.heads import build

    recipe = made.recipe(network=FORMS[name])
    network = build(recipe.network)
    network.save_weights(tmp_path / "best.weights.h5")
    own = tmp_path / "store"
    shutil.copytree(store / "centerface", own / "centerface")
    described = PreparedReport(template=TEMPLATE, sets={"UTKFace": ""})
    weights = tmp_path / "best.weights.h5"
    manifest = export(recipe, weights, described, root / "examples", made.detector(own), own, 1, "2026-01-01", [pictures])
    distributed = name != "regression"
    assert ("age_distribution" in manifest.outputs) is distributed
    interval = manifest.attributes[0].calibration.interval
    assert interval is not None
    assert interval.unit == ("deviation" if distributed else "years")

    crops = np.random.default_rng(0).integers(0, 256, (3, made.SIDE, made.SIDE, 3), np.uint8)
    answers = ModelStore(own).load("tiny", 1, loader(Runtime.OPENVINO, Precision.F32, 2)).networks["faces"](crops)
    given = network(crops / np.float32(127.5) - 1, training=False)
    np.testing.assert_allclose(answers["age"], ages.years(given["age"], recipe.network.age), atol=0.1)
    if distributed:
        np.testing.assert_allclose(answers["age_distribution"].sum(axis=1), 1, atol=1e-3)
    if "gender" in answers:
        logit = np.asarray(given["gender"])
        expected = 1 / (1 + np.exp(logit[:, 0] - logit[:, 1])) if name == "regression" else 1 / (1 + np.exp(-logit[:, 0]))
        np.testing.assert_allclose(answers["gender"], expected, atol=0.005)

    settings = measured_settings(model_store=own, model="tiny", model_version=1)
    report = evaluate(settings, open_data_set(pictures), Split.VALIDATION, tmp_path / "report")
    assert math.isfinite(report.headline.number("age_mae") or math.nan)
    assert 0 <= (report.headline.number("interval_coverage") or 0) <= 1
    assert json.loads((tmp_path / "report/report.json").read_text())["headline"]["count"] == 4
