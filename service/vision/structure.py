"""The structure of a JPEG, PNG, WebP or BMP file, read without decoding it: segments, chunks and scans, counted and capped."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from service.errors import CorruptImage

MAX_SCANS: Final = 100
"""Scans of a progressive JPEG; encoders write about ten, and each one costs a pass over the whole picture."""
MAX_PARTS: Final = 100_000
"""Segments or chunks of a file: a body of 20 MiB could hold millions that are empty, each of which costs time and memory."""
MAX_FILL_BYTES: Final = 64 * 1024
"""Bytes between two segments of a JPEG's head: Pillow passes over them one by one, a microsecond each."""
_SIMPLE_PARTS: Final = 1024
_SIMPLE_HEAD_BYTES: Final = 2**20
_SIMPLE_PNG_BYTES: Final = 64 * 2**20
_SIMPLE_TEXT_BYTES: Final = 64 * 1024
SIMPLE_PROFILE_BYTES: Final = 64 * 1024
"""Colour profiles above it may hold a chain of steps that takes seconds to compile; cameras' and screens' stay far below."""
_SMALL_PIXELS: Final = 4_000_000
_SMALL_BYTES: Final = 4 * 2**20
_SMALL_SCANS: Final = 16
_BMP_PLAIN: Final = {0, 3}

END: Final = b"\xff\xd9"
"""A JPEG's end marker; two such bytes stand nowhere among codes."""
_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")  # of fill bytes the last alone: `\xff+` takes a square of them
_ANY_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xff])")
_HUFFMAN: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3})
_NOTHING: Final = 99
"""Bits of a coefficient that no scan has brought yet."""
_LOSSLESS: Final = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_EXIF, _ADOBE, _COMMENT = 0xE1, 0xEE, 0xFE
_ADOBE_BYTES: Final = 14
_AVIF_HEAD_BYTES: Final = 2**20
_EXIF_ITEM: Final = re.compile(rb"(infe[\s\S]{8}(?:[\s\S]{2})?)Exif")
"""An entry of a file's items, of version 2 or 3, up to the kind of the item (ISO/IEC 14496-12, 8.11.6)."""
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN, _RESTART_INTERVAL, _PROFILE = 0xD8, 0xD9, 0xDA, 0xDD, 0xE2
_PNG_LENGTHS: Final = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"acTL": 8, b"cICP": 4}
_PNG_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
_PILLOWS_OWN: Final = re.compile(rb"[a-z_]+")
"""Names such as `transparency`, by which Pillow keeps what it knows of a photo, and beside it texts by their keywords."""
_PNG_PALETTE, _PNG_PALETTE_SIZE = 3, 256
_PNG_CLEAR_BYTES: Final = {0: 2, 2: 6}
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(slots=True)
class Structure:
    """How much work a file's structure asks of its decoder.

    `parts` are segments or chunks; `coefficient_bytes` is what a decoder of several scans keeps of the whole picture;
    `lossless` is whether a JPEG has samples in place of coefficients, so that no decoder can reduce it; `ended` whether an end
    marker stands behind its first scan, as it does before what phones add; `simple` is whether the decoder's work is bounded by
    the pixels alone, a small one for each, or by a small file of few pixels.
    """

    parts: int = 0
    coefficient_bytes: int = 0
    lossless: bool = False
    ended: bool = False
    simple: bool = False


def jpeg(data: bytes, max_scans: int = MAX_SCANS, *, whole: bool = True) -> Structure:
    """Structure of a JPEG (ITU T.81, annex B).

    Args:
        data: The file.
        max_scans: Most scans that it may have.
        whole: Whether it is read beyond its first scan; a small one always is.

    Returns:
        What was found.

    Raises:
        CorruptImage: It has more scans, more than `MAX_PARTS` segments, or more than `MAX_FILL_BYTES` between two of its head.
    """
    found = Structure()
    frame, components, blocks, scans, position, profile = 0, 0, 0, 0, 2, 0
    while (marker := _MARKER.search(data, position)) is not None:
        if not scans and marker.start() - position > MAX_FILL_BYTES:
            raise CorruptImage(f"The file has more than {MAX_FILL_BYTES} bytes between two segments that belong to none.")
        code, position = marker.group(1)[0], marker.end()
        if code == _END_OF_IMAGE:
            break
        found.parts += 1
        _cap_parts(found.parts)
        if code == _START_OF_IMAGE:
            continue
        if code == _START_OF_SCAN:
            scans += 1
            if scans > max_scans:
                raise CorruptImage(f"The image has more than {max_scans} scans, far more than any encoder writes.")
            if scans == 1:
                found.ended = data.rfind(END, position) >= 0
                several = frame not in (0xC0, 0xC1) or data[position + 2 : position + 3] != bytes([components])
                found.coefficient_bytes = 128 * blocks if several else 0
                small = 64 * blocks <= 3 * _SMALL_PIXELS and len(data) <= _SMALL_BYTES
                found.simple = (
                    (not several or small)
                    and found.parts <= _SIMPLE_PARTS
                    and position <= _SIMPLE_HEAD_BYTES
                    and profile <= SIMPLE_PROFILE_BYTES
                )
                if not several or not (whole or small):
                    break
            elif scans > _SMALL_SCANS:
                found.simple = False
        elif code in _FRAMES and not frame:
            found.lossless = code in _LOSSLESS
            frame, components = code, data[position + 7] if position + 7 < len(data) else 0
            blocks = _jpeg_blocks(data[position + 3 : position + 8 + 3 * components])
        length = max(2, int.from_bytes(data[position : position + 2], "big"))
        if code == _PROFILE and data.startswith(b"ICC_PROFILE\0", position + 2):
            profile += length
        position += length
    found.simple = found.simple and found.parts <= _SIMPLE_PARTS
    return found


def lacks_end_alone(data: bytes) -> bool:
    """Whether a Huffman-coded JPEG without an end marker has all else that can be counted: its scans bring every bit of every
    coefficient (ITU T.81, G.1.1), and the last one has all its restart intervals. How far that one goes only a decoder sees.

    Args:
        data: The file.

    Returns:
        Whether it does; False, too, for a frame that is arithmetic coded, or hierarchical.
    """
    frame = b""
    interval, restarts = 0, 0
    scan = b""
    lacking: dict[int, list[int]] = {}
    for code, segment in _segments(data):
        if 0xD0 <= code <= 0xD7:
            restarts += 1
        elif code in _FRAMES:
            if frame or code not in _HUFFMAN or len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
                return False
            frame = segment  # a lossless scan brings a component at once: what stands for a band is a predictor there
            lacking = {
                component: [_NOTHING] * (1 if code in _LOSSLESS else 64) for component in frame[6 : 6 + 3 * frame[5] : 3]
            }
        elif code == _RESTART_INTERVAL:
            interval = int.from_bytes(segment[:2], "big")
        elif code == _START_OF_SCAN:
            scan, restarts = segment[1 : 1 + 2 * segment[0] : 2] if len(segment) >= 6 else b"", 0
            if not set(scan) <= set(lacking) or len(segment) < 4 + 2 * len(scan):
                return False
            _bring(lacking, scan, segment[-3:])
    if not scan or any(any(bits) for bits in lacking.values()):
        return False
    return not interval or restarts == -(-_jpeg_units(frame, scan, 1 if len(lacking[scan[0]]) == 1 else 8) // interval) - 1


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Code and contents of every marker segment of a JPEG; restart markers have none."""
    position = 2
    while (marker := _ANY_MARKER.search(data, position)) is not None:
        code, position = marker.group(1)[0], marker.end()
        length = 0 if 0xD0 <= code <= _END_OF_IMAGE else max(2, int.from_bytes(data[position : position + 2], "big"))
        yield code, data[position + 2 : position + length]
        position += length


def _bring(lacking: dict[int, list[int]], scan: bytes, band: bytes) -> None:
    """Note the bits that coefficients lack behind a scan, of whose header the last three bytes are given."""
    for component in scan:
        bits = lacking[component]
        brought = slice(None) if len(bits) == 1 else slice(band[0], min(band[1], 63) + 1)
        bits[brought] = [band[2] & 15] * len(bits[brought])


def _jpeg_units(frame: bytes, scan: bytes, side: int) -> int:
    """Units that a scan codes (ITU T.81, A.2): blocks of `side` samples of one component, or of several ones together."""
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    sampling = {frame[at]: (frame[at + 1] >> 4 or 1, frame[at + 1] & 15 or 1) for at in range(6, 6 + 3 * frame[5], 3)}
    most_h, most_v = max(h for h, _ in sampling.values()), max(v for _, v in sampling.values())
    h, v = sampling[scan[0]] if len(scan) == 1 else (1, 1)
    return math.ceil(width * h / (side * most_h)) * math.ceil(height * v / (side * most_v))


def _jpeg_blocks(frame: bytes) -> int:
    """8 by 8 blocks of all components, from a frame header's height on (ITU T.81, B.2.2)."""
    if len(frame) < 5 or len(frame) < 5 + 3 * frame[4]:
        return 0
    height, width = struct.unpack(">HH", frame[:4])
    sampling = [(byte >> 4 or 1, byte & 15 or 1) for byte in frame[6::3][: frame[4]]]
    most_h, most_v = max((h for h, _ in sampling), default=1), max((v for _, v in sampling), default=1)
    units = -(-width // (8 * most_h)) * -(-height // (8 * most_v))
    return sum(units * h * v for h, v in sampling)


def png(data: bytes, *, whole: bool = True) -> Structure:
    """Structure of a PNG.

    Args:
        data: The file.
        whole: Whether a file of many chunks is read to its end.

    Returns:
        What was found.

    Raises:
        CorruptImage: It has more than `MAX_PARTS` chunks.
    """
    found = Structure()
    text, large, position = 0, False, 8
    while position + 8 <= len(data):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        found.parts += 1
        _cap_parts(found.parts)
        if not whole and found.parts > _SIMPLE_PARTS:
            return found
        if kind == b"acTL":
            large = True
        elif kind not in (b"IDAT", b"IHDR", b"PLTE", b"IEND"):
            text += length
        if kind == b"iCCP":
            large = large or _unfolds(data[position + 8 : position + 8 + length])
        position += 12 + length
    raw = 0
    if data[12:16] == b"IHDR" and len(data) >= 26:
        width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
        raw = height * (width * depth * _PNG_CHANNELS.get(colour, 4) // 8 + 1)
    found.simple = not large and found.parts <= _SIMPLE_PARTS and text <= _SIMPLE_TEXT_BYTES and 0 < raw <= _SIMPLE_PNG_BYTES
    return found


def sound_png(data: bytes) -> bytes:
    """Leave out a PNG's ancillary chunks that are damaged, as every viewer does (PNG, third edition, 13.2), and texts
    whose keyword Pillow would take for its own.

    Args:
        data: The file.

    Returns:
        The file itself where there are none.
    """
    kept, start, position = [], 0, 8
    colour = data[25] if len(data) > 25 else 0
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            break
        if data[position + 4] & 0x20 and not _is_sound(data[position + 4 : end], colour):
            kept.append(data[start:position])
            start = end
        position = end
    return b"".join([*kept, data[start:]]) if kept else data


def _is_sound(chunk: bytes, colour: int) -> bool:
    """Whether an ancillary chunk, from its name to its checksum, is of use and what it says, as far as a reader stumbles."""
    kind, content = chunk[:4], chunk[4:-4]
    if kind in _PNG_TEXTS and _PILLOWS_OWN.fullmatch(content.partition(b"\0")[0]):
        return False
    if zlib.crc32(chunk[:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    if kind in (b"zTXt", b"iCCP"):
        name, _, rest = content.partition(b"\0")
        return bool(name) and rest[:1] == b"\0"
    if kind == b"tRNS":
        clear = _PNG_CLEAR_BYTES.get(colour, 0)
        return len(content) <= _PNG_PALETTE_SIZE if colour == _PNG_PALETTE else len(content) == clear
    return len(content) == _PNG_LENGTHS.get(kind, len(content))


def png_coding(data: bytes) -> bytes:
    """The contents of a PNG's `cICP`, which stands before its pixels (PNG, third edition, 11.3.2.6).

    Args:
        data: The file, as `sound_png` returns it.

    Returns:
        Its 4 bytes; none where there is none.
    """
    position = 8
    while position + 12 <= len(data):
        kind, end = data[position + 4 : position + 8], position + 12 + int.from_bytes(data[position : position + 4], "big")
        if kind == b"cICP":
            return data[position + 8 : end - 4]
        if kind == b"IDAT":
            break
        position = end
    return b""


def sound_avif(data: bytes) -> bytes:
    """An AVIF that Pillow opens: by its own brand, and without EXIF, whose orientation does not count (MIAF, 7.3.6.7).

    Args:
        data: The file.

    Returns:
        The file itself where it is one.
    """
    if data[8:12] not in (b"avif", b"avis"):
        data = data[:8] + b"avif" + data[12:]
    head = data[:_AVIF_HEAD_BYTES]
    plain = _EXIF_ITEM.sub(rb"\1skip", head)
    return data if plain == head else plain + data[len(head) :]


def bare_jpeg(data: bytes, *, exif: bool) -> bytes:
    """A JPEG without the application segments over which readers stumble.

    Args:
        data: The file.
        exif: Whether its `APP1` stay, which hold the orientation.

    Returns:
        The file with its frames and scans, and an Adobe segment of full length, which names the colours.
    """
    kept, start, position = [], 0, 2
    while (marker := _MARKER.search(data, position)) is not None:
        code, position = marker.group(1)[0], marker.end()
        if code in (_END_OF_IMAGE, _START_OF_SCAN):
            break
        end = position + max(2, int.from_bytes(data[position : position + 2], "big"))
        adobe = code == _ADOBE and end - position >= _ADOBE_BYTES
        if (0xE0 <= code <= 0xEF and not adobe and not (exif and code == _EXIF)) or code == _COMMENT:
            kept.append(data[start : marker.start()])
            start = end
        position = end
    return b"".join([*kept, data[start:]])


def _unfolds(chunk: bytes) -> bool:
    """Whether a PNG's compressed profile unfolds to more than `SIMPLE_PROFILE_BYTES`, or cannot be told."""
    try:
        profile = zlib.decompressobj().decompress(chunk[chunk.find(b"\0") + 2 :], SIMPLE_PROFILE_BYTES + 1)
    except zlib.error:
        return True
    return len(profile) > SIMPLE_PROFILE_BYTES


@dataclass(slots=True)
class WebP:
    """Header of a WebP: the canvas in pixels, how it is coded, its metadata chunks by name, and `simple` as of `Structure`.

    `end` is where its last whole chunk ends, `pixels_end` where the last one of its pixels does; both in bytes.
    """

    width: int = 0
    height: int = 0
    alpha: bool = False
    lossless: bool = False
    animated: bool = False
    parts: int = 0
    metadata: dict[bytes, bytes] = field(default_factory=dict)
    simple: bool = False
    end: int = 0
    pixels_end: int = 0


def webp(data: bytes) -> WebP:
    """Header of a WebP file (its container specification, RFC 9649).

    Args:
        data: The file.

    Returns:
        What was found.

    Raises:
        CorruptImage: There is no canvas in it, or more than `MAX_PARTS` chunks.
    """
    found = WebP()
    position, framed = 12, False
    while position + 8 <= len(data):
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        body = position + 8
        found.parts += 1
        _cap_parts(found.parts)
        if kind == b"VP8X" and not found.width:
            flags = data[body] if body < len(data) else 0
            found.alpha, found.animated = bool(flags & 0x10), bool(flags & 0x02)
            found.width = int.from_bytes(data[body + 4 : body + 7], "little") + 1
            found.height = int.from_bytes(data[body + 7 : body + 10], "little") + 1
        elif kind == b"VP8L":
            found.lossless = True
            bits = int.from_bytes(data[body + 1 : body + 5], "little")
            found.alpha = found.alpha or bool(bits >> 28 & 1)
            if not found.width:
                found.width, found.height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif kind == b"VP8 " and not found.width and data[body + 3 : body + 6] == b"\x9d\x01\x2a":
            found.width = int.from_bytes(data[body + 6 : body + 8], "little") & 0x3FFF
            found.height = int.from_bytes(data[body + 8 : body + 10], "little") & 0x3FFF
        elif kind == b"ANMF" and not framed:
            framed = True
            found.alpha = found.alpha or _is_clear(data[body : body + 29], found.width, found.height)
        elif kind in (b"ICCP", b"EXIF", b"XMP "):
            found.metadata.setdefault(kind, data[body : body + length])
        position = body + length + (length & 1)
        if kind in (b"VP8 ", b"VP8L", b"ANMF"):
            found.pixels_end = position
        if body + length <= len(data):
            found.end = position
    if not found.width or not found.height:
        raise CorruptImage("The image's header is damaged.")
    small = found.width * found.height <= _SMALL_PIXELS and len(data) <= _SMALL_BYTES
    described = sum(len(content) for content in found.metadata.values())
    plain = small and not found.animated and len(found.metadata.get(b"ICCP", b"")) <= SIMPLE_PROFILE_BYTES
    found.simple = plain and found.parts <= _SIMPLE_PARTS and described <= _SIMPLE_HEAD_BYTES
    return found


def _is_clear(frame: bytes, width: int, height: int) -> bool:
    """Whether an animation's frame, whose first 29 bytes are given, leaves some of the canvas clear, or may."""
    covered = int.from_bytes(frame[6:9], "little") + 1, int.from_bytes(frame[9:12], "little") + 1
    kind = frame[16:20]
    alpha = kind == b"ALPH" or (kind == b"VP8L" and bool(int.from_bytes(frame[25:29], "little") >> 28 & 1))
    return covered != (width, height) or alpha


def bmp(data: bytes) -> Structure:
    """Structure of a BMP.

    Args:
        data: The file.

    Returns:
        What was found; it is one part.
    """
    found = Structure(parts=1)
    if len(data) >= 34 and int.from_bytes(data[14:18], "little") >= 40:
        width, height = struct.unpack("<ii", data[18:26])
        plain = int.from_bytes(data[30:34], "little") in _BMP_PLAIN
        found.simple = plain and abs(width * height) <= _SMALL_PIXELS
    return found


def _cap_parts(parts: int) -> None:
    if parts > MAX_PARTS:
        raise CorruptImage(f"The file has more than {MAX_PARTS} segments, far more than any encoder writes.")
