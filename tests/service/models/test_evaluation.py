import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import ModelDamaged
from service.models.evaluation import EVALUATION, Evaluation, Figures, evaluation_json, read_evaluation
from service.models.store import ModelStore

FIGURES: dict[str, Any] = {
    "count": 3,
    "found": 1.0,
    "age_mae": 4.5,
    "gender_auc": None,
    "gender": {"male": {"precision": 1.0, "recall": 0.5, "f1": 0.75}, "female": {"precision": 0.5, "recall": 1.0, "f1": 0.7}},
}
PART: dict[str, Any] = {
    "headline": FIGURES,
    "found_only": FIGURES,
    "groups": {"gender": {"male": FIGURES}, "race": {}},
    "intervals": {"headline": {"age_mae": [4.0, 5.0]}, "found_only": {}, "groups": {"gender": {"male": {}}, "race": {}}},
    "mean_age_of_train": 33.0,
}
DOCUMENT: dict[str, Any] = {
    "data": "UTKFace",
    "split": "test",
    "precision": "bf16",
    **PART,
    "without_duplicates": {"count": 2, "headline": FIGURES, "intervals": {"age_mae": [4.0, 5.0]}},
    "also": {"All-Age-Faces": {**PART, "mean_age_of_train": None}},
    "precisions": {"f32": FIGURES},
    "tracks": {
        "data": "UTKFace",
        "precision": "bf16",
        "pictures": 300,
        "films": 280,
        "frames": 12,
        "correlation_of_errors": 0.8,
        "tracks": [{"frames": 1, "age_error": {"value": 4.0, "interval": [3.5, 4.5]}, "gender_ece": 0.01, "race_ece": None}],
    },
}


def test_a_document_is_written_as_it_was_read(tmp_path: Path) -> None:
    (tmp_path / EVALUATION).write_text(json.dumps(DOCUMENT))

    evaluation = read_evaluation(tmp_path)

    assert evaluation is not None
    assert json.loads(evaluation_json(evaluation)) == DOCUMENT


def test_what_was_not_recorded_is_none(tmp_path: Path) -> None:
    assert read_evaluation(tmp_path) is None


def test_what_a_manifest_of_before_holds_is_read(tiny_store: Path, tmp_path: Path) -> None:
    store = ModelStore(Path(shutil.copytree(tiny_store, tmp_path / "store")))
    path = store.root / "tiny/1/model.json"
    manifest = json.loads(path.read_text())
    assert store.evaluation("tiny", 1) is None

    path.write_text(json.dumps(manifest | {"quality": DOCUMENT}))
    assert store.evaluation("tiny", 1) == Evaluation.model_validate(DOCUMENT)

    path.write_text(json.dumps(manifest | {"quality": {"age_mae": 4.5}}))
    assert store.evaluation("tiny", 1) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"data": "UTKFace"}'])
def test_a_damaged_evaluation_is_refused(tiny_store: Path, tmp_path: Path, content: str) -> None:
    store = ModelStore(Path(shutil.copytree(tiny_store, tmp_path / "store")))
    (store.root / "tiny/1" / EVALUATION).write_text(content)
    with pytest.raises(ModelDamaged, match="tiny/1"):
        store.evaluation("tiny", 1)


def test_a_figure_is_found_by_its_key() -> None:
    figures = Figures.model_validate(FIGURES)

    assert figures.count == 3
    assert figures.number("age_mae") == 4.5
    assert figures.number("gender.male.recall") == 0.5
    assert list(figures.scores()["gender"]) == ["male", "female"]
    for missing in ("race_accuracy", "gender_auc", "gender", "gender.male", "gender.male.copy", "age_mae.male.f1"):
        assert figures.number(missing) is None


@pytest.mark.parametrize(
    "change",
    [
        {"headline": {"count": 3, "age_mae": "four"}},
        {"headline": {"age_mae": 4.0}},
        {"unheard_of": 1},
        {"groups": {"gender": FIGURES}},
        {"precisions": {"f32": {"count": 1, "gender": {"male": {"precision": 1.5, "recall": 1.0, "f1": 1.0}}}}},
    ],
)
def test_another_structure_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Evaluation.model_validate(DOCUMENT | change)
