"""What is measured of a face, each by a face that was made to have it."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service.models.runtime import Network
from service.vision.align import align, outside
from service.vision.detection import MIN_CONFIDENCE, MIN_FACE_PX, Face, locate
from service.vision.detection.mtcnn import MtcnnDetector
from service.vision.image import decode
from service.vision.quality import (
    BLURRED,
    BRIGHT,
    CUT_OFF,
    DARK,
    DIAGONAL,
    ENLARGED_PX,
    LOW_CONTRAST,
    NOISY,
    ROLL_DEGREES,
    SMALL_PX,
    TEMPLATE,
    YAW,
    Quality,
    assess,
    measure,
    measured_crop,
    warnings,
)
from training.evaluation.degradations import compressed, low_contrast, noisy

Pixels = npt.NDArray[np.uint8]

EYES_AND_MOUTH = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)
CROP = np.array([[0.294, 0.286], [0.688, 0.286], [0.489, 0.517], [0.314, 0.691], [0.667, 0.691]], np.float32)
"""A template: where the landmarks lie in a crop."""
WIDE = ((CROP - 0.5) * 0.8 + 0.5).astype(np.float32)
"""One whose crop shows more."""
GOOD = Quality(size_px=120, sharpness=15, brightness=0.5, roll=3, yaw=0.05, noise=0.4, contrast=0.2)


def face(landmarks: npt.ArrayLike = EYES_AND_MOUTH, box: tuple[float, ...] = (10, 10, 90, 110)) -> Face:
    return Face(np.array(box, np.float32), np.asarray(landmarks, np.float32), 0.99)


def crop(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(60, 200, (64, 64, 3), dtype=np.uint8)


def framed(x: float, y: float) -> npt.NDArray[np.float32]:
    """Landmarks of a face whose crop is 100 pixels square round x, y."""
    return np.asarray((CROP - 0.5) * 100 + np.array([x, y]), np.float32)


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
    shaded = (crop() // 4 + np.linspace(0, 180, 64, dtype=np.uint8)[:, np.newaxis, np.newaxis]).astype(np.uint8)
    values = [measure(face(), shaded).sharpness]
    values += [
        measure(face(), cv2.GaussianBlur(shaded, (0, 0), sigma).astype(np.uint8)).sharpness for sigma in (0.7, 1.5, 3, 6)
    ]
    assert values == sorted(values, reverse=True)
    assert measure(face(), np.full((64, 64, 3), 80, np.uint8)).sharpness == 0


def test_sharpness_is_the_share_of_fine_contrast() -> None:
    """Of white noise, the second differences' variance is six times that of the levels, and the diagonals' are given less."""
    noise = crop()
    assert measure(face(), noise).sharpness == pytest.approx(100 * math.sqrt(6) / DIAGONAL, rel=0.05)
    for change in (noise // 4, noise // 2 + 100):  # dark, and pale
        assert measure(face(), change.astype(np.uint8)).sharpness == pytest.approx(measure(face(), noise).sharpness, rel=0.02)


@pytest.mark.parametrize("sigma", [1.0, 4.0, 12.0])
def test_noise_is_that_of_smooth_parts(sigma: float) -> None:
    """The lower quartile of blocks of 81 pixels is a little below the whole's deviation."""
    slope = np.linspace(40, 200, 128)[:, np.newaxis] + np.linspace(-20, 20, 128)
    random = np.random.default_rng(0)
    noisy = slope + random.normal(0, sigma, slope.shape)
    noisy[:, 64:] += 30 * (random.integers(0, 2, (128, 64)))  # hair
    shown = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[..., np.newaxis].repeat(3, axis=2)
    assert measure(face(), shown).noise == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("template", [TEMPLATE, WIDE], ids=["of its face", "of more than its face"])
@pytest.mark.parametrize("size", [62, 112, 128, 160, 192])
def test_a_face_is_measured_alike_for_models_of_any_crop(size: int, template: npt.NDArray[np.float32]) -> None:
    """Noise of a photo was a half more for a model of 62 pixels than for one of 192."""
    random = np.random.default_rng(0)
    photo = np.clip(random.normal(128, 12, (400, 400, 3)), 0, 255).astype(np.uint8)
    photo[:60] = 0
    points = (CROP * 300 + 50).astype(np.float32)
    of, as_shipped = (
        assess(face(points), measured_crop(align(photo, points, cut, side), photo, points, cut))
        for cut, side in ((template, size), (TEMPLATE, 192))
    )
    assert of == as_shipped


def test_contrast_is_the_deviation_of_the_luma() -> None:
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 255
    assert measure(face(), halves).contrast == pytest.approx(0.5)
    assert measure(face(), halves // 5).contrast == pytest.approx(0.1)
    assert measure(face(), np.full((64, 64, 3), 80, np.uint8)).contrast == 0


def test_a_crop_without_a_block_has_no_noise_to_measure() -> None:
    assert measure(face(), np.zeros((8, 8, 3), np.uint8)).noise == 0


def test_noise_and_low_contrast_are_warned_of_and_a_jpegs_blocks_are_not(
    examples: Path, mtcnn_networks: Mapping[str, Network]
) -> None:
    photo = decode((examples / "biden.jpg").read_bytes(), max_pixels=10**7, side=10**4).pixels
    (one,) = [one for one in locate(photo, MtcnnDetector(**mtcnn_networks), 1280) if one.confidence >= MIN_CONFIDENCE]
    cut = align(photo, one.landmarks, CROP, 128)

    def given(crop: Pixels) -> list[str]:
        return warnings(measure(one, crop), 0.0)

    assert given(cut) == []
    assert given(compressed(cut, 15)) == []
    assert given(noisy(cut, 12)) == ["noisy"]
    assert given(low_contrast(cut, 0.2)) == ["low_contrast"]


@pytest.mark.parametrize("way", ["across", "down", "falling", "rising"])
def test_what_moved_in_one_direction_is_less_sharp(way: str) -> None:
    kernel = {"across": np.eye(9)[4:5], "down": np.eye(9)[:, 4:5], "falling": np.eye(9), "rising": np.eye(9)[::-1]}[way]
    line = np.ones_like(kernel) if 1 in kernel.shape else kernel
    moved = cv2.filter2D(crop(), -1, line / line.sum()).astype(np.uint8)
    assert measure(face(), moved).sharpness < 0.5 * measure(face(), crop()).sharpness


def test_landmarks_in_one_point_can_be_measured() -> None:
    quality = measure(face(np.full((5, 2), 50)), crop())
    assert math.isfinite(quality.roll)
    assert math.isfinite(quality.yaw)


def test_a_good_face_has_no_warning() -> None:
    assert warnings(GOOD, 0.0) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"size_px": SMALL_PX}, []),
        ({"size_px": SMALL_PX - 0.1}, ["small"]),
        ({"sharpness": BLURRED}, []),
        ({"sharpness": BLURRED - 0.01}, ["blurred"]),
        ({"brightness": DARK}, []),
        ({"brightness": DARK - 0.01}, ["dark"]),
        ({"brightness": BRIGHT}, []),
        ({"brightness": BRIGHT + 0.01}, ["bright"]),
        ({"noise": NOISY}, []),
        ({"noise": NOISY + 0.1}, ["noisy"]),
        ({"contrast": LOW_CONTRAST}, []),
        ({"contrast": LOW_CONTRAST - 0.001}, ["low_contrast"]),
        ({"brightness": 0.05, "contrast": 0.01}, ["dark"]),
        ({"roll": ROLL_DEGREES}, []),
        ({"roll": ROLL_DEGREES + 0.1}, ["rolled"]),
        ({"roll": -ROLL_DEGREES - 0.1}, ["rolled"]),
        ({"yaw": YAW}, []),
        ({"yaw": YAW + 0.01}, ["turned"]),
        ({"yaw": -YAW - 0.01}, ["turned"]),
        ({"size_px": 10, "sharpness": 0.0, "brightness": 0.01}, ["small", "blurred", "dark"]),
    ],
)
def test_each_condition_has_its_warning_beyond_its_threshold(changes: dict[str, float], expected: list[str]) -> None:
    assert warnings(replace(GOOD, **changes), 0.0) == expected


def test_the_pixels_that_the_crop_was_cut_from_count() -> None:
    """Of a photo decoded at a quarter, a face has a quarter of its pixels."""
    assert warnings(replace(GOOD, size_px=3 * SMALL_PX), 0.0, scale=0.25) == ["small"]
    assert warnings(replace(GOOD, size_px=5 * SMALL_PX), 0.0, scale=0.25) == []


@pytest.mark.parametrize(
    ("across", "down", "share"),
    [
        (200, 150, 0),
        (20, 150, 0.3),  # the middle of a crop of 100 pixels is 20 from the edge: 30 of them are beyond
        (480, 150, 0.3),
        (200, 10, 0.4),
        (200, 400, 0.5),
        (0, 400, 0.75),
        (-100, 150, 1),
    ],
)
def test_how_much_of_the_crop_lies_outside(across: float, down: float, share: float) -> None:
    assert outside(framed(across, down), CROP, 500, 400) == pytest.approx(share, abs=1e-5)


def test_the_corner_of_a_rolled_crop_may_reach_outside() -> None:
    upright = framed(55, 150)
    angle = math.radians(45)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    rolled = (upright - [55, 150]) @ turn.T + np.array([55, 150])
    assert outside(upright, CROP, 500, 400) == pytest.approx(0, abs=1e-5)
    assert outside(rolled, CROP, 500, 400) == pytest.approx((50 * math.sqrt(2) - 55) ** 2 / 100**2, abs=1e-5)


def test_a_face_is_cut_off_where_much_of_its_crop_is_outside() -> None:
    for share, expected in ((CUT_OFF - 0.01, []), (CUT_OFF + 0.01, ["cut_off"])):
        assert warnings(GOOD, outside(framed(50 - 100 * share, 150), CROP, 500, 400)) == expected


def test_a_crop_that_touches_the_edge_is_not_cut_off_yet() -> None:
    assert warnings(GOOD, outside(framed(50, 150), CROP, 500, 400)) == []


def test_a_tighter_template_cuts_a_smaller_crop() -> None:
    tight = (CROP - 0.5) * np.float32(1.25) + np.float32(0.5)
    points = np.asarray((CROP - 0.5) * 100 + np.array([20, 150]), np.float32)
    assert outside(points, CROP, 500, 400) == pytest.approx(0.3, abs=1e-5)
    assert outside(points, tight, 500, 400) == pytest.approx(20 / 80, abs=1e-5)


def test_landmarks_in_one_point_have_no_crop() -> None:
    with pytest.raises(ValueError, match="coincide"):
        outside(np.full((5, 2), 50, np.float32), CROP, 100, 100)


@pytest.mark.parametrize("name", ["astronaut", "biden", "group", "obama"])
def test_sharp_faces_are_not_blurred_at_any_size_and_blurred_ones_are(
    name: str, examples: Path, mtcnn_networks: Mapping[str, Network]
) -> None:
    detector = MtcnnDetector(**mtcnn_networks)
    photo = decode((examples / f"{name}.jpg").read_bytes(), max_pixels=10**7, side=10**4).pixels

    def given(pixels: Pixels) -> list[tuple[float, list[str]]]:
        height, width = pixels.shape[:2]
        found = [(one, align(pixels, one.landmarks, CROP, 128)) for one in locate(pixels, detector, 1280)]
        return [
            (float(one.box[3] - one.box[1]), warnings(measure(one, crop), outside(one.landmarks, CROP, width, height)))
            for one, crop in found
            if one.confidence >= MIN_CONFIDENCE
        ]

    for factor in (1, 2, 3, 4):
        size = photo.shape[1] // factor, photo.shape[0] // factor
        reduced = cv2.resize(photo, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        found = [(side, names) for side, names in given(reduced) if side >= MIN_FACE_PX]
        assert found
        for side, names in found:
            assert "blurred" not in names
            assert ("small" in names) == (side < SMALL_PX)
    blurred = given(cv2.GaussianBlur(photo, (0, 0), photo.shape[1] / 60).astype(np.uint8))
    assert all("blurred" in names for _, names in blurred)


@pytest.mark.parametrize("method", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_an_enlarged_thumbnail_with_edges_of_blocks_is_blurred(
    method: Image.Resampling, examples: Path, mtcnn_networks: Mapping[str, Network]
) -> None:
    photo = Image.open(examples / "biden.jpg").convert("RGB")
    (one,) = [
        one for one in locate(np.asarray(photo), MtcnnDetector(**mtcnn_networks), 1280) if one.confidence >= MIN_CONFIDENCE
    ]
    thumbnail = io.BytesIO()
    photo.resize((photo.width // 16, photo.height // 16), Image.Resampling.BOX).save(thumbnail, "JPEG", quality=40)
    enlarged = np.asarray(Image.open(thumbnail).resize(photo.size, method))
    as_it_is, coarse = (align(pixels, one.landmarks, CROP, 128) for pixels in (np.asarray(photo), enlarged))
    assert measure(one, coarse).sharpness > BLURRED / 2
    assert (assess(one, as_it_is)[1], assess(one, coarse)[1]) == (False, True)
    assert warnings(GOOD, 0.0, coarse=True) == ["blurred"]
    assert warnings(replace(GOOD, size_px=ENLARGED_PX - 1), 0.0, coarse=True) == []
