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

# Where the shares below are given, they were counted over 1,500 validation faces of UTKFace.
SMALL_PX: Final = 48.0
"""Below this side of the box, in pixels of the photo, the crop is enlarged more than twice."""
BLURRED: Final = 4.0
"""3 % of the crops are less sharp; of those reduced to a quarter and enlarged again, 28 %."""
DARK: Final = 0.2
"""Under 1 % of the crops are darker."""
BRIGHT: Final = 0.8
"""Under 1 % of the crops are brighter."""
ROLL_DEGREES: Final = 35.0
"""No face rolls that far, so that no network has seen one."""
YAW: Final = 0.5
"""5 % of the faces are turned further."""


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
        roll=math.degrees(math.atan2(eyes[1], eyes[0])),
        yaw=2 * along / length,
    )


def warnings(quality: Quality, face: Face, width: int, height: int) -> list[str]:
    """Names of the conditions under which an answer deserves less trust: `small`, `blurred`, `dark`, `bright`, `rolled`,
    `turned`, `cut_off`. `width` and `height` are the photo's."""
    x0, y0, x1, y1 = (float(value) for value in face.box)
    found = {
        "small": quality.size_px < SMALL_PX,
        "blurred": quality.sharpness < BLURRED,
        "dark": quality.brightness < DARK,
        "bright": quality.brightness > BRIGHT,
        "rolled": abs(quality.roll) > ROLL_DEGREES,
        "turned": abs(quality.yaw) > YAW,
        "cut_off": x0 <= 0 or y0 <= 0 or x1 >= width or y1 >= height,
    }
    return [name for name, present in found.items() if present]
