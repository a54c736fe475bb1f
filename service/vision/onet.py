"""MTCNN's last network, O-Net, on views of boxes: how certain a face is, its landmarks and its box.

Any detector's boxes may be read so. Crops are then placed by the landmarks that the attribute models were trained with.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from service.arrays import Bools, Floats, Pixels
from service.models.runtime import Network
from service.vision.windows import MAX_PATCHES, HalvedPicture, Reals, rotated, square

SMALL_BATCH: Final = 16
"""Up to so many patches batches of R-Net and O-Net are 1 or even, for a patch of padding costs what a face's does."""
BATCH_STEP: Final = 8
"""Larger batches are multiples of it."""
MAX_BATCH: Final = {24: 32, 48: 16}
"""Most patches of one batch, by their side: more are hardly faster, and the runtime keeps the memory that a batch takes."""
SMALL_PX: Final = 64.0
"""Side, in pixels of the picture that is searched, below which a box is small: nearly all false faces are."""
SMALL_FACTOR: Final = np.float32(2)
"""Factor by which a small box's distance from full confidence is multiplied."""
_MIRRORED_ORDER: Final = [1, 0, 2, 4, 3]  # order of the landmarks in a mirror image


class Views(NamedTuple):
    """Views of a box: `places` [V, 3], their shift in x and y and their size, in sides of the box; those `mirrored` [V]."""

    places: Floats
    mirrored: Bools


ONE_VIEW: Final = Views(np.array([[0, 0, 1]], np.float32), np.array([False]))
VIEWS: Final = Views(
    np.array([[0, 0, 1], [-0.06, 0, 1], [0.06, 0, 1], [0, -0.06, 1], [0, 0.06, 1], [0, 0, 1.12]], np.float32),
    np.array([True, False, True, False, True, False]),
)
"""By which every face is confirmed."""
WIDER_VIEWS: Final = Views(
    np.array(
        [
            *([0, 0, 1.25], [0.1, 0.1, 1], [-0.1, -0.1, 1.1], [0.1, -0.1, 1.1]),
            *([-0.1, 0.1, 1], [0, 0, 0.9], [0, 0.12, 1.12], [0, -0.12, 1.12]),
        ],
        np.float32,
    ),
    np.array([False, True, False, True, False, True, False, True]),
)
"""By which a face of the second look is confirmed too: what is no face loses its confidence there."""
MAX_MISALIGNMENT: Final = 15.0
"""Degrees of roll that a face may have in its window."""


def confirm(
    onet: Network, picture: HalvedPicture, boxes: Floats, views: Views, degrees: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """Mean confidence [N], landmarks [N, 5, 2] and boxes [N, 4] over views of each box, some of them mirrored.

    A face keeps its confidence a few pixels further and mirrored; a false one seldom does. The boxes of windows that are
    turned by `degrees` are turned like them.

    Args:
        onet: O-Net, from uint8 [N, 48, 48, 3] to `probability`, `landmarks` and `offsets`.
        picture: What the boxes are in.
        boxes: [N, 4] as x0, y0, x1, y1; their squares are read.
        views: How each box is read.
        degrees: By how much each window is turned clockwise about its centre, [N]; None for none.

    Returns:
        Confidence, landmarks and boxes.
    """
    squares = square(boxes)
    side = squares[:, 2:3] - squares[:, :1]
    centre = (squares[:, :2] + squares[:, 2:]) / 2
    centres = centre[:, np.newaxis] + views.places[:, :2] * side[:, np.newaxis]
    halves = np.broadcast_to(views.places[:, 2:] * side[:, np.newaxis] / 2, centres.shape)
    upright = boxes_about(centres, halves).reshape(-1, 4)
    mirrored = np.tile(views.mirrored, len(boxes))
    if degrees is None:
        answer = in_batches(onet, picture, upright, 48, mirrored)
    else:
        windows = boxes_about(rotated(centres, centre, degrees), halves).reshape(-1, 4)
        answer = in_batches(onet, picture, windows, 48, mirrored, np.repeat(degrees, len(views.mirrored)))
    points = answer["landmarks"].reshape(-1, 2, 5)
    swapped = points[mirrored][:, :, _MIRRORED_ORDER]
    swapped[:, 0] = 1 - swapped[:, 0]
    points[mirrored] = swapped
    offsets = answer["offsets"].copy()
    offsets[mirrored] = offsets[mirrored][:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32)
    shape = (len(boxes), len(views.mirrored))
    scores = answer["probability"].reshape(shape).mean(axis=1, dtype=np.float32)
    landmarks = landmarks_in(upright, points.reshape(-1, 10)).reshape(*shape, 5, 2).mean(axis=1, dtype=np.float32)
    means = regress(upright, offsets).reshape(*shape, 4).mean(axis=1, dtype=np.float32)
    if degrees is not None:
        landmarks = rotated(landmarks, centre, degrees)
        means = boxes_about(rotated((means[:, :2] + means[:, 2:]) / 2, centre, degrees), (means[:, 2:] - means[:, :2]) / 2)
    return scores, landmarks, means


def warm(onet: Network) -> None:
    """Run the batches of one face, so that the first photo does not wait while the runtime prepares itself for them.

    Args:
        onet: O-Net, as `confirm` takes it.
    """
    blank, box = HalvedPicture(np.zeros((48, 48, 3), np.uint8)), np.array([[0, 0, 47, 47]], np.float32)
    for views in (ONE_VIEW, VIEWS):
        confirm(onet, blank, box, views)


def doubled(scores: Reals, boxes: Floats) -> Floats:
    """Mean confidences as they are answered: a small box's distance from full confidence counts `SMALL_FACTOR` times, because
    the false faces that keep their confidence are small.

    Args:
        scores: Mean confidences [N].
        boxes: [N, 4] as x0, y0, x1, y1.

    Returns:
        Confidences [N] from 0 to 1.
    """
    small = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) < SMALL_PX
    return np.clip(1 - np.where(small, SMALL_FACTOR, np.float32(1)) * (1 - scores), 0, 1).astype(np.float32)


def roll(landmarks: Floats) -> Floats:
    """How eyes slope.

    Args:
        landmarks: [N, 5, 2] as x, y.

    Returns:
        Degrees, clockwise, [N], from -180 to 180.
    """
    x, y = (landmarks[:, 1] - landmarks[:, 0]).T
    return np.asarray(np.rad2deg(np.arctan2(y, x)), np.float32)


def upright_angle(points: Floats, degrees: Floats) -> Floats:
    """Slopes of the eyes [N], clockwise, of landmarks [N, 5, 2]; an angle stays that this would change by less than
    `MAX_MISALIGNMENT`, for O-Net is as certain then, or by more than 60 degrees, for such landmarks are none.

    Args:
        points: [N, 5, 2] as x, y.
        degrees: Angles [N] of the windows in which they were found.

    Returns:
        Angles [N] of windows in which the faces stand upright.
    """
    change = (roll(points) - degrees + 180) % 360 - 180
    return np.asarray(
        np.where((np.abs(change) >= MAX_MISALIGNMENT) & (np.abs(change) <= 60), degrees + change, degrees), np.float32
    )


def boxes_about(centres: Reals, halves: Reals) -> Floats:
    """Boxes by their middles.

    Args:
        centres: [..., 2] as x, y.
        halves: Half of the width and of the height, [..., 2].

    Returns:
        [..., 4] as x0, y0, x1, y1.
    """
    return np.concatenate([centres - halves, centres + halves], axis=-1).astype(np.float32, copy=False)


def quarter_turned_boxes(boxes: Floats) -> Floats:
    """Exchange width and height about the centres.

    Args:
        boxes: [N, 4] as x0, y0, x1, y1.

    Returns:
        [N, 4].
    """
    return boxes_about((boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2])[:, ::-1] / 2)


def in_batches(
    network: Network,
    picture: HalvedPicture,
    boxes: Floats,
    side: int,
    mirrored: Bools | None = None,
    degrees: Floats | None = None,
) -> dict[str, Floats]:
    """Outputs for any number of boxes of a picture.

    No more than `MAX_PATCHES` are held at a time, and no more than `MAX_BATCH` says are in a batch, so that a crowd takes the
    memory of these.

    Args:
        network: R-Net or O-Net.
        picture: What the boxes are in.
        boxes: [N, 4] as x0, y0, x1, y1, one or more.
        side: Of the network's input, in pixels.
        mirrored: Patches that are flipped from left to right, [N]; None for none.
        degrees: By how much each window is turned clockwise, [N]; None for none.

    Returns:
        The network's outputs by name, N rows each.
    """
    answers = []
    for start in range(0, len(boxes), MAX_PATCHES):
        group = slice(start, start + MAX_PATCHES)
        patches = picture.patches(boxes[group], side, None if degrees is None else degrees[group])
        if mirrored is not None:
            flipped = mirrored[group]
            patches[flipped] = patches[flipped, :, ::-1]
        answers += [_padded(network, patches[one : one + MAX_BATCH[side]]) for one in range(0, len(patches), MAX_BATCH[side])]
    if len(answers) == 1:
        return answers[0]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _padded(network: Network, patches: Pixels) -> dict[str, Floats]:
    """Outputs for a batch of patches, padded to one of few sizes: a runtime prepares itself for every size that it meets, and
    keeps what it prepared.
    """
    count = len(patches)
    step = 1 if count == 1 else 2 if count <= SMALL_BATCH else BATCH_STEP
    size = count + -count % step
    if size == count:
        return network(patches)
    padding = np.zeros((size - count, *patches.shape[1:]), np.uint8)
    return {name: values[:count] for name, values in network(np.concatenate([patches, padding])).items()}


def regress(boxes: Floats, offsets: Floats) -> Floats:
    """Move boxes by the network's offsets.

    Args:
        boxes: [N, 4] as x0, y0, x1, y1.
        offsets: [N, 4] in fractions of the box.

    Returns:
        [N, 4].
    """
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return np.asarray(boxes + offsets * np.concatenate([size, size], axis=1))


def landmarks_in(boxes: Floats, points: Floats) -> Floats:
    """Landmarks in pixels.

    Args:
        boxes: [N, 4] as x0, y0, x1, y1.
        points: O-Net's five x and five y, [N, 10], in fractions of the box.

    Returns:
        [N, 5, 2] as x, y.
    """
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return np.stack([points[:, :5], points[:, 5:]], axis=2) * size[:, np.newaxis] + boxes[:, np.newaxis, :2] - 1
