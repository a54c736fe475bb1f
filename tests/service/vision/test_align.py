"""The aligned crop: where its pixels come from, to a fraction of a pixel."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.vision.align import align, similarity

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]

TEMPLATE = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.7], [0.65, 0.7]], np.float32)
SIZE = 64


def landmarks(x: float, y: float, side: float, degrees: float = 0.0) -> Points:
    """The template as it lies on a face of `side` pixels about (x, y), turned clockwise as seen on a screen."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return ((TEMPLATE - 0.5) * side @ turn.T + [x, y]).astype(np.float32)


def painted(
    function: Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]], side: int
) -> Pixels:
    """A grey picture of a function of x and y."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    return np.repeat(function(x, y).round().clip(0, 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def matrix(source: npt.NDArray[np.floating[Any]], target: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """The similarity [2, 3] that takes one set of points to another."""
    turn, shift = similarity(source, target)  # type: ignore[arg-type]
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


# The transform ----------------------------------------------------------------------------------------------------------


@given(
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.05, 20),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_a_known_similarity_is_found(angle: float, scale: float, shift: tuple[float, float]) -> None:
    expected = np.array(
        [
            [scale * math.cos(angle), -scale * math.sin(angle), shift[0]],
            [scale * math.sin(angle), scale * math.cos(angle), shift[1]],
        ]
    )
    source = np.array([[10, 20], [60, 22], [34, 50], [15, 71], [57, 74]], np.float64)
    target = source @ expected[:, :2].T + expected[:, 2]
    assert np.allclose(matrix(source, target), expected, atol=1e-8 * max(1, scale * 100))


def test_the_similarity_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.uniform(0, 100, (2, 5, 2))
    # u = a x - b y + c and v = b x + a y + d, as a linear system in a, b, c and d
    rows = [[x, -y, 1, 0] for x, y in source] + [[y, x, 0, 1] for x, y in source]
    a, b, c, d = np.linalg.lstsq(np.array(rows), target.T.ravel(), rcond=None)[0]
    assert np.allclose(matrix(source, target), [[a, -b, c], [b, a, d]])


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = TEMPLATE * [-1, 1] + [1, 0]
    assert np.linalg.det(matrix(TEMPLATE, mirrored.astype(np.float32))[:, :2]) > 0


def test_landmarks_in_one_point_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        similarity(np.full((5, 2), 7, np.float32), TEMPLATE)


# The pixels -------------------------------------------------------------------------------------------------------------


def test_a_face_that_fits_is_cut_out_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    crop = align(picture, TEMPLATE * SIZE + np.array([20, 30], np.float32), TEMPLATE, SIZE)
    assert crop.dtype == np.uint8
    assert np.array_equal(crop, picture[30 : 30 + SIZE, 20 : 20 + SIZE])


def test_the_crop_is_upright_unmirrored_and_rgb() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[50:100, 50:100] = (250, 10, 20)  # above left
    picture[50:100, 100:150] = (20, 240, 30)  # above right
    picture[100:150, 50:100] = (10, 30, 230)  # below left
    picture[100:150, 100:150] = (200, 190, 40)
    crop = align(picture, landmarks(99.5, 99.5, 100), TEMPLATE, SIZE)
    near, far = SIZE // 4, 3 * SIZE // 4
    assert tuple(crop[near, near]) == (250, 10, 20)
    assert tuple(crop[near, far]) == (20, 240, 30)
    assert tuple(crop[far, near]) == (10, 30, 230)
    assert tuple(crop[far, far]) == (200, 190, 40)


@pytest.mark.parametrize("side", [SIZE, 300])
def test_a_turned_photo_gives_the_same_crop(side: int) -> None:
    blocks = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    picture = np.repeat(np.repeat(blocks, 25, axis=0), 25, axis=1)
    points = landmarks(190, 210, side)
    straight = align(picture, points, TEMPLATE, SIZE).astype(int)
    turned = np.rot90(picture)  # counter-clockwise: (x, y) goes to (y, 399 - x)
    crop = align(np.ascontiguousarray(turned), np.stack([points[:, 1], 399 - points[:, 0]], axis=1), TEMPLATE, SIZE)
    assert np.abs(crop - straight).mean() < 4
    assert np.abs(np.rot90(crop, 2) - straight).mean() > 30


@pytest.mark.parametrize("degrees", [-40, -15, 0, 25, 90, 180])
@pytest.mark.parametrize("side", [40, 64, 100, 127, 129, 200, 333, 500])
def test_landmarks_land_on_the_template(side: int, degrees: float) -> None:
    points = landmarks(301.3, 298.8, side, degrees)
    width = max(1.5, side / 40)
    for point, (u, v) in zip(points, TEMPLATE * SIZE, strict=True):
        spot = painted(
            lambda x, y, at=point: 255 * np.exp(-(np.square(x - at[0]) + np.square(y - at[1])) / (2 * width**2)), 600
        )
        crop = align(spot, points, TEMPLATE, SIZE)[..., 0].astype(np.float64)
        rows, columns = np.mgrid[0:SIZE, 0:SIZE]
        found = (crop * columns).sum() / crop.sum(), (crop * rows).sum() / crop.sum()
        assert np.hypot(found[0] - u, found[1] - v) < 0.12


@pytest.mark.parametrize("degrees", [0, 17, -33])
@pytest.mark.parametrize("side", [50, 64, 110, 127, 129, 150, 200, 260, 400, 540])
def test_every_pixel_is_that_of_its_place_in_the_photo(side: int, degrees: float) -> None:
    """A smooth picture is known everywhere, so the crop of it is too, whether it was reduced first or not."""
    wave = 8 / side

    def function(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 128 + 70 * np.sin(wave * (x - 450)) + 50 * np.cos(wave * (y - 430))

    points = landmarks(450.4, 447.7, side, degrees)
    crop = align(painted(function, 900), points, TEMPLATE, SIZE)[..., 0].astype(np.float64)
    back = matrix(TEMPLATE * SIZE, points)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    x = back[0, 0] * columns + back[0, 1] * rows + back[0, 2]
    y = back[1, 0] * columns + back[1, 1] * rows + back[1, 2]
    error = (crop - function(x, y)).ravel()
    assert np.abs(error).max() < 2.5
    # What of the error is a shift, in pixels of the photo, what is rounding?
    slopes = np.stack([70 * wave * np.cos(wave * (x - 450)), -50 * wave * np.sin(wave * (y - 430)), np.ones_like(x)], axis=-1)
    right, down, bias = np.linalg.lstsq(slopes.reshape(-1, 3), error, rcond=None)[0]
    assert math.hypot(right, down) < 0.015 * side / SIZE, "in pixels of the crop: 0.015"
    assert abs(bias) < 0.5


@pytest.mark.parametrize("side", [260, 400, 640, 1000])
def test_a_large_face_does_not_alias(side: int) -> None:
    y, x = np.mgrid[0:1200, 0:1200]
    board = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    crop = align(board, landmarks(600, 600, side), TEMPLATE, SIZE).astype(np.float64)
    assert abs(crop.mean() - 127.5) < 3
    assert crop.std() < 9


def test_pixels_outside_the_photo_repeat_its_edge() -> None:
    picture = np.full((80, 80, 3), 90, np.uint8)
    picture[:, 0], picture[:, -1], picture[0], picture[-1] = (200, 0, 0), (0, 200, 0), (0, 0, 200), (150, 150, 0)
    crop = align(picture, landmarks(39.5, 39.5, 128), TEMPLATE, 128)
    assert tuple(crop[64, 5]) == (200, 0, 0)
    assert tuple(crop[64, 122]) == (0, 200, 0)
    assert tuple(crop[5, 64]) == (0, 0, 200)
    assert tuple(crop[122, 64]) == (150, 150, 0)
    assert tuple(crop[64, 64]) == (90, 90, 90)


@pytest.mark.parametrize("side", [50, 100, 240])
@pytest.mark.parametrize("centre", [(0, 0), (300, 0), (299, 299), (-20, 150), (-400, 150), (150, 900), (900, -400)])
def test_a_face_of_any_size_at_the_edge_repeats_it_too(centre: tuple[int, int], side: int) -> None:
    ramp = painted(lambda x, y: 40 + 0.3 * x + 0.2 * y, 300)
    points = landmarks(*centre, side)
    crop = align(ramp, points, TEMPLATE, SIZE)[..., 0].astype(np.float64)
    back = matrix(TEMPLATE * SIZE, points)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    x = (back[0, 0] * columns + back[0, 2]).clip(0, 299)
    y = (back[1, 1] * rows + back[1, 2]).clip(0, 299)
    assert np.abs(crop - (40 + 0.3 * x + 0.2 * y)).max() < 1.5 + 0.5 * side / SIZE * 0.3


@pytest.mark.parametrize("centre", [(-900, -900), (2000, 50), (50, 5000)])
def test_a_face_beyond_the_photo_is_its_edge_and_no_error(centre: tuple[int, int]) -> None:
    picture = np.full((100, 100, 3), 77, np.uint8)
    assert (align(picture, landmarks(*centre, 400), TEMPLATE, SIZE) == 77).all()


@pytest.mark.parametrize("side", [50, 400])
@pytest.mark.parametrize("centre", [(-900, 900), (9000, 900), (-900, -900), (900, 9000)])
def test_a_face_beyond_a_photo_takes_no_copy_of_it(centre: tuple[int, int], side: int) -> None:
    picture = np.full((2000, 2000, 3), 77, np.uint8)
    tracemalloc.start()
    try:
        crop = align(picture, landmarks(*centre, side), TEMPLATE, SIZE)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (crop == 77).all()
    assert most < picture.nbytes / 20


def test_a_narrow_photo_can_be_cropped() -> None:
    picture = np.full((16, 2000, 3), 77, np.uint8)
    assert (align(picture, landmarks(1000, 8, 900), TEMPLATE, SIZE) == 77).all()


def test_the_photo_is_left_as_it_was() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    before = picture.copy()
    align(picture, landmarks(150, 150, 250, 10), TEMPLATE, SIZE)
    assert np.array_equal(picture, before)


def test_two_sizes_of_a_photo_give_the_same_crop() -> None:
    """What the decoder reduced and what it did not must look the same to the network."""
    y, x = np.mgrid[0:1000, 0:1000].astype(np.float64)
    smooth = 120 + 60 * np.sin(x / 37) * np.cos(y / 53) + 30 * np.sin((x + 2 * y) / 71)
    large = np.repeat(smooth.round().astype(np.uint8)[..., np.newaxis], 3, axis=2)
    small = large.reshape(500, 2, 500, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    points = landmarks(520, 480, 420, 12)
    one = align(large, points, TEMPLATE, SIZE).astype(int)
    other = align(small, (points - 0.5) / 2, TEMPLATE, SIZE)  # the centres of four pixels become that of one
    assert np.abs(one - other).max() <= 3
