"""Figures of the search for faces."""

from __future__ import annotations

import numpy as np

from service.arrays import Doubles
from training.evaluation.metrics.base import EVERYWHERE, Family, Metric, Table, mean
from training.evaluation.metrics.registry import detection_metric
from training.evaluation.predictions import Predictions


@detection_metric
def found() -> Metric[Predictions]:
    """The share of pictures in which a face was found.

    Returns:
        A metric from 0 to 1; higher is better.
    """

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        return mean(predictions.found, np.ones(len(predictions), np.bool_), weights)

    return Metric(
        key="found",
        title="pictures in which a face was found",
        short="faces found",
        compute=compute,
        format=".2%",
        better="higher",
        family=Family.DETECTION,
        tables=(EVERYWHERE - {Table.GROUPS, Table.COMPARISON}) | {Table.ROBUSTNESS_PLOT},
    )
