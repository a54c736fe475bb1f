"""CenterFace (Xu et al., "CenterFace: joint face detection and alignment using face as point", 2019): one network over the
whole picture gives faces by their centres. MTCNN's O-Net reads each, as it reads those of the cascade, and what is doubtful is
looked at again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from service.arrays import Floats, Pixels
from service.models.runtime import Network
from service.vision.detection import MIN_CONFIDENCE, MIN_FACE_PX, Face
from service.vision.detection.second_look import FirstLook, SecondLook, Seen, as_they_lie
from service.vision.onet import ONE_VIEW, VIEWS, Views, confirm, doubled, roll, upright_angle, warm
from service.vision.windows import HalvedPicture, Indices, Reals, suppress, suppress_same

CELL: Final = 4
"""Side of an output's cell, in pixels of the input."""
_SIDES: Final = (
    *((128, 128), (192, 192), (192, 256), (256, 256), (256, 320), (320, 416), (384, 384)),
    *((384, 512), (384, 640), (480, 640), (512, 640), (640, 640)),
)
CANVASES: Final = sorted({canvas for low, wide in _SIDES for canvas in ((low, wide), (wide, low))}, key=math.prod)
"""Sizes of the input, height and width in pixels, the smallest first; a picture has grey beside it and below. They are few:
a runtime takes longer to prepare itself for another size than to compute the largest one. See docs/measurements.md.
"""
DIVISOR: Final = 64
"""Sides of the input are multiples of it where no canvas holds the picture. The network, which halves five times, needs 32."""
GREY: Final = 127
"""Level of what is beside the picture, as it is outside of O-Net's windows: at a black edge some faces that lie are lost."""
FACE_PX: Final = 12.0
"""Side of the smallest face in the input, in pixels."""
ROUNDED: Final = {"faces": math.inf, "onet": 0.02}
"""Networks that may round more than float32 does, and the most by which golden answers may then differ, beside the model's
tolerance: boxes of the first are moved anyhow; O-Net's landmarks place the crops, in sides of its window.
"""
UPRIGHT_CONFIDENCE: Final = 0.98
"""O-Net's confidence from which a face stands as it was read: none of 145 that were read at a wrong angle reached it."""
HEAD_SCORE: Final = 0.05
"""Score from which a cell is the centre of what may be a head at any angle. See docs/measurements.md."""
REGION_PX: Final = 28.0
"""Side of the smallest doubtful region, in pixels of the picture that is searched: these boxes are tighter than R-Net's."""
SMALL_PICTURE_PX: Final = 112
"""Longest side, in pixels, below which a picture is looked at more closely: its face may touch all edges. See
docs/measurements.md.
"""
MAX_CLOSER: Final = 4.0
"""How many times more closely at most."""
CENTRE_SCORE: Final = 0.15
"""Score from which a cell is the centre of what may be a face that stands upright, or as its landmarks say."""
MAX_CANDIDATES: Final = 1000
"""Best centres of a picture that are kept, one of each head before the cells beside it: more than a crowd has; noise could give
any number of them.
"""
ONE_VIEW_SCORE: Final = 0.4
"""Mean of the network's score and O-Net's in one view from which a face is read in all views."""
ANSWERED_SCORE: Final = 0.62
"""Mean of the network's score and O-Net's over all views that is a confidence of `MIN_CONFIDENCE`. See docs/measurements.md."""
CLEAR_SCORE: Final = 0.95
"""Mean score of large, sharp faces: CenterFace's own hardly passes 0.93."""
CLEAR_CONFIDENCE: Final = 0.995
CERTAIN: Final = 0.9
"""Confidence from which a face is certain: what is like a face in a photo that shows one is hardly ever anything else."""
IN_COMPANY: Final = 0.6
"""Confidence beside a certain face that is `MIN_CONFIDENCE`. See docs/measurements.md."""
OVERLAP: Final = 0.3
"""Intersection over union at which the better of two boxes wins; the network's authors' value."""
_LANDMARK_DISTANCE: Final = 0.25
_SAME_FACE: Final = 0.7
_UPRIGHT: Final = 15.0
"""Degrees of roll up to which O-Net reads a face as it is."""


@dataclass(frozen=True, slots=True)
class CenterFaceDetector:
    """CenterFace over three networks: `faces` (any multiple of 32), `rnet` (24 by 24), `onet` (48 by 48), uint8 RGB in.

    `min_face` is the side in pixels of the smallest face that is looked for: the picture is reduced until it has `FACE_PX`, a
    small picture less so.
    """

    faces: Network
    rnet: Network
    onet: Network
    min_face: float = MIN_FACE_PX

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find the faces of a picture; several threads may call it at once.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            Faces in pixels of the array; boxes may reach outside it.
        """
        look = SecondLook(self.rnet, self.onet, HEAD_SCORE, max(REGION_PX, self.min_face), UPRIGHT_CONFIDENCE)
        return in_company(look.detect(HalvedPicture(pixels, trimmed=True), self._first_look))

    def _first_look(self, picture: HalvedPicture) -> FirstLook:
        """Faces as they stand, or as CenterFace's landmarks say that they lie; and all that it took for a head."""
        heads, head_scores, points = self._candidates(picture)
        rolls = _roll(points)
        likely = np.flatnonzero(head_scores > CENTRE_SCORE)
        if len(likely) == 0:
            return FirstLook([], heads, head_scores, rolls)
        centre_scores, degrees = head_scores[likely], rolls[likely]
        scores, points, boxes = self._read(picture, heads[likely], ONE_VIEW, degrees)
        degrees = upright_angle(points, degrees)
        likely = np.flatnonzero((scores + centre_scores) / 2 >= ONE_VIEW_SCORE)
        if len(likely) == 0:
            return FirstLook([], heads, head_scores, rolls)
        degrees = degrees[likely]
        certainties, points, boxes = self._read(picture, boxes[likely], VIEWS, degrees)
        scores = confidence((certainties + centre_scores[likely]) / 2)
        certainties = doubled(certainties, boxes)
        keep = suppress_same(boxes, scores, points, _SAME_FACE, _LANDMARK_DISTANCE)
        faces = [
            Seen(Face(boxes[one], points[one], float(scores[one])), float(certainties[one]), float(slope))
            for one, slope in zip(keep, roll(points[keep]), strict=True)
        ]
        return FirstLook(faces, heads, head_scores, rolls)

    def _read(self, picture: HalvedPicture, boxes: Floats, views: Views, degrees: Floats) -> tuple[Floats, Floats, Floats]:
        """O-Net's confidence [N], landmarks [N, 5, 2] and boxes [N, 4], in windows that stand as the faces do."""
        scores, points, means = confirm(self.onet, picture, boxes, views, degrees if degrees.any() else None)
        return scores, points, as_they_lie(means, degrees)

    def _candidates(self, picture: HalvedPicture) -> tuple[Floats, Floats, Floats]:
        """Boxes [N, 4] and landmarks [N, 5, 2] in pixels of the picture, and scores [N], of the network alone."""
        closer = min(max(1.0, SMALL_PICTURE_PX / max(picture.pixels.shape[:2])), MAX_CLOSER)
        copy, back = picture.scaled(min(1.0, FACE_PX / self.min_face) * closer)
        answer = {name: values[0] for name, values in self.faces(_padded(copy)[np.newaxis]).items()}
        probability = answer["probability"]
        rows, columns = np.nonzero(probability > HEAD_SCORE)
        best = _best(probability, rows, columns)
        rows, columns = rows[best], columns[best]
        # The network names heights before widths, and y before x.
        sizes = np.exp(answer["log_sizes"][rows, columns])[:, ::-1] * CELL
        centres = (np.stack([columns, rows], axis=1) + answer["offsets"][rows, columns][:, ::-1] + np.float32(0.5)) * CELL
        corners = centres - sizes / 2
        boxes = np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)
        points = (
            answer["landmarks"][rows, columns].reshape(-1, 5, 2)[:, :, ::-1] * sizes[:, np.newaxis] + corners[:, np.newaxis]
        )
        scores = probability[rows, columns]
        keep = suppress(boxes, scores, sizes.max(axis=1) >= FACE_PX / 2 * closer, OVERLAP)
        return boxes[keep] * np.tile(back, 2), scores[keep], (points[keep] * back).astype(np.float32)


def create(networks: Mapping[str, Network], min_face_px: float) -> CenterFaceDetector:
    """The detector over a model's networks.

    Args:
        networks: `faces`, `rnet` and `onet`.
        min_face_px: Side, in pixels of the picture that is searched, of the smallest face that is looked for.

    Returns:
        The detector.
    """
    warm(networks["onet"])
    return CenterFaceDetector(networks["faces"], networks["rnet"], networks["onet"], min_face_px)


def confidence(scores: Reals) -> Floats:
    """Mean scores as confidences, which mean what MTCNN's do, in straight lines: `ANSWERED_SCORE` becomes `MIN_CONFIDENCE`, and
    `CLEAR_SCORE` what a clear face has there.

    Args:
        scores: [N] from 0 to 1.

    Returns:
        [N] from 0 to 1.
    """
    knots = [0, ANSWERED_SCORE, CLEAR_SCORE, 1], [0, MIN_CONFIDENCE, CLEAR_CONFIDENCE, 1]
    return np.interp(scores, *knots).astype(np.float32)


def in_company(faces: list[Face]) -> list[Face]:
    """Confidences that count the other faces in, too: beside one of `CERTAIN` a confidence of `IN_COMPANY` becomes
    `MIN_CONFIDENCE`, and those below and between move along in straight lines.

    Args:
        faces: Of one photo.

    Returns:
        The faces in their order; those of `CERTAIN` and more are as they were, and all are where there is none such.
    """
    if all(face.confidence < CERTAIN for face in faces):
        return faces
    knots = [0, IN_COMPANY, CERTAIN], [0, MIN_CONFIDENCE, CERTAIN]
    return [
        face if face.confidence >= CERTAIN else replace(face, confidence=float(np.interp(face.confidence, *knots)))
        for face in faces
    ]


def _best(probability: Floats, rows: Indices, columns: Indices) -> Indices:
    """Indices of the cells that are kept, the best first: each head has several, and no cell beside a better one may take the
    place of a head of which no other is kept.
    """
    scores = probability[rows, columns]
    if len(scores) <= MAX_CANDIDATES:
        return np.argsort(-scores, kind="stable")
    beside = scores < cv2.dilate(probability, np.ones((3, 3), np.uint8))[rows, columns]
    return np.lexsort((-scores, beside))[:MAX_CANDIDATES]


def _padded(pixels: Pixels) -> Pixels:
    """The picture on the smallest of `CANVASES`, or with grey up to multiples of `DIVISOR`."""
    height, width = pixels.shape[:2]
    larger = (height + -height % DIVISOR, width + -width % DIVISOR)
    canvas = next((one for one in CANVASES if one[0] >= height and one[1] >= width), larger)
    padded = np.full((*canvas, 3), GREY, np.uint8)
    padded[:height, :width] = pixels
    return padded


def _roll(points: Floats) -> Floats:
    """Degrees [N], clockwise, by which faces with landmarks [N, 5, 2] are rolled; 0 where O-Net reads them as they are."""
    degrees = roll(points)
    return np.where(np.abs(degrees) > _UPRIGHT, degrees, 0).astype(np.float32)
