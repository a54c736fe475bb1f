"""A model to a report, by way of the service's own POST /predict."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typing_extensions import override

from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
from service.settings import Settings
from tests.conftest import encoded
from tests.training import made
from tests.training.evaluation.made import predictions_of
from training.artifacts import document_json
from training.datasets.base import DataSet, Label, Split
from training.datasets.columns import MOST_WORDS
from training.datasets.duplicates import NearDuplicate
from training.datasets.readers import open_data_set
from training.errors import DataSetError, EvaluationError, TrainingError
from training.evaluation.degradations import DEGRADATIONS
from training.evaluation.documents import Report
from training.evaluation.evaluate import evaluate, means_of_train, report_part
from training.evaluation.plots import draw_all
from training.evaluation.predictions import ExpectationPredictions, LabelPredictions, Predictions
from training.evaluation.recording import record_report
from training.evaluation.service_client import CONCURRENCY, Scored, central_face, measured_settings, predict
from training.evaluation.service_client import scored as scored_of

AGE_PLOTS = {"age_error.png", "age_scatter.png"}
LABEL_PLOTS = {"confusion.png", "roc.png", "reliability.png"}
PLOTS = AGE_PLOTS | LABEL_PLOTS | {"coverage.png"}


@pytest.fixture(scope="module")
def settings(store: Path) -> Settings:
    return measured_settings(model_store=store, model="tiny", model_version=1, precision=Precision.F32)


@pytest.fixture(scope="module")
def out(settings: Settings, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    evaluate(settings, open_data_set(pictures), Split.TEST, folder)
    return folder


@pytest.fixture(scope="module")
def report(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "report.json").read_text())
    return document


def test_report_has_everything(report: dict[str, Any]) -> None:
    assert set(report) == {
        *("data", "model", "precision", "runtime", "promised_coverage", "split", "created", "mean_age_of_train", "plots"),
        *("detector", "attributes", "age_checks", "means_of_train"),
        *("headline", "found_only", "groups", "intervals", "duplicates", "without_duplicates", "confusion", "roc", "not_found"),
        *("age_mae_by_age", "worst_ages", "worst_genders", "worst_races"),
    }
    assert report["age_checks"]["bands"]["25+"]["count"] == 4
    assert set(report["age_checks"]["calibration_error"]) == {"18", "21", "25"}
    assert report["model"] == {"name": "tiny", "version": 1}
    assert (report["data"], report["split"], report["mean_age_of_train"]) == ("UTKFace", "test", 30.0)
    assert (report["precision"], report["runtime"], report["promised_coverage"]) == ("f32", "openvino", 0.8)
    assert report["detector"] == "centerface/2"
    assert report["means_of_train"] == {"age": 30.0}
    assert set(report["plots"]) == PLOTS
    assert {"age_mae", "age_rmse", "gender_accuracy", "race_accuracy", "race_macro_f1", "interval_coverage"} <= set(
        report["headline"]
    )
    assert set(report["groups"]) == {"gender", "race", "age"}
    assert set(report["confusion"]) == {"gender", "race"}
    for part in ("headline", "found_only"):
        for name, (low, high) in report["intervals"][part].items():
            assert low <= report[part][name] + 1e-5
            assert report[part][name] <= high + 1e-5
    assert set(report["intervals"]["groups"]["age"]) == set(report["groups"]["age"])


def test_pictures_without_a_face_are_counted(report: dict[str, Any]) -> None:
    assert (report["headline"]["count"], report["found_only"]["count"]) == (7, 5)
    assert report["headline"]["found"] == pytest.approx(5 / 7)
    assert sorted(report["not_found"]) == sorted(made.names(Split.TEST, 2, 70, gender=0, race=4))
    assert report["groups"]["age"]["70-79"]["age_mae"] == pytest.approx(70 - 30)  # the mean age of train


def test_headline_is_that_of_the_answers(report: dict[str, Any], settings: Settings, pictures: Path) -> None:
    scored = predict(settings, open_data_set(pictures), Split.TEST)
    ages = np.array([int(name.split("_")[0]) for name in scored.names])
    errors = np.where(scored.predictions.found, scored.predictions.expectations["age"].value, 30.0) - ages
    assert report["headline"]["age_mae"] == pytest.approx(np.abs(errors).mean())
    assert report["headline"]["age_rmse"] == pytest.approx(math.sqrt(np.square(errors).mean()))
    female_of = scored.predictions.labels["gender"].probabilities[:, 1]
    right = [
        found and (female > 0.5) == (name.split("_")[1] == "1")
        for name, found, female in zip(scored.names, scored.predictions.found, female_of, strict=True)
    ]
    assert report["headline"]["gender_accuracy"] == pytest.approx(np.mean(right))
    distribution = scored.predictions.expectations["age"].distribution
    assert distribution is not None
    assert distribution[scored.predictions.found].sum(axis=1) == pytest.approx(1, abs=1e-2)
    assert np.isnan(distribution[~scored.predictions.found]).all()


def test_plots_show_something(out: Path) -> None:
    assert {path.name for path in out.glob("*.png")} == PLOTS
    for name in PLOTS:
        picture = np.asarray(Image.open(out / name).convert("RGB"))
        assert min(picture.shape[:2]) > 500
        assert (picture != 255).any(axis=2).mean() > 0.01


def test_answers_are_put_under_their_names() -> None:
    face: dict[str, Any] = {
        "age": {"years": 31.5, "low": 26, "high": 38},
        "gender": {"uncertain": True, "probabilities": {"female": 0.9, "male": 0.1}},
        "race": {"probabilities": {"white": 0.1, "black": 0.2, "asian": 0.3, "indian": 0.15, "other": 0.25}},
    }
    face |= {"quality": {"sharpness": 9.5}, "warnings": ["blurred"]}
    given = scored_of(
        ["a", "b"],
        [Label({"age": 30, "gender": "female", "race": "asian"}), Label({"age": 8, "gender": "male", "race": "other"})],
        [face, None],
    )
    age, gender, race = (
        given.predictions.expectations["age"],
        *(given.predictions.labels[name] for name in ("gender", "race")),
    )
    assert (age.label.tolist(), gender.label.tolist(), race.label.tolist()) == ([30, 8], [1, 0], [2, 4])
    assert given.predictions.found.tolist() == [True, False]
    assert (age.value[0], age.low[0], age.high[0], gender.probabilities[0, 1]) == (31.5, 26, 38, 0.9)
    assert race.probabilities[0].tolist() == [0.1, 0.2, 0.3, 0.15, 0.25]
    assert np.isnan(race.probabilities[1]).all()
    assert np.isnan(age.distribution).all()
    assert (given.names, given.warnings) == (["a", "b"], [["blurred"], []])
    assert (gender.uncertain.tolist(), race.uncertain.tolist()) == ([True, False], [False, False])
    assert given.qualities["sharpness"][0] == 9.5
    assert np.isnan(given.qualities["sharpness"][1])


def test_columns_that_are_no_attributes_make_no_groups() -> None:
    """As tables of one's own have them: who took it, from where all are, and notes."""
    labels = [
        Label(
            {
                "age": 30,
                "glasses": ("no", "yes")[number % 2],
                "source": "club",
                "Shoe size": str(number % 3),
                "note": f"{number}",
            }
        )
        for number in range(MOST_WORDS + 1)
    ]
    given = scored_of([str(number) for number in range(len(labels))], labels, [None] * len(labels))
    assert [one.name for one in given.predictions.attributes] == ["age", "gender", "race", "glasses"]


def test_the_central_face_counts() -> None:
    def face(x: int, width: int) -> dict[str, Any]:
        return {"box": {"x": x, "y": 80, "width": width, "height": 40}}

    image = {"width": 200, "height": 200}
    left, middle = face(0, 90), face(85, 40)
    assert central_face({"image": image, "faces": [left, middle]}) is middle
    assert central_face({"image": image, "faces": []}) is None


def test_limit_asks_for_the_first(settings: Settings, pictures: Path) -> None:
    assert len(predict(settings, open_data_set(pictures), Split.TEST, limit=2).names) == 2


def test_a_picture_that_the_service_refuses_is_named(settings: Settings, tmp_path: Path) -> None:
    (name,) = made.names(Split.TEST, 1)
    folder = made.folder_of(tmp_path / "set", [(name, b"no picture")])
    with pytest.raises(TrainingError, match=rf"the service refuses {name}: 415 .*; mend it, or take it out of the set"):
        predict(settings, open_data_set(folder), Split.TEST)


def test_one_damaged_picture_has_no_face_and_ends_nothing(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As `prepare` leaves it out; nor does what degrades pictures end at it."""
    caplog.set_level("INFO", "training")
    whole, damaged = made.names(Split.TEST, 2)
    folder = made.folder_of(tmp_path / "set", [(whole, made.face_picture()), (damaged, b"no picture")])
    given = predict(settings, open_data_set(folder), Split.TEST, change=DEGRADATIONS[0])
    assert dict(zip(given.names, given.predictions.found, strict=True)) == {whole: True, damaged: False}
    assert f"count as without a face: 1: {damaged}: 415 " in caplog.messages[-1]


def test_a_set_without_the_split_is_an_error(settings: Settings, tmp_path: Path) -> None:
    folder = made.folder_of(tmp_path / "set", [(made.names(Split.VALIDATION, 1)[0], encoded(made.square_picture(1, 1)))])
    with pytest.raises(TrainingError, match="no labelled picture of the test split"):
        predict(settings, open_data_set(folder), Split.TEST)
    with pytest.raises(DataSetError, match="no labelled picture of the train split"):
        means_of_train(open_data_set(folder), ["age"])


def test_train_without_ages_is_said_before_anything_is_predicted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A face not found had no error then, the mean error of all was none, and the class of the oldest was right."""
    monkeypatch.setattr("training.evaluation.evaluate.predict", None)
    table = "file,age,gender,split\na.jpg,,male,train\nb.jpg,40,female,test\n"
    files = [(name, made.face_picture()) for name in ("a.jpg", "b.jpg")]
    folder = made.folder_of(tmp_path / "club", [*files, ("labels.csv", table.encode())])
    with pytest.raises(DataSetError, match="no picture of train has a label of age, whose mean stands for faces not found"):
        evaluate(settings, open_data_set(folder), Split.TEST, tmp_path / "report")


def test_what_would_fail_at_the_end_is_said_before_anything_is_predicted(
    settings: Settings, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluation.evaluate.predict", None)
    whole = open_data_set(pictures)
    part = open_data_set(made.folder_of(tmp_path / "set", [(made.names(Split.TEST, 1)[0], made.face_picture())]))
    with pytest.raises(DataSetError, match="no labelled picture of the train split"):
        evaluate(settings, part, Split.TEST, tmp_path / "out")
    with pytest.raises(DataSetError, match="no labelled picture of the train split"):
        evaluate(settings, whole, Split.TEST, tmp_path / "out", also=replace(part, name="Other"))
    numbers = replace(whole, label_of=lambda _: Label({"age": "nan"}))
    with pytest.raises(DataSetError, match="the age 'nan' is not a number"):
        evaluate(settings, numbers, Split.TEST, tmp_path / "out")
    strange = Label({"age": 30, "gender": "F"})
    other = replace(whole, name="Other", label_of=lambda name: strange if whole.split_of(name) is Split.TEST else Label({}))
    with pytest.raises(DataSetError, match="the gender 'F' is none of male, female"):
        evaluate(settings, whole, Split.TEST, tmp_path / "out", also=other)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        evaluate(settings, whole, Split.TEST, tmp_path / "file")


def test_a_label_that_the_model_lacks_is_said_before_a_picture_is_posted(
    settings: Settings, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluation.service_client.create_app", None)
    data = replace(open_data_set(pictures), label_of=lambda _: Label({"race": "east asian"}))
    with pytest.raises(DataSetError, match="the race 'east asian' is none of white, black"):
        predict(settings, data, Split.TEST)


def test_mean_age_is_over_train_alone_and_reads_no_picture(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", None)
    assert means_of_train(open_data_set(pictures), ["age"]) == {
        "age": 30
    }  # of 20 and 40; the broken name and the other splits do not count


@pytest.fixture
def own_store(store: Path, tmp_path: Path) -> Path:
    """A store that the test may write to."""
    return Path(shutil.copytree(store, tmp_path / "store"))


def recorded(store: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((store / "tiny/1/evaluation.json").read_text())
    return document


def test_recording_a_figure_changes_no_digest(own_store: Path, report: dict[str, Any]) -> None:
    before = {
        path: path.read_bytes() for path in (own_store / "tiny/1").rglob("*") if path.is_file() and path.name != "README.md"
    }
    part = {
        key: report[key] for key in ("headline", "found_only", "groups", "intervals", "mean_age_of_train", "means_of_train")
    }
    also = {key: report[key] for key in (*part, "confusion", "roc")} | {"not_found": ["a.jpg"]}
    record_report(own_store, Report.model_validate(report | {"also": {"All-Age-Faces": also}}))
    assert {path: path.read_bytes() for path in before} == before
    given = recorded(own_store)
    assert {key: given[key] for key in part} == part
    assert given["without_duplicates"] == report["without_duplicates"]
    assert (given["split"], given["precision"]) == ("test", "f32")
    assert given["also"] == {"All-Age-Faces": part}  # and no file's name
    model = ModelStore(own_store).load("tiny", 1, loader(Runtime.AUTO, Precision.F32, 2))
    assert model.digest == hashlib.sha256(before[own_store / "tiny/1/model.json"]).hexdigest()


def test_another_arithmetic_adds_its_headline(own_store: Path, report: dict[str, Any]) -> None:
    figures_of_part = ("headline", "found_only", "groups", "intervals", "mean_age_of_train", "confusion", "roc", "not_found")
    part = {key: report[key] for key in figures_of_part}
    record_report(own_store, Report.model_validate(report | {"also": {"All-Age-Faces": part}}))
    worse, worst = (report["headline"] | {"age_mae": error} for error in (7.5, 8.5))
    other = report | {"precision": "bf16", "headline": worse, "also": {"All-Age-Faces": part | {"headline": worst}}}
    record_report(own_store, Report.model_validate(other))
    given = recorded(own_store)
    assert (given["precision"], given["headline"]) == ("f32", report["headline"])
    assert given["precisions"]["bf16"]["age_mae"] == 7.5
    assert given["also"]["All-Age-Faces"]["headline"] == part["headline"]
    assert given["also"]["All-Age-Faces"]["precisions"]["bf16"]["age_mae"] == 8.5
    text = " ".join((own_store / "tiny/1/README.md").read_text().split())
    assert "In bf16, on the same pictures: age error in years 7.50," in text
    assert "; of All-Age-Faces: age error in years 8.50," in text
    record_report(own_store, Report.model_validate(report | {"also": {"All-Age-Faces": part}}))
    assert recorded(own_store) == given


def test_figures_of_another_set_stay_where_one_is_recorded_alone(
    own_store: Path, report: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "training")
    figures_of_part = ("headline", "found_only", "groups", "intervals", "mean_age_of_train", "confusion", "roc", "not_found")
    part = {key: report[key] for key in figures_of_part}
    record_report(own_store, Report.model_validate(report | {"also": {"All-Age-Faces": part}}))
    before = recorded(own_store)
    record_report(own_store, Report.model_validate(report))
    assert recorded(own_store) == before
    record_report(own_store, Report.model_validate(report | {"data": "club"}))
    given = recorded(own_store)
    assert (given["data"], list(given["also"])) == ("club", ["UTKFace", "All-Age-Faces"])
    assert given["also"]["UTKFace"] == {key: before[key] for key in given["also"]["UTKFace"]}
    assert not caplog.messages
    record_report(own_store, Report.model_validate(report | {"split": "validation"}))
    assert "also" not in recorded(own_store)
    assert caplog.messages == ["figures of club, test, in f32 are recorded no longer"]


def test_the_environment_changes_no_figure(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {
        "MAX_FACES": 1,
        "ATTRIBUTES": "age",
        "MIN_CONFIDENCE": 0.99,
        "API_KEYS": "key",
        "RATE_LIMIT": 1,
        "DEADLINE_S": 0.1,
    }
    changed |= {"MODEL": "other", "MIN_FACE_PX": 90, "DETECTION_SIDE_PX": 64, "PRECISION": "bf16", "WORKERS": 3}
    expected = measured_settings(model_store=store)
    for name, value in changed.items():
        monkeypatch.setenv(f"FACET_{name}", str(value))
    given = measured_settings(model_store=store)
    assert given.workers == 3
    assert given.model_copy(update={"workers": 0}) == expected
    assert given.deadline_s > 60


def test_worst_errors_are_listed_worst_first(report: dict[str, Any]) -> None:
    errors = [abs(one["years"] - one["age"]) for one in report["worst_ages"]]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 5
    wrong = [one["confidence"] for one in report["worst_genders"]]
    assert wrong == sorted(wrong, reverse=True)
    assert len(wrong) == round(5 * (1 - report["found_only"]["gender_accuracy"]))
    assert all(one["label"] != one["answer"] for one in report["worst_genders"] + report["worst_races"])
    for one in report["worst_genders"]:
        assert one["label"] == ("male", "female")[int(one["name"].split("_")[1])]


def test_figures_without_pictures_that_train_holds_too(report: dict[str, Any]) -> None:
    """All faces of these splits are one photo; what is left are the two black pictures."""
    assert report["duplicates"]["pictures"] == 5
    assert {twin["name"] for twin in report["duplicates"]["twins"]}.isdisjoint(report["not_found"])
    alone = report["without_duplicates"]
    assert (alone["count"], alone["headline"]["found"], alone["headline"]["age_mae"]) == (2, 0, 40)


def test_a_second_data_set_is_scored_beside_the_first(
    settings: Settings, pictures: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    labels = [("00001A22.jpg", 0, "train"), ("00003A45.jpg", 1, "val"), ("00004A30.jpg", 0, "val")]
    also = open_data_set(made.all_age_faces(tmp_path / "AAF", labels))
    document = json.loads(document_json(evaluate(settings, open_data_set(pictures), Split.TEST, tmp_path / "out", also=also)))
    assert document["headline"] == report["headline"]
    second = document["also"]["All-Age-Faces"]
    assert (second["headline"]["count"], second["mean_age_of_train"]) == (2, 22)
    assert {"headline", "found_only", "groups", "intervals", "duplicates", "without_duplicates"} <= set(second)
    assert "All-Age-Faces" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize("outputs", [("years",), ("low", "high"), ("female",), ("races",), ()])
def test_reports_and_plots_of_fewer_outputs_and_of_no_faces(outputs: tuple[str, ...], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = {name: np.full((20, 5) if name == "races" else 20, np.nan) for name in ("years", "low", "high", "female", "races")}
    values |= {name: random.uniform(0.1, 1, values[name].shape) for name in outputs}
    predictions = predictions_of(
        age=random.integers(0, 90, 20).astype(np.float64),
        gender=np.arange(20) % 2,
        race=np.arange(20) % 5,
        found=np.full(20, bool(outputs)),
        **values,
    )
    scored = Scored([str(i) for i in range(20)], predictions.with_fallbacks({"age": 30.0}), {}, [[]] * 20)
    part = report_part(scored, [NearDuplicate("3", "x", 0, False)])
    assert "NaN" not in part.model_dump_json()
    assert part.without_duplicates is not None
    assert part.without_duplicates.count == 19
    for name in PLOTS:
        (tmp_path / name).write_bytes(b"of an earlier report")
    drawn = draw_all(predictions, part, tmp_path)
    expected = {("years",): AGE_PLOTS, ("low", "high"): {"coverage.png"}, ("female",): LABEL_PLOTS, ("races",): LABEL_PLOTS}
    assert set(drawn) == {path.name for path in tmp_path.iterdir()} == expected.get(outputs, set())


def test_the_reliability_of_many_labels_is_in_the_plot(tmp_path: Path) -> None:
    """The most probable of ten labels may have a tenth."""
    probabilities = np.random.default_rng(0).dirichlet(np.full(10, 50.0), 200)
    labels = LabelPredictions(tuple("abcdefghij"), np.arange(200) % 10, probabilities)
    predictions = Predictions(np.ones(200, np.bool_), labels={"letter": labels})
    given = Scored([f"{row}.jpg" for row in range(200)], predictions, {}, [[]] * 200)
    assert probabilities.max(axis=1).max() < 0.18
    draw_all(predictions, report_part(given), tmp_path)
    with Image.open(tmp_path / "reliability.png") as plot:
        pixels = np.asarray(plot.convert("RGB"))
    assert (pixels == (31, 119, 180)).all(axis=-1).sum() > 500  # the curve's blue


class Counted(DataSet):
    """A data set that counts the pictures that were read of it."""

    read = 0

    @override
    def labelled(self, split: Split) -> Iterator[tuple[str, Label, bytes]]:
        for picture in DataSet.labelled(self, split):
            Counted.read += 1
            yield picture


def test_no_more_pictures_are_held_than_are_under_way(settings: Settings, pictures: Path, tmp_path: Path) -> None:
    folder = made.folder_of(tmp_path / "set", [(name, made.black()) for name in made.names(Split.TEST, 40)])
    data = open_data_set(folder)
    posted: list[int] = []

    def change(content: bytes) -> bytes:
        posted.append(Counted.read - len(posted))
        return content

    scored = predict(
        settings, Counted(**{one.name: getattr(data, one.name) for one in fields(data)}), Split.TEST, change=change
    )
    assert scored.names == sorted(path.name for path in folder.iterdir())
    assert len(posted) == 40
    assert max(posted) <= CONCURRENCY + 1


def test_the_reliability_of_one_confidence_is_one_point(tmp_path: Path) -> None:
    labels = LabelPredictions(("no", "yes"), np.arange(60) // 45, np.tile([0.6, 0.4], (60, 1)))
    given = Scored([f"{row}.jpg" for row in range(60)], Predictions(np.ones(60, np.bool_), {}, {"hat": labels}), {}, [[]] * 60)
    draw_all(given.predictions, report_part(given), tmp_path)
    with Image.open(tmp_path / "reliability.png") as plot:
        pixels = np.asarray(plot.convert("RGB"))
    rows = np.flatnonzero((pixels == (31, 119, 180)).all(axis=-1).any(axis=1))
    assert 0 < rows[-1] - rows[0] < 20  # no line from the bins that are all right to those that are all wrong


def test_dollars_in_labels_and_units_are_no_mathematics(tmp_path: Path) -> None:
    labels = LabelPredictions(("$50k-$100k", r"$\frac$"), np.arange(6) % 2, np.tile([[0.6, 0.4], [0.3, 0.7]], (3, 1)))
    pay = ExpectationPredictions(*(np.arange(6.0) + shift for shift in (0, 1, -2, 2)), range=(0, 50), unit=r"$_$^$")
    given = Scored(
        list("abcdef"), Predictions(np.ones(6, np.bool_), {"pay": pay}, {"rent": labels}), {}, [[] for _ in range(6)]
    )
    assert len(draw_all(given.predictions, report_part(given), tmp_path, 0.8)) == 6


def test_what_is_posted_can_be_changed(settings: Settings, pictures: Path) -> None:
    scored = predict(settings, open_data_set(pictures), Split.TEST, change=lambda data: made.black())
    assert not scored.predictions.found.any()


def test_a_set_without_races_has_no_figures_of_race(settings: Settings, tmp_path: Path) -> None:
    labels = [("00001A22.jpg", 0, "train"), ("00003A45.jpg", 1, "val"), ("00004A30.jpg", 0, "val")]
    data = open_data_set(made.all_age_faces(tmp_path / "AAF", labels))
    document = json.loads(document_json(evaluate(settings, data, Split.TEST, tmp_path / "out")))
    assert document["headline"]["count"] == 2
    assert "gender_accuracy" in document["headline"]
    assert not [key for key in document["headline"] if key.startswith("race")]
    assert not document["groups"]["race"]
    assert document["mean_age_of_train"] == 22


def test_a_second_set_of_the_same_name_is_refused(settings: Settings, pictures: Path, tmp_path: Path) -> None:
    data = open_data_set(pictures)
    with pytest.raises(EvaluationError, match="both called UTKFace"):
        evaluate(settings, data, Split.TEST, tmp_path / "out", also=data)
