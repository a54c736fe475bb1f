"""Data sets to what is in them: people per age, gender and race, and their crossings; counts, plots and a sheet of samples."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from PIL import Image, ImageDraw, ImageOps

from service.errors import FacetError
from service.vision.image import decode
from training.datasets.base import GENDERS, RACES, DataSet, Label, Split
from training.datasets.prepare import MAX_PIXELS
from training.datasets.readers import open_data_set

mpl.use("Agg")

NAMES: Final[Mapping[str, Sequence[str]]] = {"gender": GENDERS, "race": RACES}
NOT_SAID: Final = "unknown"
CROSSINGS: Final = (("decade", "gender"), ("decade", "race"), ("race", "gender"))
SAMPLES: Final = 48
COLUMNS: Final = 8
TILE: Final = 128
"""Side of a sample in pixels."""
CAPTION: Final = 14
"""Height of the line below it."""

_SEED: Final = 20170101  # fixed: the same data give the same sheet


@dataclass(frozen=True, slots=True)
class Contents:
    """What a data set holds: `labels` and `splits` of its labelled pictures by name, and how many have none."""

    name: str
    labels: dict[str, Label] = field(default_factory=dict)
    splits: dict[str, Split] = field(default_factory=dict)
    unlabelled: int = 0


def explore(sources: Sequence[Path], out: Path, samples: int = SAMPLES) -> dict[str, object]:
    """Write `counts.json`, `counts.csv`, `age.png`, `gender.png`, `race.png`, `crossings.png` and, unless `samples` is 0, the
    sheet `samples.jpg` under `out`; returns the counts.

    Pictures are read for the sheet alone. An age that is known as a range counts at its middle. The sheet shows people: it
    belongs to whoever holds the data, and nowhere else. Raises `ValueError` where no picture has a label.
    """
    sets = [open_data_set(source) for source in sources]
    held = [contents(data_set) for data_set in sets]
    if not any(one.labels for one in held):
        raise ValueError(f"no labelled picture in {', '.join(str(source) for source in sources)}")
    out.mkdir(parents=True, exist_ok=True)
    document: dict[str, object] = {one.name: counted(one) for one in held}
    (out / "counts.json").write_text(json.dumps(document, indent=2) + "\n")
    _write_csv(held, out / "counts.csv")
    for attribute in ("age", "gender", "race"):
        _bars({one.name: _tally(one.labels.values(), attribute) for one in held}, attribute, out / f"{attribute}.png")
    _crossings([label for one in held for label in one.labels.values()], out / "crossings.png")
    if samples:
        sheet(sets, held, samples).save(out / "samples.jpg", quality=90)
    return document


def contents(data_set: DataSet) -> Contents:
    """Labels and splits of all pictures, by their names alone."""
    labels, splits, without = {}, {}, 0
    for name in data_set.names():
        label = data_set.label_of(name)
        if label is None:
            without += 1
        else:
            labels[name], splits[name] = label, data_set.split_of(name)
    return Contents(data_set.name, labels, splits, without)


def value(label: Label, attribute: str) -> str:
    """What a label says of `age`, `decade`, `gender` or `race`, in words."""
    if attribute in ("age", "decade"):
        if label.age is None:
            return NOT_SAID
        years = int(label.age) if attribute == "age" else int(label.age) // 10 * 10
        return str(years) if attribute == "age" else f"{years}-{years + 9}"
    return label.word(attribute) or NOT_SAID


def counted(held: Contents) -> dict[str, object]:
    """Pictures by split, age, gender, race and their crossings; a crossing's keys are `30-39 female`."""
    labels = list(held.labels.values())
    return {
        "pictures": len(labels),
        "unlabelled": held.unlabelled,
        "split": dict(Counter(split.value for split in held.splits.values())),
        **{attribute: _tally(labels, attribute) for attribute in ("age", "gender", "race")},
        **{f"{one} and {other}": _crossing(labels, one, other) for one, other in CROSSINGS},
    }


def _tally(labels: Iterable[Label], attribute: str) -> dict[str, int]:
    counts = Counter(value(label, attribute) for label in labels)
    return {name: counts[name] for name in sorted(counts, key=lambda name: _place(attribute, name))}


def _crossing(labels: Iterable[Label], one: str, other: str) -> dict[str, int]:
    counts = Counter((value(label, one), value(label, other)) for label in labels)
    order = sorted(counts, key=lambda pair: (_place(one, pair[0]), _place(other, pair[1])))
    return {f"{first} {second}": counts[first, second] for first, second in order}


def _place(attribute: str, name: str) -> int:
    """Where a value stands among the others; what is not said comes last."""
    if name == NOT_SAID:
        return 1000
    return NAMES[attribute].index(name) if attribute in NAMES else int(name.split("-", maxsplit=1)[0])


def _write_csv(held: Iterable[Contents], path: Path) -> None:
    """A line of each set, split, age, gender and race that comes, with its count: what a spreadsheet makes tables of."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("set", "split", "age", "gender", "race", "pictures"))
        for one in held:
            rows = Counter(
                (one.splits[name].value, *(value(label, attribute) for attribute in ("age", "gender", "race")))
                for name, label in one.labels.items()
            )
            writer.writerows((one.name, *row, count) for row, count in sorted(rows.items()))


def _bars(tallies: Mapping[str, Mapping[str, int]], attribute: str, path: Path) -> None:
    """Bars of every set, one on another."""
    names = sorted({name for tally in tallies.values() for name in tally}, key=lambda name: _place(attribute, name))
    if attribute == "age":
        known = [int(name) for name in names if name != NOT_SAID]
        names = [str(age) for age in range(min(known, default=0), max(known, default=0) + 1)]
    figure, axis = plt.subplots(figsize=(10 if attribute == "age" else 6, 4.5), layout="constrained")
    below = np.zeros(len(names))
    for set_name, tally in tallies.items():
        heights = np.array([tally.get(name, 0) for name in names])
        axis.bar(np.arange(len(names)), heights, bottom=below, label=set_name)
        below += heights
    step = 10 if attribute == "age" else 1
    shown = [place for place, name in enumerate(names) if attribute != "age" or int(name) % step == 0]
    axis.set_xticks(shown, [names[place] for place in shown])
    unit = " [years]" if attribute == "age" else ""
    axis.set(xlabel=f"{attribute}{unit}", ylabel="pictures", title=f"People per {attribute}")
    axis.grid(axis="y", alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _crossings(labels: Sequence[Label], path: Path) -> None:
    """A table of counts for each pair of attributes, of all sets together."""
    figure, axes = plt.subplots(1, len(CROSSINGS), figsize=(6 * len(CROSSINGS), 5.5), layout="constrained")
    for axis, (one, other) in zip(axes, CROSSINGS, strict=True):
        rows, columns = (list(_tally(labels, name)) for name in (one, other))
        table = np.zeros((len(rows), len(columns)), np.int64)
        for label in labels:
            table[rows.index(value(label, one)), columns.index(value(label, other))] += 1
        axis.imshow(np.log1p(table), cmap="Blues", aspect="auto", vmin=0)
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(rows)), rows)
        axis.set(title=f"{one} and {other}")
        for (row, column), count in np.ndenumerate(table):
            dark = np.log1p(count) > 0.6 * np.log1p(table.max())
            axis.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black", fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def sheet(sets: Sequence[DataSet], held: Sequence[Contents], count: int) -> Image.Image:
    """Pictures drawn from all sets, with their labels below; one that cannot be read is left grey."""
    every = [(place, name) for place, one in enumerate(held) for name in one.labels]
    drawn = np.random.default_rng(_SEED).permutation(len(every))[:count]
    places = {every[index]: tile for tile, index in enumerate(drawn)}
    rows = -(-len(places) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "white")
    pen = ImageDraw.Draw(page)
    for place, (data_set, one) in enumerate(zip(sets, held, strict=True)):
        for name, data in data_set.pictures():
            tile = places.get((place, name))
            if tile is not None:
                x, y = tile % COLUMNS * TILE, tile // COLUMNS * (TILE + CAPTION)
                page.paste(Image.fromarray(_thumbnail(data)), (x, y))
                pen.text((x + 2, y + TILE), _caption(one.labels[name]), fill="black")
    return page


def _caption(label: Label) -> str:
    years = f"{label.ages[0]}-{label.ages[1]}" if label.ages else value(label, "age")
    said = (years, value(label, "gender"), value(label, "race"))
    return " ".join("?" if word == NOT_SAID else word for word in said)


def _thumbnail(data: bytes) -> npt.NDArray[np.uint8]:
    """A square [TILE, TILE, 3] about the middle of a picture."""
    try:
        pixels = decode(data, max_pixels=MAX_PIXELS, side=4 * TILE).pixels
    except FacetError:
        return np.full((TILE, TILE, 3), 128, np.uint8)
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (TILE, TILE)), np.uint8)
