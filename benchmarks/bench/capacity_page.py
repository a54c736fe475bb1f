"""Tables and plots of docs/capacity.md, from the figures of a benchmark."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.capacity import replicas

Row = Mapping[str, Any]
Document = Mapping[str, Any]

REDUCED = 1.9
"""Megapixels from which a picture of 4:3 is larger than what is searched by default, with room for rounding."""
RATES = (1, 10, 50, 100, 500)
"""Photos a second of the table of replicas."""
_MARKED = re.compile(r"(?P<begin><!-- capacity: (?P<name>[a-z]+) -->)\n.*?\n(?P<end><!-- /capacity -->)", re.DOTALL)


def conditions(document: Document) -> str:
    """When, where and what was measured, in two sentences."""
    run = document["run"]
    return (
        f"Measured on {run['date']} at commit `{run['here']}`, on {run['CPUs']} CPUs ({run['processor']}, "
        f"{'with' if run['AMX'] else 'without'} AMX), with Facet's defaults and the load generator on the same CPUs. "
        f"The load average before it was {run['load average before']}."
    )


def faces(document: Document) -> str:
    """Cost by faces."""
    rows = [[row["portraits"], row["faces"], row["ms"], row["cpu_ms"]] for row in document["faces"]]
    return _table(["faces shown", "found", "median [ms]", "CPU [ms]"], rows)


def pixels(document: Document) -> str:
    """CPU milliseconds, and the median's, by megapixels and format."""
    formats = list(dict.fromkeys(row["format"] for row in document["pixels"]))
    cells = {(row["megapixels"], row["format"]): row for row in document["pixels"]}
    rows = []
    for size in dict.fromkeys(row["megapixels"] for row in document["pixels"]):
        found = [cells.get((size, form), {}) for form in formats]
        rows.append([size, *(row.get("cpu_ms") for row in found), *(row.get("ms") for row in found)])
    return _table(
        ["megapixels", *(f"{form}: CPU [ms]" for form in formats), *(f"{form}: median [ms]" for form in formats)], rows
    )


def clients(document: Document) -> str:
    """Rate and latency by clients."""
    rows = [
        [
            row["clients"],
            row["photos_per_second"],
            *(row["latency_ms"].get(name) for name in ("p50", "p95", "p99")),
            row["cpu_ms"],
        ]
        for row in document["clients"]
    ]
    return _table(["clients", "photos a second", "median [ms]", "95 % [ms]", "99 % [ms]", "CPU a photo [ms]"], rows)


def processes(document: Document) -> str:
    """One machine's rate by the processes on it."""
    names = ["processes", "CPUs of each", "photos_per_second", "p50_ms", "p95_ms", "cpu_ms", "mib"]
    headings = ["replicas", "CPUs of each", "photos a second, all", "median [ms]", "95 % [ms]", "CPU a photo [ms]", "MiB, all"]
    return _table(headings, [[row[name] for name in names] for row in document["processes"]])


def costs(document: Document) -> dict[str, float]:
    """CPU milliseconds that one more face, and one more megapixel in each format, add by least squares; by what is added."""
    shown = document["faces"]
    found = {"a face": linear_regression([row["faces"] for row in shown], [row["cpu_ms"] for row in shown]).slope}
    for form in dict.fromkeys(row["format"] for row in document["pixels"]):
        rows = [row for row in document["pixels"] if row["format"] == form and row["megapixels"] >= REDUCED and row["cpu_ms"]]
        if len(rows) > 1:
            sizes = [row["megapixels"] for row in rows]
            found[f"a megapixel of {form}"] = linear_regression(sizes, [row["cpu_ms"] for row in rows]).slope
    return found


def slopes(document: Document) -> str:
    """What a face and a megapixel add."""
    return _table(["one more", "CPU [ms]"], [[name, round(value, 1)] for name, value in costs(document).items()])


def sizes(document: Document) -> str:
    """Replicas by rate, for photos of some kinds."""
    kinds = {
        "one face, 512×512, eight clients": next(row["cpu_ms"] for row in document["clients"] if row["clients"] == 8),
        "one face, 1.6 MP": next(row["cpu_ms"] for row in document["faces"] if row["portraits"] == 1),
        "seven faces, JPEG of 12 MP": next(
            row["cpu_ms"] for row in document["pixels"] if row["format"] == "JPEG" and round(row["megapixels"]) == 12
        ),
        "100 faces, 1.6 MP": next(row["cpu_ms"] for row in document["faces"] if row["portraits"] == 100),
    }
    rows = [[name, cost, *(replicas(rate, cost / 1000) for rate in RATES)] for name, cost in kinds.items()]
    return _table(["photo", "CPU [ms]", *(f"{rate} a second" for rate in RATES)], rows)


BLOCKS: Mapping[str, Callable[[Document], str]] = {
    "conditions": conditions,
    "faces": faces,
    "pixels": pixels,
    "clients": clients,
    "processes": processes,
    "slopes": slopes,
    "sizes": sizes,
}


def filled(text: str, document: Document) -> str:
    """A page with this run's figures between its marks, lines of `<!-- capacity: NAME -->` and `<!-- /capacity -->`.

    Args:
        text: The page.
        document: What was measured, by section.

    Returns:
        The page anew.
    """
    return _MARKED.sub(lambda match: f"{match['begin']}\n\n{BLOCKS[match['name']](document)}\n\n{match['end']}", text)


def publish(document: Document, page: Path) -> None:
    """Fill in a page, and write the figures and the plots beside it.

    Args:
        document: What was measured, by section.
        page: A Markdown page with marks; its name begins those of the other files.
    """
    kept = {name: document[name] for name in ("run", "faces", "pixels", "clients", "processes")}
    text = filled(page.read_text(encoding="utf-8"), kept)
    page.with_suffix(".json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    _plot_costs(kept, page.with_name(f"{page.stem}-cost.png"))
    _plot_load(kept, page.with_name(f"{page.stem}-load.png"))


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [
        headings,
        ["---"] * len(headings),
        *([("–" if cell is None else f"{cell:,}" if isinstance(cell, int | float) else cell) for cell in row] for row in rows),
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines).replace("| --- ", "|---").replace("--- |", "---|")


def _plot_costs(document: Document, path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for name, label in (("cpu_ms", "CPU"), ("ms", "from request to answer")):
        left.plot(
            [row["faces"] for row in document["faces"]], [row[name] for row in document["faces"]], marker="o", label=label
        )
    left.set(xlabel="faces in a photo of 1280×1280", ylabel="milliseconds", ylim=0)
    for form in dict.fromkeys(row["format"] for row in document["pixels"]):
        points = [(row["megapixels"], row["cpu_ms"]) for row in document["pixels"] if row["format"] == form and row["cpu_ms"]]
        right.plot(*zip(*points, strict=True), marker="o", label=form)
    right.set(xlabel="megapixels of a photo of seven faces", ylabel="CPU milliseconds", xscale="log", yscale="log")
    right.xaxis.set_major_formatter("{x:g}")
    right.yaxis.set_major_formatter("{x:g}")
    _finish(figure, (left, right), path)


def _plot_load(document: Document, path: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.5), layout="constrained")
    rate, wait, split = axes
    counts = [row["clients"] for row in document["clients"]]
    rate.plot(counts, [row["photos_per_second"] for row in document["clients"]], marker="o")
    for name, label in (("p50", "median"), ("p95", "95 %")):
        wait.plot(counts, [row["latency_ms"].get(name) for row in document["clients"]], marker="o", label=label)
    rate.set(title="One replica with all CPUs", xlabel="clients", ylabel="photos a second", xscale="log")
    wait.set(title="Its latency", xlabel="clients", ylabel="milliseconds", yscale="log", xscale="log")
    rate.set_ylim(0, 1.1 * max(row["photos_per_second"] for row in document["clients"]))
    for one in (rate, wait):
        one.set_xticks(counts, [f"{count}" for count in counts], minor=False)
        one.minorticks_off()
    wait.yaxis.set_major_formatter("{x:g}")
    labels = [f"{row['processes']} × {row['CPUs of each']} CPU" for row in document["processes"]]
    split.bar(labels, [row["photos_per_second"] for row in document["processes"]], width=0.5)
    split.set(title="One machine, divided", xlabel="replicas × CPUs of each", ylabel="photos a second")
    _finish(figure, axes, path)


def _finish(figure: Any, axes: Sequence[Any], path: Path) -> None:
    for one in axes:
        one.grid(alpha=0.3)
        if one.get_legend_handles_labels()[0]:
            one.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
