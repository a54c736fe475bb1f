"""Losses and metrics of the heads; a label below zero is unknown and costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from service.models.manifest import AGE
from training.datasets.base import MAX_AGE
from training.models import age_head as ages
from training.models import label_head
from training.models.heads import EMBEDDING
from training.models.label_head import second_logit
from training.recipe import ATTRIBUTES, AgeSection, Attribute, LossSection


def _label(y_true: Any) -> Any:
    """The data set's label [N]: the first column of what a loss is given, before a teacher's probabilities."""
    return y_true if len(y_true.shape) == 1 else y_true[:, 0]


def _mixed(target: Any, y_true: Any, weight: float) -> tuple[Any, Any]:
    """The target [N, K] of labels, mixed with the teacher's probabilities by `weight`, and how much each picture counts [N].

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
    years = ops.arange(MAX_AGE + 1, dtype="float32")
    return ops.stack([y_true[:, 0], ops.sum(y_true[:, 1:] * years, axis=-1)], axis=1)


def _within(y_true: Any, form: AgeSection) -> Any:
    """Labels, before a teacher's probabilities where there are some; those that the form does not know are unknown."""
    if len(y_true.shape) == 1:
        return ages.known(y_true, form)
    return ops.concatenate([ages.known(y_true[:, :1], form), y_true[:, 1:]], axis=1)


def _classes_of_teacher(y_true: Any, form: AgeSection) -> Any:
    """Labels as they are, and a teacher's age distribution, where there is one, over the form's classes."""
    if len(y_true.shape) == 1 or y_true.shape[-1] == 1:
        return y_true
    return ops.concatenate([y_true[:, :1], ops.matmul(y_true[:, 1:], ages.class_years(form))], axis=1)


@keras.saving.register_keras_serializable("facet")
class AgeLoss(keras.losses.Loss):  # type: ignore[misc]
    """Divergence from the label of the classes plus error of the age in years, as far as the head gives them; by default
    cross-entropy with a soft label and absolute error of the expectation (Gao et al., DLDL-v2, IJCAI 2018).
    """

    def __init__(self, section: LossSection, form: AgeSection | None = None) -> None:
        super().__init__(name="age_loss")
        self.section, self.form = section, form or AgeSection()

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Per-picture loss [N] of labels in years, [N] or [N, 1 + 101] with a teacher's probabilities, and the head's output.

        Args:
            y_true: Ages in years [N], or [N, 1 + 101] with a teacher's probabilities; unknown below 0.
            y_pred: The age head's output.

        Returns:
            The loss [N].
        """
        section, form = self.section, self.form
        y_true = _within(y_true, form)
        age = ops.clip(_label(y_true), form.first, form.last)
        years, counts = _mixed(age[:, None], _years_of_teacher(y_true), section.teacher_weight)
        error = ages.years(y_pred, form) - years[:, 0]
        loss = section.age_error_weight * (ops.abs(error) if section.age_error == "absolute" else ops.square(error))
        logits = ages.class_logits(y_pred, form)
        if logits is not None:
            label, _ = _mixed(ages.target(age, section, form), _classes_of_teacher(y_true, form), section.teacher_weight)
            loss = loss + section.age_distribution_weight * ages.divergence(label, logits, section)
        return counts * loss


@keras.saving.register_keras_serializable("facet")
class BinaryCrossEntropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of two labels, with label smoothing; of two units it is their categorical cross-entropy."""

    def __init__(self, smoothing: float, teacher_weight: float = 0.0) -> None:
        super().__init__(name="binary_cross_entropy")
        self.smoothing, self.teacher_weight = smoothing, teacher_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of every picture.

        Args:
            y_true: Labels, 0 or 1 [N], or [N, 1 + 1] with a teacher's probabilities; unknown below 0.
            y_pred: Logits [N, 1] of the second label, or [N, 2] of both.

        Returns:
            The loss [N] in nats.
        """
        target = ops.clip(_label(y_true), 0, 1)[:, None] * (1 - self.smoothing) + self.smoothing / 2
        target, counts = _mixed(target, y_true, self.teacher_weight)
        logit = second_logit(y_pred)
        return counts * (ops.softplus(logit) - target[:, 0] * logit)


@keras.saving.register_keras_serializable("facet")
class CategoricalCrossEntropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of three labels or more, with label smoothing."""

    def __init__(self, smoothing: float, teacher_weight: float = 0.0) -> None:
        super().__init__(name="categorical_cross_entropy")
        self.smoothing, self.teacher_weight = smoothing, teacher_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of every picture.

        Args:
            y_true: Indices of labels [N], or [N, 1 + K] with a teacher's probabilities; unknown below 0.
            y_pred: Logits [N, K].

        Returns:
            The loss [N] in nats.
        """
        count = y_pred.shape[-1]
        target = ops.one_hot(ops.cast(ops.maximum(_label(y_true), 0), "int32"), count)
        target = target * (1 - self.smoothing) + self.smoothing / count
        target, counts = _mixed(target, y_true, self.teacher_weight)
        return counts * -ops.sum(target * ops.log_softmax(y_pred, axis=-1), axis=-1)


@keras.saving.register_keras_serializable("facet")
class EmbeddingLoss(keras.losses.Loss):  # type: ignore[misc]
    """Distance of two face embeddings: 1 less their cosine."""

    def __init__(self) -> None:
        super().__init__(name="embedding_loss")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of every picture.

        Args:
            y_true: Embeddings [N, D], of unit length, or zero where unknown.
            y_pred: Outputs [N, D] of any length.

        Returns:
            The loss [N], from 0 to 2.
        """
        known = ops.cast(ops.any(y_true != 0, axis=-1), "float32")
        return known * (1 - ops.sum(y_true * ops.normalize(y_pred, axis=-1), axis=-1))


class MeanOfKnown(keras.metrics.MeanMetricWrapper):  # type: ignore[misc]
    """Mean of a function of labels and logits over the pictures whose label is known, of all batches alike; an age, where its
    `form` is given, in that form.
    """

    def __init__(self, function: Any, name: str, form: AgeSection | None = None) -> None:
        super().__init__(function, name, **({} if form is None else {"form": form}))
        self.form = form

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch in.

        Args:
            y_true: Labels [N], or [N, 1 + K] beside a teacher's predictions; below 0 where unknown.
            y_pred: What the head gives [N, ...].
            sample_weight: Weights of the pictures [N]; all alike where it is None.
        """
        y_true = _label(y_true) if self.form is None else ages.known(_label(y_true), self.form)
        known = ops.cast(y_true >= 0, "float32")
        super().update_state(y_true, y_pred, known if sample_weight is None else known * sample_weight)


def absolute_error(y_true: Any, y_pred: Any, form: AgeSection) -> Any:
    """Absolute error [N] of the age in years.

    Args:
        y_true: Ages [N] in years.
        y_pred: The age head's output.
        form: Output form of the age head.

    Returns:
        Years [N].
    """
    return ops.abs(ages.years(y_pred, form) - ops.reshape(y_true, (-1,)))


def age_class_right(y_true: Any, y_pred: Any, form: AgeSection) -> Any:
    """1 where the most probable class of years is that of the label, else 0; [N].

    Args:
        y_true: Ages [N] in years.
        y_pred: The age head's output.
        form: Output form of the age head.

    Returns:
        float32 [N].
    """
    year = ops.cast(ops.round(ops.clip(ops.reshape(y_true, (-1,)), 0, MAX_AGE)), "int32")
    of_label = ops.take(ages.class_years(form).argmax(axis=1), year)
    predicted = ops.argmax(ages.class_logits(y_pred, form), axis=-1)
    return ops.cast(ops.equal(ops.cast(predicted, "int32"), ops.cast(of_label, "int32")), "float32")


def binary_right(y_true: Any, y_pred: Any) -> Any:
    """Whether the more probable of two labels is the right one.

    Args:
        y_true: Labels [N], 0 or 1.
        y_pred: Logits [N, 1] of the second label, or [N, 2] of both.

    Returns:
        1 where it is, else 0; [N].
    """
    return ops.cast(ops.equal(second_logit(y_pred) > 0, ops.reshape(y_true, (-1,)) > 0.5), "float32")


def categorical_right(y_true: Any, y_pred: Any) -> Any:
    """Whether the most probable label is the right one.

    Args:
        y_true: Indices of labels [N].
        y_pred: Logits [N, K].

    Returns:
        1 where it is, else 0; [N].
    """
    predicted = ops.cast(ops.argmax(y_pred, axis=-1), "float32")
    return ops.cast(ops.equal(predicted, ops.reshape(y_true, (-1,))), "float32")


def losses_and_metrics(
    section: LossSection,
    outputs: Sequence[str],
    form: AgeSection | None = None,
    attributes: Sequence[Attribute] = ATTRIBUTES,
) -> tuple[dict[str, keras.losses.Loss], dict[str, float], dict[str, list[Any]]]:
    """What `keras.Model.compile` takes of each head.

    Args:
        section: Losses of the recipe.
        outputs: Names of the heads: attributes, and `EMBEDDING`.
        form: Output form of the age head.
        attributes: What the recipe declares.

    Returns:
        Loss, weight and metrics of each head, by name.
    """
    declared = {attribute.name: attribute for attribute in attributes}
    losses: dict[str, keras.losses.Loss] = {}
    weights: dict[str, float] = {}
    metrics: dict[str, list[Any]] = {}
    for name in outputs:
        if name == EMBEDDING:
            losses[name], weights[name], metrics[name] = EmbeddingLoss(), section.embedding_weight, []
        else:
            weights[name] = section.weight_of(name)
            losses[name], metrics[name] = _of_attribute(declared[name], section, _form(declared[name], form))
    return losses, weights, metrics


def _form(attribute: Attribute, of_age: AgeSection | None) -> AgeSection:
    return of_age if of_age is not None and attribute.name == AGE else AgeSection()


def _of_attribute(attribute: Attribute, section: LossSection, form: AgeSection) -> tuple[keras.losses.Loss, list[Any]]:
    """Loss and metrics of an attribute's head."""
    if attribute.kind == "expectation":
        metrics = [MeanOfKnown(absolute_error, "mae", form)]
        if form.form != "regression" and form != AgeSection():
            metrics.append(MeanOfKnown(age_class_right, "accuracy", form))
        return AgeLoss(section.of_expectation(attribute), form), metrics
    shares = section.label_smoothing, section.teacher_weight
    if label_head.width(attribute) == 1:
        return BinaryCrossEntropy(*shares), [MeanOfKnown(binary_right, "accuracy")]
    return CategoricalCrossEntropy(*shares), [MeanOfKnown(categorical_right, "accuracy")]
