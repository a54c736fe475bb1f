"""P-Net over a pyramid of pictures: every window that it takes for a face, by the shortest way that finds them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from service.arrays import Floats, Pixels
from service.models.runtime import Network
from service.vision.windows import Indices

CELL: Final = 12
"""Side, in pixels, of the window that P-Net judges; it slides by `STRIDE` pixels."""
STRIDE: Final = 2
BLOCK: Final = 2
"""Windows, along each side, of a block that is judged again."""
BLOCK_STEP: Final = BLOCK * STRIDE
"""Pixels from one block to the next, of which the corners of a canvas's pictures are multiples."""
BLOCK_PX: Final = CELL + STRIDE
"""Side, in pixels, of what the windows of a block see."""
MARGIN: Final = 0.1
"""How far a score in quick arithmetic may lie below the threshold and be judged again. See docs/measurements.md."""
DENSE_SHARE: Final = 0.2
"""Share of a picture's blocks above which it is judged again as a whole: that is cheaper then."""
_BATCH: Final = 512
_BATCH_STEP: Final = 32


class Proposals(NamedTuple):
    """Windows of one level that may be faces: their places in P-Net's grid, `rows` and `columns` [N], with `scores` [N] and
    `offsets` [N, 4], in fractions of the window.
    """

    rows: Indices
    columns: Indices
    scores: Floats
    offsets: Floats

    def boxes(self) -> Floats:
        """The windows moved by their offsets, [N, 4] as x0, y0, x1, y1 in pixels of the level.

        Corners are as the mtcnn package cuts them: the first pixel's index + 1 on one side, index + 12 on the other.

        Returns:
            float32.
        """
        corner = np.stack([self.columns, self.rows], axis=1).astype(np.float32) * STRIDE
        return np.asarray(np.concatenate([corner + 1, corner + CELL], axis=1) + self.offsets * (CELL - 1), np.float32)


def best(proposals: Proposals, count: int) -> Proposals:
    """Keep the proposals of the highest scores.

    Args:
        proposals: Any number of them.
        count: Most that are kept.

    Returns:
        No more than `count`.
    """
    if len(proposals.scores) <= count:
        return proposals
    kept = np.argpartition(proposals.scores, -count)[-count:]
    return Proposals(proposals.rows[kept], proposals.columns[kept], proposals.scores[kept], proposals.offsets[kept])


def dense(pnet: Network, level: Pixels, threshold: float) -> Proposals:
    """Judge every window of a level.

    Args:
        pnet: P-Net.
        level: uint8 RGB [h, w, 3], no side below `CELL`.
        threshold: Score that a window needs.

    Returns:
        The windows above it.
    """
    answer = pnet(level[np.newaxis])
    return _passed(answer["probability"][0], answer["offsets"][0], threshold)


def _passed(probability: Floats, offsets: Floats, threshold: float) -> Proposals:
    """The windows of a grid whose score is above the threshold."""
    rows, columns = np.nonzero(probability > threshold)
    return Proposals(rows, columns, probability[rows, columns], offsets[rows, columns])


def proposals(pnet: Network, quick: Network | None, levels: Sequence[Pixels], threshold: float) -> list[Proposals]:
    """Judge every window of a pyramid.

    The largest level takes one call, and the others, as parts of one picture, another: a call of its own costs a small level
    more than its windows. Where there is P-Net in a quicker arithmetic, it judges first, and P-Net judges again what that one
    does not rule out, to the same scores and offsets as in the level.

    Args:
        pnet: P-Net.
        quick: P-Net in an arithmetic that rounds more, or None.
        levels: uint8 RGB [h, w, 3] each, no side below `CELL`, from large to small.
        threshold: Score that a window needs.

    Returns:
        The windows above it, by level.
    """
    found: list[Proposals] = []
    for group in (levels[:1], levels[1:]):
        if quick is not None and group:
            found += _twice(pnet, quick, group, threshold)
        elif len(group) == 1:
            found.append(dense(pnet, group[0], threshold))
        elif group:
            found += _together(pnet, group, threshold)
    return found


def _together(pnet: Network, levels: Sequence[Pixels], threshold: float) -> list[Proposals]:
    """The windows of several levels, by one call."""
    corners, canvas = packed(levels)
    answer = pnet(canvas[np.newaxis])
    found = []
    for corner, level in zip(corners, levels, strict=True):
        top, left = corner[0] // STRIDE, corner[1] // STRIDE
        high, wide = (_windows(side) for side in level.shape[:2])
        place = 0, slice(top, top + high), slice(left, left + wide)
        found.append(_passed(answer["probability"][place], answer["offsets"][place], threshold))
    return found


def _twice(pnet: Network, quick: Network, levels: Sequence[Pixels], threshold: float) -> list[Proposals]:
    """The windows of several levels that P-Net passes, out of the blocks that it does not rule out in quick arithmetic."""
    corners, canvas = packed(levels)
    likely = quick(canvas[np.newaxis])["probability"][0] > threshold - MARGIN
    high, wide = (side // BLOCK * BLOCK for side in likely.shape)
    blocks = np.zeros((high // BLOCK, wide // BLOCK), dtype=bool)
    for row, column in np.ndindex(BLOCK, BLOCK):
        blocks |= likely[row:high:BLOCK, column:wide:BLOCK]
    whole: dict[int, Proposals] = {}
    places, members = [np.empty((0, 2), np.intp)], [np.empty(0, np.intp)]
    for index, (corner, level) in enumerate(zip(corners, levels, strict=True)):
        top, left = corner[0] // BLOCK_STEP, corner[1] // BLOCK_STEP
        high, wide = (-(-_windows(side) // BLOCK) for side in level.shape[:2])
        again = np.argwhere(blocks[top : top + high, left : left + wide])
        if len(again) > max(_BATCH, DENSE_SHARE * high * wide):
            whole[index] = dense(pnet, level, threshold)
        else:
            places.append(again + np.array([top, left], np.intp))
            members.append(np.full(len(again), index))
    passed = _judged(pnet, canvas, np.concatenate(places), np.concatenate(members), threshold)
    return [
        whole[index] if index in whole else _of_level(passed, index, corner, level)
        for index, (corner, level) in enumerate(zip(corners, levels, strict=True))
    ]


def packed(levels: Sequence[Pixels]) -> tuple[list[tuple[int, int]], Pixels]:
    """Lay out pictures on one canvas.

    Args:
        levels: uint8 RGB [h, w, 3] each, from large to small.

    Returns:
        The top left corner of each, multiples of `BLOCK_STEP`, and the canvas, uint8 [H, W, 3]: as wide as the widest picture,
        grey where nothing is, with room for the last block. A picture of odd sides repeats its last row and column, where
        P-Net's outermost windows reach beyond it.
    """
    sizes = [tuple(-(-side // BLOCK_STEP) * BLOCK_STEP for side in level.shape[:2]) for level in levels]
    width, height = max(wide for _, wide in sizes), 0
    free: list[tuple[int, int, int, int]] = []
    corners = []
    for high, wide in sizes:
        fitting = [place for place in free if place[2] >= high and place[3] >= wide]
        if fitting:
            top, left, room, breadth = fitting[0]
            free.remove(fitting[0])
        else:
            top, left, room, breadth = height, 0, high, width
            height += high
        corners.append((top, left))
        free += [(top, left + wide, high, breadth - wide), (top + high, left, room - high, breadth)]
    canvas = np.full((height + BLOCK_STEP, width + BLOCK_STEP, 3), 128, np.uint8)
    for (top, left), level in zip(corners, levels, strict=True):
        high, wide = level.shape[:2]
        part = canvas[top:, left:]
        part[:high, :wide] = level
        if high % 2:
            part[high, :wide] = level[-1]
        if wide % 2:
            part[: high + high % 2, wide] = part[: high + high % 2, wide - 1]
    return corners, canvas


def _windows(side: int) -> int:
    """How many windows P-Net judges along a side of so many pixels."""
    return -(-(side - 2) // STRIDE) - 4


def _judged(pnet: Network, canvas: Pixels, blocks: Indices, members: Indices, threshold: float) -> tuple[Indices, Proposals]:
    """Windows of the blocks [N, 2] that P-Net passes, at their places on the canvas; and the `members` [N] that they are of."""
    grid = ((side - BLOCK_PX) // BLOCK_STEP + 1 for side in canvas.shape[:2])
    strides = (BLOCK_STEP * canvas.strides[0], BLOCK_STEP * canvas.strides[1], *canvas.strides)
    views = np.lib.stride_tricks.as_strided(canvas, (*grid, BLOCK_PX, BLOCK_PX, 3), strides, writeable=False)
    probabilities, offsets = [np.empty((0, BLOCK, BLOCK), np.float32)], [np.empty((0, BLOCK, BLOCK, 4), np.float32)]
    for start in range(0, len(blocks), _BATCH):
        group = blocks[start : start + _BATCH]
        patches = np.zeros((len(group) + -len(group) % _BATCH_STEP, BLOCK_PX, BLOCK_PX, 3), np.uint8)
        patches[: len(group)] = views[group[:, 0], group[:, 1]]
        answer = pnet(patches)
        probabilities.append(answer["probability"][: len(group)])
        offsets.append(answer["offsets"][: len(group)])
    probability = np.concatenate(probabilities)
    block, row, column = np.nonzero(probability > threshold)
    rows, columns = blocks[block, 0] * BLOCK + row, blocks[block, 1] * BLOCK + column
    return members[block], Proposals(
        rows, columns, probability[block, row, column], np.concatenate(offsets)[block, row, column]
    )


def _of_level(passed: tuple[Indices, Proposals], index: int, corner: tuple[int, int], level: Pixels) -> Proposals:
    """The windows of one level, at their places in it; a block at its edge reaches beyond it."""
    members, found = passed
    rows, columns = found.rows - corner[0] // STRIDE, found.columns - corner[1] // STRIDE
    high, wide = (_windows(side) for side in level.shape[:2])
    mine = np.flatnonzero((members == index) & (rows < high) & (columns < wide))
    return Proposals(rows[mine], columns[mine], found.scores[mine], found.offsets[mine])
