"""Predictions to pictures: errors by year, intervals, confusion matrices, receiver operating characteristics, reliability."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from service.arrays import Bools, Doubles
from service.models.evaluation import Part
from service.models.manifest import AGE, STEPS, Scale
from training.evaluation.curves import confusion_matrices, errors_by_year
from training.evaluation.documents import Curve, ReportPart
from training.evaluation.metrics import metrics_of
from training.evaluation.metrics.labels import BINS, confidences
from training.evaluation.predictions import ExpectationPredictions, Predictions, interval_of
from training.plotting import literal, save

Draw = Callable[[Path], None]


def draw_all(predictions: Predictions, part: ReportPart, out: Path, promised: float | None = None) -> list[str]:
    """Write the plots of what was predicted, and remove those of an earlier report that do not apply.

    Args:
        predictions: Of N pictures.
        part: Their figures.
        out: Folder to write to.
        promised: Share of the true ages that the interval promises to hold; None where it promises nothing.

    Returns:
        Names of the files.
    """
    detected = predictions.where(predictions.found)
    judged = detected.judged() if len(detected) else frozenset()
    labels = [name for name in predictions.labels if name in judged]
    plots: dict[str, tuple[bool, Draw]] = {}
    for name in predictions.expectations:
        plots[f"{name}_error.png"] = name in judged, partial(_draw_errors, predictions, name)
        plots[f"{name}_scatter.png"] = name in judged, partial(_draw_scatter, detected.expectations[name], name)
        coverage = "coverage.png" if name == AGE else f"{name}_coverage.png"
        plots[coverage] = interval_of(name) in judged, partial(_draw_coverage, part, predictions, name, promised)
    plots["confusion.png"] = bool(labels), partial(_draw_confusions, predictions)
    plots["roc.png"] = bool(labels), partial(_draw_roc, part.roc)
    plots["reliability.png"] = bool(labels), partial(_draw_reliability, predictions, labels)
    for file, (applies, draw) in plots.items():
        if applies:
            draw(out / file)
        else:
            (out / file).unlink(missing_ok=True)
    return [file for file, (applies, _) in plots.items() if applies]


def _bracketed(scale: Scale) -> str:
    return literal(f" [{scale.unit}]") if scale.unit else ""


def _draw_errors(predictions: Predictions, name: str, path: Path) -> None:
    errors = errors_by_year(predictions, name)
    scale = predictions.expectations[name].scale
    values = [float(value) for value in errors]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, height_ratios=(3, 1), layout="constrained")
    top.bar(values, [one.mae for one in errors.values()], 0.8 * scale.step, color="#1971c2")
    top.set(ylabel=f"mean absolute error{_bracketed(scale)}", title=f"Error by true {name}")
    top.grid(axis="y", alpha=0.3)
    bottom.bar(values, [one.count for one in errors.values()], 0.8 * scale.step, color="#868e96")
    bottom.set(xlabel=f"true {name}{_bracketed(scale)}", ylabel="faces", yscale="log")
    save(figure, path)


def _draw_scatter(detected: ExpectationPredictions, name: str, path: Path) -> None:
    detected = detected.where(detected.known)
    figure, axis = plt.subplots(figsize=(7, 6), layout="constrained")
    scale = detected.scale
    last = detected.positions(np.array([detected.label.max(), detected.value.max()])).max()
    # A value far beyond the scale, such as 9999 for an unknown one, is drawn at the plot's edge.
    edges = scale.origin + scale.step * np.arange(0, min(max(STEPS, last), 2 * STEPS) + 2, 2)
    label, value = (np.clip(one, edges[0], edges[-1]) for one in (detected.label, detected.value))
    *_, drawn = axis.hist2d(label, value, bins=[edges, edges], norm=LogNorm(vmin=1), cmap="viridis")
    axis.plot([edges[0], edges[-1]], [edges[0], edges[-1]], color="#e03131", linewidth=1)
    unit = _bracketed(scale)
    axis.set(xlabel=f"true {name}{unit}", ylabel=f"predicted {name}{unit}", title="Predicted by true", aspect="equal")
    figure.colorbar(drawn, label="faces")
    save(figure, path)


def _draw_coverage(part: Part, predictions: Predictions, name: str, promised: float | None, path: Path) -> None:
    groups, intervals = part.groups[name], part.intervals.groups[name]
    (coverage,) = (
        metric
        for metric in metrics_of(predictions.attributes)
        if metric.requires == interval_of(name) and metric.key.endswith("interval_coverage")
    )
    shares = np.array([figures.number(coverage.place) for figures in groups.values()], np.float64)
    bounds = np.array([intervals[group][coverage.key] for group in groups])
    figure, axis = plt.subplots(figsize=(9, 4.5), layout="constrained")
    # A bootstrap's interval may lie beside its figure by a hair, and a bar has no negative length.
    bars = np.maximum(0, np.stack([shares - bounds[:, 0], bounds[:, 1] - shares]))
    axis.bar(range(len(groups)), shares, yerr=bars, capsize=4, color="#1971c2")
    axis.set_xticks(range(len(groups)), [f"{group}\n{figures.count}" for group, figures in groups.items()])
    if promised is not None:
        axis.axhline(promised, color="#e03131", linestyle="--", label=f"promised: {promised:.0%}")
        axis.legend(loc="lower right")
    unit = _bracketed(predictions.expectations[name].scale)
    axis.set(xlabel=f"true {name}{unit}, and pictures", ylabel="share inside", title="True values inside the interval")
    axis.set_ylim(0, 1)
    axis.grid(axis="y", alpha=0.3)
    save(figure, path)


def _draw_confusions(predictions: Predictions, path: Path) -> None:
    matrices = confusion_matrices(predictions)
    figure, axes = plt.subplots(1, len(matrices), figsize=(5.5 * len(matrices), 5), layout="constrained", squeeze=False)
    for axis, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        labels = predictions.labels[name].names
        share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axis.set(title=name, xlabel="prediction", ylabel="label")
        axis.set_xticks(range(len(labels)), [*map(literal, labels)])
        axis.set_yticks(range(len(labels)), [*map(literal, labels)])
        for (row, column), count in np.ndenumerate(matrix):
            dark = share[row, column] > 0.5
            text = f"{count}\n{share[row, column]:.1%}"
            axis.text(column, row, text, ha="center", va="center", color="white" if dark else "black", fontsize=9)
    save(figure, path)


def _draw_roc(roc: Mapping[str, Curve], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 6), layout="constrained")
    for title, curve in roc.items():
        area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
        axis.plot(curve.false_positive_rate, curve.true_positive_rate, label=f"{literal(title)} (AUC {area:.4f})")
    axis.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axis.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, each label against the rest")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="lower right")
    save(figure, path)


def _draw_reliability(predictions: Predictions, labels: list[str], path: Path) -> None:
    figure, axes = plt.subplots(1, len(labels), figsize=(5.5 * len(labels), 5), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], labels, strict=True):
        confidence, right, _ = confidences(predictions, name)
        _calibration_curve(axis, confidence, right, name, len(predictions.labels[name].names))
    save(figure, path)


def _calibration_curve(axis: Axes, confidence: Doubles, right: Bools, title: str, labels: int) -> None:
    inner = np.unique(np.quantile(confidence, np.arange(1, BINS) / BINS, method="nearest"))
    of = np.searchsorted(inner, confidence, side="right")  # equal values stay together
    parts = [of == number for number in np.unique(of)]
    axis.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axis.plot([confidence[part].mean() for part in parts], [right[part].mean() for part in parts], marker="o")
    axis.set(xlabel="confidence", ylabel="accuracy", title=f"Reliability: {title} (up to {BINS} bins of equal mass)")
    axis.set_xlim(0.9 / max(5, labels), 1.01)  # the most probable of K labels has 1 / K at least
    axis.set_ylim(0, 1.01)
