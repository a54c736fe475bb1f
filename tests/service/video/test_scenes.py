"""Cuts of films: between unlike pictures, and none where a camera turns, light changes or somebody walks past."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.video.scenes import Scenes
from tests.fakes import Pixels

PORTRAITS = ("biden", "casar", "khanna", "lieu", "matsui", "obama", "underwood", "waters")
WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def portraits(examples: Path) -> dict[str, Image.Image]:
    found = {}
    for name in PORTRAITS:
        with Image.open(examples / f"{name}.jpg") as photo:
            photo.thumbnail((800, 800))  # nobody waits for twelve megapixels
            found[name] = photo.convert("RGB")
    return found


def view(photo: Image.Image, x: float = 0.0, zoom: float = 1.5) -> Pixels:
    """What a camera sees of a photo that is turned by so many pixels of its picture."""
    scale = min(photo.width / WIDTH, photo.height / HEIGHT) / zoom
    left, top = photo.width / 2 + (x - WIDTH / 2) * scale, photo.height * 0.42 - HEIGHT / 2 * scale
    place = (scale, 0, left, 0, scale, top)
    return np.asarray(photo.transform((WIDTH, HEIGHT), Image.Transform.AFFINE, place, Image.Resampling.BILINEAR))


def cuts(pictures: Iterable[Pixels]) -> list[int]:
    """Numbers of the pictures that begin a scene."""
    scenes = Scenes()
    return [number for number, picture in enumerate(pictures) if scenes.begins(picture)]


def test_one_portrait_after_the_other_is_a_cut(portraits: dict[str, Image.Image]) -> None:
    """Each moves a little, as films do."""
    for one, other in itertools.permutations(portraits.values(), 2):
        shots = [view(one, step) for step in range(5)] + [view(other, step) for step in range(5)]
        assert cuts(shots) == [5]


@pytest.mark.parametrize("step", [1, 5, 15, 30])
def test_a_camera_that_turns_cuts_nothing(portraits: dict[str, Image.Image], step: int) -> None:
    there = [*range(-60, 60, step), 60]
    for photo in portraits.values():
        assert cuts(view(photo, x, 2) for x in [-60] * 3 + there + [60] * 3 + there[::-1] + [-60] * 3) == []


@pytest.mark.parametrize("repeated", [1, 5, 12])
def test_a_camera_that_is_fast_all_the_time_is_hardly_cut(portraits: dict[str, Image.Image], repeated: int) -> None:
    """Two pictures a second, of a camera that is carried: each is unlike the one before it, and may be repeated."""
    random = np.random.default_rng(0)
    for photo in portraits.values():
        there = np.cumsum(random.choice([-50, 50], 30)).clip(-80, 80)
        shots = [view(photo, x, 2) for x in there]
        assert len(cuts(shot for shot in shots for _ in range(repeated))) <= 4


def test_light_and_noise_cut_nothing(portraits: dict[str, Image.Image]) -> None:
    random = np.random.default_rng(0)

    def lit(photo: Image.Image) -> Iterable[Pixels]:
        for index in range(40):
            levels = view(photo, index % 7).astype(np.float64)
            if index in (10, 11, 30):
                levels = levels * 1.6 + 90
            elif 20 <= index < 26:
                levels = levels * 0.05 + 3
            yield np.clip(levels + random.normal(0, 6, levels.shape), 0, 255).astype(np.uint8)

    for photo in portraits.values():
        assert cuts(lit(photo)) == []


def test_a_dark_picture_cuts_nothing() -> None:
    random = np.random.default_rng(0)
    assert cuts(random.integers(0, 8, (40, HEIGHT, WIDTH, 3), np.uint8)) == []
    assert cuts(np.zeros((5, HEIGHT, WIDTH, 3), np.uint8)) == []


def test_somebody_who_walks_past_cuts_nothing(portraits: dict[str, Image.Image]) -> None:
    def passed(photo: Image.Image) -> Iterable[Pixels]:
        for left in range(-160, 320, 24):
            picture = view(photo).copy()
            picture[:, max(0, left) : max(0, left + 160)] = 60
            yield picture

    for photo in portraits.values():
        assert cuts(passed(photo)) == []


def test_pictures_of_another_size_are_compared_too(portraits: dict[str, Image.Image]) -> None:
    first, second = (view(portraits[name]) for name in ("biden", "waters"))
    assert cuts([first, first[::2, ::2].copy(), second, second.repeat(2, 0)]) == [2]


def test_a_large_picture_is_compared_in_no_time() -> None:
    """Every picture of a film is, also where a few in a second are searched: averaged at once, one of these takes 32 ms."""
    picture, scenes = np.zeros((2160, 3840, 3), np.uint8), Scenes()
    began = time.thread_time()
    assert not any(scenes.begins(picture) for _ in range(5))
    assert time.thread_time() - began < 0.08
