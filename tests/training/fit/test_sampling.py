"""Imbalance: class weights by hand, shares and rare crossings as often as they should come, the published batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_class_weight

from tests.training import made
from training.datasets.prepared import Prepared
from training.errors import DataSetError, RecipeError
from training.fit.batch_composition import Composition, counts_of
from training.fit.sampling import class_weights, classes, draw, picture_weights, sampling_probabilities
from training.recipe import GroupsSection, Recipe, load_recipe

GROUPED = "training/recipes/systems/mobilefacenet-asian.toml"


def data_of(
    ages: list[int], genders: list[int] | None = None, races: list[int] | None = None, sets: list[str] | None = None
) -> Prepared:
    """Prepared pictures with these labels, all black."""
    count = len(ages)
    return Prepared(
        np.zeros((count, 32, 32, 3), np.uint8),
        np.array([f"{i}.jpg" for i in range(count)]),
        np.array(sets or ["UTKFace"] * count),
        {
            "age": np.array(ages, np.float32),
            "gender": np.array(genders or [0] * count, np.float32),
            "race": np.array(races or [0] * count, np.float32),
        },
    )


# Weights ---------------------------------------------------------------------------------------------------------------


def test_class_weights_by_hand() -> None:
    data = data_of([30] * 8, races=[0, 0, 0, 0, 1, 1, 2, -1])
    # Seven known pictures of three classes: 7 / (3 * 4), 7 / (3 * 2), 7 / (3 * 1), and nothing of the two that are not there.
    np.testing.assert_allclose(class_weights(data, "race"), [7 / 12, 7 / 6, 7 / 3, 0, 0])
    weights = picture_weights(data, ["race"])["race"]
    np.testing.assert_allclose(weights, [7 / 12] * 4 + [7 / 6] * 2 + [7 / 3, 1], rtol=1e-6)
    assert weights[:7].mean() == pytest.approx(1)


def test_class_weights_are_scikit_learns() -> None:
    labels = np.random.default_rng(0).choice(5, 500, p=(0.5, 0.2, 0.15, 0.1, 0.05))
    expected = compute_class_weight("balanced", classes=np.arange(5), y=labels)
    np.testing.assert_allclose(class_weights(data_of([1] * 500, races=labels.tolist()), "race"), expected)


def test_ages_are_classes_by_decade() -> None:
    assert classes(data_of([0, 9, 10, 79, 80, 116, -1]), "age").tolist() == [0, 0, 1, 7, 8, 8, -1]


def test_every_recipe_of_the_project_is_whole(root: Path) -> None:
    names = [load_recipe(path).name for path in sorted((root / "training/recipes").rglob("*.toml"))]
    assert {"mobilefacenet-asian", "race-smote", "race-weighted", "separable-regression"} <= set(names)
    assert len(names) == len(set(names))
    weighted, smote = (load_recipe(root / f"training/recipes/race-{name}.toml") for name in ("weighted", "smote"))
    assert (weighted.network.outputs, weighted.balance.class_weights) == (("race",), ("race",))
    assert smote.smote.heads == ("race",)


# Draws -----------------------------------------------------------------------------------------------------------------


def recipe(**sections: dict[str, Any]) -> Recipe:
    return made.recipe(**sections)


def test_without_a_wish_every_picture_comes_once() -> None:
    assert sampling_probabilities(recipe(), data_of([1, 2])) is None


def test_shares_of_sets_are_kept_whatever_their_sizes() -> None:
    data = data_of([30] * 100, sets=["UTKFace"] * 90 + ["AFAD"] * 10)
    declared = recipe(data={"train": ["UTKFace", "AFAD"], "shares": [0.25, 0.75]})
    probabilities = sampling_probabilities(declared, data)
    assert probabilities is not None
    rows = draw(probabilities, 100, np.random.default_rng(1))
    assert (data.sets[rows] == "AFAD").sum() == 75
    times = np.bincount(rows, minlength=100)
    assert set(times[90:]) <= {7, 8}  # 7.5 times each
    assert times[:90].max() <= 1


def test_rare_crossings_are_drawn_as_often_as_others() -> None:
    races, genders = [0] * 80 + [4] * 20, [0, 1] * 40 + [0] * 18 + [1] * 2
    data = data_of([30] * 100, genders, races)
    declared = recipe(balance={"repeat": ["race", "gender"]})
    probabilities = sampling_probabilities(declared, data)
    assert probabilities is not None
    rows = draw(probabilities, 1000, np.random.default_rng(1))
    crossing, times = np.unique(np.stack([data.labels["race"][rows], data.labels["gender"][rows]]), axis=1, return_counts=True)
    assert crossing.T.tolist() == [[0, 0], [0, 1], [4, 0], [4, 1]]
    assert times.tolist() == pytest.approx([250] * 4, abs=2)
    half = sampling_probabilities(recipe(balance={"repeat": ["race"], "evenness": 0.5}), data)
    assert half is not None
    assert half[data.labels["race"] == 4].sum() == pytest.approx(20**0.5 / (20**0.5 + 80**0.5))


def test_a_draw_is_shuffled_and_rounds_each_chance() -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    rows = draw(probabilities, 10, np.random.default_rng(0))
    assert rows.tolist() != sorted(rows.tolist())
    times = [np.bincount(draw(probabilities, 10, np.random.default_rng(seed)), minlength=4) for seed in range(400)]
    for one in times:
        assert (np.abs(one - probabilities * 10) < 1).all()
    np.testing.assert_allclose(np.mean(times, axis=0), probabilities * 10, atol=0.1)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"train": ["UTKFace", "AFAD"], "shares": [1.0]}, "one number for each set"),
        ({"train": ["UTKFace", "UTKFace"], "shares": [0.5, 0.5]}, "each set once"),
        ({"train": ["UTKFace", "AFAD"], "shares": [0.5, 0.6]}, "their sum is 1"),
        ({"train": ["UTKFace", "AFAD"], "shares": [0.0, 1.0]}, "above 0"),
    ],
)
def test_shares_that_make_no_sense(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(data=section)


# Batches by group ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grouped(root: Path) -> Recipe:
    return load_recipe(root / GROUPED)


@pytest.fixture(scope="module")
def people() -> Prepared:
    """Every age from 10 to 75 three times in each of the three sets, AFAD's only up to 40."""
    rows = [(age, name) for age in range(10, 76) for name in ("UTKFace", "AFAD", "MegaAge-Asian") for _ in range(3)]
    rows = [(age, name) for age, name in rows if name != "AFAD" or age <= 40]
    return data_of([age for age, _ in rows], sets=[name for _, name in rows])


def groups_of(recipe: Recipe) -> GroupsSection:
    assert recipe.balance.groups is not None
    return recipe.balance.groups


def test_the_published_batches_add_up_to_128_half_from_each_pool(grouped: Recipe) -> None:
    section = groups_of(grouped)
    assert [phase.step for phase in section.phases] == [0, 560_000]
    first, second = (counts_of(section, phase) for phase in section.phases)
    assert first.shape == second.shape == (16, 2)
    assert first.tolist() == [[6, 5]] * 8 + [[2, 3]] * 8
    assert second.tolist() == [[8, 6]] * 4 + [[6, 6]] * 4 + [[1, 2]] * 8
    for counts in (first, second):
        assert counts.sum(axis=0).tolist() == [64, 64]


@pytest.mark.parametrize("step", [0, 1, 559_999, 560_000, 1_269_999])
def test_every_batch_has_its_number_of_every_group(grouped: Recipe, people: Prepared, step: int) -> None:
    rows = Composition(grouped, groups_of(grouped), people).rows(step)
    ages, asian = people.labels["age"][rows], people.sets[rows] != "UTKFace"
    assert (len(rows), asian.sum(), ages.min() >= 18, ages.max() <= 65) == (128, 64, True, True)
    for first in range(18, 66, 3):
        group = (first <= ages) & (ages <= first + 2)
        early = (6, 5) if first < 42 else (2, 3)
        late = (8, 6) if first < 30 else (6, 6) if first < 42 else (1, 2)
        assert ((group & asian).sum(), (group & ~asian).sum()) == (early if step < 560_000 else late)


def test_a_cell_gives_every_picture_before_one_comes_again(grouped: Recipe, people: Prepared) -> None:
    """Nine pictures of UTKFace are 18 to 20; five a batch, and six behind the change."""
    section = groups_of(grouped)
    soon = section.model_copy(update={"phases": (section.phases[0], section.phases[1].model_copy(update={"step": 2}))})
    composition = Composition(grouped, soon, people)
    cell = (people.sets == "UTKFace") & (people.labels["age"] >= 18) & (people.labels["age"] <= 20)
    drawn = [row for step in range(5) for row in composition.rows(step) if cell[row]]
    assert len(drawn) == 5 + 5 + 6 + 6 + 6
    turns = [drawn[begin : begin + 9] for begin in range(0, 27, 9)]
    assert all(set(turn) == set(np.flatnonzero(cell)) for turn in turns)
    assert turns[0] != turns[1]
    again = Composition(grouped, soon, people)
    np.testing.assert_array_equal(again.rows(3), composition.rows(3))  # from the number of the step alone


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": {"batch_size": 64}}, "from step 0 a batch has 128 pictures, and not 64"),
        ({"data": {"train": ["UTKFace"]}}, "data.train lacks AFAD, MegaAge-Asian"),
        ({"balance": {"repeat": ["race"]}}, "not both"),
        ({"balance": {"groups": {"lowest": 17}}}, "no group of 3 ages from 17 on ends with 41"),
        ({"balance": {"groups": {"lowest": 0, "phases": []}}}, "at least 1"),
    ],
)
def test_groups_that_do_not_go_together(grouped: Recipe, people: Prepared, change: dict[str, Any], message: str) -> None:
    document = grouped.model_dump()
    for name, section in change.items():
        for key, value in section.items():
            document[name][key] = document[name][key] | value if isinstance(value, dict) else value

    def composed() -> Composition:
        wrong = Recipe.model_validate(document)
        return Composition(wrong, groups_of(wrong), people)

    with pytest.raises((RecipeError, ValidationError), match=message):
        composed()


def test_a_group_without_a_picture_is_named(grouped: Recipe, people: Prepared) -> None:
    rows = np.flatnonzero(~((people.sets == "UTKFace") & (people.labels["age"] >= 63)))
    less = data_of(people.labels["age"][rows].astype(int).tolist(), sets=people.sets[rows].tolist())
    with pytest.raises(DataSetError, match="no training picture of UTKFace is 63 to 65 years old"):
        Composition(grouped, groups_of(grouped), less)
