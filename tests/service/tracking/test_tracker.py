"""Ids over time: faces that move, cross, are hidden, leave, flicker, and cameras that are slow or drop frames."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pytest

from service.tracking.tracker import Motion, Tracker
from service.vision.detection import Face
from tests.fakes import TEMPLATE

WIDTH, HEIGHT = 1280, 720
Path = Callable[[float], tuple[float, float, float] | None]
"""Where the middle of a face is at a time, in pixels, and how wide its box; None where it cannot be seen."""


def face(x: float, y: float, side: float, confidence: float = 0.99) -> Face:
    """A face as a detector finds it: its box is a fifth higher than wide, and clipped at the picture's edges."""
    corner = np.array([x - side / 2, y - 0.6 * side])
    extent = np.array([side, 1.2 * side])
    landmarks = corner + np.array(TEMPLATE) * extent
    whole = Face(np.concatenate([corner, corner + extent]).astype(np.float32), landmarks.astype(np.float32), confidence)
    return whole.clipped(WIDTH, HEIGHT)


def shaken(where: tuple[float, float, float], random: np.random.Generator) -> Face:
    """A face with the errors of a detector: some hundredths of its size."""
    x, y, side = where
    return face(x + random.normal(0, 0.03 * side), y + random.normal(0, 0.03 * side), side * math.exp(random.normal(0, 0.03)))


def followed(paths: Mapping[str, Path], times: Iterable[float], seed: int = 0) -> dict[str, list[int]]:
    """The ids that each face is given over time, in frames where faces come in any order."""
    random, tracker = np.random.default_rng(seed), Tracker(0.75)
    ids: dict[str, list[int]] = {name: [] for name in paths}
    for now in times:
        seen = [(name, where) for name, path in paths.items() if (where := path(now)) is not None]
        random.shuffle(seen)
        tracks = tracker.update([shaken(where, random) for _, where in seen], now, WIDTH, HEIGHT)
        for (name, _), track in zip(seen, tracks, strict=True):
            assert track is not None
            ids[name].append(track.id)
    return ids


def assert_kept(ids: dict[str, list[int]]) -> None:
    """Every face has one id from beginning to end, and no two have the same."""
    assert all(len(set(given)) == 1 for given in ids.values()), {name: sorted(set(given)) for name, given in ids.items()}
    assert len({given[0] for given in ids.values()}) == len(ids)


def frames(seconds: float, rate: float) -> list[float]:
    return [index / rate for index in range(int(seconds * rate))]


def line(start: tuple[float, float], speed: tuple[float, float], side: float = 100.0) -> Path:
    return lambda now: (start[0] + speed[0] * now, start[1] + speed[1] * now, side)


def swing(middle: tuple[float, float], reach: tuple[float, float], pace: tuple[float, float], side: float = 100.0) -> Path:
    """To and fro: a sine across and a cosine down."""
    return lambda now: (
        middle[0] + reach[0] * math.sin(pace[0] * now),
        middle[1] + reach[1] * math.cos(pace[1] * now),
        side,
    )


def hidden(path: Path, start: float, end: float) -> Path:
    return lambda now: None if start <= now < end else path(now)


# Movement ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [3, 5, 10, 30])
@pytest.mark.parametrize("seed", range(5))
def test_a_face_that_moves_keeps_its_id_at_any_rate(rate: float, seed: int) -> None:
    walks = line((100, 300), (180, 20))
    turns = swing((640, 500), (200, 60), (1.5, 2), 90)

    def nears(now: float) -> tuple[float, float, float]:
        return 1000, 250, 60 * math.exp(0.25 * now)

    assert_kept(followed({"walks": walks, "turns": turns, "nears": nears}, frames(5, rate), seed))


@pytest.mark.parametrize("seed", range(5))
def test_frames_that_are_dropped_at_random_change_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    times = [now for now in frames(8, 20) if random.random() < 0.4]
    swings, against = swing((400, 300), (220, 0), (1, 0)), swing((900, 320), (-150, 0), (1.3, 0), 110)
    assert_kept(followed({"swings": swings, "against": against}, times, seed))


def test_neighbours_in_a_row_keep_their_ids() -> None:
    row = {
        str(place): (lambda now, place=place: (100 + 110 * place + 15 * math.sin(2 * now + place), 360, 90))
        for place in range(10)
    }
    assert_kept(followed(row, frames(6, 10)))


# Crossing and hiding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8, 15, 30])
@pytest.mark.parametrize("seed", range(5))
def test_faces_that_cross_keep_their_ids(rate: float, seed: int) -> None:
    """Both are found all the time, as where one passes above the other's shoulder."""
    right, left = line((200, 340), (200, 0)), line((1080, 370), (-200, 0))
    assert_kept(followed({"right": right, "left": left}, frames(4.4, rate), seed))


@pytest.mark.parametrize("rate", [8, 15, 30])
@pytest.mark.parametrize("seed", range(5))
def test_faces_that_cross_one_behind_the_other_keep_their_ids(rate: float, seed: int) -> None:
    """The far one is not found while the near one covers it."""
    near, far = line((200, 350), (220, 0), 130), line((1080, 350), (-200, 0), 90)

    def covered(now: float) -> tuple[float, float, float] | None:
        place, before = far(now), near(now)
        assert place is not None
        assert before is not None
        return None if abs(place[0] - before[0]) < 110 else place

    ids = followed({"near": near, "far": covered}, frames(4.4, rate), seed)
    assert len(ids["far"]) < len(ids["near"])
    assert_kept(ids)


@pytest.mark.parametrize("rate", [5, 10, 30])
@pytest.mark.parametrize("speed", [(0.0, 0.0), (150.0, 0.0), (-90.0, 60.0)])
@pytest.mark.parametrize("seed", range(5))
def test_a_face_that_is_hidden_for_a_second_keeps_its_id(rate: float, speed: tuple[float, float], seed: int) -> None:
    walks = hidden(line((500, 200), speed), 1.5, 2.5)
    stands = line((1100, 600), (0, 0))
    ids = followed({"walks": walks, "stands": stands}, frames(4, rate), seed)
    assert len(ids["walks"]) == len(frames(4, rate)) - round(rate)
    assert_kept(ids)


def test_a_face_that_stops_while_it_is_hidden_keeps_its_id() -> None:
    def stops(now: float) -> tuple[float, float, float]:
        return 300 + 150 * min(now, 1.7), 300, 100

    assert_kept(followed({"stops": hidden(stops, 1.5, 2.5)}, frames(4, 10)))


def test_two_faces_that_are_hidden_at_once_come_back_as_themselves() -> None:
    first, second = hidden(line((300, 300), (100, 0)), 1.5, 2.5), hidden(line((500, 300), (100, 0)), 1.5, 2.5)
    assert_kept(followed({"first": first, "second": second}, frames(4, 10)))


@pytest.mark.parametrize("seed", range(10))
def test_a_crowd_changes_hardly_an_id(seed: int) -> None:
    """Eight faces wander, one detection in ten fails: of 1,600 faces fewer than 1 in 200 get another id than before."""
    random = np.random.default_rng(100 + seed)
    phases = random.uniform(0, 2 * math.pi, (8, 2))

    def wandering(index: int) -> Path:
        phase = phases[index]
        return lambda now: (
            160 + 137 * index + 110 * math.sin(0.7 * now + phase[0]),
            360 + 180 * math.cos(0.5 * now + phase[1]),
            80,
        )

    def unreliable(path: Path) -> Path:
        return lambda now: None if random.random() < 0.1 else path(now)

    ids = followed({str(index): unreliable(wandering(index)) for index in range(8)}, frames(20, 10), seed)
    changes = sum(before != after for given in ids.values() for before, after in itertools.pairwise(given))
    assert changes < sum(len(given) for given in ids.values()) / 200


# Coming and going -------------------------------------------------------------------------------------------------------


def test_who_comes_after_somebody_left_is_somebody_else() -> None:
    tracker = Tracker(0.75)
    (first,) = tracker.update([face(100, 300, 100)], 0, WIDTH, HEIGHT)
    assert first is not None
    for now in frames(3, 10)[1:]:
        assert tracker.update([], now, WIDTH, HEIGHT) == []
    assert tracker.ids == set()
    (second,) = tracker.update([face(100, 300, 100)], 3.1, WIDTH, HEIGHT)
    assert second is not None
    assert (first.id, second.id) == (1, 2)


@pytest.mark.parametrize("rate", [2, 15, 30])
@pytest.mark.parametrize("pause", [6, 25, 600])
def test_who_is_there_after_a_camera_paused_is_somebody_else(rate: float, pause: float) -> None:
    """Near where somebody was when it stopped; nobody knows who that is."""
    tracker = Tracker(0.75)
    for now in frames(4, rate):
        tracker.update([face(300, 300, 100)], now, WIDTH, HEIGHT)
    for now in frames(4, rate):
        (track,) = tracker.update([face(330, 310, 105)], 4 + pause + now, WIDTH, HEIGHT)
        assert track is not None
        assert track.id == 2


def test_a_slow_camera_expects_everybody_back() -> None:
    """A frame in ten seconds, in one of which nobody is found."""
    assert_kept(followed({"stands": hidden(line((300, 300), (0, 0)), 50, 55)}, [10.0 * index for index in range(12)]))


@pytest.mark.parametrize("seed", range(5))
def test_a_camera_that_has_to_wait_expects_everybody_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    assert_kept(followed({"stands": line((300, 300), (0, 0))}, np.cumsum(random.uniform(0.1, 1.9, 40))))


def test_who_walks_out_of_the_picture_is_not_waited_for() -> None:
    leaves, tracker = line((1080, 300), (200, 0)), Tracker(0.75)
    for now in frames(1, 10):
        tracker.update([face(*leaves(now))], now, WIDTH, HEIGHT)  # type: ignore[misc]
    tracker.update([], 1.1, WIDTH, HEIGHT)
    assert len(tracker.ids) == 0


def test_a_face_far_from_where_one_vanished_is_a_new_one() -> None:
    tracker = Tracker(0.75)
    for now in frames(1, 10):
        tracker.update([face(300, 300, 80)], now, WIDTH, HEIGHT)
    (track,) = tracker.update([face(900, 300, 80)], 1.8, WIDTH, HEIGHT)
    assert track is not None
    assert track.id == 2


def test_a_face_is_of_whom_was_seen_just_now_rather_than_of_whom_may_be_anywhere() -> None:
    """Its place is what both tracks expect, and the hidden one's ever more."""
    tracker = Tracker(0.75)
    for now in frames(1, 10):
        tracker.update([face(300, 300, 80), face(330, 300, 80)], now, WIDTH, HEIGHT)
    for now, x in zip(frames(0.6, 10), (330, 330, 330, 330, 330, 318), strict=True):
        (track,) = tracker.update([face(x, 300, 80)], 1 + now, WIDTH, HEIGHT)
        assert track is not None
        assert track.id == 2


def test_a_face_of_another_size_in_the_same_place_is_a_new_one() -> None:
    tracker = Tracker(0.75)
    for now in frames(1, 10):
        tracker.update([face(300, 300, 60)], now, WIDTH, HEIGHT)
    (track,) = tracker.update([face(300, 300, 240)], 1.0, WIDTH, HEIGHT)
    assert track is not None
    assert track.id == 2


def test_a_face_seen_once_is_forgotten_sooner() -> None:
    once, known = Tracker(0.75), Tracker(0.75)
    once.update([face(300, 300, 80)], 0, WIDTH, HEIGHT)
    for now in frames(1, 10):
        known.update([face(300, 300, 80)], now, WIDTH, HEIGHT)
    for now in frames(1, 10):
        once.update([], 0.1 + now, WIDTH, HEIGHT)
        known.update([], 1 + now, WIDTH, HEIGHT)
    assert (once.ids, known.ids) == (set(), {1})


def test_an_uncertain_face_continues_a_track_and_starts_none() -> None:
    tracker = Tracker(0.75)
    tracks = tracker.update([face(300, 300, 80), face(900, 300, 80, 0.6)], 0, WIDTH, HEIGHT)
    assert tracks[1] is None
    tracks = tracker.update([face(302, 300, 80, 0.6)], 0.1, WIDTH, HEIGHT)
    assert tracks[0] is not None
    assert (tracks[0].id, tracks[0].frames) == (1, 2)


def test_a_certain_face_is_assigned_before_an_uncertain_one() -> None:
    tracker = Tracker(0.75)
    tracker.update([face(300, 300, 80)], 0, WIDTH, HEIGHT)
    uncertain, certain = tracker.update([face(300, 300, 80, 0.6), face(310, 300, 80)], 0.1, WIDTH, HEIGHT)
    assert uncertain is None
    assert certain is not None
    assert certain.id == 1


def test_a_track_counts_its_frames_and_its_time() -> None:
    tracker = Tracker(0.75)
    for now in (10.0, 10.5, 11.0):
        (track,) = tracker.update([face(300, 300, 80)], now, WIDTH, HEIGHT)
    assert track is not None
    assert (track.frames, track.first_seen, track.last_seen) == (3, 10.0, 11.0)


def test_a_track_that_begins_anew_is_followed_by_another_id_from_its_last_frame_on() -> None:
    tracker = Tracker(0.75)
    for now in (10.0, 10.1):
        track, _ = tracker.update([face(300, 300, 80), face(900, 300, 80)], now, WIDTH, HEIGHT)
    assert track is not None
    tracker.renew(track)
    assert (track.id, track.frames, track.first_seen) == (3, 1, 10.1)
    assert tracker.update([face(302, 300, 80)], 10.2, WIDTH, HEIGHT) == [track]
    assert (track.frames, tracker.ids) == (2, {2, 3})


def test_the_same_instant_twice_is_no_error() -> None:
    tracker = Tracker(0.75)
    first = tracker.update([face(300, 300, 80)], 1, WIDTH, HEIGHT)
    assert tracker.update([face(300, 300, 80)], 1, WIDTH, HEIGHT) == first


def test_a_crowd_holds_nobody_up() -> None:
    """Streams of others, and probes, wait for the event loop meanwhile; here every face is in another place in each frame."""
    random, tracker = np.random.default_rng(0), Tracker(0.75)
    crowds = [[face(*random.uniform((0, 0), (WIDTH, HEIGHT)), 30) for _ in range(100)] for _ in range(8)]
    began = time.thread_time()
    for index, crowd in enumerate(crowds):
        assert None not in tracker.update(crowd, index / 10, WIDTH, HEIGHT)
    assert time.thread_time() - began < 0.8


def test_a_slow_film_is_followed_after_scenes_that_were_short() -> None:
    tracker, now = Tracker(0.75), 0.0
    for _ in range(5):
        tracker.clear()
        (first,) = tracker.update([face(300, 300, 100)], now, WIDTH, HEIGHT)
        now += 1
    for _ in range(3):
        now += 4
        (track,) = tracker.update([face(300, 300, 100)], now, WIDTH, HEIGHT)
        assert track is first


# The filter -------------------------------------------------------------------------------------------------------------


def truth(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(values, np.float64)


def test_the_filter_is_a_kalman_filter() -> None:
    """Against the textbook's matrices, over steps of different length."""
    motion = Motion.at(truth([1.0]), 0.3, 2.0, 0.7)
    state, covariance = np.array([1.0, 0.0]), np.diag([0.09, 4.0])
    for seconds, value in [(0.1, 1.2), (0.4, 2.0), (0.05, 1.9), (1.0, 5.0)]:
        step = np.array([[1, seconds], [0, 1]])
        noise = 0.49 * np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
        state, covariance = step @ state, step @ covariance @ step.T + noise
        gain = covariance[:, 0] / (covariance[0, 0] + 0.09)
        state = state + gain * (value - state[0])
        covariance = covariance - np.outer(gain, covariance[0])
        motion.advance(seconds)
        motion.correct(truth([value]))
        assert motion.place[0] == pytest.approx(state[0])
        assert motion.speed[0] == pytest.approx(state[1])
        assert [motion.variance, motion.covariance, motion.speed_variance] == pytest.approx(
            [covariance[0, 0], covariance[0, 1], covariance[1, 1]]
        )


# Frames of another size -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.5, 0.75, 2.0])
def test_a_frame_of_another_size_and_the_same_shape_keeps_every_id(factor: float) -> None:
    """Where one person now is, in pixels, another one was before."""
    tracker = Tracker(0.75)
    places = [150.0, 300.0, 550.0]
    for index in range(5):
        tracks = tracker.update([face(x, 300, 100) for x in places], index / 10, 1280, 720)
    ids = [track.id for track in tracks if track is not None]
    smaller = [face(x * factor, 300 * factor, 100 * factor) for x in places]
    for index in range(5, 10):
        tracks = tracker.update(smaller, index / 10, round(1280 * factor), round(720 * factor))
        assert [track.id for track in tracks if track is not None] == ids
    assert tracker.ids == set(ids)


def test_a_frame_of_another_shape_begins_anew() -> None:
    tracker = Tracker(0.75)
    for index in range(5):
        tracker.update([face(300, 300, 100)], index / 10, 1280, 720)
    (track,) = tracker.update([face(300, 300, 100)], 0.5, 720, 1280)
    assert track is not None
    assert (track.id, tracker.ids) == (2, {2})
