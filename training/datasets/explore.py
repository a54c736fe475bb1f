"""Data sets to what is in them: people per attribute, and their crossings; counts, plots and a sheet of samples."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import pyplot as plt
from PIL import Image, ImageDraw, ImageOps

from service.arrays import Pixels
from service.errors import FacetError
from service.files import replacing
from service.models.manifest import AGE, CANONICAL
from service.vision.image import decode
from training.artifacts import write_json
from training.datasets.base import DataSet, Label, Split
from training.datasets.readers import open_data_set
from training.datasets.sources import MAX_PIXELS
from training.errors import DataSetError
from training.plotting import save

UNKNOWN_VALUE: Final = "unknown"
"""Stands in tables for an attribute that a label does not have."""
MOST_WORDS: Final = 40
"""Most words of an attribute that is counted and drawn; a column of notes or names has more."""
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
    """Write `counts.json`, `counts.csv`, a plot for each attribute, such as `age.png`, `crossings.png` and, unless `samples`
    is 0, the sheet `samples.jpg` under `out`.

    Pictures are read for the sheet alone. An age that is known as a range counts at its middle. The sheet shows people: it
    belongs to whoever holds the data, and nowhere else.

    Args:
        sources: Data sets, each a folder or tar file.
        out: Folder to write to.
        samples: Pictures on the sheet.

    Returns:
        What `counts.json` holds.

    Raises:
        DataSetError: No picture has a label, or a source is no data set.
        FileNotFoundError: A source does not exist.
    """
    sets = [open_data_set(source) for source in sources]
    held = [contents(data_set) for data_set in sets]
    if not any(one.labels for one in held):
        raise DataSetError(f"no labelled picture in {', '.join(str(source) for source in sources)}")
    out.mkdir(parents=True, exist_ok=True)
    attributes = attributes_of(held)
    document: dict[str, object] = {one.name: counted(one, attributes) for one in held}
    write_json(out / "counts.json", document)
    _write_csv(held, attributes, out / "counts.csv")
    for attribute in attributes:
        _bars({one.name: _tally(one.labels.values(), attribute) for one in held}, attribute, out / f"{attribute}.png")
    _crossings([label for one in held for label in one.labels.values()], out / "crossings.png")
    if samples:
        with replacing(out / "samples.jpg") as new:
            sheet(sets, held, samples).save(new, quality=90)
    return document


def attributes_of(held: Sequence[Contents]) -> tuple[str, ...]:
    """The attributes that are counted: age, gender and race, and what else labels hold in few words.

    Args:
        held: What the data sets hold.

    Returns:
        Their names.
    """
    words: dict[str, set[str]] = {}
    for one in held:
        for label in one.labels.values():
            for name in label.values:
                words.setdefault(name, set()).add(value(label, name))
    first = (AGE, *CANONICAL)
    return (*first, *sorted(name for name, found in words.items() if name not in first and len(found) <= MOST_WORDS))


def contents(data_set: DataSet) -> Contents:
    """Labels and splits of all pictures, by their names alone.

    Args:
        data_set: The set.

    Returns:
        What the set holds.
    """
    labels, splits, without = {}, {}, 0
    for name in data_set.names():
        label = data_set.label_of(name)
        if label is None:
            without += 1
        else:
            labels[name], splits[name] = label, data_set.split_of(name)
    return Contents(data_set.name, labels, splits, without)


def value(label: Label, attribute: str) -> str:
    """The value of an attribute of a label, in words.

    Args:
        label: The label.
        attribute: Name of an attribute, or `decade`, that of the age.

    Returns:
        A word, `34`, `30-39`, or `UNKNOWN_VALUE`.
    """
    if attribute in ("age", "decade"):
        if label.age is None:
            return UNKNOWN_VALUE
        years = int(label.age) if attribute == "age" else int(label.age) // 10 * 10
        return str(years) if attribute == "age" else f"{years}-{years + 9}"
    return label.word(attribute) or UNKNOWN_VALUE


def counted(held: Contents, attributes: Sequence[str]) -> dict[str, object]:
    """Pictures by split, attribute and crossings; a crossing's keys are `30-39 female`.

    Args:
        held: What a data set holds.
        attributes: Names of the attributes that are counted.

    Returns:
        Counts by what is counted.
    """
    labels = list(held.labels.values())
    return {
        "pictures": len(labels),
        "unlabelled": held.unlabelled,
        "split": dict(Counter(split.value for split in held.splits.values())),
        **{attribute: _tally(labels, attribute) for attribute in attributes},
        **{f"{one} and {other}": _crossing(labels, one, other) for one, other in CROSSINGS},
    }


def _tally(labels: Iterable[Label], attribute: str) -> dict[str, int]:
    counts = Counter(value(label, attribute) for label in labels)
    return {name: counts[name] for name in sorted(counts, key=lambda name: _place(attribute, name))}


def _crossing(labels: Iterable[Label], one: str, other: str) -> dict[str, int]:
    counts = Counter((value(label, one), value(label, other)) for label in labels)
    order = sorted(counts, key=lambda pair: (_place(one, pair[0]), _place(other, pair[1])))
    return {f"{first} {second}": counts[first, second] for first, second in order}


def _place(attribute: str, name: str) -> tuple[int, str]:
    """Where a value stands among the others: known words in their order, others by the alphabet, unknown ones last."""
    if name == UNKNOWN_VALUE:
        return 2000, ""
    if attribute in ("age", "decade"):
        return int(name.split("-", maxsplit=1)[0]), ""
    known = CANONICAL.get(attribute, ())
    return (known.index(name), "") if name in known else (1000, name)


def _write_csv(held: Iterable[Contents], attributes: Sequence[str], path: Path) -> None:
    """A line of each set, split and crossing of attributes that comes, with its count: what a spreadsheet makes tables of."""
    with replacing(path) as new, new.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("set", "split", *attributes, "pictures"))
        for one in held:
            rows = Counter(
                (one.splits[name].value, *(value(label, attribute) for attribute in attributes))
                for name, label in one.labels.items()
            )
            writer.writerows((one.name, *row, count) for row, count in sorted(rows.items()))


def _bars(tallies: Mapping[str, Mapping[str, int]], attribute: str, path: Path) -> None:
    """Bars of every set, one on another."""
    names = sorted({name for tally in tallies.values() for name in tally}, key=lambda name: _place(attribute, name))
    if attribute == "age":
        known = [int(name) for name in names if name != UNKNOWN_VALUE]
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
    save(figure, path)


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
    save(figure, path)


def sheet(sets: Sequence[DataSet], held: Sequence[Contents], count: int) -> Image.Image:
    """Pictures drawn from all sets, with their labels below; one that cannot be read is left grey.

    Args:
        sets: The data sets.
        held: What each of them holds.
        count: Pictures on the sheet.

    Returns:
        The sheet.
    """
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
    words = (years, value(label, "gender"), value(label, "race"))
    return " ".join("?" if word == UNKNOWN_VALUE else word for word in words)


def _thumbnail(data: bytes) -> Pixels:
    """A square [TILE, TILE, 3] about the middle of a picture."""
    try:
        pixels = decode(data, max_pixels=MAX_PIXELS, side=4 * TILE).pixels
    except FacetError:
        return np.full((TILE, TILE, 3), 128, np.uint8)
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (TILE, TILE)), np.uint8)
