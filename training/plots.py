"""Answers to pictures: age error by age, confusion matrices, ROC, reliability."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from sklearn.metrics import roc_auc_score, roc_curve

from training.data import GENDERS, RACES
from training.scoring import BINS, Answers, Floats, confusion, mae_by_age

mpl.use("Agg")


def draw_all(answers: Answers, out: Path) -> None:
    """Write `age_error.png`, `confusion.png`, `roc.png` and `reliability.png` under `out`, each where the model says what it
    shows and a face was found."""
    seen, said = answers.where(answers.found), answers.said()
    if not len(seen):
        return
    if "age" in said:
        _age_error(answers, out / "age_error.png")
    if "gender" in said or "race" in said:
        _confusions(answers, out / "confusion.png")
        _roc(seen, out / "roc.png")
        _reliability(seen, out / "reliability.png")


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
    said = seen.said()
    curves = [("female", seen.gender == 1, seen.female)] if "gender" in said else []
    curves += [(name, seen.race == i, seen.races[:, i]) for i, name in enumerate(RACES)] if "race" in said else []
    for name, truth, score in curves:
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
        curves["gender"] = np.maximum(seen.female, 1 - seen.female), (seen.female > 0.5) == (seen.gender == 1)
    if "race" in seen.said():
        curves["race"] = seen.races.max(axis=1), seen.races.argmax(axis=1) == seen.race
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
