"""Pictures of every format and size, whole ones and ones that were damaged or made to cost much, the same for the same seed."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageCms

ROOT: Final = Path(__file__).resolve().parent.parent.parent
EXAMPLES: Final = ROOT / "examples"
HEIC: Final = Path(__file__).resolve().parent / "data" / "astronaut.heic"
"""A portrait in the public domain; nothing in the environment writes this format."""
TURNED_HEIC: Final = ROOT / "tests/service/vision/data/turned.heic"

_FORMATS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "jpeg": ("JPEG", {"quality": 85}),
    "progressive.jpeg": ("JPEG", {"quality": 85, "progressive": True}),
    "png": ("PNG", {"compress_level": 1}),
    "webp": ("WEBP", {"quality": 75, "method": 0}),
    "avif": ("AVIF", {"quality": 50, "speed": 10}),
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
}
FORMATS: Final = (*_FORMATS, "heic")


def encode(picture: Image.Image, form: str) -> bytes:
    """A picture's file.

    Args:
        picture: Any picture of mode RGB.
        form: One of `FORMATS` but `heic`.

    Returns:
        The bytes of the file.
    """
    name, options = _FORMATS[form]
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


def small(form: str, side: int = 64) -> bytes:
    """A small picture of a format, for mutations.

    Args:
        form: One of `FORMATS`.
        side: Its longest side in pixels; a HEIC has its own.

    Returns:
        The bytes of the file.
    """
    if form == "heic":
        return HEIC.read_bytes()
    with Image.open(EXAMPLES / "astronaut.jpg") as picture:
        return encode(picture.convert("RGB").resize((side, side)), form)


def unusual() -> dict[str, bytes]:
    """Small pictures of what a format has beside the usual: other modes and depths, metadata, profiles, several frames.

    Returns:
        Whole files by name, a kind and a format each.
    """
    with Image.open(EXAMPLES / "astronaut.jpg") as picture:
        one = picture.convert("RGB").resize((64, 64))
    clear, two = one.convert("RGBA"), [one.rotate(90), one.rotate(180)]
    clear.putalpha(one.convert("L"))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "maker"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (1.0, 2.0, 3.0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = Image.fromarray(np.asarray(one.convert("L"), np.uint16) * 257)
    described = {"exif": exif.tobytes(), "icc_profile": profile}
    kinds: dict[str, tuple[Image.Image, str, Mapping[str, object]]] = {
        "described.jpeg": (one, "JPEG", described),
        "described.png": (one, "PNG", described),
        "described.webp": (one, "WEBP", described),
        "described.avif": (one, "AVIF", described),
        "cmyk.jpeg": (one.convert("CMYK"), "JPEG", {}),
        "grey.jpeg": (one.convert("L"), "JPEG", {"progressive": True}),
        "restarts.jpeg": (one, "JPEG", {"restart_marker_rows": 1, "subsampling": 0}),
        "grey16.png": (grey, "PNG", {}),
        "bit.png": (one.convert("1"), "PNG", {}),
        "palette.png": (one.quantize(16), "PNG", {"transparency": 0}),
        "alpha.png": (clear, "PNG", {}),
        "animated.png": (one, "PNG", {"save_all": True, "append_images": two}),
        "animated.gif": (one, "GIF", {"save_all": True, "append_images": two, "transparency": 0}),
        "animated.webp": (clear, "WEBP", {"save_all": True, "append_images": two}),
        "animated.avif": (one, "AVIF", {"save_all": True, "append_images": two}),
        "lossless.webp": (clear, "WEBP", {"lossless": True}),
        "alpha.avif": (clear, "AVIF", {}),
        "grey.avif": (one.convert("L"), "AVIF", {}),
        "palette.bmp": (one.quantize(16), "BMP", {}),
        "bit.bmp": (one.convert("1"), "BMP", {}),
        "alpha.bmp": (clear, "BMP", {}),
    }
    files = {"run-lengths.bmp": _run_lengths(64, 64), "turned.heic": TURNED_HEIC.read_bytes()}
    for name, (made, form, options) in kinds.items():
        buffer = io.BytesIO()
        made.save(buffer, form, **options)
        files[name] = buffer.getvalue()
    return files


def good(folder: Path | None = None) -> dict[str, bytes]:
    """Photos that are answered with 200, from 16 pixels to 48 megapixels, in every format.

    Args:
        folder: More photos of one's own; each must be one that the service answers.

    Returns:
        Files by name, a size and a format each.
    """
    with Image.open(EXAMPLES / "astronaut.jpg") as one, Image.open(EXAMPLES / "group.jpg") as many:
        portrait, group = one.convert("RGB"), many.convert("RGB")
    photos = {f"portrait.{form}": encode(portrait, form) for form in _FORMATS}
    photos["portrait.heic"] = HEIC.read_bytes()
    photos |= {f"tiny.{form}": encode(portrait.resize((16, 16)), form) for form in _FORMATS}
    photos |= {f"group.{form}": encode(group, form) for form in _FORMATS}
    photos |= {f"example.{path.name}": path.read_bytes() for path in sorted(EXAMPLES.glob("*.jpg"))}
    phone = group.resize((4032, 3024), Image.Resampling.BICUBIC)
    photos |= {f"12mp.{form}": encode(phone, form) for form in ("jpeg", "progressive.jpeg", "webp", "avif", "png")}
    photos["12mp.png"] = encode(phone.quantize(64).convert("RGB"), "png")
    largest = group.resize((8000, 6000), Image.Resampling.BICUBIC)
    photos |= {f"48mp.{form}": encode(largest, form) for form in ("jpeg", "progressive.jpeg", "webp")}
    grey = np.asarray(portrait.convert("L"), np.uint16) * 257
    for name, picture in {
        "grey.png": portrait.convert("L"),
        "grey16.png": Image.fromarray(grey),
        "alpha.png": portrait.convert("RGBA"),
        "palette.png": portrait.quantize(128),
        "bit.png": portrait.convert("1"),
    }.items():
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        photos[name] = buffer.getvalue()
    buffer = io.BytesIO()
    portrait.convert("CMYK").save(buffer, "JPEG")
    photos["cmyk.jpeg"] = buffer.getvalue()
    if folder is not None:
        photos |= {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    return photos


def hostile(seed: int) -> dict[str, bytes]:
    """Bodies that are no whole photo, or that cost more than they look: none ends the service, whatever it answers.

    Args:
        seed: Of the damage.

    Returns:
        Files by name, a kind and a format each.
    """
    rng = random.Random(seed)
    files: dict[str, bytes] = {}
    for form in FORMATS:
        whole = small(form, 256)
        files[f"cut.{form}"] = whole[: len(whole) * 2 // 3]
        files[f"head.{form}"] = whole[:24]
        for index in range(4):
            files[f"mutated-{index}.{form}"] = mutate(whole, rng)
    rows = (b"\0" * (3 * 9000 + 1)) * 9000
    files |= {
        "too-many-pixels.png": _png(9000, 9000, zlib.compress(b"")),
        "blank-of-81-megapixels.png": _png(9000, 9000, zlib.compress(rows, 9)),
        "blank-of-60-megapixels.png": _png(7700, 7700, zlib.compress((b"\0" * (3 * 7700 + 1)) * 7700, 9)),
        "text-bomb.png": _png(64, 64, zlib.compress(bytes(193 * 64)), (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**25)))),
        "profile-bomb.png": _png(64, 64, zlib.compress(bytes(193 * 64)), (b"iCCP", b"sRGB\0\0" + zlib.compress(bytes(2**25)))),
        "many-chunks.png": _png(64, 64, zlib.compress(bytes(193 * 64)), *[(b"teXt", b"a\0b")] * 50_000),
        "comments.jpeg": _commented(small("jpeg"), 30_000),
        "one-pixel.png": _png(1, 1, zlib.compress(bytes(4))),
        "text": b"This is a text and no picture.\n" * 100,
        "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "pdf": b"%PDF-1.7\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF",
        "zeros": bytes(100_000),
        "noise": rng.randbytes(100_000),
        "empty": b"",
        "run-lengths.bmp": _run_lengths(2000, 2000),
    }
    return files


def _png(width: int, height: int, data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """An RGB PNG that declares this size, with compressed rows and more chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def _commented(jpeg: bytes, count: int) -> bytes:
    """A JPEG with very many empty comments behind its start."""
    return jpeg[:2] + b"\xff\xfe\x00\x02" * count + jpeg[2:]


def _run_lengths(width: int, height: int) -> bytes:
    """A BMP of 8 bits whose rows are runs of one colour."""
    row = b"\xff\x01" * (width // 255) + bytes([width % 255, 1]) * bool(width % 255) + b"\0\0"
    data, palette = row * height + b"\0\1", bytes(1024)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    offset = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + palette + data


# Mutations ------------------------------------------------------------------------------------------------------------

_NUMBERS: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Sizes and counts at which readers go wrong."""


def _bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _bytes(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at : at + rng.randint(1, 32)] = rng.randbytes(rng.randint(0, 32))


def _number(data: bytearray, rng: random.Random) -> None:
    at, width = rng.randrange(len(data)), rng.choice((1, 2, 4))
    data[at : at + width] = (rng.choice(_NUMBERS) & (256**width - 1)).to_bytes(width, rng.choice(("big", "little")))


def _header_number(data: bytearray, rng: random.Random) -> None:
    at, width = rng.randrange(min(len(data), 64)), rng.choice((2, 4))
    data[at : at + width] = (rng.choice(_NUMBERS) & (256**width - 1)).to_bytes(width, rng.choice(("big", "little")))


def _repeated(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.randint(1, 256)] * rng.randint(1, 64)


def _removed(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randint(1, 256)]


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data) + 1) :]


def _moved(data: bytearray, rng: random.Random) -> None:
    at, length, to = rng.randrange(len(data)), rng.randint(1, 256), rng.randrange(len(data))
    part = data[at : at + length]
    del data[at : at + length]
    data[to:to] = part


MUTATIONS: Final[tuple[Callable[[bytearray, random.Random], None], ...]] = (
    _bits,
    _bytes,
    _number,
    _header_number,
    _repeated,
    _removed,
    _cut,
    _moved,
)
"""Each changes a file that is not empty in place."""


def mutate(file: bytes, rng: random.Random) -> bytes:
    """Damage a file as transfers, editors and adversaries do, one to four times.

    Args:
        file: The bytes of a whole file.
        rng: Decides what is changed, and where.

    Returns:
        The damaged file; it may be shorter, longer, or by chance the same.
    """
    data = bytearray(file)
    for _ in range(rng.randint(1, 4)):
        if data:
            rng.choice(MUTATIONS)(data, rng)
    return bytes(data)
