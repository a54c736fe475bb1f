"""Losses and metrics of the three heads; a label below zero is unknown and costs nothing."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.data import MAX_AGE, RACES
from training.recipe import LossSection


def _known(values: Any, labels: Any) -> Any:
    """Per-picture losses with those of unknown labels set to zero."""
    return ops.where(labels >= 0, values, ops.zeros_like(values))


def soft_age(age: Any, sigma: float, slope: float) -> Any:
    """Age label [N] in years as a distribution [N, 101] over whole years: a Gaussian of deviation `sigma + slope * age`.

    The label distribution of Geng et al., "Facial age estimation by learning from label distributions", PAMI 2013; a wider
    one for older faces, whose age shows less exactly.
    """
    years = ops.arange(MAX_AGE + 1, dtype="float32")
    age = ops.clip(age, 0, MAX_AGE)[:, None]
    return ops.softmax(-0.5 * ops.square((years - age) / (sigma + slope * age)), axis=-1)


def expected_age(logits: Any) -> Any:
    """Expectation [N], in years, of the age distribution with these logits [N, 101]."""
    return ops.sum(ops.softmax(logits, axis=-1) * ops.arange(MAX_AGE + 1, dtype="float32"), axis=-1)


@keras.saving.register_keras_serializable("facet")
class AgeLoss(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy with the soft label plus absolute error of the expectation (Gao et al., DLDL-v2, IJCAI 2018)."""

    def __init__(self, section: LossSection) -> None:
        super().__init__(name="age_loss")
        self.section = section

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Per-picture loss [N] of labels [N] in years and logits [N, 101]."""
        age = ops.reshape(y_true, (-1,))
        target = soft_age(age, self.section.age_sigma, self.section.age_sigma_slope)
        entropy = -ops.sum(target * ops.log_softmax(y_pred, axis=-1), axis=-1)
        error = ops.abs(expected_age(y_pred) - ops.clip(age, 0, MAX_AGE))
        return _known(self.section.age_distribution_weight * entropy + self.section.age_error_weight * error, age)


@keras.saving.register_keras_serializable("facet")
class GenderLoss(keras.losses.Loss):  # type: ignore[misc]
    """Binary cross-entropy with label smoothing."""

    def __init__(self, smoothing: float) -> None:
        super().__init__(name="gender_loss")
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Per-picture loss [N] of labels [N] (1 is female) and logits [N, 1]."""
        label = ops.reshape(y_true, (-1,))
        logit = ops.reshape(y_pred, (-1,))
        target = ops.clip(label, 0, 1) * (1 - self.smoothing) + self.smoothing / 2
        return _known(ops.softplus(logit) - target * logit, label)


@keras.saving.register_keras_serializable("facet")
class RaceLoss(keras.losses.Loss):  # type: ignore[misc]
    """Categorical cross-entropy with label smoothing."""

    def __init__(self, smoothing: float) -> None:
        super().__init__(name="race_loss")
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Per-picture loss [N] of labels [N] (indices into `RACES`) and logits [N, 5]."""
        label = ops.reshape(y_true, (-1,))
        target = ops.one_hot(ops.cast(ops.maximum(label, 0), "int32"), len(RACES))
        target = target * (1 - self.smoothing) + self.smoothing / len(RACES)
        return _known(-ops.sum(target * ops.log_softmax(y_pred, axis=-1), axis=-1), label)


class MeanOfKnown(keras.metrics.MeanMetricWrapper):  # type: ignore[misc]
    """Mean of a function of labels and logits over the pictures whose label is known, of all batches alike."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        known = ops.cast(ops.reshape(y_true, (-1,)) >= 0, "float32")
        super().update_state(y_true, y_pred, known if sample_weight is None else known * sample_weight)


def absolute_error(y_true: Any, y_pred: Any) -> Any:
    """Absolute error [N] of the expected age in years."""
    return ops.abs(expected_age(y_pred) - ops.reshape(y_true, (-1,)))


def gender_right(y_true: Any, y_pred: Any) -> Any:
    """1 where the more probable gender is the label's, else 0; [N]."""
    return ops.cast(ops.equal(ops.reshape(y_pred, (-1,)) > 0, ops.reshape(y_true, (-1,)) > 0.5), "float32")


def race_right(y_true: Any, y_pred: Any) -> Any:
    """1 where the most probable race is the label's, else 0; [N]."""
    answer = ops.cast(ops.argmax(y_pred, axis=-1), "float32")
    return ops.cast(ops.equal(answer, ops.reshape(y_true, (-1,))), "float32")


def losses_and_metrics(
    section: LossSection, outputs: tuple[str, ...]
) -> tuple[dict[str, keras.losses.Loss], dict[str, float], dict[str, list[Any]]]:
    """Loss, weight and metrics of each head, as `keras.Model.compile` takes them."""
    losses = {"age": AgeLoss(section), "gender": GenderLoss(section.label_smoothing), "race": RaceLoss(section.label_smoothing)}
    weights = {"age": 1.0, "gender": section.gender_weight, "race": section.race_weight}
    metrics: dict[str, list[Any]] = {
        "age": [MeanOfKnown(absolute_error, "mae")],
        "gender": [MeanOfKnown(gender_right, "accuracy")],
        "race": [MeanOfKnown(race_right, "accuracy")],
    }
    return (
        {name: losses[name] for name in outputs},
        {name: weights[name] for name in outputs},
        {name: metrics[name] for name in outputs},
    )
