"""A film to the same film with its faces marked, and to a table of its tracks."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageOps

from service.arrays import Pixels
from service.files import folder_made, replacing
from service.inference.attributes import Attributes, Expectation
from service.inference.columns import FRAME, QUALITY, TRACK, Column, ColumnNames, attribute_columns, column_names
from service.inference.engine import Engine
from service.inference.pipeline import Analysis, Options
from service.models.manifest import AGE, Attribute
from service.tracking.session import FaceTrack, FrameResult, TrackingSession
from service.tracking.tracker import CONFIRMED_FRAMES
from service.video.drawing import draw
from service.video.film import BT709, LIMITED_RANGE, Film, FilmError, address, frames, opened, upright
from service.video.scenes import Scenes
from service.vision.image import DecodedImage

if TYPE_CHECKING:
    import av
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame

CODEC: Final = "libx264"
RATE_FACTOR: Final = "20"
"""Constant rate factor of the annotated film: x264's own default is 23, and letters want a little more."""
FORMER_AGE: Final = Column("age", "float")
"""The age once more, last, by the name that it had in the table of tracks before: scripts go on reading it."""


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
        out: Where it is written; its suffix names the format. It is there whole or, after an error, as it was.
        engine: What answers frames.
        options: Which faces and attributes are wanted.
        fps: Most frames a second that are searched for faces, beside the first one of each scene; None for all. Those between
            show the last faces.
        progress: Called with the share that is done, 0 to 1.
        warn: Called with a sentence about what is left out.
        record: Called with each face of each frame that was searched, also of those that are no track yet.

    Returns:
        Tracks of `CONFIRMED_FRAMES` frames or more.

    Raises:
        FilmError: A film cannot be read or written.
        Unavailable: The engine is closed.
        InferenceError: The detector or the network failed.
    """
    session = TrackingSession(engine.pipeline, options)
    tracks: dict[int, _TrackSpan] = {}
    result: FrameResult | None = None
    last_step = 0.0
    scenes = Scenes()
    began: float | None = None  # a recorder's clock may start at any hour
    with opened(source, str(source)) as film, _written(out, source, film, warn) as (write, pass_on):
        for number, frame in enumerate(frames(film, pass_on, warn)):
            time = float(frame.time or 0.0)
            began = time if began is None else began
            now = time - began
            pixels = upright(frame, film.aspect)
            if scenes.begins(pixels):
                session.cut()
                result = None
            if result is None or fps is None or _turn(now, fps) > _turn(last_step, fps):
                height, width = pixels.shape[:2]
                # No deadline: nobody waits for a single frame, and whoever stops the process (Ctrl-Z) goes on with it later.
                result, last_step = await session.step(DecodedImage(pixels, width, height), now, math.inf), now
                _record(tracks, result, now)
                for face in result.faces:
                    record(FrameRow(number, round(now, 3), face))
            write(_marked(pixels, result), frame)
            progress(min(1.0, now / film.seconds) if film.seconds else 0.0)
    progress(1.0)
    return [_row(identity, span) for identity, span in tracks.items() if span.face.frames >= CONFIRMED_FRAMES]


def _turn(seconds: float, fps: float) -> int:
    """The number of a moment's turn, `fps` a second. Matroska rounds a time to milliseconds: it may stand before its turn."""
    return math.floor((seconds + 0.001) * fps)


def tables_of(path: Path) -> list[Path]:
    """Name the files that `write_table` writes.

    Args:
        path: The CSV file.

    Returns:
        It, and the Parquet file beside it where pyarrow is installed.
    """
    return [path] if find_spec("pyarrow") is None else [path, path.with_suffix(".parquet")]


def write_table(rows: Sequence[TrackRow], attributes: Sequence[Attribute], path: Path) -> list[Path]:
    """Write the tracks as CSV, and beside it as Parquet where pyarrow is installed.

    Args:
        rows: The tracks.
        attributes: All that the model declares; each has three columns, named by `column_names`.
        path: The CSV file.

    Returns:
        The files, as of `tables_of`.

    Raises:
        OSError: A file cannot be written.
    """
    names = column_names(attributes)
    former = (FORMER_AGE,) if AGE in names.prefixes else ()
    columns = (*TRACK, *_columns(attributes, names), *former)
    values = [dict.fromkeys(column.name for column in columns) | _values(row, names) for row in rows]
    for cells in values if former else ():
        cells[FORMER_AGE.name] = cells["age_years"]
    with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [column.name for column in columns])
        table.writeheader()
        table.writerows(
            {name: str(cell).lower() if isinstance(cell, bool) else cell for name, cell in row.items()} for row in values
        )
    files = tables_of(path)
    if files == [path]:
        return files
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"int": pa.int64(), "float": pa.float64(), "string": pa.string(), "bool": pa.bool_()}
    schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
    with replacing(files[-1]) as new:
        pq.write_table(pa.Table.from_pylist(values, schema), new.absolute())  # or Arrow takes `camera:1/…` for an address
    return files


def _columns(attributes: Sequence[Attribute], names: ColumnNames) -> tuple[Column, ...]:
    """Three columns for each attribute."""
    return tuple(column for one in attributes for column in attribute_columns(one, names.prefixes[one.name]))


def _ending(name: str) -> str:
    """What the column of an expectation's value has behind its prefix."""
    return "_years" if name == AGE else ""


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
            cells |= {f"{prefix}{_ending(name)}": rounded, f"{prefix}_low": value.low, f"{prefix}_high": value.high}
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
            **face.quality.rounded(),
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
    analysis = Analysis(result.width, result.height, [*result.faces])
    return np.asarray(draw(Image.fromarray(pixels), analysis, [face.id for face in result.faces]))


# Files ----------------------------------------------------------------------------------------------------------------


@contextmanager
def _written(
    out: Path, source: Path, film: Film, warn: Callable[[str], None]
) -> Iterator[tuple[Callable[[Pixels, VideoFrame], None], Callable[[av.Packet[Stream]], None]]]:
    """What writes a picture in the place of a frame, and what passes a packet of sound on as it is."""
    import av

    _require_another(out, source)
    try:
        with _writable_folder(out), replacing(out) as new, _new_film(new) as container:
            rate = film.video.average_rate or Fraction(25)
            options = {"crf": RATE_FACTOR, "preset": "veryfast", "flags": "+frame_duration"}
            video = container.add_stream(CODEC, rate=rate, options=options)
            video.pix_fmt = "yuv420p"
            context = video.codec_context  # players guess by the size where nothing is named
            context.color_primaries = context.color_trc = context.colorspace = BT709
            context.color_range = LIMITED_RANGE
            if film.video.time_base is not None:
                context.time_base = film.video.time_base
            sound = _sound(container, film)
            early: deque[av.Packet[Stream]] = deque()  # the header wants the pictures' size, which the first one gives
            if film.audio is not None and sound is None:
                warn(f"the sound is left out: {out.suffix} does not take {_codec(film.audio)}")

            def write(pixels: Pixels, frame: VideoFrame) -> None:
                height, width = (side - side % 2 for side in pixels.shape[:2])  # what 4:2:0 can hold
                if not height * width:
                    raise FilmError(film.name, "its pictures are too small to be marked")
                if not video.codec_context.is_open:
                    video.width, video.height = width, height
                # A film may change its pictures' size, and a file not everywhere: later ones stand between bars.
                shown = ImageOps.pad(Image.fromarray(pixels[:height, :width]), (video.width, video.height))
                marked = av.VideoFrame.from_ndarray(np.asarray(shown), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE
                )
                marked.pts, marked.duration, marked.time_base = frame.pts, frame.duration, frame.time_base
                container.mux(video.encode(marked))
                while early:
                    container.mux(early.popleft())

            def pass_on(packet: av.Packet[Stream]) -> None:
                if sound is None:
                    return
                packet.stream = sound
                if video.codec_context.is_open:
                    container.mux(packet)
                else:
                    early.append(packet)

            yield write, pass_on
            container.mux(video.encode(None))
    except av.FFmpegError as error:
        raise FilmError(out, str(error.strerror)) from error
    except ValueError as error:
        raise FilmError(out, "the film's name must end in .mp4, .mov or .mkv") from error


def _new_film(path: Path) -> OutputContainer:
    """A film to write. Raises `ValueError` where its name ends as no format does, or as one of several files, as a playlist."""
    import av

    container = av.open(address(path), "w")
    if container.format.no_file:
        container.close()
        raise ValueError(container.format.name)
    return container


def _require_another(out: Path, source: Path) -> None:
    """Refuse a new film that is the old one, or a folder."""
    if out.exists() and out.samefile(source):
        raise FilmError(out, "this is the film itself; write to another file")
    if out.is_dir():
        raise FilmError(out, "this is a folder; name a file")


@contextmanager
def _writable_folder(out: Path) -> Iterator[None]:
    """The folder of the new film; refused before anything is analysed where it cannot be made or written to."""
    with ExitStack() as stack:
        try:  # FFmpeg opens the file when the encoder lets go of a picture, which may be forty later
            stack.enter_context(folder_made(out.parent))
            tempfile.TemporaryFile(dir=out.parent).close()
        except OSError as error:
            raise FilmError(out, error.strerror or str(error)) from error
        yield


def _sound(container: OutputContainer, film: Film) -> AudioStream | None:
    """A stream for the sound as it is, where the format takes it."""
    if film.audio is None or not _takes(container.format.name, film.audio):
        return None
    sound = container.add_stream_from_template(film.audio)
    channels = sound.codec_context.channels
    if sound.codec_context.layout.name == f"{channels} channels":  # an AVI's; MP4 wants to know which they are
        sound.codec_context.layout = f"{channels}c"  # FFmpeg's word for the usual ones
    return sound


def _codec(audio: AudioStream) -> str:
    """The name of a codec; of one that FFmpeg does not know there is no context."""
    context: AudioCodecContext | None = audio.codec_context
    return "its codec" if context is None else context.name


def _takes(form: str, audio: AudioStream) -> bool:
    """Whether a format takes sound as it is: its list of codecs has some that it refuses, such as Opus in QuickTime."""
    import av

    try:
        with av.open(io.BytesIO(), "w", form) as trial:
            trial.add_stream_from_template(audio)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True
