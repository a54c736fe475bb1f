"""The MTCNN cascade (Zhang et al., "Joint face detection and alignment using multi-task cascaded convolutional networks",
IEEE SPL 2016): pyramid, proposals, two refinements, landmarks. Its three networks come from the model store.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Floats, Pixels
from service.models.runtime import Network
from service.vision.detection import MIN_CONFIDENCE, MIN_FACE_PX, Face

CELL: Final = 12
"""Side, in pixels, of the window that P-Net judges; it slides by `STRIDE` pixels."""
STRIDE: Final = 2
MAX_CANDIDATES: Final = 2500
"""Best proposals of one pyramid level that are kept: more than a crowd has; noise could give any number of them."""
SCALE_FACTOR: Final = math.sqrt(0.5)
"""Ratio of two neighbouring levels; the mtcnn package's is 0.709."""
BATCH_STEP: Final = 16
"""Batches of R-Net and O-Net are multiples of this."""
MAX_BATCH: Final = 128
"""Most patches of one batch: more are no faster, and the runtime keeps the memory that a batch takes."""
_OVERLAP_PAIRS: Final = 2**20
"""Most pairs of boxes that are compared at once, so that memory stays bounded."""
_HEADROOM: Final = 4
SMALL_PX: Final = 64.0
"""Side, in pixels of the picture that is searched, below which a box is small: nearly all false faces are."""
SMALL_FACTOR: Final = np.float32(2)
"""Factor by which a small box's distance from full confidence is multiplied."""
_MIRRORED_ORDER: Final = [1, 0, 2, 4, 3]  # order of the landmarks in a mirror image
_VIEWS: Final = np.array([[0, 0, 1], [-0.06, 0, 1], [0.06, 0, 1], [0, -0.06, 1], [0, 0.06, 1], [0, 0, 1.12]], dtype=np.float32)
"""Shift in x and y and size, in sides of the box, of the views by which a face is confirmed."""
_MIRRORED_VIEWS: Final = np.array([True, False, True, False, True, False])
"""Which of the views are mirrored."""
_GREY: Final = (127.5, 127.5, 127.5)  # what lies outside the photo: zero, once the networks have scaled their input


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

SECOND_PASS: Final = Thresholds(proposal=0.3, refinement=0.15, output=0.15)
"""For a picture in which no face was found: P-Net often rejects babies, and faces behind a hand or cut by the picture's edge.
The mean over several views still decides. See docs/measurements.md."""
SECOND_PASS_MIN_FACE: Final = 48.0
"""Side of the second pass's smallest face, in pixels of the picture that is searched: so it costs what the first did."""
_MARGIN: Final = 0.3
_TURNS: Final = (25.0, -25.0)
"""Width of the margin, in shorter sides, and degrees of the turns, which the second pass tries until it finds a face."""
_UPRIGHT_CONFIDENCE: Final = 0.99
"""Confidence from which a face counts as upright: hardly any on its side or upside down reaches it."""
_ROTATED_CONFIDENCE: Final = 0.9
"""Confidence that a face needs that is found only after a quarter turn; nearly all upright faces reach it, no false one did."""
COARSE: Final = Thresholds(proposal=0.7, refinement=0.8, output=0.8)
"""For the orientation of a picture, which its most confident face decides: half the work of the usual ones."""
_QUARTERS: Final = (1, 3, 2)
"""Counterclockwise, the order in which a picture is turned: on its side is more frequent than on its head."""


@dataclass(frozen=True, slots=True)
class MtcnnDetector:
    """MTCNN over three networks: `pnet` (any size), `rnet` (24 by 24), `onet` (48 by 48), all uint8 RGB in.

    `min_face` is the side in pixels of the smallest face that is looked for; `scale_factor` the ratio between two levels of
    the pyramid.
    """

    pnet: Network
    rnet: Network
    onet: Network
    min_face: float = MIN_FACE_PX
    scale_factor: float = SCALE_FACTOR
    thresholds: Thresholds = Thresholds()

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find the faces of a picture; several threads may call it at once.

        Where no face reaches `MIN_CONFIDENCE`, a second pass has lower thresholds, a margin and turned copies. Where faces are
        more certain after a quarter turn, the turned picture's are the answer.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            Faces in pixels of the array; boxes may reach outside it.
        """
        faces = self.cascade(pixels)
        if self.thresholds.confirmation is None:
            return faces
        if not _confident(faces):
            faces = self._second_pass(pixels) or faces
        quarters = self._quarters(pixels, _confident(faces))
        if quarters:
            copy, back = quarter_turned(pixels, quarters)
            upright = self.cascade(copy)
            if _confident(upright):
                return [_moved(face, back) for face in upright]
        return faces

    def _second_pass(self, pixels: Pixels) -> list[Face]:
        """Confident faces of the first variant of the picture that has one."""
        second = replace(self, thresholds=SECOND_PASS, min_face=max(self.min_face, SECOND_PASS_MIN_FACE))
        for copy, back in variants(pixels):
            found = _confident(second.cascade(copy))
            if found:
                return [_moved(face, back) for face in found]
        return []

    def _quarters(self, pixels: Pixels, faces: list[Face]) -> int:
        """Quarter turns, counterclockwise, after which the highest confidence is a quarter nearer to 1 than these faces', or,
        where there are none, above `_ROTATED_CONFIDENCE`; 0 where it is not.

        Faces of less than half the largest one's side are not looked for: that is quick, and enough to know.
        """
        upright = max((face.confidence for face in faces), default=0.0)
        if upright >= _UPRIGHT_CONFIDENCE:
            return 0
        best, quarters = 1 - 0.75 * (1 - upright) if faces else _ROTATED_CONFIDENCE, 0
        side = max((float((face.box[2:] - face.box[:2]).max()) for face in faces), default=2 * SECOND_PASS_MIN_FACE)
        coarse = replace(self, thresholds=COARSE, min_face=max(self.min_face, side / 2))
        for turn in _QUARTERS:
            found = coarse.cascade(quarter_turned(pixels, turn)[0])
            highest = max((face.confidence for face in found), default=0.0)
            if highest > best:
                best, quarters = highest, turn
        return quarters

    def cascade(self, pixels: Pixels) -> list[Face]:
        """Run the cascade once, with these thresholds and without a second pass.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            Faces in pixels of the array; boxes may reach outside it.
        """
        limits = self.thresholds
        boxes = self._propose(pixels)
        if len(boxes) == 0:
            return []
        picture = _HalvedPicture(pixels)
        refined = _in_batches(self.rnet, picture, boxes, 24)
        scores, boxes = refined["probability"], _regress(boxes, refined["offsets"])
        keep = _suppress(boxes, scores, scores > limits.refinement, limits.overlap_refinement)
        if len(keep) == 0:
            return []
        boxes = _square(boxes[keep])
        final = _in_batches(self.onet, picture, boxes, 48)
        scores, points, boxes = final["probability"], _landmarks(boxes, final["landmarks"]), _regress(boxes, final["offsets"])
        keep = _suppress(boxes, scores, scores > limits.output, limits.overlap_output, smaller=True)
        if len(keep) == 0:
            return []
        boxes, scores, points = boxes[keep], scores[keep], points[keep]
        if limits.confirmation is not None:
            scores, points, boxes = self._confirm(picture, boxes)
        floor = limits.confirmation or 0.0
        return [
            Face(box, landmarks, float(score))
            for box, landmarks, score in zip(boxes, points, scores, strict=True)
            if score >= floor
        ]

    def _confirm(self, picture: _HalvedPicture, boxes: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean confidence [N], landmarks [N, 5, 2] and boxes [N, 4] over `_VIEWS` of each box, half of them mirrored.

        A face keeps its confidence a few pixels further and mirrored; a false one seldom does. Those that still do are small,
        so that a small face's distance from full confidence counts `SMALL_FACTOR` times.
        """
        squares = _square(boxes)
        side = squares[:, 2:3] - squares[:, :1]
        centre = (squares[:, :2] + squares[:, 2:]) / 2
        centres = centre[:, np.newaxis] + _VIEWS[:, :2] * side[:, np.newaxis]
        halves = np.broadcast_to(_VIEWS[:, 2:] * side[:, np.newaxis] / 2, centres.shape)
        views = np.concatenate([centres - halves, centres + halves], axis=2).reshape(-1, 4)
        turned = np.tile(_MIRRORED_VIEWS, len(boxes))
        answer = _in_batches(self.onet, picture, views, 48, mirrored=turned)
        points = answer["landmarks"].reshape(-1, 2, 5)
        mirrored = points[turned][:, :, _MIRRORED_ORDER]
        mirrored[:, 0] = 1 - mirrored[:, 0]
        points[turned] = mirrored
        offsets = answer["offsets"].copy()
        offsets[turned] = offsets[turned][:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32)
        shape = (len(boxes), len(_VIEWS))
        means = _regress(views, offsets).reshape(*shape, 4).mean(axis=1, dtype=np.float32)
        distance = 1 - answer["probability"].reshape(shape).mean(axis=1, dtype=np.float32)
        small = (means[:, 2:] - means[:, :2]).min(axis=1) < SMALL_PX
        return (
            np.clip(1 - np.where(small, SMALL_FACTOR * distance, distance), 0, 1).astype(np.float32),
            _landmarks(views, points.reshape(-1, 10)).reshape(*shape, 5, 2).mean(axis=1, dtype=np.float32),
            means,
        )

    def _propose(self, pixels: Pixels) -> Floats:
        """P-Net's square proposals over the whole pyramid, [N, 4]."""
        limits = self.thresholds
        found: list[Floats] = []
        confidences: list[Floats] = []
        for scale, level in pyramid(pixels, self.min_face, self.scale_factor):
            answer = self.pnet(level[np.newaxis])
            probability, offsets = answer["probability"][0], answer["offsets"][0]
            rows, columns = np.nonzero(probability > limits.proposal)
            scores = probability[rows, columns]
            if len(scores) > MAX_CANDIDATES:
                best = np.argpartition(scores, -MAX_CANDIDATES)[-MAX_CANDIDATES:]
                rows, columns, scores = rows[best], columns[best], scores[best]
            corner = np.stack([columns, rows], axis=1).astype(np.float32) * STRIDE
            # Corners as the package cuts them: the first pixel's index + 1 on one side, index + 12 on the other.
            boxes = np.concatenate([corner + 1, corner + CELL], axis=1) + offsets[rows, columns] * (CELL - 1)
            boxes /= np.float32(scale)
            keep = _suppress(boxes, scores, scores > 0, limits.overlap_level)
            found.append(boxes[keep])
            confidences.append(scores[keep])
        if not found:
            return np.empty((0, 4), np.float32)
        boxes, scores = np.concatenate(found), np.concatenate(confidences)
        return _square(boxes[_suppress(boxes, scores, scores > 0, limits.overlap_proposal)])


def create(networks: Mapping[str, Network], min_face_px: float) -> MtcnnDetector:
    """The cascade over a detector model's networks.

    Args:
        networks: `pnet`, `rnet` and `onet`.
        min_face_px: Side, in pixels of the picture that is searched, of the smallest face that is looked for.

    Returns:
        The detector.
    """
    return MtcnnDetector(networks["pnet"], networks["rnet"], networks["onet"], min_face_px)


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
                source = _resize(source, source.shape[1] // 2, source.shape[0] // 2)
                halved /= 2
            double = source
        levels.append((scale, _resize(double, *size)))
        scale *= factor
    return levels


def _confident(faces: list[Face]) -> list[Face]:
    return [face for face in faces if face.confidence >= MIN_CONFIDENCE]


def variants(pixels: Pixels) -> Iterator[tuple[Pixels, Floats]]:
    """Versions of a picture for a second pass: as it is, inside a margin that repeats its edge, and turned.

    Args:
        pixels: uint8 RGB [H, W, 3].

    Yields:
        Pixels, uint8 [h, w, 3], and the map float32 [2, 3] of their coordinates back to the picture's.
    """
    yield pixels, np.eye(2, 3, dtype=np.float32)
    height, width = pixels.shape[:2]
    margin = round(_MARGIN * min(height, width))
    wider = cv2.copyMakeBorder(pixels, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    yield wider.astype(np.uint8, copy=False), np.array([[1, 0, -margin], [0, 1, -margin]], np.float32)
    for degrees in _TURNS:
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
        turned = cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        yield turned.astype(np.uint8, copy=False), cv2.invertAffineTransform(turn).astype(np.float32)


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


def _moved(face: Face, back: Floats) -> Face:
    """The face by a map [2, 3] without a change of size; the box keeps its sides, about its centre's new place, but for
    quarter turns, which change its width with its height.
    """
    centre, half = (face.box[:2] + face.box[2:]) / 2, (face.box[2:] - face.box[:2]) / 2
    centre, half = back[:, :2] @ centre + back[:, 2], np.abs(np.rint(back[:, :2])) @ half
    return Face(np.concatenate([centre - half, centre + half]), face.landmarks @ back[:, :2].T + back[:, 2], face.confidence)


def _resize(pixels: Pixels, width: int, height: int) -> Pixels:
    if (height, width) == pixels.shape[:2]:
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


class _HalvedPicture:
    """A picture and its copies of a half, a quarter and so on of the size, each made on first use."""

    def __init__(self, pixels: Pixels) -> None:
        self._copies = [pixels]

    def patches(self, boxes: Floats, side: int) -> Pixels:
        """Square boxes [N, 4] of the picture as [N, side, side, 3]; grey outside it.

        A box of more than twice `side` is sampled from a copy of the picture halved as often as fits: the networks are surer
        of a face that does not alias.
        """
        pixels = self._copies[0]
        patches = np.empty((len(boxes), side, side, 3), np.uint8)
        halvings = np.floor(np.log2(np.maximum((boxes[:, 2] - boxes[:, 0]) / side, 1))).astype(np.int64)
        for level in np.unique(halvings):
            source = self._halved(int(level))
            members = np.flatnonzero(halvings == level)
            ratio = np.array([source.shape[1] / pixels.shape[1], source.shape[0] / pixels.shape[0]] * 2, np.float32)
            patches[members] = _sampled(source, boxes[members] * ratio, side)
        return patches

    def _halved(self, times: int) -> Pixels:
        """The copy that was halved so often, or as often as leaves it a pixel of each side."""
        while len(self._copies) <= times:
            source = self._copies[-1]
            small = min(source.shape[:2]) < 2
            self._copies.append(source if small else _resize(source, source.shape[1] // 2, source.shape[0] // 2))
        return self._copies[times]


def _in_batches(
    network: Network, picture: _HalvedPicture, boxes: Floats, side: int, mirrored: Bools | None = None
) -> dict[str, Floats]:
    """Outputs for any number of boxes [N, 4] of a picture; those of `mirrored` are flipped from left to right.

    No more than `MAX_BATCH` patches are held at a time, so that a crowd takes the memory of one batch.
    """
    answers = []
    for start in range(0, len(boxes), MAX_BATCH):
        group = slice(start, start + MAX_BATCH)
        patches = picture.patches(boxes[group], side)
        if mirrored is not None:
            turned = mirrored[group]
            patches[turned] = patches[turned, :, ::-1]
        answers.append(_in_steps(network, patches))
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _in_steps(network: Network, patches: Pixels) -> dict[str, Floats]:
    """Outputs for a batch of patches, padded to a multiple of `BATCH_STEP`: a runtime prepares itself for every size that it
    meets, and keeps what it prepared.
    """
    count = len(patches)
    padding = np.zeros((-count % BATCH_STEP, *patches.shape[1:]), np.uint8)
    return {name: values[:count] for name, values in network(np.concatenate([patches, padding])).items()}


def _sampled(pixels: Pixels, boxes: Floats, side: int) -> Pixels:
    """Bilinear samples [N, side, side, 3] of at most `MAX_BATCH` boxes [N, 4], corner to corner, in one call."""
    height, width = pixels.shape[:2]
    steps = np.linspace(0, 1, side, dtype=np.float32)
    # The package samples on the grid of tf.image.crop_and_resize, whose unit is the side less one.
    xs = (boxes[:, 0:1] + steps * (boxes[:, 2:3] - boxes[:, 0:1])) * np.float32((width - 1) / width)
    ys = (boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])) * np.float32((height - 1) / height)
    shape = (len(boxes), side, side)
    map_x = np.ascontiguousarray(np.broadcast_to(xs[:, np.newaxis, :], shape)).reshape(-1, side)
    map_y = np.ascontiguousarray(np.broadcast_to(ys[:, :, np.newaxis], shape)).reshape(-1, side)
    sampled = cv2.remap(pixels, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_GREY)
    return sampled.reshape(*shape, 3).astype(np.uint8, copy=False)


def _regress(boxes: Floats, offsets: Floats) -> Floats:
    """Boxes moved by the network's offsets, which are in fractions of the box."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return np.asarray(boxes + offsets * np.concatenate([size, size], axis=1))


def _landmarks(boxes: Floats, points: Floats) -> Floats:
    """O-Net's five x and five y, in fractions of the box, as [N, 5, 2] in pixels."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return np.stack([points[:, :5], points[:, 5:]], axis=2) * size[:, np.newaxis] + boxes[:, np.newaxis, :2] - 1


def _square(boxes: Floats) -> Floats:
    """Boxes widened to squares about their centres: the networks see squares."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _suppress(boxes: Floats, scores: Floats, passed: Bools, overlap: float, *, smaller: bool = False) -> npt.NDArray[np.intp]:
    """Indices, best first, of the boxes that passed and that no better one covers by more than `overlap`.

    Overlap is intersection over union, or over the smaller box. As in the mtcnn package, a box yields to any better one,
    to one that itself yielded too, so the whole is one matrix and no loop.
    """
    order = np.flatnonzero(passed)
    order = order[np.argsort(-scores[order], kind="stable")]
    chosen = boxes[order]
    area = (chosen[:, 2] - chosen[:, 0]) * (chosen[:, 3] - chosen[:, 1])
    covered = np.zeros(len(order), dtype=bool)
    rows = max(16, _OVERLAP_PAIRS // max(1, len(order)))  # in bands: the matrix must not grow with the square of the boxes
    for start in range(0, len(order), rows):
        band = slice(start, start + rows)
        one, rest = chosen[band, np.newaxis], chosen[np.newaxis, start:]
        width = np.minimum(one[..., 2], rest[..., 2]) - np.maximum(one[..., 0], rest[..., 0])
        height = np.minimum(one[..., 3], rest[..., 3]) - np.maximum(one[..., 1], rest[..., 1])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        pair = area[band, np.newaxis], area[np.newaxis, start:]
        whole = np.minimum(*pair) if smaller else pair[0] + pair[1] - shared
        covered[start:] |= np.triu(shared > overlap * whole, k=1).any(axis=0)
    return order[~covered]
