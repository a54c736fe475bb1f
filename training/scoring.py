"""Answers and labels to figures; pure functions over arrays."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support, roc_auc_score

from training.data import GENDERS, RACES, UNKNOWN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

AGE_BANDS: Final = (*((low, low + 9) for low in range(0, 80, 10)), (80, 200))
"""Bands of true age that are reported, bounds included."""
BINS: Final = 15
"""Bins, of equal mass, of the expected calibration error."""


@dataclass(frozen=True, slots=True)
class Answers:
    """One row a labelled picture, N in all.

    Labels: `age` in years, `gender` and `race` as label numbers, `race` -1 in a data set that has none. Answers: `found`
    whether there was a face; where there was none, or where the model does not say, the others are not a number. `years`,
    `low`, `high` in years; `female` the probability of female; `races` [N, 5].
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

    def said(self) -> tuple[str, ...]:
        """What the model says of a face and the labels can judge: some of `age`, `interval`, `gender` and `race`; all that
        the labels can judge where no face was found."""
        answers = {"age": self.years, "interval": self.low, "gender": self.female}
        if (self.race != UNKNOWN).any() or not len(self):
            answers["race"] = self.races
        return tuple(name for name, values in answers.items() if not (self.found.any() and np.isnan(values[self.found]).all()))


def expected_calibration_error(confidence: Floats, right: npt.NDArray[np.bool_], bins: int = BINS) -> float | None:
    """Mean distance between confidence and accuracy over bins of equal mass, weighted by their counts; None of nothing.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015, with the adaptive bins of
    Nguyen and O'Connor, EMNLP 2015.
    """
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts]
    return float(sum(gaps) / len(confidence)) if len(confidence) else None


def figures(answers: Answers, mean_age: float, said: Collection[str] | None = None) -> dict[str, Any]:
    """Headline figures: a picture without a face counts as wrong, its age as `mean_age`, its true age as outside the
    interval; interval width, AUC and calibration are over the faces that were found.

    Figures of what is not in `said`, by default what the answers say, are left out; of no pictures there is the count alone.
    """
    said = answers.said() if said is None else said
    if len(answers) == 0:
        return {"count": 0}
    result: dict[str, Any] = {"count": len(answers), "found": _mean(answers.found)}
    if "age" in said:
        result |= _age_figures(answers, mean_age)
    if "interval" in said:
        covered = answers.found & (answers.low <= answers.age) & (answers.age <= answers.high)
        result |= {"interval_coverage": _mean(covered), "interval_width": _mean((answers.high - answers.low)[answers.found])}
    if "gender" in said:
        result |= _gender_figures(answers)
    if "race" in said:
        result |= _race_figures(answers)
    return result


def _age_figures(answers: Answers, mean_age: float) -> dict[str, Any]:
    error = np.where(answers.found, answers.years, mean_age) - answers.age
    return {
        "age_mae": _mean(np.abs(error)),
        "age_rmse": math.sqrt(np.mean(np.square(error))),
        "age_bias": _mean(error),
        "age_within_5": _mean(np.abs(error) <= 5),
    }


def _gender_figures(answers: Answers) -> dict[str, Any]:
    seen = answers.where(answers.found)
    answer = np.where(answers.found, (answers.female > 0.5).astype(np.int64), 1 - answers.gender)
    precision, recall, f1, _ = precision_recall_fscore_support(answers.gender, answer, labels=[0, 1], zero_division=0.0)
    both = len(np.unique(seen.gender)) == 2
    return {
        "gender_accuracy": _mean(answer == answers.gender),
        "gender": {
            name: {"precision": float(precision[i]), "recall": float(recall[i]), "f1": float(f1[i])}
            for i, name in enumerate(GENDERS)
        },
        "gender_auc": float(roc_auc_score(seen.gender, seen.female)) if both else None,
        "gender_ece": expected_calibration_error(
            np.maximum(seen.female, 1 - seen.female), (seen.female > 0.5) == (seen.gender == 1)
        ),
    }


def _race_figures(answers: Answers) -> dict[str, Any]:
    seen = answers.where(answers.found)
    answer = np.where(answers.found, np.argmax(np.nan_to_num(answers.races), axis=1), -1)
    macro_f1 = f1_score(answers.race, answer, labels=np.unique(answers.race), average="macro", zero_division=0.0)
    return {
        "race_accuracy": _mean(answer == answers.race),
        "race_macro_f1": float(macro_f1),
        "race_ece": expected_calibration_error(seen.races.max(axis=1), seen.races.argmax(axis=1) == seen.race),
    }


def by_group(answers: Answers, mean_age: float) -> dict[str, dict[str, Any]]:
    """The same figures for each gender, race and band of true age that has pictures."""
    groups = {
        "gender": {name: answers.gender == i for i, name in enumerate(GENDERS)},
        "race": {name: answers.race == i for i, name in enumerate(RACES)},
        "age": {
            f"{low}-{high}" if high < 200 else f"{low}+": (low <= answers.age) & (answers.age <= high)
            for low, high in AGE_BANDS
        },
    }
    said = answers.said()
    return {
        kind: {name: figures(answers.where(rows), mean_age, said) for name, rows in members.items() if rows.any()}
        for kind, members in groups.items()
    }


def mae_by_age(answers: Answers) -> dict[int, tuple[float, int]]:
    """Mean absolute error in years and count of found faces, for every year of true age."""
    seen = answers.where(answers.found)
    return {
        int(age): (float(np.abs(seen.years - seen.age)[seen.age == age].mean()), int((seen.age == age).sum()))
        for age in np.unique(seen.age)
    }


def confusion(answers: Answers) -> dict[str, Ints]:
    """Confusion matrices of the found faces, of what the model says of them: rows are labels, columns answers."""
    seen = answers.where(answers.found)
    said = seen.said() if len(seen) else ()
    matrices = {}
    if "gender" in said:
        matrices["gender"] = confusion_matrix(seen.gender, (seen.female > 0.5).astype(int), labels=range(len(GENDERS)))
    if "race" in said:
        matrices["race"] = confusion_matrix(seen.race, seen.races.argmax(axis=1), labels=range(len(RACES)))
    return matrices


def _mean(values: npt.NDArray[Any]) -> float | None:
    """The mean, or None of nothing: JSON knows no NaN."""
    return float(np.mean(values)) if len(values) else None
