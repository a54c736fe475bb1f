"""The table of faces: its columns, which follow from what a model says, and the rows of a photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from service.api.schemas import AgeAnswer, ExpectationAnswer, FaceAnswer, LabelAnswer, PredictAnswer
from service.errors import InvalidParameter
from service.inference.attributes import CONTRACT
from service.models.manifest import AGE, Attribute
from service.vision.detection import LANDMARKS

VERSION: Final = 1
"""Version of the schema: within it tables only gain columns."""

Kind = Literal["string", "int", "float", "bool", "floats"]
Value = str | int | float | bool | list[float] | None
Row = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its name and the kind of its values; `floats` are lists of numbers. Any value may be missing."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model answered for a photo, and the digest of its manifest."""

    answer: PredictAnswer
    digest: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a photo has no answer: a problem's stable code, and a sentence for people."""

    code: str
    detail: str


Outcome = Answered | Failure


def columns(
    attributes: Sequence[Attribute], ages: Sequence[int] = (), *, landmarks: bool = False, distribution: bool = False
) -> tuple[Column, ...]:
    """Columns of the table.

    Args:
        attributes: What the model says, of what was asked for.
        ages: Those whose probability was asked for, 1 to 99.
        landmarks: Whether there are landmarks.
        distribution: Whether there are distributions over ages.

    Returns:
        The columns, in their order.

    Raises:
        InvalidParameter: Two of them have one name, because an attribute or a label has that of something else.
    """
    found = [Column("file", "string"), *(Column(name, "int") for name in ("face", "x", "y", "width", "height"))]
    found.append(Column("confidence", "float"))
    for one in attributes:
        found += _of_expectation(one.name) if one.kind == "expectation" else _of_labels(one.name)
    if any(one.name == AGE for one in attributes):
        found += [Column(f"p_at_least_{age}", "float") for age in ages]
    found += [Column(probability_column(one.name, label), "float") for one in attributes for label in one.labels]
    if landmarks:
        found += [Column(f"{point}_{axis}", "float") for point in LANDMARKS for axis in ("x", "y")]
    if distribution:
        found += [Column(f"{one.name}_distribution", "floats") for one in attributes if one.kind == "expectation"]
    found += [Column(name, "float") for name in ("size_px", "sharpness", "brightness", "roll", "yaw")]
    found += [Column("warnings", "string"), Column("model", "string"), Column("version", "int")]
    found += [Column(name, "string") for name in ("digest", "problem", "detail")]
    names = [column.name for column in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidParameter(f"--out: the table would have two columns {twice!r}; leave one out by --attributes.")
    return tuple(found)


def probability_column(attribute: str, label: str) -> str:
    """Name of the column of a label's probability.

    Args:
        attribute: The attribute's name.
        label: One of its labels.

    Returns:
        `p_LABEL` for gender and race, and `p_ATTRIBUTE_LABEL` for what a model says beside them.
    """
    return f"p_{label}" if attribute in CONTRACT else f"p_{attribute}_{label}"


def rows(name: str, outcome: Outcome, table: Sequence[Column]) -> list[Row]:
    """Rows of a photo.

    Args:
        name: The photo's name in the table.
        outcome: What became of it.
        table: As `columns` returned them.

    Returns:
        A row for each face; a single one without a face, whose `face` is missing, where there is none, or with a problem.
    """
    empty: Row = {column.name: None for column in table}
    empty["file"] = name
    if isinstance(outcome, Failure):
        return [empty | {"problem": outcome.code, "detail": outcome.detail}]
    model = outcome.answer.model
    empty |= {"model": model.name, "version": model.version, "digest": outcome.digest}
    faces = [_values(face) for face in outcome.answer.faces]
    return [
        empty | {"face": index} | {name: value for name, value in values.items() if name in empty}
        for index, values in enumerate(faces)
    ] or [empty]


def answers_of(face: FaceAnswer) -> Mapping[str, AgeAnswer | ExpectationAnswer | LabelAnswer]:
    """Everything that was answered of a face.

    Args:
        face: Of an answer.

    Returns:
        Ages, other expectations and labels by the attribute's name.
    """
    named = {name: getattr(face, name) for name in CONTRACT} | (face.model_extra or {})
    return {name: value for name, value in named.items() if isinstance(value, AgeAnswer | ExpectationAnswer | LabelAnswer)}


def _of_expectation(name: str) -> list[Column]:
    if name == AGE:
        return [Column(f"{name}_years", "float"), Column(f"{name}_low", "int"), Column(f"{name}_high", "int")]
    return [Column(name, "float"), Column(f"{name}_low", "float"), Column(f"{name}_high", "float")]


def _of_labels(name: str) -> list[Column]:
    return [Column(name, "string"), Column(f"{name}_confidence", "float"), Column(f"{name}_uncertain", "bool")]


def _values(face: FaceAnswer) -> Row:
    """Every value of a face by its column, whether or not the table has it."""
    values: Row = {
        **face.box.model_dump(),
        **face.quality.model_dump(),
        "confidence": face.confidence,
        "warnings": " ".join(face.warnings),
    }
    for name, value in answers_of(face).items():
        values |= _label(name, value) if isinstance(value, LabelAnswer) else _expectation(name, value)
    if face.landmarks is not None:
        points: dict[str, Any] = face.landmarks.model_dump()
        values |= {f"{point}_{axis}": at for point, place in points.items() for axis, at in zip("xy", place, strict=True)}
    return values


def _expectation(name: str, one: AgeAnswer | ExpectationAnswer) -> Row:
    values: Row = {f"{name}_low": one.low, f"{name}_high": one.high, f"{name}_distribution": one.distribution}
    if isinstance(one, ExpectationAnswer):
        return values | {name: one.value}
    return values | {f"{name}_years": one.years, **{f"p_at_least_{least}": p for least, p in (one.at_least or {}).items()}}


def _label(name: str, label: LabelAnswer) -> Row:
    values: Row = {name: label.label, f"{name}_confidence": label.confidence, f"{name}_uncertain": label.uncertain}
    return values | {probability_column(name, one): chance for one, chance in label.probabilities.items()}
