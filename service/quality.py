"""A face and its crop to what can be measured of them, and to warnings in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from service.detection import Face

SHARPNESS_SIDE: Final = 128
"""Side in pixels to which a crop is reduced before its sharpness is measured, so that models of any input size agree."""

SMALL_PX: Final = 30.0
""""""
BLURRED: Final = 2.8
""""""
DARK: Final = 0.15
""""""
BRIGHT: Final = 0.8
""""""
ROLL_DEGREES: Final = 45.0
""""""
YAW: Final = 0.5
""""""
CUT_OFF: Final = 0.2
""""""

SHARPEST_PER_PX: Final = 0.1
"""Sharpness that a sharp face has at the least for each pixel of its box, where its crop is enlarged: down to 15 pixels, the
faces of examples/ have 0.13 and more. A face that is as sharp as its few pixels let it be is small, not blurred."""
CROP_PER_SPREAD: Final = 4.05
"""Side of a crop over the root mean square distance of the landmarks from their middle: that of the crop's template."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What is measured of a face.

    `size_px` is the longer side of its box in pixels of the photo; `sharpness` the standard deviation of the crop's
    Laplacian in grey levels; `brightness` the crop's mean luma between 0 and 1; `roll` the slope of the eyes in degrees,
    positive where the viewer's right eye is lower; `yaw` the nose's distance from the eyes' middle, in half eye distances,
    positive to the viewer's right.
    """

    size_px: float
    sharpness: float
    brightness: float
    roll: float
    yaw: float


def measure(face: Face, crop: npt.NDArray[np.uint8]) -> Quality:
    """Quality of a face whose box is in pixels of the full photo, from its aligned crop."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    reduced = grey
    if grey.shape[0] > SHARPNESS_SIDE:
        reduced = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    left, right, nose = (face.landmarks[i].astype(np.float64) for i in range(3))
    eyes = right - left
    length = float(np.hypot(*eyes)) or 1.0
    along = float((nose - (left + right) / 2) @ eyes) / length
    return Quality(
        size_px=float(max(face.box[2] - face.box[0], face.box[3] - face.box[1])),
        sharpness=float(cv2.Laplacian(reduced, cv2.CV_32F).std()),
        brightness=float(grey.mean()) / 255,
        roll=_slope(eyes),
        yaw=2 * along / length,
    )


def outside(face: Face, width: int, height: int) -> float:
    """Share, 0 to 1, of a face's aligned crop that lies outside its photo of `width` by `height` pixels: repeated edge."""
    left, right = face.landmarks[:2].astype(np.float64)
    middle = face.landmarks.mean(axis=0, dtype=np.float64)
    side = CROP_PER_SPREAD * math.sqrt(np.square(face.landmarks - middle).sum(axis=1).mean())
    if side < 1:
        return 0.0
    crop = cv2.boxPoints(((middle[0], middle[1]), (side, side), _slope(right - left)))
    photo = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return 1 - cv2.intersectConvexConvex(crop, photo)[0] / side**2


def _slope(across: npt.NDArray[np.float64]) -> float:
    """Degrees by which a vector points downwards."""
    return math.degrees(math.atan2(across[1], across[0]))


def warnings(quality: Quality, face: Face, width: int, height: int, scale: float = 1.0) -> list[str]:
    """Names of the conditions under which an answer deserves less trust: `small`, `blurred`, `dark`, `bright`, `rolled`,
    `turned`, `cut_off`.

    `width` and `height` are the photo's, in whose pixels the face is given; `scale` is what its crop was cut from: pixels of
    the decoded photo per pixel of the photo.
    """
    size = quality.size_px * scale
    found = {
        "small": size < SMALL_PX,
        "blurred": quality.sharpness < min(BLURRED, SHARPEST_PER_PX * size),
        "dark": quality.brightness < DARK,
        "bright": quality.brightness > BRIGHT,
        "rolled": abs(quality.roll) > ROLL_DEGREES,
        "turned": abs(quality.yaw) > YAW,
        "cut_off": outside(face, width, height) > CUT_OFF,
    }
    return [name for name, present in found.items() if present]
