"""The output of an expectation's head, classes of years, the years themselves, or both, and labels in that form.

Years are those of an age; of any other expectation they are hundredths of its range (see `service.models.manifest.Scale`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from keras import initializers, layers, ops

from service.arrays import Floats
from service.models.manifest import AGE
from training.datasets.base import MAX_AGE, UNKNOWN
from training.recipe import AgeSection, LossSection

INITIAL_AGE: Final = 30.0
"""First output, in years, of a rectified unit; one that began below zero would never learn."""


def class_years(form: AgeSection) -> Floats:
    """Which years each class holds: 1 or 0, [101, K]; years outside all classes belong to the nearest.

    Args:
        form: Output form of the age head.

    Returns:
        float32 [101, K].
    """
    starts = form.bins or tuple(range(form.first, form.last + 1))
    index = np.searchsorted(starts, np.clip(np.arange(MAX_AGE + 1), form.first, form.last), side="right") - 1
    held: Floats = np.eye(len(starts), dtype=np.float32)[index]
    return held


def spread(form: AgeSection) -> Floats:
    """Each class's distribution over whole years, [K, 101]: even over its own years, none of which lies outside the form's.

    Args:
        form: Output form of the age head.

    Returns:
        float32 [K, 101], whose rows add up to 1.
    """
    own: Floats = class_years(form).T.copy()
    own[:, : form.first] = own[:, form.last + 1 :] = 0
    own /= own.sum(axis=1, keepdims=True)
    return own


def head(branch: Any, form: AgeSection, attribute: str = AGE) -> Any:
    """The output nodes behind a branch: logits [N, K], years [N, 1], or both side by side [N, K + 1].

    Args:
        branch: Hidden units [N, H].
        form: Output form of the head.
        attribute: Name of the expectation, after which the layers are named.

    Returns:
        A tensor, float32.
    """
    classes = class_years(form).shape[1]
    if form.form == "classes":
        return layers.Dense(classes, dtype="float32", name=attribute)(branch)
    name = attribute if form.form == "regression" else f"{attribute}_years"
    bias = initializers.Constant(INITIAL_AGE)
    unit = layers.Dense(1, activation="relu", bias_initializer=bias, dtype="float32", name=name)(branch)
    if form.form == "regression":
        return unit
    logits = layers.Dense(classes, dtype="float32", name=f"{attribute}_classes")(branch)
    return layers.Concatenate(dtype="float32", name=attribute)([logits, unit])


def class_logits(outputs: Any, form: AgeSection) -> Any:
    """Logits [N, K] of the classes in the head's output; None where it gives years alone.

    Args:
        outputs: The head's output.
        form: Output form of the age head.

    Returns:
        Logits [N, K], or None.
    """
    if form.form == "regression":
        return None
    return outputs if form.form == "classes" else outputs[:, :-1]


def distribution(outputs: Any, form: AgeSection) -> Any:
    """Probability [N, 101] of every whole year, a class's spread evenly over its years; None where there are no classes.

    Args:
        outputs: The head's output.
        form: Output form of the age head.

    Returns:
        Probabilities [N, 101], or None.
    """
    logits = class_logits(outputs, form)
    if logits is None:
        return None
    shares = ops.softmax(logits)
    return shares if shares.shape[-1] == MAX_AGE + 1 else ops.matmul(shares, spread(form))


def years(outputs: Any, form: AgeSection) -> Any:
    """Age [N] in years: the rectified unit's, or the expectation of the distribution.

    Args:
        outputs: The head's output.
        form: Output form of the age head.

    Returns:
        Years [N].
    """
    if form.form != "classes":
        return outputs[:, -1]
    return ops.sum(distribution(outputs, form) * ops.arange(MAX_AGE + 1, dtype="float32"), axis=-1)


def known(label: Any, form: AgeSection) -> Any:
    """Labels [N] in years, -1 where unknown, to which those outside are added where the form does not know them.

    Args:
        label: Ages [N] in years.
        form: Output form of the age head.

    Returns:
        Ages [N] in years, -1 where unknown.
    """
    if form.outside == "nearest":
        return label
    return ops.where((label >= form.first) & (label <= form.last), label, float(UNKNOWN))


def soft_age(age: Any, sigma: float, slope: float, first: int = 0, last: int = MAX_AGE) -> Any:
    """Age label [N] in years as a distribution over the whole years from `first` to `last`: a Gaussian of deviation
    `sigma + slope * age`.

    The label distribution of Geng et al., "Facial age estimation by learning from label distributions", PAMI 2013; a wider
    one for older faces, whose age shows less exactly.

    Args:
        age: Ages [N] in years.
        sigma: Deviation at age 0, in years.
        slope: Its growth with every year of age.
        first: First year.
        last: Last year.

    Returns:
        Probabilities [N, last - first + 1].
    """
    age = ops.clip(age, first, last)[:, None]
    return ops.softmax(-0.5 * ops.square((_whole_years(first, last) - age) / (sigma + slope * age)), axis=-1)


def gap_age(age: Any, gap: float, first: int = 0, last: int = MAX_AGE) -> Any:
    """Age label [N] in years as a distribution over the whole years from `first` to `last` that peaks at the true age and falls
    off on either side, convex, by e every `gap` years: in proportion to `exp(-|year - age| / gap)`.

    Published is that the label is convex, peaks there and has a gap; the exponential is Facet's reading.

    Args:
        age: Ages [N] in years.
        gap: Years in which it falls off by e.
        first: First year.
        last: Last year.

    Returns:
        Probabilities [N, last - first + 1].
    """
    age = ops.clip(age, first, last)[:, None]
    return ops.softmax(-ops.abs(_whole_years(first, last) - age) / gap, axis=-1)


def target(age: Any, section: LossSection, form: AgeSection) -> Any:
    """Age label [N] in years as the distribution [N, K] over the form's classes that a recipe asks for.

    Args:
        age: Ages [N] in years.
        section: Losses of the recipe.
        form: Output form of the age head.

    Returns:
        Probabilities [N, K].
    """
    ends = form.first, form.last
    if section.age_label == "gaussian":
        label = soft_age(age, section.age_sigma, section.age_sigma_slope, *ends)
    elif section.age_label == "gap":
        label = gap_age(age, section.age_gap, *ends)
    else:
        nearest = ops.cast(ops.round(ops.clip(age, *ends)), "int32") - form.first
        label = ops.one_hot(nearest, form.last - form.first + 1, dtype="float32")
    return ops.matmul(label, class_years(form)[form.first : form.last + 1]) if form.bins else label


def divergence(label: Any, logits: Any, section: LossSection) -> Any:
    """Loss [N], in nats, of logits [N, K] whose probabilities should be `label` [N, K].

    The focal loss is that of Lin et al., "Focal loss for dense object detection", ICCV 2017, `-(1 - p)^γ log p`, of each class
    by its share of the label.

    Args:
        label: Probabilities [N, K].
        logits: Logits [N, K].
        section: Losses of the recipe.

    Returns:
        The loss [N].
    """
    logarithm = ops.log_softmax(logits, axis=-1)
    if section.age_divergence == "focal":
        logarithm = logarithm * ops.maximum(1 - ops.exp(logarithm), 1e-7) ** section.focal_gamma
    loss = -ops.sum(label * logarithm, axis=-1)
    if section.age_divergence == "kl":
        loss = loss + ops.sum(label * ops.log(ops.maximum(label, 1e-30)), axis=-1)
    return loss


def _whole_years(first: int, last: int) -> Any:
    return ops.arange(first, last + 1, dtype="float32")
