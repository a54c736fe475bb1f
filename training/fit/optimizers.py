"""What takes a step: the optimizers of a recipe, none of which a bad batch can ruin."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.fit.schedules import WarmupCosine
from training.recipe import ScheduleSection


class _ApplyIfFinite:
    """Takes a gradient that is not finite anywhere for zero everywhere: one bad batch must not end a long run."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        finite = ops.all(ops.stack([ops.all(ops.isfinite(grad)) for grad in grads if grad is not None]))
        safe = [grad if grad is None else ops.where(finite, grad, ops.zeros_like(grad)) for grad in grads]
        return super().apply(safe, trainable_variables)  # type: ignore[misc]


@keras.saving.register_keras_serializable("facet")
class AdamWIfFinite(_ApplyIfFinite, keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW that skips a bad gradient."""


@keras.saving.register_keras_serializable("facet")
class AdamIfFinite(_ApplyIfFinite, keras.optimizers.Adam):  # type: ignore[misc]
    """Adam that skips a bad gradient."""


@keras.saving.register_keras_serializable("facet")
class SGDIfFinite(_ApplyIfFinite, keras.optimizers.SGD):  # type: ignore[misc]
    """Stochastic gradient descent that skips a bad gradient."""


def optimizer(section: ScheduleSection, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer of a recipe, with the cosine schedule, or the rate of the first epoch of any other.

    Args:
        section: The schedule.
        steps_per_epoch: Steps of an epoch.

    Returns:
        The optimizer, before it has seen variables.
    """
    rate: Any = section.learning_rate
    if section.rate == "cosine":
        steps = section.epochs * steps_per_epoch
        rate = WarmupCosine(section.learning_rate, round(section.warmup_epochs * steps_per_epoch), steps)
    common = {
        "global_clipnorm": section.clip_norm or None,
        "use_ema": section.ema_momentum > 0,
        "ema_momentum": section.ema_momentum,
    }
    if section.optimizer == "adam":
        return AdamIfFinite(rate, **common)
    if section.optimizer == "sgd":
        return SGDIfFinite(rate, momentum=section.momentum, **common)
    adamw = AdamWIfFinite(rate, weight_decay=section.weight_decay, **common)
    adamw.exclude_from_weight_decay(var_names=["bias", "beta", "gamma", "alpha"])
    return adamw
