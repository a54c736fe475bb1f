"""Finished runs as teachers: the probabilities of their networks for any pictures.

A teacher that predicts the very variant which its pupil sees, mixed pictures among them, is a function to be matched at as many
points as there are variants, where one prediction for each crop is learnt by heart (Beyer et al., "Knowledge distillation: a
good teacher is patient and consistent", CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from service.arrays import Floats, Pixels
from training.errors import RunError
from training.fit.augmentation import resized
from training.models import age_head, label_head
from training.models.heads import build, dtype_policy, load_weights
from training.models.pixels import scaled
from training.provenance import WEIGHTS
from training.recipe import RECIPE, AgeSection, Attribute, Recipe, load_recipe

Probabilities = dict[str, Floats]


class TeacherNetwork:
    """The best network of a finished run.

    Args:
        run: Folder of the run.

    Raises:
        RunError: The run lacks a head, or has no distribution of ages.
        FileNotFoundError: There is no such run.
        WeightsError: Its weights are damaged.
    """

    def __init__(self, run: Path) -> None:
        self.recipe: Recipe = load_recipe(run / RECIPE)
        if set(self.recipe.learnt) != set(self.recipe.attributes):
            heads = ", ".join(self.recipe.network.outputs)
            raise RunError(f"{run} has the heads {heads} alone; a teacher needs all attributes")
        for one in self.recipe.learnt:
            if one.kind == "expectation" and self.recipe.network.form_of(one).form == "regression":
                raise RunError(f"{run} predicts the {one.name} as a number alone; a teacher needs its distribution")
        with dtype_policy(self.recipe.schedule.policy):
            self.network: keras.Model = build(self.recipe.network, attributes=self.recipe.attributes)
        load_weights(self.network, run / WEIGHTS)

    @property
    def size(self) -> int:
        """Side of its pixels."""
        return self.recipe.network.size

    def probabilities(self, pictures: Sequence[Pixels] | Pixels, mirror: bool = False) -> Probabilities:
        """What it predicts.

        Args:
            pictures: uint8 RGB [B, S, S, 3], of any side.
            mirror: Whether that is the mean of the predictions for a picture and its mirror image.

        Returns:
            Probabilities by attribute: `age` [B, 101], of the second of two labels [B, 1], of each of K others [B, K].
        """
        pixels = scaled(np.stack([resized(picture, self.size) for picture in pictures]))
        outputs = [self.network.predict_on_batch(one) for one in ([pixels, pixels[:, :, ::-1]] if mirror else [pixels])]
        return {
            attribute.name: np.mean(
                [_probabilities(one[attribute.name], attribute, self.recipe.network.form_of(attribute)) for one in outputs],
                axis=0,
                dtype=np.float32,
            )
            for attribute in self.recipe.learnt
        }


def attributes_of(recipes: dict[Path, Recipe]) -> tuple[Attribute, ...]:
    """The attributes that all runs learn.

    Args:
        recipes: Recipe of each run, by its folder.

    Returns:
        Those of the first run.

    Raises:
        RunError: The runs learn different attributes.
    """
    runs = list(recipes)
    for run in runs[1:]:
        if set(recipes[run].attributes) != set(recipes[runs[0]].attributes):
            raise RunError(f"{run} and {runs[0]} learn different attributes")
    return recipes[runs[0]].attributes


def mean_probabilities(teachers: Sequence[TeacherNetwork], pictures: Sequence[Pixels] | Pixels) -> Probabilities:
    """The mean of teachers' predictions.

    Args:
        teachers: One or more, of the same attributes.
        pictures: uint8 RGB [B, S, S, 3], of any side.

    Returns:
        Probabilities by attribute, as a teacher gives them.
    """
    each = [teacher.probabilities(pictures) for teacher in teachers]
    return {name: np.mean([one[name] for one in each], axis=0, dtype=np.float32) for name in each[0]}


def _probabilities(outputs: Any, attribute: Attribute, form: AgeSection) -> Floats:
    if attribute.kind == "expectation":
        return np.asarray(ops.convert_to_numpy(age_head.distribution(outputs, form)))
    values = ops.convert_to_numpy(label_head.probabilities(outputs, attribute))
    return np.asarray(values).reshape(len(values), -1)
