"""Where a film's scene gives way to another one: whoever stands in a face's place then is somebody else."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from service.arrays import Doubles, Pixels
from service.vision.windows import HalvedPicture, resized

SIDE: Final = 32
"""Rows and columns of the small grey picture that is compared."""
REACH: Final = 4
"""Rows and columns by which a picture may have moved since the one before: an eighth of it, as under a fast pan."""
FAINT: Final = 2.0
"""Variance, in squared levels, that is as good as none: noise of a dark picture must not count for its content."""
ALIKE: Final = 0.7
"""Correlation from which two pictures are of one scene. Of ninety pairs of portraits two or three reach it; after a pan by a
tenth of the width, a zoom by a twentieth, a flash, or a lamp that goes out, a picture and the next one have 0.85 and more.
"""
SUDDEN: Final = 4.0
"""How many times as much a cut changes as pictures before it did: under a fast pan, or of one a second, each changes much."""
FADING: Final = 0.9
"""Share of an earlier picture's change that counts for the next one: a slow camera's film may repeat each a dozen times."""


class Scenes:
    """Compares each picture of a film with the one before it; where one scene dissolves into another, no cut is seen."""

    def __init__(self) -> None:
        self._before: Doubles | None = None
        self._change = 0.0

    def begins(self, pixels: Pixels) -> bool:
        """Whether a picture is the first one of another scene.

        Args:
            pixels: The next picture, uint8 RGB [height, width, 3] of any size.

        Returns:
            Whether the film was cut before it; False of the first picture.
        """
        small, _ = HalvedPicture(pixels, trimmed=True).scaled(min(1.0, SIDE / min(pixels.shape[:2])))  # a tenth of the time
        grey = cv2.cvtColor(resized(small, SIDE, SIDE), cv2.COLOR_RGB2GRAY)
        now = grey.astype(np.float64)
        before, self._before = self._before, now
        if before is None:
            return False
        change = 1 - _likeness(before, now)
        cut = change > max(1 - ALIKE, SUDDEN * self._change)
        self._change = 0.0 if cut else max(change, FADING * self._change)
        return cut


def _likeness(before: Doubles, now: Doubles) -> float:
    """How alike two pictures are, whatever their brightness and contrast, and wherever the camera has turned a little: the
    correlation of the middle of one with that of the other's parts which is most like it; 1 where both are even.
    """
    middle = now[REACH:-REACH, REACH:-REACH]
    parts = sliding_window_view(before, middle.shape)
    middle = middle - middle.mean()
    parts = parts - parts.mean(axis=(2, 3), keepdims=True)
    covariances = (parts * middle).mean(axis=(2, 3))
    variances = np.square(parts).mean(axis=(2, 3)), np.square(middle).mean()
    return float(((covariances + FAINT) / np.sqrt((variances[0] + FAINT) * (variances[1] + FAINT))).max())
