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
from service.vision.detection import MIN_CONFIDENCE, MIN_FACE_PX, Face
from service.vision.onet import (
    MAX_MISALIGNMENT,
    ONE_VIEW,
    VIEWS,
    WIDER_VIEWS,
    boxes_about,
    confirm,
    doubled,
    in_batches,
    landmarks_in,
    quarter_turned_boxes,
    regress,
    upright_angle,
)
from service.vision.proposals import CELL, best, proposals
from service.vision.windows import HalvedPicture, Indices, Reals, area, overlapping, resized, square, suppress, suppress_same

MAX_CANDIDATES: Final = 2500
"""Best proposals of one pyramid level that are kept: more than a crowd has; noise could give any number of them."""
SCALE_FACTOR: Final = math.sqrt(0.5)
"""Ratio of two neighbouring levels; the mtcnn package's is 0.709."""
_HEADROOM: Final = 4
QUICK: Final = ("pnet",)
"""Networks that are wanted in quick arithmetic too, to rule out with; O-Net's rounding moves ages. See docs/measurements.md."""
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

REGION_SCORE: Final = 0.15
"""R-Net's score from which a window without a face is a doubtful region: P-Net and R-Net pass heads at any angle, which O-Net
rejects. See docs/measurements.md."""
REGION_MIN_PX: Final = 40.0
"""Side of the smallest doubtful region, in pixels of the picture that is searched."""
MAX_REGIONS: Final = 24
"""Most doubtful regions of a picture that are looked at again."""
_REGION_OVERLAP: Final = 0.3
"""Intersection over union above which two regions, or a region and a face, are one."""
_REGION_OUTPUT: Final = 0.3
_ALIGNED_OUTPUT: Final = 0.5
"""O-Net's score, at an angle and then set upright, from which a doubtful region is read further."""
_ALIGNED_SHORTFALL: Final = 5
"""How many times farther from full confidence than it has to end a face may be in that one view, where it was found already,
less rotated.
"""
REGION_CONFIDENCE: Final = 0.87
"""Mean confidence over all views that a face of the second look needs."""
_ANGLES: Final = np.array([0, 90, 180, 270], np.float32)
"""Degrees, clockwise, by which a doubtful region is rotated; what is between is set upright by its landmarks."""
_ROTATED: Final = 45.0
"""Degrees of roll beyond which a face counts as rotated: O-Net is not certain of it as it is."""
_UPRIGHT_CONFIDENCE: Final = 0.99
"""Confidence from which a face counts as upright: hardly any on its side or upside down reaches it."""
_EDGE: Final = 0.1
_EDGE_SIZE: Final = 1.3
"""A region that is closer to the edge than this share of its side is looked at in this size, too: the face may be cut."""


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

        Regions in which the cascade saw something that it did not confirm are looked at again, at every angle. Where the faces
        are more certain on their side or upside down, the whole picture is searched as it stands upright.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            Faces in pixels of the array; boxes may reach outside it.
        """
        picture = HalvedPicture(pixels)
        faces, windows, scores = self._search(picture)
        if self.thresholds.confirmation is None:
            return faces
        found, degrees = self._second_look(picture, self._regions(picture, faces, windows, scores), _doubtful(faces))
        quarters = _quarters(faces, found, degrees)
        if quarters:
            copy, back = quarter_turned(pixels, quarters)
            upright = [_moved(face, back) for face in self.cascade(copy) if face.confidence >= MIN_CONFIDENCE]
            found = [*upright, *(face for face in found if not _at_same_place(face, upright))]
            faces = [face for face in faces if face.confidence >= REGION_CONFIDENCE]
        return _merged(faces, found)

    def cascade(self, pixels: Pixels) -> list[Face]:
        """Run the cascade once, without a second look.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            Faces in pixels of the array; boxes may reach outside it.
        """
        return self._search(HalvedPicture(pixels))[0]

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

    def _regions(self, picture: HalvedPicture, faces: list[Face], windows: Floats, scores: Floats) -> Floats:
        """Squares [N, 4] in which R-Net saw what might be a head, and the cascade confirmed no face; the most likely first."""
        sides = (windows[:, 2:] - windows[:, :2]).max(axis=1, initial=0)
        passed = (scores > REGION_SCORE) & (sides >= max(REGION_MIN_PX, self.min_face))
        keep = suppress(windows, scores, passed, _REGION_OVERLAP)
        sure = _stacked([face for face in faces if face.confidence >= MIN_CONFIDENCE])
        regions = square(windows[keep])
        regions = regions[~_same_place(regions, sure).any(axis=1)][:MAX_REGIONS]
        height, width = picture.pixels.shape[:2]
        margin = _EDGE * (regions[:, 2:] - regions[:, :2])
        cut = (regions[:, :2] < margin).any(axis=1) | (regions[:, 2:] > [width, height] - margin).any(axis=1)
        return np.concatenate([regions, _grown(regions[cut], _EDGE_SIZE)])

    def _second_look(self, picture: HalvedPicture, regions: Floats, doubtful: list[Face]) -> tuple[list[Face], Floats]:
        """Faces of doubtful regions, and of doubtful faces that may be rotated, at the angle at which they are most certain;
        and their angles, degrees clockwise.
        """
        turns = _ANGLES[1:]
        boxes = np.concatenate([np.repeat(regions, len(_ANGLES), axis=0), np.repeat(_stacked(doubtful), len(turns), axis=0)])
        if len(boxes) == 0:
            return [], np.empty(0, np.float32)
        boxes, degrees = square(boxes), np.concatenate([np.tile(_ANGLES, len(regions)), np.tile(turns, len(doubtful))])
        upright = np.array([face.confidence for face in doubtful], np.float32)
        upright = np.concatenate([np.zeros(len(regions) * len(_ANGLES), np.float32), np.repeat(upright, len(turns))])
        seen = in_batches(self.rnet, picture, boxes, 24, degrees=degrees)["probability"]
        likely = np.flatnonzero(seen > REGION_SCORE)
        if len(likely) == 0:
            return [], np.empty(0, np.float32)
        boxes, degrees, upright = boxes[likely], degrees[likely], upright[likely]
        scores = in_batches(self.onet, picture, boxes, 48, degrees=degrees)["probability"]
        likely = np.flatnonzero(scores > _REGION_OUTPUT)
        boxes, degrees, upright = boxes[likely], degrees[likely], upright[likely]
        boxes, degrees, upright = self._aligned(picture, boxes, degrees, upright)
        if len(boxes) == 0:
            return [], degrees
        scores, points, means = confirm(self.onet, picture, boxes, VIEWS, degrees)
        few, many = len(VIEWS.mirrored), len(WIDER_VIEWS.mirrored)
        most = doubled((few * scores + many) / (few + many), means)
        likely = np.flatnonzero((doubled(scores, means) >= MIN_CONFIDENCE) & (most > _least_confidence(upright)))
        if len(likely) == 0:
            return [], degrees[likely]
        scores, points, means, degrees = scores[likely], points[likely], means[likely], degrees[likely]
        wider = confirm(self.onet, picture, boxes[likely], WIDER_VIEWS, degrees)[0]
        scores = doubled((few * scores + many * wider) / (few + many), means)
        keep = suppress(square(means), scores, scores >= REGION_CONFIDENCE, _REGION_OVERLAP)
        odd = np.rint(degrees[keep] / 90).astype(int) % 2 == 1
        means = np.where(odd[:, np.newaxis], quarter_turned_boxes(means[keep]), means[keep])
        faces = zip(means, points[keep], scores[keep], strict=True)
        return [Face(box, landmarks, float(score)) for box, landmarks, score in faces], degrees[keep]

    def _aligned(
        self, picture: HalvedPicture, boxes: Floats, degrees: Floats, upright: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Windows [N, 4] and degrees [N] in which a face stands upright: the windows given as they are, and moved to it.

        Where the picture's edge cuts a face, moving to where its middle would be makes it less certain. Windows are left out
        that show once more, as it was found, a face that has the confidence `upright` [N] already, or 0.
        """
        if len(boxes) == 0:
            return boxes, degrees, upright
        _, points, moved = confirm(self.onet, picture, boxes, ONE_VIEW, degrees)
        degrees = upright_angle(points, degrees)
        scores, points, moved = confirm(self.onet, picture, moved, ONE_VIEW, degrees)
        turned = upright_angle(points, degrees)
        passed = scores > np.maximum(_ALIGNED_OUTPUT, 1 - _ALIGNED_SHORTFALL * (1 - _least_confidence(upright)))
        passed &= (upright == 0) | (np.abs((turned + 180) % 360 - 180) > _ROTATED - MAX_MISALIGNMENT)
        boxes, degrees = np.concatenate([boxes[passed], moved[passed]]), np.concatenate([degrees[passed], turned[passed]])
        return boxes, degrees, np.tile(upright[passed], 2)

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


def quarter_turned(pixels: Pixels, quarters: int) -> tuple[Pixels, Floats]:
    """Turn a picture by quarter turns.

    Args:
        pixels: uint8 RGB [H, W, 3].
        quarters: Turns of 90 degrees counterclockwise, 0 to 3.

    Returns:
        The turned pixels, and the map float32 [2, 3] of their coordinates back to the picture's.
    """
    right, bottom = pixels.shape[1] - 1, pixels.shape[0] - 1
    back = [
        [[1, 0, 0], [0, 1, 0]],
        [[0, -1, right], [1, 0, 0]],
        [[-1, 0, right], [0, -1, bottom]],
        [[0, 1, 0], [-1, 0, bottom]],
    ]
    return np.ascontiguousarray(np.rot90(pixels, quarters)), np.array(back[quarters], np.float32)


def _apart(boxes: Floats, level: Indices) -> Reals:
    """Boxes [N, 4] moved so that those of different levels do not overlap."""
    reach = boxes[:, 2].max(initial=0) - boxes[:, 0].min(initial=0) + 1
    moved = boxes.astype(np.float64)
    moved[:, ::2] += (level * float(reach))[:, np.newaxis]
    return moved


def _moved(face: Face, back: Floats) -> Face:
    """The face by a map [2, 3] without a change of size; the box keeps its sides, about its centre's new place, but for
    quarter turns, which change its width with its height.
    """
    centre, half = (face.box[:2] + face.box[2:]) / 2, (face.box[2:] - face.box[:2]) / 2
    centre, half = back[:, :2] @ centre + back[:, 2], np.abs(np.rint(back[:, :2])) @ half
    return Face(np.concatenate([centre - half, centre + half]), face.landmarks @ back[:, :2].T + back[:, 2], face.confidence)


def _grown(boxes: Floats, factor: float) -> Floats:
    """Boxes [N, 4] grown about their centres."""
    return boxes_about((boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * np.float32(factor))


def _stacked(faces: list[Face]) -> Floats:
    """The faces' boxes, [N, 4]."""
    return np.stack([face.box for face in faces]) if faces else np.empty((0, 4), np.float32)


def _doubtful(faces: list[Face]) -> list[Face]:
    """Faces that may be rotated, the least certain first, no more than `MAX_REGIONS`."""
    found = [face for face in faces if MIN_CONFIDENCE <= face.confidence < _UPRIGHT_CONFIDENCE]
    return sorted(found, key=lambda face: face.confidence)[:MAX_REGIONS]


def _nested(boxes: Floats, scores: Floats, overlap: float) -> Bools:
    """Which boxes are in a more certain one and are not certain themselves: a mouth and a nose may pass for a small face."""
    nested = np.zeros(len(boxes), dtype=bool)
    areas = area(boxes)
    for one, other, shared in overlapping(boxes):
        inside = shared > overlap * np.minimum(areas[one], areas[other])
        worse = np.where(scores[one] < scores[other], one, other)[inside]
        nested[worse[scores[worse] < _NESTED_CONFIDENCE]] = True
    return nested


def _same_place(one: Floats, other: Floats) -> Bools:
    """Which boxes [N, 4] and [M, 4] are in one place, [N, M]: they overlap, or less so with the centre of one in the other."""
    one, other = one[:, np.newaxis], other[np.newaxis]
    shared = np.maximum(np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2]), 0).prod(axis=2)
    union = area(one) + area(other) - shared
    distance = np.abs(one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    larger = np.maximum(one[..., 2:] - one[..., :2], other[..., 2:] - other[..., :2])
    central = (distance < larger / 2).all(axis=2)
    return np.asarray((shared > _REGION_OVERLAP * union) | (central & (shared > _REGION_OVERLAP / 3 * union)))


def _at_same_place(face: Face, others: list[Face]) -> list[Face]:
    """Those of the others that are in the same place."""
    near = _same_place(_stacked(others), face.box[np.newaxis])[:, 0]
    return [other for other, met in zip(others, near, strict=True) if met]


def _more_certain(turned: float, upright: float) -> bool:
    """Whether a face is more certain rotated than as it is: by a quarter of what is missing to full confidence."""
    return upright < _UPRIGHT_CONFIDENCE and turned > 1 - 0.75 * (1 - upright)


def _least_confidence(upright: Floats) -> Floats:
    """Confidence [N] that rotated faces need for `_more_certain`; none where there is no upright one, which is 0."""
    return np.where(upright > 0, 1 - np.float32(0.75) * (1 - upright), 0)


def _quarters(faces: list[Face], found: list[Face], degrees: Floats) -> int:
    """Quarter turns, counterclockwise, after which the whole picture stands upright, where its faces say so; else 0."""
    turns = np.rint(degrees / 90).astype(int) % 4
    rotated_faces = [face.confidence for face, turn in zip(found, turns, strict=True) if turn]
    upright = [face.confidence for face in faces if face.confidence >= MIN_CONFIDENCE]
    upright += [face.confidence for face, turn in zip(found, turns, strict=True) if not turn]
    if not rotated_faces or not _more_certain(max(rotated_faces), max(upright, default=0.0)):
        return 0
    return int(np.bincount(turns[turns > 0]).argmax())


def _merged(faces: list[Face], found: list[Face]) -> list[Face]:
    """The cascade's faces and the second look's; a sure one yields only to a rotated one that is more certain."""
    merged = list(faces)
    for face in found:
        met = _at_same_place(face, faces)
        sure = [other for other in met if other.confidence >= MIN_CONFIDENCE]
        if not sure or (_is_rotated(face) and all(_more_certain(face.confidence, other.confidence) for other in sure)):
            merged = [other for other in merged if all(other is not one for one in met)] + [face]
    return merged


def _is_rotated(face: Face) -> bool:
    """Whether a face is on its side or upside down."""
    x, y = (face.landmarks[1] - face.landmarks[0]).tolist()
    return abs(math.degrees(math.atan2(y, x))) > _ROTATED
