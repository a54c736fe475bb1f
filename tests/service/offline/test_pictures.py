"""Where the picture of a photo goes: its tree is kept, nothing is lost by equal names, and no original is overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.inference.pipeline import Analysis
from service.offline.errors import OutputError
from service.offline.pictures import Pictures
from tests.conftest import encoded

PHOTO = encoded(np.zeros((32, 32, 3), np.uint8), "JPEG")
TREE = ("a/x.jpg", "b/x.jpg", "b/c/x.jpg", "b/c/x.png")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `photos` of the current one."""
    for name in TREE:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(PHOTO)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def drawn(draw: Path, sources: list[str], photos: list[str]) -> list[str]:
    """Pictures below `draw` once these photos were drawn."""
    pictures = Pictures(draw, sources)
    for photo in photos:
        pictures.write(photo, PHOTO, Analysis(32, 32, []))
    found = sorted(path.relative_to(draw).as_posix() for path in draw.rglob("*") if path.is_file())
    for name in found:
        Image.open(draw / name).verify()
    return found


KEPT = sorted(f"{name}.faces.jpg" for name in TREE)


@pytest.mark.parametrize("source", ["photos", "photos/**/*", "photos/../photos"])
def test_the_tree_of_a_folder_or_a_glob_is_kept(tree: Path, source: str) -> None:
    assert drawn(Path("out"), [source], [f"photos/{name}" for name in TREE]) == KEPT


def test_absolute_globs_and_several_roots(tree: Path) -> None:
    found = drawn(Path("out"), [f"{tree}/a/*.jpg", f"{tree}/b/*.jpg"], [f"{tree}/a/x.jpg", f"{tree}/b/x.jpg"])
    assert found == ["a/x.jpg.faces.jpg", "b/x.jpg.faces.jpg"]


def test_photos_of_a_list_keep_their_whole_path(tree: Path) -> None:
    found = drawn(Path("out"), [], [f"{tree}/a/x.jpg", f"{tree}/b/x.jpg", "s3://bucket/../a/x.jpg"])
    whole = tree.as_posix().lstrip("/")
    assert found == sorted([f"{whole}/a/x.jpg.faces.jpg", f"{whole}/b/x.jpg.faces.jpg", "bucket/a/x.jpg.faces.jpg"])


def test_one_photo_of_standard_input_or_an_address_has_the_picture_that_is_named(tmp_path: Path) -> None:
    for name, out in (("-", "a.jpg"), ("https://example.com/x.jpg", "b.png")):
        Pictures(tmp_path / out, [name]).write(name, PHOTO, Analysis(32, 32, []))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.jpg", "b.png"]


@pytest.mark.parametrize("source", ["photos/a/x.jpg", "https://example.com/x.jpg", "-"])
def test_a_photo_beside_a_list_is_no_single_one(tree: Path, source: str) -> None:
    pictures = Pictures(Path("out.jpg"), [source], listed=True)
    for name in (source, "photos/b/x.jpg"):
        pictures.write(name, PHOTO, Analysis(32, 32, []))
    assert len([path for path in Path("out.jpg").rglob("*") if path.is_file()]) == 2


@pytest.mark.parametrize("sources", [["photos"], ["photos/**/*.jpg"], ["photos/**"]])
def test_pictures_stay_out_of_what_is_looked_at(tree: Path, sources: list[str]) -> None:
    with pytest.raises(OutputError, match="inside of photos"):
        Pictures(tree / "out", sources)


def test_a_glob_may_have_its_pictures_beside_it(tree: Path) -> None:
    """As `*.jpg` with `--draw out` in the current folder; but not where they would match it."""
    assert drawn(tree / "a/out", ["photos/a/*.jpg"], ["photos/a/x.jpg"]) == ["x.jpg.faces.jpg"]
    (tree / "a/x.jpg.faces.jpg").write_bytes(PHOTO)
    pictures = Pictures(tree / "a", ["photos/a/*.jpg"])
    with pytest.raises(OSError, match="could overwrite"):
        pictures.write("photos/a/x.jpg", PHOTO, Analysis(32, 32, []))
    assert (tree / "a/x.jpg.faces.jpg").read_bytes() == PHOTO


def test_photos_of_a_list_lie_outside_of_the_pictures(tree: Path) -> None:
    """One of them could have the name of another one's picture."""
    (tree / "a/x.jpg.faces.jpg").write_bytes(PHOTO)
    pictures = Pictures(Path("photos"), [])
    for name in ("photos/a/x.jpg", "photos/a/x.jpg.faces.jpg"):
        with pytest.raises(OSError, match="choose another folder"):
            pictures.write(name, PHOTO, Analysis(32, 32, []))
    assert (tree / "a/x.jpg.faces.jpg").read_bytes() == PHOTO
    (picture,) = drawn(Path("out"), [], ["photos/a/x.jpg"])
    assert picture.endswith("photos/a/x.jpg.faces.jpg")


def test_a_picture_of_no_format_leaves_no_folder(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "new/of/it/picture.txt", ["photo.jpg"])
    with pytest.raises(OSError, match=r"must end in \.jpg"):
        pictures.write("photo.jpg", PHOTO, Analysis(32, 32, []))
    assert not list(tmp_path.iterdir())
