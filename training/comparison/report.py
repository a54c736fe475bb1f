"""A comparison's figures to tables that people read, a CSV file, and plots."""

from __future__ import annotations

import csv
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from training.datasets.base import GENDERS

mpl.use("Agg")

TABLE: Final = "compare.csv"
PAGE: Final = "compare.md"
BARS: Final = "bars.png"
COST: Final = "cost.png"

BLIND: Final = "an answer without looking"
_NOTHING: Final = "–"

_MARKED: Final = re.compile(
    r"(?P<begin>^<!-- compare: (?P<name>[^\n]+) -->$).*?(?P<end>^<!-- /compare -->$)", flags=re.MULTILINE | re.DOTALL
)

_FIGURES: Final = (
    ("age_mae", "age: MAE [years]", "{:.2f}"),
    ("age_rmse", "RMSE [years]", "{:.2f}"),
    ("age_within_5", "within 5 years", "{:.1%}"),
    ("age_exact", "the very year", "{:.1%}"),
    ("age_bins_5", "5 classes", "{:.1%}"),
    ("age_bins_9", "9 classes", "{:.1%}"),
    ("age_class_accuracy", "its own classes", "{:.1%}"),
    ("gender_accuracy", "gender: accuracy", "{:.3f}"),
    ("gender_f1", "F1", "{:.3f}"),
    ("gender_auc", "AUC", "{:.3f}"),
    ("race_accuracy", "race: accuracy", "{:.3f}"),
    ("race_macro_f1", "macro F1", "{:.3f}"),
)
_PANELS: Final = (
    ("age_mae", "age: mean absolute error [years]", "{:.1f}"),
    ("gender_accuracy", "gender: accuracy", "{:.2f}"),
    ("race_accuracy", "race: accuracy", "{:.2f}"),
)
_COLOURS: Final = ("#1971c2", "#e8590c", "#2f9e44", "#9c36b5", "#c2255c", "#0c8599", "#f08c00", "#495057")


def write(document: Mapping[str, Any], out: Path) -> list[Path]:
    """Write table, page and plots of what `training.comparison.run` measured; returns their paths."""
    paths = [out / name for name in (TABLE, PAGE, BARS, COST)]
    with paths[0].open("w", newline="") as file:
        rows = list(flat(document))
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    paths[1].write_text(page(document))
    _draw_bars(document, paths[2])
    _draw_cost(document, paths[3])
    return paths


def publish(document: Mapping[str, Any], page: Path) -> list[Path]:
    """Fill in a page of documentation (`filled`), and write the figures and plots beside it, under names that begin as its own
    does; returns the paths. Raises `ValueError` as `filled` does, and then has written nothing."""
    text = filled(page.read_text(), document)
    figures, bars, cost = (page.with_name(f"{page.stem}{end}") for end in (".json", f"-{BARS}", f"-{COST}"))
    page.write_text(text)
    figures.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
    _draw_bars(document, bars)
    _draw_cost(document, cost)
    return [page, figures, bars, cost]


def flat(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row of a recipe and data set, with the figures as they were measured; empty where there is none."""
    for name in _sets(document):
        for row in document["recipes"]:
            told = {key: row.get(key, "") for key in ("name", "system", "architecture", "size", "init", "state", "batch")}
            told |= {key: row.get(key, "") for key in ("pictures", "cpu_seconds", "weights", "multiply_adds", "latency_ms")}
            figures = _of(row["figures"].get(name, {}))
            shown = {key: "" if figures.get(key) is None else figures[key] for key, _, _ in _FIGURES}
            yield {"set": name, "split": document["split"], **told, **shown}


def page(document: Mapping[str, Any]) -> str:
    """All of it, as Markdown."""
    parts = ["# Comparison", conditions(document)]
    for name in _sets(document):
        parts += [f"## {name}", figures_table(document, name)]
    parts += ["## What each cost", cost_table(document), "## What was published", published_table(document)]
    return "\n\n".join([*parts, f"![Figures of each recipe]({BARS})", f"![Figures by cost]({COST})"]) + "\n"


def filled(text: str, document: Mapping[str, Any]) -> str:
    """A Markdown page with this comparison's tables and conditions in the place of those between its marks, which are lines of
    `<!-- compare: NAME -->` and `<!-- /compare -->` with NAME `conditions`, a data set, `cost` or `published`.

    Raises `ValueError` for a name that the comparison does not know, and for a page without marks.
    """
    parts = {"conditions": conditions, "cost": cost_table, "published": published_table}
    known = parts | {name: partial(figures_table, name=name) for name in _sets(document)}
    seen = 0

    def part(match: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        name = match["name"]
        if name not in known:
            raise ValueError(f"{name} is none of {', '.join(known)}")
        told = known[name](document)
        return f"{match['begin']}\n\n{told if told.startswith('|') else textwrap.fill(told, 128)}\n\n{match['end']}"

    text = _MARKED.sub(part, text)
    if not seen:
        raise ValueError("the page has no marks")
    return text


def conditions(document: Mapping[str, Any]) -> str:
    """What was alike for all, in two sentences."""
    minutes, pictures = document["budget"]["minutes"], document["budget"]["pictures"]
    parts = [
        *([] if minutes is None else [f"{minutes:g} CPU minutes of training"]),
        *([] if pictures is None else [f"{pictures:,} pictures"]),
    ]
    counts = " and ".join(f"{document['data'][name][document['split']]:,} of {name}" for name in _sets(document))
    return (
        f"Each recipe had {' or '.join(parts)}, on {document['cpus']} CPUs. Measured on the faces that were found in the "
        f"{document['split']} split: {counts}."
    )


def figures_table(document: Mapping[str, Any], name: str) -> str:
    """Markdown table of the figures on one data set; those that no recipe has on it are left out."""
    rows = [(row["name"] + _mark(row), _of(row["figures"].get(name, {}))) for row in document["recipes"]]
    rows.append((BLIND, _of(document["blind"].get(name, {}))))
    told = [one for one in _FIGURES if any(figures.get(one[0]) is not None for _, figures in rows[:-1])]
    lines = [_line(["recipe", *(title for _, title, _ in told)]), "|---|" + "---|" * len(told)]
    for title, figures in rows:
        cells = [_told(figures, key, form) for key, _, form in told]
        lines.append(_line([title if title == BLIND else f"`{title}`", *cells]))
    return "\n".join(lines)


def cost_table(document: Mapping[str, Any]) -> str:
    """Markdown table of what each network is and what it took."""
    titles = ("recipe", "input [pixels]", "weights", "multiply-adds [millions]", "one face [ms]", "begins with", "batch")
    lines = [_line([*titles, "pictures seen", "passes over train", "CPU seconds"]), "|---|" + "---|" * (len(titles) + 2)]
    learnt = _learnt(document)
    for row in document["recipes"]:
        cells = [f"`{row['name']}`", str(row["size"]), f"{row['weights']:,}", f"{row['multiply_adds'] / 1e6:,.1f}"]
        cells += [_told(row, "latency_ms", "{:.1f}"), _begun(row), str(row["batch"]), f"{row['pictures']:,}"]
        lines.append(_line([*cells, f"{row['pictures'] / learnt:.2f}", f"{row['cpu_seconds']:.0f}"]))
    return "\n".join(lines)


def published_table(document: Mapping[str, Any]) -> str:
    """Markdown table of what was published of each recipe, beside the same figures here, and what differs."""
    lines = [
        _line(["recipe", "system", "published", "here, but for budget and data, otherwise than published"]),
        "|---|---|---|---|",
    ]
    lines += [_line([f"`{row['name']}`", row["system"], row["published"], _differs(row)]) for row in document["recipes"]]
    return "\n".join(lines)


def _differs(row: Mapping[str, Any]) -> str:
    said = [row["differs"]] if row["differs"] else []
    if row["thawed"] and not any("whole" in one for one in said):
        said.append("nothing is frozen, since its weights are random")
    if row["figures"] and all("age_taught" in of for of in row["figures"].values()):
        taught = next(iter(row["figures"].values()))["age_taught"]
        errors = [
            f"{of['age_taught_mae']:.2f} on {name}" for name, of in row["figures"].items() if of["age_taught_mae"] is not None
        ]
        said.append(f"knows the ages {taught[0]} to {taught[1]} alone, and of these errs by {' and '.join(errors)}")
    if row["state"] == "diverged":
        said.append(
            "diverged; its figures are those of its best epoch before" if row["figures"] else "diverged in its first epoch"
        )
    return "; ".join(said)


def _begun(row: Mapping[str, Any]) -> str:
    if row["follows"]:
        return f"{', '.join(f'`{name}`' for name in row['follows'])}, from {_source(row)}"
    return _source(row)


def _source(row: Mapping[str, Any]) -> str:
    return (
        "random weights" if row["init"] == "random" else "ImageNet's weights" if row["init"] == "imagenet" else "given weights"
    )


def _of(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with the F1 of the second gender, which is the one that single F1 scores of UTKFace are of."""
    return {**figures, "gender_f1": figures["gender"][GENDERS[1]]["f1"]} if "gender" in figures else dict(figures)


def _sets(document: Mapping[str, Any]) -> list[str]:
    return sorted(document["blind"], reverse=True)


def _learnt(document: Mapping[str, Any]) -> int:
    """Pictures of the training split that all learn."""
    chosen = document["override"].get("data", {}).get("train", list(document["data"]))
    return sum(document["data"][name]["train"] for name in chosen)


def _mark(row: Mapping[str, Any]) -> str:
    return " (diverged)" if row["state"] == "diverged" else ""


def _told(figures: Mapping[str, Any], key: str, form: str) -> str:
    value = figures.get(key)
    return _NOTHING if value is None else form.format(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


# Plots -----------------------------------------------------------------------------------------------------------------


def _coloured(document: Mapping[str, Any]) -> dict[str, str]:
    """A colour for each system."""
    systems = dict.fromkeys(row["system"] for row in document["recipes"])
    return {system: _COLOURS[number % len(_COLOURS)] for number, system in enumerate(systems)}


def _draw_bars(document: Mapping[str, Any], path: Path) -> None:
    """A bar for every recipe and figure, in the table's order; a line where an answer is that does not look."""
    name, colours, rows = _sets(document)[0], _coloured(document), document["recipes"]
    height = 1.6 + 0.3 * len(rows)
    figure, axes = plt.subplots(1, len(_PANELS), figsize=(12, height), sharey=True, layout="constrained")
    for axis, (key, title, form) in zip(axes, _PANELS, strict=True):
        for place, row in enumerate(rows):
            value = row["figures"].get(name, {}).get(key)
            if value is not None:
                axis.barh(place, value, color=colours[row["system"]])
            axis.text(value or 0, place, f" {_NOTHING if value is None else form.format(value)}", va="center", fontsize=9)
        blind = document["blind"][name].get(key)
        if blind is not None:
            axis.axvline(blind, color="#868e96", linestyle="--", linewidth=1)
        axis.set(title=title)
        axis.margins(x=0.15)
    axes[0].set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes[0].invert_yaxis()
    figure.suptitle(f"{name}, {document['split']} split; dashed: {BLIND}", fontsize=10)
    systems = [Patch(color=colour, label=system) for system, colour in colours.items() if system]
    if systems:
        figure.legend(handles=systems, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    _save(figure, path)


def _draw_cost(document: Mapping[str, Any], path: Path) -> None:
    """Age error and gender accuracy by multiply-adds and by latency; recipes go by their numbers, which the legend tells."""
    name, colours = _sets(document)[0], _coloured(document)
    numbered = list(enumerate(document["recipes"], 1))
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), sharex="col", sharey="row", layout="constrained")
    costs = (("multiply_adds", "multiply-adds of one face [millions]", 1e6), ("latency_ms", "one face [ms]", 1.0))
    for line, (key, title, _) in zip(axes, _PANELS, strict=False):
        for axis, (cost, label, unit) in zip(line, costs, strict=True):
            for number, row in numbered:
                value = row["figures"].get(name, {}).get(key)
                if value is not None:
                    axis.plot(row[cost] / unit, value, "o", markersize=15, color=colours[row["system"]], alpha=0.8)
                    axis.text(row[cost] / unit, value, str(number), color="white", ha="center", va="center", fontsize=8)
            axis.set(xscale="log", xlabel=label)
            axis.label_outer()
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.margins(0.12)
            axis.grid(alpha=0.3)
        line[0].set(ylabel=title)
    told = [Patch(color=colours[row["system"]], label=f"{number}  {row['name']}") for number, row in numbered]
    figure.legend(handles=told, loc="outside right upper", fontsize=9, frameon=False)
    figure.suptitle(f"{name}, {document['split']} split", fontsize=10)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=100)
    plt.close(figure)
