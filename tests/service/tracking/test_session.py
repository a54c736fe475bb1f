"""A scene: ids and means over frames of squares, and a network that is asked only where a frame is worth it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.errors import CorruptImage, InferenceError
from service.inference.pipeline import Options
from service.models.manifest import TrackCalibration
from service.settings import Settings
from service.tracking.session import LONGEST_PAUSE_S, FrameResult, TrackingSession
from service.vision.detection import Face
from service.vision.image import DecodedImage
from tests.conftest import encoded
from tests.fakes import ColourNetwork, FailingNetwork, Pixels, SquareDetector, engine_factory

OPTIONS = Options(("age", "gender", "race"), 100, 0.75)
Colour = tuple[int, int, int]


def frame(*squares: tuple[int, int, Colour], side: int = 40, width: int = 400) -> Pixels:
    """A black picture with squares at these places."""
    picture = np.zeros((200, width, 3), np.uint8)
    for x, y, colour in squares:
        picture[y : y + side, x : x + side] = colour
    return picture


class Camera:
    """A scene round fakes, and a clock."""

    def __init__(self, network: ColourNetwork, options: Options, **manifest: Any) -> None:
        self.network = network
        self.engine = engine_factory(network, **manifest)(Settings())
        self.scene = TrackingSession(self.engine.pipeline, options, self.engine.max_faces)
        self.now = 0.0

    async def shows(self, picture: Pixels, after: float = 0.1) -> FrameResult:
        self.now += after
        image = DecodedImage(picture, picture.shape[1], picture.shape[0])
        return await self.scene.step(image, self.now, asyncio.get_running_loop().time() + 10)

    @property
    def runs(self) -> int:
        return sum(self.network.batches)


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    camera = Camera(ColourNetwork(), OPTIONS)
    yield camera
    await camera.engine.close()


def ages(view: FrameResult) -> list[float]:
    return [face.attributes["age"].value for face in view.faces if face.attributes]


RED, GREEN = (200, 100, 50), (60, 200, 120)


async def test_two_faces_keep_their_ids_and_their_attributes_while_they_cross(camera: Camera) -> None:
    by_id: dict[int, set[int]] = {}
    for step in range(30):
        view = await camera.shows(frame((20 + 10 * step, 30, RED), (330 - 10 * step, 120, GREEN)))
        for face in view.faces:
            by_id.setdefault(face.id, set()).add(round(face.attributes["age"].value))
    assert list(by_id) == [1, 2]
    assert by_id[1] != by_id[2]
    assert all(len(years) == 1 for years in by_id.values())
    assert all(face.frames == 30 for face in view.faces)
    assert all(face.age_s == pytest.approx(2.9) for face in view.faces)


async def test_the_network_runs_on_few_of_many_frames(camera: Camera) -> None:
    """Ten seconds at 30 frames a second: every frame has attributes, one in fifteen was looked at."""
    views = [await camera.shows(frame((20, 30, RED)), 1 / 30) for _ in range(300)]
    assert all(ages(view) for view in views)
    assert camera.runs == sum(view.runs for view in views) == views[-1].faces[0].answers
    assert 8 <= camera.runs <= 20


async def test_runs_grow_rare_but_never_end(camera: Camera) -> None:
    looked = [camera.now for _ in range(1200) if (await camera.shows(frame((20, 30, RED)), 0.05)).runs]
    pauses = np.diff(looked)
    assert pauses[0] < 0.25
    assert LONGEST_PAUSE_S <= pauses[-1] <= LONGEST_PAUSE_S + 0.06


async def test_the_first_frame_of_a_face_is_always_looked_at(camera: Camera) -> None:
    await camera.shows(frame((20, 30, RED)))
    view = await camera.shows(frame((20, 30, RED), (220, 30, GREEN)))
    assert [face.answers for face in view.faces] == [1, 1]
    assert view.runs == 1


async def test_the_mean_of_a_track_is_that_of_its_frames(camera: Camera) -> None:
    first = await camera.shows(frame((20, 30, (190, 100, 50))))
    second = await camera.shows(frame((20, 30, (200, 100, 50))), 0.5)
    alone = Camera(ColourNetwork(), OPTIONS)
    red = await alone.shows(frame((20, 30, (200, 100, 50))))
    await alone.engine.close()
    assert ages(red)[0] - ages(first)[0] > 3
    assert ages(second) == [pytest.approx((ages(first)[0] + ages(red)[0]) / 2, abs=0.2)]
    assert second.faces[0].answers == 2


async def test_a_worse_frame_is_not_worth_the_network_and_a_better_one_is_at_once() -> None:
    """Small squares count for less than large ones, where the calibration says so."""
    camera = Camera(ColourNetwork(), OPTIONS, track=TrackCalibration(doublings={"small": 3.0}))
    small, large = frame((180, 80, RED), side=32), frame((175, 75, RED), side=42)
    views = [await camera.shows(picture, after) for picture, after in [(small, 0.1), (large, 0.1), (small, 1.0), (large, 1.0)]]
    assert {face.id for view in views for face in view.faces} == {1}
    assert [view.runs for view in views] == [1, 1, 0, 1], "the second is better, and does not wait; the third is worse"
    await camera.engine.close()


async def test_a_face_that_is_hidden_for_a_second_is_not_looked_at_as_a_new_one(camera: Camera) -> None:
    for _ in range(10):
        before = await camera.shows(frame((20, 30, RED)))
    for _ in range(10):
        assert (await camera.shows(frame())).faces == []
    after = await camera.shows(frame((22, 30, RED)))
    assert [face.id for face in after.faces] == [face.id for face in before.faces]
    assert after.faces[0].frames == 11
    assert after.faces[0].answers >= before.faces[0].answers


async def test_nothing_of_a_face_that_has_gone_is_kept(camera: Camera) -> None:
    await camera.shows(frame((20, 30, RED)))
    for _ in range(30):
        await camera.shows(frame())
    assert camera.scene.known == set()
    view = await camera.shows(frame((20, 30, GREEN)))
    assert [face.id for face in view.faces] == [2]


@pytest.mark.parametrize(("absent", "within"), [(0, 10), (5, 2)])
async def test_who_takes_a_faces_place_is_somebody_else_and_in_no_mean_with_it(
    camera: Camera, absent: int, within: int
) -> None:
    """Within a frame, as at a cut or where a camera is mirrored, or while nobody was seen: then it is known in two frames."""
    for _ in range(10):
        before = await camera.shows(frame((20, 30, RED)))
    for _ in range(absent):
        await camera.shows(frame())
    views = [await camera.shows(frame((22, 30, GREEN))) for _ in range(within)]
    (seen,) = views[-1].faces
    assert seen.id == 2
    assert seen.frames <= within
    alone = Camera(ColourNetwork(), OPTIONS)
    green = await alone.shows(frame((22, 30, GREEN)))
    await alone.engine.close()
    assert {round(years) for view in views for years in ages(view)} == {round(years) for years in ages(before) + ages(green)}


async def test_who_takes_a_faces_place_is_somebody_else_in_worse_frames_too() -> None:
    camera = Camera(ColourNetwork(), OPTIONS, track=TrackCalibration(doublings={"small": 3.0}))
    for _ in range(5):
        await camera.shows(frame((175, 75, RED), side=42))
    views = [await camera.shows(frame((180, 80, GREEN), side=32), 0.5) for _ in range(10)]
    assert [face.id for face in views[-1].faces] == [2]
    await camera.engine.close()


async def test_one_answer_that_contradicts_all_others_ends_no_track(camera: Camera) -> None:
    for _ in range(10):
        before = await camera.shows(frame((20, 30, RED)))
    odd = await camera.shows(frame((20, 30, GREEN)), 2)
    after = [await camera.shows(frame((20, 30, RED)), wait) for wait in (0.1, 2)]
    assert [view.runs for view in (odd, *after)] == [1, 1, 1], "after a doubt it is looked at again at once"
    assert {face.id for view in after for face in view.faces} == {1}
    assert ages(after[-1]) == pytest.approx(ages(before))


@pytest.mark.parametrize("wanted", [("age",), ("gender", "race"), ()])
async def test_what_is_not_asked_for_is_not_told(wanted: Sequence[str]) -> None:
    camera = Camera(ColourNetwork(), Options(wanted, 100, 0.75))
    for _ in range(2):
        view = await camera.shows(frame((20, 30, RED)), 0.5)
    assert list(view.faces[0].attributes) == list(wanted)
    await camera.engine.close()


async def test_a_scene_goes_on_after_a_bad_photo_and_a_failing_network() -> None:
    camera = Camera(FailingNetwork(ValueError("odd")), OPTIONS)
    deadline = asyncio.get_running_loop().time() + 10
    with pytest.raises(CorruptImage):
        await camera.scene.step(encoded(frame((20, 30, GREEN)), "JPEG")[:200], 0.1, deadline)
    with pytest.raises(InferenceError):
        await camera.shows(frame((20, 30, (255, 10, 10))))
    view = await camera.shows(frame((20, 30, GREEN)))
    assert [face.id for face in view.faces] == [1]
    assert len(ages(view)) == 1
    await camera.engine.close()


class DimmingDetector(SquareDetector):
    """Takes dim squares for faces that are doubtful."""

    def detect(self, pixels: Pixels) -> list[Face]:
        return [
            replace(face, confidence=0.99 if pixels[int(face.box[1]), int(face.box[0])].max() > 100 else 0.65)
            for face in super().detect(pixels)
        ]


async def test_a_large_face_that_is_doubtful_does_not_hide_a_certain_one() -> None:
    camera = Camera(ColourNetwork(), Options(("age",), 1, 0.75), detector=DimmingDetector())
    picture = frame((200, 30, RED))
    picture[20:140, 20:140] = 60
    for _ in range(3):
        (seen,) = (await camera.shows(picture)).faces
        assert (seen.id, seen.face.box[0], seen.face.confidence) == (1, 200, 0.99)
    await camera.engine.close()


async def test_of_many_faces_the_largest_are_answered_though_they_are_certain_no_longer() -> None:
    camera = Camera(ColourNetwork(), Options(("age",), 1, 0.75), detector=DimmingDetector())
    for red in (200, 60, 200):
        picture = frame((200, 30, RED))
        picture[20:140, 20:140] = (red, 50, 50)
        view = await camera.shows(picture)
        assert [(seen.id, seen.face.box[0]) for seen in view.faces] == [(1, 20)]
        assert view.runs <= 1
    await camera.engine.close()


@pytest.mark.parametrize("after", [0.1, 0.4])
async def test_of_two_faces_alike_each_keeps_its_id_though_one_alone_is_answered(after: float) -> None:
    """They stand side by side, and now one is the larger, now the other, for a second or three at a time."""
    camera = Camera(ColourNetwork(), Options(("age",), 1, 0.75))
    seen: dict[int, set[int]] = {}
    for index in range(40):
        turn = index // 8 % 2
        picture = frame((100, 30, RED), side=40 + 2 * turn)
        picture[30:71, 160:201] = GREEN
        (one,) = (await camera.shows(picture, after)).faces
        seen.setdefault(one.id, set()).add(round(float(one.face.box[0])))
    assert sorted(seen.values(), key=min) == [{100}, {160}]
    await camera.engine.close()
