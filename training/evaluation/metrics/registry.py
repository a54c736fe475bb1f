"""The figures that there are, by the kind of what they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Final, Literal

from training.evaluation.metrics.base import Metric, Table
from training.evaluation.predictions import AttributeSpec, Predictions

Detection = Callable[[], Metric[Predictions]]
"""Makes a figure that is of no attribute."""
OfAttribute = Callable[[AttributeSpec], Iterable[Metric[Predictions]]]
"""Makes figures of an attribute; none where it is not of the sort that they are for."""

_DETECTION: Final[list[Detection]] = []
_OF_KIND: Final[dict[str, list[OfAttribute]]] = {"expectation": [], "labels": []}


def detection_metric(make: Detection) -> Detection:
    """Register a figure that is of no attribute.

    Args:
        make: Makes it.

    Returns:
        The same.
    """
    _DETECTION.append(make)
    return make


def expectation_metric(make: OfAttribute) -> OfAttribute:
    """Register figures of every expectation.

    Args:
        make: Makes those of one.

    Returns:
        The same.
    """
    _OF_KIND["expectation"].append(make)
    return make


def label_metric(make: OfAttribute) -> OfAttribute:
    """Register figures of every attribute that has labels.

    Args:
        make: Makes those of one.

    Returns:
        The same.
    """
    _OF_KIND["labels"].append(make)
    return make


@contextmanager
def registered(kind: Literal["expectation", "labels"], make: OfAttribute) -> Iterator[None]:
    """Figures that are there inside the block alone.

    Args:
        kind: What they are of.
        make: Makes those of one attribute.

    Yields:
        Nothing.
    """
    _OF_KIND[kind].append(make)
    try:
        yield
    finally:
        _OF_KIND[kind].remove(make)


def metric_of(attributes: Iterable[AttributeSpec], key: str) -> Metric[Predictions]:
    """A figure by its key.

    Args:
        attributes: What a model predicts or labels know.
        key: Such as `age_mae`.

    Returns:
        The figure.

    Raises:
        KeyError: The attributes have no such figure, which is a mistake of the code.
    """
    return {metric.key: metric for metric in metrics_of(attributes)}[key]


def metrics_of(attributes: Iterable[AttributeSpec], table: Table | None = None) -> tuple[Metric[Predictions], ...]:
    """Every figure of these attributes, attribute by attribute.

    Args:
        attributes: What a model predicts or labels know.
        table: Only those that this table shows; all where it is None.

    Returns:
        The figures, those of no attribute first.
    """
    every = chain(
        (make() for make in _DETECTION),
        (metric for one in attributes for make in _OF_KIND[one.kind] for metric in make(one)),
    )
    return tuple(metric for metric in every if table is None or table in metric.tables)


def score_of(attribute: str) -> partial[Metric[Predictions]]:
    """Make figures of an attribute between 0 and 1, such as an accuracy or an area, of which more is better.

    Args:
        attribute: Its name, which the predictions must know.

    Returns:
        A constructor that takes the other fields of `Metric`.
    """
    return partial(Metric, attribute=attribute, requires=attribute, brief=".3f", better="higher")


def share_of(attribute: str) -> partial[Metric[Predictions]]:
    """Make figures of an attribute that are shares in percent, of which more is better.

    Args:
        attribute: Its name, which the predictions must know.

    Returns:
        A constructor that takes the other fields of `Metric`.
    """
    return partial(Metric, attribute=attribute, requires=attribute, format=".1%", better="higher")
