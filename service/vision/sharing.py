"""Two detectors of the same answers, one for a photo that has the CPUs to itself and one for photos that share them."""

from __future__ import annotations

import threading

from service.arrays import Pixels
from service.vision.detection import Detector, Face


class SharingDetector:
    """Searches a photo with `alone` while no other one is searched, and with `beside` otherwise.

    A network of several threads answers a lone photo sooner. Where as many photos are searched as there are CPUs, its threads
    wait for one another, and networks of one thread each do the same work in less CPU time.
    """

    def __init__(self, alone: Detector, beside: Detector) -> None:
        self._alone, self._beside = alone, beside
        self._lock = threading.Lock()
        self._searching = 0

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find the faces of a picture.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            As `Detector.detect` does.
        """
        with self._lock:
            self._searching += 1
            detector = self._alone if self._searching == 1 else self._beside
        try:
            return detector.detect(pixels)
        finally:
            with self._lock:
                self._searching -= 1

    def each(self) -> tuple[Detector, Detector]:
        """Both detectors, to prepare each of them.

        Returns:
            The one of lone photos, and the one of photos that share the CPUs.
        """
        return self._alone, self._beside
