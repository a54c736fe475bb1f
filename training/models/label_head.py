"""The output of a head of labels: logits, and the probabilities that they stand for."""

from __future__ import annotations

from typing import Any

from keras import layers, ops

from training.recipe import Attribute, NetworkSection


def units(attribute: Attribute, section: NetworkSection) -> int:
    """Output nodes of a head: one, the logarithm of the odds of the second label, where there are two labels; else one for
    each label, and so for two labels to which the network gives two units.

    Args:
        attribute: An attribute of labels.
        section: The network.

    Returns:
        Their number.
    """
    if len(attribute.labels) > 2:
        return len(attribute.labels)
    return section.pair_units.get(attribute.name, 1)


def width(attribute: Attribute) -> int:
    """How many probabilities describe an attribute of labels: one of two labels, else one for each label.

    Args:
        attribute: An attribute of labels.

    Returns:
        How many numbers.
    """
    return 1 if len(attribute.labels) == 2 else len(attribute.labels)


def head(branch: Any, attribute: Attribute, section: NetworkSection) -> Any:
    """The output nodes behind a branch.

    Args:
        branch: Hidden units [N, H].
        attribute: An attribute of labels.
        section: The network.

    Returns:
        Logits [N, `units`], float32.
    """
    return layers.Dense(units(attribute, section), dtype="float32", name=attribute.name)(branch)


def second_logit(outputs: Any) -> Any:
    """Logarithm of the odds of the second of two labels.

    Args:
        outputs: That itself [N, 1], or the logits of both labels [N, 2].

    Returns:
        The logarithm [N].
    """
    return outputs[:, 0] if outputs.shape[-1] == 1 else outputs[:, 1] - outputs[:, 0]


def probabilities(outputs: Any, attribute: Attribute) -> Any:
    """What the logits of a head stand for.

    Args:
        outputs: Logits [N, `units`].
        attribute: The attribute.

    Returns:
        The probability of the second of two labels [N], or one for each label [N, K].
    """
    return ops.sigmoid(second_logit(outputs)) if len(attribute.labels) == 2 else ops.softmax(outputs)
