"""Data sets to what is in them: people per attribute, and their crossings; counts, plots and a sheet of samples."""

from __future__ import annotations

import csv
import itertools
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import pyplot as plt
from PIL import Image, ImageDraw, ImageOps

from service.arrays import Pixels
from service.errors import FacetError
from service.files import replacing
from service.vision.image import decode
from training.artifacts import write_document
from training.datasets.base import DataSet, Label, Split
from training.datasets.columns import Column, Decades, Words, Years, columns_of
from training.datasets.documents import Counts, SetCounts
from training.datasets.readers import open_data_sets
from training.datasets.sources import MAX_PIXELS
from training.errors import DataSetError
from training.plotting import literal, save

SAMPLES: Final = 48
COLUMNS: Final = 8
TILE: Final = 128
"""Side of a sample in pixels."""
CAPTION: Final = 14
"""Height of a line below it."""
CAPTION_LETTERS: Final = 20
"""Letters of such a line."""
PANELS: Final = 3
"""Crossings drawn side by side."""
CROSSINGS: Final = "crossings.png"
TAKEN: Final = frozenset({"set", *SetCounts.model_fields})
"""What stands in the counts beside attributes, by its name."""

_SEED: Final = 20170101  # fixed: the same data give the same sheet


@dataclass(frozen=True, slots=True)
class Contents:
    """What a data set holds: `labels` and `splits` of its labelled pictures by name, and how many have none."""

    name: str
    labels: dict[str, Label] = field(default_factory=dict)
    splits: dict[str, Split] = field(default_factory=dict)
    unlabelled: int = 0


def explore(sources: Sequence[Path], out: Path, samples: int = SAMPLES) -> Counts:
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
        DataSetError: No picture has a label, a source is no data set, or two hold one picture.
        FileNotFoundError: A source does not exist.
    """
    sets = open_data_sets(sources)
    held = [contents(data_set) for data_set in sets]
    if not any(one.labels for one in held):
        raise DataSetError(f"no labelled picture in {', '.join(str(source) for source in sources)}")
    out.mkdir(parents=True, exist_ok=True)
    labels = [label for one in held for label in one.labels.values()]
    columns = columns_of(labels)
    by_name = _joined(held)
    document = Counts({one.name: counted(one, columns) for one in by_name})
    write_document(out / "counts.json", document)
    _write_csv(by_name, columns, out / "counts.csv")
    for column, plot in zip(columns, plots_of(columns), strict=True):
        _bars({one.name: _tally(one.labels.values(), column) for one in by_name}, column, out / plot)
    if pairs := crossings(columns):
        _draw_crossings(labels, pairs, out / CROSSINGS)
    if samples:
        with replacing(out / "samples.jpg") as new:
            sheet(sets, held, columns, samples).save(new, quality=90)
    return document


def plots_of(columns: Sequence[Column]) -> list[str]:
    """The names of attributes' plots.

    Args:
        columns: The attributes, whose names may be any that stand above a column of a table, such as `hair/eyes`.

    Returns:
        The files' names, with a line for what is neither a letter nor a digit, and a number where another plot has the name.
    """
    names = [CROSSINGS]
    for column in columns:
        plain = re.sub(r"[^\w-]+", "_", column.name)
        numbered = (f"{plain}_{number}.png" for number in itertools.count(2))
        names.append(next(name for name in itertools.chain([f"{plain}.png"], numbered) if name not in names))
    return names[1:]


def key_of(column: Column) -> str:
    """What an attribute's counts stand under.

    Args:
        column: The attribute.

    Returns:
        Its name; one that something else stands under has `(column)` behind it.
    """
    return f"{column.name} (column)" if column.name in TAKEN else column.name


def crossings(columns: Sequence[Column]) -> list[tuple[Column, Column]]:
    """The pairs of attributes whose values are counted together: of any two one has labels, and an age counts by decade.

    Args:
        columns: The attributes.

    Returns:
        The pairs.
    """
    numbers = [Decades() if isinstance(one, Years) else one for one in columns if not isinstance(one, Words)]
    words = [one for one in columns if isinstance(one, Words)]
    return [*product(numbers, words), *((later, earlier) for earlier, later in combinations(words, 2))]


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


def _joined(held: Iterable[Contents]) -> list[Contents]:
    """What each set holds, those of one name together."""
    sets: dict[str, Contents] = {}
    for one in held:
        before = sets.get(one.name, Contents(one.name))
        labels, splits = before.labels | one.labels, before.splits | one.splits
        sets[one.name] = Contents(one.name, labels, splits, before.unlabelled + one.unlabelled)
    return list(sets.values())


def counted(held: Contents, columns: Sequence[Column]) -> SetCounts:
    """Pictures by split, attribute and crossings; a crossing's keys are `30-39 female`.

    Args:
        held: What a data set holds.
        columns: The attributes that are counted.

    Returns:
        Counts by what is counted.
    """
    labels = list(held.labels.values())
    return SetCounts(
        pictures=len(labels),
        unlabelled=held.unlabelled,
        split=dict(Counter(split.value for split in held.splits.values())),
        **{key_of(column): _tally(labels, column) for column in columns},
        **{f"{one.name} and {other.name}": _crossing(labels, one, other) for one, other in crossings(columns)},
    )


def _tally(labels: Iterable[Label], column: Column) -> dict[str, int]:
    counts = Counter(column.value(label) for label in labels)
    return {name: counts[name] for name in sorted(counts, key=column.place)}


def _crossing(labels: Iterable[Label], one: Column, other: Column) -> dict[str, int]:
    counts = Counter((one.value(label), other.value(label)) for label in labels)
    order = sorted(counts, key=lambda pair: (one.place(pair[0]), other.place(pair[1])))
    return {f"{first} {second}": counts[first, second] for first, second in order}


def _write_csv(held: Iterable[Contents], columns: Sequence[Column], path: Path) -> None:
    """A line of each set, split and crossing of attributes that comes, with its count: what a spreadsheet makes tables of."""
    with replacing(path) as new, new.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("set", "split", *map(key_of, columns), "pictures"))
        for one in held:
            rows = Counter(
                (one.splits[name].value, *(column.value(label) for column in columns)) for name, label in one.labels.items()
            )
            writer.writerows((one.name, *row, count) for row, count in sorted(rows.items()))


def _bars(tallies: Mapping[str, Mapping[str, int]], column: Column, path: Path) -> None:
    """Bars of every set, one on another."""
    names = column.drawn({name for tally in tallies.values() for name in tally})
    figure, axis = plt.subplots(figsize=(10 if len(names) > 12 else 6, 4.5), layout="constrained")
    below = np.zeros(len(names))
    for set_name, tally in tallies.items():
        heights = np.array([tally.get(name, 0) for name in names])
        axis.bar(np.arange(len(names)), heights, bottom=below, label=literal(set_name))
        below += heights
    shown = [place for place, name in enumerate(names) if column.ticks == 1 or column.place(name)[0] % column.ticks == 0]
    turned = sum(len(names[place]) for place in shown) > 60
    axis.set_xticks(shown, [literal(names[place]) for place in shown], rotation=90 if turned else 0)
    unit = f" [{column.unit}]" if column.unit else ""
    name = literal(column.name)
    axis.set(xlabel=f"{name}{unit}", ylabel="pictures", title=f"People per {name}")
    axis.grid(axis="y", alpha=0.3)
    axis.legend()
    save(figure, path)


def _draw_crossings(labels: Sequence[Label], pairs: Sequence[tuple[Column, Column]], path: Path) -> None:
    """A table of counts for each pair of attributes, of all sets together."""
    wide, high = min(len(pairs), PANELS), -(-len(pairs) // PANELS)
    figure, axes = plt.subplots(high, wide, figsize=(6 * wide, 5.5 * high), layout="constrained", squeeze=False)
    for axis in axes.flat[len(pairs) :]:
        axis.remove()
    for axis, (one, other) in zip(axes.flat, pairs, strict=False):
        rows, columns = (list(_tally(labels, column)) for column in (one, other))
        table = np.zeros((len(rows), len(columns)), np.int64)
        for label in labels:
            table[rows.index(one.value(label)), columns.index(other.value(label))] += 1
        axis.imshow(np.log1p(table), cmap="Blues", aspect="auto", vmin=0)
        axis.set_xticks(range(len(columns)), [*map(literal, columns)])
        axis.set_yticks(range(len(rows)), [*map(literal, rows)])
        axis.set(title=literal(f"{one.name} and {other.name}"))
        for (row, column), count in np.ndenumerate(table):
            dark = np.log1p(count) > 0.6 * np.log1p(table.max())
            axis.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black", fontsize=8)
    save(figure, path)


def sheet(sets: Sequence[DataSet], held: Sequence[Contents], columns: Sequence[Column], count: int) -> Image.Image:
    """Pictures drawn from all sets, with their labels below; one that cannot be read is left grey.

    Args:
        sets: The data sets.
        held: What each of them holds.
        columns: The attributes in the captions.
        count: Pictures on the sheet.

    Returns:
        The sheet.
    """
    every = [(place, name) for place, one in enumerate(held) for name in one.labels]
    drawn = np.random.default_rng(_SEED).permutation(len(every))[:count]
    places = {every[index]: tile for tile, index in enumerate(drawn)}
    captions = [caption(held[place].labels[name], columns) for place, name in places]
    height = TILE + CAPTION * max(map(len, captions))
    rows = -(-len(places) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * TILE, rows * height), "white")
    pen = ImageDraw.Draw(page)
    for place, data_set in enumerate(sets):
        for name, data in data_set.pictures():
            tile = places.get((place, name))
            if tile is not None:
                x, y = tile % COLUMNS * TILE, tile // COLUMNS * height
                page.paste(Image.fromarray(_thumbnail(data)), (x, y))
                for line, text in enumerate(captions[tile]):
                    pen.text((x + 2, y + TILE + CAPTION * line), text, fill="black")
    return page


def caption(label: Label, columns: Sequence[Column]) -> list[str]:
    """What is known of a picture, in short lines.

    Args:
        label: Its label.
        columns: The attributes.

    Returns:
        Lines of at most `CAPTION_LETTERS` letters, at least one; a question mark stands for what is unknown.
    """
    return textwrap.wrap(" ".join(column.caption(label) for column in columns), CAPTION_LETTERS) or ["?"]


def _thumbnail(data: bytes) -> Pixels:
    """A square [TILE, TILE, 3] about the middle of a picture."""
    try:
        pixels = decode(data, max_pixels=MAX_PIXELS, side=4 * TILE).pixels
    except FacetError:
        return np.full((TILE, TILE, 3), 128, np.uint8)
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (TILE, TILE)), np.uint8)
