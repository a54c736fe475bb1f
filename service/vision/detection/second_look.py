"""A second look at what a detector's first look left in doubt: heads at any angle, and pictures that lie on their side.

R-Net and O-Net of MTCNN read doubtful regions at four angles. Where the faces are more certain on their side or upside down,
the whole picture is searched as it stands upright. Every detector may end with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from service.arrays import Bools, Floats, Pixels
from service.models.runtime import Network
from service.vision.detection import MIN_CONFIDENCE, Face
from service.vision.onet import (
    MAX_MISALIGNMENT,
    ONE_VIEW,
    VIEWS,
    WIDER_VIEWS,
    boxes_about,
    confirm,
    doubled,
    in_batches,
    quarter_turned_boxes,
    roll,
    upright_angle,
)
from service.vision.windows import HalvedPicture, Indices, Reals, area, square, suppress

REGION_MIN_PX: Final = 40.0
"""Side of the smallest doubtful region, in pixels of the picture that is searched."""
MAX_REGIONS: Final = 24
"""Most doubtful regions of a picture that are looked at again."""
REGION_SCORE: Final = 0.15
"""R-Net's score from which a region may show a head at an angle: it passes heads at any angle, which O-Net rejects. See
docs/measurements.md.
"""
REGION_CONFIDENCE: Final = 0.87
"""Mean confidence over all views that a face of the second look needs."""
_REGION_OVERLAP: Final = 0.3
"""Intersection over union above which two regions, or a region and a face, are one."""
_REGION_OUTPUT: Final = 0.3
_ALIGNED_OUTPUT: Final = 0.5
"""O-Net's score, at an angle and then set upright, from which a doubtful region is read further."""
_ALIGNED_SHORTFALL: Final = 5
"""How many times farther from full confidence than it has to end a face may be in that one view, where it was found already,
less rotated.
"""
_ANGLES: Final = np.array([0, 90, 180, 270], np.float32)
"""Degrees, clockwise, by which a doubtful region is rotated; what is between is set upright by its landmarks."""
_ROTATED: Final = 45.0
"""Degrees of roll beyond which a face counts as rotated: O-Net is not certain of it as it is."""
UPRIGHT_CONFIDENCE: Final = 0.99
"""O-Net's confidence from which a face stands as it was read: hardly any that is read on its side or upside down reaches it."""
_EDGE: Final = 0.1
_EDGE_SIZE: Final = 1.3
"""A region that is closer to the edge than this share of its side is looked at in this size, too: the face may be cut."""


class Seen(NamedTuple):
    """A face with O-Net's mean confidence in it, and the degrees, clockwise, by which it is taken to be rolled."""

    face: Face
    certainty: float
    degrees: float = 0.0


class FirstLook(NamedTuple):
    """What a detector saw: faces; and of whatever it took for a head, at any angle, boxes [N, 4], scores [N], and degrees [N],
    clockwise, by which it seems to be rolled, or 0.
    """

    faces: list[Seen]
    boxes: Floats
    scores: Floats
    degrees: Floats


class _Doubts(NamedTuple):
    """Windows to read: boxes [N, 4], degrees [N], and of the face that was found there already its certainty [N], or 0, and
    its degrees [N].
    """

    boxes: Floats
    degrees: Floats
    upright: Floats
    own: Floats

    def of(self, kept: Indices | Bools) -> _Doubts:
        """Those of an index or a mask."""
        return _Doubts(*(values[kept] for values in self))


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Ends a detector's search over `rnet` (24 by 24) and `onet` (48 by 48), both uint8 RGB in.

    `region_score` is the first look's score from which a box without a face is a doubtful region, and `min_region` the side of
    the smallest one in pixels. A face stands as it was read where O-Net has the confidence `upright`.
    """

    rnet: Network
    onet: Network
    region_score: float
    min_region: float
    upright: float = UPRIGHT_CONFIDENCE

    def detect(self, picture: HalvedPicture, search: Callable[[HalvedPicture], FirstLook]) -> list[Face]:
        """Find the faces of a picture; several threads may call it at once.

        Args:
            picture: The picture, which no other thread reads.
            search: The detector's first look.

        Returns:
            Faces in pixels of the picture; boxes may reach outside it.
        """
        first = search(picture)
        faces = first.faces
        found = self._look(picture, *self._regions(picture, first), self._doubtful(faces))
        unsure: list[Seen] = []
        quarters = _quarters(faces, found)
        if quarters:
            copy, back = quarter_turned(picture.pixels, quarters)
            again = [seen._replace(face=_moved(seen.face, back)) for seen in search(picture.of(copy)).faces]
            upright = [seen for seen in again if seen.face.confidence >= MIN_CONFIDENCE]
            unsure = [seen for seen in again if seen.face.confidence < MIN_CONFIDENCE]
            found = [*upright, *(seen for seen in found if not _at_same_place(seen, upright))]
            faces = [seen for seen in faces if seen.face.confidence >= REGION_CONFIDENCE]
            faces = [seen for seen in faces if not _turns(seen) or not _at_same_place(seen, upright)]
        merged = _merged(faces, found)
        merged += [seen for seen in unsure if not _at_same_place(seen, merged)]
        return [seen.face for seen in merged]

    def _regions(self, picture: HalvedPicture, first: FirstLook) -> tuple[Floats, Floats]:
        """Squares [N, 4] in which the first look saw what might be a head, and confirmed no face, the most likely first; and
        their degrees [N].
        """
        boxes, scores = first.boxes, first.scores
        sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
        keep = suppress(boxes, scores, (scores > self.region_score) & (sides >= self.min_region), _REGION_OVERLAP)
        sure = _stacked([seen for seen in first.faces if seen.face.confidence >= MIN_CONFIDENCE])
        keep = keep[~_same_place(square(boxes[keep]), sure).any(axis=1)][:MAX_REGIONS]
        regions, degrees = square(boxes[keep]), first.degrees[keep]
        height, width = picture.pixels.shape[:2]
        margin = _EDGE * (regions[:, 2:] - regions[:, :2])
        cut = (regions[:, :2] < margin).any(axis=1) | (regions[:, 2:] > [width, height] - margin).any(axis=1)
        return np.concatenate([regions, _grown(regions[cut], _EDGE_SIZE)]), np.concatenate([degrees, degrees[cut]])

    def _doubtful(self, faces: list[Seen]) -> list[Seen]:
        """Answered faces that may be rotated, the least certain first, no more than `MAX_REGIONS`."""
        found = [seen for seen in faces if seen.face.confidence >= MIN_CONFIDENCE and seen.certainty < self.upright]
        return sorted(found, key=lambda seen: seen.certainty)[:MAX_REGIONS]

    def _look(self, picture: HalvedPicture, regions: Floats, rolls: Floats, doubtful: list[Seen]) -> list[Seen]:
        """Faces of doubtful regions, and of doubtful faces that may be rotated, at the angle at which they are most certain."""
        doubts = _doubts(regions, rolls, doubtful)
        if len(doubts.boxes) == 0:
            return []
        seen = in_batches(self.rnet, picture, doubts.boxes, 24, degrees=doubts.degrees)["probability"]
        doubts = doubts.of(np.flatnonzero(seen > REGION_SCORE))
        if len(doubts.boxes) == 0:
            return []
        scores, points, moved = confirm(self.onet, picture, doubts.boxes, ONE_VIEW, doubts.degrees)
        heads = np.flatnonzero(scores > _REGION_OUTPUT)
        if len(heads) == 0:
            return []
        doubts = self._aligned(picture, doubts.of(heads), points[heads], moved[heads])
        if len(doubts.boxes) == 0:
            return []
        scores, points, means = confirm(self.onet, picture, doubts.boxes, VIEWS, doubts.degrees)
        few, many = len(VIEWS.mirrored), len(WIDER_VIEWS.mirrored)
        most = doubled((few * scores + many) / (few + many), means)
        likely = np.flatnonzero((doubled(scores, means) >= MIN_CONFIDENCE) & (most > _least_confidence(doubts.upright)))
        if len(likely) == 0:
            return []
        scores, points, means, doubts = scores[likely], points[likely], means[likely], doubts.of(likely)
        wider = confirm(self.onet, picture, doubts.boxes, WIDER_VIEWS, doubts.degrees)[0]
        scores = doubled((few * scores + many * wider) / (few + many), means)
        keep = suppress(square(means), scores, scores >= REGION_CONFIDENCE, _REGION_OVERLAP)
        means, degrees = as_they_lie(means[keep], doubts.degrees[keep]), doubts.degrees[keep]
        read = zip(means, points[keep], scores[keep], degrees, strict=True)
        return [Seen(Face(box, marks, float(score)), float(score), float(angle)) for box, marks, score, angle in read]

    def _aligned(self, picture: HalvedPicture, doubts: _Doubts, points: Floats, moved: Floats) -> _Doubts:
        """Windows in which a face stands upright: the windows given as they are, and moved to it. O-Net read `points` [N, 5, 2]
        and `moved` [N, 4] in them.

        Where the picture's edge cuts a face, moving to where its middle would be makes it less certain. Windows are left out
        that show once more, as it was found, a face that is there already.
        """
        degrees = upright_angle(points, doubts.degrees)
        scores, points, moved = confirm(self.onet, picture, moved, ONE_VIEW, degrees)
        turned = upright_angle(points, degrees)
        least = 1 - _ALIGNED_SHORTFALL * (1 - _least_confidence(doubts.upright))
        passed = scores > np.maximum(_ALIGNED_OUTPUT, least)
        passed &= (doubts.upright == 0) | (_apart(turned, doubts.own) > _ROTATED - MAX_MISALIGNMENT)
        as_given = doubts._replace(degrees=degrees).of(passed)
        to_face = doubts._replace(boxes=moved, degrees=turned).of(passed)
        return _Doubts(*(np.concatenate(pair) for pair in zip(as_given, to_face, strict=True)))


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


def as_they_lie(boxes: Floats, degrees: Floats) -> Floats:
    """Boxes that were read in turned windows, as boxes of the picture: width and height change places on a side.

    Args:
        boxes: [N, 4] as x0, y0, x1, y1.
        degrees: Clockwise, [N].

    Returns:
        [N, 4].
    """
    odd = np.rint(degrees / 90).astype(int) % 2 == 1
    return np.where(odd[:, np.newaxis], quarter_turned_boxes(boxes), boxes)


def _doubts(regions: Floats, rolls: Floats, doubtful: list[Seen]) -> _Doubts:
    """Regions at every angle, and as they seem to be rolled where that is none of these; and doubtful faces at every angle but
    their own.
    """
    between = np.abs((rolls + 45) % 90 - 45) > MAX_MISALIGNMENT
    turns = _ANGLES[1:]
    own = np.repeat(np.array([seen.degrees for seen in doubtful], np.float32), len(turns))
    boxes = [np.repeat(regions, len(_ANGLES), axis=0), regions[between], np.repeat(_stacked(doubtful), len(turns), axis=0)]
    degrees = [np.tile(_ANGLES, len(regions)), rolls[between], (own + np.tile(turns, len(doubtful))) % 360]
    nothing = np.zeros(len(boxes[0]) + len(boxes[1]), np.float32)
    upright = np.repeat(np.array([seen.certainty for seen in doubtful], np.float32), len(turns))
    joined = np.concatenate([nothing, upright]), np.concatenate([nothing, own])
    return _Doubts(square(np.concatenate(boxes)), np.concatenate(degrees), *joined)


def _apart(one: Reals, other: Reals) -> Floats:
    """Degrees from 0 to 180 between angles."""
    return np.asarray(np.abs((one - other + 180) % 360 - 180), np.float32)


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


def _stacked(faces: Sequence[Seen]) -> Floats:
    """The faces' boxes, [N, 4]."""
    return np.stack([seen.face.box for seen in faces]) if faces else np.empty((0, 4), np.float32)


def _same_place(one: Floats, other: Floats) -> Bools:
    """Which boxes [N, 4] and [M, 4] are in one place, [N, M]: they overlap, or less so with the centre of one in the other."""
    one, other = one[:, np.newaxis], other[np.newaxis]
    shared = np.maximum(np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2]), 0).prod(axis=2)
    union = area(one) + area(other) - shared
    distance = np.abs(one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    larger = np.maximum(one[..., 2:] - one[..., :2], other[..., 2:] - other[..., :2])
    central = (distance < larger / 2).all(axis=2)
    return np.asarray((shared > _REGION_OVERLAP * union) | (central & (shared > _REGION_OVERLAP / 3 * union)))


def _at_same_place(face: Seen, others: list[Seen]) -> list[Seen]:
    """Those of the others that are in the same place."""
    near = _same_place(_stacked(others), face.face.box[np.newaxis])[:, 0]
    return [other for other, met in zip(others, near, strict=True) if met]


def _more_certain(turned: float, upright: float) -> bool:
    """Whether a face is more certain rotated than as it is: by a quarter of what is missing to full confidence."""
    return upright < UPRIGHT_CONFIDENCE and turned > 1 - 0.75 * (1 - upright)


def _least_confidence(upright: Floats) -> Floats:
    """Confidence [N] that rotated faces need for `_more_certain`; none where there is no upright one, which is 0."""
    return np.where(upright > 0, 1 - np.float32(0.75) * (1 - upright), 0)


def _quarters(faces: list[Seen], found: list[Seen]) -> int:
    """Quarter turns, counterclockwise, after which the whole picture stands upright, where its faces say so; else 0."""
    sure = [*(seen for seen in faces if seen.face.confidence >= MIN_CONFIDENCE), *found]
    turns = np.array([_turns(seen) for seen in sure], int)
    certainties = np.array([seen.certainty for seen in sure])
    rotated = turns > 0
    if not rotated.any() or not _more_certain(certainties[rotated].max(), certainties[~rotated].max(initial=0)):
        return 0
    return int(np.bincount(turns[rotated], certainties[rotated]).argmax())


def _turns(seen: Seen) -> int:
    """Quarter turns, clockwise, by which a face is rolled, 0 to 3."""
    return round(seen.degrees / 90) % 4


def _merged(faces: list[Seen], found: list[Seen]) -> list[Seen]:
    """The first look's faces and the second look's; a sure one yields only to one of another angle that is more certain."""
    merged = list(faces)
    for seen in found:
        met = _at_same_place(seen, faces)
        sure = [other for other in met if other.face.confidence >= MIN_CONFIDENCE]
        if all(_more_certain(seen.certainty, other.certainty) and _is_rotated(seen.face, other.degrees) for other in sure):
            merged = [other for other in merged if all(other is not one for one in met)] + [seen]
    return merged


def _is_rotated(face: Face, degrees: float) -> bool:
    """Whether a face is rotated against one that is rolled by these degrees."""
    return bool(_apart(roll(face.landmarks[np.newaxis]), np.array([degrees]))[0] > _ROTATED)
