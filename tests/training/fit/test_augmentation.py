"""Augmentation: repeatable, in shape, and nothing where a recipe asks for nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from service.arrays import Pixels
from training.fit.augmentation import augmented, mixed_pairs, placement, resized
from training.recipe import AugmentSection, load_recipe

NOTHING = AugmentSection(**dict.fromkeys(AugmentSection.model_fields, 0.0))


@pytest.fixture(scope="module")
def crop(root: Path) -> Pixels:
    photo = cv2.imread(str(root / "examples/astronaut.jpg"))[:, :, ::-1]
    return np.ascontiguousarray(photo[40:200, 143:303])


def once(crop: Pixels, seed: int, size: int = 160, **section: float) -> Pixels:
    return augmented(crop, size, NOTHING.model_copy(update=section), np.random.default_rng(seed))


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(np.float32) - other).mean())


def test_one_seed_one_picture(crop: Pixels) -> None:
    section = AugmentSection()
    same, again, other = (augmented(crop, 128, section, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert difference(same, other) > 1


@pytest.mark.parametrize("size", [75, 128, 160])
def test_size_and_type(crop: Pixels, size: int) -> None:
    before = crop.copy()
    everything = AugmentSection(grey=1, blur=1, noise=1, erase=1)
    for seed in range(5):
        variant = augmented(crop, size, everything, np.random.default_rng(seed))
        assert (variant.shape, variant.dtype) == ((size, size, 3), np.uint8)
    np.testing.assert_array_equal(crop, before)


def test_nothing_is_the_plain_resize(crop: Pixels) -> None:
    np.testing.assert_array_equal(once(crop, 0), crop)
    # One interpolation of four pixels instead of the area's mean: the same place, a little sharper.
    assert difference(once(crop, 0, size=128), resized(crop, 128)) < 3
    assert resized(crop, 160) is crop
    np.testing.assert_array_equal(resized(crop, 80)[0, 0], np.rint(crop[:2, :2].mean(axis=(0, 1))))


@pytest.mark.parametrize("size", [62, 48])
def test_a_small_variant_is_made_of_means(crop: Pixels, size: int) -> None:
    """Between nothing drawn and a whisper of it lies no fine pattern that validation would never show."""
    for seed in range(5):
        assert difference(once(crop, seed, size=size, shift=1e-6), resized(crop, size)) < 2
    lines = np.tile(np.array([0, 255], np.uint8)[np.arange(160) % 2][None, :, None], (160, 1, 3))
    assert once(lines, 1, size=size, rotation=5.0).astype(np.float32).std() < 40


def test_flip_mirrors(crop: Pixels) -> None:
    assert difference(once(crop, 0, flip=1.0), crop[:, ::-1]) < 0.1
    assert difference(once(crop, 0, flip=1.0), crop) > 10


def test_flip_comes_as_often_as_it_is_asked_for(crop: Pixels) -> None:
    mirrored = [difference(once(crop, seed, flip=0.3), crop) > 10 for seed in range(200)]
    assert np.mean(mirrored) == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize(
    "what", ["rotation", "scale", "shift", "brightness", "contrast", "saturation", "grey", "blur", "noise", "erase"]
)
def test_each_part_does_something_alone(crop: Pixels, what: str) -> None:
    amount = {"rotation": 20.0, "scale": 0.3, "shift": 0.1}.get(what, 1.0)
    assert difference(once(crop, 3, **{what: amount}), crop) > 0.5


def test_grey_has_one_channel_thrice(crop: Pixels) -> None:
    grey = once(crop, 0, grey=1.0)
    np.testing.assert_array_equal(grey[..., 0], grey[..., 1])
    np.testing.assert_array_equal(grey[..., 1], grey[..., 2])
    luma = crop[80, 80] @ np.array([0.299, 0.587, 0.114])
    assert grey[80, 80, 0] == pytest.approx(luma, abs=1)


def test_rotation_turns_about_the_centre(crop: Pixels) -> None:
    turned = [once(crop, seed, rotation=30.0) for seed in range(20)]
    centre = crop[76:84, 76:84].mean(axis=(0, 1))
    for one in turned:
        assert np.abs(one[76:84, 76:84].mean(axis=(0, 1)) - centre).max() < 15


def test_erased_part_is_a_tenth_at_most(crop: Pixels) -> None:
    shares = [(once(crop, seed, erase=1.0) != crop).any(axis=2).mean() for seed in range(50)]
    assert min(shares) > 0.015
    assert max(shares) < 0.12


def test_brightness_is_right_on_average() -> None:
    flat = np.full((32, 32, 3), 100, np.uint8)
    random = np.random.default_rng(0)
    means = [augmented(flat, 32, AugmentSection(noise=0, erase=0), random).mean() for _ in range(400)]
    assert np.mean(means) == pytest.approx(100, abs=1.5)


def placements(section: AugmentSection, count: int = 3000, size: int = 160) -> np.ndarray:
    """So many drawn transforms [N, 2, 3] between pictures of the same size."""
    random = np.random.default_rng(0)
    return np.stack([placement(size, size, section, random) for _ in range(count)])


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    """All within the range, its tenths all filled alike."""
    assert low <= values.min() < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < values.max() <= high
    counts, _ = np.histogram(values, 10, (low, high))
    assert counts == pytest.approx(len(values) / 10, rel=0.2)


def test_uniform_ranges_are_the_published_ones(root: Path) -> None:
    """Rotation 30 degrees, shifts 0.2, zoom 0.5, mirror images, brightness 0.6 to 1.4, as the recipe draws."""
    section = load_recipe(root / "training/recipes/systems/separable-regression.toml").augment
    alone = NOTHING.model_copy(update={"rotation_range": section.rotation_range})
    turns = placements(alone)[:, :, :2]
    assert_uniform(np.degrees(np.arctan2(turns[:, 1, 0], turns[:, 0, 0])), -30, 30)
    alone = NOTHING.model_copy(update={"shift_range": section.shift_range})
    for shifts in placements(alone)[:, :, 2].T:
        assert_uniform(shifts / 160, -0.2, 0.2)
    zooms = placements(NOTHING.model_copy(update={"zoom_range": section.zoom_range}))
    across, along = 1 / zooms[:, 0, 0], 1 / zooms[:, 1, 1]
    assert_uniform(across, 0.5, 1.5)
    assert_uniform(along, 0.5, 1.5)
    assert abs(np.corrcoef(across, along)[0, 1]) < 0.1  # each its own
    flips = np.linalg.det(placements(section)[:, :, :2]) < 0
    assert flips.mean() == pytest.approx(0.5, abs=0.05)
    random, flat = np.random.default_rng(0), np.full((8, 8, 3), 100, np.uint8)
    assert_uniform(np.array([augmented(flat, 8, section, random).mean() for _ in range(1500)]), 60, 140)


def test_ranges_that_are_not_asked_for_change_no_draw() -> None:
    """A recipe without them sees the pictures that it saw before there were any: these numbers are from then."""
    drawn = placement(40, 32, AugmentSection(), np.random.default_rng([1, 2, 3]))
    before = [[0.9950559361, 0.1043464978, -4.8285817976], [-0.1043464978, 0.9950559361, -0.0735421926]]
    np.testing.assert_allclose(drawn, before, atol=1e-9)


def test_zoom_is_about_the_centre() -> None:
    for matrix in placements(NOTHING.model_copy(update={"zoom_range": 0.5, "rotation_range": 30.0}), 20):
        np.testing.assert_allclose(matrix @ [79.5, 79.5, 1], [79.5, 79.5])


def test_a_mixed_picture_has_most_of_its_own(crop: Pixels) -> None:
    """Black, grey and white ones: what each is mixed with, and how much of it, shows in its level."""
    levels = np.repeat([0, 100, 200], 40)
    pictures = [np.full((4, 4, 3), level, np.uint8) for level in levels]
    results, mixed = mixed_pairs(pictures, 0.5, np.random.default_rng(1))
    assert 0.35 < mixed.mean() < 0.65
    means = np.array([result.mean() for result in results])
    np.testing.assert_array_equal(means[~mixed], levels[~mixed])
    parts = np.abs(means - levels)[mixed]
    assert parts.max() <= 100  # half of the way from black to white
    assert (parts > 1).mean() > 0.5
    assert not mixed_pairs([crop], 0.0, np.random.default_rng(1))[1].any()
    np.testing.assert_array_equal(mixed_pairs([crop], 1.0, np.random.default_rng(1))[0][0], crop)  # alone in its batch
