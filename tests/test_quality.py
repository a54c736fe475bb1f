"""What is measured of a face, each by a face that was made to have it."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from service.detection import Face
from service.quality import Quality, measure, warnings

Pixels = npt.NDArray[np.uint8]

EYES_AND_MOUTH = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)
GOOD = Quality(size_px=120, sharpness=15, brightness=0.5, roll=3, yaw=0.05)


def face(landmarks: npt.ArrayLike = EYES_AND_MOUTH, box: tuple[float, ...] = (10, 10, 90, 110)) -> Face:
    return Face(np.array(box, np.float32), np.asarray(landmarks, np.float32), 0.99)


def crop(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(60, 200, (64, 64, 3), dtype=np.uint8)


def turned(degrees: float) -> npt.NDArray[np.float64]:
    """The landmarks turned clockwise on the screen."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.asarray((EYES_AND_MOUTH - 50) @ turn.T + 50)


def test_the_size_is_the_longer_side_of_the_box() -> None:
    assert measure(face(box=(10, 10, 90, 110)), crop()).size_px == 100
    assert measure(face(box=(10, 10, 210, 110)), crop()).size_px == 200


@pytest.mark.parametrize("degrees", [-170, -60, -20, 0, 1, 35, 90, 150])
def test_roll_is_positive_where_the_viewers_right_eye_is_lower(degrees: float) -> None:
    assert measure(face(turned(degrees)), crop()).roll == pytest.approx(degrees, abs=1e-3)


@pytest.mark.parametrize("degrees", [0, 30, -45])
def test_yaw_is_where_the_nose_lies_between_the_eyes_whatever_the_roll(degrees: float) -> None:
    points = turned(degrees)
    along = (points[1] - points[0]) / 40
    assert measure(face(points), crop()).yaw == pytest.approx(0, abs=1e-5)
    points[2] += 10 * along  # half of half the eye distance, to the viewer's right
    assert measure(face(points), crop()).yaw == pytest.approx(0.5, abs=1e-5)
    points[2] -= 20 * along
    assert measure(face(points), crop()).yaw == pytest.approx(-0.5, abs=1e-5)


def test_brightness_is_the_luma_of_the_crop_in_rgb() -> None:
    for colour, luma in {(255, 255, 255): 1, (0, 0, 0): 0, (255, 0, 0): 0.299, (0, 255, 0): 0.587, (0, 0, 255): 0.114}.items():
        assert measure(face(), np.full((64, 64, 3), colour, np.uint8)).brightness == pytest.approx(luma, abs=0.003)


def test_sharpness_falls_with_every_blur() -> None:
    values = [measure(face(), crop()).sharpness]
    values += [
        measure(face(), cv2.GaussianBlur(crop(), (0, 0), sigma).astype(np.uint8)).sharpness for sigma in (0.7, 1.5, 3, 6)
    ]
    assert values == sorted(values, reverse=True)
    assert measure(face(), np.full((64, 64, 3), 80, np.uint8)).sharpness == 0


def test_landmarks_in_one_point_can_be_measured() -> None:
    quality = measure(face(np.full((5, 2), 50)), crop())
    assert math.isfinite(quality.roll)
    assert math.isfinite(quality.yaw)


def test_a_good_face_has_no_warning() -> None:
    assert warnings(GOOD, face(), 500, 400) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"size_px": 30}, ["small"]),
        ({"sharpness": 1.0}, ["blurred"]),
        ({"brightness": 0.1}, ["dark"]),
        ({"brightness": 0.95}, ["bright"]),
        ({"roll": 50}, ["rolled"]),
        ({"roll": -50}, ["rolled"]),
        ({"yaw": 0.8}, ["turned"]),
        ({"yaw": -0.8}, ["turned"]),
        ({"size_px": 20, "sharpness": 0.0, "brightness": 0.05}, ["small", "blurred", "dark"]),
    ],
)
def test_each_condition_has_its_warning(changes: dict[str, float], expected: list[str]) -> None:
    assert warnings(replace(GOOD, **changes), face(), 500, 400) == expected


@pytest.mark.parametrize("box", [(0, 10, 90, 110), (10, 0, 90, 110), (410, 10, 500, 110), (10, 300, 90, 400)])
def test_a_face_at_the_edge_may_be_cut_off(box: tuple[float, ...]) -> None:
    assert warnings(GOOD, face(box=box), 500, 400) == ["cut_off"]
