"""The comparison: recipes of the tiny network under one budget, interrupted, taken up again, diverged, and drawn."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from tests.training import made
from training.artifacts import document_json
from training.comparison import report as comparison
from training.comparison import run as module
from training.comparison.documents import Budget, ComparisonReport, RecipeResult
from training.comparison.run import Comparison, Entry, chosen, constant_prediction, load_comparison, recipe_chain
from training.datasets.base import Split
from training.datasets.prepared import load_prepared
from training.errors import PreparedError, TrainingError
from training.fit.augmentation import resized
from training.models.heads import build
from training.recipe import Attribute, load_recipe

pytestmark = pytest.mark.usefixtures("architecture")

ROOT = Path(__file__).resolve().parents[3]
FIVE = ROOT / "training/comparisons/five-systems.toml"

TINY = """
name = "{name}"
follows = "{follows}"
[network]
architecture = "tiny"
size = 32
head_units = 8
outputs = {outputs}
[schedule]
epochs = 40
batch_size = 8
learning_rate = {rate}
rate = "constant"
ema_momentum = 0
clip_norm = 0
{more}
"""
FROZEN = '[transfer]\nfrozen_layers = "all"'
BUDGET = Budget(pictures=384)


def compare(*arguments: Any, **options: Any) -> dict[str, Any]:
    """The document of a comparison."""
    document: dict[str, Any] = json.loads(document_json(module.compare(*arguments, **options)))
    return document


def typed(document: dict[str, Any]) -> ComparisonReport:
    return ComparisonReport.model_validate(document)


def tiny(
    folder: Path, name: str, outputs: str = '["age", "gender", "race"]', follows: str = "", rate: float = 1e-3, more: str = ""
) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(TINY.format(name=name, outputs=outputs, follows=follows, rate=rate, more=more))
    return path.resolve()


def compared(*paths: Path, **changes: Any) -> Comparison:
    return Comparison(recipes=tuple(Entry(recipe=path) for path in paths), **changes)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two sets, the second of which knows no race."""
    folder = made.prepared(tmp_path_factory.mktemp("compare") / "prepared", train=64, validation=24)
    with np.load(folder / "faces.npz") as table:
        given = {name: table[name] for name in table.files}
    given["set"] = np.where(np.arange(88) % 3 == 0, "All-Age-Faces", "UTKFace")
    given["race"][given["set"] == "All-Age-Faces"] = -1
    np.savez(folder / "faces.npz", **given)
    return folder


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that begins frozen, one that follows another, and one that diverges."""
    folder = tmp_path_factory.mktemp("recipes")
    tiny(folder, "frozen", more=FROZEN)
    tiny(folder, "first", outputs='["gender"]')
    tiny(folder, "second", outputs='["age", "gender"]', follows="first")
    tiny(folder, "wild", outputs='["age"]', rate=1e30)
    return folder


@pytest.fixture(scope="module")
def given(recipes: Path) -> Comparison:
    both = {"data": {"train": ["UTKFace", "All-Age-Faces"], "validation": ["UTKFace", "All-Age-Faces"]}}
    return compared(*(recipes / f"{name}.toml" for name in ("frozen", "second", "wild")), override=both)


@pytest.fixture(scope="module")
def done(
    architecture: str, given: Comparison, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("compared")
    document = compare(given, BUDGET, prepared, out)
    comparison.write(typed(document), out)
    return out, document


# A comparison ----------------------------------------------------------------------------------------------------------


def test_every_recipe_stands_in_the_report_with_its_budget(done: tuple[Path, dict[str, Any]], given: Comparison) -> None:
    out, document = done
    assert document == json.loads((out / "compare.json").read_text())
    assert [row["name"] for row in document["recipes"]] == ["frozen", "second", "wild"]
    assert document["data"]["UTKFace"] == {"train": 42, "validation": 16, "test": 0}
    frozen, second, wild = document["recipes"]
    assert (frozen["state"], second["state"], wild["state"]) == ("finished", "finished", "diverged")
    assert (frozen["pictures"], second["pictures"]) == (384, 384)
    assert [run["pictures"] for run in second["runs"]] == [192, 192]  # an equal part for each step of the chain
    assert (second["follows"], [run["recipe"] for run in second["runs"]]) == (["first"], ["first", "second"])
    assert all(row["cpu_seconds"] > 0 and row["latency_ms"] > 0 for row in (frozen, second))
    assert frozen["weights"] == build(load_recipe(given.recipes[0].recipe).network).count_params()


def test_nothing_is_frozen_at_random_weights(done: tuple[Path, dict[str, Any]]) -> None:
    out, document = done
    assert [row["unfrozen"] for row in document["recipes"]] == [True, False, False]
    assert load_recipe(out / "frozen/1-frozen/fitted.json").transfer.frozen_layers == 0


def test_given_weights_stay_frozen(recipes: Path, prepared: Path, tmp_path: Path) -> None:
    trunk = made.tiny(made.SIDE, "random")
    trunk.save_weights(tmp_path / "trunk.weights.h5")
    weights = {"tiny": str(tmp_path / "trunk.weights.h5")}
    (row,) = compare(compared(recipes / "frozen.toml"), Budget(pictures=64), prepared, tmp_path / "out", weights=weights)[
        "recipes"
    ]
    assert (row["init"], row["unfrozen"]) == ("trunk.weights.h5", False)
    network = build(load_recipe(tmp_path / "out/frozen/1-frozen/fitted.json").network)
    network.load_weights(tmp_path / "out/frozen/1-frozen/best.weights.h5")
    for mine, theirs in zip(network.get_layer("trunk").weights, trunk.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_figures_are_those_of_the_trained_network(done: tuple[Path, dict[str, Any]], prepared: Path) -> None:
    """Held to Keras's own answers, one by one; what is served has halved weights, and may compute in bfloat16."""
    out, document = done
    row, run = document["recipes"][0], out / "frozen/1-frozen"
    network = build(load_recipe(run / "fitted.json").network)
    network.load_weights(run / "best.weights.h5")
    data = load_prepared(prepared, Split.VALIDATION)
    pixels = np.stack([resized(crop, made.SIDE) for crop in data.crops]).astype(np.float32) / 127.5 - 1
    logits = {name: np.asarray(values) for name, values in network(pixels, training=False).items()}
    shares = np.exp(logits["age"] - logits["age"].max(axis=1, keepdims=True))
    years = (shares / shares.sum(axis=1, keepdims=True)) @ np.arange(101)
    for name in ("UTKFace", "All-Age-Faces"):
        of, found = data.sets == name, row["figures"][name]
        assert found["count"] == of.sum()
        assert found["age_mae"] == pytest.approx(np.abs(years - data.labels["age"])[of].mean(), abs=0.3)
        female = logits["gender"][of, 0] > 0
        assert found["gender_accuracy"] == pytest.approx((female == data.labels["gender"][of]).mean(), abs=1 / of.sum() + 1e-9)
        right = (logits["age"][of].argmax(axis=1) == data.labels["age"][of]).mean()
        assert found["age_class_accuracy"] == pytest.approx(right, abs=1 / of.sum() + 1e-9)
    assert "race_accuracy" in row["figures"]["UTKFace"]
    assert "race_accuracy" not in row["figures"]["All-Age-Faces"]
    assert set(document["recipes"][1]["figures"]["UTKFace"]) & {"race_accuracy", "age_mae"} == {"age_mae"}


def test_an_answer_without_looking_is_that_of_train(done: tuple[Path, dict[str, Any]], prepared: Path) -> None:
    learnt, measured = load_prepared(prepared, Split.TRAIN), load_prepared(prepared, Split.VALIDATION, ["UTKFace"])
    baseline = done[1]["constant_baseline"]["UTKFace"]
    assert baseline["age_mae"] == pytest.approx(np.abs(np.median(learnt.labels["age"]) - measured.labels["age"]).mean())
    more = float(learnt.labels["gender"].mean() > 0.5)
    assert baseline["gender_accuracy"] == pytest.approx((measured.labels["gender"] == more).mean())
    most = np.bincount(learnt.labels["race"][learnt.labels["race"] >= 0].astype(int)).argmax()
    expected = f1_score(measured.labels["race"], np.full(len(measured), most), average="macro", zero_division=0.0)
    assert baseline["race_macro_f1"] == pytest.approx(expected)


def test_a_constant_prediction_of_a_range_is_its_median_and_not_the_step_below() -> None:
    """Steps of a range are no whole numbers: of 150 to 200 cm, 160.3 is the step 20.6."""
    height = Attribute(name="height", kind="expectation", range=(150, 200), unit="cm")
    steps = np.array([20.6, 20.6, 20.9, -1], np.float32)
    np.testing.assert_allclose(constant_prediction(steps, height), [160.3], atol=1e-3)
    np.testing.assert_allclose(constant_prediction(steps[3:], height), [np.nan])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sets": ["nobody"]}, "has no validation picture of nobody"),
        ({"split": Split.TEST}, "has no test picture"),
        ({"weights": {"tiny": "nowhere.weights.h5"}}, "no initial weights at nowhere.weights.h5"),
        ({"weights": {"tyni": "imagenet"}}, "no architecture 'tyni'; there is: "),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_trained(
    options: dict[str, Any], message: str, given: Comparison, prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises((TrainingError, FileNotFoundError), match=message):
        compare(given, BUDGET, prepared, tmp_path, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["budget.json"]


def test_a_set_that_a_later_recipe_lacks_is_said_before_anything_is_trained(prepared: Path, tmp_path: Path) -> None:
    paths = tiny(tmp_path, "good"), tiny(tmp_path, "bad", more='[data]\ntrain = ["nobody"]')
    with pytest.raises(TrainingError, match="has no train picture of nobody"):
        compare(compared(*paths), BUDGET, prepared, tmp_path / "out")
    assert not (tmp_path / "out/good").exists()


def test_what_is_done_is_not_done_again(
    done: tuple[Path, dict[str, Any]], given: Comparison, prepared: Path, tmp_path: Path
) -> None:
    out, document = done
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.h5")}
    assert written
    assert compare(given, BUDGET, prepared, out) == document
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.h5")} == written
    with pytest.raises(TrainingError, match="made by another budget"):
        compare(given, Budget(pictures=385), prepared, out)
    other = given.model_copy(update={"override": given.override | {"schedule": {"seed": 9}}})
    with pytest.raises(TrainingError, match="frozen was made by another recipe; choose another folder"):
        compare(other, BUDGET, prepared, out)
    mended = shutil.copytree(prepared, tmp_path / "mended")
    with np.load(mended / "faces.npz") as table:
        columns = {**table, "age": np.minimum(table["age"] + 1, 100)}
    np.savez(mended / "faces.npz", **columns)
    with pytest.raises(TrainingError, match="frozen was made by another set of pictures; choose another folder"):
        compare(given, BUDGET, mended, out)


def test_recipes_apart_have_processes_of_their_own(prepared: Path, tmp_path: Path) -> None:
    """Such a process knows no network of the tests', so that it can only fit one of Facet's."""
    tiny(tmp_path, "small", outputs='["gender"]')
    path = tmp_path / "small.toml"
    path.write_text(path.read_text().replace('"tiny"', '"base_cnn"'))
    (row,) = compare(compared(path.resolve()), Budget(pictures=64), prepared, tmp_path / "out", own_process=True)["recipes"]
    assert (row["state"], row["pictures"]) == ("finished", 64)
    assert 0 <= row["figures"]["UTKFace"]["gender_accuracy"] <= 1
    assert compare(compared(path.resolve()), Budget(pictures=64), prepared, tmp_path / "out")["recipes"] == [row]


class Interrupted(BaseException):
    """What a test stops a run with; like Ctrl+C, nothing catches it."""


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes the epochs, whose state is written by then, and stops behind one of them."""

    def __init__(self, stop_at: int = 0) -> None:
        super().__init__()
        self.seen, self._stop_at = list[int](), stop_at

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(epoch)
        if len(self.seen) == self._stop_at:
            raise Interrupted


def test_an_interrupted_comparison_goes_on(recipes: Path, prepared: Path, tmp_path: Path) -> None:
    second = compared(recipes / "second.toml")
    before, behind = Epochs(stop_at=9), Epochs()  # in the second run: the first has six epochs
    with pytest.raises(Interrupted):
        compare(second, BUDGET, prepared, tmp_path, callbacks=[before])
    fitted = (tmp_path / "second/2-second/fitted.json").read_text()
    (row,) = compare(second, BUDGET, prepared, tmp_path, callbacks=[behind])["recipes"]
    epochs = before.seen + behind.seen
    assert epochs == [*range(6), *range(6)]
    assert (row["pictures"], row["state"]) == (384, "finished")
    assert (tmp_path / "second/2-second/fitted.json").read_text() == fitted


def test_a_budget_of_time_is_as_many_pictures_as_were_timed(recipes: Path, prepared: Path, tmp_path: Path) -> None:
    first = load_recipe(recipes / "first.toml")
    seconds = module.seconds_per_picture(first, prepared, tmp_path)
    assert 0 < seconds < 1
    assert [path.name for path in tmp_path.iterdir()] == ["timings.json"]
    # One of the same trunk is not timed again: no two timings are the same to the last digit.
    assert module.seconds_per_picture(load_recipe(recipes / "second.toml"), prepared, tmp_path) == seconds
    timings = tmp_path / "timings.json"
    timings.write_text(json.dumps(dict.fromkeys(json.loads(timings.read_text()), 0.05)))
    for budget, pictures in ((Budget(minutes=0.2), 240), (Budget(minutes=0.2, pictures=64), 64)):
        fitted = module.fitted_recipe(first, budget, 1, prepared, tmp_path / "out" / str(pictures), 0)
        assert fitted.schedule.epochs * fitted.schedule.epoch_steps * 8 in range(pictures - 16, pictures + 1)
    half = module.fitted_recipe(first, Budget(minutes=0.2), 2, prepared, tmp_path / "out/half", 0)
    assert half.schedule.epochs * half.schedule.epoch_steps * 8 <= 120


# What is compared ------------------------------------------------------------------------------------------------------


def test_the_five_systems_are_compared_whole() -> None:
    given = load_comparison(FIVE)
    assert {one.recipe for one in given.recipes} == set((ROOT / "training/recipes/systems").resolve().glob("*.toml"))
    for entry in given.recipes:
        assert entry.published
        for recipe in recipe_chain(entry, given):
            sets = {*recipe.data.train, *recipe.data.validation}
            sets |= {name for pool in recipe.balance.groups.pools for name in pool} if recipe.balance.groups else set()
            assert sets == {"UTKFace", "All-Age-Faces"}
            assert recipe.schedule.policy == "mixed_bfloat16"
    asian = next(one for one in given.recipes if one.recipe.stem == "mobilefacenet-asian")
    assert [recipe.name for recipe in recipe_chain(asian, given)] == ["mobilefacenet-celeba", "mobilefacenet-asian"]


def test_recipes_are_chosen_by_file_or_folder(recipes: Path) -> None:
    given = compared(recipes / "first.toml", override={"schedule": {"seed": 3}})
    known = given.model_copy(update={"recipes": (given.recipes[0].model_copy(update={"system": "known"}),)})
    some = chosen(known, [recipes / "wild.toml", recipes])
    assert [one.recipe.stem for one in some.recipes] == ["wild", "first", "frozen", "second"]
    assert [one.system for one in some.recipes] == ["", "known", "", ""]
    assert some.override == given.override
    with pytest.raises(FileNotFoundError):
        chosen(given, [recipes / "nowhere.toml"])
    (recipes / "empty").mkdir(exist_ok=True)
    with pytest.raises(TrainingError, match="empty has no recipe"):
        chosen(given, [recipes / "empty"])


def test_overrides_of_all_and_of_one(recipes: Path) -> None:
    first = Entry(recipe=(recipes / "first.toml").resolve(), override={"schedule": {"seed": 5}})
    second = Entry(recipe=(recipes / "second.toml").resolve())
    given = Comparison(recipes=(second, first), override={"schedule": {"seed": 3, "batch_size": 4}})
    seeds = [(recipe.name, recipe.schedule.seed, recipe.schedule.batch_size) for recipe in recipe_chain(second, given)]
    assert seeds == [("first", 5, 4), ("second", 3, 4)]


@pytest.mark.parametrize(
    ("follows", "message"), [("round", "round follows itself"), ("nobody", "follows nobody, of which there is no")]
)
def test_a_way_that_leads_nowhere(follows: str, message: str, tmp_path: Path) -> None:
    given = compared(tiny(tmp_path, "round", follows=follows))
    with pytest.raises(TrainingError, match=message):
        recipe_chain(given.recipes[0], given)


def test_two_recipes_of_one_name_are_refused(recipes: Path, prepared: Path, tmp_path: Path) -> None:
    again = tiny(tmp_path, "first")
    with pytest.raises(TrainingError, match="a name stands for one recipe"):
        compare(compared(recipes / "first.toml", again), BUDGET, prepared, tmp_path / "out")


# Tables and plots ------------------------------------------------------------------------------------------------------


def test_tables_hold_every_recipe_losers_too(done: tuple[Path, dict[str, Any]]) -> None:
    out, document = done
    figures = comparison.figures_table(typed(document), "UTKFace").splitlines()
    assert [line.split(" | ")[0] for line in figures[2:]] == [
        "| `frozen`",
        "| `second`",
        "| `wild (diverged)`",
        f"| {comparison.CONSTANT_BASELINE}",
    ]
    mae = document["recipes"][1]["figures"]["UTKFace"]["age_mae"]
    titles, second = ([cell.strip() for cell in line.strip("|").split("|")] for line in (figures[0], figures[3]))
    assert second[titles.index("age: MAE [years]")] == f"{mae:.2f}"
    assert second[titles.index("race: accuracy")] == "–"
    assert "race: accuracy" not in comparison.figures_table(typed(document), "All-Age-Faces")
    assert "`first`, from random weights" in comparison.cost_table(typed(document))
    assert "diverged" in comparison.published_table(typed(document))
    assert "nothing is frozen, since its weights are random" in comparison.published_table(typed(document))
    for part in (comparison.cost_table(typed(document)), comparison.figures_table(typed(document), "All-Age-Faces")):
        assert part in (out / "compare.md").read_text()


def test_the_file_of_figures_has_them_as_measured(done: tuple[Path, dict[str, Any]]) -> None:
    out, document = done
    with (out / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["set"], row["name"]) for row in rows] == [
        (name, one) for name in ("UTKFace", "All-Age-Faces") for one in ("frozen", "second", "wild")
    ]
    assert float(rows[0]["age_mae"]) == document["recipes"][0]["figures"]["UTKFace"]["age_mae"]
    assert float(rows[0]["gender_f1"]) == document["recipes"][0]["figures"]["UTKFace"]["gender"]["female"]["f1"]
    assert rows[1]["race_accuracy"] == ""


def test_plots_are_drawn(done: tuple[Path, dict[str, Any]]) -> None:
    for name in (comparison.BARS, comparison.COST):
        with Image.open(done[0] / name) as plot:
            assert plot.width > 800
            colours = np.unique(np.asarray(plot.convert("RGB")).reshape(-1, 3), axis=0)
            assert len(colours) > 20  # something is drawn


TURNED = """
[[attributes]]
name = "age"
[[attributes]]
name = "gender"
labels = ["female", "male"]
"""


def test_a_report_has_the_attributes_of_its_recipes(prepared: Path, tmp_path: Path) -> None:
    own = tiny(tmp_path, "own", outputs='["age", "gender"]', more=TURNED)
    document = typed(compare(compared(own), Budget(pictures=64), prepared, tmp_path / "out"))
    assert [(one.name, one.labels) for one in document.attributes] == [("age", ()), ("gender", ("female", "male"))]
    # By itself it learns UTKFace alone, and so does what is predicted without looking.
    learnt, measured = (load_prepared(prepared, one, ["UTKFace"]) for one in (Split.TRAIN, Split.VALIDATION))
    median = np.median(learnt.labels["age"])
    baseline = document.constant_baseline["UTKFace"].number("age_mae")
    assert baseline == pytest.approx(np.abs(median - measured.labels["age"]).mean())
    assert median != np.median(load_prepared(prepared, Split.TRAIN).labels["age"])
    assert f"| {64 / len(learnt):.2f} |" in comparison.cost_table(document)
    (row,) = comparison.flat(
        document.model_copy(update={"constant_baseline": {"UTKFace": document.constant_baseline["UTKFace"]}})
    )
    assert isinstance(row["gender_accuracy"], float)
    assert not any(key.startswith("race") for key in row)


def test_recipes_of_one_attribute_are_drawn(tmp_path: Path) -> None:
    document = typed(json.loads((ROOT / "docs/comparison.json").read_text()))
    paths = comparison.write(document.model_copy(update={"attributes": document.attributes[:1]}), tmp_path)
    assert all(path.stat().st_size > 0 for path in paths)


PAGE = """# Ours

<!-- compare: conditions -->
<!-- /compare -->

## UTKFace

<!-- compare: UTKFace -->
| an old table |
<!-- /compare -->

What it message.

<!-- compare: cost -->
<!-- /compare -->
"""


def test_a_page_is_filled_in_between_its_marks(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    document = done[1]
    (tmp_path / "ours.md").write_text(PAGE)
    paths = comparison.publish(typed(document), tmp_path / "ours.md")
    assert sorted(path.name for path in paths) == ["ours-bars.png", "ours-cost.png", "ours.json", "ours.md"]
    page = (tmp_path / "ours.md").read_text()
    assert comparison.figures_table(typed(document), "UTKFace") in page
    assert comparison.cost_table(typed(document)) in page
    assert "an old table" not in page
    assert " ".join(page.split()).startswith(
        f"# Ours <!-- compare: conditions --> {comparison.common_conditions(typed(document))}"
    )
    assert "\n<!-- /compare -->\n\nWhat it message.\n\n<!-- compare: cost -->\n\n| recipe |" in page
    assert comparison.filled(page, typed(document)) == page
    assert json.loads((tmp_path / "ours.json").read_text()) == document


@pytest.mark.parametrize(
    ("text", "message"),
    [("# Nothing\n", "no marks"), (PAGE.replace("UTKFace -->", "LFW -->"), "LFW is none of conditions, cost")],
)
def test_a_page_that_cannot_be_filled_in_stays(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "ours.md").write_text(text)
    with pytest.raises(TrainingError, match=message):
        comparison.publish(typed(done[1]), tmp_path / "ours.md")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("ours.md", text)]


def test_recipes_that_were_not_taught_all_ages_say_so() -> None:
    document = json.loads((ROOT / "docs/comparison.json").read_text())
    figures = {"UTKFace": {"count": 10, "age_mae": 9.0, "age_range": [18, 65], "age_range_mae": 7.125}}
    row = RecipeResult.model_validate(document["recipes"][0] | {"figures": figures})
    assert "knows the ages 18 to 65 alone, and of these errs by 7.12 on UTKFace" in comparison.differences(row)


# The documented comparison ---------------------------------------------------------------------------------------------


def test_the_page_has_the_figures_as_they_were_measured() -> None:
    document = json.loads((ROOT / "docs/comparison.json").read_text())
    page = (ROOT / "docs/comparison.md").read_text()
    assert comparison.filled(page, typed(document)) == page
    for name in ("conditions", "UTKFace", "All-Age-Faces", "cost", "published"):
        assert f"<!-- compare: {name} -->" in page
    assert (document["split"], document["data"]["UTKFace"]["test"]) == ("test", 4660)


def test_documents_with_the_keys_of_before_are_read() -> None:
    text = (ROOT / "docs/comparison.json").read_text()
    old = text
    for before, now in (
        ("blind", "constant_baseline"),
        ("thawed", "unfrozen"),
        ("age_taught", "age_range"),
        ("age_taught_mae", "age_range_mae"),
    ):
        assert f'"{now}": ' in old
        old = old.replace(f'"{now}": ', f'"{before}": ')
    assert typed(json.loads(old)) == typed(json.loads(text))


def test_the_documented_comparison_is_of_every_recipe_that_is_there() -> None:
    document, given = json.loads((ROOT / "docs/comparison.json").read_text()), load_comparison(FIVE)
    assert [row["name"] for row in document["recipes"]] == [one.recipe.stem for one in given.recipes]
    for row, one in zip(document["recipes"], given.recipes, strict=True):
        assert (row["system"], row["published"], row["differs"]) == (one.system, one.published, one.differs)
        recipe = recipe_chain(one, given)[-1]
        assert (row["architecture"], row["size"]) == (recipe.network.architecture, recipe.network.size)
        assert set(row["outputs"]) == set(recipe.network.outputs)
    assert document["override"] == given.override


def test_the_documented_budget_was_kept() -> None:
    document = json.loads((ROOT / "docs/comparison.json").read_text())
    seconds = document["budget"]["minutes"] * 60
    for row in document["recipes"]:
        if row["state"] == "finished":
            assert 0.5 * seconds < row["cpu_seconds"] < 1.7 * seconds, row["name"]


def test_a_damaged_table_of_faces_is_named(tmp_path: Path) -> None:
    (tmp_path / "faces.npz").write_bytes(b"no archive")
    given = Comparison(recipes=(Entry(recipe=module.RECIPES / "mobilefacenet.toml"),))
    with pytest.raises(PreparedError, match="is not what prepare writes"):
        module.compare(given, Budget(pictures=1), tmp_path, tmp_path / "out")
