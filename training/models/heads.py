"""The networks that can be trained, by name; each ends in the heads that a recipe asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import keras
from keras import layers

from training.datasets.base import MAX_AGE, RACES
from training.models import age_head as ages
from training.models.architectures import ARCHITECTURES, IMAGENET, RANDOM
from training.recipe import NetworkSection

TRUNK: Final = "trunk"
"""Name of the part below the heads."""
HINT: Final = "hint"
"""Name of the head that gives a descriptor while the network is trained."""

UNITS: Final = {"age": MAX_AGE + 1, "gender": 1, "race": len(RACES)}
"""What is known of each head's label at the most: a distribution over whole years, the odds of female, and the races; and the
logits of each head where a recipe asks for nothing else."""


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Keras's dtype policy inside the block; whatever it was behind it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build(section: NetworkSection, init: str = RANDOM) -> keras.Model:
    """The network of a recipe: pixels in [-1, 1], [N, S, S, 3], to a dictionary of logits.

    `init` is `imagenet` (fetched by Keras), `random`, or the path of a weights file of the trunk. Raises `ValueError` for an
    unknown architecture or another network's weights, and `FileNotFoundError` for a weights file that is not there.
    """
    if section.architecture not in ARCHITECTURES:
        raise ValueError(f"no architecture {section.architecture!r}; there is: {', '.join(sorted(ARCHITECTURES))}")
    if init not in (IMAGENET, RANDOM) and not Path(init).is_file():
        raise FileNotFoundError(f"no initial weights at {init}")
    try:
        trunk = ARCHITECTURES[section.architecture](section.size, init)
        trunk.name = TRUNK
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no {section.architecture} of {section.size} pixels with the weights {init}: {str(error).partition('. ')[0]}"
        ) from error
    for layer in trunk.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = min(layer.momentum, section.norm_momentum)
    return assemble(trunk, section, section.dropout, hints=True)


def assemble(trunk: keras.Model, section: NetworkSection, dropout: float, hints: bool = False) -> keras.Model:
    """The heads of a recipe on a trunk; without dropout layers where `dropout` is 0, and without `hints`, as in serving."""
    pixels = keras.Input((section.size, section.size, 3), name="pixels")
    features = trunk(pixels)
    outputs: dict[str, Any] = {}
    for name in section.outputs:
        branch = layers.Dense(section.head_units, activation="relu", name=f"{name}_hidden")(features)
        if dropout > 0:
            branch = layers.Dropout(dropout, name=f"{name}_dropout")(branch)
        outputs[name] = _answer(name, branch, section)
    if hints and section.hint_units:
        outputs[HINT] = layers.Dense(section.hint_units, dtype="float32", name=HINT)(features)
    return keras.Model(pixels, outputs, name=section.architecture)


def _answer(name: str, branch: Any, section: NetworkSection) -> Any:
    """The output nodes of a head."""
    if name == "age":
        return ages.head(branch, section.age)
    units = section.gender_units if name == "gender" else UNITS[name]
    return layers.Dense(units, dtype="float32", name=name)(branch)
