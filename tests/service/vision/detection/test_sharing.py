"""Photos that are searched at the same time are searched by the networks of one thread; a lone one by those of all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from service.arrays import Pixels
from service.vision.detection import Face
from service.vision.detection.sharing import SharingDetector

PICTURE = np.zeros((8, 8, 3), np.uint8)


class Recorded:
    """A detector that waits for a gate, and counts its pictures."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.pictures = 0

    def detect(self, pixels: Pixels) -> list[Face]:
        self.pictures += 1
        if not self.gate.wait(20):
            raise TimeoutError
        if pixels.any():
            raise ValueError("not black")
        return []


def test_a_photo_beside_another_one_takes_one_thread() -> None:
    alone, beside = Recorded(), Recorded()
    detector = SharingDetector(alone, [beside])
    beside.gate.set()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(detector.detect, PICTURE)
        while not alone.pictures:
            threading.Event().wait(0.001)
        assert detector.detect(PICTURE) == []
        assert (alone.pictures, beside.pictures) == (1, 1)
        alone.gate.set()
        assert first.result(20) == []
    detector.detect(PICTURE)
    assert (alone.pictures, beside.pictures) == (2, 1)


def test_a_photo_that_fails_is_counted_no_more() -> None:
    alone, beside = Recorded(), Recorded()
    alone.gate.set()
    detector = SharingDetector(alone, [beside])
    with pytest.raises(ValueError, match="not black"):
        detector.detect(PICTURE + 1)
    assert detector.detect(PICTURE) == []
    assert (alone.pictures, beside.pictures) == (2, 0)


def test_photos_that_share_the_cpus_spread_over_the_networks_of_one_thread() -> None:
    alone, *beside = (Recorded() for _ in range(3))
    detector = SharingDetector(alone, beside)
    with ThreadPoolExecutor(5) as pool:
        answers = []
        for number in range(1, 6):
            answers.append(pool.submit(detector.detect, PICTURE))
            while alone.pictures + sum(one.pictures for one in beside) < number:
                threading.Event().wait(0.001)
        assert (alone.pictures, [one.pictures for one in beside]) == (1, [2, 2])
        for one in (alone, *beside):
            one.gate.set()
        assert [answer.result(20) for answer in answers] == [[]] * 5
    assert detector.each() == (alone, *beside)
