"""Networks that give back their memory answer as before, and one that computes keeps what it needs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from service.arrays import Pixels
from service.inference.memory import MIB, give_back, resident
from service.models.runtime import Network, Precision, Runtime, again, loader, openvino, release

PLACES = (
    ("centerface/2/int8/faces.xml", Precision.INT8, (1, 96, 128, 3)),
    ("centerface/2/faces", Precision.BF16, (1, 96, 128, 3)),
    ("centerface/2/onet", Precision.F32, (3, 48, 48, 3)),
    ("mtcnn/2/pnet", Precision.F32, (2, 40, 60, 3)),
    ("mobilefacenet/1", Precision.F32, (2, 62, 62, 3)),
    ("mobilefacenet/1", Precision.BF16, (2, 62, 62, 3)),
)


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture
def searching(root: Path) -> Network:
    """The network that searches a whole picture."""
    return loader(Runtime.OPENVINO, Precision.INT8, 1)(root / "model_store/centerface/2/int8/faces.xml")


@pytest.fixture
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures count as large ones."""
    monkeypatch.setattr(openvino, "KEPT_BYTES", 0)


@pytest.mark.usefixtures("nothing_is_kept")
@pytest.mark.parametrize(("place", "precision", "shape"), PLACES)
def test_answers_stay_the_same(root: Path, place: str, precision: Precision, shape: tuple[int, ...]) -> None:
    first = loader(Runtime.OPENVINO, precision, 1)(root / "model_store" / place)
    for network in (first, again(first, 1)):
        expected = network(noise(*shape))
        release()
        kept = {name: values.copy() for name, values in expected.items()}
        for _ in range(2):
            found = network(noise(*shape))
            assert all(np.array_equal(found[name], values) for name, values in expected.items())
        assert all(np.array_equal(kept[name], values) for name, values in expected.items()), "answers are the caller's own"


def test_what_a_large_picture_took_is_given_back(searching: Network) -> None:
    searching(noise(1, 64, 64, 3))
    give_back()
    before = resident()
    searching(noise(1, 1280, 1280, 3))
    assert resident() - before > 50 * MIB
    give_back()
    assert resident() - before < 20 * MIB


def test_what_a_small_picture_takes_is_kept_for_the_next_one(searching: Network) -> None:
    searching(noise(1, 1280, 1280, 3))
    give_back()
    before = resident()
    searching(noise(1, 512, 512, 3))
    taken = resident() - before
    assert 4 * MIB < taken < 40 * MIB
    give_back()
    assert resident() - before > taken / 2
    searching(noise(1, 1280, 1280, 3))
    give_back()
    assert resident() - before < taken / 2


@pytest.mark.usefixtures("nothing_is_kept")
def test_calls_and_releases_at_once_disturb_nothing(searching: Network) -> None:
    pictures = [noise(1, side, side, 3) for side in (64, 96, 160, 224)]
    expected = [searching(picture) for picture in pictures]
    over = Event()

    def releasing() -> int:
        count = 0
        while not over.is_set():
            release()
            count += 1
        return count

    def calling(index: int) -> bool:
        answers = (searching(pictures[index]) for _ in range(30))
        return all(np.array_equal(one[name], values) for one in answers for name, values in expected[index].items())

    with ThreadPoolExecutor(5) as pool:
        released = pool.submit(releasing)
        try:
            assert all(pool.map(calling, range(4)))
        finally:
            over.set()
        assert released.result() > 10
