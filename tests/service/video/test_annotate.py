"""`facet annotate`: a film in, the same film with its faces marked out, and a table of the tracks."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image
from typer.testing import CliRunner

from service.cli import Parts, app
from service.inference.attributes import Expectation, LabelProbabilities
from service.inference.columns import Column
from service.inference.pipeline import Options
from service.offline.films import stills
from service.offline.formats import Csv
from service.offline.growing import GrowingTable
from service.settings import Settings
from service.video.annotate import FilmError, FrameRow, TrackRow, annotate, write_table
from service.video.film import frames, opened, upright
from tests.fakes import ColourNetwork, Pixels, attributes, engine_factory, manifest

OPTIONS = Options(("age", "gender", "race"), 100, 0.75)
RED, GREEN = (200, 100, 50), (60, 200, 120)
RATE = 10


def picture(index: int, width: int = 320, height: int = 240) -> Pixels:
    """Two squares that pass each other; the red one is hidden for a second."""
    frame = np.zeros((height, width, 3), np.uint8)
    x = 10 + 4 * index
    if not 15 <= index < 25:
        frame[30:70, x : x + 40] = RED
    frame[140:180, 270 - x : 310 - x] = GREEN
    return frame


def film(
    path: Path,
    count: int = 50,
    *,
    sound: bool = False,
    shown: Callable[[int], Pixels] = picture,
    aspect: Fraction = Fraction(1),
    start_s: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """A film of `count` pictures, ten a second, with a tone where `sound` is asked for."""
    with av.open(path, "w", options=options) as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "10", "preset": "ultrafast"})
        first = shown(0)
        video.height, video.width, video.pix_fmt = first.shape[0], first.shape[1], "yuv420p"
        video.codec_context.sample_aspect_ratio = aspect
        audio = container.add_stream("aac", rate=16000) if sound else None
        for index in range(count):
            shot = av.VideoFrame.from_ndarray(shown(index), format="rgb24")
            shot.pts, shot.time_base = index + start_s * RATE, Fraction(1, RATE)
            container.mux(video.encode(shot))
        container.mux(video.encode(None))
        if audio is not None:
            tone = np.sin(np.arange(16000 * count // RATE) / 20).astype(np.float32)[np.newaxis]
            for start in range(0, tone.shape[1] - 1023, 1024):
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone[:, start : start + 1024]), "fltp", "mono")
                frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


async def annotated(source: Path, out: Path, **options: Any) -> tuple[list[TrackRow], ColourNetwork]:
    network = ColourNetwork()
    engine = engine_factory(network)(Settings())
    try:
        return await annotate(source, out, engine, OPTIONS, **options), network
    finally:
        await engine.close()


def decoded(path: Path) -> tuple[list[Pixels], list[float]]:
    with av.open(path) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in frames], [
            float(frame.time or 0) for frame in frames
        ]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_film_comes_back_with_marks_and_a_track_for_each_face(tmp_path: Path) -> None:
    heard: list[float] = []
    rows, network = await annotated(film(tmp_path / "in.mp4"), tmp_path / "out.mp4", progress=heard.append)
    assert [row.track for row in rows] == [1, 2]
    red, green = rows
    assert (red.first_s, red.last_s, green.first_s, green.last_s) == (0, 4.9, 0, 4.9)
    assert (red.frames, green.frames) == (40, 50), "hidden for a second, the red one is still itself"
    age = red.attributes["age"]
    assert age.value == pytest.approx(0.92 * 78, abs=8)
    assert age.low < age.high
    assert [one.attributes["gender"].label for one in (red, green)] == ["male", "female"]
    assert 2 * 5 <= sum(network.batches) <= 2 * 16, "the network looked at some frames, not at all"
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    before, times = decoded(tmp_path / "in.mp4")
    after, same_times = decoded(tmp_path / "out.mp4")
    assert len(after) == 50
    assert same_times == pytest.approx(times)
    assert after[0].shape == before[0].shape
    marked = np.abs(after[5].astype(int) - before[5].astype(int)).max(axis=2) > 60
    assert marked.any(axis=1)[20:200].sum() > 50
    assert not marked[100:110].any(), "between the faces nothing is drawn"


async def test_sound_is_passed_on_as_it_is(tmp_path: Path) -> None:
    await annotated(film(tmp_path / "in.mp4", 20, sound=True), tmp_path / "out.mp4")

    def sound(path: Path) -> list[bytes]:
        with av.open(path) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    assert sound(tmp_path / "out.mp4") == sound(tmp_path / "in.mp4") != []


def interleaved(path: Path, codec: str = "aac") -> Path:
    """A film of two seconds whose sound comes between its pictures, as cameras write it, beginning with sound."""
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = container.add_stream(codec, rate=16000, layout="stereo", options={"strict": "experimental"})  # for Vorbis
        silence = np.zeros((2, 1600), np.float32)
        for index in range(20):
            sound = av.AudioFrame.from_ndarray(silence, "fltp", "stereo")
            sound.sample_rate, sound.pts, sound.time_base = 16000, 1600 * index, Fraction(1, 16000)
            container.mux(audio.encode(sound))
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(audio.encode(None))
        container.mux(video.encode(None))
    return path


async def test_sound_before_the_first_picture_does_not_change_its_size(tmp_path: Path) -> None:
    warnings: list[str] = []
    await annotated(interleaved(tmp_path / "in.mkv"), tmp_path / "out.mp4", warn=warnings.append)
    frames, _ = decoded(tmp_path / "out.mp4")
    assert {frame.shape for frame in frames} == {(240, 320, 3)}
    assert len(frames) == 20
    with av.open(tmp_path / "in.mkv") as before, av.open(tmp_path / "out.mp4") as after:
        sizes = [[packet.size for packet in one.demux(audio=0) if packet.size] for one in (before, after)]
    assert sizes[0] == sizes[1] != []
    assert warnings == []


async def test_sound_that_the_format_does_not_take_is_said_to_be_left_out(tmp_path: Path) -> None:
    warnings: list[str] = []
    await annotated(interleaved(tmp_path / "in.mkv", "vorbis"), tmp_path / "out.mov", warn=warnings.append)
    assert warnings == ["the sound is left out: .mov does not take vorbis"]
    with av.open(tmp_path / "out.mov") as container:
        assert [stream.type for stream in container.streams] == ["video"]


async def test_sound_is_tried_in_the_format_before_it_is_promised(tmp_path: Path) -> None:
    """QuickTime has Opus on its list, and refuses it; of a codec that FFmpeg does not know there is not even a name."""
    warnings: list[str] = []
    await annotated(interleaved(tmp_path / "in.mkv", "libopus"), tmp_path / "out.mov", warn=warnings.append)
    unknown = tmp_path / "in.mov"
    content = interleaved(unknown, "pcm_s16le").read_bytes()
    assert content.count(b"sowt") == 1
    unknown.write_bytes(content.replace(b"sowt", b"xyzq"))
    await annotated(unknown, tmp_path / "out.mp4", warn=warnings.append)
    assert warnings == ["the sound is left out: .mov does not take opus", "the sound is left out: .mp4 does not take its codec"]


async def test_sound_of_an_avi_has_the_usual_channels(tmp_path: Path) -> None:
    warnings: list[str] = []
    await annotated(interleaved(tmp_path / "in.avi", "pcm_s16le"), tmp_path / "out.mp4", warn=warnings.append)
    assert warnings == []
    with av.open(tmp_path / "out.mp4") as container:
        assert container.streams.audio[0].layout.name == "stereo"
        assert sum(packet.size for packet in container.demux(audio=0)) == 20 * 1600 * 2 * 2


async def test_the_film_itself_is_never_written_over(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", 5)
    content = source.read_bytes()
    link = tmp_path / "link.mp4"
    link.symlink_to(source)
    for out in (source, link):
        with pytest.raises(FilmError, match="the film itself"):
            await annotated(source, out)
    assert source.read_bytes() == content


@pytest.mark.parametrize("name", ["out.m3u8", "out.mpd", "out.png", "out.txt"])
async def test_what_is_not_one_film_is_refused(tmp_path: Path, name: str) -> None:
    """A playlist was written whose pieces had a temporary name."""
    with pytest.raises(FilmError, match=r"must end in \.mp4, \.mov or \.mkv"):
        await annotated(film(tmp_path / "in.mp4", 2), tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("fps", [2, 3, 4, 6, 9.5, 10, 12])
async def test_as_many_frames_are_looked_at_as_are_asked_for(tmp_path: Path, fps: float) -> None:
    """Also where their distance is no whole number of frames: of ten a second it was 3.3 for 4, and 5 for 6."""
    rows, _ = await annotated(film(tmp_path / "in.mp4", 40), tmp_path / "out.mkv", fps=fps)
    assert max(row.frames for row in rows) == min(40, 4 * fps)
    frames, _ = decoded(tmp_path / "out.mkv")
    assert len(frames) == 40


@pytest.mark.parametrize("fps", [None, 2.0])
async def test_who_comes_after_a_cut_is_somebody_else(tmp_path: Path, fps: float | None) -> None:
    """Two scenes in turn, with a face at the same place in both; the first frame of each is searched."""
    recorded: list[FrameRow] = []

    def shown(index: int) -> Pixels:
        scene = index // 12 % 2
        frame = np.zeros((240, 320, 3), np.uint8)
        for x, y in [(140, 100), *[((20, 20), (20, 180)), ((260, 20), (260, 180))][scene]]:
            frame[y : y + 40, x : x + 40] = (RED, GREEN)[scene]
        return frame

    source = film(tmp_path / "in.mp4", shown=shown, count=48)
    rows, _ = await annotated(source, tmp_path / "out.mp4", fps=fps, record=recorded.append)
    assert Counter(row.first_s for row in rows) == {0.0: 3, 1.2: 3, 2.4: 3, 3.6: 3}
    middle = {row.face.id: row.face.attributes["age"] for row in recorded if abs(row.face.face.box[:2] - (140, 100)).max() < 3}
    ages = [age.value for age in middle.values() if isinstance(age, Expectation)]
    assert ages == pytest.approx([ages[0], ages[1]] * 2, abs=1)
    assert abs(ages[0] - ages[1]) > 2
    assert {0, 12, 24, 36} <= {row.frame for row in recorded}


async def test_a_frame_has_all_the_time_that_it_takes(tmp_path: Path) -> None:
    """A process that is stopped for a while (Ctrl-Z) loses no film."""
    engine = engine_factory()(Settings(deadline_s=1e-6))
    try:
        assert len(await annotate(film(tmp_path / "in.mp4", 5), tmp_path / "out.mp4", engine, OPTIONS)) == 2
    finally:
        await engine.close()


async def test_odd_sides_lose_a_line(tmp_path: Path) -> None:
    def odd(index: int) -> Pixels:
        return picture(index, 322, 242)[:241, :321]

    source = tmp_path / "in.mkv"
    with av.open(source, "w") as container:
        video = container.add_stream("ffv1", rate=RATE)
        video.width, video.height, video.pix_fmt = 321, 241, "bgr0"
        for index in range(5):
            container.mux(video.encode(av.VideoFrame.from_ndarray(odd(index), format="rgb24")))
        container.mux(video.encode(None))
    await annotated(source, tmp_path / "out.mp4")
    frames, _ = decoded(tmp_path / "out.mp4")
    assert frames[0].shape == (240, 320, 3)


async def test_a_point_is_no_picture(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    with av.open(source, "w") as container:
        video = container.add_stream("ffv1", rate=RATE)
        video.width, video.height, video.pix_fmt = 1, 1, "bgr0"
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((1, 1, 3), np.uint8), format="rgb24")))
        container.mux(video.encode(None))
    with pytest.raises(FilmError, match=r"in\.mkv: its pictures are too small"):
        await annotated(source, tmp_path / "out.mp4")


async def test_a_film_without_a_face_has_no_rows(tmp_path: Path) -> None:
    rows, _ = await annotated(
        film(tmp_path / "in.mp4", 5, shown=lambda _: np.zeros((240, 320, 3), np.uint8)), tmp_path / "out.mp4"
    )
    assert rows == []
    assert len(decoded(tmp_path / "out.mp4")[0]) == 5


@pytest.mark.parametrize(
    ("matrix", "side", "right", "low"),
    [
        ((0, 1, -1, 0), (320, 240), True, False),
        ((0, -1, 1, 0), (320, 240), False, True),
        ((0, 1, 1, 0), (320, 240), False, False),
        ((-1, 0, 0, -1), (240, 320), True, True),
        ((-1, 0, 0, 1), (240, 320), True, False),
        ((1, 0, 0, -1), (240, 320), False, True),
    ],
    ids=["right", "left", "transposed", "upside-down", "mirrored", "flipped"],
)
async def test_a_film_is_shown_as_its_matrix_asks(
    tmp_path: Path, matrix: tuple[int, ...], side: tuple[int, int], right: bool, low: bool
) -> None:
    """As phones write it: pixels as the sensor has them, and a matrix in `tkhd` that turns or mirrors them."""

    def sideways(index: int) -> Pixels:
        frame = np.zeros((240, 320, 3), np.uint8)
        frame[:60, :60] = RED  # the upper left corner is another one of what was filmed
        return frame

    source = film(tmp_path / "in.mp4", 3, shown=sideways)
    a, b, c, d = matrix
    identity, turned = (
        struct.pack(">9i", *values)
        for values in (
            (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
            (a << 16, b << 16, 0, c << 16, d << 16, 0, right * side[1] << 16, low * side[0] << 16, 1 << 30),
        )
    )
    content = source.read_bytes()
    track = content.index(b"tkhd")
    place = content.index(identity, track)
    source.write_bytes(content[:place] + turned + content[place + len(turned) :])
    await annotated(source, tmp_path / "out.mp4")
    frames, _ = decoded(tmp_path / "out.mp4")
    assert frames[0].shape == (*side, 3)
    upright = frames[0][:: -1 if low else 1, :: -1 if right else 1]
    assert upright[5:15, 5:15].mean(axis=(0, 1)) == pytest.approx(RED, abs=40)
    assert upright[100:].max() < 60


@pytest.mark.parametrize(
    ("width", "height", "aspect"), [(160, 240, Fraction(2)), (320, 120, Fraction(1, 2)), (240, 240, Fraction(4, 3))]
)
async def test_pixels_that_are_not_square_are_shown_square(tmp_path: Path, width: int, height: int, aspect: Fraction) -> None:
    def squeezed(index: int) -> Pixels:
        return np.asarray(Image.fromarray(picture(index)).resize((width, height)))

    rows, _ = await annotated(film(tmp_path / "in.mp4", 8, shown=squeezed, aspect=aspect), tmp_path / "out.mp4")
    frames, _ = decoded(tmp_path / "out.mp4")
    assert frames[0].shape == (240, 320, 3)
    assert len(rows) == 2
    assert [row.size_px for row in rows] == pytest.approx([40, 40], abs=4)


async def test_a_film_of_high_dynamic_range_is_shown_in_srgb(tmp_path: Path) -> None:
    """Light of 40.6 nits, a fifth of diffuse white: code 0.4273 of PQ (ITU-R BT.2100, table 4), and 0.4845 of sRGB."""
    source = tmp_path / "film.mp4"
    with av.open(source, "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "10", "preset": "ultrafast"})
        video.height, video.width, video.pix_fmt = 128, 160, "yuv420p"
        context = video.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, 16, 9, 1
        shot = av.VideoFrame.from_ndarray(np.full((128, 160, 3), round(255 * 0.4273), np.uint8), format="rgb24")
        for index in range(3):
            shot.pts, shot.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(shot))
        container.mux(video.encode(None))
    await annotated(source, tmp_path / "out.mp4")
    frames, _ = decoded(tmp_path / "out.mp4")
    assert abs(float(np.median(frames[0])) - 255 * 0.4845) < 5


SKIN = (200, 140, 110)
SKIN_601, SKIN_709 = (149, 106, 156), (145, 109, 156)
"""Its codes by the matrices of BT.601 and BT.709 (ITU-R BT.601, 2.5.1; BT.709, 3.2), in limited range."""


@pytest.mark.parametrize(
    ("width", "height", "matrix", "codes"),
    [
        (1280, 96, None, SKIN_709),
        (96, 720, None, SKIN_709),
        (96, 576, None, SKIN_601),
        (1280, 96, 6, SKIN_601),
        (96, 96, 1, SKIN_709),
    ],
)
async def test_colours_are_those_that_players_show(
    tmp_path: Path, width: int, height: int, matrix: int | None, codes: tuple[int, int, int]
) -> None:
    """By the matrix that a film names, else by its size; and what is written names its own."""
    source, out = tmp_path / "film.mp4", tmp_path / "out.mp4"
    with av.open(source, "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "1", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        if matrix is not None:
            video.codec_context.colorspace = matrix
        shot = av.VideoFrame(width, height, "yuv420p")
        for plane, code in zip(shot.planes, codes, strict=True):
            plane.update(bytes([code]) * plane.buffer_size)
        container.mux(video.encode(shot))
        container.mux(video.encode(None))
    with opened(source, "film.mp4") as film_:
        pixels = upright(next(frames(film_)), None)
    assert np.abs(np.median(pixels, axis=(0, 1)) - SKIN).max() <= 2
    await annotated(source, out)
    with av.open(out) as container:
        written = next(container.decode(video=0))
    assert (written.color_primaries, written.color_trc, written.colorspace, written.color_range) == (1, 1, 1, 1)
    luma = np.median(written.to_ndarray()[: written.height])
    assert abs(luma - SKIN_709[0]) <= 2


def with_cover(path: Path, *, pictures: bool) -> Path:
    """An MP4 whose cover stands before its tracks, as some editors of tags write it: a sound, and a film where asked for."""
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=RATE) if pictures else None
        audio = container.add_stream("aac", rate=16000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.disposition = Disposition.attached_pic
        cover.pix_fmt = "yuvj420p"
        shown = {stream: level for stream, level in ((video, 200), (cover, 50)) if stream is not None}
        for stream in shown:
            stream.width, stream.height = 160, 120
        for stream, level in shown.items():
            shot = av.VideoFrame.from_ndarray(np.full((120, 160, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(shot))
            container.mux(stream.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        container.mux(audio.encode(silence))
        container.mux(audio.encode(None))
    data = path.read_bytes()
    about, first = data.index(b"udta") - 4, data.index(b"trak") - 4
    end = about + int.from_bytes(data[about : about + 4], "big")
    path.write_bytes(data[:first] + data[about:end] + data[first:about] + data[end:])
    return path


def test_a_cover_is_no_picture_of_a_film(tmp_path: Path) -> None:
    with opened(with_cover(tmp_path / "film.mp4", pictures=True), "film.mp4") as film_:
        (shown,) = (upright(frame, None) for frame in frames(film_))
    assert shown.mean() == pytest.approx(200, abs=3)
    song = with_cover(tmp_path / "song.mp4", pictures=False)
    with pytest.raises(FilmError, match=r"song\.mp4: no pictures in it"), opened(song, "song.mp4"):
        pass


def test_the_default_pictures_and_sound_are_those_of_a_film(tmp_path: Path) -> None:
    """As players choose among several."""
    source = tmp_path / "film.mkv"
    with av.open(source, "w") as container:
        for level in (50, 200):
            video = container.add_stream("ffv1", rate=RATE)
            audio = container.add_stream("aac", rate=16000)
            video.width, video.height, video.pix_fmt = 160, 120, "gray"
            video.disposition = audio.disposition = Disposition.default if level == 200 else Disposition(0)
        container.start_encoding()
        for video, level in zip(container.streams.video, (50, 200), strict=True):
            shot = av.VideoFrame.from_ndarray(np.full((120, 160), level, np.uint8), format="gray")
            container.mux([*video.encode(shot), *video.encode(None)])
    with opened(source, "film.mkv") as film_:
        assert film_.audio is film_.container.streams.audio[1]
        (shown,) = (upright(frame, film_.aspect) for frame in frames(film_))
    assert shown.mean() == pytest.approx(200, abs=3)


def test_the_shape_of_pixels_may_change(tmp_path: Path) -> None:
    """As a broadcast's does from one programme to the next; FFmpeg tells it with the picture that is read, a few ahead."""
    parts = [film(tmp_path / f"{aspect.numerator}.ts", 8, aspect=aspect) for aspect in (Fraction(4, 3), Fraction(1))]
    joined = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    with opened(joined, "joined.ts") as film_:
        widths = [upright(frame, film_.aspect).shape[1] for frame in frames(film_)]
    assert (widths[0], widths[-1]) == (427, 320)
    assert set(widths[8:]) == {320}


@pytest.mark.parametrize("source", [Path, io.BytesIO])
def test_no_film_opens_the_network(tmp_path: Path, source: type[Path] | type[io.BytesIO]) -> None:
    """FFmpeg knows a session's description (RFC 8866) by its text, and waited for ten seconds for what it announces."""
    session = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\n"
    (tmp_path / "film.mp4").write_bytes(session)
    film_ = tmp_path / "film.mp4" if source is Path else io.BytesIO(session)
    began = time.monotonic()
    with pytest.raises(FilmError, match="not a film, or a broken one"), opened(film_, "film.mp4"):
        pass
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("limits", "stored"), [(1, (16, 126, 235)), (2, (0, 128, 255))], ids=["limited", "full"])
@pytest.mark.parametrize("form", ["gray", "gray10le"])
def test_a_grey_film_has_its_whole_contrast(tmp_path: Path, form: str, limits: int, stored: Sequence[int]) -> None:
    """A night camera's: black, a middle grey and white are stored as those levels of 8 bits."""
    source = tmp_path / "film.mkv"
    grey = np.repeat(np.array(stored, np.uint8), 40) * np.ones((80, 1), np.uint8)
    with av.open(source, "w") as container:
        video = container.add_stream("ffv1", rate=RATE)
        video.height, video.width, video.pix_fmt = *grey.shape, form
        video.codec_context.color_range = limits
        shot = av.VideoFrame.from_ndarray(grey, format="gray")
        shot.color_range = limits
        container.mux(video.encode(shot))
        container.mux(video.encode(None))
    with av.open(source) as container:
        frame = next(container.decode(video=0))
        assert (frame.format.name, frame.color_range) == (form, limits)
        shown = upright(frame, None)[40, 20::40]
    assert np.abs(shown.astype(int) - np.array([[0], [128], [255]])).max() <= 1


async def test_times_count_from_the_films_first_picture(tmp_path: Path) -> None:
    """A recorder's clock may have run for ten hours before."""
    done: list[float] = []
    source = film(tmp_path / "in.mkv", 8, start_s=36_000)
    rows, _ = await annotated(source, tmp_path / "out.mkv", progress=done.append)
    assert [(row.first_s, row.last_s) for row in rows] == [(0.0, pytest.approx(0.7)), (0.0, pytest.approx(0.7))]
    assert max(done[:-1]) <= 1


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
async def test_what_is_written_begins_at_once(tmp_path: Path, suffix: str) -> None:
    """Or else a player waits for the hours that the recorder's clock had run."""
    await annotated(film(tmp_path / f"in{suffix}", 8, start_s=36_000), tmp_path / "out.mp4", fps=1)
    _, times = decoded(tmp_path / "out.mp4")
    assert times == pytest.approx([index / 10 for index in range(8)], abs=0.1)


async def test_a_picture_lasts_as_long_as_it_did(tmp_path: Path) -> None:
    """After a long pause the last picture was given the mean time from one to the next."""
    source = tmp_path / "in.mp4"
    with av.open(source, "w") as container:
        video = container.add_stream("mpeg4", rate=RATE)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for index in range(6):
            shot = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            shot.pts, shot.time_base = index + 600 * (index > 2), Fraction(1, RATE)
            container.mux(video.encode(shot))
        container.mux(video.encode(None))
    await annotated(source, tmp_path / "out.mp4", fps=1)
    with av.open(tmp_path / "out.mp4") as container:
        assert (container.duration or 0) / av.time_base == pytest.approx(60.6, abs=0.05)


@pytest.mark.parametrize("later", [20, 9000])
def test_recordings_follow_one_another_whatever_their_clocks_say(tmp_path: Path, later: int) -> None:
    """One that goes back by more than a minute ran over, says FFmpeg, and adds 26 hours; another one is hours ahead."""
    parts = [film(tmp_path / f"{start}.ts", 8, start_s=start).read_bytes() for start in (200, later, 200)]
    with opened(io.BytesIO(b"".join(parts)), "joined.ts") as film_:
        times = [float(frame.time or 0) for frame in frames(film_)]
    assert times == pytest.approx([index / 10 for index in range(24)], abs=0.1)


async def test_recordings_one_after_the_other_are_one_film(tmp_path: Path) -> None:
    """As camcorders' parts are joined: the clock of the second one begins anew, for pictures and for sound."""
    part = film(tmp_path / "part.ts", 20, sound=True, start_s=7).read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(part + part)
    heard: list[FrameRow] = []
    await annotated(joined, tmp_path / "out.mp4", fps=5, record=heard.append)
    searched = sorted({row.time_s for row in heard})
    assert searched == pytest.approx([index / 5 for index in range(20)], abs=0.1)
    pictures, times = decoded(tmp_path / "out.mp4")
    assert len(pictures) == 40
    assert times == sorted(set(times))
    with av.open(tmp_path / "part.ts") as before, av.open(tmp_path / "out.mp4") as after:
        once, sounds = (
            [float(packet.dts * packet.time_base) for packet in one.demux(audio=0) if packet.size] for one in (before, after)
        )
    assert len(sounds) == 2 * len(once)
    assert sounds == sorted(set(sounds))
    assert sounds[-1] - sounds[0] == pytest.approx(times[-1] - times[0], abs=0.15)


async def test_pictures_of_another_size_keep_their_shape(tmp_path: Path) -> None:
    """A phone that is turned, or a meeting's recording: the second half is upright, and stands between bars."""
    wide, high = film(tmp_path / "wide.ts", 10), film(tmp_path / "high.ts", 10, shown=lambda index: picture(index, 240, 320))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(wide.read_bytes() + high.read_bytes())
    await annotated(joined, tmp_path / "out.mp4")
    pictures, _ = decoded(tmp_path / "out.mp4")
    assert {one.shape for one in pictures} == {(240, 320, 3)}
    before, after = (np.argwhere(np.abs(one[:90].astype(int) - RED).max(axis=2) < 40) for one in (pictures[0], pictures[-1]))
    for red, side in ((before, 40), (after, 30)):
        assert np.ptp(red, axis=0) == pytest.approx([side, side], abs=6), "a mark covers its edge"
    assert pictures[-1][:, :65].max() < 40
    assert pictures[-1][:, 255:].max() < 40


@pytest.mark.parametrize(("name", "kind"), [("in.avi", "avi"), ("in.h264", "h264")])
async def test_pictures_without_a_time_of_their_own_come_one_after_the_other(tmp_path: Path, name: str, kind: str) -> None:
    """An AVI knows when pictures are stored, not when they are shown, and a bare stream knows nothing."""
    source = tmp_path / name
    with av.open(source, "w", format=kind) as container:
        video = container.add_stream("libx264", rate=RATE)  # whose pictures refer to later ones
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for index in range(20):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(video.encode(None))
    heard: list[FrameRow] = []
    rows, _ = await annotated(source, tmp_path / "out.mp4", record=heard.append)
    assert [row.frames for row in rows] == [15, 20]
    times = sorted({row.time_s for row in heard})
    assert times == pytest.approx([index / RATE for index in range(20)], abs=0.11)
    assert len(decoded(tmp_path / "out.mp4")[0]) == 20
    with source.open("rb") as stream:
        assert len(list(stills(stream, name, 0.5))) in (4, 5)


def damaged(path: Path, source: Path) -> Path:
    """A film whose sixteenth picture is not to be decoded."""
    with av.open(source) as before, av.open(path, "w") as container:
        stream = container.add_stream_from_template(before.streams.video[0])
        for index, packet in enumerate(before.demux(video=0)):
            if packet.dts is None:
                continue
            copy = av.Packet(bytes(byte ^ 0x5A for byte in bytes(packet)) if index == 15 else bytes(packet))
            copy.pts, copy.dts, copy.time_base, copy.is_keyframe = packet.pts, packet.dts, packet.time_base, packet.is_keyframe
            copy.stream = stream
            container.mux(copy)
    return path


async def test_a_damaged_picture_is_passed_over_and_said(tmp_path: Path) -> None:
    warnings: list[str] = []
    source = damaged(tmp_path / "in.mp4", film(tmp_path / "whole.mp4", 20))
    rows, _ = await annotated(source, tmp_path / "out.mp4", warn=warnings.append)
    assert max(row.frames for row in rows) == 19
    assert len(decoded(tmp_path / "out.mp4")[0]) == 19
    assert warnings == [f"{source}: 1 of its pictures is damaged and left out"]
    with source.open("rb") as stream:
        pictures = stills(stream, "in.mp4", 0.5)
        assert [time_s for time_s, _ in itertools.islice(pictures, 4)] == pytest.approx([0, 0.5, 1, 1.6])
        with pytest.raises(FilmError, match="damaged"):
            next(pictures)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".flv"])
async def test_a_film_that_is_cut_off_is_read_as_far_as_it_goes_and_said(tmp_path: Path, suffix: str) -> None:
    """A download that was broken off: what says how long the film is stands at its beginning."""
    source, said = tmp_path / f"in{suffix}", list[str]()
    whole = film(tmp_path / f"whole{suffix}", 20, options={"movflags": "faststart"} if suffix in (".mp4", ".mov") else {})
    with av.open(whole) as container:
        end = [packet.pos + packet.size // 2 for packet in container.demux(video=0) if packet.size][12]
    source.write_bytes(whole.read_bytes()[:end])
    await annotated(source, tmp_path / "out.mp4", warn=said.append)
    assert 8 < len(decoded(tmp_path / "out.mp4")[0]) < 14
    assert said == [f"{source}: it is cut off, and what came after is missing"]
    with source.open("rb") as stream, pytest.raises(FilmError, match="cut off"):
        list(stills(stream, "in", 0))
    await annotated(whole, tmp_path / "out.mp4", warn=said.append)
    assert len(said) == 1


@pytest.mark.parametrize(("codec", "suffix"), [("png", ".mov"), ("rawvideo", ".avi")])
def test_a_picture_is_damaged_whatever_its_decoder_calls_it(tmp_path: Path, codec: str, suffix: str) -> None:
    source = tmp_path / f"in{suffix}"
    with av.open(source, "w") as container:
        video = container.add_stream(codec, rate=RATE)
        video.width, video.height = 320, 240
        video.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
        for index in range(5):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(video.encode(None))
    with av.open(source) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(source.read_bytes())
    at, size = places[2]
    if codec == "png":
        start = data.index(b"IDAT", at) + 4
        data[start : at + size - 20] = b"?" * (at + size - 20 - start)
    else:  # nothing in it can be damaged but its length
        del data[at + size // 2 :]
    source.write_bytes(data)
    said = list[str]()
    with opened(source, "in") as film_:
        assert len(list(frames(film_, warn=said.append))) == (4 if codec == "png" else 2)
    assert len(said) == 1


def test_an_empty_packet_is_no_damaged_picture(tmp_path: Path) -> None:
    """A film in Theora shows the picture before it for longer so."""
    source = tmp_path / "in.nut"
    with av.open(source, "w") as container:
        video = container.add_stream("rawvideo", rate=RATE)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for index in range(5):
            packets = video.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24"))
            for packet in packets:
                again = av.Packet()
                again.stream, again.time_base, again.pts, again.dts = video, packet.time_base, packet.pts, packet.dts
                container.mux(again if index == 2 else packet)
    said = list[str]()
    with opened(source, "in") as film_:
        assert len(list(frames(film_, warn=said.append))) == 4
    assert said == []


def test_a_film_of_a_thousand_pictures_a_second_keeps_its_length(tmp_path: Path) -> None:
    source = tmp_path / "fast.mp4"
    with av.open(source, "w") as container:
        video = container.add_stream("libx264", rate=1000, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(40):
            shot = av.VideoFrame(64, 48, "yuv420p")
            shot.pts, shot.time_base = index, Fraction(1, 1000)
            container.mux(video.encode(shot))
        container.mux(video.encode(None))
    with opened(source, "fast.mp4") as read:
        times = [float(frame.time or 0) for frame in frames(read)]
    assert times == pytest.approx([index / 1000 for index in range(40)], abs=1e-4)


async def test_a_film_without_a_picture_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    with av.open(source, "w") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = container.add_stream("aac", rate=16000)
        for start in range(0, 16000, 1024):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate, sound.pts = 16000, start
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    with pytest.raises(FilmError, match=r"in\.mkv: no picture"):
        await annotated(source, tmp_path / "out.mp4")
    with source.open("rb") as stream, pytest.raises(FilmError, match="no picture"):
        list(stills(stream, "in.mkv", 1))


async def test_what_is_no_film_is_an_error(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.mp4"
    nothing.write_bytes(b"canary" * 100)
    letter = tmp_path / "letter.jpg"  # the name alone makes FFmpeg open it
    letter.write_bytes(b"canary" * 100)
    for source in (nothing, letter, tmp_path / "absent.mp4"):
        with pytest.raises(FilmError, match=source.name):
            await annotated(source, tmp_path / "out.mp4")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
async def test_what_was_there_before_stays_where_a_film_is_not_finished(tmp_path: Path, error: BaseException) -> None:
    def record(row: FrameRow) -> None:
        if row.frame > 90:  # the encoder holds back the first ones
            raise error

    source, out = film(tmp_path / "in.mp4", 100, shown=lambda index: picture(index % 50)), tmp_path / "out.mp4"
    for content in (None, b"before"):
        if content is not None:
            out.write_bytes(content)
        with pytest.raises(type(error)):
            await annotated(source, out, record=record)
        assert (out.read_bytes() if out.exists() else None) == content
        assert names(tmp_path) <= {"in.mp4", "out.mp4"}


async def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(FilmError, match="a folder"):
        await annotated(film(tmp_path / "in.mp4", 3), tmp_path / "out.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("name", ["12:30.mp4", "pipe:1.mp4", "data:,.mp4"])
async def test_a_name_with_a_colon_is_that_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "in.mp4", 5).rename(tmp_path / name)
    await annotated(Path(name), Path(f"out:{name}"))
    assert names(tmp_path) == {name, f"out:{name}"}
    assert len(decoded(tmp_path / f"out:{name}")[0]) == 5


async def test_a_name_that_says_no_format_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FilmError, match=r"\.mp4"):
        await annotated(film(tmp_path / "in.mp4", 3), tmp_path / "new/of/it/out.film")
    assert names(tmp_path) == {"in.mp4"}, "no folder is left that was made for it"


# The table --------------------------------------------------------------------------------------------------------------

ROWS = [
    TrackRow(
        *(1, 0.0, 2.5, 20, 8, 120.5),
        {
            "age": Expectation(31.4, 26, 38, 0.8),
            "gender": LabelProbabilities("female", {"male": 0.03, "female": 0.97}, {"female": 0.9}),
            "race": LabelProbabilities("asian", {"white": 0.12, "asian": 0.88}, {"asian": 0.9}),
        },
    ),
    TrackRow(4, 1.0, 1.4, 5, 1, 30.0),
]


def test_the_table_is_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert write_table(ROWS, manifest().attributes, tmp_path / "faces.csv") == [tmp_path / "faces.csv"]
    with (tmp_path / "faces.csv").open() as stream:
        first, second = csv.DictReader(stream)
    assert (first["track"], first["age_years"], first["age_low"], first["race_uncertain"]) == ("1", "31.4", "26", "true")
    assert (second["frames"], second["age_years"], second["gender"]) == ("5", "", "")
    assert [row["age"] for row in (first, second)] == ["31.4", ""], "the name that it had before"


def test_a_full_disk_leaves_the_former_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "faces.csv"
    path.write_text("before")
    monkeypatch.setattr(csv.DictWriter, "writerows", full)
    with pytest.raises(OSError, match="No space"):
        write_table(ROWS, manifest().attributes, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_attribute_with_the_name_of_another_column_is_qualified(tmp_path: Path) -> None:
    further = {"name": "age_low", "kind": "labels", "labels": ["no", "yes"], "outputs": ["age_low"]}
    declared = manifest(attributes=[*attributes(), further]).attributes
    row = TrackRow(*(1, 0.0, 2.5, 20, 8, 120.5), {**ROWS[0].attributes, "age_low": LabelProbabilities("no", {"no": 1.0})})
    path, *_ = write_table([row], declared, tmp_path / "faces.csv")
    with path.open() as stream:
        (cells,) = csv.DictReader(stream)
    assert (cells["age_low"], cells["attribute_age_low"], cells["attribute_age_low_confidence"]) == ("26", "no", "1.0")


def test_the_table_is_parquet_too_where_pyarrow_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.chdir(tmp_path)
    Path("camera:1").mkdir()  # a relative path that begins so is an address to Arrow
    written = write_table(ROWS, manifest().attributes, Path("camera:1/faces.csv"))
    assert written == [Path("camera:1/faces.csv"), Path("camera:1/faces.parquet")]
    table = parquet.read_table(tmp_path / "camera:1/faces.parquet")
    assert [str(table.schema.field(name).type) for name in ("track", "age_years", "gender", "race_uncertain")] == [
        "int64",
        "double",
        "string",
        "bool",
    ]
    assert table.to_pylist()[0]["age_high"] == 38
    assert table.to_pylist()[1]["age_years"] is None


@pytest.fixture
def small(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line serves the small model, which looks for faces as all do."""
    for name, value in {"MODEL_STORE": str(tiny_store), "MODEL": "tiny", "THREADS": "2"}.items():
        monkeypatch.setenv(f"FACET_{name}", value)


@pytest.mark.usefixtures("small")
def test_the_command_writes_both_and_says_so(tmp_path: Path, examples: Path) -> None:
    with Image.open(examples / "astronaut.jpg") as portrait:
        pixels = np.asarray(portrait.convert("RGB"))
    pair = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    source, out = film(tmp_path / "in.mp4", 6, shown=lambda _: pair), tmp_path / "out.mp4"
    done = CliRunner().invoke(app, ["annotate", str(source), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 faces; wrote ")
    assert out.exists()
    assert len((tmp_path / "out.tracks.csv").read_text().splitlines()) == 3
    failed = CliRunner().invoke(app, ["annotate", str(tmp_path / "absent.mp4"), "--out", str(out)])
    assert failed.exit_code == 1
    assert "absent.mp4" in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr


async def test_the_folder_of_a_film_is_made(tmp_path: Path) -> None:
    await annotated(film(tmp_path / "in.mp4", 2), tmp_path / "new/of/it/out.mp4")
    assert [path.name for path in (tmp_path / "new/of/it").iterdir()] == ["out.mp4"]


async def test_a_folder_that_cannot_be_made_is_said_before_a_picture_is_searched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    searched: list[float] = []
    with pytest.raises(FilmError, match=r"out\.mp4"):
        await annotated(film(tmp_path / "in.mp4"), tmp_path / "file/out.mp4", progress=searched.append)
    assert not searched


async def test_every_face_of_every_searched_frame_is_recorded(tmp_path: Path) -> None:
    heard: list[FrameRow] = []
    rows, _ = await annotated(film(tmp_path / "in.mp4"), tmp_path / "out.mp4", record=heard.append)
    assert {row.track: row.frames for row in rows} == Counter(row.face.id for row in heard)
    assert [row.frame for row in heard] == sorted(row.frame for row in heard)
    assert all(row.time_s == pytest.approx(row.frame / RATE, abs=0.001) for row in heard)
    thinned: list[FrameRow] = []
    await annotated(tmp_path / "in.mp4", tmp_path / "out.mp4", fps=2, record=thinned.append)
    assert {row.frame for row in thinned} == set(range(0, 50, RATE // 2))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.usefixtures("small")
def test_the_command_writes_a_row_for_each_face_of_each_frame(tmp_path: Path, examples: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    with Image.open(examples / "astronaut.jpg") as portrait:
        pixels = np.asarray(portrait.convert("RGB"))
    source, new = film(tmp_path / "in.mp4", 4, shown=lambda _: pixels), tmp_path / "new"
    out, table = new / "out.mp4", new / f"f{suffix}"
    done = CliRunner().invoke(app, ["annotate", str(source), "--out", str(out), "--frames", str(table)])
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().endswith(table.name)
    if suffix == ".parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(table).to_pylist()
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in table.read_text().splitlines()]
    else:
        rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [int(row["frame"]) for row in rows] == [0, 1, 2, 3]
    assert {int(row["track"]) for row in rows} == {1}
    assert [float(row["time_s"]) for row in rows] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert all(150 < int(row["x"]) < 210 and 40 < int(row["y"]) < 110 and int(row["width"]) > 60 for row in rows)
    assert 0 <= float(rows[-1]["age_years"]) <= 100
    assert not list(new.glob(".facet-*"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.usefixtures("small")
def test_the_table_of_frames_is_not_that_of_the_faces(tmp_path: Path, suffix: str) -> None:
    source, frames = film(tmp_path / "in.mp4", 4), tmp_path / f"out.tracks{suffix}"
    done = CliRunner().invoke(app, ["annotate", str(source), "--out", str(tmp_path / "out.mp4"), "--frames", str(frames)])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].endswith("is the table of the faces; name another file")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(
    "words",
    [["s3://b/in.mp4", "--out", "out.mp4"], ["in.mp4", "--out", "s3://b/out.mp4"], ["in.mp4", "--frames", "s3://b/f.csv"]],
)
def test_an_address_is_no_file_of_a_film(tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a folder `s3:` of the current one."""
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "in.mp4", 2)
    done = CliRunner().invoke(app, ["annotate", *words])
    assert (done.exit_code, "an address" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="names are counted otherwise there")
@pytest.mark.parametrize("words", [["--out", f"{'x' * 242}.mp4"], ["--out", "out.mp4", "--frames", f"{'x' * 250}.csv"]])
def test_a_name_that_is_too_long_for_a_table_is_refused_before_anything_is_loaded(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "in.mp4", 2)
    done = CliRunner().invoke(app, ["annotate", "in.mp4", *words], obj=Parts(lambda _: pytest.fail("loaded")))
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "too long" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("out", ["", ".", "/"])
def test_a_folder_is_no_name_of_a_film(tmp_path: Path, out: str) -> None:
    done = CliRunner().invoke(app, ["annotate", str(film(tmp_path / "in.mp4", 2)), "--out", out])
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "this is a folder; name a file" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
@pytest.mark.usefixtures("small")
def test_sigterm_leaves_nothing_half_written(root: Path, tmp_path: Path, examples: Path) -> None:
    with Image.open(examples / "astronaut.jpg") as portrait:
        pixels = np.asarray(portrait.convert("RGB"))
    source = film(tmp_path / "in.mp4", 300, shown=lambda _: pixels)
    command = [sys.executable, "-m", "service.cli", "annotate", str(source), "--out", str(tmp_path / "out.mp4")]
    command += ["--frames", str(tmp_path / "f.csv")]
    with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        while run.poll() is None and not list(tmp_path.glob(".new.*")):
            time.sleep(0.02)
        run.send_signal(signal.SIGTERM)
        complaints = run.stderr.read()
        assert run.wait() == 143, complaints
    assert "Traceback" not in complaints
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_table_of_frames_is_written_in_parts(tmp_path: Path) -> None:
    def full(self: Csv, parts: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    columns = (Column("frame", "int"), Column("time_s", "float"))
    with GrowingTable(tmp_path / "f.csv", columns, rows_a_part=2) as table:
        for frame in range(5):
            table.add({"frame": frame, "time_s": frame / 10})
    assert (tmp_path / "f.csv").read_text().split() == ["frame,time_s", "0,0.0", "1,0.1", "2,0.2", "3,0.3", "4,0.4"]
    before = (tmp_path / "f.csv").read_bytes()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Csv, "join", full)
        with pytest.raises(OSError, match="No space"), GrowingTable(tmp_path / "f.csv", columns) as table:
            pass
    assert (tmp_path / "f.csv").read_bytes() == before, "a full disk leaves what was there"
    with pytest.raises(KeyError), GrowingTable(tmp_path / "g.csv", columns, rows_a_part=1) as table:
        table.add({"frame": 0})
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.usefixtures("small")
def test_a_photo_is_refused_with_the_command_that_marks_it(tmp_path: Path, examples: Path, kind: str) -> None:
    photo = tmp_path / f"photo.{kind.lower()}"
    with Image.open(examples / "astronaut.jpg") as portrait:
        portrait.save(photo, kind)
    done = CliRunner().invoke(app, ["annotate", str(photo), "--out", str(tmp_path / "out.mp4")])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].endswith(f"a photo, not a film; mark its faces with: facet predict {photo} --draw OUT")
    assert not (tmp_path / "out.mp4").exists()


def test_a_photo_is_refused_before_an_option_is_missed(examples: Path) -> None:
    done = CliRunner().invoke(app, ["annotate", str(examples / "astronaut.jpg")])
    assert done.exit_code == 1
    assert "facet predict" in done.stderr
    assert "--out" not in done.stderr


@pytest.mark.usefixtures("small")
def test_a_photo_is_refused_as_one_without_pyav_too(tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    photo = examples / "astronaut.jpg"
    done = CliRunner().invoke(app, ["annotate", str(photo), "--out", str(tmp_path / "out.mp4")])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].endswith(f"a photo, not a film; mark its faces with: facet predict {photo} --draw OUT")


@pytest.mark.usefixtures("small")
def test_without_pyav_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    done = CliRunner().invoke(app, ["annotate", str(tmp_path / "in.mp4"), "--out", str(tmp_path / "out.mp4")])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"facet: {tmp_path / 'in.mp4'}: films need PyAV: make extra EXTRA=video"
