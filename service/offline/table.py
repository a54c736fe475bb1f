"""The table of faces: its columns, which follow from what a model says, and the rows of a photo."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.api.schemas import AgeAnswer, ExpectationAnswer, FaceAnswer, LabelAnswer, PredictAnswer
from service.inference.attributes import CONTRACT
from service.inference.columns import (
    FACE,
    LANDMARK_POINTS,
    MODEL,
    PROBLEM,
    QUALITY,
    TIME,
    Column,
    at_least_column,
    attribute_columns,
    column_names,
)
from service.models.manifest import AGE, Attribute
from service.offline.films import still_of

VERSION: Final = 1
"""Version of the schema: within it tables only gain columns."""

Value = str | int | float | bool | list[float] | None
Row = dict[str, Value]


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


class Table:
    """A table of the faces that a model answers.

    `attributes` are all that the model declares, and `requested` names those that have columns, None for all. `ages`, 1 to 99,
    are those whose probability is answered.
    """

    def __init__(
        self,
        attributes: Sequence[Attribute],
        requested: Collection[str] | None = None,
        ages: Sequence[int] = (),
        *,
        landmarks: bool = False,
        distribution: bool = False,
    ) -> None:
        self._names = column_names(attributes)
        shown = [one for one in attributes if requested is None or one.name in requested]
        found = list(FACE)
        for one in shown:
            found += attribute_columns(one, self._names.prefixes[one.name])
        if any(one.name == AGE for one in shown):
            found += [Column(at_least_column(age), "float") for age in ages]
        found += [Column(self._names.labels[one.name, label], "float") for one in shown for label in one.labels]
        if landmarks:
            found += LANDMARK_POINTS
        if distribution:
            prefixes = [self._names.prefixes[one.name] for one in shown if one.kind == "expectation"]
            found += [Column(f"{prefix}_distribution", "floats") for prefix in prefixes]
        self.columns = (*found, *QUALITY, *MODEL, *PROBLEM, *TIME)
        """The columns, in their order."""

    def rows(self, name: str, outcome: Outcome) -> list[Row]:
        """Rows of a photo.

        Args:
            name: The photo's name; that of a film's picture is parted into the film and the time.
            outcome: What became of it.

        Returns:
            A row for each face; a single one without a face, whose `face` is missing, where there is none, or with a problem.
        """
        empty: Row = {column.name: None for column in self.columns}
        empty["file"], empty["time_s"] = still_of(name)
        if isinstance(outcome, Failure):
            return [empty | {"problem": outcome.code, "detail": outcome.detail}]
        model = outcome.answer.model
        empty |= {"model": model.name, "version": model.version, "digest": outcome.digest}
        faces = [self._values(face) for face in outcome.answer.faces]
        return [
            empty | {"face": index} | {name: value for name, value in values.items() if name in empty}
            for index, values in enumerate(faces)
        ] or [empty]

    def _values(self, face: FaceAnswer) -> Row:
        """Every value of a face by its column, whether or not the table has it."""
        values: Row = {
            **face.box.model_dump(),
            **face.quality.model_dump(),
            "confidence": face.confidence,
            "warnings": " ".join(face.warnings),
        }
        for name, value in answers_of(face).items():
            prefix = self._names.prefixes.get(name)
            if prefix is None:  # of a model that took the place of the table's own
                continue
            values |= self._label(name, prefix, value) if isinstance(value, LabelAnswer) else _expectation(prefix, value)
        if face.landmarks is not None:
            points: dict[str, Any] = face.landmarks.model_dump()
            values |= {f"{point}_{axis}": at for point, place in points.items() for axis, at in zip("xy", place, strict=True)}
        return values

    def _label(self, name: str, prefix: str, answer: LabelAnswer) -> Row:
        values: Row = {
            prefix: answer.label,
            f"{prefix}_confidence": answer.confidence,
            f"{prefix}_uncertain": answer.uncertain,
        }
        columns = self._names.labels
        return values | {
            columns[name, label]: probability for label, probability in answer.probabilities.items() if (name, label) in columns
        }


def answers_of(face: FaceAnswer) -> Mapping[str, AgeAnswer | ExpectationAnswer | LabelAnswer]:
    """Everything that was answered of a face.

    Args:
        face: Of an answer.

    Returns:
        Ages, other expectations and labels by the attribute's name.
    """
    named = {name: getattr(face, name) for name in CONTRACT} | (face.model_extra or {})
    return {name: value for name, value in named.items() if isinstance(value, AgeAnswer | ExpectationAnswer | LabelAnswer)}


def _expectation(prefix: str, answer: AgeAnswer | ExpectationAnswer) -> Row:
    values: Row = {f"{prefix}_low": answer.low, f"{prefix}_high": answer.high, f"{prefix}_distribution": answer.distribution}
    if isinstance(answer, ExpectationAnswer):
        return values | {prefix: answer.value}
    chances = {at_least_column(age): probability for age, probability in (answer.at_least or {}).items()}
    return values | {f"{prefix}_years": answer.years, **chances}
