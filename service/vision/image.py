"""Bytes of a photo to an upright sRGB array: what is known of formats, EXIF, colours and pixel caps comes together here."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import pi_heif
import simplejpeg
from PIL import AvifImagePlugin, ExifTags, Image

from service.arrays import Pixels
from service.errors import CorruptImage, EmptyFile, ImageTooLarge, ImageTooSmall, UnsupportedFormat
from service.vision import colour, hdr, structure

pi_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = None  # `decode` checks the size itself, against the operator's cap, before a pixel is decoded
logging.getLogger("PIL").setLevel(logging.INFO)  # below it, Pillow logs what it finds in EXIF, and that is the client's
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of the same; each text is kept for ever
cv2.utils.logging.setLogLevel(0)  # OpenCV writes several lines of its own beside the log for each damaged photo

MIN_SIDE: Final = 16
"""Smallest side, in pixels, of a photo that is analysed."""

PREVIEW_SIDE: Final = 1280
"""Longest side, in pixels, of a preview."""
_BAND_PIXELS: Final = 2**18
"""Pixels of a large photo that are converted and reduced at a time."""
_BAND_BYTES: Final = 24
"""Bytes that this takes for each of them."""
_BYTES_PER_PIXEL: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2}
"""Bytes that Pillow keeps of a pixel, by mode; 4 for any other."""
_BYTES_PER_ROW: Final = 8
"""Bytes of Pillow's pointer to a row: in the narrowest photos a tenth of all."""
_NO_CODE: Final = b"\xff\x00"
"""Eight bits of ones, of which no Huffman code of a JPEG consists (ITU T.81, C.2)."""
_LOOK_AHEAD: Final = 8
"""Bytes that a decoder of Huffman codes may read beyond the last code."""
_BMP_RUN_LENGTH: Final = {1, 2}
MAX_RUN_LENGTH_PIXELS: Final = 8_000_000
"""Pixels of a run-length coded BMP: Pillow fills them in Python, a tenth of a second for a million."""

_BMP_HEADER_SIZES: Final = {12, 16, 40, 52, 56, 64, 108, 124}
_HEIF_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HAS_ALPHA: Final = {"RGBA", "LA", "PA", "La", "RGBa"}
_EXIF: Final = ("exif", "Raw profile type exif")
"""What Pillow keeps EXIF by; the second is a text of PNGs of old writers."""
_GREY: Final = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}


_DAMAGE: Final = (
    *(OSError, EOFError, SyntaxError, ValueError, LookupError, OverflowError, RuntimeError),
    *(struct.error, zlib.error, cv2.error, Image.DecompressionBombError),
)
"""What Pillow, OpenCV and libheif raise on damaged bytes. Anything else, such as a `TypeError`, is a bug."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An upright photo.

    `pixels` is uint8 RGB [height, width, 3], perhaps decoded at a reduced size; `width` and `height` are the full upright
    photo's in pixels.
    """

    pixels: Pixels
    width: int
    height: int

    @property
    def scale(self) -> float:
        """Decoded pixels per full-size pixel, at most 1."""
        return float(max(self.pixels.shape[:2]) / max(self.width, self.height))


def sniff(data: bytes) -> str | None:
    """Recognise a photo's format by its first bytes.

    Args:
        data: A file's bytes.

    Returns:
        Pillow's name of the format, or None for a format that is not read.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if data[4:8] == b"ftyp":
        size = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12]} | {data[i : i + 4] for i in range(16, size - 3, 4)}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    return None


@dataclass(frozen=True, slots=True)
class Header:
    """What a photo declares: its format, its full size in pixels as it is stored, and the bytes that decoding it takes."""

    format: str
    width: int
    height: int
    cost: int


@dataclass(frozen=True, slots=True)
class _Coding:
    """Primaries and transfer function of colours, by their numbers in ITU-T H.273."""

    primaries: int
    transfer: int


@dataclass(frozen=True, slots=True)
class _Photo:
    """An opened photo."""

    format: str
    full: tuple[int, int]
    """Width and height in pixels, as it is stored."""
    size: tuple[int, int]
    """Width and height to which it is decoded."""
    carrier: Image.Image
    """Has its metadata."""
    work: float
    """Bytes that its decoder takes."""
    load: Callable[[], Image.Image | Pixels]
    """Decodes it, to an image or to an array [height, width(, channels)] of the carrier's mode."""
    coding: _Coding | None = None
    """That of its colours where they are of high dynamic range."""
    ours: bool = False
    """Whether what it is decoded to is an RGB array that nobody else holds."""
    gamma: float | None = None
    """Power of light that its codes are, where nothing else says what colours they stand for."""


def is_simple(data: bytes) -> bool:
    """Whether decoding takes little: its work is bounded by the pixels alone, or by a small file of few pixels.

    Args:
        data: Bytes of a file.

    Returns:
        Whether it is; True, too, for what is refused by its first bytes.

    Raises:
        CorruptImage: The file is made of too many parts.
    """
    form = sniff(data)
    if form == "JPEG":
        return structure.jpeg(data, whole=False).simple
    if form == "PNG":
        return structure.png(data, whole=False).simple
    if form == "WEBP":
        return structure.webp(data).simple
    return form is None or (form == "BMP" and structure.bmp(data).simple)  # no format: refused by its first bytes


def limit_threads(threads: int) -> None:
    """Bound the threads of the libraries that decode with several.

    Args:
        threads: How many each of them may use.
    """
    AvifImagePlugin.DEFAULT_MAX_THREADS = threads
    pi_heif.options.DECODE_THREADS = threads
    cv2.setNumThreads(threads)


def probe(data: bytes, *, max_pixels: int, side: int = 1280) -> Header:
    """Read the header alone: what decoding would produce and cost.

    Args:
        data: A file's bytes.
        max_pixels: Most pixels that the photo may have.
        side: As `decode` takes it.

    Returns:
        The format, the full size in pixels as it is stored, and the bytes of memory that decoding takes.

    Raises:
        EmptyFile: There are no bytes.
        UnsupportedFormat: The format is not one that is read.
        CorruptImage: The header is damaged.
        ImageTooSmall: A side is below `MIN_SIDE`.
        ImageTooLarge: It has more than `max_pixels`.
    """
    photo = _open(data, max_pixels, side)
    width, height = photo.size
    factor = _factor(photo.size, side)
    reduced = -(-width // factor) * -(-height // factor)
    band = min(width * height, max(_BAND_PIXELS, factor * width))
    converted = 3 * reduced if photo.ours and factor == 1 else 6 * reduced + _BAND_BYTES * band
    return Header(photo.format, *photo.full, round(photo.work) + converted + 2 * len(data))


def decode(data: bytes, *, max_pixels: int, side: int) -> DecodedImage:
    """Decode a photo to upright sRGB pixels.

    The first frame of an animation is taken; transparency is laid on white. HEIC, AVIF and PNG in PQ or HLG are tone-mapped.

    Args:
        data: A file's bytes.
        max_pixels: Most pixels that the photo may have.
        side: Longest side, in pixels, that the caller will look at. A larger photo is reduced to an eighth, a quarter or a half
            whose longest side is still at least that; a JPEG reduces while it decodes, and a very wide one once more.

    Returns:
        The pixels, and the size of the full upright photo.

    Raises:
        EmptyFile: There are no bytes.
        UnsupportedFormat: The format is not one that is read.
        CorruptImage: The bytes are truncated or damaged.
        ImageTooSmall: A side is below `MIN_SIDE`.
        ImageTooLarge: It has more than `max_pixels`.
        MemoryError: There is not enough memory.
    """
    photo = _open(data, max_pixels, side)
    with _reading("The image is truncated or damaged."):
        source = photo.load()
    orientation = _orientation(photo.carrier)  # not before: Pillow looks for a PNG's behind its pixels, and loads them
    pixels = _to_rgb(source, photo.carrier, side, ours=photo.ours)
    if photo.coding is not None:
        pixels = hdr.tone_map(pixels, photo.coding.transfer, photo.coding.primaries)
    elif photo.gamma:
        pixels = colour.gamma_to_srgb(pixels, photo.gamma)
    pixels = _upright(pixels, orientation)
    width, height = photo.full if orientation < 5 else photo.full[::-1]
    return DecodedImage(pixels, width, height)


def preview(pixels: Pixels) -> bytes:
    """Encode a picture for somebody whose program cannot show the photo that it came of.

    Args:
        pixels: uint8 RGB [H, W, 3].

    Returns:
        The bytes of a JPEG of the same orientation and colours, whose longest side has at most `PREVIEW_SIDE` pixels.
    """
    picture = Image.fromarray(pixels)
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def noise(side: int) -> bytes:
    """Encode a picture of grey noise, with which a pipeline is warmed up.

    Args:
        side: Its side in pixels.

    Returns:
        The bytes of a JPEG; always the same ones for a side.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def _open(data: bytes, max_pixels: int, side: int) -> _Photo:
    if not data:
        raise EmptyFile("The file is empty.")
    form = sniff(data)
    if form is None:
        raise UnsupportedFormat("The file is not a JPEG, PNG, WebP, HEIC, AVIF, BMP or GIF image.")
    if form == "WEBP":
        photo = _open_webp(data)
    elif form == "HEIF":
        photo = _open_heif(data)
    else:
        photo = _open_with_pillow(data, form, side)
    _check_size(photo.full, max_pixels)
    return photo


@contextlib.contextmanager
def _reading(message: str) -> Iterator[None]:
    """A library reads a photo's bytes inside: what it raises on damaged ones becomes `CorruptImage`."""
    try:
        yield
    except _DAMAGE as error:
        raise CorruptImage(message) from error


def _opened(data: bytes, form: str) -> Image.Image:
    """What Pillow reads of a photo's header."""
    with _reading("The image's header is damaged."):
        return Image.open(io.BytesIO(data), formats=[form])


def _opened_soundly(data: bytes, form: str) -> tuple[bytes, Image.Image]:
    """A file without what Pillow stumbles over and no viewer minds, and what it reads of its header."""
    if form == "JPEG":
        image = None
        for exif in (True, False):
            with contextlib.suppress(CorruptImage):
                image = _opened(data, form)
                break
            data = structure.bare_jpeg(data, exif=exif)
        image = image or _opened(data, form)
        _take_late_profile(image)
    elif form == "PNG":
        data = structure.sound_png(data)
        image = _opened(data, form)
        _scale_clear_colour(image, data[24])
    else:
        data = structure.sound_avif(data) if form == "AVIF" else data
        image = _opened(data, form)
    return data, image


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if min(size) < MIN_SIDE:
        raise ImageTooSmall(f"The image is {size[0]}x{size[1]}; each side must have {MIN_SIDE} pixels or more.")
    if size[0] * size[1] > max_pixels:
        raise ImageTooLarge(f"The image has {size[0]}x{size[1]} pixels; at most {max_pixels / 1e6:g} million are accepted.")


def _open_with_pillow(data: bytes, form: str, side: int) -> _Photo:
    readers = {"JPEG": structure.jpeg, "PNG": structure.png}
    parts = readers[form](data) if form in readers else structure.Structure()
    data, image = _opened_soundly(data, form)
    full = image.size
    frame = _part_of_screen(image) if form == "GIF" else None
    if form == "JPEG" and not parts.lossless:
        image.draft(None, _at_least(full, side))
    endless = form == "JPEG" and not parts.ended
    plain = form == "JPEG" and image.mode == "RGB"

    def load() -> Image.Image | Pixels:
        try:
            if plain:
                pixels = _decompressed(data, image.size)
                return _load_into_array(image) if pixels is None else pixels
            image.load()
        except OSError:
            if not endless:
                raise
            image.im = Image.new("L", (1, 1)).im  # its pixels go before others come
            return _load_without_end(data, side)
        if form == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
            image.putalpha(255)  # the fourth byte was never meant: nobody sends a picture of nothing
        return image if frame is None else _on_screen(image, frame)

    work = _work(data, form, image, parts, endless=endless, partial=frame is not None)
    coding = None if form != "PNG" and "icc_profile" in image.info else _coding(data, form)
    if coding is not None:
        image.info.pop("icc_profile", None)  # a PNG's cICP goes before it (third edition, 4.3)
    return _Photo(form, full, image.size, image, work, load, coding, plain, _gamma(data, image) if form == "PNG" else None)


def _work(data: bytes, form: str, image: Image.Image, parts: structure.Structure, *, endless: bool, partial: bool) -> float:
    """Bytes that Pillow takes to decode an opened photo, beside the file."""
    pixels = image.width * image.height
    work = pixels * (_BYTES_PER_PIXEL.get(image.mode, 4) + 0.1) + _BYTES_PER_ROW * image.height
    work += 256 * parts.parts + parts.coefficient_bytes
    if endless:
        work += 7 * pixels + _BAND_BYTES * min(pixels, max(_BAND_PIXELS, image.width)) + len(data)
    elif form == "GIF":
        work += pixels * (11 if partial else 1)
    elif form == "BMP" and int.from_bytes(data[30:34], "little") in _BMP_RUN_LENGTH:
        work += 4 * pixels
        if pixels > MAX_RUN_LENGTH_PIXELS:
            most = MAX_RUN_LENGTH_PIXELS / 1e6
            raise ImageTooLarge(
                f"The image has {image.width}x{image.height} pixels; of a run-length coded BMP {most:g} million are accepted."
            )
    elif form == "AVIF":
        work = pixels * _avif_bytes(data, image.mode) + len(data)
    return work


def _coding(data: bytes, form: str) -> _Coding | None:
    """The coding of colours of high dynamic range that an AVIF (ISO/IEC 14496-12, 12.1.5) or a PNG (its `cICP`) declares.

    Of an AVIF with a gain map the picture that is decoded is the one of standard range, whatever the other one's coding is.
    """
    found: list[_Coding] = []
    if form == "PNG":
        code = structure.png_coding(data)
        found = [_Coding(code[0], code[1])] if code else []
    elif form == "AVIF" and not _positions(data, b"tmap"):
        codes = [data[at + 8 : at + 12] for at in _positions(data, b"colrnclx")]
        found = [_Coding(*struct.unpack(">HH", code)) for code in codes if len(code) == 4]
    return next((one for one in found if hdr.is_hdr(one.transfer)), None)


def _gamma(data: bytes, image: Image.Image) -> float | None:
    """A PNG's gamma, where no chunk that goes before it says what its colours are (PNG, third edition, 4.3)."""
    if "icc_profile" in image.info or "srgb" in image.info or structure.png_coding(data):
        return None
    gamma = image.info.get("gamma")
    return gamma if isinstance(gamma, float) else None


def _take_late_profile(image: Image.Image) -> None:
    """Note a JPEG's colour profile that stands behind the frame header, where Pillow has put together what it knew by then."""
    pieces: list[bytes] = sorted(getattr(image, "icclist", ()))
    if pieces and not image.info.get("icc_profile") and pieces[0][13:14] == bytes([len(pieces) & 255]):
        image.info["icc_profile"] = b"".join(piece[14:] for piece in pieces)


def _scale_clear_colour(image: Image.Image, depth: int) -> None:
    """Bring a PNG's clear colour to the eight bits that Pillow brings its samples to; of 16-bit grey it leaves both."""
    clear = image.info.get("transparency")
    if image.mode == "L" and isinstance(clear, int) and depth in (2, 4):
        image.info["transparency"] = clear * 255 // (2**depth - 1)
    elif image.mode == "RGB" and isinstance(clear, tuple) and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _part_of_screen(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Where a GIF's first frame lies, left, top, right and bottom; None where it fills the screen."""
    tiles = getattr(image, "tile", ())
    return None if not tiles or tiles[0][1] == (0, 0, *image.size) else tiles[0][1]


def _on_screen(image: Image.Image, frame: tuple[int, int, int, int]) -> Image.Image:
    """A GIF's first frame on its screen, which is clear where the frame does not reach: browsers ignore the background."""
    shown = Image.new("RGBA", image.size)
    shown.paste(image.convert("RGBA").crop(frame), frame[:2])
    return shown


def _decompressed(data: bytes, size: tuple[int, int]) -> Pixels | None:
    """An RGB JPEG's pixels in a size that Pillow's `draft` gives; None where libjpeg finds it anything but sound.

    Pillow decodes to four bytes a pixel, which takes a fifth longer with the way from there to three. What of a damaged file is
    shown, and what is refused, stays its decision.
    """
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_width=size[0], min_height=size[1])
    except ValueError:
        return None
    return pixels if pixels.shape[1::-1] == size else None


def _load_into_array(image: Image.Image) -> Pixels:
    """An opened RGB image's pixels, decoded into an array's memory: Pillow would copy its own twice on the way to an array."""
    pixels = np.zeros((image.height, image.width, 4), np.uint8)  # no other photo's, whatever a decoder leaves out

    def load_prepare() -> None:
        image.im = Image.frombuffer("RGBX", image.size, pixels, "raw", "RGBX", 0, 1).im

    image.load_prepare = load_prepare  # type: ignore[attr-defined]  # Pillow's own takes memory for what it will decode
    try:
        image.load()
    finally:
        del image.load_prepare  # type: ignore[attr-defined]  # else the image holds itself, and its pixels with it
        image.im = Image.new("RGB", (1, 1)).im  # who holds the image for its metadata needs no pixels of it
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB).astype(np.uint8, copy=False)


def _load_without_end(data: bytes, side: int) -> Image.Image:
    """A JPEG that lacks its end marker. Raises `CorruptImage` where more than a corner of a few blocks is lacking.

    The decoder looks ahead, so it gets bits that are no code. Behind its last scan it throws them away; within one it leaves
    those of a block that it cannot finish, but where they end with the bits that it holds: hence eight counts of them.
    """
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    if not structure.lacks_end_alone(data):
        raise CorruptImage("The image is truncated or damaged.")
    image.draft(None, _at_least(image.size, side))
    name, extents, _, arguments = image.tile[0]
    image.load_prepare()
    decoder = Image._getdecoder(image.mode, name, arguments, image.decoderconfig)  # noqa: SLF001 - `load` hides what it leaves
    try:
        decoder.setimage(image.im, extents)
        rest = data + _LOOK_AHEAD * _NO_CODE
        for more in (*[_NO_CODE] * _LOOK_AHEAD, structure.END, b""):
            used, error = decoder.decode(rest)
            if used < 0 and not error:
                break
            rest = rest[used:]
            if used < 0 or rest:
                raise CorruptImage("The image is truncated or damaged.")
            rest = more
    finally:
        decoder.cleanup()
    image.tile = []
    return image


def _avif_bytes(data: bytes, mode: str) -> float:
    """Bytes a pixel that libavif and Pillow take, from the AV1 configuration (AV1-ISOBMFF 2.3.3): its planes and what is kept
    beside them, the interleaved channels, and Pillow's image.
    """
    found = [data[at + 6] for at in _positions(data, b"av1C") if at + 6 < len(data)]
    first = found[0] if found else 0
    planes = 1.0 if first & 0x10 else {0x0C: 1.5, 0x08: 2.0}.get(first & 0x0C, 3.0)
    alpha = mode in _HAS_ALPHA
    depth = 2 if not found or any(flags & 0x40 for flags in found) else 1
    return 1.3 * depth * (planes + alpha) + len(mode) + (1 if mode == "L" else 4)


def _positions(data: bytes, name: bytes) -> list[int]:
    """Where a box's name stands in a file's first bytes; its first few."""
    found: list[int] = []
    at = -1
    while len(found) < 16 and (at := data.find(name, at + 1, 2**20)) >= 0:
        found.append(at)
    return found


def _open_webp(data: bytes) -> _Photo:
    """A still WebP goes through OpenCV, which takes a third of the memory that Pillow's reader of animations does."""
    found = structure.webp(data)
    full = found.width, found.height
    carrier = Image.new("RGB", (1, 1))
    names = {b"ICCP": "icc_profile", b"EXIF": "exif"}
    carrier.info.update({names[kind]: content for kind, content in found.metadata.items() if content and kind in names})

    def framed() -> bytes:
        """The file, with its true length where the one that it declares leaves pixels out or goes beyond its end."""
        if found.pixels_end <= 8 + int.from_bytes(data[4:8], "little") <= len(data) or found.end < found.pixels_end:
            return data
        return data[:4] + (found.end - 8).to_bytes(4, "little") + data[8 : found.end].ljust(found.end - 8, b"\0")

    def still() -> Pixels:
        data = framed()
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is None or pixels.shape[:2] != full[::-1]:
            raise CorruptImage("The image is truncated or damaged.")
        code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        for top in range(0, full[1], 256):  # in place: whole, it would be a second copy
            pixels[top : top + 256] = cv2.cvtColor(pixels[top : top + 256], code)
        return pixels.astype(np.uint8, copy=False)

    def animated() -> Image.Image:
        marked = bytearray(framed())
        if found.alpha and data[12:16] == b"VP8X":
            marked[20] |= 0x10  # without it Pillow lays the frame on black
        image = _opened(bytes(marked), "WEBP")
        image.load()
        return image

    each = 16.5 if found.animated else 6.3 + 1.3 * found.lossless + 2.0 * found.alpha
    work = full[0] * full[1] * each + 256 * found.parts + len(data)
    return _Photo("WEBP", full, full, carrier, work, animated if found.animated else still)


def _open_heif(data: bytes) -> _Photo:
    """HEIC without Pillow's copy. The decoder turns it upright, so that no orientation is left."""
    with _reading("The image's header is damaged."):
        file = pi_heif.HeifFile(io.BytesIO(data), convert_hdr_to_8bit=True, hdr_to_16bit=True, remove_stride=False)
        primary = file[file.primary_index]
    carrier = Image.new("RGB", (1, 1))
    if "icc_profile" in primary.info:
        carrier.info["icc_profile"] = primary.info["icc_profile"]
    nclx = primary.info.get("nclx_profile", {})
    coding = _Coding(int(nclx.get("color_primaries", 0)), int(nclx.get("transfer_characteristics", 0)))
    full = int(primary.size[0]), int(primary.size[1])

    def load() -> Image.Image | Pixels:
        # Rows are padded to any number of bytes; the library's own array takes them for whole pixels, and shears the picture.
        interface = primary.__array_interface__
        if tuple(primary.size) != full:
            raise CorruptImage("The image is cut to more than there is of it.")
        kind, channels = np.dtype(interface["typestr"]), interface["shape"][2:]
        steps = (primary.stride, kind.itemsize * math.prod(channels), *(kind.itemsize for _ in channels))
        shape = (*primary.size[::-1], *channels)
        pixels: Pixels = np.ndarray(shape, kind, interface["data"], strides=steps)
        return Image.fromarray(pixels, "RGBa") if primary.mode == "RGBa" else pixels

    depth = 2 if int(primary.info.get("bit_depth", 8)) > 8 else 1
    each = 2.3 * depth + len(primary.mode) + (1.5 * depth if "a" in primary.mode.lower() else 0)
    work = full[0] * full[1] * each + 2 * len(data)
    return _Photo("HEIF", full, full, carrier, work, load, coding if hdr.is_hdr(coding.transfer) else None)


def _at_least(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Size to ask of the JPEG decoder: it takes the smallest of 1/8, 1/4, 1/2 and 1 that is no smaller than this."""
    ratio = min(1.0, side / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where EXIF is absent, damaged or out of range.

    What XMP says, which Pillow takes where EXIF is silent, does not count, as in browsers: editors that turn pixels leave it.
    """
    bare = Image.new("L", (1, 1))
    bare.info = {name: image.info[name] for name in _EXIF if name in image.info}
    try:
        value = bare.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:  # a damaged EXIF block must not cost the photo
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _factor(size: tuple[int, int], side: int) -> int:
    """8, 4, 2 or 1: by how much a picture is reduced that is to stay at `side` or above."""
    return next((factor for factor in (8, 4, 2) if max(size) >= factor * side), 1)


def _to_rgb(source: Image.Image | Pixels, carrier: Image.Image, side: int, *, ours: bool) -> Pixels:
    """Decoded pixels in any mode to uint8 sRGB [height, width, 3], reduced by 2, 4 or 8 where they stay above `side`.

    It is converted in bands, so that no copy of the whole is made.
    """
    height, width = source.shape[:2] if isinstance(source, np.ndarray) else source.size[::-1]
    factor = _factor((width, height), side)
    icc = carrier.info.get("icc_profile")
    if factor == 1 and ours and isinstance(source, np.ndarray):
        return colour.rgb_to_srgb(source, icc) if icc else source
    rows = factor * max(1, _BAND_PIXELS // (factor * width))
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        pixels[top // factor : -(-bottom // factor)] = _band_to_rgb(_band(source, top, bottom), factor, icc)
    return pixels


def _band(source: Image.Image | Pixels, top: int, bottom: int) -> Image.Image:
    """Rows of a decoded picture."""
    if isinstance(source, np.ndarray):
        return Image.fromarray(np.ascontiguousarray(source[top:bottom]))
    return source if (top, bottom) == (0, source.height) else source.crop((0, top, source.width, bottom))


def _band_to_rgb(image: Image.Image, factor: int, icc: bytes | None) -> Pixels:
    """Rows in any mode to uint8 sRGB, reduced by `factor`."""
    grey = image.mode in _GREY
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in ("RGB", "L", "1") and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips it to near white
        image = _narrowed(np.asarray(image), image.info.get("transparency"))
    if image.mode == "1":
        image = image.convert("L")
    if factor > 1:
        image = image.reduce(factor)
    if image.mode in _HAS_ALPHA:
        rgba = image.convert("RGBA")
        colours = colour.to_srgb(rgba.getchannel("R"), icc) if icc and grey else rgba
        image = Image.new("RGB", rgba.size, (255, 255, 255))
        image.paste(colours, mask=rgba.getchannel("A"))
        icc = None if grey else icc
    if icc and image.mode == "RGB":
        return colour.rgb_to_srgb(np.array(image, dtype=np.uint8), icc)
    if icc:
        image = colour.to_srgb(image, icc)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8))


def _narrowed(wide: np.ndarray, clear: int | None) -> Image.Image:
    """Grey of 16 bits as one of eight, with alpha where one of its levels is clear."""
    levels = np.clip(wide, 0, 65535).astype(np.uint32)
    grey = Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))
    if clear is None:
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8))))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (Exif 2.32, table 6): 2 and 4 mirror, 3 turns by 180°, 5 to 8 swap the axes."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
