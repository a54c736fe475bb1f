"""Films as sources: which of their pictures are looked at, the rows of each, and what is no film."""

from __future__ import annotations

import io
import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from service.offline import sources
from service.offline.errors import OutputError
from service.offline.films import still_name, still_of
from service.offline.pictures import Pictures
from service.offline.sources import LeftOut
from tests.service.offline.made import photo, predict
from tests.service.offline.test_command import rows

RATE = 10


def film(path: Path, reds: list[int], *, start_s: int = 0) -> Path:
    """A film of a picture for each of some reds, ten a second; the face in it has the age of its red."""
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "1", "preset": "ultrafast"})
        pictures = [np.asarray(Image.open(io.BytesIO(photo(red))).convert("RGB")) for red in reds]
        video.height, video.width, video.pix_fmt = *pictures[0].shape[:2], "yuv444p"
        for index, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = start_s * RATE + index, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two and a half seconds, in which somebody grows old; the recorder's clock began at 7 s."""
    return film(tmp_path_factory.mktemp("film") / "shot.mkv", [40 + 8 * index for index in range(25)], start_s=7)


def names(*words: Path, **options: object) -> list[str]:
    return [one.name for one in sources.photos(sources.places([str(word) for word in words], **options))]


@pytest.mark.parametrize(
    ("every", "times"),
    [(None, [0, 1, 2]), (1.5, [0, 1.5]), (0.5, [0, 0.5, 1, 1.5, 2]), (0, [index / RATE for index in range(25)]), (60, [0])],
)
def test_a_film_gives_its_pictures_at_these_times(shot: Path, every: float | None, times: list[float]) -> None:
    assert names(shot, every=every) == [f"{shot}#t={time:.3f}" for time in times]


@pytest.mark.parametrize("every", [0, 0.5])
def test_recordings_one_after_the_other_in_a_film_are_one_film(tmp_path: Path, every: float) -> None:
    """As camcorders' parts are joined: the clock of the second one begins anew."""
    part = film(tmp_path / "part.mts", [100] * 20, start_s=7).read_bytes()
    joined = tmp_path / "joined.mts"
    joined.write_bytes(part + part)
    single = [float(name.rpartition("=")[2]) for name in names(tmp_path / "part.mts", every=every)]
    times = [float(name.rpartition("=")[2]) for name in names(joined, every=every)]
    assert times == sorted(set(times))
    assert 2 * len(single) - 2 <= len(times) <= 2 * len(single)


def test_pictures_of_recordings_that_overlap_have_names_of_their_own(tmp_path: Path) -> None:
    """A recorder may begin its next file before it ends the last one."""
    parts = [film(tmp_path / f"{start}.mts", [100] * 13, start_s=start).read_bytes() for start in (7, 8)]
    (tmp_path / "joined.mts").write_bytes(b"".join(parts))
    found = names(tmp_path / "joined.mts", every=0)
    assert len(found) == len(set(found)) == 26


def test_every_face_and_picture_is_a_row_with_its_time(shot: Path, tmp_path: Path) -> None:
    for name in ("faces.jsonl", "faces.csv"):
        success, errors = predict(shot, out=tmp_path / name)
        assert success
        assert "3 photos, 3 faces" in errors
    table = rows(tmp_path / "faces.jsonl")
    assert [(row["file"], row["time_s"], row["face"]) for row in table] == [(str(shot), time, 0) for time in (0.0, 1.0, 2.0)]
    ages = [row["age_years"] for row in table]
    assert ages == sorted(ages)
    assert ages[2] > ages[0] + 30
    assert f"{shot},0," in (tmp_path / "faces.csv").read_text()


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_going_on_passes_over_the_pictures_that_have_their_rows(shot: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"faces.{suffix}"
    predict(shot, out=out)
    before = out.read_bytes()
    _, errors = predict(shot, out=out, resume=True)
    assert "0 photos" in errors
    assert "3 photos were there before" in errors
    if suffix != "parquet":
        assert out.read_bytes() == before


def test_films_of_a_folder_are_looked_at_where_that_is_asked_for(shot: Path) -> None:
    left_out = LeftOut()
    assert names(shot.parent, left_out=left_out) == []
    assert (left_out.films, left_out.files) == (1, 0)
    assert len(names(shot.parent, every=1)) == 3
    assert sources.count([str(shot)]) is None


def test_a_broadcast_is_a_film_and_typescript_of_a_folder_is_not(tmp_path: Path) -> None:
    broadcast = film(tmp_path / "broadcast.ts", [40, 48])
    (tmp_path / "code.ts").write_text("Given the film = 1;" + "\n" * 600)
    assert names(broadcast) == [f"{broadcast}#t=0.000"]
    left_out = LeftOut()
    assert names(tmp_path, every=1, left_out=left_out) == [f"{broadcast}#t=0.000"]
    assert (left_out.films, left_out.files) == (0, 1)


def test_what_is_no_film_or_a_broken_one_is_a_row(shot: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "cut.mkv").write_bytes(shot.read_bytes()[:300])
    (tmp_path / "photo.mov").write_bytes(photo(200))
    places = [tmp_path / name for name in ("text.mp4", "cut.mkv", "gone.mp4", "photo.mov")]
    predict(*places, out=tmp_path / "faces.jsonl")
    text, cut, gone, picture = rows(tmp_path / "faces.jsonl")
    assert [one["problem"] for one in (text, cut, gone, picture)] == ["unreadable"] * 3 + [None]
    assert text["detail"] == "not a film, or a broken one"
    assert gone["detail"] == "No such file or directory"
    assert (picture["time_s"], picture["face"]) == (None, 0)


def test_a_broken_film_says_why_on_another_machine(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    (sent,) = (pickle.loads(pickle.dumps(one)) for one in sources.photos(sources.places([str(tmp_path / "text.mp4")])))
    with pytest.raises(OSError, match=r"^not a film, or a broken one$"):
        sent.read()


def test_a_picture_has_a_name_that_no_photo_has() -> None:
    assert still_of(still_name("a/film.mp4", 12.5)) == ("a/film.mp4", 12.5)
    assert still_of("a/photo.jpg") == ("a/photo.jpg", None)
    assert still_name("a/photo.jpg", None) == "a/photo.jpg"


def test_pictures_of_a_film_are_drawn_into_a_folder(shot: Path, tmp_path: Path) -> None:
    from service.inference.pipeline import Analysis

    pictures = Pictures(tmp_path / "out", [str(shot)])
    pictures.write(f"{shot}#t=1.000", photo(100), Analysis(96, 96, []))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shot.mkv#t=1.000.faces.jpg"]
    with pytest.raises(OutputError, match="would overwrite"):
        Pictures(tmp_path / "x.jpg", [str(tmp_path / "x.jpg")])
