"""A photo and a face's landmarks to the aligned crop that a network sees; training cuts its pictures with it too."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from service.arrays import Doubles, Floats, Pixels

Points = Floats

_UNREDUCED: Final = 0.99
"""Scale above which interpolation alone loses nothing that can be seen."""


def similarity(source: Points, target: Points) -> Doubles:
    """Least-squares rotation, uniform scale and shift that takes one set of points to another; never a reflection.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991, for the plane,
    where complex numbers give it in one line.

    Args:
        source: Points [N, 2] as x, y.
        target: Where each of them goes, [N, 2].

    Returns:
        The transform, float64 [2, 3].

    Raises:
        ValueError: All source points coincide.
    """
    a = source[:, 0].astype(np.float64) + 1j * source[:, 1]
    b = target[:, 0].astype(np.float64) + 1j * target[:, 1]
    centred = a - a.mean()
    spread = float(np.vdot(centred, centred).real)
    if spread < 1e-9:
        raise ValueError("the landmarks coincide")
    turn = np.vdot(centred, b - b.mean()) / spread
    shift = b.mean() - turn * a.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


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
    matrix = similarity(landmarks, template * np.float32(size))
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    factor = int(1 / scale)
    if factor > 1:
        pixels, matrix = _reduced(pixels, matrix, size, factor)
    if math.hypot(matrix[0, 0], matrix[1, 0]) > _UNREDUCED:
        return _warped(pixels, matrix, size)
    twice = 2 * matrix
    twice[:, 2] += 0.5  # the centres of four pixels become that of one
    crop = cv2.resize(_warped(pixels, twice, 2 * size), (size, size), interpolation=cv2.INTER_AREA)
    return crop.astype(np.uint8, copy=False)


def outside(landmarks: Points, template: Points, width: int, height: int) -> float:
    """Share of an aligned crop that lies outside its photo, where the photo's edge is repeated.

    Args:
        landmarks: float32 [5, 2], in pixels of the photo.
        template: float32 [5, 2], in fractions of the crop.
        width: of the photo in pixels.
        height: of the photo in pixels.

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: All landmarks coincide.
    """
    matrix = similarity(landmarks, template)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
    seen = ((corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T).astype(np.float32)
    photo = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    area = 1 / abs(np.linalg.det(matrix[:, :2]))
    return float(np.clip(1 - cv2.intersectConvexConvex(seen, photo)[0] / area, 0, 1))


def _warped(pixels: Pixels, matrix: Doubles, size: int) -> Pixels:
    crop = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return crop.astype(np.uint8, copy=False)


def _reduced(pixels: Pixels, matrix: Doubles, size: int, factor: int) -> tuple[Pixels, Doubles]:
    """The part of the photo that the crop shows, area-averaged by `factor`, and the transform from it to the crop."""
    height, width = pixels.shape[:2]
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], dtype=np.float64)
    seen = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    margin = 2 * factor
    x0, y0 = (max(0, int(v) - margin) for v in seen.min(axis=0))
    x1 = min(width, int(seen[:, 0].max()) + margin + 1)
    y1 = min(height, int(seen[:, 1].max()) + margin + 1)
    if x1 - x0 < factor or y1 - y0 < factor:  # the face lies outside the photo: nothing to average
        return pixels, matrix
    part = pixels[y0:y1, x0:x1]
    columns, rows = part.shape[1] // factor, part.shape[0] // factor
    small = cv2.resize(part[: rows * factor, : columns * factor], (columns, rows), interpolation=cv2.INTER_AREA)
    # Pixel centres: reduced index u stands for photo coordinate factor * u + (factor - 1) / 2 + offset.
    moved = matrix.copy()
    moved[:, :2] *= factor
    moved[:, 2] += matrix[:, :2] @ np.array([(factor - 1) / 2 + x0, (factor - 1) / 2 + y0])
    return small.astype(np.uint8, copy=False), moved
