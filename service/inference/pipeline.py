"""The whole story of a photo: decode, find the faces, cut the crops, batch them through the network, describe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service.arrays import Pixels
from service.errors import DeadlineExceeded, FacetError, InferenceError, unexpected
from service.inference.attributes import Attributes, describe
from service.inference.batching import Batcher
from service.inference.decoding import PhotoDecoder
from service.inference.workers import Workers
from service.metrics import observe, timed
from service.models.manifest import InputContract, Manifest
from service.vision import occlusion
from service.vision.align import align, outside
from service.vision.detection import Detector, Face, locate
from service.vision.detection.sharing import SharingDetector
from service.vision.image import DecodedImage, decode, noise, preview
from service.vision.quality import TEMPLATE, Quality, assess, measured_crop, warnings


@dataclass(frozen=True, slots=True)
class Options:
    """What one request wants."""

    attributes: Sequence[str]
    """Names of those that are answered."""
    max_faces: int
    """Most faces of a photo; the largest are kept."""
    min_confidence: float
    """Confidence, 0 to 1, below which a face is left out."""
    max_pixels: int | None = None
    """Most pixels of its photo; None for as many as of any."""
    client: str = ""
    """On whose account it waits and works."""
    at_least: tuple[int, ...] = ()
    """Ages, 1 to 99, for which the probability of being so old is answered."""
    preview: bool = False
    """Whether the photo itself is answered, as a small JPEG."""
    doubtful: float | None = None
    """Confidence from which `detect` gives less certain faces beside the others, `max_faces` of each; None for none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one photo may cost: `pixels` in all, and the longest `side` in pixels that is searched for faces."""

    pixels: int
    side: int


@dataclass(frozen=True, slots=True)
class DetectedFace:
    """One face in pixels of the upright photo, its aligned crop, and what is measured of both."""

    face: Face
    crop: Pixels
    quality: Quality
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Detections:
    """The faces of a photo of `width` by `height` upright pixels, left to right; `timings` in milliseconds by stage. `preview`
    is the photo as a small JPEG where it was asked for.
    """

    width: int
    height: int
    faces: list[DetectedFace]
    timings: dict[str, float]
    preview: bytes | None = None


@dataclass(frozen=True, slots=True)
class AnalysedFace:
    """One face, its attributes and what is measured of it."""

    face: Face
    attributes: Attributes
    quality: Quality
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Analysis:
    """The answer for one photo of `width` by `height` upright pixels; `timings` in milliseconds by stage. `preview` is the
    photo as a small JPEG where it was asked for.
    """

    width: int
    height: int
    faces: list[AnalysedFace]
    timings: dict[str, float] = field(default_factory=dict)
    preview: bytes | None = None


class Pipeline:
    """One detector and one model, shared by every request."""

    def __init__(
        self,
        detector: Detector,
        manifest: Manifest,
        batcher: Batcher,
        workers: Workers,
        limits: Limits,
        decoder: PhotoDecoder,
        stream_detector: Detector | None = None,
    ) -> None:
        if manifest.input is None:
            raise ValueError("an attribute model has an input")
        self.manifest = manifest
        self._input: InputContract = manifest.input
        self._template = np.array(manifest.input.template, np.float32)
        self._detector, self._batcher, self._workers, self._limits = detector, batcher, workers, limits
        self._stream_detector = stream_detector or detector
        self.decoder = decoder

    def with_model(self, manifest: Manifest, batcher: Batcher) -> Pipeline:
        """The same pipeline with another model.

        Args:
            manifest: Of the model.
            batcher: Runs its network.

        Returns:
            A pipeline that shares detectors, workers and decoder with this one.
        """
        return Pipeline(self._detector, manifest, batcher, self._workers, self._limits, self.decoder, self._stream_detector)

    async def analyse(self, data: bytes, options: Options, deadline: float) -> Analysis:
        """Find every face of a photo and describe it; what has not begun by the deadline never does.

        Args:
            data: A file's bytes.
            options: Which faces and attributes are wanted.
            deadline: Time of the event loop's clock, in seconds.

        Returns:
            The faces from left to right, with their attributes.

        Raises:
            ImageError: The photo cannot be decoded.
            DeadlineExceeded: The deadline passed, even where a network hangs.
            QueueFull: Too many photos or faces are waiting.
            NotReady: The service is shutting down.
            InferenceError: The detector or the network failed.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout_at(deadline):
                detections = await self._workers.run_for(
                    options.client, self._decode_and_detect, deadline, self._detector, data, options, began, deadline
                )
                with timed("predict", detections.timings):
                    outputs = await self._batcher.submit([found.crop for found in detections.faces], deadline, options.client)
        except TimeoutError as error:
            raise DeadlineExceeded("The request's deadline passed before it was answered.", self._workers.delay) from error
        analysed = [
            AnalysedFace(
                found.face, describe(output, self.manifest, options.attributes, options.at_least), found.quality, found.warnings
            )
            for found, output in zip(detections.faces, outputs, strict=True)
        ]
        detections.timings["total"] = (time.perf_counter() - began) * 1000
        return Analysis(detections.width, detections.height, analysed, detections.timings, detections.preview)

    async def detect(self, photo: bytes | DecodedImage, options: Options, deadline: float) -> Detections:
        """Find the faces of a stream's frame and cut their crops, without running the attribute network.

        Args:
            photo: A file's bytes, or decoded pixels.
            options: Which faces are wanted.
            deadline: Time of the event loop's clock, in seconds.

        Returns:
            The faces from left to right, with their crops.

        Raises:
            ImageError: The photo cannot be decoded.
            DeadlineExceeded: The deadline passed.
            QueueFull: Too many photos are waiting.
            NotReady: The service is shutting down.
            InferenceError: The detector failed.
        """
        try:
            async with asyncio.timeout_at(deadline):
                began = time.perf_counter()
                return await self._workers.run_for(
                    options.client,
                    self._decode_and_detect,
                    deadline,
                    self._stream_detector,
                    photo,
                    options,
                    began,
                    deadline,
                )
        except TimeoutError as error:
            raise DeadlineExceeded("The deadline passed before the faces were found.") from error

    async def attributes(self, crops: Sequence[Pixels], options: Options, deadline: float) -> list[Attributes]:
        """Describe crops; they share batches with those of other callers.

        Args:
            crops: uint8 RGB [S, S, 3] each, of the model's input size.
            options: Which attributes are wanted.
            deadline: Time of the event loop's clock, in seconds.

        Returns:
            The attributes of each crop, in order.

        Raises:
            DeadlineExceeded: The deadline passed.
            QueueFull: Too many faces are waiting.
            NotReady: The service is shutting down.
            InferenceError: The network failed.
        """
        try:
            async with asyncio.timeout_at(deadline):
                outputs = await self._batcher.submit(crops, deadline, options.client)
        except TimeoutError as error:
            raise DeadlineExceeded("The deadline passed before the model had finished.") from error
        return [describe(output, self.manifest, options.attributes, options.at_least) for output in outputs]

    def warm(self) -> None:
        """Look at a picture once, so that nothing is loaded or compiled while somebody waits; blocks.

        Raises:
            InferenceError: A detector fails.
        """
        for shared in {id(one): one for one in (self._detector, self._stream_detector)}.values():
            for detector in shared.each() if isinstance(shared, SharingDetector) else (shared,):
                try:  # past the stages of a photo, whose times are counted
                    locate(decode(noise(512), max_pixels=512**2, side=512).pixels, detector, self._limits.side)
                except Exception as error:  # as of a photo
                    raise InferenceError("The detector failed.") from error
        grey = np.full((64, 64, 3), 128, np.uint8)
        face = Face(np.array([0, 0, 64, 64], np.float32), self._template * np.float32(64), 1.0)
        assess(face, align(grey, face.landmarks, self._template, self._input.size))

    def _decode_and_detect(
        self, detector: Detector, photo: bytes | DecodedImage, options: Options, began: float, deadline: float
    ) -> Detections:
        """Decode by the deadline, detect and cut the crops; on a worker's thread, whose clock is the event loop's."""
        timings: dict[str, float] = {}
        observe("wait", time.perf_counter() - began, timings)
        if isinstance(photo, DecodedImage):
            image = photo
        else:
            most = min(options.max_pixels or self._limits.pixels, self._limits.pixels)
            try:
                with timed("decode", timings):
                    image = self.decoder.decode(photo, max_pixels=most, side=self._limits.side, deadline=deadline)
            except FacetError:
                raise
            except Exception as error:  # as a detector's
                raise unexpected(error) from error
        try:
            return self._detect(detector, image, options, timings)
        except Exception as error:  # a detector's fault is its photo's alone, in a batch request too
            raise InferenceError("The detector failed.") from error

    def _detect(self, detector: Detector, image: DecodedImage, options: Options, timings: dict[str, float]) -> Detections:
        """Detect and cut the crops."""
        with timed("detect", timings):
            found = locate(image.pixels, detector, self._limits.side)
            faces = _wanted(found, options)
        with timed("crop", timings):
            cut = [self._cut(image, face) for face in faces]
        shown = preview(image.pixels) if options.preview else None
        return Detections(image.width, image.height, cut, timings, shown)

    def _cut(self, image: DecodedImage, face: Face) -> DetectedFace:
        """Align one face of the decoded picture, and measure it."""
        crop = align(image.pixels, face.landmarks, self._template, self._input.size)
        seen = measured_crop(crop, image.pixels, face.landmarks, self._template)
        whole = face.scaled(1 / image.scale).clipped(image.width, image.height)
        quality, coarse = assess(whole, seen)
        share = outside(whole.landmarks, TEMPLATE, image.width, image.height)
        covered = occlusion.log_odds(seen)
        found = warnings(quality, share, image.scale, covered, coarse=coarse)
        return DetectedFace(whole, crop, quality, found)


def _wanted(found: list[Face], options: Options) -> list[Face]:
    """The largest of the faces that are certain enough, and of the doubtful ones, none of which takes a certain one's place."""
    certain = [face for face in found if face.confidence >= options.min_confidence]
    if options.doubtful is None:
        return largest(certain, options.max_faces)
    doubtful = [face for face in found if options.doubtful <= face.confidence < options.min_confidence]
    kept = {id(face) for faces in (certain, doubtful) for face in largest(faces, options.max_faces)}
    return [face for face in found if id(face) in kept]


def largest(faces: list[Face], count: int) -> list[Face]:
    """Keep the faces with the largest boxes.

    Args:
        faces: Any faces.
        count: Most faces to keep.

    Returns:
        These faces, in the order of `faces`.
    """
    by_area = sorted(range(len(faces)), key=lambda index: faces[index].area, reverse=True)
    return [faces[index] for index in sorted(by_area[:count])]
