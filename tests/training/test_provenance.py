"""What is recorded of where weights came from, and what the card shows of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from service.models.store import ModelStore, file_digest
from tests.training import made
from training.datasets.prepared import EMBEDDINGS, TEACHER
from training.errors import PreparedError
from training.fit.distillation import write_teacher_predictions
from training.fit.train import train
from training.fit.weight_averaging import average
from training.provenance import Teacher, lineage, of_run, record_run, teachers_of
from training.recipe import Recipe, changed

pytestmark = pytest.mark.usefixtures("architecture")


@pytest.fixture
def recipe() -> Recipe:
    return made.recipe()


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return made.prepared(tmp_path / "prepared", train=70, validation=10)


def test_a_run_says_with_what_it_began(run: Path, recipe: Recipe) -> None:
    known = of_run(run)
    assert known is not None
    assert (known.recipe, known.initial, known.follows, known.teachers) == (recipe.name, "random", None, ())
    assert known.weights == file_digest(run / "best.weights.h5")
    assert list(lineage(known)) == [f"- `{recipe.name}`, learnt from {recipe.data.train[0]}, begun with random weights"]


def test_a_run_records_what_it_went_on_from_and_its_teachers(run: Path, recipe: Recipe, prepared: Path, tmp_path: Path) -> None:
    write_teacher_predictions([run], prepared)
    distilled = changed(recipe, {"name": "later", "loss": {"teacher_weight": 0.5}, "schedule": {"epochs": 1}})
    start = run / "best.weights.h5"
    train(distilled, prepared, tmp_path / "later", "random", start)
    later = of_run(tmp_path / "later")
    assert later is not None
    assert later.follows == of_run(run)
    assert (later.recipe, later.initial) == ("later", "")
    assert later.weights == file_digest(tmp_path / "later/best.weights.h5")
    assert later.teachers == (Teacher(name=recipe.name, weights=file_digest(start)),)
    first, second = lineage(later)
    assert f"taught beside the labels by {recipe.name} (SHA-256" in first
    assert first.endswith("gone on from")
    assert second == f"  {next(lineage(later.follows))}"


def test_a_teacher_of_which_nothing_is_recorded_is_named_by_its_hash(run: Path, prepared: Path) -> None:
    write_teacher_predictions([run], prepared)
    assert teachers_of(prepared)[0].name != TEACHER
    np.savez(prepared / TEACHER, gender=np.zeros((1, 1)))  # by another program
    assert teachers_of(prepared) == (Teacher(name=TEACHER, weights=file_digest(prepared / TEACHER)),)


@pytest.mark.parametrize(("name", "key"), [("teachers.json", "answers"), ("taught.json", "taught")])
def test_teachers_that_earlier_versions_recorded_are_read(
    run: Path, recipe: Recipe, prepared: Path, name: str, key: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(prepared, tmp_path / "copy"))
    write_teacher_predictions([run], folder)
    document = json.loads((folder / "teachers.json").read_text())
    (folder / "teachers.json").unlink()
    (folder / name).write_text(json.dumps({key: document["predictions"], "teachers": document["teachers"]}))
    assert [one.name for one in teachers_of(folder)] == [recipe.name]


@pytest.mark.parametrize("text", ["{", '{"predictions": "00"}', '{"predictions": "00", "teachers": [{"name": 1}]}'])
def test_damaged_teachers_are_named_in_one_line(run: Path, prepared: Path, text: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(prepared, tmp_path / "copy"))
    write_teacher_predictions([run], folder)
    (folder / "teachers.json").write_text(text)
    with pytest.raises(PreparedError, match=r"^teachers\.json: [^\n]+$"):
        teachers_of(folder)


def test_networks_on_embeddings_are_named_as_teachers(prepared: Path) -> None:
    with np.load(prepared / "faces.npz") as table:
        embeddings = np.random.default_rng(0).normal(size=(len(table["age"]), 128))
    np.save(prepared / EMBEDDINGS, embeddings.astype(np.float16))
    write_teacher_predictions([], prepared, embeddings=True)
    assert [one.name for one in teachers_of(prepared)] == ["small networks on dlib's embeddings"]


def test_weights_that_were_changed_are_not_the_runs(run: Path, recipe: Recipe, tmp_path: Path) -> None:
    other, later = (shutil.copytree(run, tmp_path / name) for name in ("other", "later"))
    (other / "best.weights.h5").write_bytes(b"other weights")
    follows = record_run(later, recipe, later, "random", other / "best.weights.h5").follows
    assert follows is not None
    assert (follows.recipe, follows.weights) == ("", file_digest(other / "best.weights.h5"))
    assert "of which nothing is recorded" in next(lineage(follows))


def test_a_mean_records_its_runs_and_so_does_the_manifest(run: Path, store: Path, recipe: Recipe, tmp_path: Path) -> None:
    average([run, run], [3, 1], tmp_path / "mean")
    mean = of_run(tmp_path / "mean")
    assert mean is not None
    assert [(share, part.recipe) for share, part in mean.mean_of] == [(0.75, recipe.name), (0.25, recipe.name)]
    assert list(lineage(mean)) == [
        "- the mean of the weights of",
        f"  - 75% {next(lineage(mean.mean_of[0][1]))[2:]}",
        f"  - 25% the same `{recipe.name}`",
    ]
    (manifest,) = [one for one in ModelStore(store).manifests() if one.name == "tiny"]
    recorded = of_run(run)
    assert recorded is not None
    assert manifest.provenance == recorded.model_dump(mode="json")
    assert json.loads((store / "tiny/1/model.json").read_text())["provenance"]["weights"] == mean.mean_of[0][1].weights
