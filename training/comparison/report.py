"""A comparison's figures to tables that people read, a CSV file, and plots."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from matplotlib import pyplot as plt
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from service.models.evaluation import Figures
from service.models.manifest import AGE
from training.artifacts import write_document, write_rows, write_text
from training.comparison.documents import ComparisonReport, RecipeResult
from training.comparison.metrics import error_in_range, own_classes
from training.errors import EvaluationError
from training.evaluation.metrics import Metric, Table, metrics_of
from training.evaluation.model_card import table_row
from training.evaluation.predictions import Predictions
from training.plotting import save
from training.recipe import AgeSection

TABLE: Final = "compare.csv"
PAGE: Final = "compare.md"
BARS: Final = "bars.png"
COST: Final = "cost.png"

CONSTANT_BASELINE: Final = "constant prediction"
_NOTHING: Final = "–"

_MARKED: Final = re.compile(
    r"(?P<begin>^<!-- compare: (?P<name>[^\n]+) -->$).*?(?P<end>^<!-- /compare -->$)", flags=re.MULTILINE | re.DOTALL
)


_COLOURS: Final = ("#1971c2", "#e8590c", "#2f9e44", "#9c36b5", "#c2255c", "#0c8599", "#f08c00", "#495057")


def metrics(report: ComparisonReport) -> list[Metric[Predictions]]:
    """The figures of the tables.

    Args:
        report: The comparison.

    Returns:
        Those of its attributes; of the age also the accuracy over a network's own classes.
    """
    shown = list(metrics_of(report.attributes, Table.COMPARISON))
    ages = [place for place, metric in enumerate(shown) if metric.attribute == AGE]
    if ages:
        shown.insert(ages[-1] + 1, own_classes(AgeSection()))
    return shown


def write(report: ComparisonReport, out: Path) -> list[Path]:
    """Write table, page and plots of what `training.comparison.run` measured.

    Args:
        report: The comparison.
        out: Folder to write to.

    Returns:
        The files' paths.
    """
    paths = [out / name for name in (TABLE, PAGE, BARS, COST)]
    write_rows(paths[0], list(flat(report)))
    write_text(paths[1], page(report))
    _draw_bars(report, paths[2])
    _draw_cost(report, paths[3])
    return paths


def publish(report: ComparisonReport, page: Path) -> list[Path]:
    """Fill in a page of documentation (`filled`), and write the figures and plots beside it, under names that begin as its own.

    Args:
        report: The comparison.
        page: Markdown file.

    Returns:
        The files' paths.

    Raises:
        EvaluationError: See `filled`; nothing has been written then.
    """
    text = filled(page.read_text(), report)
    figures, bars, cost = (page.with_name(f"{page.stem}{end}") for end in (".json", f"-{BARS}", f"-{COST}"))
    write_text(page, text)
    write_document(figures, report)
    _draw_bars(report, bars)
    _draw_cost(report, cost)
    return [page, figures, bars, cost]


def flat(report: ComparisonReport) -> Iterator[dict[str, Any]]:
    """A row of a recipe and data set, with the figures as they were measured; empty where there is none.

    Args:
        report: The comparison.

    Yields:
        Values by column.
    """
    for name in report.sets:
        for row in report.recipes:
            given = {
                "name": row.name,
                "system": row.system,
                "architecture": row.architecture,
                "size": row.size,
                "init": row.init,
                "state": row.state,
                "batch": row.batch,
                "pictures": row.pictures,
                "cpu_seconds": row.cpu_seconds,
                "weights": row.weights,
                "multiply_adds": row.multiply_adds,
                "latency_ms": "" if row.latency_ms is None else row.latency_ms,
            }
            values = {metric.key: _number(row, name, metric) for metric in metrics(report)}
            shown = {key: "" if value is None else value for key, value in values.items()}
            yield {"set": name, "split": report.split, **given, **shown}


def page(report: ComparisonReport) -> str:
    """All of it, as Markdown.

    Args:
        report: The comparison.

    Returns:
        The page.
    """
    parts = ["# Comparison", common_conditions(report)]
    for name in report.sets:
        parts += [f"## {name}", figures_table(report, name)]
    parts += ["## What each cost", cost_table(report), "## What was published", published_table(report)]
    return "\n\n".join([*parts, f"![Figures of each recipe]({BARS})", f"![Figures by cost]({COST})"]) + "\n"


def filled(text: str, report: ComparisonReport) -> str:
    """A Markdown page with this comparison's tables and conditions in the place of those between its marks.

    Marks are lines of `<!-- compare: NAME -->` and `<!-- /compare -->` with NAME `conditions`, a data set,
    `cost` or `published`.

    Args:
        text: The page.
        report: The comparison.

    Returns:
        The page anew.

    Raises:
        EvaluationError: The comparison does not know a name, or the page has no marks.
    """
    parts = {"conditions": common_conditions, "cost": cost_table, "published": published_table}
    known = parts | {name: partial(figures_table, name=name) for name in report.sets}
    filled_marks = 0

    def part(match: re.Match[str]) -> str:
        nonlocal filled_marks
        filled_marks += 1
        name = match["name"]
        if name not in known:
            raise EvaluationError(f"{name} is none of {', '.join(known)}")
        new = known[name](report)
        return f"{match['begin']}\n\n{new if new.startswith('|') else textwrap.fill(new, 128)}\n\n{match['end']}"

    text = _MARKED.sub(part, text)
    if not filled_marks:
        raise EvaluationError("the page has no marks")
    return text


def common_conditions(report: ComparisonReport) -> str:
    """What was alike for all.

    Args:
        report: The comparison.

    Returns:
        Two sentences.
    """
    minutes, pictures = report.budget.minutes, report.budget.pictures
    parts = [
        *([] if minutes is None else [f"{minutes:g} CPU minutes of training"]),
        *([] if pictures is None else [f"{pictures:,} pictures"]),
    ]
    counts = " and ".join(f"{report.data[name][report.split]:,} of {name}" for name in report.sets)
    return (
        f"Each recipe had {' or '.join(parts)}, on {report.cpus} CPUs. Measured on the faces that were found in the "
        f"{report.split} split: {counts}."
    )


def figures_table(report: ComparisonReport, name: str) -> str:
    """The figures on one data set, as Markdown; those that no recipe has on it are left out.

    Args:
        report: The comparison.
        name: The data set's.

    Returns:
        A table, a row a recipe.
    """
    shown = [metric for metric in metrics(report) if any(_number(row, name, metric) is not None for row in report.recipes)]
    titles = []
    for place, metric in enumerate(shown):
        first = place == 0 or shown[place - 1].attribute != metric.attribute
        titles.append(f"{metric.attribute}: {metric.short_heading}" if first and metric.attribute else metric.short_heading)
    lines = [table_row(["recipe", *titles]), "|---|" + "---|" * len(shown)]
    lines += [
        table_row([f"`{row.name}{_mark(row)}`", *(_shown(_number(row, name, metric), metric) for metric in shown)])
        for row in report.recipes
    ]
    baseline = report.constant_baseline.get(name)
    lines.append(table_row([CONSTANT_BASELINE, *(_shown(_value(baseline, metric), metric) for metric in shown)]))
    return "\n".join(lines)


def cost_table(report: ComparisonReport) -> str:
    """What each network is and what it took, as Markdown.

    Args:
        report: The comparison.

    Returns:
        A table, a row a recipe.
    """
    titles = ("recipe", "input [pixels]", "weights", "multiply-adds [millions]", "one face [ms]", "begins with", "batch")
    lines = [table_row([*titles, "pictures seen", "passes over train", "CPU seconds"]), "|---|" + "---|" * (len(titles) + 2)]
    for row in report.recipes:
        cells = [f"`{row.name}`", str(row.size), f"{row.weights:,}", f"{row.multiply_adds / 1e6:,.1f}"]
        cells += [_NOTHING if row.latency_ms is None else f"{row.latency_ms:.1f}", _initial_weights(row), str(row.batch)]
        passes = row.pictures / _learnt(report, row)
        lines.append(table_row([*cells, f"{row.pictures:,}", f"{passes:.2f}", f"{row.cpu_seconds:.0f}"]))
    return "\n".join(lines)


def published_table(report: ComparisonReport) -> str:
    """What was published of each recipe, and what differs, as Markdown.

    Args:
        report: The comparison.

    Returns:
        A table, a row a recipe.
    """
    lines = [
        table_row(["recipe", "system", "published", "here, but for budget and data, otherwise than published"]),
        "|---|---|---|---|",
    ]
    lines += [table_row([f"`{row.name}`", row.system, row.published, differences(row)]) for row in report.recipes]
    return "\n".join(lines)


def differences(row: RecipeResult) -> str:
    """What is not as published.

    Args:
        row: A recipe.

    Returns:
        Clauses.
    """
    clauses = [row.differs] if row.differs else []
    if row.unfrozen and not any("whole" in one for one in clauses):
        clauses.append("nothing is frozen, since its weights are random")
    bounds = [of.age_range for of in row.figures.values()]
    if bounds and all(one is not None for one in bounds) and bounds[0] is not None:
        error = error_in_range(AgeSection())
        errors = [
            f"{error.shown(of.age_range_mae)} on {name}" for name, of in row.figures.items() if of.age_range_mae is not None
        ]
        first, last = bounds[0]
        clauses.append(f"knows the ages {first} to {last} alone, and of these errs by {' and '.join(errors)}")
    if row.state == "diverged":
        clauses.append(
            "diverged; its figures are those of its best epoch before" if row.figures else "diverged in its first epoch"
        )
    return "; ".join(clauses)


def _initial_weights(row: RecipeResult) -> str:
    source = {"random": "random weights", "imagenet": "ImageNet's weights"}.get(row.init, "given weights")
    return f"{', '.join(f'`{name}`' for name in row.follows)}, from {source}" if row.follows else source


def _learnt(report: ComparisonReport, row: RecipeResult) -> int:
    """Pictures of the training split that a recipe learns in a pass."""
    chosen = row.train or report.override.get("data", {}).get("train", list(report.data))
    return sum(report.data[name]["train"] for name in chosen)


def _mark(row: RecipeResult) -> str:
    return " (diverged)" if row.state == "diverged" else ""


def _number(row: RecipeResult, name: str, metric: Metric[Predictions]) -> float | None:
    """A recipe's figure on a data set."""
    return _value(row.figures.get(name), metric)


def _value(figures: Figures | None, metric: Metric[Predictions]) -> float | None:
    return None if figures is None else figures.number(metric.place)


def _shown(value: float | None, metric: Metric[Predictions]) -> str:
    return _NOTHING if value is None else metric.shown(value, brief=True)


# Plots -----------------------------------------------------------------------------------------------------------------


def _coloured(report: ComparisonReport) -> dict[str, str]:
    """A colour for each system."""
    systems = dict.fromkeys(row.system for row in report.recipes)
    return {system: _COLOURS[number % len(_COLOURS)] for number, system in enumerate(systems)}


def _draw_bars(report: ComparisonReport, path: Path) -> None:
    """A bar for every recipe and figure, in the table's order; a line at the constant prediction's figure."""
    name, colours, rows = report.sets[0], _coloured(report), report.recipes
    panels = metrics_of(report.attributes, Table.PANELS)
    height = 1.6 + 0.3 * len(rows)
    figure, ((first, *others),) = plt.subplots(
        1, len(panels), figsize=(12, height), sharey=True, layout="constrained", squeeze=False
    )
    for axis, metric in zip((first, *others), panels, strict=True):
        for place, row in enumerate(rows):
            value = _number(row, name, metric)
            if value is not None:
                axis.barh(place, value, color=colours[row.system])
            axis.text(value or 0, place, f" {_shown(value, metric)}", va="center", fontsize=9)
        baseline = _value(report.constant_baseline[name], metric)
        if baseline is not None:
            axis.axvline(baseline, color="#868e96", linestyle="--", linewidth=1)
        axis.set(title=metric.heading)
        axis.margins(x=0.15)
    first.set_yticks(range(len(rows)), [row.name for row in rows])
    first.invert_yaxis()
    figure.suptitle(f"{name}, {report.split} split; dashed: {CONSTANT_BASELINE}", fontsize=10)
    systems = [Patch(color=colour, label=system) for system, colour in colours.items() if system]
    if systems:
        figure.legend(handles=systems, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    save(figure, path, dpi=100)


def _draw_cost(report: ComparisonReport, path: Path) -> None:
    """Age error and gender accuracy by multiply-adds and by latency; recipes go by their numbers, which stand in the legend."""
    name, colours = report.sets[0], _coloured(report)
    numbered = list(enumerate(report.recipes, 1))
    panels = metrics_of(report.attributes, Table.PANELS)[:2]
    figure, axes = plt.subplots(
        len(panels), 2, figsize=(11, 1 + 3.25 * len(panels)), sharex="col", sharey="row", layout="constrained", squeeze=False
    )
    costs = (("multiply_adds", "multiply-adds of one face [millions]", 1e6), ("latency_ms", "one face [ms]", 1.0))
    for line, metric in zip(axes, panels, strict=True):
        for axis, (cost, label, unit) in zip(line, costs, strict=True):
            for number, row in numbered:
                value = _number(row, name, metric)
                spent = getattr(row, cost)
                if value is not None and spent is not None:
                    axis.plot(spent / unit, value, "o", markersize=15, color=colours[row.system], alpha=0.8)
                    axis.text(spent / unit, value, str(number), color="white", ha="center", va="center", fontsize=8)
            axis.set(xscale="log", xlabel=label)
            axis.label_outer()
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.margins(0.12)
            axis.grid(alpha=0.3)
        line[0].set(ylabel=metric.heading)
    legend = [Patch(color=colours[row.system], label=f"{number}  {row.name}") for number, row in numbered]
    figure.legend(handles=legend, loc="outside right upper", fontsize=9, frameon=False)
    figure.suptitle(f"{name}, {report.split} split", fontsize=10)
    save(figure, path, dpi=100)
