"""Answers to pictures: ages, intervals, confusion matrices, ROC, reliability."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from sklearn.metrics import roc_auc_score, roc_curve

from training.datasets.base import GENDERS, RACES, UNKNOWN
from training.evaluation.metrics import BINS, Answers, Floats, confusion, mae_by_age, roc_labels

mpl.use("Agg")


def draw_all(answers: Answers, document: Mapping[str, Any], out: Path) -> list[str]:
    """Write plots under `out` of what the model says and a face was found for, and remove those of an earlier report that do
    not apply; `document` has the groups' figures and intervals. Returns the names of the files."""
    seen = answers.where(answers.found)
    said = set(seen.said()) if len(seen) else set()
    labels = said & {"gender", "race"}
    plots: dict[str, tuple[bool, Callable[[Path], None]]] = {
        "age_error.png": ("age" in said, partial(_age_error, answers)),
        "age_scatter.png": ("age" in said, partial(_age_scatter, seen)),
        "coverage.png": ("interval" in said, partial(_coverage, document)),
        "confusion.png": (bool(labels), partial(_confusions, answers)),
        "roc.png": (bool(labels), partial(_roc, seen)),
        "reliability.png": (bool(labels), partial(_reliability, seen)),
    }
    for name, (applies, draw) in plots.items():
        if applies:
            draw(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    return [name for name, (applies, _) in plots.items() if applies]


def _age_error(answers: Answers, path: Path) -> None:
    errors = mae_by_age(answers)
    ages = np.array(sorted(errors))
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, height_ratios=(3, 1), layout="constrained")
    top.bar(ages, [errors[age][0] for age in ages], color="#1971c2")
    top.set(ylabel="mean absolute error [years]", title="Age error by true age")
    top.grid(axis="y", alpha=0.3)
    bottom.bar(ages, [errors[age][1] for age in ages], color="#868e96")
    bottom.set(xlabel="true age [years]", ylabel="faces", yscale="log")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _age_scatter(seen: Answers, path: Path) -> None:
    seen = seen.where(seen.age != UNKNOWN)
    figure, axis = plt.subplots(figsize=(7, 6), layout="constrained")
    edges = np.arange(0, max(100, seen.age.max(), seen.years.max()) + 2, 2)
    *_, drawn = axis.hist2d(seen.age, seen.years, bins=[edges, edges], norm=LogNorm(vmin=1), cmap="viridis")
    axis.plot([0, edges[-1]], [0, edges[-1]], color="#e03131", linewidth=1)
    axis.set(xlabel="true age [years]", ylabel="answered age [years]", title="Answered by true age", aspect="equal")
    figure.colorbar(drawn, label="faces")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _coverage(document: Mapping[str, Any], path: Path) -> None:
    groups, intervals = document["groups"]["age"], document["intervals"]["groups"]["age"]
    shares = np.array([figures["interval_coverage"] for figures in groups.values()])
    bounds = np.array([intervals[name]["interval_coverage"] for name in groups])
    figure, axis = plt.subplots(figsize=(9, 4.5), layout="constrained")
    # A bootstrap's interval may lie beside its figure by a hair, and a bar has no negative length.
    bars = np.maximum(0, np.stack([shares - bounds[:, 0], bounds[:, 1] - shares]))
    axis.bar(range(len(groups)), shares, yerr=bars, capsize=4, color="#1971c2")
    axis.set_xticks(range(len(groups)), [f"{name}\n{figures['count']}" for name, figures in groups.items()])
    promised = document.get("promised_coverage")
    if promised is not None:
        axis.axhline(promised, color="#e03131", linestyle="--", label=f"promised: {promised:.0%}")
        axis.legend(loc="lower right")
    axis.set(xlabel="true age [years], and pictures", ylabel="share inside", title="True ages inside the interval", ylim=(0, 1))
    axis.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _confusions(answers: Answers, path: Path) -> None:
    matrices = confusion(answers)
    figure, axes = plt.subplots(1, len(matrices), figsize=(5.5 * len(matrices), 5), layout="constrained", squeeze=False)
    for axis, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        labels = GENDERS if name == "gender" else RACES
        share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axis.set(title=name, xlabel="answer", ylabel="label")
        axis.set_xticks(range(len(labels)), labels)
        axis.set_yticks(range(len(labels)), labels)
        for (row, column), count in np.ndenumerate(matrix):
            dark = share[row, column] > 0.5
            text = f"{count}\n{share[row, column]:.1%}"
            axis.text(column, row, text, ha="center", va="center", color="white" if dark else "black", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _roc(seen: Answers, path: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 6), layout="constrained")
    for name, truth, score in roc_labels(seen, seen.said()):
        if 0 < truth.sum() < len(truth):
            false, true, _ = roc_curve(truth, score)
            axis.plot(false, true, label=f"{name} (AUC {roc_auc_score(truth, score):.4f})")
    axis.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axis.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, each label against the rest")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _reliability(seen: Answers, path: Path) -> None:
    curves = {}
    if "gender" in seen.said():
        known = seen.where(seen.gender != UNKNOWN)
        curves["gender"] = np.maximum(known.female, 1 - known.female), (known.female > 0.5) == (known.gender == 1)
    if "race" in seen.said():
        known = seen.where(seen.race != UNKNOWN)
        curves["race"] = known.races.max(axis=1), known.races.argmax(axis=1) == known.race
    figure, axes = plt.subplots(1, len(curves), figsize=(5.5 * len(curves), 5), layout="constrained", squeeze=False)
    for axis, (name, (confidence, right)) in zip(axes[0], curves.items(), strict=True):
        _calibration_curve(axis, confidence, right, name)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _calibration_curve(axis: Axes, confidence: Floats, right: npt.NDArray[np.bool_], title: str) -> None:
    parts = [part for part in np.array_split(np.argsort(confidence, kind="stable"), BINS) if len(part)]
    axis.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axis.plot([confidence[part].mean() for part in parts], [right[part].mean() for part in parts], marker="o")
    axis.set(xlabel="confidence", ylabel="accuracy", title=f"Reliability: {title} ({BINS} bins of equal mass)")
    axis.set_xlim(0.18, 1.01)
    axis.set_ylim(0, 1.01)
