"""Predictions of age, gender and race that tests make up, of columns of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from service.arrays import Bools, Doubles, Ints
from training.evaluation.documents import DEFAULT_ATTRIBUTES
from training.evaluation.predictions import ExpectationPredictions, LabelPredictions, Predictions

GENDERS, RACES = (one.labels for one in DEFAULT_ATTRIBUTES if one.kind == "labels")


def predictions_of(
    *,
    age: Doubles,
    gender: Any,
    race: Any,
    found: Bools,
    years: Doubles,
    low: Doubles,
    high: Doubles,
    female: Doubles,
    races: Doubles,
    gender_uncertain: Bools | None = None,
    race_uncertain: Bools | None = None,
    fallback: float = math.nan,
) -> Predictions:
    """Known labels and predictions by column; `female` is the probability of the second gender, `races` are [N, 5]."""
    nothing = np.zeros(0, np.bool_)
    uncertain = {"gender": gender_uncertain, "race": race_uncertain}
    marks = {name: nothing if given is None else given for name, given in uncertain.items()}
    genders = np.stack([1 - female, female], axis=1)
    return Predictions(
        found,
        {"age": ExpectationPredictions(np.where(np.asarray(age) < 0, np.nan, age), years, low, high, None, fallback)},
        {
            "gender": LabelPredictions(
                GENDERS, _numbers(gender), genders, nothing if gender_uncertain is None else gender_uncertain
            ),
            "race": LabelPredictions(RACES, _numbers(race), races, marks["race"]),
        },
    )


def _numbers(labels: Any) -> Ints:
    return np.asarray(labels, np.int64)
