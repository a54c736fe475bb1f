"""Films and the fit of a track's mean: what made-up frames were made with comes back, and the service's own functions agree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.inference.attributes import Expectation, LabelProbabilities
from service.models.evaluation import TrackEvaluation
from service.models.manifest import AgeInterval, Attribute, AttributeCalibration, IntervalBand, TrackCalibration
from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
from service.tracking.aggregation import Average, weight
from service.vision.quality import Quality
from tests.fakes import attributes, manifest
from tests.training import made
from training.calibration.documents import TRACKS, TrackStudy
from training.calibration.films import FRAMES, FilmedExpectation, FilmedLabels, FilmedSet, Films, filmed, films
from training.calibration.intervals import MARGIN
from training.calibration.track_study import CORRELATION, measure, metrics, record_track, study, tracks
from training.calibration.tracks import LENGTHS, doublings, fit, gain, means, with_gain
from training.datasets.base import DataSet, Split
from training.datasets.readers import open_data_set
from training.errors import CalibrationError
from training.evaluation.documents import MeasuredModel, Served
from training.evaluation.metrics import value_of
from training.evaluation.predictions import AttributeSpec
from training.evaluation.service_client import Scored, scored

INTERVAL = AgeInterval(coverage=0.8, unit="deviation", bands=(IntervalBand(below=1e6, low=-1.2816, high=1.2816),))
SHARED = 0.5
"""Correlation of the made-up errors of two frames of one film."""
DOUBLINGS = {"small": 1.0, "turned": 2.0}
RACES = ("white", "black", "asian", "indian", "other")
DECLARED = manifest(attributes=attributes(age={"interval": INTERVAL})).attributes
WITHOUT_INTERVAL = manifest(attributes=attributes(age={})).attributes
CLUB = (
    Attribute(
        name="member_years", kind="expectation", outputs=("member",), calibration=AttributeCalibration(interval=INTERVAL)
    ),
    Attribute(name="glasses", kind="labels", labels=("no", "yes"), outputs=("glasses",)),
    Attribute(
        name="race",
        kind="labels",
        labels=("black", "east asian", "indian", "latino", "middle eastern", "southeast asian", "white"),
        outputs=("race",),
    ),
)
"""Attributes of a model that does not know age and gender, and whose races are others."""


def made_films(count: int, seed: int = 0, noise: float = 6.0, declared: Sequence[Attribute] = DECLARED) -> Films:
    """Films whose errors are as wide as their distributions, in the first of the frames that are easy."""
    random = np.random.default_rng(seed)
    years = np.rint(random.uniform(20, 70, count))
    amounts = np.stack([random.exponential(0.7, (count, FRAMES)), random.exponential(0.3, (count, FRAMES))], axis=-1)
    worse = 2.0 ** (amounts @ np.array(list(DOUBLINGS.values())))
    common = random.normal(size=(count, 1))
    errors = noise * (SHARED**0.5 * common + (1 - SHARED) ** 0.5 * random.normal(size=(count, FRAMES)) * np.sqrt(worse))

    def labels(kinds: int) -> FilmedLabels:
        truth = random.integers(0, kinds, count)
        values = random.normal(0, 1.0, (count, 1, kinds)) + random.normal(0, 1.0, (count, FRAMES, kinds))
        values[np.arange(count), :, truth] += 2.0
        powers = np.exp(values)
        return FilmedLabels(truth, np.log(powers / powers.sum(axis=-1, keepdims=True)))

    spread = np.full((count, FRAMES), noise)
    return Films(
        expectations={
            one.name: FilmedExpectation(years, years[:, np.newaxis] + errors, spread, INTERVAL)
            for one in declared
            if one.kind == "expectation"
        },
        labels={one.name: labels(len(one.labels)) for one in declared if one.kind == "labels"},
        impairments=amounts,
        names=tuple(DOUBLINGS),
    )


def measured(given: Films, declared: Sequence[Attribute] = DECLARED) -> list[dict[str, Any]]:
    """What is measured of tracks, by their length."""
    return [one.model_dump() for one in measure(given, specs(declared))]


def specs(declared: Sequence[Attribute]) -> list[AttributeSpec]:
    return [AttributeSpec.of(one) for one in declared]


# Films ------------------------------------------------------------------------------------------------------------------


def test_a_film_has_frames_that_differ_and_is_the_same_every_time(pictures: Path) -> None:
    picture = made.square_picture(30, 30, side=200)
    frames = [filmed(picture, index) for index in range(FRAMES)]
    assert all(frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 for frame in frames)
    assert len({frame.tobytes() for frame in frames}) == FRAMES
    np.testing.assert_array_equal(frames[3], filmed(picture, 3))


def test_frames_of_one_film_are_of_one_camera() -> None:
    """Of one distance: their sizes differ by no more than a window of 85 % does, those of other films by up to three."""
    films = [made.square_picture(30, 30, (200, 90, red), side=200) for red in range(0, 240, 20)]
    sides = np.array([[filmed(film, index).shape[0] for index in range(4)] for film in films])
    assert (sides.max(axis=1) <= sides.min(axis=1) / 0.84).all()
    assert sides.max() > 1.8 * sides.min()


def test_a_filmed_set_gives_every_frame_of_every_picture(pictures: Path) -> None:
    data = open_data_set(pictures)
    given = list(FilmedSet.of(data).labelled(Split.VALIDATION))
    names = [name for name, _, _ in data.labelled(Split.VALIDATION)]
    assert [name for name, _, _ in given] == [name for name in names for _ in range(FRAMES)]
    assert all(content.startswith(b"\x89PNG") for _, _, content in given)


# The service's own functions --------------------------------------------------------------------------------------------


def test_many_means_are_those_that_the_service_answers() -> None:
    given = made_films(20)
    age, gender, race = given.expectations["age"], given.labels["gender"], given.labels["race"]
    track = TrackCalibration(correlation=0.4, scale=1.1, gains={"gender": 1.3, "race": 1.2}, doublings=DOUBLINGS)
    weights = given.weights(track)
    several = means(given, weights)
    for film in range(len(given)):
        average = Average(manifest(attributes=attributes(age={"interval": INTERVAL}), track=track))
        for index in range(FRAMES):
            # A distribution of the film's deviation, about the middle of the scale so that its ends are not cut.
            years = np.arange(101)
            shape = np.exp(-0.5 * np.square((years - 50) / age.spread[film, index])).astype(np.float32)
            shape /= shape.sum()
            average.add(
                {
                    "age": Expectation(float(age.value[film, index]), 0, 0, 0.8, shape),
                    "gender": LabelProbabilities(
                        "male", dict(zip(("male", "female"), np.exp(gender.logarithms[film, index]), strict=True))
                    ),
                    "race": LabelProbabilities("white", dict(zip(RACES, np.exp(race.logarithms[film, index]), strict=True))),
                },
                float(weights[film, index]),
            )
            answer = average.attributes()
            assert answer["age"].value == pytest.approx(several.values["age"][film, index])
            assert average.frames == pytest.approx(several.frames[film, index])
            frames = several.frames[film : film + 1, index]
            for name, factor in track.gains.items():
                expected = with_gain(several.logarithms[name][film : film + 1, index], factor, frames)[0]
                assert list(answer[name].probabilities.values()) == pytest.approx(expected, abs=1e-6)


def test_the_weights_are_those_that_the_service_gives() -> None:
    rows = [
        Quality(size_px=30, sharpness=5, brightness=0.2, roll=20, yaw=0.3, noise=0.4, contrast=0.2),
        Quality(size_px=90, sharpness=14, brightness=0.8, roll=-3, yaw=-0.6, noise=0.4, contrast=0.2),
    ]
    warnings = [["small"], ["cut_off"]]
    track = TrackCalibration(doublings={"small": 0.7, "blurred": 0.4, "bright": 1.2, "rolled": 0.3, "cut_off": 0.5})
    given = films(answers_of([rows[index % 2] for index in range(FRAMES)], [warnings[i % 2] for i in range(FRAMES)]), DECLARED)
    expected = [weight(rows[index % 2], warnings[index % 2], track) for index in range(FRAMES)]
    assert given.weights(track)[0] == pytest.approx(expected)


def answers_of(qualities: list[Quality], warnings: list[list[str]]) -> Scored:
    """Answers to the frames of one film, as the service would give them."""
    distribution = np.exp(-0.5 * np.square((np.arange(101) - 40) / 5))
    face = {
        "age": {"years": 40.0, "low": 30, "high": 50, "distribution": list(distribution / distribution.sum())},
        "gender": {"probabilities": {"male": 0.3, "female": 0.7}, "uncertain": False},
        "race": {"probabilities": dict.fromkeys(RACES, 0.2), "uncertain": False},
    }
    label = open_label()
    faces = [
        face | {"quality": {one.name: getattr(quality, one.name) for one in fields(Quality)}, "warnings": given}
        for quality, given in zip(qualities, warnings, strict=True)
    ]
    return scored(["film"] * len(faces), [label] * len(faces), faces)


def distribution(one: Scored, row: int) -> Any:
    """Of the age of one picture."""
    given = one.predictions.expectations["age"].distribution
    assert given is not None
    return given[row]


def open_label() -> Any:
    from training.datasets.base import Label as Truth

    return Truth({"age": 40, "gender": "female", "race": "asian"})


def test_the_answers_of_a_film_are_taken_apart() -> None:
    easy = Quality(size_px=90, sharpness=14, brightness=0.5, roll=0, yaw=0, noise=0.4, contrast=0.2)
    given = films(answers_of([easy] * FRAMES, [[]] * FRAMES), DECLARED)
    assert len(given) == 1
    age, gender, race = given.expectations["age"], given.labels["gender"], given.labels["race"]
    assert (age.label[0], gender.label[0], race.label[0]) == (40, 1, 2)
    assert age.value.tolist() == [[40.0] * FRAMES]
    assert age.spread[0] == pytest.approx(5, rel=1e-3)
    assert np.exp(gender.logarithms[0, 0]) == pytest.approx([0.3, 0.7])


def test_a_film_in_which_a_frame_has_no_face_is_left_out() -> None:
    easy = Quality(size_px=90, sharpness=14, brightness=0.5, roll=0, yaw=0, noise=0.4, contrast=0.2)
    whole = answers_of([easy] * FRAMES, [[]] * FRAMES)
    found = whole.predictions.found.copy()
    found[4] = False
    broken = replace(whole, predictions=replace(whole.predictions, found=found))
    with pytest.raises(CalibrationError, match="no film"):
        films(broken, DECLARED)


def test_films_whose_labels_lack_an_attribute_are_left_out() -> None:
    easy = Quality(size_px=90, sharpness=14, brightness=0.5, roll=0, yaw=0, noise=0.4, contrast=0.2)
    answers = answers_of([easy] * FRAMES, [[]] * FRAMES)
    race = answers.predictions.labels["race"]
    labels = {**answers.predictions.labels, "race": replace(race, label=np.full(FRAMES, -1))}
    unknown = replace(answers, predictions=replace(answers.predictions, labels=labels))
    with pytest.raises(CalibrationError, match="labels of age, gender, race"):
        films(unknown, DECLARED)
    assert list(films(unknown, DECLARED[:2]).labels) == ["gender"]


# What is fitted ---------------------------------------------------------------------------------------------------------


def test_the_doublings_are_recovered() -> None:
    found = doublings(made_films(3000))
    assert found == pytest.approx(DOUBLINGS, rel=0.2)


def test_an_impairment_that_changes_nothing_doubles_nothing() -> None:
    given = made_films(2000)
    idle = np.random.default_rng(5).exponential(1, given.impairments.shape[:2])[..., np.newaxis]
    doubled = replace(given, impairments=np.concatenate([given.impairments, idle], axis=-1), names=(*given.names, "idle"))
    assert doublings(doubled)["idle"] < 0.05


@pytest.mark.parametrize("true", [0.7, 1.0, 1.6])
def test_a_gain_is_recovered(true: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 5))
    labels = np.argmax(true * logits + random.gumbel(size=logits.shape), axis=1)
    assert gain(logits, labels, np.full(len(logits), 1e6)) == pytest.approx(true, rel=0.05)


def test_tracks_of_every_length_hold_of_unseen_films_what_photos_hold() -> None:
    fitted = fit(made_films(1500))
    assert 0.2 < fitted.correlation < 0.8
    rows = measured(made_films(3000, seed=1))
    for row in rows:
        assert row["held"]["value"] == pytest.approx(0.8 + MARGIN, abs=0.025), row["frames"]
    widths = [row["width"]["value"] for row in rows]
    assert widths == sorted(widths, reverse=True)


def test_the_weighted_mean_of_many_frames_errs_less() -> None:
    given = made_films(800)
    rows = measured(given)
    first, last = rows[0], rows[-1]
    assert [row["frames"] for row in rows] == list(LENGTHS)
    assert last["age_error"]["value"] < 0.85 * first["age_error"]["value"]
    assert last["age_error"]["value"] < last["age_error_unweighted"]["value"]
    assert last["race_right"]["value"] > first["race_right"]["value"]
    low, high = last["age_error"]["interval"]
    assert low < last["age_error"]["value"] < high
    assert 0 < value_of(CORRELATION, given) < SHARED
    errors = given.expectations["age"].value - given.expectations["age"].label[:, np.newaxis]
    pairs = np.corrcoef(errors.T)[np.triu_indices(FRAMES, 1)]
    assert value_of(CORRELATION, given) == pytest.approx(pairs.mean(), rel=1e-12)


def test_figures_of_tracks_are_those_of_photos_over_their_means() -> None:
    """A track of one frame errs as its frame does, and saves nothing."""
    given, declared = made_films(80), specs(DECLARED)
    fitted = fit(given)
    one, three = tracks(given, 1, fitted, declared), tracks(given, 3, fitted, declared)
    figures = {metric.key: metric for metric in metrics(declared)}
    age, gender = given.expectations["age"], given.labels["gender"]
    errors = np.abs(age.value - age.label[:, np.newaxis])
    assert value_of(figures["age_error"], one) == pytest.approx(errors[:, 0].mean())
    assert value_of(figures["age_error_saved"], one) == 0
    saved = errors[:, :3].mean() - value_of(figures["age_error"], three)
    assert value_of(figures["age_error_saved"], three) == pytest.approx(saved)
    plain = np.abs(age.value[:, :3].mean(axis=1) - age.label).mean()
    assert value_of(figures["age_error_unweighted"], three) == pytest.approx(plain)
    right = gender.logarithms[:, 0].argmax(axis=1) == gender.label
    assert value_of(figures["gender_right"], one) == right.mean()
    assert [metric.key for metric in figures.values() if not metric.bootstrapped] == ["gender_ece", "race_ece"]


def test_another_model_is_fitted_and_measured_by_what_it_declares() -> None:
    given = made_films(400, declared=CLUB)
    fitted = fit(given)
    assert set(fitted.gains) == {"glasses", "race"}
    assert 0.2 < fitted.correlation < 0.8
    rows = measured(given, CLUB)
    first, last = rows[0], rows[-1]
    assert last["member_years_held"]["value"] == pytest.approx(0.8 + MARGIN, abs=0.06)
    assert last["member_years_error"]["value"] < last["member_years_error_unweighted"]["value"]
    for name in ("glasses", "race"):
        assert last[f"{name}_right"]["value"] > first[f"{name}_right"]["value"]
        assert 0 <= last[f"{name}_ece"] < 0.1
    assert not [key for key in last if "gender" in key or key.startswith("age")]


def test_a_model_of_labels_alone_gets_gains_and_the_defaults() -> None:
    given = made_films(60, declared=CLUB[1:])
    fitted, default = fit(given), TrackCalibration()
    assert set(fitted.gains) == {"glasses", "race"}
    assert (fitted.correlation, fitted.scale) == (default.correlation, default.scale)
    assert fitted.doublings == {"small": default.doublings["small"], "turned": default.doublings["turned"]}
    assert np.isnan(value_of(CORRELATION, given))
    assert set(measured(given, CLUB[1:])[0]) == {"frames", "glasses_right", "glasses_ece", "race_right", "race_ece"}


def test_one_film_alone_cannot_be_measured() -> None:
    with pytest.raises(CalibrationError, match="one alone"):
        measured(made_films(1), DECLARED)
    assert len(measured(made_films(2), DECLARED)) == len(LENGTHS)


# The study --------------------------------------------------------------------------------------------------------------


def test_the_study_writes_what_it_fitted_and_measured(pictures: Path, tmp_path: Path) -> None:
    called: list[tuple[str, Split]] = []

    def predict(data: DataSet, split: Split, *, change: Any = None) -> Scored:
        frames = list(data.labelled(split))
        called.extend((name, split) for name, _, _ in frames)
        random = np.random.default_rng(0)
        answers = [
            answers_of([Quality(80 - i, 10, 0.5, 0, 0.01 * i, 0.4, 0.2) for i in range(FRAMES)], [[]] * FRAMES)
            for _ in range(40)
        ]
        faces = [
            {
                "age": {"years": 40 + random.normal(0, 5), "low": 30, "high": 50, "distribution": list(distribution(one, row))},
                "gender": {"probabilities": {"male": 0.3, "female": 0.7}},
                "race": {"probabilities": dict.fromkeys(RACES, 0.2)},
                "quality": {name: float(values[row]) for name, values in one.qualities.items()},
                "warnings": [],
            }
            for one in answers
            for row in range(FRAMES)
        ]
        names = [f"{index // FRAMES}" for index in range(len(faces))]
        served = Served(model=MeasuredModel(name="tiny", version=1), precision="f32", runtime="openvino")
        return scored(names, [open_label()] * len(faces), faces, served=served)

    document = study(predict, open_data_set(pictures), DECLARED, tmp_path / "out", 2)
    assert {split for _, split in called} == {Split.VALIDATION}
    assert TrackStudy.model_validate_json((tmp_path / "out" / TRACKS).read_text()) == document
    assert document.calibration.correlation <= 1
    assert (document.pictures, document.films, document.frames, document.model.name) == (40, 40, FRAMES, "tiny")


def test_a_model_without_an_interval_cannot_be_studied(pictures: Path, tmp_path: Path) -> None:
    def predict(data: DataSet, split: Split, *, change: Any = None) -> Scored:
        raise AssertionError("nothing is predicted")

    with pytest.raises(CalibrationError, match="no age interval"):
        study(predict, open_data_set(pictures), WITHOUT_INTERVAL, tmp_path)


def test_a_folder_that_cannot_be_written_is_said_before_films_are_made(pictures: Path, tmp_path: Path) -> None:
    def predict(data: DataSet, split: Split, *, change: Any = None) -> Scored:
        raise AssertionError("nothing is predicted")

    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        study(predict, open_data_set(pictures), DECLARED, tmp_path / "file")


def study_of(given: Films, fitted: TrackCalibration) -> TrackStudy:
    """A study of the first version of the tiny network."""
    return TrackStudy(
        model=MeasuredModel(name="tiny", version=1),
        precision="f32",
        runtime="openvino",
        data="UTKFace",
        pictures=len(given),
        films=len(given),
        frames=FRAMES,
        correlation_of_errors=value_of(CORRELATION, given),
        tracks=measure(given, specs(DECLARED)),
        calibration=fitted,
    )


def test_a_calibration_is_a_new_version_and_the_old_one_stays(tiny_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(tiny_store, store)
    before = {path: path.read_bytes() for path in (store / "tiny/1").rglob("*") if path.is_file()}
    fitted = TrackCalibration(correlation=0.3, scale=1.2, gains={"gender": 1.1, "race": 1.05}, doublings={"small": 0.4})
    made = record_track(store, study_of(made_films(60), fitted))
    assert made == store / "tiny/2"
    assert {path: path.read_bytes() for path in before} == before
    load = loader(Runtime.AUTO, Precision.F32, 1)
    old, new = (ModelStore(store).load("tiny", version, load) for version in (1, 2))
    assert new.manifest == old.manifest.model_copy(update={"version": 2, "track": fitted})


def test_what_was_measured_goes_along_to_the_new_version(store: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(store, tmp_path / "store"))
    figures = {"count": 4, "age_mae": 5.0}
    part = {"headline": figures, "found_only": figures, "groups": {}, "mean_age_of_train": 30.0}
    part |= {"intervals": {"headline": {}, "found_only": {}, "groups": {}}}
    photos = {"data": "UTKFace", "split": "test", "precision": "f32", **part}
    variants = {"variants": {"int8": {"split": "validation", "sets": {}}}}  # no variant is copied
    (own / "tiny/1/evaluation.json").write_text(json.dumps(photos | variants))
    document = study_of(made_films(60), TrackCalibration())
    row = document.tracks[2].model_dump()
    assert row["age_error"]["value"] == pytest.approx(4.339014, abs=1e-6), "the same films have the same figures"
    assert row["age_error"]["interval"] == pytest.approx((3.51824, 5.20338), abs=1e-5)
    assert row["age_error_saved"]["interval"] == pytest.approx((1.42051, 2.75944), abs=1e-5)
    assert row["width"] == {"value": pytest.approx(15.8666667), "interval": pytest.approx((15.58333, 16.16667), abs=1e-5)}
    assert row["gender_ece"] == pytest.approx(0.0542199, abs=1e-6)
    folder = record_track(own, document)
    recorded = json.loads((folder / "evaluation.json").read_text())
    assert recorded == photos | {"tracks": document.evaluation.model_dump(mode="json")}
    assert set(recorded["tracks"]) == set(TrackEvaluation.model_fields)
    assert json.loads((own / "tiny/1/evaluation.json").read_text()) == photos | variants
    assert (folder / "README.md").read_text().startswith("# tiny, version 2")
