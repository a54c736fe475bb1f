"""Training pictures to how often each is drawn and how much it counts, so that rare groups are not overlooked.

Three ways, which a recipe may combine: shares of the data sets, crossings of labels that are drawn more often the fewer they
are, and weights of the classes in the losses. Batches that are composed group by group are `training.fit.batch_composition`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from service.arrays import Doubles, Floats, Ints
from training.datasets.prepared import Prepared
from training.recipe import Recipe

DECADES: Final = 9
"""Classes of age: by decade, the last from 80 on."""


def classes(data: Prepared, name: str) -> Ints:
    """Class [N] of every picture by one attribute, -1 where it is unknown; an age's is its decade.

    Args:
        data: The pictures.
        name: Name of the attribute.

    Returns:
        int64 [N].
    """
    values = data.labels[name]
    numbers = np.minimum(values // 10, DECADES - 1) if data.attribute(name).kind == "expectation" else values
    return np.where(values < 0, -1, numbers).astype(np.int64)


def class_weights(data: Prepared, name: str) -> Doubles:
    """Weight [K] of each class of a label: `pictures / (classes * pictures of the class)` over those whose label is known, so
    that all classes weigh alike together and a picture weighs 1 on average. 0 for a class that has none.

    King and Zeng, "Logistic regression in rare events data", Political Analysis 2001; K counts the classes that are there.

    Args:
        data: The pictures.
        name: Name of the attribute.

    Returns:
        Weights [K].
    """
    known, attribute = classes(data, name), data.attribute(name)
    most = DECADES if attribute.kind == "expectation" else len(attribute.labels)
    counts = np.bincount(known[known >= 0], minlength=most).astype(np.float64)
    weights = np.zeros_like(counts)
    np.divide(counts.sum() / max(1, np.count_nonzero(counts)), counts, out=weights, where=counts > 0)
    return weights


def picture_weights(data: Prepared, names: Sequence[str]) -> dict[str, Floats]:
    """Weight [N] of every picture in the loss of each named head; 1 where its label is unknown.

    Args:
        data: The pictures.
        names: Names of attributes.

    Returns:
        Weights [N] by attribute.
    """
    weights = {}
    for name in names:
        known = classes(data, name)
        weights[name] = np.where(known < 0, 1.0, class_weights(data, name)[known]).astype(np.float32)
    return weights


def sampling_probabilities(recipe: Recipe, data: Prepared) -> Doubles | None:
    """Probability [N] of every picture at each draw; None where a recipe asks for every picture once an epoch.

    Args:
        recipe: The recipe.
        data: The training pictures.

    Returns:
        Probabilities [N], which add up to 1, or None.
    """
    if not recipe.balance.repeat and not recipe.data.shares:
        return None
    drawn: Doubles = np.ones(len(data))
    if recipe.balance.repeat:
        drawn = np.power(_rarity(data, recipe.balance.repeat), recipe.balance.evenness)
    if recipe.data.shares:
        return _shared(drawn, data, dict(zip(recipe.data.train, recipe.data.shares, strict=True)))
    return np.asarray(drawn / drawn.sum(), np.float64)


def _rarity(data: Prepared, names: Sequence[str]) -> Doubles:
    """One over the number of pictures with the same crossing of labels [N]; unknown is a label like any other."""
    crossing = np.stack([classes(data, name) for name in names], axis=1)
    _, kind, counts = np.unique(crossing, axis=0, return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[kind.reshape(-1)], np.float64)


def _shared(drawn: Doubles, data: Prepared, shares: Mapping[str, float]) -> Doubles:
    """Probabilities [N] in proportion to `drawn` within each set, whose sums over the sets are the shares."""
    result = np.zeros_like(drawn)
    for name, share in shares.items():
        rows = data.sets == name
        result[rows] = share * drawn[rows] / drawn[rows].sum()
    return result


def draw(probabilities: Doubles, count: int, random: np.random.Generator) -> Ints:
    """Rows [count] by their probabilities [N], shuffled.

    Each comes `count * probability` times, rounded down or up, and so do all together that have the same probability.

    Systematic sampling (Madow, "On the theory of systematic sampling, II", Annals of Mathematical Statistics 1949).

    Args:
        probabilities: Probabilities [N], all above 0, that need not add up to 1.
        count: How many rows are drawn.
        random: Where the drawing comes from.

    Returns:
        Rows [count].
    """
    order = random.permutation(len(probabilities))
    order = order[np.argsort(probabilities[order], kind="stable")]
    ends = np.cumsum(probabilities[order])
    places = (random.random() + np.arange(count)) / count * ends[-1]
    rows = order[np.minimum(np.searchsorted(ends, places, side="right"), len(order) - 1)]
    return np.asarray(random.permutation(rows), np.int64)
