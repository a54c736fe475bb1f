"""Pixels to faces: what a face is, and what every detector can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import cv2
import numpy as np

from service.arrays import Floats, Pixels

LANDMARKS: Final = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""The five landmarks in order; left and right are the viewer's."""

MIN_CONFIDENCE: Final = 0.75
"""Confidence from which a face is answered, and trained on, unless somebody asks for another."""
MIN_FACE_PX: Final = 24.0
"""Side of the smallest face that is looked for, in pixels of the picture that is searched."""
SIDE_PX: Final = 1280
"""Longest side, in pixels, of the picture that is searched."""
_BILINEAR_RATIO: Final = 0.5
"""Ratio of sides from which a copy is sampled, not averaged: two by two pixels are about the area of one of the copy's, and it
takes an eighth of the time. See docs/measurements.md.
"""


@dataclass(frozen=True, slots=True)
class Face:
    """One face: `box` float32 [4] as x0, y0, x1, y1 and `landmarks` float32 [5, 2] as x, y, both in pixels of the array
    that was searched; `confidence` between 0 and 1.
    """

    box: Floats
    landmarks: Floats
    confidence: float

    def scaled(self, factor: float) -> Face:
        """The same face in an array of another size.

        Args:
            factor: Size of that array over this one's, above 0.

        Returns:
            The face with its box and landmarks in pixels of that array.
        """
        return Face(self.box * np.float32(factor), self.landmarks * np.float32(factor), self.confidence)

    def clipped(self, width: int, height: int) -> Face:
        """The same face with its box inside an array; landmarks stay where they are.

        Args:
            width: Of the array, in pixels.
            height: Of the array, in pixels.

        Returns:
            The face; its box is empty where the face lies outside.
        """
        return Face(np.clip(self.box, 0, [width, height, width, height]).astype(np.float32), self.landmarks, self.confidence)

    @property
    def area(self) -> float:
        """Pixels inside the box."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


class Detector(Protocol):
    """Finds faces; safe to call from several threads."""

    def detect(self, pixels: Pixels) -> list[Face]:
        """Find the faces of a picture.

        Args:
            pixels: uint8 RGB [H, W, 3].

        Returns:
            The faces in no particular order, in pixels of the array; boxes may reach outside it.
        """
        ...


def locate(pixels: Pixels, detector: Detector, side: int) -> list[Face]:
    """Find the faces of a picture in a copy of bounded size.

    Args:
        pixels: uint8 RGB [H, W, 3].
        detector: What finds faces.
        side: Longest side of the copy, in pixels.

    Returns:
        Faces in pixels of `pixels`, from left to right. Boxes are clipped to it; a face whose box is then empty is left out.
    """
    height, width = pixels.shape[:2]
    ratio = side / max(height, width)
    searched = pixels
    if ratio < 1:
        size = max(1, round(width * ratio)), max(1, round(height * ratio))
        how = cv2.INTER_LINEAR if ratio >= _BILINEAR_RATIO else cv2.INTER_AREA
        searched = cv2.resize(pixels, size, interpolation=how).astype(np.uint8, copy=False)
    back = max(height, width) / max(searched.shape[:2])  # the longer side: rounding moves the shorter one of a narrow picture
    faces = [face.scaled(back).clipped(width, height) for face in detector.detect(searched)]
    return sorted((face for face in faces if face.area > 0), key=lambda face: (float(face.box[0]), float(face.box[1])))
