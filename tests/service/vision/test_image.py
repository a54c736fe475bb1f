"""Bytes to upright RGB: every format, orientation and colour mode gives the picture that a person sees."""

from __future__ import annotations

import contextlib
import gc
import io
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from service.errors import CorruptImage, EmptyFile, ImageError, ImageTooLarge, ImageTooSmall, UnsupportedFormat
from service.vision.colour import MAX_ICC_BYTES
from service.vision.image import DecodedImage, decode, probe, sniff
from tests.conftest import encoded
from tests.fakes import failing_bitmaps

Pixels = npt.NDArray[np.uint8]

RED, GREEN, BLUE, YELLOW = (220, 40, 30), (40, 200, 60), (40, 60, 210), (230, 210, 50)
PADDED_HEIC = Path(__file__).parent / "data" / "padded.heic"
"""83×61: red grows downwards and green to the right. Its rows are padded to 256 bytes, which are no whole number of pixels."""
TURNED_HEIC = Path(__file__).parent / "data" / "turned.heic"
"""`quarters(64, 96)` as a phone that is held upright stores it: 96 by 64 pixels, to be turned (made with pillow-heif)."""


def look(data: bytes, *, max_pixels: int = 64_000_000, side: int = 1280) -> DecodedImage:
    return decode(data, max_pixels=max_pixels, side=side)


def quarters(width: int = 64, height: int = 96) -> Pixels:
    """A picture that no turn and no mirror leaves the same: red, green over blue, yellow."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = RED
    picture[: height // 2, width // 2 :] = GREEN
    picture[height // 2 :, : width // 2] = BLUE
    picture[height // 2 :, width // 2 :] = YELLOW
    return picture


def assert_quarters(pixels: Pixels, tolerance: int = 12) -> None:
    """The middle of each quarter has the colour of `quarters`."""
    height, width = pixels.shape[:2]
    for (down, across), colour in {(1, 1): RED, (1, 3): GREEN, (3, 1): BLUE, (3, 3): YELLOW}.items():
        found = pixels[down * height // 4, across * width // 4].astype(int)
        assert np.abs(found - colour).max() <= tolerance, f"row {down}, column {across}: {found}"


# Formats ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("JPEG", {"quality": 95, "progressive": True, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 95}),
        ("AVIF", {"quality": 95}),
        ("BMP", {}),
        ("GIF", {}),
    ],
)
def test_every_format_gives_the_same_picture_in_rgb(form: str, options: dict[str, object]) -> None:
    data = encoded(quarters(), form, **options)
    assert sniff(data) == form
    assert probe(data, max_pixels=64 * 96).width == 64
    image = look(data)
    assert (image.width, image.height, image.scale) == (64, 96, 1.0)
    assert image.pixels.dtype == np.uint8
    assert image.pixels.shape == (96, 64, 3)
    assert image.pixels.flags.c_contiguous
    assert_quarters(image.pixels)


def test_a_lossless_picture_comes_out_byte_for_byte() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    assert np.array_equal(look(encoded(picture)).pixels, picture)


def test_a_heic_whose_rows_are_padded_is_not_sheared() -> None:
    pixels = look(PADDED_HEIC.read_bytes()).pixels
    assert pixels.shape == (61, 83, 3)
    assert pixels[..., 0].std(axis=1).max() < 3
    assert pixels[..., 1].std(axis=0).max() < 3


def test_heic_of_a_phone_held_upright_is_turned_once() -> None:
    data = TURNED_HEIC.read_bytes()
    assert sniff(data) == "HEIF"
    image = look(data)
    assert (image.width, image.height) == (64, 96)
    assert_quarters(image.pixels)


@pytest.mark.parametrize("cut", [(400, 61), (40, 300)])
def test_a_heic_that_is_cut_to_more_than_there_is_is_corrupt(cut: tuple[int, int]) -> None:
    data = PADDED_HEIC.read_bytes()
    at = data.index(b"clap") + 4
    width, height = (struct.pack(">II", value, 1) for value in cut)
    with pytest.raises(CorruptImage):
        look(data[:at] + width + height + data[at + 16 :])


def test_multi_picture_jpeg_gives_its_first_picture() -> None:
    buffer = io.BytesIO()
    Image.fromarray(quarters()).save(
        buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 96), "white")], quality=95, subsampling=0
    )
    image = look(buffer.getvalue())
    assert (image.width, image.height) == (64, 96)
    assert_quarters(image.pixels)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animation_gives_its_first_frame(form: str) -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (64, 96), colour) for colour in ("white", "black")]
    Image.fromarray(quarters()).save(buffer, form, save_all=True, append_images=frames, duration=50)
    assert_quarters(look(buffer.getvalue()).pixels)


@pytest.mark.parametrize(
    "data",
    [
        b"hello, world",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><svg/>",
        b"%PDF-1.7\n",
        b"II*\x00" + bytes(60),
        b"MM\x00*" + bytes(60),
        b"8BPS\x00\x01" + bytes(60),
        b"BM" + b"a text that begins like a bitmap",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"\x00\x00\x00\x18ftypmp42" + bytes(40),
        b"\xff\xd8",
        b"\x00",
    ],
)
def test_other_formats_are_refused_by_their_bytes(data: bytes) -> None:
    assert sniff(data) is None
    with pytest.raises(UnsupportedFormat):
        probe(data, max_pixels=10**6)
    with pytest.raises(UnsupportedFormat):
        look(data)


def test_a_jpeg_with_something_behind_it_is_a_jpeg() -> None:
    image = look(encoded(quarters(), "JPEG", quality=95, subsampling=0) + b"%PDF-1.7 <script>PK\x03\x04")
    assert_quarters(image.pixels)


@pytest.mark.parametrize("progressive", [False, True])
def test_what_phones_write_behind_a_jpeg_costs_its_bytes_alone(progressive: bool) -> None:
    """Samsung's end with a table of their own, and photos in motion with a film."""
    data = encoded(quarters(640, 960), "JPEG", quality=95, progressive=progressive)
    trailer = b"\0\0\1\x0aImage_UTC_Data1700000000000SEFHj\0\0\0\1\0\0\0SEFT"
    plain, longer = (probe(one, max_pixels=10**6).cost for one in (data, data + trailer))
    assert longer - plain <= 4 * len(trailer)
    assert np.array_equal(look(data + trailer).pixels, look(data).pixels)
    assert probe(data[:-2], max_pixels=10**6).cost > 1.5 * plain


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0},
        {"subsampling": 1},
        {"subsampling": 2},
        {"subsampling": 2, "restart_marker_rows": 1},
        {"keep_rgb": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(641, 479), (160, 1200), (1601, 1203)])
def test_a_jpeg_has_the_pixels_that_pillow_reads_of_it(
    size: tuple[int, int], options: dict[str, Any], progressive: bool
) -> None:
    """Of every sampling, as it is, and reduced while it is decoded."""
    pixels = np.random.default_rng(7).integers(0, 256, (60, 80, 3), np.uint8)
    data = encoded(np.asarray(Image.fromarray(pixels).resize(size)), "JPEG", quality=80, progressive=progressive, **options)
    for share in (1, 2, 4, 8):
        pillow = Image.open(io.BytesIO(data))
        pillow.draft(None, tuple(-(-side // share) for side in size))
        assert np.array_equal(look(data, side=-(-max(size) // share)).pixels, np.asarray(pillow)), share


@pytest.mark.parametrize("kept", [0.4, 0.9])
def test_a_jpeg_with_a_hole_that_pillow_shows_is_shown_as_pillow_does(kept: float, root: Path) -> None:
    """Viewers show it, too; libjpeg warns of it."""
    data = (root / "examples/astronaut.jpg").read_bytes()
    at = int(kept * len(data))
    holed = data[:at] + bytes(40) + data[at:]
    assert np.array_equal(look(holed).pixels, np.asarray(Image.open(io.BytesIO(holed))))


# Orientation ------------------------------------------------------------------------------------------------------------

# What a camera does to the upright picture before it stores it: the inverse of what a viewer has to do (Exif 2.32, 4.6.4).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(picture: Pixels, orientation: int, form: str = "PNG", **options: object) -> bytes:
    """The picture as a camera stores it that notes `orientation` in EXIF."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    method = STORED[orientation]
    image = Image.fromarray(picture)
    buffer = io.BytesIO()
    (image if method is None else image.transpose(method)).save(buffer, form, exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_gives_the_same_upright_pixels(orientation: int) -> None:
    picture = np.random.default_rng(orientation).integers(0, 256, (50, 34, 3), dtype=np.uint8)
    image = look(turned(picture, orientation))
    assert np.array_equal(image.pixels, picture)
    assert (image.width, image.height) == (34, 50)


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_counts_in_every_format_that_carries_it(orientation: int, form: str) -> None:
    image = look(turned(quarters(), orientation, form, quality=95))
    assert (image.width, image.height) == (64, 96)
    assert_quarters(image.pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_turned_jpeg_is_reduced_and_upright(orientation: int) -> None:
    image = look(turned(quarters(800, 1200), orientation, "JPEG", quality=90), side=300)
    assert (image.width, image.height) == (800, 1200)
    assert image.pixels.shape == (300, 200, 3)
    assert image.scale == 0.25
    assert_quarters(image.pixels)


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_an_orientation_out_of_range_is_upright(value: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    assert_quarters(look(encoded(quarters(), "JPEG", exif=exif, quality=95, subsampling=0)).pixels)


@pytest.mark.parametrize("silent", [False, True], ids=["no EXIF", "EXIF without it"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_what_xmp_says_turns_nothing(form: str, silent: bool) -> None:
    """It stays where an editor has turned the pixels; browsers do not read it."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    options: dict[str, object] = {"exif": exif} if silent else {}
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = text
    else:
        options |= {"xmp": xmp, "quality": 95}
    data = saved(Image.fromarray(quarters()), form, **options)
    assert b"tiff:Orientation" in data
    image = look(data)
    assert (image.width, image.height) == (64, 96)
    assert_quarters(image.pixels)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\x00\x00",
        b"Exif\x00\x00II*\x00",
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff" + b"\x12\x01" * 40,
        b"Exif\x00\x00" + bytes(range(256)),
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x02\x00\x00\x00\x01ab\x00\x00",  # orientation as text
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_costs_nothing(form: str, exif: bytes) -> None:
    lossless: dict[str, object] = {"JPEG": {"quality": 95, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}}[form]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow tells of it; the photo must come all the same
        data = encoded(quarters(), form, exif=exif, **lossless)
        image = look(data)
    assert (image.width, image.height) == (64, 96)
    assert_quarters(image.pixels)


# Colour -----------------------------------------------------------------------------------------------------------------


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_cmyk_jpeg_gives_its_colours() -> None:
    inks = np.zeros((32, 64, 4), np.uint8)
    inks[:, :32] = (0, 255, 255, 0)  # magenta and yellow are red
    inks[:, 32:] = (255, 0, 0, 0)
    pixels = look(saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=95)).pixels
    assert np.abs(pixels[16, 8].astype(int) - (255, 0, 0)).max() <= 6
    assert np.abs(pixels[16, 56].astype(int) - (0, 255, 255)).max() <= 6


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_palette_gives_its_colours_and_its_clear_entry_white(form: str) -> None:
    image = Image.new("P", (32, 32), 0)
    image.putpalette([*RED, *GREEN, *BLUE])
    image.paste(1, (16, 0, 32, 32))
    image.paste(2, (0, 16, 16, 32))
    assert tuple(look(saved(image, form)).pixels[4, 4]) == RED
    pixels = look(saved(image, form, transparency=2)).pixels
    assert tuple(pixels[4, 4]) == RED
    assert tuple(pixels[4, 28]) == GREEN
    assert tuple(pixels[28, 4]) == (255, 255, 255)


def test_alpha_is_laid_on_white() -> None:
    rgba = np.zeros((32, 48, 4), np.uint8)
    rgba[:, :16] = (200, 0, 0, 255)
    rgba[:, 16:32] = (200, 0, 0, 128)
    rgba[:, 32:] = (200, 0, 0, 0)  # hidden colour must not come through
    pixels = look(encoded(rgba)).pixels.astype(int)
    assert tuple(pixels[5, 5]) == (200, 0, 0)
    assert np.abs(pixels[5, 20] - (227, 127, 127)).max() <= 1
    assert tuple(pixels[5, 40]) == (255, 255, 255)


@pytest.mark.parametrize("lossless", [False, True])
def test_an_animation_that_does_not_declare_its_alpha_is_laid_on_white(lossless: bool) -> None:
    frames = [Image.fromarray(np.dstack([quarters(), np.full((96, 64), alpha, np.uint8)])) for alpha in (0, 255)]
    frames[0].putpixel((0, 0), (0, 0, 0, 255))
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=lossless)
    data = bytearray(buffer.getvalue())
    assert data[12:16] == b"VP8X"
    for flag in (0x10, 0):
        data[20] = data[20] & ~0x10 | flag
        assert look(bytes(data)).pixels[32:, 32:].min() == 255, "the alpha flag of the header is set" if flag else "it is not"


def bitmap_with_alpha(picture: Pixels, alpha: int) -> bytes:
    """A BMP of 32 bits whose header (version 4) has a mask for alpha."""
    height, width = picture.shape[:2]
    rows = np.dstack([picture[::-1, :, ::-1], np.full((height, width), alpha, np.uint8)]).tobytes()
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII4I", 108, width, height, 1, 32, 3, len(rows), 0, 0, 0, 0, *masks).ljust(108, bytes(1))
    return b"BM" + struct.pack("<IHHI", 122 + len(rows), 0, 0, 122) + header + rows


@pytest.mark.parametrize(("alpha", "side"), [(0, 1280), (0, 32), (255, 1280)])
def test_a_bitmap_whose_alpha_is_all_zero_is_opaque(alpha: int, side: int) -> None:
    data = bitmap_with_alpha(quarters(), alpha)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGBA"
    assert_quarters(look(data, side=side).pixels)


def test_a_bitmap_with_some_alpha_is_laid_on_white() -> None:
    assert look(bitmap_with_alpha(np.zeros((32, 32, 3), np.uint8), 51)).pixels.mean() == pytest.approx(204, abs=1)


def test_grey_with_alpha_is_laid_on_white() -> None:
    pixels = look(saved(Image.merge("LA", [Image.new("L", (32, 32), 60), Image.linear_gradient("L").resize((32, 32))]))).pixels
    assert pixels[0, 5, 0] > 245
    assert np.abs(pixels[31, 5].astype(int) - 60).max() <= 8


def test_a_colour_that_stands_for_clear_becomes_white() -> None:
    pixels = look(saved(Image.fromarray(quarters()), transparency=RED)).pixels
    assert tuple(pixels[10, 10]) == (255, 255, 255)
    assert tuple(pixels[10, 50]) == GREEN


@pytest.mark.parametrize(("depth", "clear"), [(2, 1), (4, 9), (8, 77), (16, 30_000)])
def test_a_grey_level_that_stands_for_clear_becomes_white(depth: int, clear: int) -> None:
    """Levels are samples of the file's own depth, whatever Pillow brings them to."""
    most = 2**depth - 1
    other = most // 3 * 2 if depth > 2 else 2
    row = [clear] * 16 + [other] * 16
    bits = "".join(f"{level:0{depth}b}" for level in row)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    data = raw_png(32, 32, depth, 0, b"".join(b"\0" + packed for _ in range(32)), chunk(b"tRNS", struct.pack(">H", clear)))
    pixels = look(data).pixels
    assert pixels[:, :16].min() == 255
    assert np.abs(pixels[:, 16:].astype(int) - round(255 * other / most)).max() <= 1


def test_a_colour_of_sixteen_bits_that_stands_for_clear_becomes_white() -> None:
    row = struct.pack(">3H", 0x1234, 0x5678, 0x9ABC) * 16 + struct.pack(">3H", 0x3400, 0x7800, 0xBC00) * 16
    clear = chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    pixels = look(raw_png(32, 32, 16, 2, b"".join(b"\0" + row for _ in range(32)), clear)).pixels
    assert pixels[:, :16].min() == 255
    assert tuple(pixels[5, 20]) == (0x34, 0x78, 0xBC)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk with its right checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG of these rows, each behind the byte of its filter."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_frame_that_is_smaller_than_its_gif_lies_on_white() -> None:
    frame = Image.new("P", (20, 30), 1)
    frame.putpalette([*BLUE, *RED])
    data = bytearray(saved(frame, "GIF"))
    at = data.index(b"\x2c")
    data[6:10] = struct.pack("<HH", 64, 48)
    data[at + 1 : at + 5] = struct.pack("<HH", 8, 6)
    for side in (1280, 32):
        pixels = look(bytes(data), side=side).pixels
        scale = 64 // pixels.shape[1]
        assert tuple(pixels[20 // scale, 16 // scale]) == RED
        assert tuple(pixels[2, 2]) == tuple(pixels[-2, -2]) == (255, 255, 255)


def test_one_bit_is_black_and_white() -> None:
    image = Image.new("1", (32, 32), 0)
    image.paste(1, (16, 0, 32, 32))
    pixels = look(saved(image)).pixels
    assert pixels.shape == (32, 32, 3)
    assert pixels[:, :16].max() == 0
    assert pixels[:, 16:].min() == 255


def test_eight_bit_grey_is_kept() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(look(encoded(ramp)).pixels, np.repeat(ramp[..., np.newaxis], 3, axis=2))


def test_sixteen_bit_grey_is_rescaled_and_not_clipped() -> None:
    wide = np.repeat(np.linspace(0, 65535, 64).astype(np.uint16)[np.newaxis], 32, axis=0)
    pixels = look(saved(Image.fromarray(wide))).pixels
    assert np.abs(pixels[0, :, 0].astype(float) - wide[0] / 257).max() <= 0.51
    assert (pixels[..., 0] == pixels[..., 2]).all()


def profile(description: str, primaries: list[tuple[float, float, float]], curve: bytes) -> bytes:
    """A matrix ICC profile (version 2.4) of the columns of its matrix to XYZ under D50, and one tone curve for all three."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \x00\x00\x00\x00" + b"".join(number(value) for value in values)

    text = description.encode() + b"\x00"
    described = b"desc\x00\x00\x00\x00" + struct.pack(">I", len(text)) + text + bytes(8) + bytes(3 + 67)
    tags = {
        b"desc": described,
        b"cprt": b"text\x00\x00\x00\x00none\x00",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), (xyz(column) for column in primaries), strict=True)),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    rest = struct.pack(">I", len(tags)) + table + body
    header = struct.pack(">I", 128 + len(rest)) + bytes(4) + b"\x02\x40\x00\x00mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return header + number(0.9642) + number(1.0) + number(0.8249) + bytes(48) + rest


# Columns to XYZ under D50: Display P3 as Apple ships it, Adobe RGB (1998) 4.3.5.3, and sRGB by IEC 61966-2-1 and Bradford.
P3 = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]
ADOBE = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]
SRGB = np.array([(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)]).T


def gamma(value: float) -> bytes:
    return b"curv\x00\x00\x00\x00" + struct.pack(">IH", 1, round(value * 256)) + bytes(2)


def parametric(*values: float) -> bytes:
    """A curve of type 3 (ICC.1, 10.18): a power above a point, and a line below it."""
    return b"para\x00\x00\x00\x00" + struct.pack(">HH", 3, 0) + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def in_srgb(colour: tuple[int, int, int], primaries: list[tuple[float, float, float]], power: float) -> npt.NDArray[np.float64]:
    """The same colour in sRGB, by the definitions."""
    xyz = np.array(primaries).T @ (np.array(colour) / 255) ** power
    linear = np.clip(np.linalg.solve(SRGB, xyz), 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("colour", [(200, 120, 90), (120, 160, 100), (120, 90, 180), (128, 128, 128), (240, 200, 180)])
@pytest.mark.parametrize(("name", "primaries"), [("Display P3", P3), ("Adobe RGB (1998)", ADOBE)])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_wide_colours_are_converted_to_srgb(
    form: str, name: str, primaries: list[tuple[float, float, float]], colour: tuple[int, int, int]
) -> None:
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    data = saved(Image.new("RGB", (32, 32), colour), form, icc_profile=profile(name, primaries, gamma(2.2)), **options)
    expected = in_srgb(colour, primaries, round(2.2 * 256) / 256)
    found = look(data).pixels[16, 16].astype(float)
    assert np.abs(found - expected).max() <= (3.5 if form == "JPEG" else 1.5)  # JPEG rounds before
    if colour == (200, 120, 90):
        assert np.abs(found - colour).max() > 4, "left as it was"


LIKE_SRGB = parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


@pytest.mark.parametrize(
    ("curve", "quick"),
    [
        (LIKE_SRGB, True),
        *[(gamma(power), True) for power in (2.2, 1.8, 1 / 256)],
        (parametric(2.6, 0.9, 0.1, 0.3, 0.1), False),
    ],
)
@pytest.mark.parametrize("primaries", [P3, ADOBE])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_colours_are_those_of_little_cms(
    form: str, primaries: list[tuple[float, float, float]], curve: bytes, quick: bool
) -> None:
    """A curve that is a power or sRGB's is computed otherwise, and rounded otherwise; any other one is left to it."""
    icc = profile("wide", primaries, curve)
    pixels = np.asarray(Image.fromarray(np.random.default_rng(6).integers(0, 256, (70, 90, 3), np.uint8)).resize((300, 280)))
    data = saved(Image.fromarray(pixels), form, icc_profile=icc)
    with Image.open(io.BytesIO(data)) as own:
        expected = by_little_cms(own, icc)
    apart = np.abs(look(data).pixels.astype(int) - expected)
    assert apart.max() <= 1
    assert apart.any() == quick


def by_little_cms(image: Image.Image, icc: bytes) -> npt.NDArray[np.uint8]:
    """An image of this profile in sRGB."""
    transform = ImageCms.buildTransform(ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), "RGB", "RGB")
    return np.asarray(ImageCms.applyTransform(image, transform), np.uint8)


def test_a_profile_of_three_curves_is_left_to_little_cms() -> None:
    data = profile("wide", P3, LIKE_SRGB)
    start = data.index(b"bTRC") + 4
    odd = data + gamma(1.5) + bytes(2)
    odd = odd[:start] + struct.pack(">II", len(data), len(gamma(1.5))) + odd[start + 8 :]
    icc = struct.pack(">I", len(odd)) + odd[4:]
    noise = np.random.default_rng(8).integers(0, 256, (40, 50, 3), np.uint8)
    expected = by_little_cms(Image.fromarray(noise), icc)
    assert np.array_equal(look(encoded(noise, icc_profile=icc)).pixels, expected)
    assert np.abs(expected[..., 2].astype(int) - noise[..., 2]).max() > 20, "the third curve counts"


def test_a_curve_is_compared_at_every_grey() -> None:
    """This one is a power at each fifteenth level, and far from it between them."""
    levels = np.arange(256)
    light = np.clip((levels / 255) ** 2.2 * (1 + 0.2 * np.sin(2 * np.pi * levels / 15)), 0, 1)
    table = b"curv\x00\x00\x00\x00" + struct.pack(">I256H", 256, *np.rint(65535 * light).astype(int))
    icc = profile("wide", P3, table)
    noise = np.random.default_rng(9).integers(0, 256, (40, 50, 3), np.uint8)
    expected = by_little_cms(Image.fromarray(noise), icc)
    assert np.abs(look(encoded(noise, icc_profile=icc)).pixels.astype(int) - expected).max() <= 1


def test_what_calls_itself_srgb_and_is_not_is_converted() -> None:
    """Editors offer sRGB's primaries with light itself for codes, by such names."""
    primaries = [tuple(float(value) for value in column) for column in SRGB.T]
    for name in ("GIMP built-in Linear sRGB", "sRGB-elle-V2-g10.icc"):
        icc = profile(name, primaries, gamma(1))
        data = saved(Image.new("RGB", (32, 32), (60, 40, 30)), icc_profile=icc)
        expected = in_srgb((60, 40, 30), primaries, 1)
        assert np.abs(look(data).pixels[16, 16] - expected).max() <= 1.5
    like = profile("sRGB IEC61966-2.1", primaries, LIKE_SRGB)
    assert tuple(look(saved(Image.new("RGB", (32, 32), (60, 40, 30)), icc_profile=like)).pixels[16, 16]) == (60, 40, 30)


def grey_profile() -> bytes:
    """A profile of grey whose codes are light."""
    described = profile("grey", P3, gamma(1))
    return described[:16] + b"GRAY" + described[20:].replace(b"rTRC", b"kTRC", 1)


@pytest.mark.parametrize("mode", ["L", "LA", "L, a clear level", "I;16"])
def test_grey_of_a_profile_of_its_own_is_converted_in_every_mode(mode: str) -> None:
    grey = Image.new("L", (32, 32), 100)
    image = {"LA": grey.convert("LA"), "I;16": Image.fromarray(np.full((32, 32), 100 * 257, np.uint16))}.get(mode, grey)
    options = {"transparency": 3} if mode == "L, a clear level" else {}
    pixels = look(saved(image, "PNG", icc_profile=grey_profile(), **options)).pixels
    expected = 255 * (1.055 * (100 / 255) ** (1 / 2.4) - 0.055)
    assert np.abs(pixels - expected).max() <= 1.5


GREY_PNG = b"".join(b"\0" + bytes([200] * 16 + [40] * 16) for _ in range(32))


@pytest.mark.parametrize(
    ("gamma", "chunks", "levels"),
    [
        (100_000, (), (229, 110)),  # light itself for codes; all levels are as Chromium shows them
        (55_556, (), (210, 53)),  # old Macs
        (45_455, (), (200, 40)),
        (50_000, (chunk(b"sRGB", b"\0"),), (200, 40)),
        (100_000, (chunk(b"sRGB", b"\0"),), (200, 40)),
        (100_000, (chunk(b"cICP", bytes([1, 13, 0, 1])),), (200, 40)),
        (0, (), (200, 40)),
    ],
)
@pytest.mark.parametrize("side", [1280, 16])
def test_a_pngs_gamma_counts_where_nothing_else_says_what_its_colours_are(
    gamma: int, chunks: tuple[bytes, ...], levels: tuple[int, int], side: int
) -> None:
    pixels = look(raw_png(32, 32, 8, 0, GREY_PNG, *chunks, chunk(b"gAMA", struct.pack(">I", gamma))), side=side).pixels
    bright, dark = pixels[:, : len(pixels) // 2], pixels[:, len(pixels) // 2 :]
    assert np.abs(bright.astype(int) - levels[0]).max() <= 1
    assert np.abs(dark.astype(int) - levels[1]).max() <= 1


def test_a_profile_goes_before_a_pngs_gamma() -> None:
    image = Image.new("RGB", (32, 32), RED)
    data = saved(image, icc_profile=profile("Adobe RGB (1998)", ADOBE, gamma(2.2)))
    linear = data[:33] + chunk(b"gAMA", struct.pack(">I", 100_000)) + data[33:]
    assert np.array_equal(look(linear).pixels, look(data).pixels)


def test_what_is_clear_stays_white_whatever_the_gamma() -> None:
    rows = b"".join(b"\0" + bytes([40, 0] * 32) for _ in range(32))
    assert look(raw_png(32, 32, 8, 4, rows, chunk(b"gAMA", struct.pack(">I", 100_000)))).pixels.min() == 255


def test_a_profile_behind_a_jpegs_frame_header_counts_too() -> None:
    icc = profile("wide", P3, gamma(1.8))
    data = saved(Image.fromarray(quarters()), "JPEG", quality=95, icc_profile=icc)
    plain = saved(Image.fromarray(quarters()), "JPEG", quality=95)
    at = data.index(b"\xff\xe2")
    segment = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    behind = plain.index(b"\xff\xda")
    assert np.array_equal(look(plain[:behind] + segment + plain[behind:]).pixels, look(data).pixels)
    assert not np.array_equal(look(plain).pixels, look(data).pixels)


def test_large_profiles_are_not_kept() -> None:
    pixels, icc = quarters(), profile("wide", P3, gamma(2.2))
    gc.collect()
    tracemalloc.start()
    try:
        for seed in range(6):
            look(encoded(pixels, icc_profile=padded_profile(icc, 300_000, seed)))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 600_000


def padded_profile(icc: bytes, size: int, seed: int) -> bytes:
    """A profile with something behind its tags."""
    padding = np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()
    return struct.pack(">I", len(icc) + size) + icc[4:] + padding


def test_srgb_is_left_alone() -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(look(encoded(picture, icc_profile=icc)).pixels, picture)


@pytest.mark.parametrize("icc", [b"x", b"not a profile at all" * 10, profile("broken", P3, gamma(2.2))[:200]])
def test_a_profile_that_cannot_be_used_is_left_out_of_account(icc: bytes) -> None:
    assert np.array_equal(look(encoded(quarters(), icc_profile=icc)).pixels, quarters())


def test_a_profile_of_another_colour_space_is_left_out_of_account() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(look(encoded(quarters(), icc_profile=lab)).pixels, quarters())


def test_grey_with_a_colour_profile_stays_grey() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = look(encoded(ramp, icc_profile=profile("Display P3", P3, gamma(2.2)))).pixels
    assert np.array_equal(pixels, np.repeat(ramp[..., np.newaxis], 3, axis=2))


# Size -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phone_photo() -> bytes:
    """12 megapixels, smooth, with quarters of different colours."""
    down, across = np.mgrid[0:3000, 0:4000].astype(np.float32)
    shade = (12 * np.sin(down / 200) + 12 * np.cos(across / 170)).astype(np.int16)
    return encoded((quarters(4000, 3000) + shade[..., np.newaxis]).clip(0, 255).astype(np.uint8), "JPEG", quality=90)


def test_twelve_megapixels_are_decoded_at_half_the_size(phone_photo: bytes) -> None:
    image = look(phone_photo)
    assert (image.width, image.height) == (4000, 3000)
    assert image.pixels.shape == (1500, 2000, 3)
    assert image.scale == 0.5
    assert_quarters(image.pixels, tolerance=40)

    def spent(side: int) -> float:
        began = time.thread_time()
        look(phone_photo, side=side)
        return time.thread_time() - began

    half, whole = zip(*((spent(1280), spent(4000)) for _ in range(5)), strict=True)
    assert min(half) < 0.75 * min(whole), "as slow as the whole photo"  # the least: what else the machine does only adds


@pytest.mark.parametrize(
    ("side", "factor"), [(4000, 1), (2001, 1), (2000, 2), (1280, 2), (1001, 2), (1000, 4), (640, 4), (500, 8), (300, 8)]
)
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_photo_is_never_reduced_below_the_side_that_is_looked_at(form: str, side: int, factor: int) -> None:
    image = look(encoded(quarters(2000, 4000), form), side=side)
    assert (image.width, image.height) == (2000, 4000)
    assert image.pixels.shape == (4000 // factor, 2000 // factor, 3)
    assert image.scale == 1 / factor
    assert_quarters(image.pixels)


@pytest.mark.parametrize(("subsampling", "progressive"), [(0, False), (1, False), (2, False), (2, True)])
@pytest.mark.parametrize(("side", "factor"), [(333, 1), (150, 2), (50, 4), (40, 8)])
def test_a_jpeg_has_the_pixels_that_its_decoder_gives(side: int, factor: int, subsampling: int, progressive: bool) -> None:
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 256, (70, 90, 3), np.uint8)).resize((333, 251))
    data = encoded(np.asarray(noise), "JPEG", subsampling=subsampling, progressive=progressive)
    with Image.open(io.BytesIO(data)) as own:
        if factor > 1:
            own.draft(None, (333 // factor, 251 // factor))
        expected = np.asarray(own)
    first, second = look(data, side=side).pixels, look(data, side=side).pixels
    assert np.array_equal(first, expected)
    assert first.flags.c_contiguous
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_photo_goes_with_its_last_reference(damaged: bool) -> None:
    """Memory that waits for the garbage collector is memory that the next photo takes once more."""
    data = encoded(np.random.default_rng(7).integers(0, 256, (400, 400, 3), np.uint8), "JPEG")
    if damaged:
        data = data[: len(data) // 2] + b"\xff\xd9"
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            with contextlib.suppress(CorruptImage):
                look(data)
        assert tracemalloc.get_traced_memory()[0] < 400 * 400
    finally:
        tracemalloc.stop()
        gc.enable()


def test_a_jpeg_without_a_scan_is_corrupt() -> None:
    """No decoder runs then, and what was in memory before is nobody's to see."""
    data = encoded(quarters(40, 50), "JPEG")
    head = data[: data.index(b"\xff\xda")]
    for cut in (head, head + b"\xff\xd9", head + b"\xff\xd9" + data):
        with pytest.raises(CorruptImage):
            look(cut)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_reduction_averages(form: str) -> None:
    fine = np.zeros((512, 512, 3), np.uint8)
    fine[::2, ::2] = fine[1::2, 1::2] = 255
    pixels = look(encoded(fine, form, **({"quality": 95} if form == "JPEG" else {})), side=128).pixels
    assert pixels.shape == (128, 128, 3)
    assert np.abs(pixels.astype(int) - 128).max() <= 4


@pytest.mark.parametrize("side", [1280, 80])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"subsampling": 0}, {"quality": 30, "optimize": True}, {"restart_marker_blocks": 3}],
    ids=["4:2:0", "4:4:4", "optimised", "restarts"],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_read(
    mode: str, options: dict[str, Any], progressive: bool, side: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 170, 3), np.uint8)
    for picture in (noise, quarters(170, 150)):
        buffer = io.BytesIO()
        Image.fromarray(picture).convert(mode).save(buffer, "JPEG", progressive=progressive, **options)
        whole = buffer.getvalue()
        assert np.array_equal(look(whole[:-2], side=side).pixels, look(whole, side=side).pixels)
        assert np.array_equal(look(whole[:-1], side=side).pixels, look(whole, side=side).pixels)
        with pytest.raises(CorruptImage):
            look(whole[: len(whole) * 7 // 8], side=side)


@pytest.mark.parametrize("restarts", [{}, {"restart_marker_blocks": 3}], ids=["none", "restarts"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_damaged_wherever_more_than_two_blocks_of_it_are_lacking(progressive: bool, restarts: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 72, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", progressive=progressive, subsampling=0, **restarts)
    whole = buffer.getvalue()
    pixels = look(whole).pixels.astype(int)
    for cut in range(3, len(whole) - 700, 7):
        try:
            found = look(whole[:-cut]).pixels
        except CorruptImage:
            continue
        assert (np.abs(found - pixels).max(axis=-1) > 0).sum() <= 128, cut


def test_a_jpeg_that_lacks_its_last_scans_is_damaged() -> None:
    buffer = io.BytesIO()
    Image.fromarray(quarters(170, 150)).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    last = whole.rindex(b"\xff\xda")
    for end in (last, whole.rindex(b"\xff\xc4", 0, last)):
        with pytest.raises(CorruptImage):
            look(whole[:end])


def test_a_lossless_jpeg_that_lacks_its_end_marker_alone_is_read() -> None:
    whole = lossless_jpeg(600, 40)
    assert np.array_equal(look(whole[:-2]).pixels, look(whole).pixels)
    with pytest.raises(CorruptImage):
        look(whole[:-200])


@pytest.mark.parametrize(("form", "tail"), [("PNG", 12), ("PNG", 5), ("PNG", 16), ("GIF", 1), ("GIF", 2)])
def test_a_picture_whose_pixels_are_all_there_is_read_without_what_ends_its_file(form: str, tail: int) -> None:
    whole = encoded(quarters(170, 150), form)
    assert np.array_equal(look(whole[:-tail]).pixels, look(whole).pixels)
    with pytest.raises(CorruptImage):
        look(whole[: len(whole) * 7 // 8])


@pytest.mark.parametrize("length", [0, 20, -7, 1000, 0xFFFFFFF6])
@pytest.mark.parametrize(
    "options",
    [{}, {"lossless": True}, {"exif": Image.Exif().tobytes(), "icc_profile": b"none"}, {"animated": True}],
    ids=["lossy", "lossless", "extended", "animated"],
)
def test_a_webp_that_declares_a_wrong_length_is_read(options: dict[str, Any], length: int) -> None:
    animated = {"save_all": True, "append_images": [Image.new("RGB", (170, 150))]} if options.get("animated") else options
    buffer = io.BytesIO()
    Image.fromarray(quarters(170, 150)).save(buffer, "WEBP", **animated)
    whole = buffer.getvalue()
    declared = length if length >= 0 and length != 1000 else len(whole) - 8 + length
    wrong = whole[:4] + struct.pack("<I", declared) + whole[8:]
    assert np.array_equal(look(wrong).pixels, look(whole).pixels)
    with pytest.raises(CorruptImage):
        look(wrong[: len(whole) * 7 // 8])


def lossless_jpeg(width: int, height: int) -> bytes:
    """A lossless JPEG (ITU T.81, annex H) of middle grey: every difference is zero, and its code is one bit."""
    frame = struct.pack(">HBHHB3B", 11, 8, height, width, 1, 1, 0x11, 0)
    table = struct.pack(">HB16BB", 20, 0, 1, *bytes(15), 0)
    scan = struct.pack(">HB2B3B", 8, 1, 1, 0, 1, 0, 0)
    bits = width * height
    samples = bytes(bits // 8) + (bytes([0xFF >> bits % 8]) if bits % 8 else b"")
    return b"\xff\xd8\xff\xc3" + frame + b"\xff\xc4" + table + b"\xff\xda" + scan + samples + b"\xff\xd9"


@pytest.mark.parametrize(("width", "factor"), [(600, 1), (2560, 2), (6000, 4)])
def test_a_lossless_jpeg_is_read_whole_and_then_reduced(width: int, factor: int) -> None:
    found = look(lossless_jpeg(width, 40))
    assert (found.width, found.height) == (width, 40)
    assert found.pixels.shape == (40 // factor, width // factor, 3)
    assert np.unique(found.pixels).tolist() == [128]


def test_reduction_averages_sixteen_bits_and_clear_pixels_too() -> None:
    wide = np.full((256, 256), 32768, np.uint16)
    assert np.abs(look(saved(Image.fromarray(wide)), side=64).pixels.astype(int) - 128).max() <= 1
    rgba = np.zeros((256, 256, 4), np.uint8)
    rgba[:, :128] = (0, 120, 0, 255)
    pixels = look(encoded(rgba), side=64).pixels
    assert pixels.shape == (64, 64, 3)
    assert tuple(pixels[30, 10]) == (0, 120, 0)
    assert tuple(pixels[30, 50]) == (255, 255, 255)


PEAK = """
import sys
from service.vision.image import decode, probe
def peak():
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
small, narrow = (open(path, "rb").read() for path in sys.argv[1:])
decode(small, max_pixels=10**9, side=1280)
before = peak()
decode(narrow, max_pixels=10**9, side=1280)
print(peak() - before, probe(narrow, max_pixels=10**9, side=1280).cost)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read from /proc")
def test_the_narrowest_photo_takes_no_more_than_it_is_counted_for(root: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "small.png", tmp_path / "narrow.png"]
    for path, height in zip(paths, (64, 2_000_000), strict=True):
        Image.new("RGB", (16, height)).save(path, compress_level=1)
    command = [sys.executable, "-c", PEAK, *map(str, paths)]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True).stdout
    taken, counted = map(int, said.split())
    assert counted * 0.8 < taken <= counted


def test_limits_are_those_of_the_whole_photo() -> None:
    data = encoded(quarters(40, 50), "JPEG")
    assert probe(data, max_pixels=2000).height == 50
    with pytest.raises(ImageTooLarge, match=r"40x50 pixels; at most 0\.001999 million"):
        probe(data, max_pixels=1999)
    with pytest.raises(ImageTooLarge):
        look(data, max_pixels=1999)


@pytest.mark.parametrize(("width", "height"), [(15, 100), (100, 15), (1, 1)])
def test_too_small_is_refused(width: int, height: int) -> None:
    with pytest.raises(ImageTooSmall):
        probe(encoded(quarters(width, height)), max_pixels=10**6)


def test_sixteen_pixels_are_enough() -> None:
    assert look(encoded(quarters(16, 16))).pixels.shape == (16, 16, 3)


# Damage -----------------------------------------------------------------------------------------------------------------


def png_with(*chunks: bytes) -> bytes:
    """`quarters` as a PNG with more chunks behind its header."""
    data = encoded(quarters())
    return data[:33] + b"".join(chunks) + data[33:]


def test_a_png_that_is_damaged_in_its_pixels_is_corrupt() -> None:
    data = encoded(np.random.default_rng(4).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(CorruptImage):
        look(data[:100] + bytes(200) + data[300:])


def test_nothing_is_an_empty_file() -> None:
    for call in (lambda: probe(b"", max_pixels=100), lambda: look(b"")):
        with pytest.raises(EmptyFile):
            call()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP"])
def test_a_file_that_is_cut_off_is_corrupt(form: str) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(noise, form)
    for length in (12, 40, len(data) // 2):
        with pytest.raises((CorruptImage, UnsupportedFormat)):
            look(data[:length])
    with pytest.raises(CorruptImage):
        look(data[: len(data) // 2])


def test_a_cut_off_heic_is_corrupt() -> None:
    data = TURNED_HEIC.read_bytes()
    for length in (40, 300, len(data) - 50):
        with pytest.raises(CorruptImage):
            look(data[:length])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "HEIF"])
def test_hostile_bytes_raise_nothing_but_an_image_error(form: str) -> None:
    rng = np.random.default_rng(3)
    data = TURNED_HEIC.read_bytes() if form == "HEIF" else encoded(quarters(32, 32), form)
    for _ in range(60):
        damaged = np.frombuffer(data, np.uint8).copy()
        where = rng.integers(4, len(damaged), 4)
        damaged[where] = rng.integers(0, 256, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(ImageError):
                look(damaged.tobytes(), max_pixels=10**6)


@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize(
    "damaged",
    [
        chunk(b"tEXt", b"Comment\x00text")[:-1] + b"?",
        chunk(b"zTXt", b"Comment\x00\x07text"),
        chunk(b"iCCP", b"no profile"),
        *(chunk(name, b"?" * 3) for name in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"acTL", b"tRNS")),
    ],
    ids=["checksum", "zTXt", "iCCP", "gAMA", "cHRM", "sRGB", "pHYs", "acTL", "tRNS"],
)
def test_a_damaged_chunk_that_no_pixel_needs_costs_nothing(damaged: bytes, behind: bool) -> None:
    data = saved(Image.fromarray(quarters()), "PNG")
    at = len(data) - 12 if behind else 33
    assert np.array_equal(look(data[:at] + damaged + data[at:]).pixels, look(data).pixels)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
@pytest.mark.parametrize("keyword", ["xmp", "exif", "transparency", "bbox", "interlace", "icc_profile", "gamma"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_a_text_is_not_taken_for_what_pillow_keeps_by_the_same_name(kind: bytes, keyword: str, mode: str) -> None:
    content = {b"tEXt": b"hello", b"zTXt": b"\0" + zlib.compress(b"hello"), b"iTXt": b"\0\0\0\0hello"}[kind]
    text = chunk(kind, keyword.encode() + b"\0" + content)
    data = saved(Image.fromarray(quarters()).convert(mode), "PNG")
    for at in (33, len(data) - 12):
        assert np.array_equal(look(data[:at] + text + data[at:]).pixels, look(data).pixels)


def test_more_clear_entries_than_a_palette_has_are_left_out_of_account() -> None:
    data = saved(Image.fromarray(quarters()).quantize(4), "PNG")
    at = data.index(b"IDAT") - 4
    for clear in (b"\x80" * 300, b"\xff" * 256 + b"\0"):
        assert np.array_equal(look(data[:at] + chunk(b"tRNS", clear) + data[at:]).pixels, look(data).pixels)


@pytest.mark.parametrize("tag", [0x131, 0x132, 0x10F, 0x11A, 0x100, 0x128])
def test_an_avif_is_turned_by_its_own_box_whatever_its_exif_holds(tag: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "described" * 8
    block = exif.tobytes()[6:]
    exif[ExifTags.Base.Orientation] = 6
    data = saved(Image.fromarray(quarters()), "AVIF", quality=95, exif=exif)
    assert data.count(block) == 1
    entries = struct.pack(">HHHII", 2, 0x112, 3, 1, 3 << 16) + struct.pack(">HHII", tag, 7, 1, 0)
    for other in (block[:8] + entries, bytes(range(len(block)))):
        damaged = data.replace(block, other[: len(block)].ljust(len(block), b"\0"))
        assert np.array_equal(look(damaged).pixels, look(data).pixels)


def test_an_avif_of_another_brand_is_an_avif() -> None:
    data = saved(Image.fromarray(quarters()), "AVIF", quality=95)
    for brand in (b"MA1B", b"miaf"):
        assert np.array_equal(look(data[:8] + brand + data[12:]).pixels, look(data).pixels)


@pytest.mark.parametrize(
    "segment",
    [
        (0xE0, b"JFIF\0"),
        (0xEE, b"Adobe"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
        (
            0xE1,
            b"Exif\0\0MM\x00*\x00\x00\x00\x08\x00\x02\x01\x1a\x00\x07\x00\x00\x00\x01?\0\0\0\x01\x28\x00\x03\x00\x00\x00\x01\x00\x02\0\0",
        ),
    ],
    ids=["JFIF", "Adobe", "ICC", "Photoshop", "Exif"],
)
def test_a_short_segment_that_no_pixel_needs_costs_nothing(segment: tuple[int, bytes]) -> None:
    code, content = segment
    short = bytes([0xFF, code]) + struct.pack(">H", 2 + len(content)) + content
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for options in ({}, {"exif": exif} if code != 0xE1 else {}):
        data = saved(Image.fromarray(quarters()), "JPEG", quality=95, **options)
        assert np.array_equal(look(data[:2] + short + data[2:]).pixels, look(data).pixels)


def test_a_text_chunk_bomb_is_corrupt() -> None:
    bomb = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(16 * 2**20), 9))
    with pytest.raises(CorruptImage):
        look(png_with(bomb))


def test_a_colour_profile_bomb_is_corrupt() -> None:
    bomb = chunk(b"iCCP", b"P3\x00\x00" + zlib.compress(bytes(16 * 2**20), 9))
    with pytest.raises(CorruptImage):
        look(png_with(bomb))


def test_a_colour_profile_too_large_to_be_one_is_corrupt() -> None:
    with pytest.raises(CorruptImage, match="colour profile"):
        look(saved(Image.fromarray(quarters()), "WEBP", icc_profile=bytes(MAX_ICC_BYTES + 1)))


def test_errors_name_no_byte_of_the_photo() -> None:
    with pytest.raises(CorruptImage) as caught:
        look(encoded(quarters())[:60])
    assert "b'" not in str(caught.value)
    assert "\n" not in str(caught.value)


# Whose fault it is --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [OSError("cut off"), struct.error("short"), IndexError(), zlib.error(), SyntaxError("broken")]
)
def test_what_a_library_raises_on_bytes_is_a_corrupt_photo(error: Exception) -> None:
    with failing_bitmaps(error), pytest.raises(CorruptImage):
        look(encoded(quarters(), "BMP"))


@pytest.mark.parametrize("bug", [TypeError("bug"), AttributeError("bug"), NameError("bug"), ZeroDivisionError("bug")])
def test_a_bug_is_not_called_a_corrupt_photo(bug: Exception) -> None:
    with failing_bitmaps(bug), pytest.raises(type(bug), match="bug"):
        look(encoded(quarters(), "BMP"))


@pytest.mark.parametrize("length", range(30, 64, 3))
def test_a_webp_that_ends_in_its_header_is_corrupt(length: int) -> None:
    with pytest.raises(CorruptImage):
        look(encoded(quarters(), "WEBP")[:length])
