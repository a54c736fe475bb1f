"""Each degradation does to a picture what its name and level mean, and nothing else."""

from __future__ import annotations

import io
import math

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service.vision.image import decode
from tests.conftest import encoded
from tests.training import made
from training.evaluation import degradations as degrade
from training.evaluation.degradations import DEGRADATIONS, Degradation

Pixels = npt.NDArray[np.uint8]


def noise(side: int = 200, low: int = 60, high: int = 196) -> Pixels:
    return np.random.default_rng(3).integers(low, high, (side, side, 3), dtype=np.uint8)


def plain(level: int, side: int = 200) -> Pixels:
    return np.full((side, side, 3), level, np.uint8)


def named(kind: str, level: str) -> Degradation:
    (found,) = (one for one in DEGRADATIONS if (one.kind, one.level) == (kind, level))
    return found


@pytest.mark.parametrize("degrees", [10, -20, 30, 90])
def test_a_point_turns_clockwise_about_the_centre(degrees: float) -> None:
    picture = plain(0, side=201)
    picture[97:104, 157:164] = 255  # 60 pixels to the right of the centre
    turned = degrade.rotated(picture, degrees)
    y, x = (float(np.average(rows, weights=turned[..., 0])) for rows in np.indices(turned.shape[:2]))
    assert turned.shape == picture.shape
    assert (x - 100, y - 100) == pytest.approx(
        (60 * math.cos(math.radians(degrees)), 60 * math.sin(math.radians(degrees))), abs=0.2
    )


def test_what_turns_into_view_repeats_the_edge() -> None:
    assert (degrade.rotated(plain(90), 30) == 90).all()


@pytest.mark.parametrize(("factor", "side"), [(2, 100), (4, 50), (6, 33), (8, 25)])
def test_a_reduced_picture_is_really_smaller_and_averaged(factor: int, side: int) -> None:
    picture = noise()
    reduced = degrade.reduced(picture, factor)
    assert reduced.shape == (side, side, 3)
    assert reduced.mean() == pytest.approx(picture.mean(), abs=0.5)
    assert degrade.reduced(picture, 2)[5, 7].tolist() == pytest.approx(
        picture[10:12, 14:16].mean(axis=(0, 1)).tolist(), abs=0.51
    )


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_a_blurred_point_spreads_by_sigma(sigma: float) -> None:
    picture = plain(0, side=101)
    picture[48:53, 48:53] = 255
    blurred = degrade.blurred(picture, sigma)[..., 0].astype(float)
    y, x = np.indices(blurred.shape)
    for along in (x, y):
        spread = np.average(np.square(along - 50), weights=blurred)
        assert spread == pytest.approx(sigma**2 + 2, rel=0.1)  # the square's own variance is 2


def test_smearing_is_from_left_to_right_alone() -> None:
    picture = plain(0, side=101)
    picture[40:60, 50] = 210
    motion_blurred = degrade.motion_blurred(picture, 7)
    assert (motion_blurred[45:55, 47:54] == 30).all()
    assert (motion_blurred[:, :47] == 0).all()
    assert (motion_blurred[:, 54:] == 0).all()
    assert (motion_blurred[:40] == 0).all()


def test_compression_is_that_of_a_jpeg_file() -> None:
    picture = decode(made.face_picture(), max_pixels=10**6, side=200).pixels
    file = encoded(picture, "JPEG", quality=30, subsampling="4:2:0")
    assert (degrade.compressed(picture, 30) == decode(file, max_pixels=10**6, side=200).pixels).all()
    losses = [np.abs(degrade.compressed(picture, quality).astype(float) - picture).mean() for quality in (80, 50, 30, 15)]
    assert losses == sorted(losses)
    assert losses[0] > 0


@pytest.mark.parametrize("sigma", [10, 20, 40])
def test_noise_has_its_deviation_in_every_channel(sigma: float) -> None:
    difference = degrade.noisy(plain(128), sigma).astype(float) - 128
    assert difference.std(axis=(0, 1)) == pytest.approx(np.full(3, sigma), rel=0.03)
    assert np.abs(difference.mean(axis=(0, 1))).max() < 1
    assert abs(np.corrcoef(difference[..., 0].ravel(), difference[..., 1].ravel())[0, 1]) < 0.03


def test_noise_is_the_same_for_the_same_picture_alone() -> None:
    assert (degrade.noisy(plain(128), 20) == degrade.noisy(plain(128), 20)).all()
    first, second = (degrade.noisy(plain(level), 20).astype(float) - level for level in (128, 129))
    assert (first != second).mean() > 0.9


def test_grey_keeps_the_luma() -> None:
    picture = plain(0)
    picture[..., 0] = 200
    assert (degrade.grey(picture) == round(0.299 * 200)).all()


def test_brightness_multiplies_the_stored_values_and_cuts_at_white() -> None:
    picture = noise()
    assert degrade.brightened(picture, 0.25).tolist() == np.rint(picture * 0.25).tolist()
    assert degrade.brightened(picture, 2).max() == 255
    assert (degrade.brightened(plain(100), 2) == 200).all()


def test_contrast_keeps_the_mean() -> None:
    picture = noise()
    flat = degrade.low_contrast(picture, 0.25)
    assert flat.mean() == pytest.approx(picture.mean(), abs=0.5)
    assert flat.std() == pytest.approx(picture.std() / 4, rel=0.02)


def test_a_cut_takes_its_share_at_its_side() -> None:
    picture = noise()[:, :100]
    assert (degrade.cut(picture, 0.2, "left") == picture[:, 20:]).all()
    assert (degrade.cut(picture, 0.2, "right") == picture[:, :80]).all()
    assert (degrade.cut(picture, 0.1, "top") == picture[20:]).all()
    assert (degrade.cut(picture, 0.1, "bottom") == picture[:180]).all()


def test_pictures_are_turned_both_ways_and_cut_at_every_side() -> None:
    pictures = [np.roll(noise(), shift, axis=0) for shift in range(24)]
    ways = {bool((named("rotation", "±20°").apply(one) == degrade.rotated(one, 20)).all()) for one in pictures}
    assert ways == {True, False}
    sides = {
        tuple(
            bool((named("on its side", "±90°").apply(one) == degrade.rotated_by_quarters(one, quarters)).all())
            for quarters in (1, 3)
        )
        for one in pictures
    }
    assert sides == {(True, False), (False, True)}
    assert (named("on its head", "180°").apply(pictures[0]) == pictures[0][::-1, ::-1]).all()
    expected = [[degrade.cut(one, 0.2, side) for side in degrade.SIDES] for one in pictures]
    cut = [named("cut", "20 %").apply(one) for one in pictures]
    cuts = {
        side
        for one, four in zip(cut, expected, strict=True)
        for side, other in zip(degrade.SIDES, four, strict=True)
        if np.array_equal(one, other)
    }
    assert cuts == set(degrade.SIDES)


def test_what_is_posted_is_a_lossless_file_of_the_degraded_picture() -> None:
    data = made.face_picture()
    picture = decode(data, max_pixels=10**6, side=200).pixels
    posted = named("size", "1/4")(data)
    with Image.open(io.BytesIO(posted)) as image:
        assert (image.format, image.size) == ("PNG", (50, 50))
        assert (np.asarray(image) == degrade.reduced(picture, 4)).all()


def test_what_is_posted_is_taken_however_large_or_small_the_picture() -> None:
    large, small = (np.full((side, side, 3), 128, np.uint8) for side in (2700, 100))
    posted = named("noise", "σ 40")(encoded(large, "PNG"))
    assert len(posted) <= 20 * 2**20
    assert Image.open(io.BytesIO(posted)).size == (1350, 1350)
    assert 3 * degrade.MOST_PIXELS < 20 * 2**20
    tiny = decode(named("size", "1/8")(encoded(small, "PNG")), max_pixels=10**6, side=100)
    assert tiny.pixels.shape == (16, 16, 3)


def test_every_level_of_a_kind_is_worse_than_the_one_before() -> None:
    picture = decode(made.face_picture(), max_pixels=10**6, side=200).pixels
    assert len({(one.kind, one.level) for one in DEGRADATIONS}) == len(DEGRADATIONS)
    for kind in {one.kind for one in DEGRADATIONS}:
        results = [one.apply(picture) for one in DEGRADATIONS if one.kind == kind]
        assert all(one.dtype == np.uint8 and one.shape[2] == 3 for one in results)
        assert all(one.shape[:2] != (200, 200) for one in results) is (kind in ("size", "cut"))
        if kind in ("size", "cut"):
            sizes = [one.size for one in results]
            assert sizes == sorted(sizes, reverse=True)
        else:
            losses = [np.abs(one.astype(float) - picture).mean() for one in results]
            assert losses == sorted(losses)
            assert losses[0] > 0
