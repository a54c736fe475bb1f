"""Predictions of a split to its report: every figure, the plots, and the page that shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from service.models.evaluation import Part, PartIntervals, WithoutDuplicates
from service.models.manifest import AGE
from service.settings import Settings
from training.artifacts import writable, write_document
from training.datasets.base import DataSet, Split, require_labelled
from training.datasets.duplicates import EARLIER, SIDE, THRESHOLD, NearDuplicate, differing, near_duplicates
from training.errors import DataSetError, EvaluationError
from training.evaluation.age_checks import age_checks
from training.evaluation.curves import confusion_matrices, errors_by_year, roc_curves
from training.evaluation.documents import (
    REPORT,
    DifferingLabels,
    DuplicatePair,
    Duplicates,
    Report,
    ReportPart,
    WrongLabel,
    WrongYears,
    by_year_key,
    worst_key,
)
from training.evaluation.html_report import write_page
from training.evaluation.scoring import bootstrap_intervals, bootstrap_intervals_by_group, by_group, figures
from training.evaluation.service_client import Scored, expectations_of, predict, require_labels

WORST: Final = 30
"""Most pictures that a list of errors names."""


def evaluate(
    settings: Settings, data: DataSet, split: Split, out: Path, limit: int | None = None, also: DataSet | None = None
) -> Report:
    """Score a split, and write `report.json`, the plots and the page `report.html`.

    Args:
        settings: Those of the service, the model among them.
        data: The data set.
        split: The part of it.
        out: Folder to write to.
        limit: The first pictures alone, so many.
        also: A second data set, of which the same split is scored.

    Returns:
        The report.

    Raises:
        DataSetError: A split that is needed has no labelled picture, or that of train no label of a number that is judged.
        EvaluationError: The service fails, or refuses every picture, or both data sets have one name.
    """
    from training.evaluation.plots import draw_all

    if also is not None and also.name == data.name:
        raise EvaluationError(f"{data.source} and {also.source} are both called {data.name}, by which a report knows them")
    writable(out)
    for one in (data, *([] if also is None else [also])):
        require_labelled(one, Split.TRAIN, "whose means stand for faces not found")
        require_labels(settings, one, Split.TRAIN, numbers_alone=True)
        require_labels(settings, one, split, limit)
        require_means(one, split, expectations_of(settings))
    given, figured = _part(settings, data, split, limit)
    head: dict[str, Any] = {"data": data.name, "split": split.value, "created": datetime.now(UTC).date().isoformat()}
    if given.served is not None:
        head |= dict(given.served)
    report = Report(**head, **_fields(figured), attributes=given.predictions.attributes)
    if also is not None:
        report = report.model_copy(update={"also": {also.name: _part(settings, also, split, limit)[1]}})
    report = report.model_copy(update={"plots": tuple(draw_all(given.predictions, report, out, report.promised_coverage))})
    write_document(out / REPORT, report)
    write_page(out)
    return report


def report_part(
    given: Scored, twins: Sequence[NearDuplicate] | None = None, duplicates: Duplicates | None = None
) -> ReportPart:
    """All figures of a split.

    Args:
        given: Its predictions.
        twins: Pairs of a picture and its near-duplicate; where there are any, figures without them as well.
        duplicates: Near-duplicates of the pictures.

    Returns:
        The figures.
    """
    predictions = given.predictions
    found = predictions.where(predictions.found)
    means = {name: one.fallback for name, one in predictions.expectations.items() if not math.isnan(one.fallback)}
    fields: dict[str, Any] = {
        "mean_age_of_train": means.get(AGE),
        "means_of_train": means,
        "headline": figures(predictions),
        "found_only": figures(found),
        "groups": by_group(predictions),
        "intervals": PartIntervals(
            headline=bootstrap_intervals(predictions),
            found_only=bootstrap_intervals(found),
            groups=bootstrap_intervals_by_group(predictions),
        ),
        "confusion": {name: matrix.tolist() for name, matrix in confusion_matrices(predictions).items()},
        "roc": roc_curves(predictions),
        "not_found": [name for name, there in zip(given.names, predictions.found, strict=True) if not there],
    }
    if (checks := age_checks(predictions)) is not None:
        fields["age_checks"] = checks
    if twins is not None:
        alone = predictions.where(~np.isin(given.names, [twin.name for twin in twins]))
        judged = predictions.judged()
        fields["without_duplicates"] = WithoutDuplicates(
            count=len(alone), headline=figures(alone, judged), intervals=bootstrap_intervals(alone, judged)
        )
    if duplicates is not None:
        fields["duplicates"] = duplicates
    return ReportPart(**fields, **_worst(given))


def require_means(data: DataSet, split: Split, names: Iterable[str]) -> None:
    """Look for a label of train wherever the split has some: where no face is found, the mean of train is judged.

    Args:
        data: The data set.
        split: The part of it that is judged.
        names: Of the expectations that are predicted.

    Raises:
        DataSetError: The split has labels of an expectation, and train has none.
    """
    known: dict[Split, set[str]] = {one: set() for one in Split}
    for name in data.names():
        if (label := data.label_of(name)) is not None:
            known[data.split_of(name)].update(label.values)
    if missing := sorted({*names} & known[split] - known[Split.TRAIN]):
        raise DataSetError(
            f"{data.source}: no picture of train has a label of {missing[0]}, whose mean stands for faces not found; "
            f"give it some, or those of {split.value} none"
        )


def means_of_train(data: DataSet, names: Iterable[str]) -> dict[str, float]:
    """Means of the training split's expectations: what stands for a prediction where no face is found.

    Args:
        data: The data set.
        names: Of the expectations.

    Returns:
        Means by attribute, of those that the data set knows.

    Raises:
        DataSetError: The training split has no labelled picture.
    """
    require_labelled(data, Split.TRAIN, "whose means stand for faces not found")
    labels = [label for _, label in data.labels(Split.TRAIN)]
    values = {name: [value for label in labels if (value := label.years(name)) is not None] for name in names}
    return {name: float(np.mean(known)) for name, known in values.items() if known}


def _part(settings: Settings, data: DataSet, split: Split, limit: int | None) -> tuple[Scored, ReportPart]:
    """Predictions and figures of one data set, with its near-duplicates where the split has others before it."""
    answered = predict(settings, data, split, limit)
    given = answered.with_fallbacks(means_of_train(data, answered.predictions.expectations))
    if not EARLIER[split]:
        return given, report_part(given)
    twins = near_duplicates(data, split, limit)
    duplicates = Duplicates(
        compared_with=tuple(earlier.value for earlier in EARLIER[split]),
        bits=SIDE * SIDE,
        threshold=THRESHOLD,
        pictures=len({twin.name for twin in twins}),
        pairs=len(twins),
        mirrored=sum(twin.mirrored for twin in twins),
        differing=DifferingLabels.model_validate(differing(twins, data)),
        twins=tuple(DuplicatePair.model_validate(asdict(twin)) for twin in twins),
    )
    return given, report_part(given, twins, duplicates)


def _fields(part: Part) -> dict[str, Any]:
    """What was set of a document, by name."""
    extra = part.__pydantic_extra__ or {}
    return {name: getattr(part, name) for name in part.model_fields_set if name not in extra} | dict(extra)


def _worst(given: Scored) -> Mapping[str, Any]:
    """The errors by true year, and the pictures with the worst errors, of what is judged."""
    predictions, judged = given.predictions, given.predictions.judged()
    worst: dict[str, Any] = {}
    for name, expectation in predictions.expectations.items():
        if name in judged:
            counted = predictions.found & expectation.known
            error = np.where(counted, np.abs(expectation.value - expectation.label), -1)
            worst[by_year_key(name)] = errors_by_year(predictions, name)
            worst[worst_key(name)] = tuple(
                WrongYears(name=given.names[row], age=expectation.label[row], years=expectation.value[row])
                for row in np.argsort(-error, kind="stable")[:WORST]
                if counted[row]
            )
    for name, labels in predictions.labels.items():
        if name in judged:
            confidence = np.nan_to_num(labels.probabilities).max(axis=1)
            predicted = labels.predicted(predictions.found)
            wrong = predictions.found & labels.known & (predicted != labels.label)
            rows = [row for row in np.argsort(-confidence, kind="stable") if wrong[row]][:WORST]
            worst[worst_key(name)] = tuple(
                WrongLabel(
                    name=given.names[row],
                    label=labels.names[labels.label[row]],
                    answer=labels.names[predicted[row]],
                    confidence=float(confidence[row]),
                )
                for row in rows
            )
    return worst
