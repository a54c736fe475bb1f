"""Windows of a picture against their definitions: pixels of turned ones, pairs and suppression of boxes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from service.vision.windows import HalvedPicture, overlapping, rotated, suppress, suppress_same

Boxes = npt.NDArray[np.float32]


def boxes_at_random(count: int, seed: int = 0) -> Boxes:
    random = np.random.default_rng(seed)
    corner, size = random.uniform(0, 100, (count, 2)), random.uniform(5, 60, (count, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def shared_pixels(one: Boxes, other: Boxes) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(np.maximum(sides, 0).prod())


@pytest.mark.parametrize("count", [0, 1, 2, 150, 700])
def test_every_pair_that_shares_pixels_comes_once(count: int) -> None:
    boxes = boxes_at_random(count)
    found: dict[tuple[int, int], float] = {}
    for one, other, shared in overlapping(boxes):
        for left, right, pixels in zip(one, other, shared, strict=True):
            assert found.setdefault((min(left, right), max(left, right)), float(pixels)) == float(pixels)
    assert len(found) == len(set(found))
    sample = [(i, j) for i in range(0, count, 7) for j in range(i + 1, count)]
    for pair in sample:
        assert found.get(pair, 0.0) == pytest.approx(shared_pixels(boxes[pair[0]], boxes[pair[1]]), abs=1e-2)


def test_a_box_yields_to_any_better_one_that_covers_it() -> None:
    boxes, scores = boxes_at_random(200), np.random.default_rng(1).uniform(0, 1, 200).astype(np.float32)
    passed = scores > 0.2

    def yields(index: int) -> bool:
        for other in np.flatnonzero(passed & (scores > scores[index])):
            shared = shared_pixels(boxes[index], boxes[other])
            sizes = [float(np.prod(boxes[i, 2:] - boxes[i, :2])) for i in (index, int(other))]
            if shared > 0.4 * (sum(sizes) - shared):
                return True
        return False

    expected = sorted((i for i in np.flatnonzero(passed) if not yields(int(i))), key=lambda i: -scores[i])
    assert suppress(boxes, scores, passed, 0.4).tolist() == expected
    assert 0 < len(expected) < passed.sum()


def test_a_small_face_before_a_large_one_stays_and_a_second_reading_goes() -> None:
    boxes = np.array([[0, 0, 100, 100], [10, 60, 40, 90], [4, 2, 98, 100]], np.float32)
    shape = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    landmarks = np.stack([box[:2] + shape * (box[2:] - box[:2]) for box in boxes]).astype(np.float32)
    scores = np.array([0.99, 0.98, 0.97], np.float32)
    assert suppress_same(boxes, scores, landmarks, 0.7, 0.25).tolist() == [0, 1]
    assert suppress_same(boxes, scores, landmarks, 0.7, np.inf).tolist() == [0]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_window_has_the_pixels_of_the_turned_picture(quarters: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (33, 33, 3), np.uint8)
    box = np.array([[0, 0, 33, 33]], np.float32)
    upright = HalvedPicture(np.ascontiguousarray(np.rot90(picture, quarters))).patches(box, 33, np.zeros(1, np.float32))
    turned = HalvedPicture(picture).patches(box, 33, np.array([90 * quarters], np.float32))
    assert np.abs(turned.astype(int) - upright).max() <= 9, "a thirtieth of a pixel"


def ramps(height: int, width: int, *, trimmed: bool) -> HalvedPicture:
    """A picture whose red is a quarter of x, and whose green is a quarter of y."""
    y, x = np.mgrid[:height, :width]
    return HalvedPicture(np.stack([x / 4, y / 4, 0 * x], axis=-1).round().astype(np.uint8), trimmed=trimmed)


@pytest.mark.parametrize("trimmed", [False, True])
@pytest.mark.parametrize("shape", [(480, 640), (427, 641), (333, 501), (17, 900)])
@pytest.mark.parametrize("scale", [0.06, 0.25, 0.4, 0.5, 0.7, 1.0, 2.0])
def test_a_copy_shows_the_picture_where_its_factors_say(scale: float, shape: tuple[int, int], *, trimmed: bool) -> None:
    copy, factors = ramps(*shape, trimmed=trimmed).scaled(scale)
    assert copy.shape[:2] == pytest.approx([side * scale for side in shape], abs=1.5)
    y, x = np.mgrid[: copy.shape[0], : copy.shape[1]]
    error = copy[..., :2] - (np.stack([x + 0.5, y + 0.5], axis=-1) * factors - 0.5) / 4
    assert -1 < error.min() <= error.max() < 2, "halves of a level are rounded up, at most four times"


@pytest.mark.parametrize("trimmed", [False, True])
@pytest.mark.parametrize("halvings", [0, 1, 2, 3])
def test_a_large_window_of_a_picture_of_odd_sides_shows_its_place(halvings: int, *, trimmed: bool) -> None:
    start, end = 201, 201 + 24 * 2**halvings
    (patch,) = ramps(501, 733, trimmed=trimmed).patches(np.array([[start, start, end, end]], np.float32), 24)
    steps = np.linspace(start, end, 24) / 4
    assert np.abs(patch[0, :, 0] - steps).max() < 0.75 + 0.5 * halvings
    assert np.abs(patch[:, 0, 1] - steps).max() < 0.75 + 0.5 * halvings


@pytest.mark.parametrize(("shape", "half"), [((853, 1280), (426, 640)), ((854, 1279), (427, 639))])
def test_a_trimmed_half_is_of_two_by_two_pixels(shape: tuple[int, int], half: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    copy, factors = HalvedPicture(pixels, trimmed=True).scaled(0.5)
    assert copy.shape[:2] == half
    assert factors.tolist() == [2, 2]
    blocks = pixels[: 2 * half[0], : 2 * half[1]].reshape(half[0], 2, half[1], 2, 3).mean(axis=(1, 3))
    assert np.abs(copy - blocks).max() <= 0.5


def test_outside_the_picture_an_upright_window_is_grey_and_a_turned_one_repeats_the_edge() -> None:
    picture = HalvedPicture(np.full((20, 20, 3), 200, np.uint8))
    box = np.array([[-30, -30, -10, -10]], np.float32)
    assert set(picture.patches(box, 12).ravel().tolist()) <= {127, 128}
    assert (picture.patches(box, 12, np.zeros(1, np.float32)) == 200).all()


def test_points_turn_clockwise_about_their_own_centres() -> None:
    points = np.array([[[11, 10], [10, 12]], [[1, 0], [0, 2]]], np.float32)
    centres = np.array([[10, 10], [0, 0]], np.float32)
    turned = rotated(points, centres, np.array([90, 180], np.float32))
    assert turned == pytest.approx(np.array([[[10, 11], [8, 10]], [[-1, 0], [0, -2]]]), abs=1e-5)
