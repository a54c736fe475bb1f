"""Another run's weights into a network: what is kept of them, what begins anew, and what no longer learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from training.errors import RecipeError, WeightsError
from training.models.age_head import class_years
from training.models.heads import EMBEDDING, TRUNK, build, load_weights
from training.recipe import RECIPE, AgeSection, Recipe, TransferSection, load_recipe

Shape = tuple[int, ...]


def go_on_from(network: keras.Model, recipe: Recipe, start: Path) -> None:
    """Give the network the weights of another run's, which the recipe beside them describes.

    The output nodes of the heads in `transfer.replaced` begin anew, and so do a head and a face embedding that the other
    network lacks; an embedding that this one lacks is left.

    Args:
        network: The network of `recipe`, which is changed.
        recipe: The recipe of the run that begins.
        start: Weights file of a finished run, with its `recipe.json` beside it; the same recipe's where there is none.

    Raises:
        WeightsError: Anything else differs, or a head that is kept has other labels or values.
    """
    path, replaced = start.parent / RECIPE, recipe.transfer.replaced
    theirs = load_recipe(path) if path.exists() else recipe
    known = {attribute.name: attribute for attribute in theirs.learnt}
    for attribute in recipe.learnt:
        before = known.get(attribute.name)
        if before is None or attribute.name in replaced:
            continue
        if before.labels != attribute.labels:
            raise WeightsError(f"the labels of {attribute.name} are not those of {start}; transfer.replaced begins heads anew")
        forms = theirs.network.form_of(before), recipe.network.form_of(attribute)
        if before.scale != attribute.scale or _of_other_years(*forms):
            raise WeightsError(f"the values of {attribute.name} are not those of {start}; transfer.replaced begins heads anew")
    other = build(theirs.network.model_copy(update={"size": recipe.network.size}), attributes=theirs.attributes)
    load_weights(other, start)
    given = {layer.name: layer.get_weights() for layer in other.layers if layer.get_weights()}
    for layer in network.layers:
        weights = layer.get_weights()
        if not weights or _reinitialised(layer.name, _shapes(weights), given, recipe.network.outputs, replaced):
            continue
        if layer.name not in given or _shapes(weights) != _shapes(given[layer.name]):
            raise WeightsError(
                f"the network differs from that of {start} in its {layer.name}; transfer.replaced begins heads anew"
            )
        layer.set_weights(given[layer.name])


def _of_other_years(one: AgeSection, other: AgeSection) -> bool:
    """Whether as many classes stand for other years; a head of another form or number of classes has other shapes."""
    held = class_years(one), class_years(other)
    return one.form == other.form != "regression" and held[0].shape == held[1].shape and not np.array_equal(*held)


def _reinitialised(
    name: str, shapes: list[Shape], given: Mapping[str, Sequence[Any]], heads: Sequence[str], replaced: Sequence[str]
) -> bool:
    """Whether a layer keeps the weights that it was made with."""
    if name == EMBEDDING:
        return shapes != _shapes(given.get(EMBEDDING, ()))
    if name == TRUNK:
        return False
    head = max((one for one in heads if name == one or name.startswith(f"{one}_")), key=len)
    return f"{head}_hidden" not in given or (head in replaced and not name.endswith("_hidden"))


def _shapes(weights: Sequence[Any]) -> list[Shape]:
    return [weight.shape for weight in weights]


def freeze(network: keras.Model, section: TransferSection) -> None:
    """Take the first layers of the trunk, or all, out of what learns; batch normalisation among them keeps its statistics.

    Args:
        network: The network, which is changed.
        section: How many layers.

    Raises:
        RecipeError: The trunk has fewer layers.
    """
    trunk = network.get_layer(TRUNK)
    if section.frozen_layers == "all":
        trunk.trainable = False
        return
    if section.frozen_layers > len(trunk.layers):
        raise RecipeError(f"{section.frozen_layers} layers cannot be frozen: {network.name} has {len(trunk.layers)}")
    for layer in trunk.layers[: section.frozen_layers]:
        layer.trainable = False
