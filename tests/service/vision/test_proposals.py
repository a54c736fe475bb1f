"""P-Net's windows over several levels: the same as level by level, however they are judged."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.models.runtime import Network
from service.vision.detection.mtcnn import SCALE_FACTOR, pyramid
from service.vision.image import decode
from service.vision.proposals import BLOCK_STEP, CELL, Proposals, best, dense, packed, proposals

Pixels = npt.NDArray[np.uint8]
Outputs = dict[str, npt.NDArray[np.float32]]

THRESHOLD = 0.5


class Rounded:
    """P-Net whose scores are off by up to 0.05, as those of a quicker arithmetic; it remembers how often it was called."""

    precision = "bf16"

    def __init__(self, network: Network, offset: float = 0.0) -> None:
        self.network, self.offset, self.calls = network, offset, 0

    def __call__(self, batch: Pixels) -> Outputs:
        self.calls += 1
        answer = self.network(batch)
        noise = np.random.default_rng(0).uniform(-0.05, 0.05, answer["probability"].shape) + self.offset
        return answer | {"probability": (answer["probability"] + noise).astype(np.float32)}


class Counted:
    """A network that remembers the shapes it was fed."""

    precision = "f32"

    def __init__(self, network: Network) -> None:
        self.network, self.shapes = network, list[tuple[int, ...]]()

    def __call__(self, batch: Pixels) -> Outputs:
        self.shapes.append(batch.shape)
        return self.network(batch)


@pytest.fixture(scope="module", params=[(256, 256), (301, 200), (131, 403)], ids=str)
def levels(request: pytest.FixtureRequest, examples: Path) -> list[Pixels]:
    """The pyramid of a part of the group, whose levels have even and odd sides."""
    height, width = request.param
    photo = decode((examples / "group.jpg").read_bytes(), max_pixels=10**7, side=10**4).pixels[200:1000:2, 200:1700:2]
    return [level for _, level in pyramid(np.ascontiguousarray(photo[:height, :width]), 24, SCALE_FACTOR)]


def by_place(found: Proposals, level: Pixels) -> dict[tuple[int, int], tuple[float, ...]]:
    """Score and offsets by row and column, of the windows that lie in the level whole."""
    inside = (found.rows * 2 + CELL <= level.shape[0]) & (found.columns * 2 + CELL <= level.shape[1])
    rows, columns = found.rows[inside].tolist(), found.columns[inside].tolist()
    values = np.concatenate([found.scores[inside, np.newaxis], found.offsets[inside]], axis=1)
    return dict(zip(zip(rows, columns, strict=True), map(tuple, values.tolist()), strict=True))


def assert_as_level_by_level(pnet: Network, levels: list[Pixels], found: list[Proposals]) -> None:
    assert len(found) == len(levels)
    total = 0
    for level, windows in zip(levels, found, strict=True):
        expected, given = by_place(dense(pnet, level, THRESHOLD), level), by_place(windows, level)
        assert given.keys() == expected.keys()
        total += len(given)
        for place, values in expected.items():
            assert given[place] == pytest.approx(values, abs=1e-4)
        assert (windows.rows * 2 + CELL <= level.shape[0] + 1).all(), "no window lies in another level"
        assert (windows.columns * 2 + CELL <= level.shape[1] + 1).all()
    assert total > 10


def test_levels_judged_together_are_judged_as_alone(mtcnn_networks: Mapping[str, Network], levels: list[Pixels]) -> None:
    pnet = Counted(mtcnn_networks["pnet"])
    found = proposals(pnet, None, levels, THRESHOLD)
    assert len(pnet.shapes) == 2
    assert_as_level_by_level(mtcnn_networks["pnet"], levels, found)


def test_what_quick_arithmetic_does_not_rule_out_is_judged_exactly(
    mtcnn_networks: Mapping[str, Network], levels: list[Pixels]
) -> None:
    pnet, quick = Counted(mtcnn_networks["pnet"]), Rounded(mtcnn_networks["pnet"])
    found = proposals(pnet, quick, levels, THRESHOLD)
    assert quick.calls == 2
    assert {shape[1:] for shape in pnet.shapes} == {(14, 14, 3)}, "no level is judged twice as a whole"
    assert_as_level_by_level(mtcnn_networks["pnet"], levels, found)


def test_a_level_that_is_full_of_what_may_be_a_face_is_judged_as_a_whole(
    mtcnn_networks: Mapping[str, Network], levels: list[Pixels]
) -> None:
    pnet = Counted(mtcnn_networks["pnet"])
    found = proposals(pnet, Rounded(mtcnn_networks["pnet"], offset=1), levels, THRESHOLD)
    assert (1, *levels[0].shape) in pnet.shapes
    assert_as_level_by_level(mtcnn_networks["pnet"], levels, found)


def test_no_level_has_no_windows(mtcnn_networks: Mapping[str, Network]) -> None:
    assert proposals(mtcnn_networks["pnet"], None, [], THRESHOLD) == []


@pytest.mark.parametrize("shape", [(480, 640), (12, 12), (13, 900), (900, 13), (181, 181)])
def test_packed_pictures_lie_apart_and_whole(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    sizes = [tuple(int(side * SCALE_FACTOR**step) for side in shape) for step in range(12)]
    pictures = [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes if min(size) >= CELL]
    corners, canvas = packed(pictures)
    boxes = []
    for (top, left), picture in zip(corners, pictures, strict=True):
        high, wide = picture.shape[:2]
        assert top % BLOCK_STEP == left % BLOCK_STEP == 0
        assert np.array_equal(canvas[top : top + high, left : left + wide], picture)
        if high % 2:
            assert np.array_equal(canvas[top + high, left : left + wide], picture[-1])
        if wide % 2:
            assert np.array_equal(canvas[top : top + high, left + wide], picture[:, -1])
        boxes.append((top, left, top + high + high % 2, left + wide + wide % 2))
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart
    area = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    assert canvas.shape[0] * canvas.shape[1] < 1.5 * area + BLOCK_STEP * 4 * sum(canvas.shape[:2])


def test_the_best_proposals_are_kept() -> None:
    scores = np.random.default_rng(0).permutation(10).astype(np.float32)
    windows = Proposals(np.arange(10), np.arange(10), scores, np.zeros((10, 4), np.float32))
    kept = best(windows, 3)
    assert sorted(kept.scores.tolist()) == [7, 8, 9]
    assert (scores[kept.rows] == kept.scores).all()
    assert best(windows, 10) is windows
