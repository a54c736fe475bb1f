"""Losses and metrics of the three heads; a label below zero is unknown and costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from training.data import MAX_AGE, RACES
from training.recipe import LossSection


def _label(y_true: Any) -> Any:
    """The data set's label [N], the first column of what a loss is given; a teacher's answer follows it, where there is one."""
    return y_true if len(y_true.shape) == 1 else y_true[:, 0]


def _taught(target: Any, y_true: Any, weight: float) -> tuple[Any, Any]:
    """The target [N, K] of labels, mixed with the teacher's answer by `weight`, and how much each picture counts [N].

    An unknown label's target is the teacher's alone and counts `weight`; without a teacher it counts nothing.
    """
    known = ops.cast(_label(y_true) >= 0, "float32")
    if len(y_true.shape) == 1 or y_true.shape[-1] == 1 or weight == 0:
        return target, known
    share = ops.where(known > 0, weight, 1.0)[:, None]
    return target * (1 - share) + y_true[:, 1:] * share, ops.where(known > 0, 1.0, weight)


def _years_of_teacher(y_true: Any) -> Any:
    """Labels as they are, and the expectation [N, 1] of a teacher's age distribution instead of it, where there is one."""
    if len(y_true.shape) == 1 or y_true.shape[-1] == 1:
        return y_true
    return ops.stack([y_true[:, 0], ops.sum(y_true[:, 1:] * _years(), axis=-1)], axis=1)


def soft_age(age: Any, sigma: float, slope: float) -> Any:
    """Age label [N] in years as a distribution [N, 101] over whole years: a Gaussian of deviation `sigma + slope * age`.

    The label distribution of Geng et al., "Facial age estimation by learning from label distributions", PAMI 2013; a wider
    one for older faces, whose age shows less exactly.
    """
    age = ops.clip(age, 0, MAX_AGE)[:, None]
    return ops.softmax(-0.5 * ops.square((_years() - age) / (sigma + slope * age)), axis=-1)


def expected_age(logits: Any) -> Any:
    """Expectation [N], in years, of the age distribution with these logits [N, 101]."""
    return ops.sum(ops.softmax(logits, axis=-1) * _years(), axis=-1)


def _years() -> Any:
    return ops.arange(MAX_AGE + 1, dtype="float32")


@keras.saving.register_keras_serializable("facet")
class AgeLoss(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy with the soft label plus absolute error of the expectation (Gao et al., DLDL-v2, IJCAI 2018)."""

    def __init__(self, section: LossSection) -> None:
        super().__init__(name="age_loss")
        self.section = section

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Per-picture loss [N] of labels in years, [N] or [N, 1 + 101] with a teacher's answers, and logits [N, 101]."""
        age = ops.clip(_label(y_true), 0, MAX_AGE)
        target = soft_age(age, self.section.age_sigma, self.section.age_sigma_slope)
        target, counts = _taught(target, y_true, self.section.teacher_weight)
        years, _ = _taught(age[:, None], _years_of_teacher(y_true), self.section.teacher_weight)
        entropy = -ops.sum(target * ops.log_softmax(y_pred, axis=-1), axis=-1)
        error = ops.abs(expected_age(y_pred) - years[:, 0])
        return counts * (self.section.age_distribution_weight * entropy + self.section.age_error_weight * error)


@keras.saving.register_keras_serializable("facet")
class GenderLoss(keras.losses.Loss):  # type: ignore[misc]
    """Binary cross-entropy with label smoothing."""

    def __init__(self, smoothing: float, teacher_weight: float = 0.0) -> None:
        super().__init__(name="gender_loss")
        self.smoothing, self.teacher_weight = smoothing, teacher_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Per-picture loss [N] of labels (1 is female), [N] or [N, 1 + 1] with a teacher's answers, and logits [N, 1]."""
        target = ops.clip(_label(y_true), 0, 1)[:, None] * (1 - self.smoothing) + self.smoothing / 2
        target, counts = _taught(target, y_true, self.teacher_weight)
        logit = ops.reshape(y_pred, (-1,))
        return counts * (ops.softplus(logit) - target[:, 0] * logit)


@keras.saving.register_keras_serializable("facet")
class RaceLoss(keras.losses.Loss):  # type: ignore[misc]
    """Categorical cross-entropy with label smoothing."""

    def __init__(self, smoothing: float, teacher_weight: float = 0.0) -> None:
        super().__init__(name="race_loss")
        self.smoothing, self.teacher_weight = smoothing, teacher_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Per-picture loss [N] of labels (indices into `RACES`), [N] or [N, 1 + 5] with a teacher's answers, and logits
        [N, 5]."""
        target = ops.one_hot(ops.cast(ops.maximum(_label(y_true), 0), "int32"), len(RACES))
        target = target * (1 - self.smoothing) + self.smoothing / len(RACES)
        target, counts = _taught(target, y_true, self.teacher_weight)
        return counts * -ops.sum(target * ops.log_softmax(y_pred, axis=-1), axis=-1)


@keras.saving.register_keras_serializable("facet")
class HintLoss(keras.losses.Loss):  # type: ignore[misc]
    """Distance of two descriptors: 1 less their cosine."""

    def __init__(self) -> None:
        super().__init__(name="hint_loss")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Per-picture loss [N] of descriptors [N, D], of unit length or zero where unknown, and answers [N, D]."""
        known = ops.cast(ops.any(y_true != 0, axis=-1), "float32")
        return known * (1 - ops.sum(y_true * ops.normalize(y_pred, axis=-1), axis=-1))


class MeanOfKnown(keras.metrics.MeanMetricWrapper):  # type: ignore[misc]
    """Mean of a function of labels and logits over the pictures whose label is known, of all batches alike."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true = _label(y_true)
        known = ops.cast(y_true >= 0, "float32")
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
    section: LossSection, outputs: Sequence[str]
) -> tuple[dict[str, keras.losses.Loss], dict[str, float], dict[str, list[Any]]]:
    """Loss, weight and metrics of each head, as `keras.Model.compile` takes them."""
    shares = section.label_smoothing, section.teacher_weight
    losses = {"age": AgeLoss(section), "gender": GenderLoss(*shares), "race": RaceLoss(*shares), "hint": HintLoss()}
    weights = {"age": 1.0, "gender": section.gender_weight, "race": section.race_weight, "hint": section.hint_weight}
    metrics: dict[str, list[Any]] = {
        "age": [MeanOfKnown(absolute_error, "mae")],
        "gender": [MeanOfKnown(gender_right, "accuracy")],
        "race": [MeanOfKnown(race_right, "accuracy")],
        "hint": [],
    }
    return (
        {name: losses[name] for name in outputs},
        {name: weights[name] for name in outputs},
        {name: metrics[name] for name in outputs},
    )
