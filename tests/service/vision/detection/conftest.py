"""The example photos, and how their faces are compared."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from service.vision.detection import MIN_CONFIDENCE, Face
from service.vision.image import decode

Pixels = npt.NDArray[np.uint8]

GREY = 127
COUNTS = {"astronaut": 1, "obama": 1, "biden": 1, "group": 7}
"""Faces of each example photo."""


@pytest.fixture(scope="module")
def photos(examples: Path) -> dict[str, Pixels]:
    """The example photos at full size."""
    return {name: decode((examples / f"{name}.jpg").read_bytes(), max_pixels=10**7, side=10**4).pixels for name in COUNTS}


def overlap(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1."""
    a, b = np.asarray(one, float), np.asarray(other, float)
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(sides.clip(0)))
    return shared / (float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - shared)


def sure(faces: list[Face]) -> list[Face]:
    """Those that the service answers."""
    return [face for face in faces if face.confidence >= MIN_CONFIDENCE]


def blurred_beside(examples: Path, size: int, sigma: float) -> Pixels:
    """The astronaut's head, whose face is so many pixels high, blurred, on plain ground to the left of an easy photo."""
    head, easy = (
        decode((examples / f"{name}.jpg").read_bytes(), max_pixels=10**7, side=10**4).pixels for name in ("astronaut", "biden")
    )
    head = cv2.resize(head[0:260, 90:360], None, fx=size / 112, fy=size / 112, interpolation=cv2.INTER_AREA)
    picture = np.full((400, 800, 3), GREY, np.uint8)
    picture[100 : 100 + head.shape[0], 100 : 100 + head.shape[1]] = cv2.GaussianBlur(head, (0, 0), sigma)
    side = min(easy.shape[:2])
    picture[:, 400:] = cv2.resize(easy[:side, :side], (400, 400), interpolation=cv2.INTER_AREA)
    return picture
