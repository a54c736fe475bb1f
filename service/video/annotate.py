"""A film to the same film with its faces marked, and to a table of its tracks."""

from __future__ import annotations

import asyncio
import csv
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from PIL import Image

from service.arrays import Pixels
from service.extras import install_command
from service.inference.attributes import Attributes, Expectation
from service.inference.columns import FRAME, QUALITY, TRACK, Column, ColumnNames, Kind, column_names
from service.inference.engine import Engine
from service.inference.pipeline import AnalysedFace, Analysis, Options
from service.models.manifest import Attribute
from service.tracking.session import FaceTrack, FrameResult, TrackingSession
from service.tracking.tracker import CONFIRMED_FRAMES
from service.video.drawing import draw
from service.vision import hdr
from service.vision.image import DecodedImage

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.buffer import Buffer
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CODEC: Final = "libx264"
RATE_FACTOR: Final = "20"
"""Constant rate factor of the annotated film: x264's own default is 23, and letters want a little more."""


QUALITY_DIGITS: Final = {"size_px": 1, "sharpness": 2, "brightness": 3, "roll": 1, "yaw": 2}
"""Decimals of what is measured of a face, as in the API's answers."""
PHOTO_SUFFIXES: Final = frozenset({".heic", ".heif", ".avif"})
MAX_PIXEL_ASPECT: Final = 4
"""Most that a pixel may be wider than high, or higher than wide; a larger ratio is a damaged header's."""


class FilmError(OSError):
    """A film cannot be read or written."""


@dataclass(frozen=True, slots=True)
class TrackRow:
    """One row of the table: a face, from when to when it was seen, in how many frames, and what is known of it at the end.

    Times in seconds of the film; `answers` are the frames that the network ran on, `size_px` the largest box's longer side.
    """

    track: int
    first_s: float
    last_s: float
    frames: int
    answers: int
    size_px: float
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FrameRow:
    """A face in one frame that was searched: the frame's number from 0, its time in seconds, and the face's track by then."""

    frame: int
    time_s: float
    face: FaceTrack


@dataclass(slots=True)
class _TrackSpan:
    """A track while the film runs."""

    first: float
    last: float
    size: float
    face: FaceTrack


async def annotate(
    source: Path,
    out: Path,
    engine: Engine,
    options: Options,
    fps: float | None = None,
    progress: Callable[[float], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
    record: Callable[[FrameRow], None] = lambda _: None,
) -> list[TrackRow]:
    """Mark the faces of a film, and copy its sound where the new format takes it.

    Args:
        source: The film.
        out: Where it is written; its suffix names the format.
        engine: What answers frames.
        options: Which faces and attributes are wanted.
        fps: Most frames a second that are searched for faces; None for all. Those between show the last faces.
        progress: Called with the share that is done, 0 to 1.
        warn: Called with a sentence about what is left out.
        record: Called with each face of each frame that was searched, also of those that are no track yet.

    Returns:
        Tracks of `CONFIRMED_FRAMES` frames or more.

    Raises:
        FilmError: A film cannot be read or written.
        Unavailable: A frame was not answered by its deadline.
        InferenceError: The detector or the network failed.
    """
    session = TrackingSession(engine.pipeline, options)
    tracks: dict[int, _TrackSpan] = {}
    result: FrameResult | None = None
    last_step = -math.inf
    began: float | None = None  # a recorder's clock may start at any hour
    with _opened(source) as film, _written(out, film, warn) as (write, pass_on):
        for number, frame in enumerate(_frames(film, pass_on)):
            time = float(frame.time or 0.0)
            began = time if began is None else began
            now = time - began
            pixels = _upright(frame, film.video.sample_aspect_ratio)
            if result is None or fps is None or now - last_step >= 1 / fps - 1e-6:
                height, width = pixels.shape[:2]
                deadline = asyncio.get_running_loop().time() + engine.deadline
                result, last_step = await session.step(DecodedImage(pixels, width, height), now, deadline), now
                _record(tracks, result, now)
                for face in result.faces:
                    record(FrameRow(number, round(now, 3), face))
            write(_marked(pixels, result), frame)
            progress(min(1.0, now / film.seconds) if film.seconds else 0.0)
    progress(1.0)
    return [_row(identity, span) for identity, span in tracks.items() if span.face.frames >= CONFIRMED_FRAMES]


def write_table(rows: Sequence[TrackRow], attributes: Sequence[Attribute], path: Path) -> list[Path]:
    """Write the tracks as CSV, and beside it as Parquet where pyarrow is installed.

    Args:
        rows: The tracks.
        attributes: All that the model declares; each has three columns, named by `column_names`.
        path: The CSV file.

    Returns:
        The files.

    Raises:
        OSError: A file cannot be written.
    """
    names = column_names(attributes)
    columns = (*TRACK, *_columns(attributes, names))
    values = [dict.fromkeys(column.name for column in columns) | _values(row, names) for row in rows]
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [column.name for column in columns])
        table.writeheader()
        table.writerows(values)
    if find_spec("pyarrow") is None:
        return [path]
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"int": pa.int64(), "float": pa.float64(), "string": pa.string(), "bool": pa.bool_()}
    schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
    parquet = path.with_suffix(".parquet")
    pq.write_table(pa.Table.from_pylist(values, schema), parquet)
    return [path, parquet]


def _columns(attributes: Sequence[Attribute], names: ColumnNames) -> tuple[Column, ...]:
    """Three columns for each attribute."""
    columns: list[Column] = []
    for attribute in attributes:
        prefix = names.prefixes[attribute.name]
        if attribute.kind == "expectation":
            end: Kind = "int" if attribute.range is None else "float"
            columns += [Column(prefix, "float"), Column(f"{prefix}_low", end), Column(f"{prefix}_high", end)]
        else:
            columns += [
                Column(prefix, "string"),
                Column(f"{prefix}_confidence", "float"),
                Column(f"{prefix}_uncertain", "bool"),
            ]
    return tuple(columns)


def _values(row: TrackRow, names: ColumnNames) -> dict[str, object]:
    """A row's cells by column, of what is known."""
    cells: dict[str, object] = {one.name: getattr(row, one.name) for one in fields(row) if one.name != "attributes"}
    return cells | _cells(row.attributes, names)


def _cells(attributes: Attributes, names: ColumnNames) -> dict[str, object]:
    """Cells of a face's attributes by column."""
    cells: dict[str, object] = {}
    for name, value in attributes.items():
        prefix = names.prefixes[name]
        if isinstance(value, Expectation):
            rounded = round(value.value, value.scale.digits)
            cells |= {prefix: rounded, f"{prefix}_low": value.low, f"{prefix}_high": value.high}
        else:
            confidence = round(value.confidence, 4)
            cells |= {prefix: value.label, f"{prefix}_confidence": confidence, f"{prefix}_uncertain": value.uncertain}
    return cells


class FrameTable:
    """Columns and rows of the faces of single frames, for a model that declares these attributes."""

    def __init__(self, attributes: Sequence[Attribute]) -> None:
        self._names = column_names(attributes)
        self.columns: tuple[Column, ...] = (*FRAME, *_columns(attributes, self._names), *QUALITY)
        """The columns, in their order."""

    def row(self, row: FrameRow) -> dict[str, Any]:
        """The cells of a row.

        Args:
            row: A face in a frame.

        Returns:
            A value for every column; None of what is not known.
        """
        face = row.face
        x0, y0, x1, y1 = (round(float(value)) for value in face.face.box)
        return dict.fromkeys(column.name for column in self.columns) | {
            "track": face.id,
            "frame": row.frame,
            "time_s": row.time_s,
            "x": x0,
            "y": y0,
            "width": x1 - x0,
            "height": y1 - y0,
            "confidence": round(min(1.0, face.face.confidence), 4),
            **_cells(face.attributes, self._names),
            **{name: round(value, QUALITY_DIGITS[name]) for name, value in asdict(face.quality).items()},
            "warnings": " ".join(face.warnings),
        }


# Tracks ---------------------------------------------------------------------------------------------------------------


def _record(tracks: dict[int, _TrackSpan], result: FrameResult, now: float) -> None:
    for face in result.faces:
        span = tracks.setdefault(face.id, _TrackSpan(now, now, 0.0, face))
        span.last, span.size, span.face = now, max(span.size, face.quality.size_px), face


def _row(identity: int, span: _TrackSpan) -> TrackRow:
    return TrackRow(
        track=identity,
        first_s=round(span.first, 3),
        last_s=round(span.last, 3),
        frames=span.face.frames,
        answers=span.face.answers,
        size_px=round(span.size, 1),
        attributes=span.face.attributes,
    )


def _marked(pixels: Pixels, result: FrameResult) -> Pixels:
    people = [AnalysedFace(face.face, face.attributes, face.quality, face.warnings) for face in result.faces]
    analysis = Analysis(result.width, result.height, people)
    return np.asarray(draw(Image.fromarray(pixels), analysis, [face.id for face in result.faces]))


# Files ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Film:
    source: Path
    container: InputContainer
    video: VideoStream
    audio: AudioStream | None
    seconds: float | None


@contextmanager
def _opened(source: Path) -> Iterator[_Film]:
    try:
        import av
    except ImportError as error:
        raise FilmError(f"films need PyAV: {install_command('video')}") from error
    try:
        with av.open(source) as container:
            if _is_photo(source, container.format.name):
                raise FilmError(f"{source}: a photo, not a film; mark its faces with: facet predict {source} --draw OUT")
            if not container.streams.video:
                raise FilmError(f"{source}: no pictures in it")
            video = container.streams.video[0]
            video.thread_type = "AUTO"
            audio = container.streams.audio[0] if container.streams.audio else None
            seconds = None if container.duration is None else container.duration / av.time_base
            yield _Film(source, container, video, audio, seconds)
    except av.FFmpegError as error:
        raise _unreadable(source, error) from error


def _is_photo(source: Path, demuxer: str) -> bool:
    """Whether a file is a single picture, by FFmpeg's name of its format; HEIC and AVIF are boxes as films have them."""
    return demuxer == "image2" or demuxer.endswith("_pipe") or source.suffix.lower() in PHOTO_SUFFIXES


def _unreadable(source: Path, error: av.FFmpegError) -> FilmError:
    from av.error import InvalidDataError

    return FilmError(f"{source}: {'not a film, or a broken one' if isinstance(error, InvalidDataError) else error.strerror}")


@contextmanager
def _written(
    out: Path, film: _Film, warn: Callable[[str], None]
) -> Iterator[tuple[Callable[[Pixels, VideoFrame], None], Callable[[av.Packet[Stream]], None]]]:
    """What writes a picture in the place of a frame, and what passes a packet of sound on as it is."""
    import av

    if out.exists() and out.samefile(film.source):
        raise FilmError(f"{out}: this is the film itself; write to another file")
    try:
        with av.open(out, "w") as container:
            rate = film.video.average_rate or Fraction(25)
            video = container.add_stream(CODEC, rate=rate, options={"crf": RATE_FACTOR, "preset": "veryfast"})
            video.pix_fmt = "yuv420p"
            if film.video.time_base is not None:
                video.codec_context.time_base = film.video.time_base
            sound = _sound(container, film)
            early: deque[av.Packet[Stream]] = deque()  # the header wants the pictures' size, which the first one gives
            if film.audio is not None and sound is None:
                warn(f"the sound is left out: {out.suffix} does not take {film.audio.codec_context.name}")

            def write(pixels: Pixels, frame: VideoFrame) -> None:
                height, width = (side - side % 2 for side in pixels.shape[:2])  # what 4:2:0 can hold
                if not video.codec_context.is_open:
                    video.width, video.height = width, height
                marked = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
                marked.pts, marked.time_base = frame.pts, frame.time_base
                container.mux(video.encode(marked))
                while early:
                    container.mux(early.popleft())

            def pass_on(packet: av.Packet[Stream]) -> None:
                if sound is None or packet.dts is None:
                    return
                packet.stream = sound
                if video.codec_context.is_open:
                    container.mux(packet)
                else:
                    early.append(packet)

            yield write, pass_on
            container.mux(video.encode(None))
    except av.FFmpegError as error:
        raise FilmError(f"{out}: {error.strerror}") from error
    except ValueError as error:
        raise FilmError(f"{out}: the film's name must end in .mp4, .mov or .mkv") from error


def _sound(container: OutputContainer, film: _Film) -> AudioStream | None:
    """A stream for the sound as it is, where the format takes it."""
    if film.audio is None or film.audio.codec_context.name not in container.supported_codecs:
        return None
    return container.add_stream_from_template(film.audio)


def _frames(film: _Film, pass_on: Callable[[av.Packet[Stream]], None]) -> Iterator[VideoFrame]:
    """Every picture in order; the sound between them is passed on."""
    for packet, frames in _packets(film):
        if packet.stream is film.audio:
            pass_on(packet)
        yield from frames


def _packets(film: _Film) -> Iterator[tuple[av.Packet[Stream], list[VideoFrame]]]:
    """Every packet in order, with the pictures that it brings. Raises `FilmError`, which names the film that is read."""
    import av
    from av.video.frame import VideoFrame

    streams = [film.video] if film.audio is None else [film.video, film.audio]
    try:
        for packet in film.container.demux(*streams):
            decoded = [] if packet.stream is film.audio else packet.decode()
            yield packet, [frame for frame in decoded if isinstance(frame, VideoFrame) and frame.pts is not None]
    except av.FFmpegError as error:
        raise _unreadable(film.source, error) from error


def _upright(frame: VideoFrame, aspect: Fraction | None) -> Pixels:
    """A frame as players show it, uint8 RGB [height, width, 3]: of square pixels, turned and mirrored as its matrix asks.

    Phones film on their side, front cameras in a mirror, and broadcast stores fewer columns than it shows. What is in PQ or HLG
    is brought to sRGB, each picture by its own highlights.
    """
    width, height = _square(frame.width, frame.height, aspect)
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height).astype(np.uint8, copy=False)
    if hdr.is_hdr(frame.color_trc):
        pixels = hdr.tone_map(pixels, frame.color_trc, frame.color_primaries)
    a, b, c, d = _display_matrix(frame)
    if abs(b) + abs(c) > abs(a) + abs(d):  # x comes of y
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _square(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Size in square pixels of a frame whose pixels are `aspect` times as wide as high; the lacking side is made longer."""
    if not aspect or aspect == 1 or not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Where a frame's pixels are shown, but for its offset: x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 6.2.2)."""
    data = cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    return a, b, c, d
