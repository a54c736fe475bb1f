"""One frame after another to faces with ids and what is known of them by now; the network runs on frames that are worth it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Final

from service.inference.attributes import Attributes
from service.inference.pipeline import DetectedFace, Detections, Options, Pipeline
from service.metrics import timed
from service.tracking.aggregation import DEFAULT, Average, weight
from service.tracking.tracker import Track, Tracker
from service.vision.detection import Face
from service.vision.image import DecodedImage
from service.vision.quality import Quality

DOUBTFUL: Final = 0.15
"""How much less confident than a new face one may be that continues a track."""

FIRST_LOOK: Final = 0.1
"""Weight from which a frame is good enough to be a track's first; after `FIRST_WAIT_S` any is."""
FIRST_WAIT_S: Final = 0.5
WORTH: Final = 0.5
"""Share of a track's best weight so far below which a frame would add little."""
BETTER: Final = 1.5
"""Times that best from which a frame is worth it at any time."""
PAUSE_S: Final = 0.15
"""Pause after a track's first run: neighbouring frames say the same. It doubles with every `RUNS_PER_DOUBLING` runs."""
RUNS_PER_DOUBLING: Final = 4
LONGEST_PAUSE_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """One face of a frame: the id, and the attributes, of its track by now.

    `frames` are those in which it was seen, `answers` those of them that the network looked at; `age_s` seconds since the
    first. No attribute is known before the network has run.
    """

    id: int
    face: Face
    attributes: Attributes
    quality: Quality
    warnings: list[str]
    frames: int
    answers: int
    age_s: float


@dataclass(frozen=True, slots=True)
class FrameResult:
    """The answer for one frame of `width` by `height` upright pixels, faces from left to right.

    `runs` is the number of faces that the network looked at in it; `timings` in milliseconds by stage.
    """

    width: int
    height: int
    faces: list[FaceTrack]
    runs: int
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _TrackState:
    """What is known of a track, and the budget of its runs."""

    average: Average
    answers: int = 0
    best: float = 0.0
    asked: float = 0.0

    def worth(self, weight: float, track: Track, now: float) -> bool:
        """Whether the network should look at a frame that would count for `weight`."""
        if not self.answers:
            return weight >= FIRST_LOOK or now - track.born >= FIRST_WAIT_S
        if weight >= BETTER * self.best:
            return True
        pause = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** ((self.answers - 1) / RUNS_PER_DOUBLING))
        return weight >= WORTH * self.best and now - self.asked >= pause

    def add(self, attributes: Attributes, weight: float, now: float) -> None:
        """Count an answer of the network."""
        self.average.add(attributes, weight)
        self.answers += 1
        self.best = max(self.best, weight)
        self.asked = now


class TrackingSession:
    """The faces before one camera, or of one film; frames come one at a time and in order."""

    def __init__(self, pipeline: Pipeline, options: Options) -> None:
        self._pipeline = pipeline
        self._options = options
        self._looked_for = replace(options, min_confidence=max(0.5, options.min_confidence - DOUBTFUL))
        self._manifest = pipeline.manifest
        self._tracker = Tracker(options.min_confidence)
        self._known: dict[int, _TrackState] = {}

    @property
    def known(self) -> set[int]:
        """Ids of the tracks of which anything is kept."""
        return set(self._known)

    async def step(self, photo: bytes | DecodedImage, now: float, deadline: float) -> FrameResult:
        """Follow the faces of one frame; after an error the session goes on with the next frame.

        Args:
            photo: A file's bytes, or decoded pixels.
            now: When the frame was taken, in seconds of the camera's or the film's own clock.
            deadline: Time of the event loop's clock, in seconds.

        Returns:
            The frame's faces with what is known of their tracks.

        Raises:
            ImageError: The photo cannot be decoded.
            Unavailable: As of `Pipeline.analyse`.
            InferenceError: The detector or the network failed.
        """
        began = time.perf_counter()
        seen = await self._pipeline.detect(photo, self._looked_for, deadline)
        tracks = self._tracker.update([one.face for one in seen.faces], now, seen.width, seen.height)
        self._known = {identity: known for identity, known in self._known.items() if identity in self._tracker.ids}
        found = [(one, track) for one, track in zip(seen.faces, tracks, strict=True) if track is not None]
        runs = await self._ask(seen, found, now, deadline)
        faces = [self._followed(track, one, now) for one, track in found]
        seen.timings["total"] = (time.perf_counter() - began) * 1000
        return FrameResult(seen.width, seen.height, faces, runs, seen.timings)

    async def _ask(self, seen: Detections, found: list[tuple[DetectedFace, Track]], now: float, deadline: float) -> int:
        """Let the network look at the faces that are worth it; returns how many they were."""
        chosen = []
        for one, track in found:
            known = self._known.setdefault(track.id, _TrackState(Average(self._manifest)))
            counts = weight(one.quality, one.warnings, self._manifest.track or DEFAULT)
            if known.worth(counts, track, now):
                chosen.append((one, known, counts))
        if chosen:
            crops = [one.crop for one, _, _ in chosen]
            with timed("predict", seen.timings):
                answers = await self._pipeline.attributes(crops, self._options, deadline)
            for (_, known, counts), answer in zip(chosen, answers, strict=True):
                known.add(answer, counts, now)
        return len(chosen)

    def _followed(self, track: Track, one: DetectedFace, now: float) -> FaceTrack:
        known = self._known[track.id]
        return FaceTrack(
            id=track.id,
            face=one.face,
            attributes=known.average.attributes(),
            quality=one.quality,
            warnings=one.warnings,
            frames=track.frames,
            answers=known.answers,
            age_s=now - track.born,
        )
