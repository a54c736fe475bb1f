"""Validation pictures, as they are and degraded, to `robustness.json` and `conditions.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from training.artifacts import writable, write_document
from training.datasets.base import DataSet, Split, require_labelled
from training.evaluation.degradations import DEGRADATIONS, Degradation
from training.evaluation.documents import Subject, Supplement
from training.evaluation.evaluate import means_of_train, require_means
from training.evaluation.robustness.tables import conditions, robustness
from training.evaluation.service_client import Predict, Scored


def sampled(data: DataSet, split: Split, limit: int | None) -> DataSet:
    """The data set with some pictures of a split alone, spread over all of it: files lie in order of age.

    Args:
        data: The data set.
        split: The part of it.
        limit: How many; all where it is None.

    Returns:
        The smaller data set.
    """
    if limit is None:
        return data
    names = sorted((name for name, _ in data.labels(split)), key=lambda name: sha256(name.encode()).digest())
    chosen = frozenset(names[:limit])
    return replace(data, label_of=lambda name: data.label_of(name) if name in chosen else None)


def study(
    predict: Predict,
    sets: Sequence[DataSet],
    out: Path,
    limit: int | None = None,
    degradations: Sequence[Degradation] = DEGRADATIONS,
) -> dict[str, Supplement]:
    """Predict the validation split as it is and degraded; write `robustness.json`, `conditions.json` and their plots.

    Args:
        predict: Predictions of a split by the service.
        sets: The first is made worse; the others are measured as they are, for the conditions that cannot be made.
        out: Folder to write to.
        limit: Pictures of each set; all where it is None.
        degradations: How pictures are made worse.

    Returns:
        The documents by name.

    Raises:
        DataSetError: A set has no labelled validation picture, or the first one none of train, or there no label of a number.
        OSError: Nothing can be written to `out`.
    """
    writable(out)
    require_labelled(sets[0], Split.TRAIN, "whose means stand for faces not found")
    for one in sets:
        require_labelled(one, Split.VALIDATION)
    samples = [sampled(one, Split.VALIDATION, limit) for one in sets]
    predicted = [predict(one, Split.VALIDATION) for one in samples]
    require_means(sets[0], Split.VALIDATION, predicted[0].predictions.expectations)
    means = means_of_train(sets[0], predicted[0].predictions.expectations)
    clean = [one.with_fallbacks(means) for one in predicted]
    degraded = {one: predict(samples[0], Split.VALIDATION, change=one).with_fallbacks(means) for one in degradations}
    documents = {
        "robustness": robustness(clean[0], degraded, out, _subject(sets[:1], clean)),
        "conditions": conditions(clean, degraded, out, _subject(sets, clean)),
    }
    for name, document in documents.items():
        write_document(out / f"{name}.json", document)
    return documents


def _subject(sets: Sequence[DataSet], clean: Sequence[Scored]) -> Subject | None:
    """The model, the data sets that are measured, and how many pictures of all of them; None where no model is known."""
    served = clean[0].served
    if served is None:
        return None
    count = sum(len(scored) for _, scored in zip(sets, clean, strict=False))
    names = tuple(one.name for one in sets)
    return Subject(**dict(served), data=names, split=Split.VALIDATION.value, pictures=count)
