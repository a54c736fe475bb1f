"""Detectors of the same answers: one for a photo that has the CPUs to itself, and others for photos that share them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from service.arrays import Pixels
from service.vision.detection import Detector, Face


class SharingDetector:
    """Searches a photo with `alone` while no other one is searched, and otherwise with whichever of `beside` has least to do.

    A network of several threads answers a lone photo sooner. Where as many photos are searched as there are CPUs, its threads
    wait for one another, and networks of one thread each do the same work in less CPU time.
    """

    def __init__(self, alone: Detector, beside: Sequence[Detector]) -> None:
        """Take the detectors.

        Args:
            alone: The one of all threads.
            beside: Those of one thread, one or more.
        """
        self._detectors = [alone, *beside]
        self._searching = [0] * len(self._detectors)
        self._lock = threading.Lock()

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find the faces of a picture.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            As `Detector.detect` does.
        """
        with self._lock:
            shared = range(1, len(self._detectors))
            chosen = min(shared, key=self._searching.__getitem__) if any(self._searching) else 0
            self._searching[chosen] += 1
        try:
            return self._detectors[chosen].detect(pixels)
        finally:
            with self._lock:
                self._searching[chosen] -= 1

    def each(self) -> Sequence[Detector]:
        """All detectors, to prepare each of them.

        Returns:
            The one of lone photos, and those of photos that share the CPUs.
        """
        return tuple(self._detectors)
