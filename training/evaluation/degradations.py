"""Pictures made worse in known ways and amounts; `training.evaluation.robustness` measures what they cost the predictions.

All functions take and return uint8 RGB [height, width, 3]. Amounts in pixels are the picture's own. Nothing
here stands for a turned head, a beard or a hand before the face: those cannot be made of a picture honestly.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from PIL import Image

from service.arrays import Doubles, Pixels
from service.errors import FacetError
from service.vision.detection import SIDE_PX
from service.vision.image import MIN_SIDE, decode
from training.datasets.sources import MAX_PIXELS

SIDES: Final = ("left", "top", "right", "bottom")
MOST_PIXELS: Final = 6_900_000
"""Pixels of the largest picture whose PNG, however noisy, the service takes: 20 MiB of three bytes each."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """One way to make a picture worse, `kind`, and how much of it, `level` in words."""

    kind: str
    level: str
    apply: Callable[[Pixels], Pixels]

    def __call__(self, data: bytes) -> bytes:
        """Degrade an image file.

        One of more than `MOST_PIXELS` is first reduced to a half, a quarter or an eighth, as the service does to search it.

        Args:
            data: Its bytes.

        Returns:
            Bytes of a PNG, which adds no loss of its own; of a file that cannot be decoded its own, for the service to refuse.
        """
        try:
            pixels = decode(data, max_pixels=MAX_PIXELS, side=MAX_PIXELS).pixels
        except FacetError:
            return data
        if pixels.shape[0] * pixels.shape[1] > MOST_PIXELS:
            pixels = decode(data, max_pixels=MAX_PIXELS, side=SIDE_PX).pixels
        picture = self.apply(pixels)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def rotated(picture: Pixels, degrees: float) -> Pixels:
    """Turned clockwise about its centre, as seen on the screen; what comes into view repeats the edge.

    Args:
        picture: uint8 RGB [H, W, 3].
        degrees: Angle in degrees; negative turns counterclockwise.

    Returns:
        uint8 RGB [H, W, 3].
    """
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    turned = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return turned.astype(np.uint8, copy=False)


def rotated_by_quarters(picture: Pixels, quarters: int) -> Pixels:
    """Turned by quarters, counterclockwise, as a picture whose orientation was lost.

    Args:
        picture: uint8 RGB [H, W, 3].
        quarters: How many, 0 to 3.

    Returns:
        uint8 RGB, [W, H, 3] after an odd number of quarters.
    """
    return np.ascontiguousarray(np.rot90(picture, quarters))


def reduced(picture: Pixels, factor: float) -> Pixels:
    """With fewer pixels in each direction, area-averaged.

    Args:
        picture: uint8 RGB [H, W, 3].
        factor: By how much less, 1 or more.

    Returns:
        uint8 RGB [H / factor, W / factor, 3], sides rounded, at least `MIN_SIDE`, below which the service refuses a picture.
    """
    height, width = picture.shape[:2]
    size = max(MIN_SIDE, round(width / factor)), max(MIN_SIDE, round(height / factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def blurred(picture: Pixels, sigma: float) -> Pixels:
    """Out of focus: a Gaussian blur.

    Args:
        picture: uint8 RGB [H, W, 3].
        sigma: Standard deviation in pixels, above 0.

    Returns:
        uint8 RGB [H, W, 3].
    """
    return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)


def motion_blurred(picture: Pixels, length: int) -> Pixels:
    """Moved while it was taken: the mean of neighbours from left to right.

    Args:
        picture: uint8 RGB [H, W, 3].
        length: Neighbours in pixels, an odd number.

    Returns:
        uint8 RGB [H, W, 3].
    """
    kernel = np.full((1, length), 1 / length, np.float32)
    return cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)


def compressed(picture: Pixels, quality: int) -> Pixels:
    """As a JPEG brings it back, its colour at half the resolution.

    Args:
        picture: uint8 RGB [H, W, 3].
        quality: JPEG quality, 1 to 100.

    Returns:
        uint8 RGB [H, W, 3].
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(buffer))


def noisy(picture: Pixels, sigma: float) -> Pixels:
    """With Gaussian noise, independent in every channel; the same picture gets the same noise.

    Args:
        picture: uint8 RGB [H, W, 3].
        sigma: Standard deviation in grey levels of 255.

    Returns:
        uint8 RGB [H, W, 3].
    """
    random = np.random.default_rng(zlib.crc32(picture.tobytes()))
    return _levels(picture + random.normal(0, sigma, picture.shape))


def grey(picture: Pixels) -> Pixels:
    """Without colour: its luma in all three channels.

    Args:
        picture: uint8 RGB [H, W, 3].

    Returns:
        uint8 RGB [H, W, 3].
    """
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)


def brightened(picture: Pixels, factor: float) -> Pixels:
    """The stored values, which are gamma-encoded, times a factor, and cut off at white.

    Half the value is about a fifth of the light: 0.5 is a good two stops under, 1.5 one and a quarter over.

    Args:
        picture: uint8 RGB [H, W, 3].
        factor: Of every value, 0 or more.

    Returns:
        uint8 RGB [H, W, 3].
    """
    return _levels(picture * np.float64(factor))


def low_contrast(picture: Pixels, factor: float) -> Pixels:
    """With less contrast: the distances from the picture's mean level times a factor.

    Args:
        picture: uint8 RGB [H, W, 3].
        factor: From 0, one grey, to 1, the picture itself.

    Returns:
        uint8 RGB [H, W, 3].
    """
    mean = picture.mean()
    return _levels((picture - mean) * factor + mean)


def cut(picture: Pixels, share: float, side: str) -> Pixels:
    """Without a share of its width or height at one side.

    Args:
        picture: uint8 RGB [H, W, 3].
        share: Of the width or height, 0 to below 1.
        side: One of `SIDES`.

    Returns:
        uint8 RGB, smaller.

    Raises:
        KeyError: `side` is none of `SIDES`, which is a mistake of the code.
    """
    height, width = picture.shape[:2]
    x, y = round(width * share), round(height * share)
    parts = {"left": picture[:, x:], "top": picture[y:], "right": picture[:, : width - x], "bottom": picture[: height - y]}
    return np.ascontiguousarray(parts[side])


def _levels(values: Doubles) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _rotated_either_way(picture: Pixels, degrees: float) -> Pixels:
    return rotated(picture, degrees if zlib.crc32(picture.tobytes()) % 2 else -degrees)


def _on_either_side(picture: Pixels) -> Pixels:
    return rotated_by_quarters(picture, 1 if zlib.crc32(picture.tobytes()) % 2 else 3)


def _cut_somewhere(picture: Pixels, share: float) -> Pixels:
    return cut(picture, share, SIDES[zlib.crc32(picture.tobytes()) % len(SIDES)])


DEGRADATIONS: Final = (
    *(Degradation("rotation", f"±{n}°", partial(_rotated_either_way, degrees=n)) for n in (10, 20, 30, 45, 60)),
    Degradation("on its side", "±90°", _on_either_side),
    Degradation("on its head", "180°", partial(rotated_by_quarters, quarters=2)),
    *(Degradation("JPEG", f"quality {n}", partial(compressed, quality=n)) for n in (80, 50, 30, 15)),
    *(Degradation("size", f"1/{n}", partial(reduced, factor=n)) for n in (2, 4, 6, 8)),
    *(Degradation("blur", f"σ {n} px", partial(blurred, sigma=n)) for n in (1, 2, 3, 4, 6)),
    *(Degradation("motion", f"{n} px", partial(motion_blurred, length=n)) for n in (7, 15)),
    *(Degradation("noise", f"σ {n}", partial(noisy, sigma=n)) for n in (10, 20, 40)),
    Degradation("grey", "no colour", grey),
    *(Degradation("dark", f"×{n}", partial(brightened, factor=n)) for n in (0.5, 0.25, 0.18, 0.12)),
    *(Degradation("bright", f"×{n}", partial(brightened, factor=n)) for n in (1.5, 2, 2.5)),
    *(Degradation("contrast", f"×{n}", partial(low_contrast, factor=n)) for n in (0.5, 0.25)),
    *(Degradation("cut", f"{n} %", partial(_cut_somewhere, share=n / 100)) for n in (10, 20, 30)),
)
"""The levels that are measured. Half of the pictures are turned each way, and a quarter cut at each side, by their checksum."""
