"""A face and its crop to what can be measured of them, and to warnings in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from service.arrays import Doubles, Pixels
from service.vision.align import Points, align
from service.vision.detection import Face
from service.vision.occlusion import OCCLUDED

TEMPLATE: Final = np.array(
    [[0.2941, 0.28628], [0.68848, 0.28616], [0.4892, 0.51717], [0.314, 0.69235], [0.66702, 0.69112]], np.float32
)
"""Where the landmarks lie in the crop by which a face is measured, in fractions of its side; means of UTKFace's train."""
TOLERANCE: Final = 0.02
"""Distance, in sides of the crop, within which a network's template counts as that one."""
MEASURED_SIDE: Final = 128
"""Side in pixels to which a crop is reduced before its detail and noise are measured, so that models of any size agree."""
CUT_SIDE: Final = 192
"""Side in pixels of the crop that is cut where a model's own does not serve: to reduce a smaller one takes noise away."""

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


DIGITS: Final = {"size_px": 1, "sharpness": 2, "brightness": 3, "roll": 1, "yaw": 2, "noise": 2, "contrast": 3}
"""Decimals of each measure in answers and tables."""

Steps = npt.NDArray[np.int16]

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

    def rounded(self) -> dict[str, float]:
        """The measures as answers and tables have them.

        Returns:
            Values by name, with the decimals of `DIGITS`.
        """
        return {name: round(getattr(self, name), digits) for name, digits in DIGITS.items()}


class _Levels(NamedTuple):
    """Grey levels of a crop: `whole`, uint8 [S, S], and `reduced`, int16, which holds them exactly and squares quickly, of
    `MEASURED_SIDE` pixels where the crop is larger; and the latter's second differences along rows and columns.
    """

    whole: MatLike
    reduced: Steps
    rows: Steps
    columns: Steps


def measured_crop(crop: Pixels, pixels: Pixels, landmarks: Points, template: Points) -> Pixels:
    """The crop by which a face is measured: the network's own, or another where that has too few pixels or shows more or less.

    Args:
        crop: The network's crop, uint8 RGB [S, S, 3].
        pixels: The picture that it was cut from, uint8 RGB [H, W, 3].
        landmarks: [5, 2] in pixels of that picture.
        template: Where they lie in the network's crop, [5, 2] in fractions of its side.

    Returns:
        uint8 RGB [T, T, 3], in which they lie on `TEMPLATE`; T is S or `CUT_SIDE`.
    """
    serves = len(crop) >= CUT_SIDE and np.abs(template - TEMPLATE).max() <= TOLERANCE
    return crop if serves else align(pixels, landmarks, TEMPLATE, CUT_SIDE)


def assess(face: Face, crop: Pixels) -> tuple[Quality, bool]:
    """Measure a face and its crop, and say whether the crop is coarse.

    Args:
        face: In pixels of the full photo.
        crop: Its `measured_crop`, uint8 RGB [S, S, 3], of `MEASURED_SIDE` pixels or more.

    Returns:
        The face's quality, and whether the crop has next to no detail but on few lines, such as the edges of a JPEG's blocks
        that were enlarged with it.
    """
    levels = _levels(crop)
    return _measured(face, levels), _is_coarse(levels)


def measure(face: Face, crop: Pixels) -> Quality:
    """Measure a face and its crop.

    Args:
        face: In pixels of the full photo.
        crop: Its `measured_crop`, uint8 RGB [S, S, 3], of `MEASURED_SIDE` pixels or more.

    Returns:
        The face's quality.
    """
    return _measured(face, _levels(crop))


def _levels(crop: Pixels) -> _Levels:
    whole = reduced = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if reduced.shape[0] > MEASURED_SIDE:
        reduced = cv2.resize(reduced, (MEASURED_SIDE, MEASURED_SIDE), interpolation=cv2.INTER_AREA)
    grey = reduced.astype(np.int16)
    twice = 2 * grey[1:-1, 1:-1]
    return _Levels(whole, grey, grey[1:-1, :-2] + grey[1:-1, 2:] - twice, grey[:-2, 1:-1] + grey[2:, 1:-1] - twice)


def _measured(face: Face, levels: _Levels) -> Quality:
    left, right, nose = (face.landmarks[i].astype(np.float64) for i in range(3))
    eyes = right - left
    length = float(np.hypot(*eyes)) or 1.0
    along = float((nose - (left + right) / 2) @ eyes) / length
    mean, deviation = _mean_and_deviation(levels.whole)
    return Quality(
        size_px=float(max(face.box[2] - face.box[0], face.box[3] - face.box[1])),
        sharpness=_sharpness(levels),
        brightness=mean / 255,
        roll=_slope(eyes),
        yaw=2 * along / length,
        noise=_noise(levels.reduced),
        contrast=deviation / 255,
    )


def _is_coarse(levels: _Levels) -> bool:
    """As `assess`. `Quality.sharpness` takes the edges of blocks for detail: a standard deviation is of the greatest values."""
    least = COARSE / 100 * _mean_and_deviation(levels.reduced)[1]
    few = COARSE_SHARE * levels.rows.size
    return any(np.count_nonzero(np.abs(steps) > least) < few for steps in (levels.rows, levels.columns))


def _mean_and_deviation(values: MatLike) -> tuple[float, float]:
    """Mean and standard deviation of an array [H, W] of whole numbers, whose sums are exact."""
    mean = cv2.sumElems(values)[0] / values.size
    return mean, math.sqrt(max(0.0, cv2.norm(values, cv2.NORM_L2SQR) / values.size - mean**2))


def _sharpness(levels: _Levels) -> float:
    """Standard deviation of the second differences, along rows, columns or diagonals, whichever is least, in percent of that of
    the grey levels.

    The least, because what moved while it was taken is blurred in one direction alone; relative, because a dark or a pale
    picture is not a blurred one. 0 where there is no contrast.
    """
    grey = levels.reduced
    contrast = _mean_and_deviation(grey)[1]
    if contrast < 1:
        return 0.0
    twice = 2 * grey[1:-1, 1:-1]
    falling, rising = grey[:-2, :-2] + grey[2:, 2:] - twice, grey[2:, :-2] + grey[:-2, 2:] - twice
    straight = min(_mean_and_deviation(steps)[1] for steps in (levels.rows, levels.columns))
    diagonal = min(_mean_and_deviation(steps)[1] for steps in (falling, rising)) / DIAGONAL
    return 100 * min(straight, diagonal) / contrast


def _noise(grey: Steps) -> float:
    """Standard deviation of the noise in grey levels, by a mask that edges and slopes do not answer to.

    Immerkaer, "Fast noise variance estimation", CVIU 1996, in blocks. The lower quartile is that of skin without texture, so
    that hair, wrinkles and the edges of a JPEG's blocks count for nothing.
    """
    difference = (cv2.filter2D(grey.astype(np.float32), -1, _NOISE_MASK) / 6)[1:-1, 1:-1]
    across, down = (side // BLOCK for side in difference.shape)
    if not across * down:
        return 0.0
    squares = np.square(difference[: across * BLOCK, : down * BLOCK])
    blocks = cv2.resize(squares, (down, across), interpolation=cv2.INTER_AREA)  # their means
    return _quantile(np.sqrt(blocks).ravel(), SMOOTH_SHARE)


def _quantile(values: MatLike, share: float) -> float:
    """As `np.quantile`, in a tenth of its time."""
    place = share * (len(values) - 1)
    low = math.floor(place)
    near = np.partition(values, (low, min(low + 1, len(values) - 1)))[low : low + 2]
    return float(near[0] + (place - low) * (near[-1] - near[0]))


def _slope(across: Doubles) -> float:
    """Degrees by which a vector points downwards."""
    return math.degrees(math.atan2(across[1], across[0]))


def warnings(
    quality: Quality, outside: float, scale: float = 1.0, occlusion: float = -math.inf, *, coarse: bool = False
) -> list[str]:
    """Conditions under which an answer deserves less trust.

    Args:
        quality: What is measured of the face, in pixels of the photo.
        outside: Share of the face's crop, by `TEMPLATE`, that lies outside the photo, 0 to 1.
        scale: Pixels of the picture that the crop is cut from, per pixel of the photo.
        occlusion: Log odds that something covers the face. Of a face that is small or blurred they say little, and count not.
        coarse: Whether the crop has detail on few lines alone; counts where the crop is no enlargement itself.

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
