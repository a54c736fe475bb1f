"""Crops to the varied pictures that a network is trained on: one warp, then blur, JPEG, colour, noise and erasing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from service.arrays import Bools, Doubles, Floats, Pixels
from training.recipe import AugmentSection

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def augmented(crop: Pixels, size: int, section: AugmentSection, random: np.random.Generator) -> Pixels:
    """A random variant, uint8 RGB [size, size, 3], of a crop; a smaller one is enlarged.

    Args:
        crop: uint8 RGB [S, S, 3].
        size: Side of the variant in pixels.
        section: What it may go through.
        random: Where the drawing comes from.

    Returns:
        uint8 RGB [size, size, 3].
    """
    picture = _warped(crop, size, section, random)
    if random.random() < section.blur:
        small = int(size * random.uniform(0.25, 1.0))
        picture = cv2.resize(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), (size, size)).astype(np.uint8)
    if random.random() < section.jpeg:
        picture = _compressed(picture, int(random.integers(20, 81)))
    floats = _recoloured(picture.astype(np.float32), section, random)
    if random.random() < section.noise:
        floats += random.normal(0, random.uniform(0, 12), floats.shape).astype(np.float32)
    if random.random() < section.erase:
        area, ratio = random.uniform(0.02, 0.1) * size * size, math.exp(random.uniform(-0.7, 0.7))
        height, width = min(size, int(math.sqrt(area * ratio)) + 1), min(size, int(math.sqrt(area / ratio)) + 1)
        y, x = random.integers(size - height + 1), random.integers(size - width + 1)
        floats[y : y + height, x : x + width] = random.uniform(0, 255, (height, width, 3))
    return np.clip(np.rint(floats), 0, 255).astype(np.uint8)


def mixed_pairs(pictures: Sequence[Pixels], share: float, random: np.random.Generator) -> tuple[list[Pixels], Bools]:
    """Some pictures mixed with another one, which has the smaller part (Zhang et al., "mixup", ICLR 2018).

    Args:
        pictures: uint8 RGB [S, S, 3], one or more.
        share: Probability that a picture is mixed.
        random: Where the drawing comes from.

    Returns:
        The pictures [S, S, 3], and whether each was mixed [B].
    """
    mixed = random.random(len(pictures)) < share
    partners, parts = random.permutation(len(pictures)), random.uniform(0, 0.5, len(pictures))
    both = zip(pictures, mixed, partners, parts, strict=True)
    return [
        cv2.addWeighted(one, 1 - part, pictures[other], part, 0).astype(np.uint8, copy=False) if chosen else one
        for one, chosen, other, part in both
    ], mixed


def resized(crop: Pixels, size: int) -> Pixels:
    """The crop at `size` pixels by area averaging: what validation sees.

    Args:
        crop: uint8 RGB [S, S, 3].
        size: Side in pixels.

    Returns:
        uint8 RGB [size, size, 3]; the crop itself where it has that size.
    """
    if crop.shape[0] == size:
        return crop
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _warped(crop: Pixels, size: int, section: AugmentSection, random: np.random.Generator) -> Pixels:
    """Mirror, rotation, zoom and shift about the centre, in one interpolation; the edge is repeated.

    Where a pixel of the variant covers several of the crop it is their mean, as it is in what the service crops.
    """
    fine = max(1, crop.shape[0] // size)
    matrix = placement(crop.shape[0], size * fine, section, random)
    picture = cv2.warpAffine(crop, matrix, (size * fine, size * fine), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return resized(picture.astype(np.uint8, copy=False), size)


def placement(side: int, size: int, section: AugmentSection, random: np.random.Generator) -> Doubles:
    """A drawn transform [2, 3] from pixels of a crop of `side` pixels to those of its variant of `size`.

    The uniform ranges are drawn only where a recipe asks for them, so that one without sees the pictures that it always saw.

    Args:
        side: Side of the crop in pixels.
        size: Side of the variant in pixels.
        section: What it may go through.
        random: Where the drawing comes from.

    Returns:
        The transform [2, 3], as OpenCV's `warpAffine` takes it.
    """
    angle = math.radians(random.normal(0, section.rotation))
    if section.rotation_range > 0:
        angle += math.radians(random.uniform(-section.rotation_range, section.rotation_range))
    zoom = math.exp(random.normal(0, section.scale)) * size / side
    mirror = -1.0 if random.random() < section.flip else 1.0
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * zoom
    turn = turn @ np.diag([mirror, 1.0])
    if section.zoom_range > 0:
        turn = turn @ np.diag(1 / random.uniform(1 - section.zoom_range, 1 + section.zoom_range, 2))
    source, target = np.full(2, (side - 1) / 2), np.full(2, (size - 1) / 2)
    moved = random.normal(0, section.shift, 2)
    if section.shift_range > 0:
        moved += random.uniform(-section.shift_range, section.shift_range, 2)
    shift = target + moved * size - turn @ source
    return np.concatenate([turn, shift[:, np.newaxis]], axis=1)


def _recoloured(picture: Floats, section: AugmentSection, random: np.random.Generator) -> Floats:
    """Brightness, contrast, saturation and tint, each by a factor about 1."""
    grey: Floats = (picture @ _LUMA)[..., np.newaxis]
    saturation = 0.0 if random.random() < section.grey else 1 + random.uniform(-1, 1) * section.saturation
    contrast = 1 + random.uniform(-1, 1) * section.contrast
    brightness = 1 + random.uniform(-1, 1) * section.brightness
    coloured = grey + (picture - grey) * np.float32(saturation)
    mean = np.float32(grey.mean())
    tint = 1 + random.uniform(-1, 1, 3).astype(np.float32) * np.float32(section.tint)
    return ((coloured - mean) * np.float32(contrast) + mean) * (np.float32(brightness) * tint)


def _compressed(picture: Pixels, quality: int) -> Pixels:
    """The picture as JPEG brings it back; that red and blue are swapped on the way changes nothing that can be seen."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return decoded.astype(np.uint8, copy=False)
