"""The figures of labelled pictures: a file for each family, and one object for each figure.

A further figure is one more function in its family's file, and a test. Scoring, bootstrap, page, card, comparison and the
tables of robustness go by `metrics_of`.
"""

from __future__ import annotations

from training.evaluation.metrics import detection, expectations, labels
from training.evaluation.metrics.base import EVERYWHERE, Compute, Data, Family, Metric, Table, mean, ratio, value_of
from training.evaluation.metrics.registry import metric_of, metrics_of, registered

__all__ = [
    "EVERYWHERE",
    "Compute",
    "Data",
    "Family",
    "Metric",
    "Table",
    "detection",
    "expectations",
    "labels",
    "mean",
    "metric_of",
    "metrics_of",
    "ratio",
    "registered",
    "value_of",
]
