"""What was measured of a model, and its card, written beside its manifest, which stays as it is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final, TypeVar

from service.models.evaluation import EVALUATION, Evaluation, Part, evaluation_json, read_evaluation
from service.models.store import CARD
from training.artifacts import write_text
from training.errors import EvaluationError
from training.evaluation.documents import Report
from training.evaluation.model_card import card
from training.evaluation.service_client import read_manifest

logger = logging.getLogger(__name__)

_PART: Final = (
    *("headline", "found_only", "groups", "intervals"),
    *("mean_age_of_train", "means_of_train", "without_duplicates", "age_checks"),
)


def record_report(store: Path, report: Report) -> Path:
    """Write a report's figures into the `evaluation.json` of the model that it is about, and its card beside it.

    Where figures of the same pictures in another arithmetic stand there, the headlines alone are added, each data set's under
    the arithmetic's name in `precisions`. Headlines of others that stand there stay where the same pictures are recorded anew.
    Figures of other data sets stay, too, below those of the report; that those of another split, or of other pictures in
    another arithmetic, are gone is logged.

    Args:
        store: Model store.
        report: The report.

    Returns:
        The model's folder.

    Raises:
        EvaluationError: The report names no model, or the store holds no such model.
    """
    if report.model is None or report.precision is None:
        raise EvaluationError("the report names no model")
    folder = store / report.model.name / str(report.model.version)
    before = read_evaluation(folder)
    alike = before is not None and before.split == report.split
    if before is not None and alike and before.data == report.data and before.precision != report.precision:
        also = {
            name: _with_precision(part, report.precision, report.also[name]) if name in report.also else part
            for name, part in before.also.items()
        }
        evaluation = _with_precision(before, report.precision, report).model_copy(update={"also": also})
    else:
        fields = {"data": report.data, "split": report.split, "precision": report.precision, **_part(report)}
        known: dict[str, Part] = {}
        if before is not None and alike and before.precision == report.precision:
            known = {before.data: before, **before.also}
        elif before is not None:
            logger.info("figures of %s, %s, in %s are recorded no longer", before.data, before.split, before.precision)
        also = {name: part for name, part in known.items() if name not in report.parts()} | dict(report.also)
        if also:
            fields["also"] = {name: Part(**_part(part), **_precisions(known.get(name))) for name, part in also.items()}
        if before is not None and before.tracks is not None:
            fields["tracks"] = before.tracks
        if before is not None and before.variants:
            fields["variants"] = before.variants
        fields |= _precisions(known.get(report.data))
        evaluation = Evaluation.model_validate(fields)
    write_evaluation(store, report.model.name, report.model.version, evaluation)
    return folder


def write_evaluation(store: Path, name: str, version: int, evaluation: Evaluation) -> None:
    """Write a model's `evaluation.json` and its card.

    Args:
        store: Model store.
        name: The model's.
        version: Its version.
        evaluation: What was measured.

    Raises:
        EvaluationError: The store holds no such model.
    """
    manifest = read_manifest(store, name, version)
    folder = store / name / str(version)
    write_text(folder / EVALUATION, evaluation_json(evaluation))
    write_text(folder / CARD, card(manifest, evaluation))


AnyPart = TypeVar("AnyPart", bound=Part)


def _with_precision(part: AnyPart, precision: str, other: Part) -> AnyPart:
    """Figures of a data set, with the headline of the same pictures in another arithmetic."""
    return part.model_copy(update={"precisions": part.precisions | {precision: other.headline}})


def _part(part: Part) -> dict[str, object]:
    """What is recorded of a data set's report: figures, and no file's name."""
    return {name: getattr(part, name) for name in _PART if name in part.model_fields_set}


def _precisions(part: Part | None) -> dict[str, Any]:
    """The headlines in other arithmetics that are recorded of a data set, where there are any."""
    return {"precisions": part.precisions} if part is not None and part.precisions else {}
