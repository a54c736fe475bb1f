"""What every detector's faces go through: the picture that is searched, boxes back in the photo, their order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from service.vision.detection import Face, locate
from tests.fakes import SquareDetector, squares

Pixels = npt.NDArray[np.uint8]


class FixedDetector:
    """Answers the same faces whatever it sees, and remembers what it saw."""

    def __init__(self, *boxes: tuple[float, float, float, float]) -> None:
        self.boxes = boxes
        self.seen: list[Pixels] = []

    def detect(self, pixels: Pixels) -> list[Face]:
        self.seen.append(pixels)
        points = np.arange(10, dtype=np.float32).reshape(5, 2)
        return [Face(np.array(box, np.float32), points, 0.99) for box in self.boxes]


def boxes(faces: list[Face]) -> list[tuple[float, ...]]:
    return [tuple(float(value) for value in face.box) for face in faces]


def test_faces_come_left_to_right_and_then_downwards() -> None:
    detector = FixedDetector((50, 5, 60, 15), (10, 40, 20, 50), (30, 0, 40, 10), (10, 20, 20, 30))
    found = boxes(locate(np.zeros((100, 100, 3), np.uint8), detector, 1280))
    assert found == [(10, 20, 20, 30), (10, 40, 20, 50), (30, 0, 40, 10), (50, 5, 60, 15)]


def test_boxes_are_clipped_to_the_picture_and_landmarks_are_not() -> None:
    detector = FixedDetector((-10, -5, 30, 25), (80, 30, 130, 70), (-30, 5, -10, 20), (100, 5, 120, 20))
    faces = locate(np.zeros((60, 100, 3), np.uint8), detector, 1280)
    assert boxes(faces) == [(0, 0, 30, 25), (80, 30, 100, 60)]  # the two that lie outside are none
    assert faces[0].landmarks[4, 1] == 9


def test_a_small_picture_is_searched_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    detector = FixedDetector()
    locate(picture, detector, 100)
    assert np.array_equal(detector.seen[0], picture)


@pytest.mark.parametrize(("height", "width"), [(300, 800), (800, 300), (799, 601), (5000, 100), (90, 4000)])
def test_a_large_picture_is_searched_at_the_side_and_answered_in_its_own_pixels(height: int, width: int) -> None:
    factor = max(height, width) / 200
    detector = FixedDetector((1, 0, 2, 1), (width / factor - 2, height / factor - 2, width / factor - 1, height / factor - 1))
    faces = locate(np.zeros((height, width, 3), np.uint8), detector, 200)
    assert max(detector.seen[0].shape[:2]) == 200
    assert min(detector.seen[0].shape[:2]) == round(min(height, width) / factor)
    assert boxes(faces)[0] == pytest.approx((factor, 0, 2 * factor, factor))
    expected = width - 2 * factor, height - 2 * factor, width - factor, height - factor
    assert boxes(faces)[1] == pytest.approx(expected)


@pytest.mark.parametrize("side", [50, 100, 200])
def test_the_searched_picture_is_averaged_and_rgb(side: int) -> None:
    fine = np.zeros((400, 400, 3), np.uint8)
    fine[::2, ::2] = fine[1::2, 1::2] = (240, 120, 60)
    detector = FixedDetector()
    locate(fine, detector, side)
    assert np.abs(detector.seen[0].astype(int) - (120, 60, 30)).max() <= 1


def test_squares_are_found_in_pixels_of_the_photo() -> None:
    picture = squares((255, 0, 0), (0, 0, 255), side=400, height=800)
    faces = locate(picture, SquareDetector(), 220)
    assert len(faces) == 2
    assert boxes(faces)[0] == pytest.approx((20, 20, 420, 420), abs=8)
    assert boxes(faces)[1] == pytest.approx((440, 20, 840, 420), abs=8)


def test_a_face_is_scaled_and_clipped_without_touching_the_first() -> None:
    face = Face(np.array([10, 20, 30, 60], np.float32), np.full((5, 2), 25, np.float32), 0.9)
    large = face.scaled(2)
    assert boxes([large, face]) == [(20, 40, 60, 120), (10, 20, 30, 60)]
    assert (large.landmarks == 50).all()
    assert large.area == 3200
    assert boxes([large.clipped(40, 100)]) == [(20, 40, 40, 100)]
    assert large.confidence == 0.9
