"""A face and its crop to what can be measured of them, and to warnings in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

from service.arrays import Doubles, Floats, Pixels
from service.vision.detection import Face
from service.vision.occlusion import OCCLUDED

SHARPNESS_SIDE: Final = 128
"""Side in pixels to which a crop is reduced before its sharpness is measured, so that models of any input size agree."""

DIAGONAL: Final = 1.7
"""Second differences along the diagonals, whose steps are longer, over those along rows and columns, in validation faces."""

# Each threshold lies about where the error of the same pictures has risen: by a fifth of the age's, or a quarter of the labels'
# (`python -m training degrade`). docs/measurements.md has the figures behind each.
SMALL_PX: Final = 32.0
"""Side of the box, in pixels of the picture that the crop is cut from, below which a face is small."""
BLURRED: Final = 3.3
"""Sharpness below which a crop is blurred; one validation face in a thousand is, as it is."""
COARSE: Final = 3.3
"""Second difference, in percent of the contrast, that four fifths of a coarse crop's pixels do not reach."""
COARSE_SHARE: Final = 0.2
"""Share of a crop's pixels that the edges of an enlarged thumbnail's blocks take at most."""
ENLARGED_PX: Final = 96.0
"""Side of the box, in pixels of the picture that the crop is cut from, below which the crop is itself an enlargement."""
DARK: Final = 0.14
"""Brightness below which a crop is dark; dark skin alone does not reach it."""
BRIGHT: Final = 0.75
"""Brightness above which a crop is overexposed; pale skin alone seldom reaches it."""
NOISY: Final = 2.4
"""Noise, in grey levels of 255, above which a crop is noisy; neither textured skin nor a JPEG's blocks reach it."""
LOW_CONTRAST: Final = 0.07
"""Standard deviation of a crop's luma, between 0 and 0.5, below which its contrast is low."""
BLOCK: Final = 9
"""Side, in pixels of a reduced crop, of the blocks whose noise is measured; no multiple of a JPEG's."""
SMOOTH_SHARE: Final = 0.25
"""Share of the blocks that count as smooth: the noise is that of the roughest among them."""
ROLL_DEGREES: Final = 30.0
"""Roll beyond which a face is rotated: three standard deviations of the rotations in training."""
YAW: Final = 0.7
"""Yaw beyond which a face is turned away; a caution, for too few faces are turned so far to measure it."""
CUT_OFF: Final = 0.2
"""Share of the crop outside the photo above which a face is cut off."""


_NOISE_MASK: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


@dataclass(frozen=True, slots=True)
class Quality:
    """What is measured of a face.

    `size_px` is the longer side of its box in pixels of the photo; `sharpness` how much of the crop's contrast is fine detail,
    in percent, in the direction in which it is least; `brightness` the crop's mean luma between 0 and 1; `roll` the slope of
    the eyes in degrees, positive where the viewer's right eye is lower; `yaw` the nose's distance from the eyes' middle, in
    half eye distances, positive to the viewer's right; `noise` the standard deviation of what is random in the crop's smooth
    parts, in grey levels of 255; `contrast` the standard deviation of its luma, between 0 and 0.5.
    """

    size_px: float
    sharpness: float
    brightness: float
    roll: float
    yaw: float
    noise: float
    contrast: float


def measure(face: Face, crop: Pixels) -> Quality:
    """Measure a face and its crop.

    Args:
        face: In pixels of the full photo.
        crop: Its aligned crop, uint8 RGB [S, S, 3].

    Returns:
        The face's quality.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    left, right, nose = (face.landmarks[i].astype(np.float64) for i in range(3))
    eyes = right - left
    length = float(np.hypot(*eyes)) or 1.0
    along = float((nose - (left + right) / 2) @ eyes) / length
    reduced = _reduced(grey)
    mean, deviation = _mean_and_deviation(grey)
    return Quality(
        size_px=float(max(face.box[2] - face.box[0], face.box[3] - face.box[1])),
        sharpness=_sharpness(reduced),
        brightness=mean / 255,
        roll=_slope(eyes),
        yaw=2 * along / length,
        noise=_noise(reduced),
        contrast=deviation / 255,
    )


def is_coarse(crop: Pixels) -> bool:
    """Whether a crop has next to no detail but on few lines, such as the edges of a JPEG's blocks that were enlarged with it.

    `Quality.sharpness` takes such edges for detail: a standard deviation is of the greatest values.

    Args:
        crop: Aligned crop, uint8 RGB [S, S, 3].

    Returns:
        Whether it has.
    """
    levels = _reduced(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY))
    least = COARSE / 100 * _mean_and_deviation(levels)[1]
    twice = 2 * levels[1:-1, 1:-1]
    rows, columns = levels[1:-1, :-2] + levels[1:-1, 2:], levels[:-2, 1:-1] + levels[2:, 1:-1]
    return any(np.count_nonzero(np.abs(pair - twice) > least) < COARSE_SHARE * twice.size for pair in (rows, columns))


def _reduced(grey: MatLike) -> Floats:
    """Grey levels of a crop, of `SHARPNESS_SIDE` pixels where it is larger."""
    if grey.shape[0] > SHARPNESS_SIDE:
        grey = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    return grey.astype(np.float32)


def _mean_and_deviation(values: MatLike) -> tuple[float, float]:
    """Mean and standard deviation of an array [H, W], in one pass: NumPy's takes three, over arrays of its own."""
    mean, deviation = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(deviation[0, 0])


def _sharpness(grey: Floats) -> float:
    """Standard deviation of the second differences, along rows, columns or diagonals, whichever is least, in percent of that of
    the grey levels.

    The least, because what moved while it was taken is blurred in one direction alone; relative, because a dark or a pale
    picture is not a blurred one. 0 where there is no contrast.
    """
    contrast = _mean_and_deviation(grey)[1]
    if contrast < 1:
        return 0.0
    twice = 2 * grey[1:-1, 1:-1]
    rows, columns = grey[1:-1, :-2] + grey[1:-1, 2:], grey[:-2, 1:-1] + grey[2:, 1:-1]
    falling, rising = grey[:-2, :-2] + grey[2:, 2:], grey[2:, :-2] + grey[:-2, 2:]
    straight = min(_mean_and_deviation(pair - twice)[1] for pair in (rows, columns))
    diagonal = min(_mean_and_deviation(pair - twice)[1] for pair in (falling, rising)) / DIAGONAL
    return 100 * min(straight, diagonal) / contrast


def _noise(grey: Floats) -> float:
    """Standard deviation of the noise in grey levels, by a mask that edges and slopes do not answer to.

    Immerkaer, "Fast noise variance estimation", CVIU 1996, in blocks. The lower quartile is that of skin without texture, so
    that hair, wrinkles and the edges of a JPEG's blocks count for nothing.
    """
    difference = (cv2.filter2D(grey, -1, _NOISE_MASK) / 6)[1:-1, 1:-1]
    across, down = (side // BLOCK for side in difference.shape)
    if not across * down:
        return 0.0
    blocks = difference[: across * BLOCK, : down * BLOCK].reshape(across, BLOCK, down, BLOCK)
    return float(np.quantile(np.sqrt(np.square(blocks).mean(axis=(1, 3))), SMOOTH_SHARE))


def _slope(across: Doubles) -> float:
    """Degrees by which a vector points downwards."""
    return math.degrees(math.atan2(across[1], across[0]))


def warnings(
    quality: Quality, outside: float, scale: float = 1.0, occlusion: float = -math.inf, *, coarse: bool = False
) -> list[str]:
    """Conditions under which an answer deserves less trust.

    Args:
        quality: what is measured of the face, in pixels of the photo.
        outside: share of the face's crop that lies outside the photo, 0 to 1.
        scale: pixels of the picture that the crop is cut from, per pixel of the photo.
        occlusion: log odds that something covers the face. Of a face that is small or blurred they say little, and count not.
        coarse: whether the crop has detail on few lines alone; counts where the crop is no enlargement itself.

    Returns:
        Those present of `small`, `blurred`, `dark`, `bright`, `noisy`, `low_contrast`, `rolled`, `turned`, `cut_off`,
        `occluded`, in this order. What is `dark` has little contrast anyway, and is not said to have low contrast.
    """
    side = quality.size_px * scale
    small = side < SMALL_PX
    blurred = quality.sharpness < BLURRED or (coarse and side >= ENLARGED_PX)
    dark = quality.brightness < DARK
    found = {
        "small": small,
        "blurred": blurred,
        "dark": dark,
        "bright": quality.brightness > BRIGHT,
        "noisy": quality.noise > NOISY,
        "low_contrast": quality.contrast < LOW_CONTRAST and not dark,
        "rolled": abs(quality.roll) > ROLL_DEGREES,
        "turned": abs(quality.yaw) > YAW,
        "cut_off": outside > CUT_OFF,
        "occluded": occlusion > OCCLUDED and not (small or blurred),
    }
    return [name for name, present in found.items() if present]
