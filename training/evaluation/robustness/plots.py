"""Curves of conditions, and figures of degraded pictures, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from training.evaluation.degradations import Degradation
from training.evaluation.predictions import AttributeSpec
from training.evaluation.robustness.statistics import Condition, Finding
from training.plotting import literal, save

ROBUSTNESS_PLOT: Final = "robustness.png"


def draw_robustness(labels: Sequence[Degradation], panels: Mapping[str, tuple[Sequence[float], str]], path: Path) -> None:
    """Draw the differences of figures to those of the pictures as they are.

    Args:
        labels: The degradations, from the top.
        panels: By title, the difference at each degradation and the label of its axis.
        path: File to write.
    """
    names = [f"{one.kind} {one.level}" for one in labels]
    kinds = list(dict.fromkeys(one.kind for one in labels))
    colours = [f"C{kinds.index(one.kind) % 10}" for one in labels]
    size = (2 + 2.6 * len(panels), 1.2 + 0.22 * len(names))
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, layout="constrained", squeeze=False)
    for axis, (title, (differences, unit)) in zip(axes[0], panels.items(), strict=True):
        axis.barh(names, differences, color=colours)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=literal(title), xlabel=unit)
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    save(figure, path)


def condition_plot(condition: Condition) -> str:
    """The name of a condition's plot.

    Args:
        condition: The condition.

    Returns:
        The file's name.
    """
    return f"condition_{condition.warning}.png"


def draw_condition(one: Finding, attributes: Sequence[AttributeSpec], out: Path) -> None:
    """Draw error and expected error by measured value, one panel an attribute, and the share of faces found at each level.

    Args:
        one: What was found of a condition.
        attributes: Those of the predictions.
        out: Folder to write to.
    """
    names = [spec.name for spec in attributes if any(spec.name in part.rises for part in one.bins)]
    units = {
        spec.name: literal(f"mean error, {spec.scale.unit}".rstrip(", ")) for spec in attributes if spec.kind == "expectation"
    }
    panels = len(names) + bool(one.condition.kinds)
    figure, axes = plt.subplots(1, panels, figsize=(4 * panels, 3.6), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], names, strict=False):
        _draw_curve(axis, one, name, units.get(name))
    if one.condition.kinds:
        values, shares = zip(*one.found, strict=True)
        axes[0][-1].plot(values, [100 * share for share in shares], "o", color="#2f9e44")
        axes[0][-1].set(title="faces found, by level", ylabel="%", ylim=(0, 103))
    for axis in axes[0]:
        axis.axvline(one.condition.threshold, color="#e8590c", label="the service's threshold")
        if one.threshold is not None:
            axis.axvline(one.threshold, color="#e8590c", linestyle=":", label="due by this measurement")
        axis.set_xlabel(one.condition.unit)
        axis.grid(alpha=0.3)
        if one.condition.warning in ("small", "blurred"):  # the harmful end is a narrow one
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_locator(NullLocator())
    axes[0][0].legend(fontsize=8)
    figure.suptitle(one.condition.warning)
    save(figure, out / condition_plot(one.condition))


def _draw_curve(axis: Axes, one: Finding, name: str, error: str | None) -> None:
    parts = [part for part in one.bins if name in part.rises]
    values = [part.value for part in parts]
    scale, unit = (100, "wrong, %") if error is None else (1, error)
    errors, expected = (
        np.array([scale * getattr(part.rises[name], which) for part in parts]) for which in ("error", "expected")
    )
    low, high = (expected * [1 + getattr(part.rises[name], end) for part in parts] for end in ("low", "high"))
    like = "the same pictures as they are" if one.condition.kinds else "all faces like them"
    axis.plot(values, expected, color="#868e96", linestyle="--", marker=".", label=like)
    axis.plot(values, errors, color="#1971c2", marker="o", markersize=4, label="these predictions")
    axis.fill_between(values, low, high, color="#1971c2", alpha=0.2)
    axis.set(title=name, ylabel=unit)
    axis.set_ylim(0, 1.7 * max(1e-3, *expected, *errors))  # a wide band does not hide the curve
