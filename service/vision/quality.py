"""A face and its crop to what can be measured of them, and to warnings in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from service.vision.detection import Face

SHARPNESS_SIDE: Final = 128
"""Side in pixels to which a crop is reduced before its sharpness is measured, so that models of any input size agree."""

DIAGONAL: Final = 1.7
"""Second differences along the diagonals, whose steps are longer, over those along rows and columns, in validation faces."""

# Thresholds: from about where `python -m training degrade` finds that the error has surely risen, by a fifth of the years or a
# quarter of the wrong labels, over that of the same pictures as they are. Costs as measured with mobilenet/2 on 400 validation
# pictures of UTKFace made worse. As they are 18 get a wrong gender, so that its rises are rough: +80 % may be 20 or 300.
SMALL_PX: Final = 32.0
"""Side of the box in pixels that the crop is cut from. Below, the age error is 30 % larger, the wrong genders are 43 % and the
wrong races 50 % more; above, 5 %, 2 % and 7 %. It is due from 27 on; with mobilenet/1 it was from 32."""
BLURRED: Final = 2.9
"""Below, the age error is 48 % larger, the wrong genders are 81 % and the wrong races 92 % more; above, 13 %, 8 % and 14 %. By
the ages a warning is due from 3.3 on. No validation face is less sharp than 2.9 as it is."""
DARK: Final = 0.14
"""Below, the age error is 30 % larger, the wrong genders are 18 % and the wrong races 42 % more; above, 2 %, -9 % and 12 %. One
validation face in a thousand is that dark as it is: skin alone is not. By the ages a warning is due from 0.085 on, with
mobilenet/1 it was from 0.10; this one comes a little before."""
BRIGHT: Final = 0.75
"""Above, in overexposed photos, the age error is 20 % larger, the wrong genders are 43 % and the wrong races 72 % more; below,
4 %, 12 % and 9 %. One validation face in a hundred is that bright as it is, and answered as well as others. By the races a
warning is due from 0.77 on. With mobilenet/1 it was, by the genders, from 0.70 on, which 3.4 % of the faces exceed as they are,
of those labelled Asian 8.9 %, of those labelled black none: that is skin, not light."""
ROLL_DEGREES: Final = 30.0
"""Beyond, the age error is 3 % larger, the wrong genders are 10 % and the wrong races 23 % more; below, 1 %, -3 % and 7 %:
little, for the crop is turned upright again. 30° is three standard deviations of training's rotations. Few faces are not found:
1 in 400 at 45°, 9 at 60°, 3 on their side or head."""
YAW: Final = 0.7
"""No rise was found in the faces as they are. Beyond lies one validation face in fifty, too few to measure: a caution."""
CUT_OFF: Final = 0.2
"""Share of the crop that is outside the photo. Above, the age error is 7 % larger, the wrong genders are 39 % and the wrong
races 35 % more; below, 1 %, 5 % and 5 %. Chosen, not found: the share is not in the answer, so that it has no curve. A box
that only touches the edge costs nothing: nearly all of UTKFace's do."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What is measured of a face.

    `size_px` is the longer side of its box in pixels of the photo; `sharpness` how much of the crop's contrast is fine detail,
    in percent, in the direction in which it is least; `brightness` the crop's mean luma between 0 and 1; `roll` the slope of
    the eyes in degrees, positive where the viewer's right eye is lower; `yaw` the nose's distance from the eyes' middle, in
    half eye distances, positive to the viewer's right.
    """

    size_px: float
    sharpness: float
    brightness: float
    roll: float
    yaw: float


def measure(face: Face, crop: npt.NDArray[np.uint8]) -> Quality:
    """Measure a face and its crop.

    Args:
        face: In pixels of the full photo.
        crop: Its aligned crop, uint8 RGB [S, S, 3].

    Returns:
        The face's quality.
    """
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
        sharpness=_sharpness(reduced.astype(np.float32)),
        brightness=float(grey.mean()) / 255,
        roll=_slope(eyes),
        yaw=2 * along / length,
    )


def _sharpness(grey: npt.NDArray[np.float32]) -> float:
    """Standard deviation of the second differences, along rows, columns or diagonals, whichever is least, in percent of that of
    the grey levels.

    The least, because what moved while it was taken is blurred in one direction alone; relative, because a dark or a pale
    picture is not a blurred one. 0 where there is no contrast.
    """
    contrast = float(grey.std())
    if contrast < 1:
        return 0.0
    twice = 2 * grey[1:-1, 1:-1]
    rows, columns = grey[1:-1, :-2] + grey[1:-1, 2:], grey[:-2, 1:-1] + grey[2:, 1:-1]
    falling, rising = grey[:-2, :-2] + grey[2:, 2:], grey[2:, :-2] + grey[:-2, 2:]
    straight = min(float((pair - twice).std()) for pair in (rows, columns))
    diagonal = min(float((pair - twice).std()) for pair in (falling, rising)) / DIAGONAL
    return 100 * min(straight, diagonal) / contrast


def _slope(across: npt.NDArray[np.float64]) -> float:
    """Degrees by which a vector points downwards."""
    return math.degrees(math.atan2(across[1], across[0]))


def warnings(quality: Quality, outside: float, scale: float = 1.0) -> list[str]:
    """Conditions under which an answer deserves less trust.

    Args:
        quality: what is measured of the face, in pixels of the photo.
        outside: share of the face's crop that lies outside the photo, 0 to 1.
        scale: pixels of the picture that the crop is cut from, per pixel of the photo.

    Returns:
        Those present of `small`, `blurred`, `dark`, `bright`, `rolled`, `turned`, `cut_off`, in this order.
    """
    found = {
        "small": quality.size_px * scale < SMALL_PX,
        "blurred": quality.sharpness < BLURRED,
        "dark": quality.brightness < DARK,
        "bright": quality.brightness > BRIGHT,
        "rolled": abs(quality.roll) > ROLL_DEGREES,
        "turned": abs(quality.yaw) > YAW,
        "cut_off": outside > CUT_OFF,
    }
    return [name for name, present in found.items() if present]
