"""Another run's weights into a network: what is kept of them, what begins anew, and what no longer learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from training.models.heads import HINT, TRUNK, build
from training.recipe import NetworkSection, Recipe, TransferSection

Shape = tuple[int, ...]


def go_on_from(network: keras.Model, section: NetworkSection, start: Path, replaced: Sequence[str] = ()) -> None:
    """Give the network the weights of another run's, as the recipe beside them says.

    The output nodes of the heads in `replaced` begin anew, and so do a head and a descriptor that the other network lacks; a
    descriptor that this one lacks is left. Raises `ValueError` where anything else differs.
    """
    path = start.parent / "recipe.json"
    theirs = Recipe.model_validate_json(path.read_text()).network if path.exists() else section
    other = build(theirs.model_copy(update={"size": section.size}))
    other.load_weights(start)
    given = {layer.name: layer.get_weights() for layer in other.layers if layer.get_weights()}
    for layer in network.layers:
        weights = layer.get_weights()
        if not weights or _anew(layer.name, _shapes(weights), given, replaced):
            continue
        if layer.name not in given or _shapes(weights) != _shapes(given[layer.name]):
            raise ValueError(
                f"the network differs from that of {start} in its {layer.name}; transfer.replaced begins heads anew"
            )
        layer.set_weights(given[layer.name])


def _anew(name: str, shapes: list[Shape], given: Mapping[str, Sequence[Any]], replaced: Sequence[str]) -> bool:
    """Whether a layer keeps the weights that it was made with."""
    if name == HINT:
        return shapes != _shapes(given.get(HINT, ()))
    if name == TRUNK:
        return False
    head = name.partition("_")[0]
    return f"{head}_hidden" not in given or (head in replaced and not name.endswith("_hidden"))


def _shapes(weights: Sequence[Any]) -> list[Shape]:
    return [weight.shape for weight in weights]


def freeze(network: keras.Model, section: TransferSection) -> None:
    """Take the first layers of the trunk, or all, out of what learns; batch normalisation among them keeps its statistics.

    Raises `ValueError` where the trunk has fewer layers.
    """
    trunk = network.get_layer(TRUNK)
    if section.frozen_layers == "all":
        trunk.trainable = False
        return
    if section.frozen_layers > len(trunk.layers):
        raise ValueError(f"{section.frozen_layers} layers cannot be frozen: {network.name} has {len(trunk.layers)}")
    for layer in trunk.layers[: section.frozen_layers]:
        layer.trainable = False
