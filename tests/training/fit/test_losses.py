"""Losses and metrics against values worked out by hand, and labels that are unknown."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from training.fit.losses import (
    AgeLoss,
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    MeanOfKnown,
    losses_and_metrics,
)
from training.models.age_head import soft_age
from training.recipe import LossSection


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_soft_label_is_a_gaussian_that_widens_with_age() -> None:
    soft = np.array(soft_age(column(0, 50), sigma=1.0, slope=0.03))
    # At 50 years the deviation is 2.5: each weight is that of 50 times exp(-distance² / 12.5).
    np.testing.assert_allclose(soft[1, [45, 48, 50, 55]] / soft[1, 50], np.exp([-2, -0.32, 0, -2]), rtol=1e-5)
    assert soft[1] @ np.arange(101) == pytest.approx(50, abs=1e-3)
    # At 0 it is 1, and the half below is missing: 1 / (1 + exp(-1/2) + exp(-2) + exp(-9/2) + …).
    assert soft[0, 0] == pytest.approx(1 / (1 + math.exp(-0.5) + math.exp(-2) + math.exp(-4.5) + math.exp(-8)), rel=1e-4)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)


def test_ages_above_a_hundred_are_trained_as_a_hundred() -> None:
    np.testing.assert_allclose(soft_age(column(116), 1.0, 0.03), soft_age(column(100), 1.0, 0.03))


def test_age_loss() -> None:
    section = LossSection(age_distribution_weight=0.5, age_error_weight=0.1)
    uniform = np.zeros((1, 101), np.float32)
    # The cross-entropy of anything with the uniform distribution is ln 101, whose expectation is 50.
    assert float(AgeLoss(section)(column(30), uniform)) == pytest.approx(0.5 * math.log(101) + 0.1 * 20, rel=1e-5)


def test_gender_loss() -> None:
    # Smoothing of 0.2 makes of female 0.9 and of male 0.1; a logit of ln 3 is a probability of 3/4.
    logits = np.array([[math.log(3)], [math.log(3)]], np.float32)
    female = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    male = -(0.1 * math.log(0.75) + 0.9 * math.log(0.25))
    np.testing.assert_allclose(BinaryCrossEntropy(0.2).call(column(1, 0), logits), [female, male], rtol=1e-5)
    np.testing.assert_allclose(BinaryCrossEntropy(0.0).call(column(1), logits[:1]), [-math.log(0.75)], rtol=1e-5)


def test_race_loss() -> None:
    # Probabilities 1/2 and four times 1/8; smoothing of 0.1 makes of a label 0.92 and of each other 0.02.
    logits = np.log(np.array([[1, 4, 1, 1, 1]], np.float32))
    right = -(0.92 * math.log(1 / 2) + 0.08 * math.log(1 / 8))
    wrong = -(0.02 * math.log(1 / 2) + 0.98 * math.log(1 / 8))
    np.testing.assert_allclose(CategoricalCrossEntropy(0.1).call(column(1), logits), [right], rtol=1e-5)
    np.testing.assert_allclose(CategoricalCrossEntropy(0.1).call(column(4), logits), [wrong], rtol=1e-5)
    np.testing.assert_allclose(CategoricalCrossEntropy(0.0).call(column(1), logits), [math.log(2)], rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "units", "known"),
    [(AgeLoss(LossSection()), 101, 40), (BinaryCrossEntropy(0.05), 1, 1), (CategoricalCrossEntropy(0.05), 5, 3)],
)
def test_an_unknown_label_costs_nothing_and_teaches_nothing(loss: keras.losses.Loss, units: int, known: float) -> None:
    import tensorflow as tf

    logits = tf.constant(np.random.default_rng(0).normal(0, 3, (2, units)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = loss.call(tf.constant(column(-1, known)), logits)
        total = tf.reduce_sum(values)
    gradient = tape.gradient(total, logits).numpy()
    assert float(values[0]) == 0 < float(values[1])
    assert not gradient[0].any()
    assert gradient[1].any()


def test_a_teacher_s_answer_is_mixed_into_the_label() -> None:
    # Half of the label, right for sure, and half of the teacher's, 1/5 of each: 0.6 and four times 0.1.
    logits = np.log(np.array([[1, 4, 1, 1, 1]], np.float32))
    labels = np.array([[1, *[0.2] * 5]], np.float32)
    expected = -(0.6 * math.log(1 / 2) + 0.4 * math.log(1 / 8))
    np.testing.assert_allclose(CategoricalCrossEntropy(0.0, 0.5).call(labels, logits), [expected], rtol=1e-5)
    # Of an unknown label the teacher's answer is all there is, and counts half.
    labels[0, 0] = -1
    expected = -0.5 * (0.2 * math.log(1 / 2) + 0.8 * math.log(1 / 8))
    np.testing.assert_allclose(CategoricalCrossEntropy(0.0, 0.5).call(labels, logits), [expected], rtol=1e-5)
    # Gender: 0.75 of female and 0.25 of the teacher's 0.2 make 0.8; the logit is that of 3/4.
    expected = -(0.8 * math.log(0.75) + 0.2 * math.log(0.25))
    given = BinaryCrossEntropy(0.0, 0.25).call(np.array([[1, 0.2]], np.float32), np.array([[math.log(3)]], np.float32))
    np.testing.assert_allclose(given, [expected], rtol=1e-5)


def test_a_teacher_s_age_is_mixed_into_the_label() -> None:
    section = LossSection(age_distribution_weight=0, age_error_weight=1, teacher_weight=0.5)
    teacher = np.zeros(101, np.float32)
    teacher[40] = 1
    labels = np.stack([np.append(np.float32(30), teacher), np.append(np.float32(-1), teacher)])
    logits = np.full((2, 101), -30, np.float32)
    logits[:, 20] = 0
    # 15 years from 35, halfway between label and teacher; unknown: half of the 20 from the teacher's.
    np.testing.assert_allclose(AgeLoss(section).call(labels, logits), [15, 10], atol=1e-3)


def test_metrics_judge_by_the_data_set_s_label_alone() -> None:
    _, _, metrics = losses_and_metrics(LossSection(teacher_weight=0.5), ("race",))
    labels = np.array([[0, 0, 1, 0, 0, 0], [-1, 1, 0, 0, 0, 0]], np.float32)
    metrics["race"][0].update_state(labels, np.eye(5, dtype=np.float32)[[0, 1]])
    assert float(metrics["race"][0].result()) == 1


def test_metrics_are_means_over_the_known_of_all_batches() -> None:
    _, weights, metrics = losses_and_metrics(LossSection(weights={"gender": 2}), ("age", "gender", "race"))
    assert weights == {"age": 1.0, "gender": 2.0, "race": 1.0}
    (mae,), (gender,), (race,) = (metrics[name] for name in ("age", "gender", "race"))
    assert [metric.name for metric in (mae, gender, race)] == ["mae", "accuracy", "accuracy"]

    seven = np.full((1, 101), -30, np.float32)
    seven[0, 7] = 0
    mae.update_state(column(-1, 10, 9), np.repeat(seven, 3, axis=0))  # errors 3 and 2
    mae.update_state(column(-1, -1, 107), np.repeat(seven, 3, axis=0))  # an error of 100
    assert float(mae.result()) == pytest.approx(35, abs=1e-3)

    gender.update_state(column(1, 0, -1, 1), np.array([[2.0], [-1.0], [5.0], [-3.0]], np.float32))
    assert float(gender.result()) == pytest.approx(2 / 3)

    logits = np.eye(5, dtype=np.float32)[[0, 4, 2]]
    race.update_state(column(0, 1, -1), logits)
    race.update_state(column(-1, -1, -1), logits)
    assert float(race.result()) == pytest.approx(1 / 2)


def test_a_metric_of_nothing_known_is_zero() -> None:
    metric = MeanOfKnown(lambda y_true, y_pred: y_pred[:, 0], "mean")
    metric.update_state(column(-1), column(3)[:, None])
    assert float(metric.result()) == 0


def test_heads_that_a_recipe_leaves_out_have_no_loss() -> None:
    losses, weights, metrics = losses_and_metrics(LossSection(), ("age",))
    assert set(losses) == set(weights) == set(metrics) == {"age"}
