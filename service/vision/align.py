"""A photo and a face's landmarks to the aligned crop that a network sees; training cuts its pictures with it too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

from service.arrays import Doubles, Floats, Pixels

Points = Floats

_UNREDUCED: Final = 0.99
"""Scale above which interpolation alone loses nothing that can be seen."""


def similarity(source: Points, target: Points) -> tuple[complex, complex]:
    """Least-squares rotation, uniform scale and shift that takes one set of points to another; never a reflection.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991, for the plane,
    where complex numbers give it in one line.

    Args:
        source: Points [N, 2] as x, y.
        target: Where each of them goes, [N, 2].

    Returns:
        Turn and shift: a point x + iy goes to turn * (x + iy) + shift.

    Raises:
        ValueError: All source points coincide.
    """
    a, b = ([complex(x, y) for x, y in points.tolist()] for points in (source, target))  # so few take longer as arrays
    middle, aim = sum(a) / len(a), sum(b) / len(b)
    centred = [z - middle for z in a]
    spread = sum(abs(z) ** 2 for z in centred)
    if spread < 1e-9:
        raise ValueError("the landmarks coincide")
    turn = sum(z.conjugate() * (goal - aim) for z, goal in zip(centred, b, strict=True)) / spread
    return turn, aim - turn * middle


def align(pixels: Pixels, landmarks: Points, template: Points, size: int) -> Pixels:
    """Cut the square crop in which a face's landmarks lie on a template.

    Pixels outside the photo repeat its edge. A face larger than the crop is reduced by area averaging, so that it does not
    alias. A whole factor is reduced before the warp; what is left, less than two, by a warp to twice the crop's size.

    Args:
        pixels: uint8 RGB [H, W, 3].
        landmarks: float32 [5, 2] in pixels, in the order of `LANDMARKS`.
        template: float32 [5, 2] in fractions of the crop.
        size: Side of the crop in pixels.

    Returns:
        uint8 RGB [size, size, 3].

    Raises:
        ValueError: All landmarks coincide.
    """
    turn, shift = similarity(landmarks, template * np.float32(size))
    part, turn, shift = _shown(pixels, turn, shift, size, max(1, int(1 / abs(turn))))
    # A fourth channel, for OpenCV 5 warps four in two fifths of the time of three, to the same values.
    part = cv2.cvtColor(part, cv2.COLOR_RGB2RGBA)
    if abs(turn) > _UNREDUCED:
        crop = _warped(part, turn, shift, size)
    else:  # the centres of four pixels become that of one
        crop = _warped(part, 2 * turn, 2 * shift + (0.5 + 0.5j), 2 * size)
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB).astype(np.uint8, copy=False)


def outside(landmarks: Points, template: Points, width: int, height: int) -> float:
    """Share of an aligned crop that lies outside its photo, where the photo's edge is repeated.

    Args:
        landmarks: float32 [5, 2], in pixels of the photo.
        template: float32 [5, 2], in fractions of the crop.
        width: Of the photo, in pixels.
        height: Of the photo, in pixels.

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: All landmarks coincide.
    """
    turn, shift = similarity(landmarks, template)
    seen = [(corner - shift) / turn for corner in (0, 1, 1 + 1j, 1j)]
    photo = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    shared = cv2.intersectConvexConvex(np.array([[at.real, at.imag] for at in seen], np.float32), photo)[0]
    return min(max(1 - shared * abs(turn) ** 2, 0.0), 1.0)


def _matrix(turn: complex, shift: complex) -> Doubles:
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _warped(pixels: MatLike, turn: complex, shift: complex, size: int) -> MatLike:
    matrix = _matrix(turn, shift)
    return cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _shown(pixels: Pixels, turn: complex, shift: complex, size: int, factor: int) -> tuple[MatLike, complex, complex]:
    """The part of the photo that the crop shows, area-averaged by `factor`, and turn and shift from it to the crop."""
    seen = [(complex(x, y) - shift) / turn for x in (0, size) for y in (0, size)]
    x0, x1 = _span([at.real for at in seen], 2 * factor, pixels.shape[1])
    y0, y1 = _span([at.imag for at in seen], 2 * factor, pixels.shape[0])
    part: MatLike = pixels[y0:y1, x0:x1]
    if factor > 1:
        small = (x1 - x0) // factor, (y1 - y0) // factor
        if 0 in small:  # the face lies outside the photo: nothing to average
            factor = 1
        else:
            part = cv2.resize(part[: small[1] * factor, : small[0] * factor], small, interpolation=cv2.INTER_AREA)
    # Pixel centres: reduced index u stands for photo coordinate factor * u + (factor - 1) / 2 + offset.
    return part, factor * turn, shift + turn * (complex(x0, y0) + (factor - 1) / 2 * (1 + 1j))


def _span(places: Sequence[float], margin: int, side: int) -> tuple[int, int]:
    """First pixel of a side of the photo about some places, and the one behind the last: its edge where they lie beyond it."""
    first = min(max(0, int(min(places)) - margin), side - 1)
    return first, max(first + 1, min(side, int(max(places)) + margin + 1))
