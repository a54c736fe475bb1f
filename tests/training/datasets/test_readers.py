"""Data sets by their public layouts: tiny folders made after what the sets' authors publish, read from a folder and a tar file.

Of no set a picture is here. The layouts are those of the authors' archives and their readmes, as far as public code that reads
them agrees; each test names where.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.training import made
from training.datasets.base import RACES, DataSet, Label, Split, between, split_of
from training.datasets.readers import READERS, open_data_set
from training.datasets.readers.fairface import RACE_OF
from training.datasets.readers.imdb_wiki import age_at
from training.datasets.sources import listing
from training.errors import TrainingError

MALE, FEMALE = "male", "female"
WHITE, BLACK, ASIAN, INDIAN, OTHER = RACES


def written(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Files by their paths below a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def labels_of(data: DataSet) -> dict[str, Label]:
    """Labels of all pictures that have one."""
    return {name: label for name, _ in data.pictures() if (label := data.label_of(name)) is not None}


def assert_reads(source: Path, name: str, labels: dict[str, Label]) -> DataSet:
    """The folder, and a tar file of it, are the named set with these labels; returns the folder's."""
    packed = made.tar_of(source.with_suffix(".tar"), source)
    sets = [open_data_set(one) for one in (source, packed)]
    for data in sets:
        assert (data.name, data.aligned) == (name, False)
        assert labels_of(data) == labels
        assert sorted(data.names()) == sorted(one for one, _ in data.pictures())
    assert [sets[0].split_of(one) for one in labels] == [sets[1].split_of(one) for one in labels]
    assert sets[0].split_of("in no list.jpg") in Split  # `prepare` counts pictures without a label by split, too
    assert len(sets[0].licence) > 20
    assert_damage_is_named(source)
    return sets[0]


def assert_damage_is_named(source: Path) -> None:
    """A list with an empty line, or whose last line is cut behind its first word, is read or refused, by no other error."""
    for path in sorted([*source.rglob("*.txt"), *source.rglob("*.csv")]):
        whole = path.read_text()
        for damaged in (f"{whole}\n", re.sub(r"(?<=\w)[\t ,].*\n?\Z", "", whole)):
            path.write_text(damaged)
            with contextlib.suppress(TrainingError):
                open_data_set(source)
        path.write_text(whole)


def test_afad(tmp_path: Path) -> None:
    """AFAD's tarball (github.com/afad-dataset/tarball): AGE/111 for men, AGE/112 for women, and a list beside them."""
    source = written(
        tmp_path / "AFAD-Full",
        {
            "15/111/292943-1.jpg": b"a",
            "15/112/671487-0.jpg": b"b",
            "41/112/671487-0.jpg": b"c",
            "AFAD-Full.txt": "",
            "9.jpg": b"",
        },
    )
    labels = {
        "15/111/292943-1.jpg": Label({"age": 15, "gender": MALE}),
        "15/112/671487-0.jpg": Label({"age": 15, "gender": FEMALE}),
        "41/112/671487-0.jpg": Label({"age": 41, "gender": FEMALE}),  # the same base name in another folder is another picture
    }
    data = assert_reads(source, "AFAD", labels)
    assert dict(data.pictures())["41/112/671487-0.jpg"] == b"c"
    assert data.split_of("15/111/292943-1.jpg") is split_of("15/111/292943-1.jpg")


def test_megaage_asian(tmp_path: Path) -> None:
    """MegaAge-Asian's archive (mmlab.ie.cuhk.edu.hk/projects/MegaAge): train/, test/, and four lists that go line by line."""
    lists = {"train_name": "1.jpg\n2.jpg\n", "train_age": "33\n7\n", "test_name": "1.jpg\n", "test_age": "61\n"}
    files: dict[str, str | bytes] = {f"list/{name}.txt": text for name, text in lists.items()}
    source = written(
        tmp_path / "megaage_asian", files | {"train/1.jpg": b"a", "train/2.jpg": b"b", "test/1.jpg": b"c", "test/9.jpg": b"d"}
    )
    labels = {name: Label({"age": age}) for name, age in (("train/1.jpg", 33), ("train/2.jpg", 7), ("test/1.jpg", 61))}
    data = assert_reads(source, "MegaAge-Asian", labels)
    assert data.split_of("test/1.jpg") is Split.TEST
    splits = [data.split_of(f"train/{i}.jpg") for i in range(2000)]
    assert splits.count(Split.TEST) == 0
    assert splits.count(Split.VALIDATION) / 2000 == pytest.approx(0.1, abs=0.02)
    written(source, {"list/train_age.txt": "33\n"})
    with pytest.raises(TrainingError, match=r"train_name\.txt has 2 lines, and train_age\.txt 1"):
        open_data_set(source)


def matlab_day(year: int, month: int, day: int) -> int:
    """MATLAB's datenum; its documentation gives 736330 for the first of January 2016."""
    return date(year, month, day).toordinal() + 366


def imdb(folder: Path, part: str, rows: list[tuple[str, int, int, float, float, float]]) -> Path:
    """A crop folder of IMDB-WIKI, as scipy writes MATLAB's structure."""
    path, birth, year, gender, score, second = (np.array(column) for column in zip(*rows, strict=True))
    table = {
        "full_path": path.astype(object),
        "dob": birth,
        "photo_taken": year,
        "gender": gender,
        "face_score": score,
        "second_face_score": second,
    }
    written(folder, dict.fromkeys(path, b"x"))
    savemat(folder / f"{part}.mat", {part: table}, oned_as="row")
    return folder


def test_imdb_wiki(tmp_path: Path) -> None:
    """IMDB-WIKI (data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki): `dob` a MATLAB day number, `photo_taken` a year, taken for the
    middle of it, gender 0 for female and 1 for male, a score of minus infinity without a face, NaN without a second one."""
    assert matlab_day(2016, 1, 1) == 736330
    nan, born = float("nan"), matlab_day(1981, 5, 5)
    rows = [
        ("17/10000217_1981-05-05_2009.jpg", born, 2009, 1.0, 4.3, nan),
        ("48/10000548_1925-04-04_1964.jpg", matlab_day(1925, 8, 4), 1964, 0.0, 2.6, nan),
        ("01/unsaid_1981-05-05_2001.jpg", born, 2001, nan, 1.0, nan),
        ("02/no_face.jpg", born, 2009, 1.0, -float("inf"), nan),
        ("03/unsure.jpg", born, 2009, 1.0, 0.99, nan),
        ("04/two_faces.jpg", born, 2009, 1.0, 4.0, 1.5),
        ("05/not_born.jpg", born, 1979, 1.0, 4.0, nan),
        ("06/too_old.jpg", matlab_day(1850, 1, 1), 2009, 1.0, 4.0, nan),
        ("07/no_date.jpg", 47, 2009, 1.0, 4.0, nan),
    ]
    labels = {
        "17/10000217_1981-05-05_2009.jpg": Label({"age": 28, "gender": MALE}),
        "48/10000548_1925-04-04_1964.jpg": Label({"age": 38, "gender": FEMALE}),  # his birthday comes after the first of July
        "01/unsaid_1981-05-05_2001.jpg": Label({"age": 20}),
    }
    assert_reads(imdb(tmp_path / "wiki_crop", "wiki", rows), "WIKI", labels)
    both = imdb(tmp_path / "both", "wiki", rows)
    imdb(both, "imdb", rows[:1])  # one row alone, which scipy reads without its dimension
    assert open_data_set(both).name == "IMDB-WIKI"
    assert set(labels_of(open_data_set(imdb(tmp_path / "imdb_crop", "imdb", rows[:1])))) == {rows[0][0]}
    written(tmp_path / "bad", {"wiki.mat": b"no MATLAB"})
    with pytest.raises(TrainingError, match=r"wiki\.mat is not as its authors write it"):
        open_data_set(tmp_path / "bad")


@pytest.mark.parametrize(("born", "age"), [((1980, 7, 1), 20), ((1980, 7, 2), 19), ((1900, 1, 1), 100), ((1899, 1, 1), None)])
def test_ages_are_those_of_the_first_of_july(born: tuple[int, int, int], age: int | None) -> None:
    assert age_at(float(matlab_day(*born)), 2000) == age


def test_celeba(tmp_path: Path) -> None:
    """CelebA (mmlab.ie.cuhk.edu.hk/projects/CelebA): a count, forty names, rows of 1 and -1; 0, 1 and 2 are its splits."""
    attributes = "3\n5_o_Clock_Shadow Male Young\n000001.jpg -1 -1  1\n000002.jpg  1  1 -1\n000003.jpg -1  1  1\n"
    source = written(
        tmp_path / "CelebA",
        {
            "Anno/list_attr_celeba.txt": attributes,
            "Eval/list_eval_partition.txt": "000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n",
            **{f"Img/img_align_celeba/00000{i}.jpg": b"x" for i in (1, 2, 3, 4)},
        },
    )
    genders = {"000001.jpg": FEMALE, "000002.jpg": MALE, "000003.jpg": MALE}
    data = assert_reads(source, "CelebA", {name: Label({"gender": one}) for name, one in genders.items()})
    assert [data.split_of(name) for name in genders] == [Split.TRAIN, Split.VALIDATION, Split.TEST]
    (source / "Eval/list_eval_partition.txt").unlink()
    assert open_data_set(source).split_of("000001.jpg") is split_of("000001.jpg")
    written(source, {"Anno/list_attr_celeba.txt": attributes.replace("1  1 -1", "1")})
    with pytest.raises(TrainingError, match=r"a line of list_attr_celeba\.txt is not a name and its attributes: '000002\.jpg"):
        open_data_set(source)


def test_appa_real(tmp_path: Path) -> None:
    """APPA-REAL (chalearnlap.cvc.uab.es/dataset/26): gt_avg_SPLIT.csv, and beside every picture its face, cut with a margin."""
    head = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age\n"
    source = written(
        tmp_path / "appa-real-release",
        {
            "gt_avg_train.csv": head + "000000.jpg,36,5.0278,1.5582,4\n000001.jpg,38,24.6,2.7,18\n",
            "gt_avg_valid.csv": head + "004113.jpg,38,51.5,5.6,53\n",
            "gt_avg_test.csv": head + "005613.jpg,32,3.1,1.1,3\n",
            **{f"train/00000{i}.jpg{face}": b"x" for i in (0, 1) for face in ("", "_face.jpg", ".mat")},
            "valid/004113.jpg_face.jpg": b"x",
            "test/005613.jpg_face.jpg": b"x",
        },
    )
    ages = {"000000": (5, 4), "000001": (25, 18), "004113": (52, 53), "005613": (3, 3)}
    labels = {
        f"{name}.jpg_face.jpg": Label({"age": age}, real_age=real) for name, (age, real) in ages.items()
    }  # the whole pictures, with other people on them, are not among them
    data = assert_reads(source, "APPA-REAL", labels)
    splits = [Split.TRAIN, Split.TRAIN, Split.VALIDATION, Split.TEST]
    assert [data.split_of(name) for name in labels] == splits
    written(source, {"gt_avg_test.csv": head + "005613.jpg,32,,,3\n"})
    with pytest.raises(TrainingError, match=r"a line of gt_avg_test\.csv has no file and two ages"):
        open_data_set(source)


def test_appa_real_cut_to_faces(tmp_path: Path) -> None:
    """Faces cut from APPA-REAL's training pictures, NNNNNN_AGE.jpg, without its lists; the real age is all that is known."""
    ages = {"000000_4.jpg": 4, "000003_7.jpg": 7, "000016_0.jpg": 0, "003711_101.jpg": 101}
    others = ("00001_5.jpg", "000001_5_face.jpg", "000001_.jpg", "000001_1000.jpg", "notes.txt")
    source = written(tmp_path / "APPA", dict.fromkeys((*ages, *others), b"x"))
    labels = {name: Label({"age": age}, real_age=age) for name, age in ages.items()}
    data = assert_reads(source, "APPA-REAL", labels)
    splits = [data.split_of(name) for name in ages]
    assert splits == [Split.TRAIN, Split.VALIDATION, Split.TRAIN, Split.TRAIN]
    many = [data.split_of(f"{i:06}_{i % 90}.jpg") for i in range(2000)]
    assert set(many) == {Split.TRAIN, Split.VALIDATION}
    assert many.count(Split.VALIDATION) / 2000 == pytest.approx(0.1, abs=0.02)


def test_lfw(tmp_path: Path) -> None:
    """LFW (vis-www.cs.umass.edu/lfw): a folder a person; the lists of men and women that came with AFIF4."""
    source = written(
        tmp_path / "lfw",
        {
            "male_names.txt": "Aaron_Eckhart_0001.jpg\n\n",
            "female_names.txt": "Zhang_Ziyi_0001.jpg\nZhang_Ziyi_0002.jpg\n",
            "Aaron_Eckhart/Aaron_Eckhart_0001.jpg": b"x",
            "Zhang_Ziyi/Zhang_Ziyi_0001.jpg": b"x",
            "Zhang_Ziyi/Zhang_Ziyi_0002.jpg": b"x",
            "Nobody/Nobody_0001.jpg": b"x",
        },
    )
    genders = {"Aaron_Eckhart_0001.jpg": MALE, "Zhang_Ziyi_0001.jpg": FEMALE, "Zhang_Ziyi_0002.jpg": FEMALE}
    assert_reads(source, "LFW", {name: Label({"gender": one}) for name, one in genders.items()})
    written(source, {"male_names.txt": "Zhang_Ziyi_0001.jpg\n"})
    with pytest.raises(TrainingError, match="Zhang_Ziyi_0001 is in both lists"):
        open_data_set(source)


FOLD = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score\n"


def adience(folder: Path, kinds: tuple[str, ...]) -> Path:
    """Adience with some of its two kinds of pictures."""
    rows = {
        0: "30601258@N03\t9_o.jpg\t1\t(25, 32)\tf\t0\t414\t1086\t1383\t-115\t30\t17\n"
        "30601258@N03\t8_o.jpg\t2\t35\tm\t0\t0\t0\t0\t0\t0\t0\n"
        "30601258@N03\t7_o.jpg\t2\tNone\tm\t0\t0\t0\t0\t0\t0\t0\n",
        1: "9965762@N07\t6_o.jpg\t3\t(0, 2)\tu\t0\t0\t0\t0\t0\t0\t0\n9965762@N07\t5_o.jpg\t3\tNone\tu\t0\t0\t0\t0\t0\t0\t0\n",
        4: "115321157@N03\t4_o.jpg\t4\t(60, 100)\tm\t0\t0\t0\t0\t0\t0\t0\n",
    }
    folds: dict[str, str | bytes] = {f"fold_{number}_data.txt": FOLD + rows.get(number, "") for number in range(5)}
    places = (
        "30601258@N03 1 9",
        "30601258@N03 2 8",
        "30601258@N03 2 7",
        "9965762@N07 3 6",
        "9965762@N07 3 5",
        "115321157@N03 4 4",
    )
    for place in places:
        user, face, image = place.split()
        folds |= {f"{kind.split('_')[0]}/{user}/{kind}_face.{face}.{image}_o.jpg": b"x" for kind in kinds}
    return written(folder, folds)


def test_adience(tmp_path: Path) -> None:
    """Adience (talhassner.github.io/home/projects/Adience): five tables with tabs; `aligned` and `faces` show the same."""
    source = adience(tmp_path / "Adience", ("landmark_aligned", "coarse_tilt_aligned"))
    labels = {
        "30601258@N03/landmark_aligned_face.1.9_o.jpg": Label({"age": 28, "gender": FEMALE}, (25, 32)),
        "30601258@N03/landmark_aligned_face.2.8_o.jpg": Label({"age": 35, "gender": MALE}),
        "30601258@N03/landmark_aligned_face.2.7_o.jpg": Label({"gender": MALE}),
        "9965762@N07/landmark_aligned_face.3.6_o.jpg": Label({"age": 1}, (0, 2)),
        "115321157@N03/landmark_aligned_face.4.4_o.jpg": Label({"age": 80, "gender": MALE}, (60, 100)),
    }
    data = assert_reads(source, "Adience", labels)
    assert [data.split_of(name) is Split.TEST for name in labels] == [False] * 4 + [True]
    only = open_data_set(adience(tmp_path / "faces", ("coarse_tilt_aligned",)))
    assert {name.replace("coarse_tilt", "landmark") for name in labels_of(only)} == set(labels)
    written(source, {"fold_2_data.txt": FOLD + "a\tb\t1\told\tm" + "\t0" * 7 + "\n"})
    with pytest.raises(TrainingError, match=r"a line of fold_2_data\.txt is not as its authors write it"):
        open_data_set(source)


def test_fairface(tmp_path: Path) -> None:
    """FairFace (github.com/joojs/fairface): two tables; train/1.jpg and val/1.jpg are two pictures."""
    head = "file,age,gender,race,service_test\n"
    rows = [
        ("3-9", "Male", "East Asian", ASIAN, (3, 9), 6),
        ("more than 70", "Female", "Latino_Hispanic", OTHER, (70, 90), 80),
        ("0-2", "Female", "Southeast Asian", ASIAN, (0, 2), 1),
        ("20-29", "Male", "Middle Eastern", OTHER, (20, 29), 24),
        ("60-69", "Male", "White", WHITE, (60, 69), 64),
        ("10-19", "Female", "Black", BLACK, (10, 19), 14),
        ("50-59", "Female", "Indian", INDIAN, (50, 59), 54),
    ]
    table = "".join(f"train/{i}.jpg,{age},{gender},{race},True\n" for i, (age, gender, race, *_) in enumerate(rows, 1))
    source = written(
        tmp_path / "FairFace",
        {
            "fairface_label_train.csv": head + table,
            "fairface_label_val.csv": head + "val/1.jpg,30-39,Male,White,False\n",
            **{f"train/{i}.jpg": b"x" for i in range(1, 9)},
            "val/1.jpg": b"y",
        },
    )
    labels = {
        f"train/{i}.jpg": Label({"age": middle, "gender": MALE if gender == "Male" else FEMALE, "race": race}, ages)
        for i, (_, gender, _, race, ages, middle) in enumerate(rows, 1)
    }
    labels["val/1.jpg"] = Label({"age": 34, "gender": MALE, "race": WHITE}, (30, 39))
    data = assert_reads(source, "FairFace", labels)
    assert data.split_of("val/1.jpg") is Split.TEST
    assert Split.TEST not in {data.split_of(f"train/{i}.jpg") for i in range(500)}
    assert {race for _, _, race, *_ in rows} == set(RACE_OF)
    written(source, {"fairface_label_val.csv": head + "val/1.jpg,30-39,Male,Martian,False\n"})
    with pytest.raises(TrainingError, match=r"a line of fairface_label_val\.csv is not as its authors write it: 'Martian'"):
        open_data_set(source)


TABLE = """file,age,gender,race,split
a/one.jpg,34,female,asian,train
two.PNG,25-32,male,,test
three.jpeg,,,,
four.jpg,,female,,
"""
PICTURES: dict[str, str | bytes] = {"a/one.jpg": b"1", "two.PNG": b"2", "three.jpeg": b"3", "four.jpg": b"4", "five.jpg": b"5"}


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    source = written(tmp_path / "club", {"labels.csv": "\ufeff" + TABLE, **PICTURES})
    labels = {
        "a/one.jpg": Label({"age": 34, "gender": FEMALE, "race": ASIAN}),
        "two.PNG": Label({"age": 28, "gender": MALE}, (25, 32)),
        "four.jpg": Label({"gender": FEMALE}),
    }
    data = assert_reads(source, "club", labels)
    assert (data.split_of("a/one.jpg"), data.split_of("two.PNG")) == (Split.TRAIN, Split.TEST)
    assert data.split_of("four.jpg") is split_of("four.jpg")
    assert dict(data.pictures())["a/one.jpg"] == b"1"
    written(source, {"labels.csv": "file,age\nfour.jpg,7\n"})  # columns may be left out
    assert labels_of(open_data_set(source)) == {"four.jpg": Label({"age": 7})}


def test_the_table_above_all_others_is_ones_own(tmp_path: Path) -> None:
    files = {"labels.csv": "file,age\nb.jpg,7\n", "b.jpg": b"b", "a/labels.csv": "file,age\none.jpg,9\n", "a/one.jpg": b"1"}
    source = written(tmp_path / "club", files)
    archive = made.tar_of(tmp_path / "club.tar", source)  # where it lies below the folder's name
    assert labels_of(open_data_set(source)) == labels_of(open_data_set(archive)) == {"b.jpg": Label({"age": 7})}
    written(tmp_path / "two", {"x/labels.csv": "file,age\n1.jpg,7\n", "y/labels.csv": "file,age\n1.jpg,9\n", "x/1.jpg": b""})
    with pytest.raises(TrainingError, match=r"x/labels\.csv and y/labels\.csv are two tables"):
        open_data_set(tmp_path / "two")


def test_accents_of_a_file_may_be_written_otherwise_than_in_the_table(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "jos\N{LATIN SMALL LETTER E WITH ACUTE}.jpg") for form in ("NFC", "NFD"))
    for number, (of_file, of_table) in enumerate([(apart, composed), (composed, apart)]):
        source = written(tmp_path / f"club{number}", {of_file: b"a", "labels.csv": f"file,age\n{of_table},7\n"})
        data = open_data_set(source)
        assert {unicodedata.normalize("NFC", name) for name in labels_of(data)} == {composed}
        assert [data.label_of(name) for name, _ in data.pictures()] == [Label({"age": 7})]


def test_a_set_has_the_whole_name_of_its_folder(tmp_path: Path) -> None:
    sources = [
        written(tmp_path / name, {"labels.csv": "file,age\na.jpg,7\n", "a.jpg": b"a"}) for name in ("club.2024", "club.2025")
    ]
    sources += [made.tar_of(tmp_path / f"club.2026{ending}", sources[0]) for ending in (".tar", ".tar.gz", ".tgz")]
    names = [open_data_set(source).name for source in sources]
    assert names == ["club.2024", "club.2025", *["club.2026"] * 3]


def test_a_picture_beside_the_tables_folder_is_none_of_its_own(tmp_path: Path) -> None:
    files = {"one.jpg": b"beside", "set/labels.csv": "file,age\none.jpg,7\n", "set/one.jpg": b"labelled"}
    data = open_data_set(written(tmp_path / "club", files))
    assert {name: content for name, content in data.pictures() if data.label_of(name)} == {"one.jpg": b"labelled"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gone.jpg,34,,,", "there is no file 'gone.jpg'"),
        ("../one.jpg,34,,,", "there is no file '../one.jpg'"),
        ("a/one.jpg,34,,,", "'a/one.jpg' comes twice"),
        ("labels.csv,34,,,", "'labels.csv' does not end in .jpg"),
        ("five.jpg,old,,,", "'old' is neither an age, such as 34, nor a range, such as 25-32"),
        ("five.jpg,40-30,,,", "'40-30' is neither an age"),
        ("five.jpg,999,,,", "nobody is '999' years old; an empty cell stands for an unknown age"),
        ("five.jpg,30-200,,,", "nobody is '30-200' years old"),
        ("five.jpg,,,,,more", "there are more cells than columns"),
        ("five.jpg,3,,,later", "'later' is none of train, validation, test"),
    ],
)
def test_a_wrong_line_of_ones_own_table_is_named(line: str, message: str, tmp_path: Path) -> None:
    source = written(tmp_path / "club", {"labels.csv": TABLE + line + "\n", **PICTURES})
    with pytest.raises(TrainingError, match=r"line 6 of labels\.csv: ") as raised:
        open_data_set(source)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "file;age;gender\na/one.jpg;34;female\n",
        "file\tage\tgender\na/one.jpg\t34.0\tfemale\n",
        " file , age,gender \n\n a/one.jpg , 34 ,female\n , , \n",
        '\nfile, age, gender\n"a/one.jpg", "34", "female"\n',
    ],
    ids=["semicolons", "tabs and floats", "blanks", "quotes"],
)
def test_ones_own_table_as_spreadsheets_write_it(text: str, tmp_path: Path) -> None:
    source = written(tmp_path / "club", {"labels.csv": text, **PICTURES})
    assert_reads(source, "club", {"a/one.jpg": Label({"age": 34, "gender": FEMALE})})


@pytest.mark.parametrize(
    ("head", "column", "meant"),
    [
        ("File,age", "File", "file"),
        ("filename,age", "filename", "file"),
        ("image_id,age", "image_id", "file"),
        ("file,Age", "Age", "age"),
        ("file,agee", "agee", "age"),
        ("file;gendre", "gendre", "gender"),
        ("file,gener", "gener", "gender"),
        ("file,rase", "rase", "race"),
        ("file,age,Split", "Split", "split"),
    ],
)
def test_a_column_that_is_misspelt_is_named(head: str, column: str, meant: str, tmp_path: Path) -> None:
    source = written(tmp_path / "club", {"labels.csv": f"{head}\na/one.jpg,34\n", **PICTURES})
    with pytest.raises(TrainingError) as raised:
        open_data_set(source)
    assert str(raised.value).endswith(f"labels.csv: there is a column {column!r}; the one that is read is {meant!r}: rename it")


@pytest.mark.parametrize("column", ["smile", "glasses", "image", "face", "beard", "stage", "age group"])
def test_a_column_of_ones_own_is_not_taken_for_a_slip(column: str, tmp_path: Path) -> None:
    source = written(tmp_path / "club", {"labels.csv": f"file,{column}\na/one.jpg,yes\n", **PICTURES})
    assert labels_of(open_data_set(source)) == {"a/one.jpg": Label({column: "yes"})}


@pytest.mark.parametrize("head", ["file,age,gender,gender", "file, age,gender,age "])
def test_a_column_that_comes_twice_is_refused(head: str, tmp_path: Path) -> None:
    """The last of them was read, and the others passed over."""
    source = written(tmp_path / "club", {"labels.csv": f"{head}\na/one.jpg,34,male,female\n", **PICTURES})
    with pytest.raises(TrainingError, match=r"labels\.csv: there are two columns '(gender|age)': remove or rename one"):
        open_data_set(source)


@pytest.mark.parametrize("rest", ["", 'five.jpg,5,"a note"\n', f"five.jpg,5,{'x' * 140_000}\n"], ids=["end", "quote", "long"])
def test_a_quote_that_is_not_closed_is_named(rest: str, tmp_path: Path) -> None:
    """All lines behind it, or up to the next quote, were one cell, and their pictures had no label."""
    table = f'file,age,notes\na/one.jpg,34,"two\nlines"\ntwo.PNG,25,"nice\nfour.jpg,7,\n{rest}'
    source = written(tmp_path / "club", {"labels.csv": table, **PICTURES})
    with pytest.raises(TrainingError, match=r"labels\.csv: line 4: a cell begins with a quote that is not closed"):
        open_data_set(source)


def test_a_cell_in_quotes_may_have_lines(tmp_path: Path) -> None:
    table = 'file,age,notes\r\na/one.jpg,34,"two ""quoted""\r\nlines"\r\nfive.jpg,old,\r\n'
    source = written(tmp_path / "club", {"labels.csv": table, **PICTURES})
    with pytest.raises(TrainingError, match=r"line 4 of labels\.csv: 'old' is neither an age"):
        open_data_set(source)


@pytest.mark.parametrize("column", ["low", "high"])
def test_a_column_may_be_named_as_a_bound_of_a_range(column: str, tmp_path: Path) -> None:
    source = written(tmp_path / "club", {"labels.csv": f"file,age,{column}\na/one.jpg,25-32,yes\n", **PICTURES})
    assert labels_of(open_data_set(source)) == {"a/one.jpg": Label({"age": 28, column: "yes"}, (25, 32))}


@pytest.mark.parametrize("text", ["a/one.jpg,34\n", "file age\na/one.jpg 34\n", ""])
def test_a_table_without_a_column_of_files_says_so(text: str, tmp_path: Path) -> None:
    source = written(tmp_path / "club", {"labels.csv": text, **PICTURES})
    with pytest.raises(TrainingError, match=r"the first line names the columns, separated by commas, and has no 'file'"):
        open_data_set(source)


def test_the_nearest_file_is_named(tmp_path: Path) -> None:
    source = written(tmp_path / "club", {"labels.csv": "file,age\na/one.jpeg,34\n", **PICTURES})
    with pytest.raises(
        TrainingError, match=r"line 2 of labels\.csv: there is no file 'a/one\.jpeg'; the nearest is 'a/one\.jpg'"
    ):
        open_data_set(source)


def test_celeba_as_tables(tmp_path: Path) -> None:
    """The tables of Kaggle's copy (jessicali9530/celeba-dataset): a header, names with commas, 1 and -1; splits beside them."""
    source = written(
        tmp_path / "celeba",
        {
            "list_attr_celeba.csv": "image_id,5_o_Clock_Shadow,Male,Young\n000001.jpg,-1,-1,1\n000002.jpg,1,1,-1\n",
            "list_eval_partition.csv": "image_id,partition\n000001.jpg,0\n000002.jpg,2\n",
            **{f"img_align_celeba/img_align_celeba/00000{i}.jpg": b"x" for i in (1, 2, 3)},
        },
    )
    labels = {"000001.jpg": Label({"gender": FEMALE}), "000002.jpg": Label({"gender": MALE})}
    data = assert_reads(source, "CelebA", labels)
    assert [data.split_of(name) for name in labels] == [Split.TRAIN, Split.TEST]
    written(source, {"list_attr_celeba.csv": "image_id,Male\n000001.jpg,yes\n"})
    with pytest.raises(
        TrainingError, match=r"a line of list_attr_celeba\.csv is not a name and its attributes: '000001\.jpg,yes'"
    ):
        open_data_set(source)


WILD = "26_1_3_20170104222049455.jpg"


def test_utkface_in_the_wild(tmp_path: Path) -> None:
    """UTKFace's three archives of whole pictures (susanqq.github.io/UTKFace): the names of the aligned ones, less an ending."""
    source = written(tmp_path / "in_the_wild", {f"part1/{WILD}": b"x", "part1/61_1_20170109150557335.jpg": b"x"})
    data = assert_reads(source, "UTKFace", {WILD: Label({"age": 26, "gender": FEMALE, "race": INDIAN})})
    assert data.split_of(WILD) is split_of(f"{WILD}.chip.jpg")
    written(source, {f"{WILD}.chip.jpg": b"x"})  # beside the aligned ones it would come twice
    assert set(labels_of(open_data_set(source))) == {f"{WILD}.chip.jpg"}


def test_lists_of_ones_own_beside_utkface_are_not_taken_for_all_age_faces(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{WILD}.chip.jpg"
    source = written(tmp_path / "UTKFace", {name: b"x", "train.txt": f"{name} 26\n", "val.txt": "", "notes.csv": ""})
    with caplog.at_level("INFO", logger="training.datasets"):
        assert open_data_set(source).name == "UTKFace"
    (line,) = caplog.messages
    assert line.endswith(
        "taken for UTKFace, by the names of its pictures; 1 of 1 pictures have a label; not read: notes.csv, train.txt, val.txt"
    )


@pytest.mark.parametrize(
    ("files", "reasons"),
    [
        ({}, ["there is no file in it"]),
        (
            {"Labels.csv": "file,age\n", "one.jpg": "x"},
            [
                "it was taken for UTKFace, by nothing, as no other set is; none of its 1 pictures, such as 'one.jpg', is named",
                "a table of your own is read where it is named labels.csv",
                "there is Labels.csv",
            ],
        ),
        (
            {"one.png": "x", "two.png": "x", "notes": "x"},
            [
                "no file ends in .jpg (there are 2 of .png, 1 of no ending)",
                "labels of your own are read of a table labels.csv beside the pictures",
            ],
        ),
        (
            {f"{WILD}.chip.jpg": "x", "male_names.txt": "Somebody_0001.jpg", "female_names.txt": ""},
            [
                "it was taken for LFW, by male_names.txt and female_names.txt",
                "is in its lists; its pictures are named as UTKFace's: without male_names.txt and female_names.txt their names",
            ],
        ),
        (
            {"labels.csv": "file,age\none.jpg,\n", "one.jpg": "x"},
            [
                "it was taken for club, by labels.csv of 1 lines",
                "none of its 1 pictures, such as 'one.jpg', has a label in labels.csv",
            ],
        ),
        (
            {"labels.csv": "file,age\n", f"{WILD}.chip.jpg": "x"},
            ["its pictures are named as UTKFace's: without labels.csv of 0 lines their names would be read"],
        ),
    ],
    ids=["empty", "another table", "other endings", "another's lists", "no label", "a table without lines"],
)
def test_why_nothing_is_labelled_is_said(files: dict[str, str | bytes], reasons: list[str], tmp_path: Path) -> None:
    (tmp_path / "club").mkdir()
    source = written(tmp_path / "club", files)
    with pytest.raises(TrainingError, match=r"^no labelled picture in ") as raised:
        open_data_set(source)
    for reason in reasons:
        assert reason in str(raised.value)


def test_every_reader_refuses_the_files_of_all_others(tmp_path: Path) -> None:
    """An empty folder is UTKFace's alone, the last one's, as it always was."""
    (tmp_path / "empty").mkdir()
    found = [reader(listing(tmp_path / "empty")) for reader in READERS]
    assert [data is not None for data in found] == [False] * (len(READERS) - 1) + [True]


def test_a_range_of_ages_stands_at_its_middle() -> None:
    assert between(25, 32, gender=MALE, race=WHITE) == Label({"age": 28, "gender": MALE, "race": WHITE}, (25, 32))
    assert between(0, 2, gender=FEMALE).age == 1
