"""What covers a face, made on the faces of the examples: bars, masks and glasses at their landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.arrays import Floats, Pixels
from service.models.runtime import Network
from service.vision.align import align
from service.vision.detection import locate
from service.vision.detection.mtcnn import MtcnnDetector
from service.vision.image import decode
from service.vision.occlusion import OCCLUDED, log_odds
from service.vision.quality import TEMPLATE, Quality, measured_crop, warnings

ELSEWHERE = (TEMPLATE * np.float32(0.8) + np.float32(0.1)).astype(np.float32)
GOOD = Quality(size_px=200, sharpness=9, brightness=0.5, roll=0, yaw=0, noise=0.4, contrast=0.2)


@pytest.fixture(scope="module")
def face(mtcnn_networks: Mapping[str, Network], examples: Path) -> tuple[Pixels, Floats]:
    """A photo and its face's landmarks."""
    pixels = decode((examples / "astronaut.jpg").read_bytes(), max_pixels=10**7, side=1280).pixels
    (one,) = [face for face in locate(pixels, MtcnnDetector(**mtcnn_networks), 1280) if face.confidence > 0.9]
    return pixels, one.landmarks


def covered(pixels: Pixels, landmarks: Floats, corners: list[tuple[float, float]], colour: tuple[int, int, int]) -> Pixels:
    """What has these corners, in distances of the eyes to the right of their middle and below it, over the face."""
    left, right = landmarks[:2].astype(float)
    across = right - left
    down = np.array([-across[1], across[0]])
    points = [(left + right) / 2 + x * across + y * down for x, y in corners]
    return np.asarray(cv2.fillConvexPoly(pixels.copy(), np.rint(points).astype(np.int32), colour), np.uint8)


BAR = [(-1.2, -0.3), (1.2, -0.3), (1.2, 0.3), (-1.2, 0.3)]
MASK = [(-0.95, 0.6), (0, 0.35), (0.95, 0.6), (0.85, 1.3), (0.4, 1.75), (-0.4, 1.75), (-0.85, 1.3)]


@pytest.mark.parametrize("template", [TEMPLATE, ELSEWHERE], ids=["of the models", "another"])
@pytest.mark.parametrize("size", [62, 128, 192])
def test_a_bar_over_the_eyes_and_a_mask_cover_a_face(face: tuple[Pixels, Floats], size: int, template: Floats) -> None:
    pixels, landmarks = face

    def seen(pixels: Pixels) -> Pixels:
        return measured_crop(align(pixels, landmarks, template, size), pixels, landmarks, template)

    assert log_odds(seen(pixels)) < 0
    for shape, colour in (
        (BAR, (0, 0, 0)),
        (BAR, (20, 20, 25)),
        (MASK, (150, 190, 220)),
        (MASK, (240, 240, 240)),
        (MASK, (20, 20, 22)),
    ):
        hidden = covered(pixels, landmarks, shape, colour)
        assert log_odds(seen(hidden)) > OCCLUDED, (shape, colour)


def test_a_crop_of_one_colour_has_log_odds() -> None:
    assert np.isfinite(log_odds(np.zeros((128, 128, 3), np.uint8)))


def test_a_small_or_blurred_face_is_not_called_covered() -> None:
    assert warnings(GOOD, 0.0, occlusion=OCCLUDED + 0.1) == ["occluded"]
    assert warnings(GOOD, 0.0, occlusion=OCCLUDED) == []
    assert warnings(GOOD, 0.0, scale=0.1, occlusion=9.0) == ["small"]
    blurred = Quality(size_px=200, sharpness=1, brightness=0.5, roll=0, yaw=0, noise=0.4, contrast=0.2)
    assert warnings(blurred, 0.0, occlusion=9.0) == ["blurred"]
