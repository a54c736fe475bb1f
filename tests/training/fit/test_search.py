"""Hyper-parameter search: spaces, values in recipes, and real trials on the tiny network, pruned and taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from PIL import Image

from tests.training import made
from training.errors import RecipeError, RunError, TrainingError, UsageError
from training.fit.search import Choices, Range, Space, load_space, search, with_values
from training.recipe import load_recipe

pytestmark = pytest.mark.usefixtures("architecture")

RECIPE = made.recipe(network={"outputs": ["gender"]}, schedule={"epochs": 2})
SPACE = """
[schedule.learning_rate]
low = 1e-4
high = 1e-1
log = true

[network.head_units]
low = 4
high = 16
step = 4

[augment]
flip = { choices = [0.0, 0.5] }

[balance]
class_weights = { choices = [[], ["gender"]] }
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.prepared(tmp_path_factory.mktemp("search") / "prepared", train=16, validation=8)


def space_of(tmp_path: Path, text: str) -> Space:
    (tmp_path / "space.toml").write_text(text)
    return load_space(tmp_path / "space.toml", RECIPE)


def test_a_space_is_shaped_like_a_recipe(tmp_path: Path) -> None:
    assert space_of(tmp_path, SPACE) == {
        "schedule.learning_rate": Range(low=1e-4, high=1e-1, log=True),
        "network.head_units": Range(low=4, high=16, step=4),
        "augment.flip": Choices(choices=(0.0, 0.5)),
        "balance.class_weights": Choices(choices=([], ["gender"])),
    }


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", RecipeError, "names nothing to search"),
        ("[schedule.speed]\nlow = 1\nhigh = 2", RecipeError, "a recipe has no schedule.speed"),
        ("[loss.weights.beard]\nlow = 1.0\nhigh = 2.0", RecipeError, "a recipe has no loss.weights.beard"),
        ("[schedule]\nepochs = 3", RecipeError, "schedule.epochs is no table"),
        ("[schedule.epochs]\nlow = 3\nhigh = 2", RecipeError, "low is below high"),
        ("[schedule.learning_rate]\nlow = 0\nhigh = 1\nlog = true", RecipeError, "with log, low is above 0"),
        ("[augment.flip]\nchoices = []", RecipeError, "at least 1"),
    ],
)
def test_a_space_that_is_wrong(text: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        space_of(tmp_path, text)


def test_what_a_recipe_has_by_attribute_is_searched_whether_it_names_it_or_not(tmp_path: Path) -> None:
    space = space_of(tmp_path, "[loss.weights.gender]\nlow = 0.5\nhigh = 2.0\n[network.pair_units.gender]\nchoices = [1, 2]")
    changed = with_values(RECIPE, dict.fromkeys(space, 2))
    assert (changed.loss.weights, changed.network.pair_units) == ({"gender": 2.0}, {"gender": 2})


def test_values_are_put_into_the_recipe_and_checked() -> None:
    changed = with_values(RECIPE, {"schedule.learning_rate": 0.5, "balance.class_weights": ["gender"]})
    assert (changed.schedule.learning_rate, changed.balance.class_weights) == (0.5, ("gender",))
    assert with_values(changed, {"schedule.learning_rate": 0.01, "balance.class_weights": []}) == RECIPE
    with pytest.raises(RecipeError, match="greater than 0"):
        with_values(RECIPE, {"schedule.learning_rate": -1})


def stored(url: str) -> optuna.Study:
    """What is in a storage, in memory."""
    storage = optuna.storages.RDBStorage(url)
    held = optuna.load_study(study_name="tiny", storage=storage)
    copy = optuna.create_study()
    copy.add_trials(held.trials)
    storage.remove_session()
    storage.engine.dispose()
    return copy


class Interrupting(optuna.pruners.BasePruner):
    """Ends no trial, and interrupts the search at one of its epochs."""

    def __init__(self, stop_at: int, by: BaseException) -> None:
        self.left, self.by = stop_at, by

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self.left -= 1
        if self.left == 0:
            raise self.by
        return False


@pytest.mark.parametrize("by", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["Ctrl+C", "full disk"])
def test_a_search_is_stopped_taken_up_and_ends_with_a_recipe(
    by: BaseException, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space, storage, out = space_of(tmp_path, SPACE), f"sqlite:///{tmp_path / 'search.db'}", tmp_path / "out"
    with pytest.raises(type(by)):
        search(RECIPE, space, prepared, out, 3, storage, pruner=Interrupting(3, by))
    assert "Traceback" not in capsys.readouterr().err
    given = search(RECIPE, space, prepared, out, 3, storage).model_dump(mode="json")
    study = stored(storage)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert study.trials[2].params == study.trials[1].params  # the interrupted one, begun again
    assert len({trial.params["schedule.learning_rate"] for trial in study.trials}) == 3  # and none of before once more

    document = json.loads((out / "search.json").read_text())
    assert given == document
    values = [trial["value"] for trial in document["trials"] if trial["state"] == "complete"]
    assert document["best"]["value"] == min(values)
    for trial in document["trials"]:
        run = load_recipe(out / f"trial-{trial['trial']:04}/recipe.json")
        assert run == with_values(RECIPE, trial["values"])
        if trial["state"] == "complete":
            assert trial["value"] == min(trial["epochs"])
            assert len(trial["epochs"]) == 2
    best = load_recipe(out / "best.json")
    assert best == load_recipe(out / f"trial-{document['best']['trial']:04}/recipe.json")
    for name in ("history", "epochs", "slices", "importance"):
        with Image.open(out / f"{name}.png") as plot:
            assert plot.width > 200
    assert search(RECIPE, space, prepared, out, 3, storage).model_dump(mode="json") == document  # all were finished


def test_a_storage_holds_one_search(prepared: Path, tmp_path: Path) -> None:
    """By the losses of before, the least accuracy was the best."""
    space = space_of(tmp_path, "[schedule.learning_rate]\nlow = 1e-5\nhigh = 1e-4")
    wider = space_of(tmp_path, "[schedule.learning_rate]\nlow = 1e-5\nhigh = 1e-3")
    short = made.recipe(network={"outputs": ["gender"]}, schedule={"epochs": 1})
    other = made.recipe(network={"outputs": ["gender"]}, schedule={"epochs": 1, "batch_size": 4})
    out, storage = tmp_path / "out", f"sqlite:///{tmp_path / 'search.db'}"
    first = search(short, space, prepared, out, 1, storage)
    for recipe, given, measure, named in (
        (short, space, "val_accuracy", "measure"),
        (short, wider, "val_loss", "space"),
        (other, space, "val_loss", "recipe"),
    ):
        with pytest.raises(RunError, match=f"a search with another {named}"):
            search(recipe, given, prepared, out, 2, storage, measure=measure)
    more = made.prepared(tmp_path / "more", train=40, validation=10)
    with pytest.raises(RunError, match="a search with another set of pictures"):
        search(short, space, more, out, 2, storage)
    assert search(short, space, prepared, out, 1, storage) == first
    with pytest.raises(RunError, match="trial-0000 holds a run that the storage knows nothing of"):
        search(short, space, prepared, out, 1, f"sqlite:///{tmp_path / 'other.db'}")


@pytest.mark.parametrize("storage", ["search.db", "sqlite:////not/there/search.db", "nothing://user:secret@host/name"])
def test_a_storage_that_is_none(storage: str, prepared: Path, tmp_path: Path) -> None:
    space = space_of(tmp_path, "[schedule.learning_rate]\nlow = 1e-5\nhigh = 1e-4")
    with pytest.raises(UsageError, match="--storage is no database that can be opened") as raised:
        search(RECIPE, space, prepared, tmp_path / "out", 1, storage)
    assert "secret" not in str(raised.value)


def test_a_trial_that_lags_ends_early(prepared: Path, tmp_path: Path) -> None:
    """Every first epoch is worse than this threshold, and no trial has a second."""
    pruner = optuna.pruners.ThresholdPruner(upper=0.01)
    space = space_of(tmp_path, "[schedule.learning_rate]\nlow = 1e-5\nhigh = 1e-4")
    with pytest.raises(TrainingError, match="of 1 trials none came to its end"):
        search(RECIPE, space, prepared, tmp_path / "out", 1, f"sqlite:///{tmp_path / 'search.db'}", pruner=pruner)
    study = stored(f"sqlite:///{tmp_path / 'search.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED]
    assert list(study.trials[0].intermediate_values) == [0]


def test_a_measure_that_is_not_there_is_named(prepared: Path, tmp_path: Path) -> None:
    space = space_of(tmp_path, "[schedule.learning_rate]\nlow = 1e-5\nhigh = 1e-4")
    with pytest.raises(TrainingError, match=r"an epoch has no val_age_mae; there is: .*val_loss"):
        search(RECIPE, space, prepared, tmp_path / "out", 1, "sqlite://", measure="val_age_mae")
