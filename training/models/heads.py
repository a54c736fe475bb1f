"""The networks that can be trained, by name; each ends in the heads that a recipe asks for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import keras
from keras import layers

from training.errors import RecipeError, WeightsError
from training.models import age_head, label_head
from training.models.architectures import ARCHITECTURES, IMAGENET, RANDOM
from training.recipe import ATTRIBUTES, Attribute, NetworkSection

logger = logging.getLogger(__name__)

STATE: Final = "state.weights.h5"
"""File of weights and optimizer behind a run's last epoch, while it is not done."""
TRUNK: Final = "trunk"
"""Name of the part below the heads."""
EMBEDDING: Final = "embedding"
"""Name of the head that gives a face embedding while the network is trained."""


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Keras's dtype policy inside the block; whatever it was behind it.

    Args:
        name: A policy of Keras, such as `mixed_bfloat16`.

    Yields:
        Nothing.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build(section: NetworkSection, init: str = RANDOM, attributes: Sequence[Attribute] = ATTRIBUTES) -> keras.Model:
    """The network of a recipe.

    Args:
        section: The network; its heads are its outputs.
        init: Initial weights of the trunk: `imagenet` (fetched by Keras), `random`, or the path of a weights file of it.
        attributes: What the recipe declares.

    Returns:
        A model from pixels in [-1, 1], [N, S, S, 3], to a dictionary of logits.

    Raises:
        RecipeError: No architecture has that name.
        WeightsError: The weights are another network's, or cannot be fetched.
        FileNotFoundError: The weights file is not there.
    """
    if section.architecture not in ARCHITECTURES:
        raise RecipeError(f"no architecture {section.architecture!r}; there is: {', '.join(sorted(ARCHITECTURES))}")
    if init not in (IMAGENET, RANDOM) and not Path(init).is_file():
        raise FileNotFoundError(f"no initial weights at {init}")
    try:
        trunk = ARCHITECTURES[section.architecture](section.size, init)
        trunk.name = TRUNK
    except (RecipeError, WeightsError, OSError, ValueError) as error:
        raise WeightsError(
            f"no {section.architecture} of {section.size} pixels with the weights {init}: {str(error).partition('. ')[0]}"
        ) from error
    except Exception as error:
        if type(error) is not Exception:  # Keras raises it bare where a download fails
            raise
        raise WeightsError(f"{error}; `random`, or a file of weights, needs no download: --init") from error
    for layer in trunk.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = min(layer.momentum, section.norm_momentum)
    return assemble(trunk, section, section.dropout, attributes, embedding=True)


def load_weights(network: keras.Model, path: Path) -> None:
    """Give a network the weights of a file. That they are those of a run which is not done is logged.

    Args:
        network: The network, which is changed.
        path: File of weights, `.weights.h5`.

    Raises:
        FileNotFoundError: There is no such file.
        WeightsError: The file is damaged, or holds another network's weights.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    if (path.parent / STATE).exists():
        logger.info(
            "not finished: %s holds the best weights of an interrupted run, without provenance and the licences of what it "
            "went on from",
            path.parent,
        )
    try:
        network.load_weights(path)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path} does not hold the weights of its recipe's network: {str(error).partition('. ')[0]}"
        ) from error


def assemble(
    trunk: keras.Model,
    section: NetworkSection,
    dropout: float,
    attributes: Sequence[Attribute] = ATTRIBUTES,
    embedding: bool = False,
) -> keras.Model:
    """The heads of a recipe on a trunk.

    Args:
        trunk: A model from pixels [N, S, S, 3] to features [N, F].
        section: The network; its heads are its outputs.
        dropout: Share of a branch's units that a step leaves out; there are no dropout layers where it is 0, as in serving.
        attributes: What the recipe declares.
        embedding: Whether the head of the face embedding, which is not served, is there where the section asks for one.

    Returns:
        A model from pixels to a dictionary of logits.
    """
    declared = {attribute.name: attribute for attribute in attributes}
    pixels = keras.Input((section.size, section.size, 3), name="pixels")
    features = trunk(pixels)
    outputs: dict[str, Any] = {}
    for name in section.outputs:
        branch = layers.Dense(section.head_units, activation="relu", name=f"{name}_hidden")(features)
        if dropout > 0:
            branch = layers.Dropout(dropout, name=f"{name}_dropout")(branch)
        attribute = declared[name]
        if attribute.kind == "expectation":
            outputs[name] = age_head.head(branch, section.form_of(attribute), name)
        else:
            outputs[name] = label_head.head(branch, attribute, section)
    if embedding and section.embedding_units:
        outputs[EMBEDDING] = layers.Dense(section.embedding_units, dtype="float32", name=EMBEDDING)(features)
    return keras.Model(pixels, outputs, name=section.architecture)
