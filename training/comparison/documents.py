"""The document of a comparison, `compare.json`; documents with the keys of earlier versions are read as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from service.models.evaluation import Figures
from service.models.manifest import Section
from training.evaluation.documents import DEFAULT_ATTRIBUTES
from training.evaluation.predictions import AttributeSpec

_OLD_KEYS: Final = {
    "age_taught": "age_range",
    "age_taught_mae": "age_range_mae",
    "blind": "constant_baseline",
    "thawed": "unfrozen",
}


def _renamed(fields: Any) -> Any:
    """Fields of a document, with today's keys in the place of those of earlier versions."""
    return {_OLD_KEYS.get(key, key): value for key, value in fields.items()} if isinstance(fields, Mapping) else fields


class RecipeFigures(Figures):
    """Figures of one recipe on one data set."""

    _read_old_keys = model_validator(mode="before")(_renamed)

    age_range: tuple[int, int] | None = None
    """First and last age that the network was trained on, where it was not trained on all."""
    age_range_mae: float | None = None
    """Mean absolute error over those, in years."""
    age_classes: int | None = None
    """Classes of years that the network has."""


class Run(Section):
    """One training run of a recipe's chain."""

    run: str
    recipe: str
    batch: int
    epochs: int
    pictures: int
    cpu_seconds: float


class TrainedRecipe(Section):
    """What a recipe is, and what its training took."""

    _read_old_keys = model_validator(mode="before")(_renamed)

    architecture: str
    size: int
    """Side of the input in pixels."""
    outputs: tuple[str, ...]
    init: str
    """Initial weights."""
    unfrozen: bool
    """Whether nothing is frozen although the recipe freezes layers, since its weights are random."""
    state: Literal["finished", "diverged"]
    follows: tuple[str, ...]
    """Recipes that led to it."""
    batch: int
    train: tuple[str, ...] = ()
    """Data sets whose training split it learnt; those that all learn where there is none."""
    runs: tuple[Run, ...]
    pictures: int
    """Pictures seen."""
    cpu_seconds: float


class MeasuredRecipe(Section):
    """What a trained network costs, and its figures."""

    weights: int
    multiply_adds: int
    """Of one face."""
    precision: str | None = None
    latency_ms: float | None = None
    """Of one face."""
    figures: dict[str, RecipeFigures]
    """By data set; none of a recipe that diverged in its first epoch."""


class RecipeResult(MeasuredRecipe, TrainedRecipe):
    """What a recipe is, took and gave."""

    name: str
    system: str
    """Published system that it is of."""
    published: str
    """Figures that were published, and of which data."""
    differs: str
    """What else than data and budget is not as published."""


class Budget(Section):
    """What each recipe has: CPU time, a number of pictures, or whichever of both ends first."""

    minutes: float | None = Field(default=None, gt=0)
    """CPU minutes of training."""
    pictures: int | None = Field(default=None, ge=1)
    """Pictures seen, repeated ones included."""


class ComparisonReport(Section):
    """Recipes side by side, and what was alike for all."""

    _read_old_keys = model_validator(mode="before")(_renamed)

    split: str
    budget: Budget
    cpus: int
    data: dict[str, dict[str, int]]
    """Pictures by data set and split."""
    override: dict[str, Any]
    """What took the place of values of every recipe, in tables shaped like its own."""
    constant_baseline: dict[str, RecipeFigures]
    """Figures, by data set, of a constant prediction that is made of the labels of train alone."""
    recipes: tuple[RecipeResult, ...]
    attributes: tuple[AttributeSpec, ...] = DEFAULT_ATTRIBUTES

    @property
    def sets(self) -> list[str]:
        """Names of the data sets that were measured, UTKFace before All-Age-Faces."""
        return sorted(self.constant_baseline, reverse=True)
