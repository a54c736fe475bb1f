"""Names of the columns of tables: each is unique, and those of a model depend on its declared attributes alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

from service.inference.attributes import CONTRACT
from service.models.manifest import AGE, Declaration
from service.vision.detection import LANDMARKS

Kind = Literal["string", "int", "float", "bool", "floats"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its name and the kind of its values; `floats` are lists of numbers. Any value may be missing."""

    name: str
    kind: Kind


FACE: Final = (
    Column("file", "string"),
    *(Column(name, "int") for name in ("face", "x", "y", "width", "height")),
    Column("confidence", "float"),
)
"""The photo, and the face that the detector found in it."""
LANDMARK_POINTS: Final = tuple(Column(f"{point}_{axis}", "float") for point in LANDMARKS for axis in ("x", "y"))
QUALITY: Final = (
    *(Column(name, "float") for name in ("size_px", "sharpness", "brightness", "roll", "yaw", "noise", "contrast")),
    Column("warnings", "string"),
)
MODEL: Final = (Column("model", "string"), Column("version", "int"), Column("digest", "string"))
PROBLEM: Final = (Column("problem", "string"), Column("detail", "string"))
TIME: Final = (Column("time_s", "float"),)
"""Seconds since the beginning of the film whose picture a photo is."""
TRACK: Final = (
    Column("track", "int"),
    *(Column(name, "float") for name in ("first_s", "last_s")),
    *(Column(name, "int") for name in ("frames", "answers")),
    Column("size_px", "float"),
)
"""A row of a film's table, before its attributes."""
FRAME: Final = (
    Column("track", "int"),
    Column("frame", "int"),
    Column("time_s", "float"),
    *(Column(name, "int") for name in ("x", "y", "width", "height")),
    Column("confidence", "float"),
)
"""A row of a face in one frame of a film, before its attributes."""


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """Names of the columns of a model's attributes, by attribute, and of its labels' probabilities, by attribute and label."""

    prefixes: Mapping[str, str]
    labels: Mapping[tuple[str, str], str]


def at_least_column(age: int | str) -> str:
    """The column of the probability of an age.

    Args:
        age: Years, 1 to 99.

    Returns:
        Such as `p_at_least_18`.
    """
    return f"p_at_least_{age}"


def column_names(attributes: Sequence[Declaration]) -> ColumnNames:
    """Name the columns of a model's attributes.

    The columns of an attribute begin with its name, and a label's is `p_LABEL` for age, gender and race, else `p_NAME_LABEL`.
    A name that another column has is qualified: `attribute_NAME`, `p_NAME_LABEL`, `p_attribute_NAME_LABEL`. Age, gender and
    race are named first; a label that two of them share is qualified in both.

    Args:
        attributes: Everything that the model declares, whether or not it is requested.

    Returns:
        Names that no two columns share.
    """
    fixed = (*FACE, *LANDMARK_POINTS, *QUALITY, *MODEL, *PROBLEM, *TRACK, *FRAME)
    taken = {column.name for column in fixed} | {at_least_column(age) for age in range(1, 100)}
    contract = [one for one in attributes if one.name in CONTRACT]
    shared = Counter(label for one in contract for label in one.labels)
    prefixes: dict[str, str] = {}
    labels: dict[tuple[str, str], str] = {}
    for group in (contract, [one for one in attributes if one.name not in CONTRACT]):
        for one in group:
            endings = _endings(one)
            prefixes[one.name] = _free(([name + ending for ending in endings] for name in _qualified(one.name)), taken)
        for one in group:
            for label in one.labels:
                short = [f"p_{label}"] if one.name in CONTRACT and shared[label] == 1 else []
                names = chain(short, (f"p_{name}_{label}" for name in _qualified(one.name)))
                labels[one.name, label] = _free(([name] for name in names), taken)
    return ColumnNames(prefixes, labels)


def attribute_columns(attribute: Declaration, prefix: str) -> tuple[Column, Column, Column]:
    """Columns that every table has of an attribute.

    Args:
        attribute: As a model declares it.
        prefix: As `column_names` gives it.

    Returns:
        The value and its bounds; or the label, its probability, and whether that is too low to rely on.
    """
    if attribute.kind == "labels":
        return Column(prefix, "string"), Column(f"{prefix}_confidence", "float"), Column(f"{prefix}_uncertain", "bool")
    if attribute.name == AGE:
        return Column(f"{prefix}_years", "float"), Column(f"{prefix}_low", "int"), Column(f"{prefix}_high", "int")
    return Column(prefix, "float"), Column(f"{prefix}_low", "float"), Column(f"{prefix}_high", "float")


def _endings(attribute: Declaration) -> list[str]:
    """What follows the prefix in the names of an attribute's columns; the first is empty."""
    endings = dict.fromkeys(["", *(column.name for column in attribute_columns(attribute, ""))])
    return [*endings, *(["_distribution"] if attribute.kind == "expectation" else [])]


def _qualified(name: str) -> Iterator[str]:
    """A name, and ever longer ones for it."""
    while True:
        yield name
        name = f"attribute_{name}"


def _free(candidates: Iterable[Sequence[str]], taken: set[str]) -> str:
    """The first name of the first candidate whose names are all free; they are taken then."""
    names = next(names for names in candidates if taken.isdisjoint(names))
    taken.update(names)
    return names[0]
