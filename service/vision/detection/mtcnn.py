"""The MTCNN cascade (Zhang et al., "Joint face detection and alignment using multi-task cascaded convolutional networks",
IEEE SPL 2016): pyramid, proposals, two refinements, landmarks. Its three networks come from the model store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from service.arrays import Bools, Floats, Pixels
from service.models.runtime import Network
from service.vision.detection import MIN_FACE_PX, Face
from service.vision.detection.second_look import REGION_MIN_PX, REGION_SCORE, FirstLook, SecondLook, Seen
from service.vision.onet import VIEWS, confirm, doubled, in_batches, landmarks_in, regress, warm
from service.vision.proposals import CELL, best, proposals
from service.vision.windows import HalvedPicture, Indices, Reals, area, overlapping, resized, square, suppress, suppress_same

MAX_CANDIDATES: Final = 2500
"""Best proposals of one pyramid level that are kept: more than a crowd has; noise could give any number of them."""
SCALE_FACTOR: Final = math.sqrt(0.5)
"""Ratio of two neighbouring levels; the mtcnn package's is 0.709."""
_HEADROOM: Final = 4
QUICK: Final = ("pnet",)
"""Networks that are wanted in quick arithmetic too, to rule out with: what this cascade answers is exact."""
_LANDMARK_DISTANCE: Final = 0.25
"""Mean distance of the landmarks of two overlapping boxes, in sides of the smaller one, up to which they show the same face."""
_NESTED_CONFIDENCE: Final = 0.95
"""Confidence that a face needs that lies in a more certain one's box and is no second reading of it."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Confidence that a window needs to pass each stage, and the overlap at which the better of two boxes wins.

    The overlaps are the mtcnn package's. The first three confidences are below its (0.6, 0.7, 0.8), because the mean
    confidence over several views decides; faces below `confirmation` are left out. See docs/measurements.md.
    """

    proposal: float = 0.5
    refinement: float = 0.6
    output: float = 0.5
    confirmation: float | None = 0.5
    overlap_level: float = 0.5
    overlap_proposal: float = 0.7
    overlap_refinement: float = 0.7
    overlap_output: float = 0.7


PACKAGE_THRESHOLDS: Final = Thresholds(proposal=0.6, refinement=0.7, output=0.8, confirmation=None)
"""The mtcnn package's own values; the cascade then ends with O-Net, without confirmation, as the package's does."""


@dataclass(frozen=True, slots=True)
class MtcnnDetector:
    """MTCNN over three networks: `pnet` (any size), `rnet` (24 by 24), `onet` (48 by 48), all uint8 RGB in.

    `min_face` is the side in pixels of the smallest face that is looked for; `scale_factor` the ratio between two levels of
    the pyramid. `quick_pnet` is P-Net in an arithmetic that rounds more: what it does not rule out, `pnet` judges again.
    """

    pnet: Network
    rnet: Network
    onet: Network
    min_face: float = MIN_FACE_PX
    scale_factor: float = SCALE_FACTOR
    thresholds: Thresholds = Thresholds()
    quick_pnet: Network | None = None

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find the faces of a picture; several threads may call it at once.

        Regions in which the cascade saw something that it did not confirm are looked at again.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            Faces in pixels of the array; boxes may reach outside it.
        """
        if self.thresholds.confirmation is None:
            return self.cascade(pixels)
        look = SecondLook(self.rnet, self.onet, REGION_SCORE, max(REGION_MIN_PX, self.min_face))
        return look.detect(HalvedPicture(pixels), self._first_look)

    def cascade(self, pixels: Pixels) -> list[Face]:
        """Run the cascade once, without a second look.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            Faces in pixels of the array; boxes may reach outside it.
        """
        return self._search(HalvedPicture(pixels))[0]

    def _first_look(self, picture: HalvedPicture) -> FirstLook:
        """The cascade's faces, and every window with R-Net's score."""
        faces, windows, scores = self._search(picture)
        return FirstLook([Seen(face, face.confidence) for face in faces], windows, scores, np.zeros_like(scores))

    def _search(self, picture: HalvedPicture) -> tuple[list[Face], Floats, Floats]:
        """The cascade's faces; and all windows [N, 4] with R-Net's scores [N]."""
        limits = self.thresholds
        boxes = self._propose(picture.pixels)
        if len(boxes) == 0:
            return [], boxes, np.empty(0, np.float32)
        refined = in_batches(self.rnet, picture, boxes, 24)
        windows, scores = regress(boxes, refined["offsets"]), refined["probability"]
        keep = suppress(windows, scores, scores > limits.refinement, limits.overlap_refinement)
        return self._faces(picture, square(windows[keep])), windows, scores

    def _faces(self, picture: HalvedPicture, boxes: Floats) -> list[Face]:
        """Faces of the windows [N, 4] that passed R-Net."""
        limits = self.thresholds
        if len(boxes) == 0:
            return []
        final = in_batches(self.onet, picture, boxes, 48)
        passed = np.flatnonzero(final["probability"] > limits.output)
        scores, boxes = final["probability"][passed], boxes[passed]
        points, boxes = landmarks_in(boxes, final["landmarks"][passed]), regress(boxes, final["offsets"][passed])
        apart = math.inf if limits.confirmation is None else _LANDMARK_DISTANCE
        keep = suppress_same(boxes, scores, points, limits.overlap_output, apart)
        boxes, scores, points = boxes[keep], scores[keep], points[keep]
        if limits.confirmation is not None and len(boxes):
            scores, points, boxes = confirm(self.onet, picture, boxes, VIEWS)
            scores = doubled(scores, boxes)
            keep = np.flatnonzero((scores >= limits.confirmation) & ~_nested(boxes, scores, limits.overlap_output))
            keep = keep[suppress_same(boxes[keep], scores[keep], points[keep], limits.overlap_output, _LANDMARK_DISTANCE)]
            boxes, scores, points = boxes[keep], scores[keep], points[keep]
        return [Face(box, landmarks, float(score)) for box, landmarks, score in zip(boxes, points, scores, strict=True)]

    def _propose(self, pixels: Pixels) -> Floats:
        """P-Net's square proposals over the whole pyramid, [N, 4]."""
        limits = self.thresholds
        scales_and_levels = pyramid(pixels, self.min_face, self.scale_factor)
        if not scales_and_levels:
            return np.empty((0, 4), np.float32)
        scales, levels = zip(*scales_and_levels, strict=True)
        judged = proposals(self.pnet, self.quick_pnet, levels, limits.proposal)
        found = [best(windows, MAX_CANDIDATES) for windows in judged]
        boxes = np.concatenate([windows.boxes() / np.float32(scale) for scale, windows in zip(scales, found, strict=True)])
        scores = np.concatenate([windows.scores for windows in found])
        level = np.repeat(np.arange(len(found)), [len(windows.scores) for windows in found])
        keep = suppress(_apart(boxes, level), scores, scores > 0, limits.overlap_level)
        boxes, scores = boxes[keep], scores[keep]
        return square(boxes[suppress(boxes, scores, scores > 0, limits.overlap_proposal)])


def create(networks: Mapping[str, Network], min_face_px: float) -> MtcnnDetector:
    """The cascade over a detector model's networks.

    Args:
        networks: `pnet`, `rnet` and `onet`; and those of `QUICK`, where there are any.
        min_face_px: Side, in pixels of the picture that is searched, of the smallest face that is looked for.

    Returns:
        The detector.
    """
    pnet, rnet, onet = (networks[name] for name in ("pnet", "rnet", "onet"))
    warm(onet)
    return MtcnnDetector(pnet, rnet, onet, min_face_px, quick_pnet=networks.get("quick_pnet"))


def pyramid(pixels: Pixels, min_face: float, factor: float) -> list[tuple[float, Pixels]]:
    """Reduce a picture to the scales at which faces of each size fill P-Net's window.

    A level of half the scale of an earlier one is that level halved: the same average, computed from fewer pixels. Other
    levels are averaged from a halved copy with at least `_HEADROOM` pixels for one: fewer would blur them, and P-Net would
    lose large faces there.

    Args:
        pixels: uint8 RGB [H, W, 3].
        min_face: Side of the smallest face in pixels; it fills the window at the first level.
        factor: Ratio of the scales of two neighbouring levels, between 0 and 1.

    Returns:
        Each scale with its area-averaged copy, uint8 [h, w, 3], from large to small; no side is below the window's.
    """
    height, width = pixels.shape[:2]
    levels: list[tuple[float, Pixels]] = []
    scale, source, halved = CELL / min_face, pixels, 1.0
    while min(height, width) * scale >= CELL:
        size = int(width * scale), int(height * scale)
        double = next((level for other, level in levels if math.isclose(other, 2 * scale, rel_tol=1e-9)), None)
        if double is None:
            while scale * 2 * _HEADROOM <= halved and min(source.shape[:2]) >= 2 * CELL:
                source = resized(source, source.shape[1] // 2, source.shape[0] // 2)
                halved /= 2
            double = source
        levels.append((scale, resized(double, *size)))
        scale *= factor
    return levels


def _apart(boxes: Floats, level: Indices) -> Reals:
    """Boxes [N, 4] moved so that those of different levels do not overlap."""
    reach = boxes[:, 2].max(initial=0) - boxes[:, 0].min(initial=0) + 1
    moved = boxes.astype(np.float64)
    moved[:, ::2] += (level * float(reach))[:, np.newaxis]
    return moved


def _nested(boxes: Floats, scores: Floats, overlap: float) -> Bools:
    """Which boxes are in a more certain one and are not certain themselves: a mouth and a nose may pass for a small face."""
    nested = np.zeros(len(boxes), dtype=bool)
    areas = area(boxes)
    for one, other, shared in overlapping(boxes):
        inside = shared > overlap * np.minimum(areas[one], areas[other])
        worse = np.where(scores[one] < scores[other], one, other)[inside]
        nested[worse[scores[worse] < _NESTED_CONFIDENCE]] = True
    return nested
