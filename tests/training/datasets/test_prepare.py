"""Pictures to crops: the template of train, the service's own crops, and what is left out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.inference.pipeline import Options
from service.settings import Settings
from service.vision.align import align
from service.vision.detection import Face
from tests.conftest import encoded
from tests.fakes import TEMPLATE, SquareDetector, engine_factory
from tests.training import made
from training.artifacts import one_writer
from training.datasets.base import Split
from training.datasets.prepare import measure_template, nearest_to_centre, prepare, read_template
from training.datasets.prepared import Selection, load_prepared
from training.errors import TrainingError

PLACES = ((20, 30), (28, 30), (24, 36))
"""Upper left corners of the squares of train, 40 pixels wide, in pictures of 96."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train, validation = made.names(Split.TRAIN, 8), made.names(Split.VALIDATION, 2)
    files = [(name, encoded(made.square_picture(x, y))) for name, (x, y) in zip(train, PLACES, strict=False)]
    two = made.square_picture(4, 4, (250, 60, 60), width=20)
    two[35:65, 30:60] = 60, 60, 250  # nearer to the centre, at 45, 50
    files += [(validation[0], encoded(two)), (validation[1], encoded(made.square_picture(50, 50)))]
    whole = encoded(made.square_picture(20, 30), "JPEG")
    files += [
        ("39_1_20170116174525125.jpg.chip.jpg", whole),
        (train[3], encoded(made.square_picture(0, 0, (0, 0, 0)))),
        (train[4], whole[: len(whole) // 2]),
        (train[5], b"<svg></svg>"),
        (made.names(Split.TEST, 1)[0], encoded(made.square_picture(0, 0, (0, 0, 0)))),
    ]
    return made.folder_of(tmp_path_factory.mktemp("prepare") / "UTKFace", files)


@pytest.fixture(scope="module")
def out(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    report = prepare([source], folder, SquareDetector(), size=48, side=1280, workers=2).model_dump(mode="json")
    assert report == json.loads((folder / "prepare.json").read_text())
    return folder


def test_template_is_the_mean_of_the_landmarks_of_train_alone(out: Path) -> None:
    template = json.loads((out / "prepare.json").read_text())["template"]
    expected = (np.array(TEMPLATE) * 40 + np.mean(PLACES, axis=0)) / 96
    np.testing.assert_allclose(template, expected, atol=1e-5)


def test_template_by_hand() -> None:
    landmarks = np.array(
        [[[10, 20], [30, 20], [20, 30], [12, 40], [28, 40]], [[20, 20], [40, 20], [30, 30], [22, 40], [38, 40]]]
    )
    template = measure_template(landmarks.astype(np.float32), extent=50)
    np.testing.assert_allclose(template, [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.34, 0.8], [0.66, 0.8]], atol=1e-6)


@pytest.mark.parametrize("given", [None, TEMPLATE], ids=["measured", "given"])
def test_a_margin_is_added_on_every_side(source: Path, tmp_path: Path, given: object) -> None:
    template = None if given is None else np.array(given, np.float32)

    def crops(folder: Path, size: int, margin: float) -> npt.NDArray[np.uint8]:
        detector = SquareDetector()
        prepare([source], folder, detector, size=size, side=1280, workers=1, template=template, margin=margin)
        return np.asarray(np.load(folder / "crops.npy"))

    wide, narrow = crops(tmp_path / "wide", 72, 0.25), crops(tmp_path / "narrow", 48, 0)
    assert np.abs(wide[:, 12:-12, 12:-12].astype(int) - narrow).max() <= 2


async def test_crops_are_those_that_the_service_cuts(source: Path, out: Path) -> None:
    described = json.loads((out / "prepare.json").read_text())
    engine = engine_factory(input={"size": described["size"], "template": described["template"]})(Settings())
    options = Options(attributes=("age",), max_faces=10, min_confidence=0.9)
    for split in (Split.TRAIN, Split.VALIDATION):
        prepared = load_prepared(out, split)
        assert len(prepared) > 0
        for name, crop in zip(prepared.names, prepared.crops, strict=True):
            deadline = asyncio.get_running_loop().time() + 60
            seen = await engine.pipeline.detect((source / str(name)).read_bytes(), options, deadline)
            assert any(np.array_equal(crop, own.crop) for own in seen.faces), name
    await engine.close()


def test_crop_is_cut_by_the_template_that_is_written(source: Path, out: Path) -> None:
    template = np.array(json.loads((out / "prepare.json").read_text())["template"], np.float32)
    prepared = load_prepared(out, Split.TRAIN)
    row = prepared.names.tolist().index(made.names(Split.TRAIN, 1)[0])
    landmarks = np.array(TEMPLATE, np.float32) * 40 + np.array(PLACES[0], np.float32)
    expected = align(made.square_picture(*PLACES[0]), landmarks.astype(np.float32), template, 48)
    np.testing.assert_array_equal(prepared.crops[row], expected)


def test_the_face_nearest_to_the_centre_is_taken(out: Path) -> None:
    prepared = load_prepared(out, Split.VALIDATION)
    row = prepared.names.tolist().index(made.names(Split.VALIDATION, 1)[0])
    red, _, blue = prepared.crops[row][24, 24]
    assert blue > 200 > red


def test_nearest_is_by_the_centre_of_the_box() -> None:
    def face(*box: float) -> Face:
        return Face(np.array(box, np.float32), np.zeros((5, 2), np.float32), 1.0)

    wide, near = face(0, 0, 60, 60), face(45, 45, 65, 65)
    assert nearest_to_centre([wide, near], 100, 100) is near
    assert nearest_to_centre([near, wide], 60, 60) is wide
    assert nearest_to_centre([], 100, 100) is None


def test_what_is_left_out_is_counted_by_split_and_reason(out: Path) -> None:
    report = json.loads((out / "prepare.json").read_text())
    assert report["pictures"] == {
        "UTKFace train": 7,
        "UTKFace validation": 2,
        "UTKFace test": 1,
    }
    assert report["faces"] == {"UTKFace train": 3, "UTKFace validation": 2}
    assert report["dropped"] == {
        "UTKFace train: label incomplete": 1,
        "UTKFace train: no face": 1,
        "UTKFace train: corrupt_image": 1,
        "UTKFace train: unsupported_format": 1,
        "UTKFace test: no face": 1,
    }
    assert len(report["dropped_names"]) == 5
    assert report["sources"] == ["UTKFace"]
    assert "non-commercial" in report["sets"]["UTKFace"]


def test_labels_are_those_of_the_names(out: Path) -> None:
    prepared = load_prepared(out, Split.TRAIN)
    assert prepared.labels["age"].tolist() == [30, 30, 30]
    assert prepared.labels["gender"].tolist() == [1, 1, 1]
    assert prepared.labels["race"].tolist() == [2, 2, 2]


def test_faces_that_the_service_would_not_answer_are_not_trained_on(source: Path, tmp_path: Path) -> None:
    class Unsure(SquareDetector):
        def detect(self, pixels: made.Pixels) -> list[Face]:
            return [Face(face.box, face.landmarks, 0.7) for face in super().detect(pixels)]

    with pytest.raises(TrainingError, match="no labelled face in the training split of an aligned set"):
        prepare([source], tmp_path / "out", Unsure(), size=48, side=1280, workers=1)


def test_pictures_of_several_sizes_are_refused(tmp_path: Path) -> None:
    files = zip(made.names(Split.TRAIN, 2), (96, 120), strict=True)
    folder = made.folder_of(tmp_path / "set", [(name, encoded(made.square_picture(20, 30, side=side))) for name, side in files])
    with pytest.raises(TrainingError, match="square pictures of one size"):
        prepare([folder], tmp_path / "out", SquareDetector(), size=48, side=1280, workers=1)


def test_limit_and_tar(source: Path, out: Path, tmp_path: Path) -> None:
    packed = made.tar_of(tmp_path / "UTKFace.tar", source)
    prepare([packed], tmp_path / "all", SquareDetector(), size=48, side=1280, workers=2)
    one, other = load_prepared(out, Split.TRAIN), load_prepared(tmp_path / "all", Split.TRAIN)
    assert dict(zip(one.names, one.crops.tolist(), strict=True)) == dict(zip(other.names, other.crops.tolist(), strict=True))
    few = prepare([source], tmp_path / "few", SquareDetector(), size=48, side=1280, workers=2, limit=2).model_dump(mode="json")
    assert sum(few["pictures"].values()) == 2  # type: ignore[attr-defined]


def test_a_set_that_is_not_aligned_is_cut_by_the_template_of_one_that_is(source: Path, out: Path, tmp_path: Path) -> None:
    labels = [("00001A22.jpg", 0, "train"), ("00003A45.jpg", 1, "val")]
    other = made.all_age_faces(tmp_path / "AAF", labels)
    for (name, _, _), side in zip(labels, (70, 130), strict=True):
        (other / name).write_bytes(encoded(made.square_picture(20, 20, side=side)))
    report = prepare([source, other], tmp_path / "out", SquareDetector(), size=48, side=1280, workers=2).model_dump(mode="json")
    assert report["template"] == json.loads((out / "prepare.json").read_text())["template"]
    assert list(report["sets"]) == ["UTKFace", "All-Age-Faces"]  # type: ignore[call-overload]
    train = load_prepared(tmp_path / "out", Split.TRAIN, ["All-Age-Faces"])
    assert (train.names.tolist(), train.labels["age"].tolist()) == (["00001A22.jpg"], [22])
    assert (train.labels["gender"].tolist(), train.labels["race"].tolist()) == ([1], [-1])
    assert train.crops[0][24, 24].tolist() == pytest.approx([200, 90, 30], abs=3)
    assert len(load_prepared(tmp_path / "out", Split.TRAIN)) == 4
    with pytest.raises(TrainingError, match="no labelled face in the training split of an aligned set"):
        prepare([other], tmp_path / "alone", SquareDetector(), size=48, side=1280, workers=1)


def own(folder: Path) -> Path:
    """Two sharp squares and one whose edge is smeared, with a range and a missing label among their labels."""
    sharp, soft = made.square_picture(20, 30), made.square_picture(20, 30)
    soft[30:70, 40:60] = 120, 60, 20
    files = [("a.png", encoded(sharp)), ("b.png", encoded(soft)), ("c.png", encoded(sharp))]
    made.folder_of(folder, files)
    (folder / "labels.csv").write_text("file,age,gender,split\na.png,25-32,male,train\nb.png,40,,train\nc.png,,male,train\n")
    return folder


def test_a_template_stands_in_for_an_aligned_set(out: Path, tmp_path: Path) -> None:
    template = read_template(out / "prepare.json")
    folder = own(tmp_path / "club")
    report = prepare([folder], tmp_path / "out", SquareDetector(), size=48, side=1280, workers=1, template=template).model_dump(
        mode="json"
    )
    assert np.array(report["template"]) == pytest.approx(template)
    assert report["faces"] == {"club train": 3}
    landmarks = np.array(TEMPLATE, np.float32) * 40 + np.array((20, 30), np.float32)
    data = load_prepared(tmp_path / "out", Split.TRAIN)
    expected = align(made.square_picture(20, 30), landmarks.astype(np.float32), template, 48)
    np.testing.assert_array_equal(data.crops[0], expected)
    assert (data.labels["age"].tolist(), data.labels["gender"].tolist(), data.labels["race"].tolist()) == (
        [28, 40, -1],
        [0, -1, 0],
        [-1] * 3,
    )
    assert data.ages is not None
    assert data.ages.tolist() == [[25, 32], [40, 40], [-1, -1]]
    with np.load(tmp_path / "out/faces.npz") as table:
        sharpness = table["sharpness"]
    assert sharpness[0] == sharpness[2] > 0
    assert sharpness[1] != sharpness[0]
    kept = load_prepared(tmp_path / "out", Split.TRAIN, selection=Selection(sharpness=float(max(sharpness))))
    assert len(kept) == int((sharpness == max(sharpness)).sum()) < 3
    empty = made.folder_of(tmp_path / "empty", [])
    with pytest.raises(TrainingError, match=r"no labelled picture in .*: there is no file in it"):
        prepare([empty], tmp_path / "none", SquareDetector(), size=48, side=1280, workers=1, template=template)


def test_a_template_is_read_from_a_model_or_from_prepared_faces(root: Path, out: Path, tmp_path: Path) -> None:
    shipped = read_template(root / "model_store/mobilenet/5/model.json")
    assert shipped.shape == read_template(out / "prepare.json").shape == (5, 2)
    assert 0 < shipped.min() < shipped.max() < 1
    (tmp_path / "model.json").write_text('{"input": null}')
    with pytest.raises(TrainingError, match="has no landmark template"):
        read_template(tmp_path / "model.json")


def two_faces(folder: Path, ages: tuple[int, int]) -> Path:
    """A set of two pictures of train."""
    names = [made.names(Split.TRAIN, 1, age)[0] for age in ages]
    return made.folder_of(folder, [(name, encoded(made.square_picture(20, 30))) for name in names])


def test_what_was_predicted_of_former_crops_goes_with_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare([two_faces(tmp_path / "one/UTKFace", (20, 60))], out, SquareDetector(), size=48, side=1280, workers=1)
    np.savez(out / "teacher.npz", age=np.eye(101)[[20, 60]])
    for name in ("embeddings.npy", "hints.npy", "taught.npz"):
        (out / name).write_bytes(b"of these two faces")
    prepare([two_faces(tmp_path / "other/UTKFace", (40, 60))], out, SquareDetector(), size=48, side=1280, workers=1)
    assert sorted(path.name for path in out.iterdir()) == ["crops.npy", "faces.npz", "prepare.json"]
    with pytest.raises(FileNotFoundError, match="teacher"):
        load_prepared(out, Split.TRAIN, teacher=True)


def test_new_crops_never_stand_beside_the_labels_of_former_ones(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare([two_faces(tmp_path / "one/UTKFace", (20, 60))], out, SquareDetector(), size=48, side=1280, workers=1)
    (out / ".new.faces.npz").mkdir()  # as if it ended between the two files
    with pytest.raises(IsADirectoryError):
        prepare([two_faces(tmp_path / "other/UTKFace", (40, 50))], out, SquareDetector(), size=48, side=1280, workers=1)
    with pytest.raises(FileNotFoundError, match="faces"):
        load_prepared(out, Split.TRAIN)


def test_two_commands_never_prepare_into_one_folder(tmp_path: Path) -> None:
    source, out = two_faces(tmp_path / "one/UTKFace", (20, 60)), tmp_path / "out"
    with one_writer(out), pytest.raises(BlockingIOError, match="another command"):
        prepare([source], out, SquareDetector(), size=48, side=1280, workers=1)
    assert list(out.iterdir()) == []


def own_set(folder: Path, name: str, shade: int) -> Path:
    """A folder of one's own with a picture of train, and its table."""
    own = made.folder_of(folder, [(name, encoded(made.square_picture(20, 30, (shade, 90, 30))))])
    (own / "labels.csv").write_text(f"file,age,split\n{name},{shade // 5},train\n")
    return own


def test_two_sets_of_one_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    template = np.array(TEMPLATE, np.float32)

    def prepared(*sources: Path) -> list[tuple[str, float, int]]:
        prepare(sources, tmp_path / "out", SquareDetector(), size=48, side=1280, workers=1, template=template)
        given = load_prepared(tmp_path / "out", Split.TRAIN)
        return [
            (str(name), age, crop.max()) for name, age, crop in zip(given.names, given.labels["age"], given.crops, strict=True)
        ]

    one = own_set(tmp_path / "one/photos", "1.png", 200)
    other = own_set(tmp_path / "other/photos", "2.png", 150)
    assert prepared(one, other) == [("1.png", 40, 200), ("2.png", 30, 150)]
    # A crop of either would be missing: pictures are known by the names of their set and file.
    with pytest.raises(TrainingError, match=r"both called photos and hold '1\.png'"):
        prepared(one, own_set(tmp_path / "third/photos", "1.png", 150))


def test_a_split_without_pictures_says_what_there_is_instead(tmp_path: Path) -> None:
    """Of thirty pictures the hash may give validation none; to prepare them again changes nothing."""
    folder = made.prepared(tmp_path / "prepared", 6, 0)
    with pytest.raises(TrainingError, match=r"no validation picture of UTKFace, but 6 of train; the column split"):
        load_prepared(folder, Split.VALIDATION, ["UTKFace"])
    with pytest.raises(TrainingError, match="no train picture of club, but of UTKFace; prepare with that data set"):
        load_prepared(folder, Split.TRAIN, ["club"])
    with np.load(folder / "faces.npz") as table:
        columns = {**table, "box": np.tile(np.array([0, 0, 20, 20], np.float32), (6, 1))}
    np.savez(folder / "faces.npz", **columns)
    with pytest.raises(TrainingError, match=r"of UTKFace that is large and sharp enough, of 6; see data\.min_face_px"):
        load_prepared(folder, Split.TRAIN, ["UTKFace"], selection=Selection(face_px=32))
