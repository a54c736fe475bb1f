"""A model is calibrated again: a new version of the same weights, and the old one stays."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
from tests.training import made
from training.calibration.versions import copied, recalibrate
from training.datasets.base import Label, Split
from training.datasets.readers import open_data_set
from training.errors import CalibrationError, EvaluationError


@pytest.fixture
def own(store: Path, tmp_path: Path) -> Path:
    """A copy of the store, whose calibration and figures are spoilt."""
    copy = Path(shutil.copytree(store, tmp_path / "store"))
    fields = json.loads((copy / "tiny/1/model.json").read_text())
    for attribute in fields["attributes"]:
        attribute["calibration"] |= {"temperature": 3.9, "threshold": 0.5}
    (copy / "tiny/1/model.json").write_text(json.dumps(fields))
    (copy / "tiny/1/evaluation.json").write_text("{}")
    return copy


def test_a_calibration_does_not_build_on_the_one_before(own: Path, store: Path, pictures: Path) -> None:
    before = {path: path.read_bytes() for path in (own / "tiny/1").rglob("*") if path.is_file()}
    folder = recalibrate(own, "tiny", 1, [open_data_set(pictures)])
    assert folder == own / "tiny/2"
    assert {path: path.read_bytes() for path in before} == before
    assert not (folder / "evaluation.json").exists()  # it was measured with another calibration
    load = loader(Runtime.AUTO, Precision.F32, 1)
    exported, made_again = ModelStore(store).load("tiny", 1, load), ModelStore(own).load("tiny", 2, load)
    assert made_again.manifest == exported.manifest.model_copy(update={"version": 2})


def test_a_set_that_calibrates_and_did_not_train_is_named_in_the_licence(own: Path, pictures: Path) -> None:
    fields = json.loads((own / "tiny/1/model.json").read_text())
    (own / "tiny/1/model.json").write_text(json.dumps(fields | {"trained_on": ["elsewhere"], "licence": "Elsewhere: free."}))
    folder = recalibrate(own, "tiny", 1, [open_data_set(pictures)])
    licence = json.loads((folder / "model.json").read_text())["licence"]
    assert licence == f"Elsewhere: free. Calibrated with {open_data_set(pictures).licence}"
    again = recalibrate(own, "tiny", int(folder.name), [open_data_set(pictures)])
    assert json.loads((again / "model.json").read_text())["licence"] == licence


def test_what_the_data_does_not_know_stays_calibrated(own: Path, tmp_path: Path) -> None:
    pictures = made.folder_of(tmp_path / "club", [(f"{shift}.jpg", made.face_picture(shift)) for shift in range(4)])
    ages = "".join(f"{shift}.jpg,{20 + 10 * shift},validation\n" for shift in range(4))
    (pictures / "labels.csv").write_text(f"file,age,split\n{ages}")
    folder = recalibrate(own, "tiny", 1, [open_data_set(pictures)])
    before, after = (
        {one["name"]: one["calibration"] for one in json.loads((place / "model.json").read_text())["attributes"]}
        for place in (own / "tiny/1", folder)
    )
    assert before["age"] != after["age"]
    assert {name: after[name]["temperature"] for name in ("gender", "race")} == {"gender": 3.9, "race": 3.9}
    assert [after[name] for name in ("gender", "race")] == [before[name] for name in ("gender", "race")]


def test_nothing_is_left_of_a_version_that_could_not_be_calibrated(own: Path, tmp_path: Path) -> None:
    blank = [(name, made.black()) for name in made.names(Split.VALIDATION, 2, 40)]
    data = open_data_set(made.folder_of(tmp_path / "UTKFace", blank))
    with pytest.raises(CalibrationError, match="needs faces"):
        recalibrate(own, "tiny", 1, [data])
    assert sorted(path.name for path in (own / "tiny").iterdir()) == ["1"]


def test_labels_of_nothing_that_the_model_predicts_are_said_before_a_picture_is_posted(own: Path, tmp_path: Path) -> None:
    pictures = made.folder_of(tmp_path / "club", [("1.jpg", b"no picture")])
    (pictures / "labels.csv").write_text("file,glasses,split\n1.jpg,yes,validation\n")
    with pytest.raises(CalibrationError, match="the data sets have none of what the model predicts"):
        recalibrate(own, "tiny", 1, [open_data_set(pictures)])


def test_a_model_that_is_not_there_is_not_copied(own: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no"), copied(own, "tiny", 7, {}):
        pass
    with pytest.raises(EvaluationError, match="holds no"), copied(own, "huge", 1, {}):
        pass


def test_a_version_is_there_when_it_is_whole(own: Path, pictures: Path) -> None:
    seen: set[tuple[int, ...]] = set()
    data = open_data_set(pictures)

    def label_of(name: str) -> Label | None:
        seen.add(tuple(ModelStore(own).versions("tiny")))
        return data.label_of(name)

    recalibrate(own, "tiny", 1, [replace(data, label_of=label_of)])
    assert seen == {(1,)}  # a service that looks while pictures are predicted takes no version without a calibration
    assert ModelStore(own).versions("tiny") == [1, 2]
    assert sorted(path.name for path in own.iterdir()) == ["centerface", "tiny"]


def test_a_version_that_another_one_wrote_meanwhile_stays(own: Path) -> None:
    with pytest.raises(FileExistsError, match="never change"), copied(own, "tiny", 1, {}):
        (own / "tiny/2").mkdir()
    assert list((own / "tiny/2").iterdir()) == []
