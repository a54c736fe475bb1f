"""Figures of the ages and the classes of years that a network was made for, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.comparison.metrics import error_in_range, own_classes
from training.evaluation.metrics import value_of
from training.evaluation.predictions import ExpectationPredictions, Predictions
from training.recipe import AgeSection

TRUE = [5.0, 20.0, 30.0, 45.0, 80.0, np.nan]
PREDICTED = [7.0, 21.0, 44.0, 41.0, 60.0, 33.0]


def predictions(*, distributions: bool = True) -> Predictions:
    """Of six faces; the whole mass of each distribution is at the predicted year."""
    nothing = np.full(len(TRUE), np.nan)
    distribution = np.eye(101)[np.array(PREDICTED, np.int64)] if distributions else None
    age = ExpectationPredictions(np.array(TRUE), np.array(PREDICTED), nothing, nothing, distribution)
    return Predictions(np.ones(len(TRUE), np.bool_), {"age": age})


def test_a_class_of_its_own_is_right_or_wrong() -> None:
    form = AgeSection(first=0, last=100, bins=(0, 18, 40))
    assert value_of(own_classes(form), predictions()) == pytest.approx(4 / 5)  # 30 is taken for 44
    weights = np.array([[1.0, 1.0, 3.0, 0.0, 0.0, 1.0], [0.0] * 6])
    first, nothing = own_classes(form).compute(predictions(), weights)
    assert first == pytest.approx(2 / 5)
    assert np.isnan(nothing)


def test_ages_outside_of_the_range_do_not_count_where_they_are_not_learnt() -> None:
    form = AgeSection(first=18, last=65, outside="unknown")
    assert value_of(own_classes(form), predictions()) == 0
    assert value_of(
        own_classes(AgeSection(first=18, last=65, bins=(18, 40), outside="unknown")), predictions()
    ) == pytest.approx(2 / 3)
    assert value_of(error_in_range(form), predictions()) == pytest.approx((1 + 14 + 4) / 3)
    assert value_of(error_in_range(AgeSection()), predictions()) == pytest.approx((2 + 1 + 14 + 4 + 20) / 5)


def test_a_network_without_classes_has_no_such_figure() -> None:
    assert np.isnan(value_of(own_classes(AgeSection()), predictions(distributions=False)))
    assert np.isnan(value_of(own_classes(AgeSection()), predictions().where(np.array([5]))))
