"""One frame after another to faces with ids and what is known of them by now; the network runs on the most useful frames."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Final

from service.inference.attributes import Attributes
from service.inference.pipeline import AnalysedFace, DetectedFace, Detections, Options, Pipeline, largest
from service.metrics import timed
from service.tracking.aggregation import DEFAULT, Average, weight
from service.tracking.tracker import Track, Tracker
from service.vision.image import DecodedImage

TRACKED_MARGIN: Final = 0.15
"""How far below a new face's least confidence one may be that continues a track."""

FIRST_WEIGHT: Final = 0.1
"""Weight from which a frame is good enough to be a track's first; after `FIRST_WAIT_S` any is."""
FIRST_WAIT_S: Final = 0.5
USEFUL: Final = 0.5
"""Share of a track's highest weight so far below which a frame adds little."""
BETTER: Final = 1.5
"""Multiple of that weight from which a frame is used without a pause."""
PAUSE_S: Final = 0.15
"""Pause after a track's first run: neighbouring frames are redundant. It doubles with every `RUNS_PER_DOUBLING` runs."""
RUNS_PER_DOUBLING: Final = 4
LONGEST_PAUSE_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class FaceTrack(AnalysedFace):
    """One face of a frame, with the attributes of its track by now: none before the network has run.

    `id` is the track's, `frames` counts its frames, `answers` those of them that the network ran on; `age_s` is in seconds
    since the first.
    """

    id: int
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
    last_run: float = 0.0
    lost: bool = False
    """Whether a frame since the last run did not show it."""
    doubted: bool = False
    """Whether the last answer contradicted those before."""

    def is_useful(self, weight: float, track: Track, now: float) -> bool:
        """Whether the network should look at a frame that would count for `weight`."""
        if not self.answers:
            return weight >= FIRST_WEIGHT or now - track.first_seen >= FIRST_WAIT_S
        if weight >= BETTER * self.best:
            return True
        if weight >= FIRST_WEIGHT and now - self.last_run >= self._longest_pause():
            return True
        pause = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** ((self.answers - 1) / RUNS_PER_DOUBLING))
        return weight >= USEFUL * self.best and now - self.last_run >= pause

    def _longest_pause(self) -> float:
        """Seconds after which a frame is useful that is worse than those before: somebody else may have come."""
        if self.doubted:
            return 0.0
        return PAUSE_S if self.lost else LONGEST_PAUSE_S

    def add(self, attributes: Attributes, weight: float, now: float) -> bool:
        """Count an answer of the network, but for one that contradicts those before; returns False of a second one in a row."""
        before, self.doubted = self.doubted, self.average.is_contradicted_by(attributes)
        self.last_run, self.lost = now, False
        if self.doubted:
            return not before
        self.average.add(attributes, weight)
        self.answers += 1
        self.best = max(self.best, weight)
        return True


class TrackingSession:
    """The faces before one camera, or of one film; frames come one at a time and in order."""

    def __init__(self, pipeline: Pipeline, options: Options, most: int | None = None) -> None:
        """Begin without a frame.

        Args:
            pipeline: What finds and describes faces.
            options: Which faces and attributes are answered.
            most: Faces of a frame that are followed; None for those that are answered. Of two alike each is now the larger one.
        """
        self._pipeline = pipeline
        self._options = options
        self._detection_options = replace(
            options, doubtful=max(0.5, options.min_confidence - TRACKED_MARGIN), max_faces=most or options.max_faces
        )
        self._manifest = pipeline.manifest
        self._tracker = Tracker(options.min_confidence)
        self._known: dict[int, _TrackState] = {}

    @property
    def known(self) -> set[int]:
        """Ids of the tracks of which anything is kept."""
        return set(self._known)

    def cut(self) -> None:
        """Begin anew with the next frame, which is of another scene: every face in it is a new one."""
        self._tracker.clear()

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
        detections = await self._pipeline.detect(photo, self._detection_options, deadline)
        tracks = self._tracker.update([one.face for one in detections.faces], now, detections.width, detections.height)
        self._known = {identity: known for identity, known in self._known.items() if identity in self._tracker.ids}
        seen = {track.id for track in tracks if track is not None}
        for identity in self._known.keys() - seen:
            self._known[identity].lost = True
        found = [(one, track) for one, track in zip(detections.faces, tracks, strict=True) if track is not None]
        kept = {id(face) for face in largest([one.face for one, _ in found], self._options.max_faces)}
        found = [(one, track) for one, track in found if id(one.face) in kept]
        runs = await self._predict(detections, found, now, deadline)
        faces = [self._face_track(track, one, now) for one, track in found]
        detections.timings["total"] = (time.perf_counter() - began) * 1000
        return FrameResult(detections.width, detections.height, faces, runs, detections.timings)

    async def _predict(
        self, detections: Detections, found: list[tuple[DetectedFace, Track]], now: float, deadline: float
    ) -> int:
        """Run the network on the most useful faces; returns how many they are."""
        chosen = []
        for one, track in found:
            known = self._known.setdefault(track.id, _TrackState(Average(self._manifest)))
            counts = weight(one.quality, one.warnings, self._manifest.track or DEFAULT)
            if known.is_useful(counts, track, now):
                chosen.append((one, track, counts))
        if chosen:
            crops = [one.crop for one, _, _ in chosen]
            with timed("predict", detections.timings):
                answers = await self._pipeline.attributes(crops, self._options, deadline)
            for (_, track, counts), answer in zip(chosen, answers, strict=True):
                if not self._known[track.id].add(answer, counts, now):
                    self._tracker.renew(track)
                    self._known[track.id] = _TrackState(Average(self._manifest))
                    self._known[track.id].add(answer, counts, now)
        return len(chosen)

    def _face_track(self, track: Track, one: DetectedFace, now: float) -> FaceTrack:
        known = self._known[track.id]
        return FaceTrack(
            face=one.face,
            attributes=known.average.attributes(),
            quality=one.quality,
            warnings=one.warnings,
            id=track.id,
            frames=track.frames,
            answers=known.answers,
            age_s=now - track.first_seen,
        )
