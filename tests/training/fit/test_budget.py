"""Recipes squeezed into a budget: never more pictures than it has, and the same schedule, shorter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training import made
from training.fit.budget import MIN_BATCH, MIN_EPOCHS, MIN_STEPS, VALIDATION, published, shortened
from training.fit.schedules import rate
from training.recipe import Recipe, load_recipe

SYSTEMS = Path(__file__).resolve().parents[3] / "training/recipes/systems"
TRAIN = 22_957
"""Training pictures, where a test needs some number of them."""


def recipe(**schedule: Any) -> Recipe:
    return made.recipe(schedule={"epochs": 100, "batch_size": 64, "rate": "constant"} | schedule)


def pictures_of(one: Recipe, train: int = TRAIN) -> int:
    """Pictures that a run sees, as `training.fit.train.Batches` counts them."""
    schedule = one.schedule
    whole = max(1, train // schedule.parts // schedule.batch_size)
    steps = min(whole, schedule.epoch_steps) if schedule.epoch_steps else whole
    return schedule.epochs * schedule.parts * steps * schedule.batch_size


@pytest.mark.parametrize("path", sorted(SYSTEMS.glob("*.toml")), ids=lambda path: path.stem)
@given(pictures=st.integers(min_value=3000, max_value=2_000_000))
@settings(max_examples=20, deadline=None)
def test_no_recipe_sees_more_than_its_budget_nor_much_less(path: Path, pictures: int) -> None:
    whole = load_recipe(path)
    short = shortened(whole, pictures, TRAIN)
    assert pictures_of(short) <= pictures
    # What is lost: less than a step an epoch and part.
    most = min(pictures, published(whole, TRAIN))
    assert pictures_of(short) > most - short.schedule.batch_size * short.schedule.parts * (short.schedule.epochs + 1)


def test_a_budget_that_is_long_enough_changes_nothing() -> None:
    whole = recipe()
    assert published(whole, TRAIN) == 100 * (TRAIN // 64) * 64 == pictures_of(whole)
    assert shortened(whole, published(whole, TRAIN), TRAIN) == whole
    assert shortened(whole, published(whole, TRAIN) - 1, TRAIN) != whole


def test_a_recipe_of_short_epochs_sees_no_more_than_they_do() -> None:
    short = recipe(epoch_steps=20)
    assert published(short, TRAIN) == 100 * 20 * 64 == pictures_of(short)
    assert shortened(short, published(short, TRAIN), TRAIN) == short
    half = shortened(short, published(short, TRAIN) // 2, TRAIN).schedule
    assert (half.epochs, half.epoch_steps, half.batch_size) == (50, 20, 64)


def test_steps_behind_the_last_epoch_of_a_short_run_are_left_out() -> None:
    """Without any, the rate stays what it is before the first; a schedule by steps that has none is no recipe."""
    for first, expected in ((98, ("constant", ())), (40, ("step", ((2, 1e-5),)))):
        short = shortened(recipe(rate="step", steps=[[first, 1e-5]]), 64 * 600, TRAIN).schedule
        assert (short.epochs, short.rate, short.steps) == (MIN_EPOCHS, *expected)


def test_a_short_run_has_short_epochs_and_a_long_one_whole_ones() -> None:
    short = shortened(recipe(), 64 * 600, TRAIN).schedule
    assert (short.epochs, short.epoch_steps, short.batch_size) == (MIN_EPOCHS, 100, 64)
    long = shortened(recipe(), 20 * TRAIN, TRAIN).schedule
    assert (long.epochs, long.epoch_steps) == (22, 326)  # 7,172 of 7,174 steps; a whole epoch has 358
    parts = shortened(recipe(parts=4), 64 * 800, TRAIN).schedule
    assert (parts.epochs, parts.epoch_steps) == (4, 50)  # of each part 200 steps, of 89 that a whole epoch has


def test_batches_are_halved_as_long_as_few_steps_would_be_left() -> None:
    sizes = {
        pictures: shortened(recipe(batch_size=512), pictures, TRAIN).schedule.batch_size for pictures in (500, 12_000, 52_000)
    }
    assert sizes == {500: MIN_BATCH, 12_000: 64, 52_000: 512}
    assert 12_000 // 64 >= MIN_STEPS > 12_000 // 128


def test_a_schedule_keeps_its_shape() -> None:
    """Ten flat epochs of a hundred become one of six; the rate falls as far as it did."""
    plateau = shortened(recipe(rate="plateau", rate_epochs=10, stop_epochs=5), 64 * 600, TRAIN).schedule
    assert (plateau.rate_epochs, plateau.stop_epochs) == (1, 0)
    assert shortened(recipe(rate="plateau", rate_epochs=30), 64 * 600, TRAIN).schedule.rate_epochs == 2
    whole = recipe(rate="inverse", rate_decay=0.1).schedule
    inverse = shortened(recipe(rate="inverse", rate_decay=0.1), 64 * 600, TRAIN).schedule
    np.testing.assert_allclose([rate(inverse, n, []) for n in range(6)], [rate(whole, n * 100 / 6, []) for n in range(6)])  # type: ignore[arg-type]
    cosine = shortened(recipe(rate="cosine", warmup_epochs=5), 64 * 600, TRAIN).schedule
    assert cosine.warmup_epochs == pytest.approx(0.3)


def test_steps_of_the_rate_come_at_the_same_share_of_the_run() -> None:
    whole = load_recipe(SYSTEMS / "separable-5-bins.toml")
    short = shortened(whole, 32 * 600, TRAIN).schedule
    assert short.epochs == MIN_EPOCHS
    given = [rate(short, epoch, []) for epoch in range(short.epochs)]
    assert given == [8e-3, 2e-3, 1e-3, 2e-3, 5e-4, 2.5e-4]  # twice a fall that is halved, the second from 0.002


def test_composed_batches_keep_their_size_and_change_at_the_same_share_of_the_run() -> None:
    whole = load_recipe(SYSTEMS / "mobilefacenet-asian.toml")
    short = shortened(whole, 128 * 80, TRAIN, steps=1_270_000)
    assert short.schedule.batch_size == 128
    groups = short.balance.groups
    assert groups is not None
    assert [phase.step for phase in groups.phases] == [0, 35]  # 560,000 of 1,270,000, of 80
    assert whole.balance.groups is not None
    assert [phase.counts for phase in groups.phases] == [phase.counts for phase in whole.balance.groups.phases]
    by_itself = shortened(whole, published(whole, TRAIN) // 2, TRAIN).balance.groups
    assert by_itself is not None
    assert by_itself.phases[1].step == 280_000


def test_what_a_short_run_is_measured_by_is_small_and_quick_to_settle() -> None:
    short = shortened(recipe(), 64 * 200, TRAIN)
    assert short.data.validation_pictures == VALIDATION
    assert short.network.norm_momentum == pytest.approx(1 - 10 / 200)
    assert shortened(recipe(), 64 * 100_000, TRAIN * 1000).network.norm_momentum == pytest.approx(1 - 1e-4)
