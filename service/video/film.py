"""A film's pictures, as players show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

import numpy as np

from service.arrays import Pixels
from service.extras import install_command
from service.vision import hdr, image

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.buffer import Buffer
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

PHOTO_SUFFIXES: Final = frozenset({".heic", ".heif", ".avif"})
HEAD_BYTES: Final = 256
"""Bytes by which a photo's format is recognised."""
MATROSKA, MATROSKA_SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
"""What a Matroska film begins with, and what the element that holds all of it does (RFC 8794, 11.2; RFC 9559, 5.1)."""
OPENING: Final = {"protocol_whitelist": "file"}
"""How FFmpeg opens a film: what leads elsewhere, as a session's description (SDP) does, opens no network."""
BROADCAST: Final = "mpegts"
"""FFmpeg's name of broadcasts. It marks packets of them that lack a part, and of other films the one in which a file ends."""
BACK_S: Final = 0.5
"""Seconds by which a stream's clock may go back within one recording."""
BACK_FRAMES: Final = 4
"""The same in pictures: an AVI's are timed in the order in which they are stored, not in which they are shown."""
AHEAD_S: Final = 3600
"""Seconds by which a broadcast's clock may go ahead within one recording. FFmpeg takes one that goes back by more than a minute
for one that ran over, and adds 26 hours.
"""
APART_S: Final = 0.002
"""Seconds from one picture to the next where their clock stands still or goes back, unless they are shorter: names of pictures
tell thousandths.
"""
FRAME_S: Final = 0.04
"""Seconds that a picture or a packet lasts that does not say so."""
MAX_PIXEL_ASPECT: Final = 4
"""Most that a pixel may be wider than high, or higher than wide; a larger ratio is a damaged header's."""
BT709: Final = 1
"""Primaries, transfer function and matrix of BT.709, by their number in ITU-T H.273, tables 2 to 4."""
NO_MATRIX: Final = 2
"""The number of a matrix that is not named."""
SD_SIDES: Final = (1279, 576)
"""Largest width and height of what players take for BT.601 where no matrix is named; what is larger is of BT.709, as in mpv."""
LIMITED_RANGE: Final = 1
"""`AVCOL_RANGE_MPEG` of FFmpeg: black is 16, and white 235."""
FULL_RANGE: Final[Pixels] = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)
"""Levels of full range by those of limited range (ITU-R BT.601)."""


class FilmError(OSError):
    """A film cannot be read or written, by its `name`, for a `reason`."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Film:
    """A film that is open: its pictures and sound, its seconds and its pixels' shape where the file says so, and whether it
    claims more bytes than there are.
    """

    name: str
    container: InputContainer
    video: VideoStream
    audio: AudioStream | None
    seconds: float | None
    declared_aspect: Fraction | None = None
    cut: bool = False

    @property
    def aspect(self) -> Fraction | None:
        """How many times a pixel is as wide as high: what the file says, or else the stream by now, as a broadcast changes it
        from one programme to the next; None where neither does.
        """
        return self.declared_aspect or self.video.codec_context.sample_aspect_ratio


@contextmanager
def opened(source: Path | IO[bytes], name: str) -> Iterator[Film]:
    """Open a film until the block ends.

    Args:
        source: Its file, or a stream that can be read anywhere.
        name: Its name, for what goes wrong.

    Yields:
        The film.

    Raises:
        FilmError: PyAV is not installed, or the file is no film.
    """
    if find_spec("av") is None:
        if isinstance(source, Path) and _starts_as_photo(source):
            raise _photo(name)
        raise FilmError(name, f"films need PyAV: {install_command('video')}")
    import av
    from av.stream import Disposition

    declared = _declared_bytes(_head(source))
    try:
        with av.open(address(source) if isinstance(source, Path) else source, "r", options=OPENING) as container:
            if _is_photo(name, container.format.name):
                raise _photo(name)
            shown = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
            if not shown:  # the cover of a song is none
                raise FilmError(name, "no pictures in it")
            video = max(shown, key=_is_default)
            video.thread_type = "AUTO"
            audio = max(container.streams.audio, key=_is_default, default=None)
            seconds = None if container.duration is None else container.duration / av.time_base
            aspect = video.sample_aspect_ratio
            own = None if aspect == video.codec_context.sample_aspect_ratio else aspect
            yield Film(name, container, video, audio, seconds, own, 0 < container.size < declared)
    except av.FFmpegError as error:
        raise _unreadable(name, error) from error


def _is_default(stream: Stream) -> bool:
    """Whether players take a stream before others of its kind; of several, or none, they take the first."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.default)


def address(path: Path) -> str:
    """A file as FFmpeg opens it, whatever is in its name: `12:30.mp4` alone would be a protocol.

    Args:
        path: The file.

    Returns:
        Its address.
    """
    return f"file:{path}"


def refuse_photo(path: Path) -> None:
    """Refuse a file that begins as a photo does, before anything else is asked for.

    Args:
        path: The file; one that cannot be read is for `opened` to name.

    Raises:
        FilmError: It is a photo.
    """
    if _starts_as_photo(path):
        raise _photo(str(path))


def _photo(name: str) -> FilmError:
    return FilmError(name, f"a photo, not a film; mark its faces with: facet predict {name} --draw OUT")


def _starts_as_photo(path: Path) -> bool:
    """Whether a file is a photo by its first bytes; a GIF may be a film."""
    return image.sniff(_head(path)) not in (None, "GIF")


def _head(source: Path | IO[bytes]) -> bytes:
    """The first bytes of a file or a stream; none of what cannot be read, or read once alone, which is for others to name."""
    try:
        if isinstance(source, Path):
            if not source.is_file():  # of a pipe they would be missed
                return b""
            with source.open("rb") as file:
                return file.read(HEAD_BYTES)
        head = source.read(HEAD_BYTES)
        source.seek(0)
    except OSError:
        return b""
    return head


def _declared_bytes(head: bytes) -> int:
    """Bytes that a Matroska or WebM film says that it has, by its first ones (RFC 8794, 4 and 6); 0 where it says nothing."""
    segment = head.find(MATROSKA_SEGMENT)
    if not head.startswith(MATROSKA) or segment < 0:
        return 0
    start = segment + len(MATROSKA_SEGMENT)
    width = 9 - int.from_bytes(head[start : start + 1], "big").bit_length()
    unknown = 2 ** (7 * width) - 1
    size = int.from_bytes(head[start : start + width], "big") & unknown
    return 0 if size == unknown else start + width + size


def _is_photo(name: str, demuxer: str) -> bool:
    """Whether a file is a single picture, by FFmpeg's name of its format; HEIC and AVIF are boxes as films have them."""
    return demuxer == "image2" or demuxer.endswith("_pipe") or Path(name).suffix.lower() in PHOTO_SUFFIXES


def _unreadable(name: str, error: av.FFmpegError) -> FilmError:
    from av.error import InvalidDataError

    return FilmError(name, "not a film, or a broken one" if isinstance(error, InvalidDataError) else str(error.strerror))


def frames(
    film: Film,
    pass_on: Callable[[av.Packet[Stream]], None] = lambda _: None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[VideoFrame]:
    """Read the pictures of a film; their times rise from 0, where it or its sound begins, and so do those of its sound.

    A film may be put together of recordings whose clocks begin anew: they follow one another here. Where a picture has no time,
    as in a stream without a container, it comes when the one before it ends. Damaged pictures are passed over, as players do,
    and a film that is cut off is read as far as it goes.

    Args:
        film: As it was opened; it is read once.
        pass_on: Takes each packet of sound that lies between them, and that has a time.
        warn: Called at the end with a sentence about damaged pictures, or a film that is cut off; None makes it an error, after
            all pictures.

    Yields:
        Every picture in order.

    Raises:
        FilmError: The film cannot be read to its end, or has no picture.
    """
    import av

    damaged, cut = 0, film.cut
    starts = [Fraction(-(film.container.start_time or 0), av.time_base)]
    broadcast = film.container.format.name == BROADCAST
    shown, heard = (_Clock(starts, Fraction(1, 1000), AHEAD_S if broadcast else math.inf) for _ in range(2))
    for packet, decoded in _packets(film):
        if packet.stream is film.audio and packet.dts is not None:
            shown_after = 0 if packet.pts is None else packet.pts - packet.dts
            packet.dts = heard.moved(packet.dts, packet.duration, packet.time_base)
            packet.pts = packet.dts + shown_after
            pass_on(packet)
        damaged += decoded is None
        cut = cut or (packet.is_corrupt and not broadcast)
        for frame in decoded or ():
            frame.pts = shown.moved(frame.dts if frame.pts is None else frame.pts, frame.duration, frame.time_base)
            yield frame
    if shown.last is None:
        raise FilmError(film.name, "no picture in it can be read")
    if damaged or cut:
        left_out = f"{damaged} of its pictures {'is' if damaged == 1 else 'are'} damaged and left out"
        said = "it is cut off, and what came after is missing" if cut else left_out
        if warn is None:
            raise FilmError(film.name, said)
        warn(f"{film.name}: {said}")


@dataclass(slots=True)
class _Clock:
    """Times of one stream in its `unit`, in seconds, moved so that they rise, by `ahead_s` at most; `last` is the last of them.

    `starts` has the seconds by which each recording's own times are moved. Streams share it, so that sound stays with pictures:
    the one that comes to a recording first says where it starts.
    """

    starts: list[Fraction]
    unit: Fraction
    ahead_s: float
    last: int | None = None
    recording: int = 0

    def moved(self, time: int | None, duration: int | None, unit: Fraction | None) -> int:
        """The time of what comes next, in `unit`: its own where it has one."""
        self.unit = unit or self.unit
        step = max(1, duration or round(FRAME_S / self.unit))
        if self.last is None:
            self.last = 0 if time is None else self._in_recording(time)
        elif time is None:
            self.last += step
        else:
            back = max(round(BACK_S / self.unit), BACK_FRAMES * step)
            ahead = max(self.ahead_s / self.unit, step)
            while not self.last - back <= self._in_recording(time) <= self.last + ahead:
                self.recording += 1
                if self.recording == len(self.starts):
                    self.starts.append((self.last + step - time) * self.unit)
            apart = min(step, max(1, round(APART_S / self.unit)))
            self.last = max(self._in_recording(time), self.last + apart)
        return self.last

    def _in_recording(self, time: int) -> int:
        return time + round(self.starts[self.recording] / self.unit)


def _packets(film: Film) -> Iterator[tuple[av.Packet[Stream], list[VideoFrame] | None]]:
    """Every packet in order, with the pictures that it brings; None where it is damaged. Raises `FilmError`, which names the
    film that is read.
    """
    import av
    from av.video.frame import VideoFrame

    streams = [film.video] if film.audio is None else [film.video, film.audio]
    try:
        for packet in film.container.demux(*streams):
            try:
                decoded = [] if packet.stream is film.audio or _repeats(packet) else packet.decode()
            except (LookupError, MemoryError):  # nothing can be decoded: no decoder, no memory
                raise
            except av.FFmpegError:  # each decoder has names of its own for damage
                yield packet, None
            else:
                yield packet, [frame for frame in decoded if isinstance(frame, VideoFrame)]
    except av.FFmpegError as error:
        raise _unreadable(film.name, error) from error


def _repeats(packet: av.Packet[Stream]) -> bool:
    """Whether an empty packet shows the picture before it for longer, as of Theora; one without a time ends the film."""
    return packet.size == 0 and packet.dts is not None


def upright(frame: VideoFrame, aspect: Fraction | None) -> Pixels:
    """Show a frame as players do: of square pixels, turned and mirrored as its matrix asks.

    Phones film on their side, front cameras in a mirror, and broadcast stores fewer columns than it shows. What is in PQ or HLG
    is brought to sRGB, each picture by its own highlights. FFmpeg takes grey for full range, whatever the film says, and a film
    that names no matrix for BT.601, whatever its size.

    Args:
        frame: As it was decoded.
        aspect: How many times a pixel is as wide as high; None where the film does not say.

    Returns:
        uint8 RGB [height, width, 3].
    """
    width, height = _square(frame.width, frame.height, aspect)
    large = frame.width > SD_SIDES[0] or frame.height > SD_SIDES[1]
    matrix = BT709 if frame.colorspace == NO_MATRIX and large else None
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height, src_colorspace=matrix).astype(np.uint8, copy=False)
    if frame.format.name.startswith("gray") and frame.color_range == LIMITED_RANGE:
        pixels = FULL_RANGE[pixels]
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
