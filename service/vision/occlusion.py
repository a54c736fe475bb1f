"""An aligned crop to whether something covers the face: a bar, a mask, dark glasses, a hand."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from service.arrays import Floats, Pixels

OCCLUDED: Final = 2.3
"""Log odds above which a face is covered; docs/measurements.md has what that finds and what it misses."""

_SIDE: Final = 64
_CELLS: Final = 8
_LEAST_CONTRAST: Final = 8.0
_EDGES: Final = 4.0

with np.load(Path(__file__).with_name("occlusion.npz")) as _table:
    _WEIGHTS: Final[Floats] = _table["weights"].astype(np.float32)
    _BIAS: Final = float(_table["bias"])


def log_odds(crop: Pixels) -> float:
    """Log odds that something covers eyes, nose or mouth, by a logistic regression on 8 by 8 cells of the crop.

    Of each cell it sees the mean luma and chroma, less the face's, and how steep the luma is along rows and columns: what
    covers a face is flat or striped where eyes, nose and mouth are not. It was fitted to faces of the training splits with
    made bars, masks, hands, blocks and dark glasses, and without.

    Args:
        crop: The crop by which a face is measured (see `service.vision.quality`), uint8 RGB [S, S, 3].

    Returns:
        Log odds; above `OCCLUDED`, the face is covered.
    """
    small = _thirds(crop) if len(crop) == 3 * _SIDE else cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    along, down = np.zeros_like(luma), np.zeros_like(luma)
    along[:, 1:-1] = cv2.absdiff(luma[:, 2:], luma[:, :-2])
    down[1:-1] = cv2.absdiff(luma[2:], luma[:-2])
    contrast = max(float(cv2.meanStdDev(luma)[1].item()), _LEAST_CONTRAST)
    cells = np.empty((_CELLS, _CELLS, 5), np.float32)
    colours = cv2.cvtColor(_averaged(small), cv2.COLOR_RGB2YCrCb).astype(np.float32)
    cells[..., :3] = (colours - np.array(cv2.mean(colours)[:3], np.float32)) / contrast
    cells[..., 3], cells[..., 4] = _averaged(along), _averaged(down)
    cells[..., 3:] = np.log1p(cells[..., 3:] * (_EDGES / contrast))
    return float(np.vdot(cells, _WEIGHTS)) + _BIAS


def _thirds(crop: Pixels) -> Pixels:
    """A crop's means of three by three pixels, as `cv2.resize` gives them in three times the time."""
    return cv2.resize(cv2.blur(crop, (3, 3)), (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST_EXACT).astype(
        np.uint8, copy=False
    )


def _averaged(plane: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(plane, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA))
