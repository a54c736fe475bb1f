"""Square windows of a picture: their pixels, upright or turned, and which of them overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Floats, Pixels

MAX_PATCHES: Final = 128
"""Most windows that are sampled in one call."""
_MAX_PAIRS: Final = 2**18
"""Most pairs of boxes that are compared at once, so that memory stays bounded."""
_GREY: Final = (127.5, 127.5, 127.5)  # what lies outside the photo: zero, once the networks have scaled their input

_SAME_UNION: Final = 0.5
"""Intersection over union above which two boxes show one face whatever their landmarks say: two heads are farther apart."""

Indices = npt.NDArray[np.intp]
Reals = npt.NDArray[np.floating]
"""Coordinates in any precision."""


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Average a picture over a smaller grid.

    Args:
        pixels: uint8 RGB [H, W, 3].
        width: Of the copy, in pixels.
        height: Of the copy, in pixels.

    Returns:
        uint8 [height, width, 3]; the picture itself where it has that size.
    """
    if (height, width) == pixels.shape[:2]:
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


class HalvedPicture:
    """A picture and its copies of a half, a quarter and so on of the size, each made on first use.

    Where it is `trimmed`, the last row or column of an odd number is left out of the half: to average two by two pixels takes a
    tenth of the time. The mtcnn package's faces are met with all of them.
    """

    def __init__(self, pixels: Pixels, *, trimmed: bool = False) -> None:
        self._copies = [(pixels, np.ones(2))]
        self._trimmed = trimmed

    @property
    def pixels(self) -> Pixels:
        """The picture at its full size, uint8 RGB [H, W, 3]."""
        return self._copies[0][0]

    def of(self, pixels: Pixels) -> HalvedPicture:
        """Another picture that is halved as this one is.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            It, without a copy so far.
        """
        return HalvedPicture(pixels, trimmed=self._trimmed)

    def scaled(self, scale: float) -> tuple[Pixels, Floats]:
        """A copy in about a size, made of the halved one that is next to it.

        Args:
            scale: Sides of the copy over the picture's, above 0.

        Returns:
            uint8 [h, w, 3], and pixels of the picture for each of the copy along x and y, [2].
        """
        source, halved = self._halved(max(0, math.floor(-math.log2(scale))))
        rest = scale / halved
        width, height = (max(1, round(side * share)) for side, share in zip(source.shape[1::-1], rest, strict=True))
        copy = resized(source, width, height)
        return copy, (np.array([source.shape[1] / width, source.shape[0] / height]) / halved).astype(np.float32)

    def patches(self, boxes: Floats, side: int, degrees: Floats | None = None) -> Pixels:
        """Sample square windows.

        A window of more than twice `side` is sampled from a copy of the picture halved as often as fits: the networks are surer
        of a face that does not alias.

        Args:
            boxes: Windows [N, 4] as x0, y0, x1, y1 in pixels, upright about their centres.
            side: Of a patch, in pixels.
            degrees: By how much each window is turned clockwise about its centre, [N]; None for none.

        Returns:
            uint8 [N, side, side, 3]. Outside the picture an upright window is grey, and a turned one repeats the edge.
        """
        patches = np.empty((len(boxes), side, side, 3), np.uint8)
        halvings = np.floor(np.log2(np.maximum((boxes[:, 2] - boxes[:, 0]) / side, 1))).astype(np.int64)
        for level in np.unique(halvings):
            source, share = self._halved(int(level))
            members = np.flatnonzero(halvings == level)
            ratio = np.tile(share, 2).astype(np.float32)
            for start in range(0, len(members), MAX_PATCHES):
                part = members[start : start + MAX_PATCHES]
                maps = (
                    _upright(source, boxes[part] * ratio, side)
                    if degrees is None
                    else (_turned(source, boxes[part] * ratio, side, degrees[part]))
                )
                patches[part] = _sampled(
                    source, *maps, outside=cv2.BORDER_CONSTANT if degrees is None else cv2.BORDER_REPLICATE
                )
        return patches

    def _halved(self, times: int) -> tuple[Pixels, Doubles]:
        """The copy that was halved so often, or as often as leaves it a pixel of each side, and pixels of it for each of the
        picture along x and y, [2].
        """
        while len(self._copies) <= times:
            source, share = self._copies[-1]
            if min(source.shape[:2]) < 2:
                self._copies.append((source, share))
                continue
            height, width = (side // 2 for side in source.shape[:2])
            whole = source[: 2 * height, : 2 * width] if self._trimmed else source
            halves = np.array([width / whole.shape[1], height / whole.shape[0]])
            self._copies.append((resized(whole, width, height), share * halves))
        return self._copies[times]


def _upright(pixels: Pixels, boxes: Floats, side: int) -> tuple[Floats, Floats]:
    """Coordinates x and y, [N, side, side] each, that a grid over each box samples, corner to corner."""
    height, width = pixels.shape[:2]
    steps = np.linspace(0, 1, side, dtype=np.float32)
    # The mtcnn package samples on the grid of tf.image.crop_and_resize, whose unit is the side less one.
    xs = (boxes[:, 0:1] + steps * (boxes[:, 2:3] - boxes[:, 0:1])) * np.float32((width - 1) / width)
    ys = (boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])) * np.float32((height - 1) / height)
    shape = (len(boxes), side, side)
    return np.broadcast_to(xs[:, np.newaxis, :], shape), np.broadcast_to(ys[:, :, np.newaxis], shape)


def _turned(pixels: Pixels, boxes: Floats, side: int, degrees: Floats) -> tuple[Floats, Floats]:
    """As `_upright`, of boxes that are turned about their centres."""
    height, width = pixels.shape[:2]
    steps = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    size = (boxes[:, 2:3] - boxes[:, 0:1]) * steps
    angle = np.deg2rad(degrees)[:, np.newaxis]
    cosine, sine = size * np.cos(angle), size * np.sin(angle)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    x = centre[:, 0, np.newaxis, np.newaxis] + cosine[:, np.newaxis, :] - sine[:, :, np.newaxis]
    y = centre[:, 1, np.newaxis, np.newaxis] + sine[:, np.newaxis, :] + cosine[:, :, np.newaxis]
    return np.asarray(x * np.float32((width - 1) / width)), np.asarray(y * np.float32((height - 1) / height))


def _sampled(pixels: Pixels, x: Floats, y: Floats, outside: int) -> Pixels:
    """Bilinear samples [N, side, side, 3] of a picture at coordinates [N, side, side], in one call."""
    side = x.shape[-1]
    map_x, map_y = (np.ascontiguousarray(values, dtype=np.float32).reshape(-1, side) for values in (x, y))
    sampled = cv2.remap(pixels, map_x, map_y, cv2.INTER_LINEAR, borderMode=outside, borderValue=_GREY)
    return np.asarray(sampled, np.uint8).reshape(*x.shape, 3)


def square(boxes: Floats) -> Floats:
    """Boxes widened to squares about their centres.

    Args:
        boxes: [N, 4] as x0, y0, x1, y1.

    Returns:
        [N, 4]; each side is the longer one of the box.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def rotated(points: Reals, about: Reals, degrees: Reals) -> Floats:
    """Turn points clockwise, as the viewer sees them.

    Args:
        points: [N, ..., 2] as x, y.
        about: Centres [N, 2].
        degrees: [N].

    Returns:
        [N, ..., 2].
    """
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32).transpose(2, 0, 1)
    centre = about.reshape(len(about), *[1] * (points.ndim - 2), 2)
    return np.asarray(np.einsum("nij,n...j->n...i", turn, points - centre) + centre, np.float32)


def area(boxes: Reals) -> Reals:
    """Pixels inside boxes.

    Args:
        boxes: [..., 4] as x0, y0, x1, y1.

    Returns:
        [...].
    """
    return np.asarray((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))


def overlapping(boxes: Reals) -> Iterator[tuple[Indices, Indices, Reals]]:
    """Pairs of boxes that share pixels, each pair once.

    Boxes are sorted by their left edges, so that only neighbours are compared: the work grows with the overlaps, hardly with
    the square of the boxes.

    Args:
        boxes: [N, 4] as x0, y0, x1, y1.

    Yields:
        The indices of one and of the other box, and the pixels that they share, [M] each; M is bounded.
    """
    order = np.argsort(boxes[:, 0], kind="stable")
    left, right = boxes[order, 0], boxes[order, 2]
    index = np.arange(len(order))
    counts = np.maximum(np.searchsorted(left, right) - index - 1, 0)
    ends = np.cumsum(counts)
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _MAX_PAIRS, side="right")))
        number = counts[start:stop]
        one = np.repeat(index[start:stop], number)
        # The pairs of a box count on from the box behind it.
        other = np.arange(len(one)) - np.repeat(ends[start:stop] - number - before, number) + one + 1
        one, other = order[one], order[other]
        height = np.minimum(boxes[one, 3], boxes[other, 3]) - np.maximum(boxes[one, 1], boxes[other, 1])
        meet = np.flatnonzero(height > 0)
        one, other = one[meet], other[meet]
        width = np.minimum(boxes[one, 2], boxes[other, 2]) - np.maximum(boxes[one, 0], boxes[other, 0])
        yield one, other, np.maximum(width, 0) * height[meet]
        start = stop


def suppress(boxes: Reals, scores: Floats, passed: Bools, overlap: float) -> Indices:
    """Keep the best of boxes that overlap.

    As in the mtcnn package, a box yields to any better one, to one that itself yielded too.

    Args:
        boxes: [N, 4] as x0, y0, x1, y1.
        scores: [N].
        passed: Boxes that count, [N].
        overlap: Intersection over union, 0 to 1, above which the worse box yields.

    Returns:
        Indices, best first, of the boxes that passed and that yield to none.
    """
    order = np.flatnonzero(passed)
    order = order[np.argsort(-scores[order], kind="stable")]
    chosen = boxes[order]
    areas, kept = area(chosen), np.ones(len(order), dtype=bool)
    for one, other, shared in overlapping(chosen):
        covered = shared > overlap * (areas[one] + areas[other] - shared)
        kept[np.maximum(one, other)[covered]] = False
    return np.asarray(order[kept])


def suppress_same(boxes: Floats, scores: Floats, landmarks: Floats, overlap: float, apart: float) -> Indices:
    """Keep the best of boxes that show the same face: they overlap, and their landmarks lie at the same places or the boxes do.

    A small face before a large one, or a cheek at a cheek, overlaps as much as two readings of one face do, and has landmarks
    of its own.

    Args:
        boxes: [N, 4] as x0, y0, x1, y1.
        scores: [N].
        landmarks: [N, P, 2] as x, y.
        overlap: Intersection over the smaller box, 0 to 1, above which two boxes may be of one face.
        apart: Mean distance of their landmarks, in sides of the smaller box, up to which they are.

    Returns:
        Indices of the boxes that yield to none, best first.
    """
    order = np.argsort(-scores, kind="stable")
    chosen, points = boxes[order], landmarks[order]
    areas, kept = area(chosen), np.ones(len(order), dtype=bool)
    for left, right, shared in overlapping(chosen):
        near = shared > overlap * np.minimum(areas[left], areas[right])
        one, other = left[near], right[near]
        distance = np.linalg.norm(points[one] - points[other], axis=2).mean(axis=1)
        same = distance <= apart * np.sqrt(np.maximum(np.minimum(areas[one], areas[other]), 0))
        same |= shared[near] > _SAME_UNION * (areas[one] + areas[other] - shared[near])
        kept[np.maximum(one, other)[same]] = False
    return np.asarray(order[kept])
