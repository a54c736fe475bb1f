"""Bytes of a photo to an upright RGB array; the only module that knows formats, EXIF, colour and pixel caps."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pi_heif
from PIL import ExifTags, Image, ImageCms

from service.errors import CorruptImage, EmptyFile, ImageTooLarge, ImageTooSmall, UnsupportedFormat

Pixels = npt.NDArray[np.uint8]

pi_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = None  # `decode` checks the size itself, against the operator's cap, before a pixel is decoded
logging.getLogger("PIL").setLevel(logging.INFO)  # below it, Pillow logs what it finds in EXIF, and that is the client's

MIN_SIDE: Final = 16
"""Smallest side, in pixels, of a photo that is looked at."""

MAX_ICC_BYTES: Final = 4 * 1024 * 1024
"""Colour profiles above this size are a way to burn time; real ones, printers' included, stay below 3 MB."""

_BMP_HEADER_SIZES: Final = {12, 16, 40, 52, 56, 64, 108, 124}
_HEIF_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HAS_ALPHA: Final = {"RGBA", "LA", "PA", "La", "RGBa"}


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An upright photo.

    `pixels` is uint8 RGB [height, width, 3], perhaps decoded at a reduced size; `width` and `height` are the full upright
    photo's in pixels; `scale` is decoded pixels per full-size pixel (at most 1).
    """

    pixels: Pixels
    width: int
    height: int

    @property
    def scale(self) -> float:
        """Decoded pixels per full-size pixel, at most 1."""
        return float(max(self.pixels.shape[:2]) / max(self.width, self.height))


def sniff(data: bytes) -> str | None:
    """Name the format of `data` by its first bytes: a Pillow format name, or None for anything that is not read."""
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


def probe(data: bytes, *, max_pixels: int) -> int:
    """Read the header alone and return the number of pixels that decoding would produce.

    Raises `EmptyFile`, `UnsupportedFormat`, `CorruptImage`, `ImageTooSmall` or `ImageTooLarge`.
    """
    image = _open(data, max_pixels)
    return image.width * image.height


def decode(data: bytes, *, max_pixels: int, side: int) -> DecodedImage:
    """Decode a photo to upright sRGB pixels.

    `side` is the longest side, in pixels, that the caller will look at: a larger photo is decoded at an eighth, a quarter
    or a half where its longest side stays at `side` or above, which a JPEG does while it decodes. The first frame of an
    animation is taken; transparency is laid on white. Raises as `probe` does.
    """
    image = _open(data, max_pixels)
    full = image.size
    try:
        if image.format in ("JPEG", "MPO"):
            image.draft(None, _at_least(full, side))
        image.load()
        orientation = _orientation(image)
        pixels = _upright(_to_rgb(image, side), orientation)
    except CorruptImage:
        raise
    except Exception as error:  # decoders raise anything on hostile bytes, struct.error and IndexError included
        raise CorruptImage("The image is truncated or damaged.") from error
    width, height = full if orientation < 5 else full[::-1]
    return DecodedImage(pixels, width, height)


def noise(side: int) -> bytes:
    """A JPEG of grey noise, `side` pixels square: what a pipeline is warmed up with."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise EmptyFile("The file is empty.")
    form = sniff(data)
    if form is None:
        raise UnsupportedFormat("The file is not a JPEG, PNG, WebP, HEIC, AVIF, BMP or GIF image.")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=[form])
    except Exception as error:  # as in decode
        raise CorruptImage("The image's header is damaged.") from error
    if min(image.size) < MIN_SIDE:
        raise ImageTooSmall(f"The image is {image.width}x{image.height}; each side must have {MIN_SIDE} pixels or more.")
    if image.width * image.height > max_pixels:
        raise ImageTooLarge(
            f"The image has {image.width}x{image.height} pixels; at most {max_pixels / 1e6:g} million are read."
        )
    return image


def _at_least(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Size to ask of the JPEG decoder: it takes the smallest of 1/8, 1/4, 1/2 and 1 that is no smaller than this."""
    ratio = min(1.0, side / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where EXIF is absent, damaged or out of range."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - a damaged EXIF block must not cost the photo
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image, side: int) -> Pixels:
    """Decoded image in any mode to uint8 sRGB [height, width, 3], reduced by 2, 4 or 8 where it stays above `side`."""
    factor = next((f for f in (8, 4, 2) if max(image.size) >= f * side), 1)
    icc = image.info.get("icc_profile")
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in ("RGB", "L", "1") and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips it to near white
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(wide, 0, 65535) / 257).round().astype(np.uint8))
        icc = None
    if image.mode == "1":
        image = image.convert("L")
    if factor > 1:
        image = image.reduce(factor)
    if image.mode in _HAS_ALPHA:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, (255, 255, 255))
        image.paste(rgba, mask=rgba.getchannel("A"))
    if icc:
        image = _to_srgb(image, icc)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8))


def _to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert to sRGB by the photo's own profile; a profile that cannot be used is left out of account."""
    if len(icc) > MAX_ICC_BYTES:
        raise CorruptImage("The image's colour profile is too large.")
    try:
        transform = _transform(icc, image.mode)
        converted = None if transform is None else ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted


@lru_cache(maxsize=16)
def _transform(icc: bytes, mode: str) -> Any:
    """Little CMS transform from a profile to sRGB, or None where the profile is sRGB already. Cached: phones repeat."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    if "srgb" in ImageCms.getProfileDescription(profile).lower():
        return None
    return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (Exif 2.32, table 6): 2 and 4 mirror, 3 turns by 180°, 5 to 8 swap the axes."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
