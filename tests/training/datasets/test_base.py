"""Names to labels and splits, and pictures out of folders and tar files."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from tests.training import made
from training.datasets.base import Label, Split, pictures, split_of
from training.datasets.prepared import load_prepared
from training.datasets.readers import open_data_set
from training.datasets.readers.utkface import parse as parse_utkface
from training.errors import TrainingError


def test_name_gives_age_gender_and_race() -> None:
    label = parse_utkface("26_1_3_20170104222049455.jpg.chip.jpg")
    assert label == Label({"age": 26, "gender": "female", "race": "indian"})
    assert parse_utkface("116_0_0_20170120134921760.jpg.chip.jpg") == Label({"age": 116, "gender": "male", "race": "white"})
    assert parse_utkface("24_0_1_20170116220224657 .jpg.chip.jpg") == Label(
        {"age": 24, "gender": "male", "race": "black"}
    )  # two names are odd and whole
    assert parse_utkface("55_0_0_20170116232725357jpg.chip.jpg") == Label({"age": 55, "gender": "male", "race": "white"})


@pytest.mark.parametrize(
    "name",
    [
        "39_1_20170116174525125.jpg.chip.jpg",  # the three of UTKFace that lack a field
        "61_1_20170109142408075.jpg.chip.jpg",
        "61_1_20170109150557335.jpg.chip.jpg",
        "26_2_3_20170104222049455.jpg.chip.jpg",  # no such gender
        "26_1_5_20170104222049455.jpg.chip.jpg",  # no such race
        "_1_3_20170104222049455.jpg.chip.jpg",
        "._26_1_3_20170104222049455.jpg.chip.jpg",  # what a Mac leaves in archives
        "26_1_3_20170104222049455.jpg",
        "26_1_3_20170104222049455.jpg.chip.jpg.txt",
    ],
)
def test_name_that_lacks_something_has_no_label(name: str) -> None:
    assert parse_utkface(name) is None


# d is the SHA-256 of the name as a number; its remainder by 5 is that of the sum of its hexadecimal digits.
@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("100_0_0_20170112213500903.jpg.chip.jpg", Split.TEST),  # d % 5 = 0
        ("21_1_4_20161223214826633.jpg.chip.jpg", Split.TEST),  # d % 5 = 0
        ("9_1_3_20161220221654460.jpg.chip.jpg", Split.VALIDATION),  # d % 5 = 4, d // 5 % 10 = 0
        ("30_1_2_20170103000000000.jpg.chip.jpg", Split.VALIDATION),  # 4, 0
        ("1_0_0_20161219140623097.jpg.chip.jpg", Split.TRAIN),  # 4, 5
        ("26_0_1_20170116184024662.jpg.chip.jpg", Split.TRAIN),  # 2, 6
        ("34_1_2_20170103200105549.jpg.chip.jpg", Split.TRAIN),  # 1, 8
    ],
)
def test_split_is_fixed_by_the_name(name: str, split: Split) -> None:
    assert split_of(name) is split


def test_splits_have_their_shares() -> None:
    splits = [split_of(f"{i}_0_0_2017.jpg.chip.jpg") for i in range(5000)]
    assert splits.count(Split.TEST) / 5000 == pytest.approx(0.2, abs=0.02)
    assert splits.count(Split.VALIDATION) / 5000 == pytest.approx(0.08, abs=0.02)


def test_folder_and_tar_give_the_same(tmp_path: Path) -> None:
    files = [(name, name.encode()) for name in made.names(Split.TRAIN, 3)]
    folder = made.folder_of(tmp_path / "UTKFace", [*files, ("README.txt", b"")])
    packed = made.tar_of(tmp_path / "UTKFace.tar", folder)
    assert list(pictures(folder)) == files
    assert sorted(pictures(packed)) == files


def test_a_picture_that_comes_twice_is_given_once(tmp_path: Path) -> None:
    (name,) = made.names(Split.TRAIN, 1)
    made.folder_of(tmp_path / "set/a", [(name, b"first")])
    made.folder_of(tmp_path / "set/b", [(name, b"second")])
    assert list(pictures(tmp_path / "set")) == [(name, b"first")]
    assert len(list(pictures(made.tar_of(tmp_path / "set.tar", tmp_path / "set")))) == 1


def test_a_name_that_is_no_utf8_can_be_hashed_and_written(tmp_path: Path) -> None:
    folder = made.folder_of(tmp_path / "set", [(made.names(Split.TRAIN, 1)[0], b"")])
    try:
        (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"a")
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    packed = made.tar_of(tmp_path / "set.tar", folder)
    for source in (folder, packed):
        (name,) = (name for name, data in pictures(source) if data == b"a")
        assert name == "caf\\xe9.jpg"
        assert split_of(name) in Split
        assert name.encode()


def test_what_is_no_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(pictures(tmp_path / "nowhere"))
    (tmp_path / "photo.jpg").write_bytes(b"no tar")
    with pytest.raises(TrainingError, match=r"photo\.jpg is neither a folder nor a tar file$"):
        list(pictures(tmp_path / "photo.jpg"))
    with ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("photo.jpg", b"")
    with pytest.raises(TrainingError, match=r"set\.zip is neither a folder nor a tar file; unpack it"):
        list(pictures(tmp_path / "set.zip"))


def test_prepared_splits_are_read_back(tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", train=5, validation=3)
    crops = np.load(folder / "crops.npy")
    train, validation = load_prepared(folder, Split.TRAIN), load_prepared(folder, Split.VALIDATION)
    assert (len(train), len(validation), len(load_prepared(folder, Split.TEST))) == (5, 3, 0)
    np.testing.assert_array_equal(validation.crops, crops[5:])
    assert validation.names.tolist() == ["5.jpg", "6.jpg", "7.jpg"]
    assert validation.labels["race"].tolist() == [0, 1, 2]
    assert train.labels["age"].dtype == np.float32
    with pytest.raises(FileNotFoundError):
        load_prepared(tmp_path, Split.TRAIN)


LABELS = [("00001A22.jpg", 0, "train"), ("00003A45.jpg", 1, "train"), ("00004A05.jpg", 1, "val")]


def test_all_age_faces_is_known_by_its_lists_and_its_genders_turned(tmp_path: Path) -> None:
    folder = made.all_age_faces(tmp_path / "AAF", LABELS)
    (folder / "00009A33.jpg").write_bytes(b"in no list")
    for source in (folder, made.tar_of(tmp_path / "AAF.tar", folder)):
        data = open_data_set(source)
        assert (data.name, data.aligned) == ("All-Age-Faces", False)
        assert data.label_of("00001A22.jpg") == Label({"age": 22, "gender": "female"})
        assert data.label_of("00003A45.jpg") == Label({"age": 45, "gender": "male"})
        assert data.label_of("00009A33.jpg") is None
        assert data.split_of("00004A05.jpg") is Split.TEST
        assert [name for name, _, _ in data.labelled(Split.TEST)] == ["00004A05.jpg"]


def test_a_tenth_of_all_age_faces_train_list_is_validation(tmp_path: Path) -> None:
    folder = made.folder_of(tmp_path / "AAF", [("val.txt", b""), ("00001A30.jpg", b"")])
    (folder / "train.txt").write_text("".join(f"{i:05}A30.jpg {i % 2}\n" for i in range(3000)))
    data = open_data_set(folder)
    splits = [data.split_of(f"{i:05}A30.jpg") for i in range(3000)]
    assert splits.count(Split.VALIDATION) / 3000 == pytest.approx(0.1, abs=0.02)
    assert splits.count(Split.TEST) == 0


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    folder = made.all_age_faces(tmp_path / "AAF", LABELS)
    (folder / "train.txt").write_text("00001A22.jpg female")
    with pytest.raises(TrainingError, match=r"a line of train\.txt is not a name and a gender: '00001A22\.jpg female'"):
        open_data_set(folder)


def test_without_lists_it_is_utkface(request: pytest.FixtureRequest) -> None:
    source: Path = request.getfixturevalue("pictures")
    data = open_data_set(source)
    assert (data.name, data.aligned) == ("UTKFace", True)
    assert sum(1 for _ in data.labelled(Split.TRAIN)) == 2
    with pytest.raises(FileNotFoundError):
        open_data_set(source / "nowhere")


def test_sets_of_prepared_pictures_are_chosen(tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", train=5, validation=3)
    assert len(load_prepared(folder, Split.TRAIN, ["UTKFace"])) == 5
    twice = load_prepared(folder, Split.TRAIN, ["UTKFace", "UTKFace"])
    assert twice.names.tolist() == 2 * [f"{i}.jpg" for i in range(5)]
    np.testing.assert_array_equal(twice.crops[5:], twice.crops[:5])
    with pytest.raises(TrainingError, match="no train picture of All-Age-Faces"):
        load_prepared(folder, Split.TRAIN, ["UTKFace", "All-Age-Faces"])
