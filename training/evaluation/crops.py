"""What a network says of prepared crops, beside what is known of them: no service, detector or interval is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from service.arrays import Floats
from service.models.runtime import Network
from training.datasets.base import UNKNOWN
from training.datasets.prepared import Prepared
from training.evaluation.predictions import ExpectationPredictions, LabelPredictions, Predictions
from training.fit.augmentation import resized

BATCH: Final = 32
"""Crops that a network is asked of at a time; the last batch is filled up, so that nothing is compiled for it."""


def network_answers(network: Network, data: Prepared, size: int) -> dict[str, Floats]:
    """Ask a network of every crop.

    Args:
        network: Takes uint8 [`BATCH`, size, size, 3].
        data: N crops.
        size: Their side in pixels as the network takes them.

    Returns:
        Its outputs [N, ...], by name.
    """
    parts = []
    for begin in range(0, len(data), BATCH):
        crops = [resized(crop, size) for crop in data.crops[begin : begin + BATCH]]
        parts.append(network(np.stack([*crops, *crops[:1] * (BATCH - len(crops))])))
    return {name: np.concatenate([part[name] for part in parts])[: len(data)] for name in parts[0]}


def beside_labels(data: Prepared, outputs: Mapping[str, Floats]) -> Predictions:
    """Set outputs beside labels, without intervals; each crop shows a face.

    Args:
        data: N crops with their labels.
        outputs: Of each attribute by its name, [N] or [N, labels], with `NAME_distribution` [N, values] of an expectation where
            there is one. Without an output predictions are not a number.

    Returns:
        The predictions of every attribute of the data.
    """
    nothing = np.full(len(data), np.nan)
    expectations, labels = {}, {}
    for one in data.attributes:
        label, predicted = data.labels[one.name], outputs.get(one.name)
        values = None if predicted is None else predicted.astype(np.float64)
        if one.kind == "expectation":
            distribution = outputs.get(f"{one.name}_distribution")
            known = np.where(label == UNKNOWN, np.nan, label).astype(np.float64)
            expectations[one.name] = ExpectationPredictions(
                one.scale.origin + one.scale.step * known,
                nothing if values is None else values,
                nothing,
                nothing,
                None if distribution is None else distribution.astype(np.float64),
                range=one.range,
                unit=one.unit,
            )
        else:
            if values is None:
                values = np.full((len(data), len(one.labels)), np.nan)
            elif values.ndim == 1:
                values = np.stack([1 - values, values], axis=1)
            labels[one.name] = LabelPredictions(one.labels, label.astype(np.int64), values)
    return Predictions(np.ones(len(data), np.bool_), expectations, labels)
