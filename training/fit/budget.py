"""A recipe to one that ends after a given number of pictures, its schedule squeezed into them; pure functions.

Recipes were published for hours of training; what all of them can have alike is less. A schedule that was cut off would be
compared at its highest rate, so it is squeezed instead: the same phases, each shorter.
"""

from __future__ import annotations

import math
from typing import Any, Final

from training.recipe import PhaseSection, Recipe, ScheduleSection, changed

MIN_EPOCHS: Final = 6
"""Epochs of a short run, each of a part of the pictures: what changes by the epoch needs some, and each costs a validation."""
EXTRA_EPOCHS: Final = 3
"""Epochs more that a run may have where it then loses fewer steps: all its epochs are equally long."""
MIN_STEPS: Final = 100
"""Steps below which a batch is halved: a batch of 512 would leave a short run a handful."""
MIN_BATCH: Final = 16
"""Pictures below which it is not."""
VALIDATION: Final = 256
"""Pictures of validation that choose a short run's best epoch."""
SETTLING_TIME_CONSTANTS: Final = 10
"""Time constants of batch normalisation's moving statistics that fit into a shortened run."""


def published(recipe: Recipe, train: int) -> int:
    """Pictures that a recipe sees by itself: whole batches, all epochs, all parts; at most `epoch_steps` of an epoch.

    Args:
        recipe: The recipe.
        train: Pictures of the training split.

    Returns:
        A number of pictures, repetitions counted.
    """
    schedule = recipe.schedule
    return schedule.epochs * schedule.parts * _steps(schedule, train, schedule.batch_size) * schedule.batch_size


def shortened(recipe: Recipe, pictures: int, train: int, steps: int = 0) -> Recipe:
    """The recipe as it ends after `pictures` at most, of a training split of `train`; itself where it ends before.

    Epochs are fewer and shorter, and so is all that is counted in them; early stopping is off, since the budget ends the run.
    Phases of composed batches begin after the same share of `steps`, or of the recipe's own where that is 0. Batches are halved
    where few would be left, but not composed ones.

    Args:
        recipe: The recipe.
        pictures: Most pictures that it may see.
        train: Pictures of the training split.
        steps: Steps that phases are counted in; the recipe's own where 0.

    Returns:
        Another recipe, or the same one.
    """
    if pictures >= published(recipe, train):
        return recipe
    schedule = recipe.schedule
    batch = _batch(recipe, pictures)
    of_part = max(1, pictures // (batch * schedule.parts))
    fewest = max(math.ceil(of_part / _steps(schedule, train, batch)), math.ceil(MIN_EPOCHS / schedule.parts))
    possible = range(min(fewest, schedule.epochs, of_part), min(fewest + EXTRA_EPOCHS, schedule.epochs, of_part) + 1)
    epochs = min(possible, key=lambda count: of_part % count)
    values: dict[str, Any] = {
        "schedule": {"batch_size": batch, "epoch_steps": of_part // epochs, **_counted_in_epochs(schedule, epochs)},
        "data": {"validation_pictures": recipe.data.validation_pictures or VALIDATION},
        "network": {"norm_momentum": min(recipe.network.norm_momentum, max(0.5, 1 - SETTLING_TIME_CONSTANTS / of_part))},
    }
    if recipe.balance.groups is not None:
        of_recipe = steps or published(recipe, train) // schedule.batch_size
        values["balance"] = {"groups": {"phases": _phases(recipe.balance.groups.phases, of_part / of_recipe)}}
    return changed(recipe, values)


def _steps(schedule: ScheduleSection, train: int, batch: int) -> int:
    """Steps of an epoch in batches of so many: those that leave out no picture, or see as many as `epoch_steps` let it see."""
    steps = max(1, train // schedule.parts // batch)
    return min(steps, schedule.epoch_steps * schedule.batch_size // batch) if schedule.epoch_steps else steps


def _batch(recipe: Recipe, pictures: int) -> int:
    batch = recipe.schedule.batch_size
    while recipe.balance.groups is None and batch >= 2 * MIN_BATCH and pictures // batch < MIN_STEPS:
        batch //= 2
    return batch


def _counted_in_epochs(schedule: ScheduleSection, epochs: int) -> dict[str, Any]:
    """What a schedule counts in epochs, as a run of `epochs` counts it."""
    share = epochs / schedule.epochs
    rates = {round(first * share): rate for first, rate in schedule.steps}  # of two in one epoch, the later
    steps = [[first, rate] for first, rate in rates.items() if first < epochs]
    return {
        "epochs": epochs,
        "warmup_epochs": schedule.warmup_epochs * share,
        "rate": "constant" if schedule.rate == "step" and not steps else schedule.rate,
        "steps": steps,
        "rate_epochs": max(1, round(schedule.rate_epochs * share)),
        "rate_decay": schedule.rate_decay / share,
        "stop_epochs": 0,
    }


def _phases(phases: tuple[PhaseSection, ...], share: float) -> list[dict[str, Any]]:
    """Phases whose first steps are a share of what they were, each at least one behind that before it."""
    squeezed: list[dict[str, Any]] = []
    for number, phase in enumerate(phases):
        squeezed.append(phase.model_dump(mode="json") | {"step": max(number, round(phase.step * share))})
    return squeezed
