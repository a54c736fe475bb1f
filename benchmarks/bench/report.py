"""The report of a benchmark: tables in Markdown, and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.bench.measures import Row

HEADINGS: Mapping[str, tuple[str, str]] = {
    "latency": (
        "One photo at a time",
        "Milliseconds from the request to its whole answer; `times` is how many times as long as here.",
    ),
    "sizes": (
        "Photos of many sizes",
        "Each size once a round; milliseconds of a photo are means, and `times` is how many times as long as here.",
    ),
    "closed": (
        "Clients that wait for their answers",
        "All send the photo of one face. `photos_per_second` are the answers that came while photos were sent.",
    ),
    "open": (
        "Load that does not wait",
        "Photos are due at random times; latency counts from then. `offered` and `goodput` are shares of the service's own "
        "best rate; `probe_ms` counts from when a probe was due, too, and `lost` are those without an answer. The last row of "
        "each service are 64 clients that come back 20 ms after each refusal.",
    ),
    "start": ("Start", "Seconds until ready, and MiB held then."),
    "memory": ("Memory", "MiB after so many photos of every format and size."),
    "models": ("Every model in each arithmetic", "One face at 512×512 and seven at 1280×960, over HTTP."),
    "faces": ("Cost by faces", "Portraits of 128 pixels in a JPEG of 1280×1280."),
    "pixels": ("Cost by pixels", "A picture of seven faces in each format; nothing where the service refused it."),
    "clients": ("Clients of this checkout", "All send the photo of one face, and wait for their answers."),
    "processes": ("Processes on one machine", "They share its CPUs; eight clients for each CPU."),
    "peers": (
        "Other systems' own paths",
        "Each runs in a process of its own and reads photos from the disk; Facet is asked over HTTP. `times` is how many "
        "times as long as here. A system that could not be installed has a note.",
    ),
    "limit": (
        "The limit",
        "The networks alone, and their variants, at their best batch: `a second` is how many faces, or windows of a detector, "
        "they could take.",
    ),
}


def flat(row: Row) -> Row:
    """Nested values under names of their own: `latency_ms.p50`."""
    found: Row = {}
    for name, value in row.items():
        found |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
    return found


def table(rows: Sequence[Row], columns: Sequence[str] | None = None) -> list[str]:
    """Lines of a Markdown table."""
    found = [flat(row) for row in rows]
    names = list(columns or dict.fromkeys(name for row in found for name in row if not name.startswith("statuses.")))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join("–" if row.get(name) is None else str(row[name]) for name in names) + " |" for row in found]
    return lines


def markdown(report: Mapping[str, Any]) -> str:
    """The whole report.

    Args:
        report: Facts about the run under `run`, and rows by section.

    Returns:
        A page of Markdown.
    """
    lines = ["# Benchmark", ""]
    lines += [f"- {name}: {value}" for name, value in report["run"].items()]
    for section, (title, text) in HEADINGS.items():
        if section in report:
            lines += ["", f"## {title}", "", text, "", *table(report[section])]
    return "\n".join(lines) + "\n"


def _lines(axes: Any, rows: Sequence[Row], x: str, y: str) -> None:
    """A line a service."""
    found = [flat(row) for row in rows]
    for service in dict.fromkeys(row["service"] for row in found):
        points = [
            (row[x], row[y]) for row in found if row["service"] == service and row.get(x) is not None and row.get(y) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=service)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _bars(axes: Any, rows: Sequence[Row]) -> None:
    """Milliseconds a photo, a bar a service."""
    titles = list(dict.fromkeys(row["photo"] for row in rows))
    services = list(dict.fromkeys(row["service"] for row in rows))
    height = 0.8 / len(services)
    for place, service in enumerate(services):
        values = {row["photo"]: row["ms"] for row in rows if row["service"] == service}
        places = [index + place * height for index, title in enumerate(titles) if values.get(title)]
        axes.barh(places, [values[title] for title in titles if values.get(title)], height, label=service)
    axes.set_yticks([index + 0.4 - height / 2 for index in range(len(titles))], titles)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(frameon=False)


def plot(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what was measured.

    Args:
        report: Rows by section.
        folder: Where to.

    Returns:
        The pictures that were written, as PNG.
    """
    written = []
    if "latency" in report:
        figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
        _bars(axes, report["latency"])
        written.append(_save(figure, folder / "latency.png"))
    for section, x, label in (
        ("closed", "clients", "clients"),
        ("open", "offered", "load offered, as a share of the best rate"),
    ):
        if section not in report:
            continue
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
        rate = "photos_per_second" if section == "closed" else "goodput"
        _lines(left, report[section], x, rate)
        _lines(right, report[section], x, "latency_ms.p50")
        left.set(
            xlabel=label, ylabel="photos a second" if section == "closed" else "answered, as a share of the best rate", ylim=0
        )
        right.set(xlabel=label, ylabel="median milliseconds", yscale="log")
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
        written.append(_save(figure, folder / f"{section}.png"))
    if "memory" in report:
        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        _lines(axes, report["memory"], "photos", "mib")
        axes.set(xlabel="photos", ylabel="MiB", xscale="log", ylim=0)
        written.append(_save(figure, folder / "memory.png"))
    return written


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
