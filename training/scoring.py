"""Answers and labels to figures; pure functions over arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support, roc_auc_score

from training.data import GENDERS, RACES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

AGE_BANDS: Final = tuple((low, low + 9) for low in range(0, 80, 10)) + ((80, 200),)
"""Bands of true age that are reported, bounds included."""
BINS: Final = 15
"""Bins, of equal mass, of the expected calibration error."""


@dataclass(frozen=True, slots=True)
class Answers:
    """One row a labelled picture, N in all.

    Labels: `age` in years, `gender` and `race` as label numbers. Answers: `found` whether there was a face; where there was
    none the others are not a number. `years`, `low`, `high` in years; `female` the probability of female; `races` [N, 5].
    """

    age: Floats
    gender: Ints
    race: Ints
    found: npt.NDArray[np.bool_]
    years: Floats
    low: Floats
    high: Floats
    female: Floats
    races: Floats

    def __len__(self) -> int:
        return len(self.age)

    def where(self, chosen: npt.NDArray[np.bool_]) -> Answers:
        """The chosen rows."""
        return Answers(*(getattr(self, one.name)[chosen] for one in fields(self)))


def expected_calibration_error(confidence: Floats, right: npt.NDArray[np.bool_], bins: int = BINS) -> float:
    """Mean distance between confidence and accuracy over bins of equal mass, weighted by their counts.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015, with the adaptive bins of
    Nguyen and O'Connor, EMNLP 2015.
    """
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts]
    return float(sum(gaps) / max(1, len(confidence)))


def figures(answers: Answers, mean_age: float) -> dict[str, Any]:
    """Headline figures: a picture without a face counts as wrong, its age as `mean_age`, its true age as outside the
    interval; AUC and calibration are over the faces that were found."""
    found = answers.found
    seen = answers.where(found)
    years = np.where(found, answers.years, mean_age)
    error = years - answers.age
    gender = np.where(found, (answers.female > 0.5).astype(np.int64), 1 - answers.gender)
    race = np.where(found, np.argmax(np.nan_to_num(answers.races), axis=1), -1)
    covered = found & (answers.low <= answers.age) & (answers.age <= answers.high)
    precision, recall, f1, _ = precision_recall_fscore_support(answers.gender, gender, labels=[0, 1], zero_division=0.0)
    both = len(np.unique(seen.gender)) == 2
    sure = np.maximum(seen.female, 1 - seen.female)
    return {
        "count": len(answers),
        "found": _share(found),
        "age_mae": _mean(np.abs(error)),
        "age_rmse": math.sqrt(_mean(np.square(error))),
        "age_bias": _mean(error),
        "age_within_5": _mean(np.abs(error) <= 5),
        "interval_coverage": _share(covered),
        "interval_width": _mean(seen.high - seen.low),
        "gender_accuracy": _mean(gender == answers.gender),
        "gender": {
            name: {"precision": float(precision[i]), "recall": float(recall[i]), "f1": float(f1[i])}
            for i, name in enumerate(GENDERS)
        },
        "gender_auc": float(roc_auc_score(seen.gender, seen.female)) if both else None,
        "gender_ece": expected_calibration_error(sure, (seen.female > 0.5) == (seen.gender == 1)),
        "race_accuracy": _mean(race == answers.race),
        "race_macro_f1": float(
            f1_score(answers.race, race, labels=np.unique(answers.race), average="macro", zero_division=0.0)
        ),
        "race_ece": expected_calibration_error(seen.races.max(axis=1), seen.races.argmax(axis=1) == seen.race),
    }


def by_group(answers: Answers, mean_age: float) -> dict[str, dict[str, Any]]:
    """The same figures for each gender, race and band of true age that has pictures."""
    groups: dict[str, tuple[tuple[str, Callable[[], npt.NDArray[np.bool_]]], ...]] = {
        "gender": tuple((name, lambda i=i: answers.gender == i) for i, name in enumerate(GENDERS)),  # type: ignore[misc]
        "race": tuple((name, lambda i=i: answers.race == i) for i, name in enumerate(RACES)),  # type: ignore[misc]
        "age": tuple(
            (
                f"{low}-{high}" if high < 200 else f"{low}+",
                lambda low=low, high=high: (low <= answers.age) & (answers.age <= high),
            )  # type: ignore[misc]
            for low, high in AGE_BANDS
        ),
    }
    return {
        kind: {name: figures(answers.where(rows()), mean_age) for name, rows in members if rows().any()}
        for kind, members in groups.items()
    }


def mae_by_age(answers: Answers) -> dict[int, tuple[float, int]]:
    """Mean absolute error in years and count of found faces, for every year of true age."""
    seen = answers.where(answers.found)
    return {
        int(age): (_mean(np.abs(seen.years - seen.age)[seen.age == age]), int((seen.age == age).sum()))
        for age in np.unique(seen.age)
    }


def confusion(answers: Answers) -> dict[str, Ints]:
    """Confusion matrices of the found faces: rows are labels, columns answers."""
    seen = answers.where(answers.found)
    return {
        "gender": confusion_matrix(seen.gender, (seen.female > 0.5).astype(int), labels=range(len(GENDERS))),
        "race": confusion_matrix(seen.race, seen.races.argmax(axis=1), labels=range(len(RACES))),
    }


def _mean(values: npt.NDArray[Any]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _share(values: npt.NDArray[np.bool_]) -> float:
    return _mean(values.astype(np.float64))
