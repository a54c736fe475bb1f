"""Colours of a profile (ICC.1) or a gamma to sRGB, by Little CMS, or by OpenCV in a quarter of its time where both agree."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms

from service.arrays import Floats, Pixels
from service.errors import CorruptImage
from service.vision.hdr import srgb_codes

MAX_ICC_BYTES: Final = 4 * 1024 * 1024
"""Colour profiles above this size are a way to burn time; real ones, printers' included, stay below 3 MB."""
_STRIP_PIXELS: Final = 2**16
"""Pixels that are converted at a time, so that what lies between stays in a processor's cache."""
_GRID: Final = 15
"""Steps of the colours by which both ways are compared."""
_SAME: Final = 1
"""Most levels of 255 by which they may differ: both round."""
_NEARLY: Final = 4
"""Most levels by which what calls itself sRGB may differ from it: its writers round curves and white points differently."""
_CACHED_BYTES: Final = 64 * 1024
"""Profiles above it are not kept: cameras' and screens' stay below."""
_LIKE_SRGB: Final = 0.05
"""Part by which the product of a gamma and 2.2 may differ from 1 where colours are sRGB: libpng's `PNG_GAMMA_THRESHOLD`."""
_POWERS: Final = 2
"""Steps of a curve's power, to either side, that are tried."""
_UNUSABLE: Final = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


class _Curves(NamedTuple):
    """A profile of one tone curve and three primaries: light by code, uint16 [256], and its matrix [3, 3] to sRGB."""

    light: np.ndarray[Any, np.dtype[np.uint16]]
    matrix: Floats


def to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert an image of any mode by Little CMS.

    Args:
        image: What the profile describes.
        icc: The profile.

    Returns:
        An RGB image, or `image` itself where the profile is sRGB's, or cannot be used.

    Raises:
        CorruptImage: The profile has more than `MAX_ICC_BYTES`.
    """
    _check(icc)
    try:
        transform = _kept(_transform, icc)(icc, image.mode)
        return image if transform is None else ImageCms.applyTransform(image, transform) or image
    except _UNUSABLE:
        return image


def rgb_to_srgb(pixels: Pixels, icc: bytes) -> Pixels:
    """Convert pixels, in strips.

    Args:
        pixels: uint8 RGB [H, W, 3], writable: the result takes their place.
        icc: Their profile.

    Returns:
        `pixels`, uint8 sRGB; as they were where the profile is sRGB's, or cannot be used.

    Raises:
        CorruptImage: The profile has more than `MAX_ICC_BYTES`.
    """
    _check(icc)
    try:
        transform = _kept(_transform, icc)(icc, "RGB")
        curves = None if transform is None or len(icc) > _CACHED_BYTES else _curves(icc)
    except _UNUSABLE:
        return pixels
    if transform is None:
        return pixels
    rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    for strip in (pixels[top : top + rows] for top in range(0, len(pixels), rows)):
        strip[:] = _converted(strip, transform) if curves is None else _by_curves(strip, curves)
    return pixels


def gamma_to_srgb(pixels: Pixels, gamma: float) -> Pixels:
    """Convert pixels of sRGB's primaries whose codes are a power of light (PNG, third edition, 11.3.2.2).

    Args:
        pixels: uint8 RGB [H, W, 3], writable: the result takes their place.
        gamma: The power, above 0; about 1/2.2 is what writers say of sRGB.

    Returns:
        `pixels`, uint8 sRGB.
    """
    if abs(2.2 * gamma - 1) <= _LIKE_SRGB:
        return pixels
    codes = srgb_codes()
    light = (np.arange(256) / 255) ** (1 / gamma)
    table = codes[np.rint(light * (len(codes) - 1)).astype(np.int32)]
    return np.asarray(cv2.LUT(pixels, table, dst=pixels), np.uint8)


def _check(icc: bytes) -> None:
    if len(icc) > MAX_ICC_BYTES:
        raise CorruptImage("The image's colour profile is too large.")


def _kept(function: Any, icc: bytes) -> Any:
    """A cached function, or what it caches where a profile is too large to be held by it."""
    return function if len(icc) <= _CACHED_BYTES else function.__wrapped__


@lru_cache(maxsize=16)
def _transform(icc: bytes, mode: str) -> Any:
    """Little CMS transform from a profile to sRGB, or None where the profile is sRGB already. Cached: phones repeat.

    A name alone says little: sRGB's primaries with light itself for codes are called so, too.
    """
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode != "RGB" or "srgb" not in ImageCms.getProfileDescription(profile).lower():
        return transform
    colours = _colours()
    return None if np.abs(_converted(colours, transform).astype(int) - colours).max() <= _NEARLY else transform


def _colours() -> Pixels:
    """Colours [1, N, 3] by which two conversions are compared: a grid of all, and every grey."""
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, _GRID, dtype=np.uint8)] * 3), axis=-1).reshape(-1, 3)
    return np.concatenate([grid, np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(-1, 3)])[np.newaxis]


def _converted(pixels: Pixels, transform: Any) -> Pixels:
    return np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform), np.uint8)


@lru_cache(maxsize=16)
def _curves(icc: bytes) -> _Curves | None:
    """Curve and matrix of a profile, where they give what Little CMS gives.

    The curve is read from what it makes of greys, whose light the matrix leaves as it is. Those are rounded, so powers of the
    code near it are tried as well, in the steps that a curve of one number has (ICC.1, 10.6).
    """
    transform = _transform(icc, "RGB")
    primaries = _primaries(ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    own = _primaries(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")))
    if primaries is None or own is None:
        return None
    code = np.arange(256) / 255
    greys = _converted(np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3), transform)[0, :, 1] / 255
    light = np.where(greys <= 0.04045, greys / 12.92, ((greys + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    power = np.rint(256 * np.median(np.log(np.maximum(light[64:240], 1e-6)) / np.log(code[64:240])))
    grid = _colours()
    expected = _converted(grid, transform).astype(int)
    matrix = np.asarray(np.linalg.solve(own, primaries), np.float32)
    best, least = None, np.inf
    for curve in (light, *(code ** (max(1, power + step) / 256) for step in range(-_POWERS, _POWERS + 1))):
        curves = _Curves(np.rint(65535 * np.clip(curve, 0, 1)).astype(np.uint16), matrix)
        try:
            apart = np.abs(_by_curves(grid, curves) - expected)
        except cv2.error:  # a release of OpenCV that has no tables of 16 bits
            return None
        if apart.max() <= _SAME and apart.mean() < least:
            best, least = curves, apart.mean()
    return best


def _primaries(profile: ImageCms.ImageCmsProfile) -> Floats | None:
    """Columns X, Y and Z under D50 of red, green and blue, [3, 3]; None where a profile has none."""
    columns = [getattr(profile.profile, f"{name}_colorant") for name in ("red", "green", "blue")]
    return None if any(column is None for column in columns) else np.array([column[0] for column in columns]).T


def _by_curves(pixels: Pixels, curves: _Curves) -> Pixels:
    light = cv2.transform(cv2.LUT(pixels, curves.light), curves.matrix)
    return np.asarray(cv2.LUT(light, srgb_codes().reshape(1, -1)), np.uint8)
