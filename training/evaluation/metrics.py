"""Answers and labels to figures; pure functions over arrays."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support, roc_auc_score, roc_curve

from training.datasets.base import GENDERS, RACES, UNKNOWN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

AGE_BANDS: Final = (*((low, low + 9) for low in range(0, 80, 10)), (80, 200))
"""Bands of true age that are reported, bounds included."""
AGE_BINS: Final = {5: (0, 13, 25, 40, 60), 9: (0, 3, 10, 20, 30, 40, 50, 60, 70)}
"""First years of the classes by which an accuracy of ages is told: of as many as published systems have. What their bounds were
is not published; these follow childhood, youth and decades."""
BINS: Final = 15
"""Bins, of equal mass, of the expected calibration error."""
REPLICATES: Final = 2000
"""Resamplings of a bootstrap."""
CONFIDENCE: Final = 0.95
"""Share of samples whose interval holds the true figure."""

_SEED: Final = 20170101  # fixed: the same answers have the same intervals
_AT_ONCE: Final = 100  # replicates in one matrix, 4 MB of 4,700 pictures


@dataclass(frozen=True, slots=True)
class Answers:
    """One row a labelled picture, N in all.

    Labels: `age` in years, `gender` and `race` as label numbers, each -1 where it is not known. Answers: `found`
    whether there was a face; where there was none, or where the model does not say, the others are not a number. `years`,
    `low`, `high` in years; `female` the probability of female; `races` [N, 5]; `gender_uncertain` and `race_uncertain`
    whether the service marks the label so, nowhere by default.
    """

    age: Floats
    gender: Ints
    race: Ints
    found: Bools
    years: Floats
    low: Floats
    high: Floats
    female: Floats
    races: Floats
    gender_uncertain: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    race_uncertain: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __post_init__(self) -> None:
        for name in ("gender_uncertain", "race_uncertain"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(len(self), np.bool_))

    def __len__(self) -> int:
        return len(self.age)

    def where(self, chosen: Bools) -> Answers:
        """The chosen rows."""
        return Answers(*(getattr(self, one.name)[chosen] for one in fields(self)))

    def said(self) -> tuple[str, ...]:
        """What the model says of a face and the labels can judge: some of `age`, `interval`, `gender` and `race`; all that
        the labels can judge where no face was found."""
        answers = {
            "age": (self.age, self.years),
            "interval": (self.age, self.low),
            "gender": (self.gender, self.female),
            "race": (self.race, self.races),
        }
        judged = {name: values for name, (labels, values) in answers.items() if (labels != UNKNOWN).any() or not len(self)}
        return tuple(name for name, values in judged.items() if not (self.found.any() and np.isnan(values[self.found]).all()))


def expected_calibration_error(confidence: Floats, right: Bools, bins: int = BINS) -> float | None:
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

    A label that is not known counts nowhere. Figures of what is not in `said`, by default what the answers say, or has no known
    label are left out; of no pictures there is the count alone.
    """
    said = answers.said() if said is None else said
    if len(answers) == 0:
        return {"count": 0}
    result: dict[str, Any] = {"count": len(answers), "found": _mean(answers.found)}
    aged, gendered, raced = (answers.where(labels != UNKNOWN) for labels in (answers.age, answers.gender, answers.race))
    if "age" in said and len(aged):
        result |= _age_figures(aged, mean_age)
    if "interval" in said and len(aged):
        width = (aged.high - aged.low)[aged.found]
        result |= {"interval_coverage": _mean(_covered(aged)), "interval_width": _mean(width)}
    if "gender" in said and len(gendered):
        result |= _gender_figures(gendered)
    if "race" in said and len(raced):
        result |= _race_figures(raced)
    return result


def _age_error(answers: Answers, mean_age: float) -> Floats:
    return np.where(answers.found, answers.years, mean_age) - answers.age


def _covered(answers: Answers) -> Bools:
    return answers.found & (answers.low <= answers.age) & (answers.age <= answers.high)


def _gender_answer(answers: Answers) -> Ints:
    """Label numbers; the wrong one where there is no face."""
    return np.where(answers.found, (answers.female > 0.5).astype(np.int64), 1 - answers.gender)


def _race_answer(answers: Answers) -> Ints:
    """Label numbers; none of them where there is no face."""
    return np.where(answers.found, np.argmax(np.nan_to_num(answers.races), axis=1), -1)


def _age_figures(answers: Answers, mean_age: float) -> dict[str, Any]:
    error = _age_error(answers, mean_age)
    whole = np.rint(answers.age + error)  # the year that is answered
    return {
        "age_mae": _mean(np.abs(error)),
        "age_mse": _mean(np.square(error)),
        "age_rmse": math.sqrt(np.mean(np.square(error))),
        "age_bias": _mean(error),
        "age_within_5": _mean(np.abs(error) <= 5),
        "age_exact": _mean(whole == answers.age),
        **{f"age_bins_{count}": _mean(_bin(whole, starts) == _bin(answers.age, starts)) for count, starts in AGE_BINS.items()},
    }


def _bin(years: Floats, starts: tuple[int, ...]) -> Ints:
    """Number of the class that holds each year [N]."""
    return np.asarray(np.searchsorted(starts, years, side="right"), np.int64)


def _gender_figures(answers: Answers) -> dict[str, Any]:
    seen = answers.where(answers.found)
    answer = _gender_answer(answers)
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
        **_certain("gender", answers.found, answers.gender_uncertain, answer == answers.gender),
    }


def _race_figures(answers: Answers) -> dict[str, Any]:
    seen = answers.where(answers.found)
    answer = _race_answer(answers)
    macro_f1 = f1_score(answers.race, answer, labels=np.unique(answers.race), average="macro", zero_division=0.0)
    return {
        "race_accuracy": _mean(answer == answers.race),
        "race_macro_f1": float(macro_f1),
        "race_ece": expected_calibration_error(seen.races.max(axis=1), seen.races.argmax(axis=1) == seen.race),
        **_certain("race", answers.found, answers.race_uncertain, answer == answers.race),
    }


def _certain(name: str, found: Bools, uncertain: Bools, right: Bools) -> dict[str, Any]:
    """Share of the found faces whose label is not marked uncertain, and the accuracy of those labels."""
    return {f"{name}_certain_share": _mean(~uncertain[found]), f"{name}_certain_accuracy": _mean(right[found & ~uncertain])}


def intervals(answers: Answers, mean_age: float, said: Collection[str] | None = None) -> dict[str, list[float]]:
    """Lower and upper bound of the 95 % interval of each figure that `weighted` gives and that has a value.

    The percentile bootstrap (Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13): as many pictures as
    there are, drawn with replacement, `REPLICATES` times with a fixed seed. A share of none or of all is given an interval of
    no width; the count beside it says how little that means.
    """
    count = len(answers)
    if count == 0:
        return {}
    random = np.random.default_rng(_SEED)
    said = answers.said() if said is None else said
    parts = []
    for _ in range(REPLICATES // _AT_ONCE):
        drawn = random.integers(0, count, (_AT_ONCE, count)) + count * np.arange(_AT_ONCE)[:, np.newaxis]
        weights = np.bincount(drawn.ravel(), minlength=_AT_ONCE * count).reshape(_AT_ONCE, count).astype(np.float64)
        parts.append(weighted(answers, mean_age, weights, said))
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    tail = (1 - CONFIDENCE) / 2
    return {
        name: [round(float(bound), 5) for bound in np.nanquantile(drawn, [tail, 1 - tail])]
        for name, drawn in values.items()
        if not np.isnan(drawn).all()
    }


def weighted(answers: Answers, mean_age: float, weights: Floats, said: Collection[str]) -> dict[str, Floats]:
    """Figures [B] of B weightings [B, N] of the pictures; weights of one give those of `figures`, not a number its None."""
    found = answers.found
    shares: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}  # rows that are summed, and rows that they are a share of
    shares["found"] = found, np.ones(len(answers))
    aged = answers.age != UNKNOWN
    if "age" in said:
        error = np.where(aged, _age_error(answers, mean_age), 0)
        shares |= {"age_mae": (np.abs(error), aged), "age_rmse": (np.square(error), aged)}
        shares["age_within_5"] = (np.abs(error) <= 5) & aged, aged
    if "interval" in said:
        shares["interval_coverage"] = _covered(answers) & aged, aged
    for name, answer, label, uncertain in (
        ("gender", _gender_answer(answers), answers.gender, answers.gender_uncertain),
        ("race", _race_answer(answers), answers.race, answers.race_uncertain),
    ):
        if name in said:
            known = label != UNKNOWN
            right, certain = (answer == label) & known, found & known & ~uncertain
            shares[f"{name}_accuracy"] = right, known
            shares[f"{name}_certain_share"] = certain, found & known
            shares[f"{name}_certain_accuracy"] = right & certain, certain
    above, below = (weights @ np.stack(rows, axis=1, dtype=np.float64) for rows in zip(*shares.values(), strict=True))
    result = dict(zip(shares, _ratio(above, below).T, strict=True))
    if "age" in said:
        result["age_rmse"] = np.sqrt(result["age_rmse"])
    if "gender" in said:
        seen = found & (answers.gender != UNKNOWN)
        result["gender_auc"] = _area(answers.gender[seen], answers.female[seen], weights[:, seen])
    if "race" in said:
        known = answers.race != UNKNOWN
        result["race_macro_f1"] = _macro_f1(answers.race[known], _race_answer(answers)[known], weights[:, known])
    return result


def _area(label: Ints, score: Floats, weights: Floats) -> Floats:
    """Area under the ROC [B]: the share of pairs of a 1 and a 0 whose scores are in order, ties counting half."""
    if not len(score):
        return np.full(len(weights), np.nan)
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)
    ones, zeros = (np.add.reduceat(weights[:, order] * (label[order] == one), starts, axis=1) for one in (1, 0))
    below = np.cumsum(zeros, axis=1) - zeros / 2
    return _ratio((ones * below).sum(axis=1), ones.sum(axis=1) * zeros.sum(axis=1))


def _macro_f1(label: Ints, answer: Ints, weights: Floats) -> Floats:
    """Mean F1 [B] over the labels that have weight."""
    labels = np.unique(label)
    truth, given = (rows[:, np.newaxis] == labels for rows in (label, answer))
    there = weights @ truth.astype(np.float64)
    f1 = _ratio(2 * (weights @ (truth & given).astype(np.float64)), there + weights @ given.astype(np.float64))
    return np.asarray(np.nanmean(np.where(there > 0, f1, np.nan), axis=1), np.float64)


def _ratio(above: Floats, below: Floats) -> Floats:
    """A quotient that is not a number where the divisor is nothing."""
    quotient = np.full(above.shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient


def by_group(answers: Answers, mean_age: float) -> dict[str, dict[str, Any]]:
    """The same figures for each gender, race and band of true age that has pictures."""
    said = answers.said()
    return {
        kind: {name: figures(answers.where(rows), mean_age, said) for name, rows in members.items()}
        for kind, members in _groups(answers).items()
    }


def intervals_by_group(answers: Answers, mean_age: float) -> dict[str, dict[str, dict[str, list[float]]]]:
    """The intervals of the figures of `by_group`; pictures are drawn from the group alone."""
    said = answers.said()
    return {
        kind: {name: intervals(answers.where(rows), mean_age, said) for name, rows in members.items()}
        for kind, members in _groups(answers).items()
    }


def _groups(answers: Answers) -> dict[str, dict[str, Bools]]:
    """Rows of each group that has pictures."""
    groups: dict[str, dict[str, Bools]] = {
        "gender": {name: answers.gender == i for i, name in enumerate(GENDERS)},
        "race": {name: answers.race == i for i, name in enumerate(RACES)},
        "age": {
            f"{low}-{high}" if high < 200 else f"{low}+": (low <= answers.age) & (answers.age <= high)
            for low, high in AGE_BANDS
        },
    }
    return {kind: {name: rows for name, rows in members.items() if rows.any()} for kind, members in groups.items()}


def mae_by_age(answers: Answers) -> dict[int, tuple[float, int]]:
    """Mean absolute error in years and count of found faces, for every year of true age."""
    seen = answers.where(answers.found & (answers.age != UNKNOWN))
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


def roc(answers: Answers) -> dict[str, dict[str, list[float]]]:
    """The receiver operating characteristic of `female` and of each race against the rest, over the found faces: points of the
    curve, `false_positive_rate` and `true_positive_rate`, from 0 to 1; of a label that has both kinds of faces."""
    seen = answers.where(answers.found)
    said = seen.said() if len(seen) else ()
    curves = {}
    for name, truth, score in roc_labels(seen, said):
        if 0 < truth.sum() < len(truth):
            false, true, _ = roc_curve(truth, score)
            curves[name] = {
                "false_positive_rate": [round(float(one), 5) for one in false],
                "true_positive_rate": [round(float(one), 5) for one in true],
            }
    return curves


def roc_labels(seen: Answers, said: Collection[str]) -> list[tuple[str, Bools, Floats]]:
    """Name, truth [N] and score [N] of each label that is held against the rest, over the faces whose label is known."""
    labels: list[tuple[str, Bools, Floats]] = []
    if "gender" in said:
        known = seen.where(seen.gender != UNKNOWN)
        labels.append((GENDERS[1], known.gender == 1, known.female))
    if "race" in said:
        known = seen.where(seen.race != UNKNOWN)
        labels += [(name, known.race == i, known.races[:, i]) for i, name in enumerate(RACES)]
    return labels


def _mean(values: npt.NDArray[Any]) -> float | None:
    """The mean, or None of nothing: JSON knows no NaN."""
    return float(np.mean(values)) if len(values) else None
