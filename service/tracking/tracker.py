"""Faces of one frame after another to ids that stay with them while they move, cross and are hidden for a second."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final

import numpy as np

from service.arrays import Doubles
from service.tracking.assignment import assign
from service.vision.detection import Face

# Lengths are in face sizes, the square root of the box's area, so that a near face and a far one are treated alike.
MEASUREMENT_NOISE: Final = 0.06
"""Standard deviation of a detected face's place and of its size's logarithm: the most seen of a still face under noise."""
SPEED: Final = 2.0
"""Standard deviation of a new face's speed, in sizes a second: somebody who walks past a camera two metres away."""
PROCESS_NOISE: Final = 2.0
"""How much that speed changes in a second: as standard deviation, in sizes a second."""
GROWTH: Final = 0.5
"""The same two for the size's logarithm: somebody who walks up to the camera grows by a half in a second."""
GATE: Final = 16.27
"""Squared Mahalanobis distance beyond which a face is not a track's: the 0.999 quantile of chi-squared, three degrees."""
MAX_DISTANCE: Final = 2.5
"""Sizes from where a track is expected, beyond which a face is never its own, however long nobody saw it."""

SAME_SHAPE: Final = 1.05
"""Ratio of two frames' shapes up to which one is the other at another size: sides are rounded, some to multiples of 16."""
LOST_TRACK_S: Final = 2.0
"""Seconds for which a track without a detection is expected back."""
UNCONFIRMED_TRACK_S: Final = 0.5
"""The same for one with detections in fewer than `CONFIRMED_FRAMES` frames, as false faces have."""
CONFIRMED_FRAMES: Final = 3
LOST_TRACK_FRAMES: Final = 2.5
"""A track is expected back for so many frames' time at least: a slow camera sees everybody seldom."""
RECENT_FRAMES: Final = 5
"""Frames whose median is the camera's usual time from one to the next: one that paused is not slow, and finds somebody new."""


@dataclass(slots=True, eq=False)
class Motion:
    """A Kalman filter of constant velocity over [K] values that are alike: `place` and `speed` [K], and their covariance.

    Speeds change by white noise of `process_noise` units a second in a second; a measurement has the deviation
    `measurement_noise`.
    """

    place: Doubles
    speed: Doubles
    measurement_noise: float
    process_noise: float
    variance: float
    covariance: float
    speed_variance: float

    @classmethod
    def at(cls, place: Doubles, measurement_noise: float, speed: float, process_noise: float) -> Motion:
        """Start a filter from one measurement.

        Args:
            place: The measured values [K].
            measurement_noise: Standard deviation of each measured value.
            speed: Standard deviation of the speed that may be expected, in units a second.
            process_noise: Standard deviation of the speed's change, in units a second in a second.

        Returns:
            The filter, at rest.
        """
        return cls(place, np.zeros_like(place), measurement_noise, process_noise, measurement_noise**2, 0.0, speed**2)

    def advance(self, seconds: float) -> None:
        """Predict the state after some time.

        Bar-Shalom, Li and Kirubarajan, "Estimation with applications to tracking and navigation", 2001, 6.2.2.

        Args:
            seconds: The time, 0 or more.
        """
        noise = self.process_noise**2
        self.place = self.place + self.speed * seconds
        self.variance += 2 * seconds * self.covariance + seconds**2 * self.speed_variance + noise * seconds**3 / 3
        self.covariance += seconds * self.speed_variance + noise * seconds**2 / 2
        self.speed_variance += noise * seconds

    def rescale(self, factors: Doubles) -> None:
        """Count in other units from now on.

        Args:
            factors: New units per old one, for each value [K]; the deviations go by their geometric mean.
        """
        mean = float(np.exp(np.log(factors).mean()))
        self.place, self.speed = self.place * factors, self.speed * factors
        self.measurement_noise *= mean
        self.process_noise *= mean
        self.variance *= mean**2
        self.covariance *= mean**2
        self.speed_variance *= mean**2

    def correct(self, measured: Doubles) -> None:
        """Update the state by a measurement.

        Args:
            measured: Values [K].
        """
        total = self.variance + self.measurement_noise**2
        gain, speed_gain = self.variance / total, self.covariance / total
        difference = measured - self.place
        self.place = self.place + gain * difference
        self.speed = self.speed + speed_gain * difference
        self.speed_variance -= speed_gain * self.covariance
        self.covariance *= 1 - gain
        self.variance *= 1 - gain


@dataclass(slots=True, eq=False)
class Track:
    """One face over time: when it was first and last seen, in seconds of the caller's clock, and in how many frames."""

    id: int
    first_seen: float
    last_seen: float
    frames: int
    place: Motion
    size: Motion


@dataclass(slots=True, eq=False)
class Tracker:
    """Follows the faces of one camera or film; ids count from 1 and never come again.

    A face belongs to the track that most probably moved there: each frame's assignment is the most likely one as a whole,
    as in SORT (Bewley et al., ICIP 2016), by the place of the landmarks' middle and the size of the box. Faces of a confidence
    of at least `confident` are assigned first and may start tracks; less certain ones only continue what is left, as in
    ByteTrack (Zhang et al., ECCV 2022). Nothing of a face's looks is kept, so that nobody is known again who was gone.
    """

    confident: float
    _tracks: dict[int, Track] = field(default_factory=dict)
    _count: int = 0
    _now: float | None = None
    _intervals: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_FRAMES))
    _frame: tuple[int, int] | None = None

    def update(self, faces: Sequence[Face], now: float, width: int, height: int) -> list[Track | None]:
        """Assign the faces of one frame to tracks, and start and end tracks.

        Args:
            faces: The frame's faces, in its pixels.
            now: When it was taken, in seconds; later than the frames before.
            width: Of the frame, in pixels.
            height: Of the frame, in pixels.

        Returns:
            The track of each face; None of a face whose confidence is too low to start one.
        """
        self._resize(width, height)
        before, self._now = self._now, now
        elapsed = 0.0 if before is None else max(0.0, now - before)
        self._forget(now, before, elapsed)
        for track in self._tracks.values():
            track.place.advance(elapsed)
            track.size.advance(elapsed)
        found: list[Track | None] = [None] * len(faces)
        confident = [face.confidence >= self.confident for face in faces]
        for stage in (True, False):
            left = [track for track in self._tracks.values() if track not in found]
            rows = [index for index, certain in enumerate(confident) if certain is stage]
            for index, track in _pairs(left, faces, rows):
                found[index] = track
        for index, face in enumerate(faces):
            known = found[index]
            if known is not None:
                _update_track(known, face, now)
            elif confident[index]:
                found[index] = self._start(face, now)
        self._let_go(now, width, height)
        return found

    @property
    def ids(self) -> set[int]:
        """Ids of the faces that are seen or expected back."""
        return set(self._tracks)

    def renew(self, track: Track) -> None:
        """Begin a track anew, in its place: its face is somebody else's.

        Args:
            track: One of the last frame's; its `id` becomes a new one.
        """
        del self._tracks[track.id]
        self._count += 1
        track.id, track.first_seen, track.frames = self._count, track.last_seen, 1
        self._tracks[track.id] = track

    def clear(self) -> None:
        """Expect nobody back: what is seen from now on is another scene, and every face in it a new one."""
        self._tracks.clear()
        self._now = None  # a cut comes at any time, which says nothing of how slow the camera is

    def _resize(self, width: int, height: int) -> None:
        """Follow a camera whose frames change their size, as a browser's do on a slow connection.

        Where the shape stays, so does everybody in it. Of another shape nothing is known: the camera was turned, or its view is
        another one, and every face is a new one.
        """
        before, self._frame = self._frame, (width, height)
        if before is None or before == (width, height):
            return
        across, down = width / before[0], height / before[1]
        if not 1 / SAME_SHAPE <= across / down <= SAME_SHAPE:
            self.clear()
            return
        for track in self._tracks.values():
            track.place.rescale(np.array([across, down]))
            track.size.place = track.size.place + math.log(math.sqrt(across * down))

    def _start(self, face: Face, now: float) -> Track:
        self._count += 1
        place, size = measured(face)
        motion = Motion.at(place, MEASUREMENT_NOISE * size, SPEED * size, PROCESS_NOISE * size)
        growth = Motion.at(np.array([math.log(size)]), MEASUREMENT_NOISE, GROWTH, GROWTH)
        track = Track(self._count, now, now, 1, motion, growth)
        self._tracks[track.id] = track
        return track

    def _forget(self, now: float, before: float | None, elapsed: float) -> None:
        """Give up tracks that were not seen for long; who was in the frame `before` cannot have been missed since."""
        if elapsed:
            self._intervals.append(elapsed)
        usual = median_low(self._intervals) if self._intervals else 0.0
        for track in list(self._tracks.values()):
            known = track.frames >= CONFIRMED_FRAMES or track.last_seen == before
            memory = LOST_TRACK_S if known else UNCONFIRMED_TRACK_S
            if now - track.last_seen > max(memory, LOST_TRACK_FRAMES * usual):
                del self._tracks[track.id]

    def _let_go(self, now: float, width: int, height: int) -> None:
        """Give up tracks that have left the picture."""
        for track in [track for track in self._tracks.values() if track.last_seen < now]:
            x, y = track.place.place
            if not (0 <= x <= width and 0 <= y <= height):
                del self._tracks[track.id]


def measured(face: Face) -> tuple[Doubles, float]:
    """Measure what is tracked of a face.

    The landmarks give the place, because a box that is clipped at the picture's edge has its middle elsewhere.

    Args:
        face: A face.

    Returns:
        The middle [2] of its landmarks, and the square root of its box's area, at least 1, in pixels.
    """
    return face.landmarks.mean(axis=0, dtype=np.float64), math.sqrt(max(1.0, face.area))


def _pairs(tracks: Sequence[Track], faces: Sequence[Face], rows: Sequence[int]) -> list[tuple[int, Track]]:
    """Face index and track of the most likely assignment of some faces."""
    if not tracks or not rows:
        return []
    places, sizes = zip(*(measured(faces[index]) for index in rows), strict=True)
    return [(rows[row], tracks[column]) for row, column in assign(_costs(np.array(places), np.array(sizes), tracks))]


def _costs(places: Doubles, sizes: Doubles, tracks: Sequence[Track]) -> Doubles:
    """Cost [N, M] of giving faces, by place [N, 2] and size [N], to tracks: all at once, for a crowd has tens of thousands of
    pairs.

    Twice the negative log-likelihood, up to a constant; infinite beyond `GATE` or `MAX_DISTANCE`.
    """
    expected = np.array([track.place.place for track in tracks])
    logarithms = np.array([track.size.place[0] for track in tracks])
    variance, growth_variance = (
        np.array([one.variance + one.measurement_noise**2 for one in motions])
        for motions in ([track.place for track in tracks], [track.size for track in tracks])
    )
    distance = np.square(places[:, np.newaxis] - expected).sum(axis=2)
    mahalanobis = distance / variance + np.square(np.log(sizes)[:, np.newaxis] - logarithms) / growth_variance
    reach = MAX_DISTANCE * np.maximum(sizes[:, np.newaxis], np.exp(logarithms))
    near = (mahalanobis <= GATE) & (distance <= np.square(reach))
    return np.where(near, mahalanobis + 2 * np.log(variance) + np.log(growth_variance), np.inf)


def _update_track(track: Track, face: Face, now: float) -> None:
    place, size = measured(face)
    track.place.measurement_noise, track.place.process_noise = MEASUREMENT_NOISE * size, PROCESS_NOISE * size
    track.place.correct(place)
    track.size.correct(np.array([math.log(size)]))
    track.last_seen = now
    track.frames += 1
