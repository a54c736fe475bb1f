"""What every detector of the store finds: faces of any size, at the edge, turned, hidden in part; and none where none is."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
from service.vision.detection import SIDE_PX, Detector, locate
from service.vision.detection.registry import load_detector
from service.vision.detection.second_look import quarter_turned
from tests.service.vision.detection.conftest import COUNTS, GREY, blurred_beside, overlap, sure

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module", params=["mtcnn", "centerface"])
def detector(request: pytest.FixtureRequest, root: Path) -> Detector:
    """As the service loads it, in float32."""
    load = loader(Runtime.OPENVINO, Precision.F32, 2)
    return load_detector(ModelStore(root / "model_store"), request.param, load)[0]


# Photos with faces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [24, 27, 31, 36, 42, 48, 56, 65, 75, 88, 102, 118, 137, 158, 183, 213, 280, 370, 480, 600])
def test_a_face_of_any_size_is_found_once(detector: Detector, photos: dict[str, Pixels], size: int) -> None:
    """The astronaut's head, whose face is 112 pixels high, at a size, on plain ground."""
    ratio = size / 112
    head = photos["astronaut"][0:260, 90:360]
    shrink = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    head = cv2.resize(head, None, fx=ratio, fy=ratio, interpolation=shrink)
    picture = np.full((head.shape[0] + 60, head.shape[1] + 90, 3), GREY, np.uint8)
    picture[30 : 30 + head.shape[0], 50 : 50 + head.shape[1]] = head
    faces = sure(detector.detect(picture))
    assert len(faces) == 1
    expected = np.array([(182 - 90) * ratio + 50, 61 * ratio + 30, (267 - 90) * ratio + 50, 173 * ratio + 30])
    assert overlap(faces[0].box, expected) > 0.75


def test_all_seven_of_the_group_are_found_and_nobody_else(detector: Detector, photos: dict[str, Pixels]) -> None:
    faces = sure(locate(photos["group"], detector, 1280))
    middles = [((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2) for face in faces]
    expected = [(410, 312), (409, 1014), (676, 879), (1002, 258), (979, 906), (1375, 752), (1487, 220)]
    assert len(faces) == 7
    for x, y in expected:
        assert min(math.hypot(x - u, y - v) for u, v in middles) < 20
    lefts = [float(face.box[0]) for face in faces]
    assert lefts == sorted(lefts)
    for face in faces:
        left_eye, right_eye, nose, mouth_left, mouth_right = face.landmarks
        assert left_eye[0] < right_eye[0], "left is the viewer's"
        assert mouth_left[0] < mouth_right[0]
        assert max(left_eye[1], right_eye[1]) < min(mouth_left[1], mouth_right[1])
        assert (nose > face.box[:2]).all()
        assert (nose < face.box[2:]).all()


def test_a_mirrored_photo_has_the_mirrored_face(detector: Detector, photos: dict[str, Pixels]) -> None:
    (face,) = sure(detector.detect(photos["astronaut"]))
    (mirrored,) = sure(detector.detect(np.ascontiguousarray(photos["astronaut"][:, ::-1])))
    swapped = (mirrored.landmarks * [-1, 1] + [511, 0])[[1, 0, 2, 4, 3]]
    assert np.abs(swapped - face.landmarks).max() < 3
    assert mirrored.confidence == pytest.approx(face.confidence, abs=0.01)


@pytest.mark.parametrize("window", [(190, 0, 512, 400), (0, 0, 260, 400), (60, 72, 400, 400), (60, 0, 400, 168)])
def test_a_face_at_the_pictures_edge_is_found(
    detector: Detector, photos: dict[str, Pixels], window: tuple[int, int, int, int]
) -> None:
    """Cut through the forehead, the chin or a temple; the face is 182 to 267 by 61 to 173."""
    x0, y0, x1, y1 = window
    part = np.ascontiguousarray(photos["astronaut"][y0:y1, x0:x1])
    faces = sure(locate(part, detector, 1280))
    assert len(faces) == 1
    box = faces[0].box
    assert overlap(np.add(box, [x0, y0, x0, y0]), [182, 61, 267, 173]) > 0.7
    assert (box >= 0).all()
    assert (box <= [x1 - x0, y1 - y0, x1 - x0, y1 - y0]).all()


def test_a_face_on_its_way_to_lie_down_is_found_turned_back(detector: Detector, photos: dict[str, Pixels]) -> None:
    photo = photos["obama"]
    (face,) = sure(detector.detect(photo))
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 60, 1)
    (found,) = sure(detector.detect(cv2.warpAffine(photo, turn, (width, height)).astype(np.uint8)))
    away = found.landmarks - (face.landmarks @ turn[:, :2].T + turn[:, 2])
    assert np.linalg.norm(away, axis=1).mean() < 0.15 * (face.box[2] - face.box[0])


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("name", COUNTS)
def test_faces_of_a_picture_that_lies_are_found_as_if_it_stood(
    detector: Detector, photos: dict[str, Pixels], name: str, quarters: int
) -> None:
    """Scans, screenshots and messengers lose what a camera noted of its turn."""
    turned_photo, back = quarter_turned(photos[name], quarters)
    faces, found = sure(locate(photos[name], detector, SIDE_PX)), sure(locate(turned_photo, detector, SIDE_PX))
    assert len(found) == len(faces) == COUNTS[name]
    there = np.stack([face.landmarks @ back[:, :2].T + back[:, 2] for face in found])
    for face in faces:
        away = np.linalg.norm(there - face.landmarks, axis=2).mean(axis=1)
        nearest = found[int(away.argmin())]
        assert away.min() < 0.05 * (face.box[2] - face.box[0])
        turned_photo_sides, sides = nearest.box[2:] - nearest.box[:2], face.box[2:] - face.box[:2]
        assert turned_photo_sides == pytest.approx(sides if quarters == 2 else sides[::-1], rel=0.05)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("side", [300, 500, 860])
def test_no_face_of_a_reduced_picture_is_lost_where_it_lies(
    detector: Detector, photos: dict[str, Pixels], side: int, quarters: int
) -> None:
    """Some heads are tilted, and none tells the picture's turn alone; others are small."""
    group = cv2.resize(photos["group"], (side, side * 3 // 4), interpolation=cv2.INTER_AREA).astype(np.uint8)
    upright, lying = (sure(detector.detect(picture)) for picture in (group, quarter_turned(group, quarters)[0]))
    assert len(lying) >= len(upright) >= 2


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_quarter_turns_places_are_those_of_the_picture(quarters: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    copy, back = quarter_turned(picture, quarters)
    for row, column in np.ndindex(copy.shape[:2]):
        x, y = (back[:, :2] @ [column, row] + back[:, 2]).astype(int)
        assert copy[row, column].tolist() == picture[y, x].tolist()


def test_a_doubtful_face_of_a_picture_that_lies_is_seen_as_if_it_stood(detector: Detector, examples: Path) -> None:
    picture = blurred_beside(examples, 48, 3.5)
    stands, lies = (
        sorted(face.confidence for face in detector.detect(np.ascontiguousarray(one)) if face.confidence > 0.5)
        for one in (picture, np.rot90(picture))
    )
    assert len(stands) == 2
    assert lies == pytest.approx(stands, abs=0.01)


def beside(photos: dict[str, Pixels], name: str, easy: str, degrees: float) -> Pixels:
    """A head turned counterclockwise about its middle, on plain ground, to the left of another photo that stands upright."""
    size = 400
    left, right = (
        cv2.resize(photos[one][:side, :side], (size, size), interpolation=cv2.INTER_AREA)
        for one in (name, easy)
        for side in [min(photos[one].shape[:2])]
    )
    turn = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), degrees, 0.8)
    turned = cv2.warpAffine(left, turn, (size, size), borderValue=(GREY, GREY, GREY))
    return np.ascontiguousarray(np.concatenate([turned, right], axis=1), dtype=np.uint8)


@pytest.mark.parametrize("degrees", [60, 90, 135, 180, -90])
@pytest.mark.parametrize(("name", "easy"), [("obama", "biden"), ("biden", "astronaut")])
def test_a_turned_head_beside_an_upright_one_is_found_as_it_lies(
    detector: Detector, photos: dict[str, Pixels], name: str, easy: str, degrees: float
) -> None:
    """What is looked at again is a region and not a picture."""
    picture = beside(photos, name, easy, degrees)
    found = sure(detector.detect(picture))
    (upright,) = sure(detector.detect(np.ascontiguousarray(picture[:, 400:])))
    (turned,) = [face for face in found if face.box[0] < 400]
    (other,) = [face for face in found if face.box[0] >= 400]
    assert np.abs(other.landmarks - upright.landmarks - [400, 0]).max() < 2
    eyes = turned.landmarks[1] - turned.landmarks[0]
    slope = math.degrees(math.atan2(eyes[1], eyes[0]))
    assert abs((slope + degrees + 180) % 360 - 180) < 25


def test_a_face_that_is_hidden_in_part_is_found_beside_another(detector: Detector, photos: dict[str, Pixels]) -> None:
    capped = photos["astronaut"].copy()
    cv2.rectangle(capped, (165, 29), (284, 117), (40, 60, 90), -1)
    assert len(sure(detector.detect(capped))) == 1
    easy = cv2.resize(photos["biden"][:, : photos["biden"].shape[0]], (512, 512), interpolation=cv2.INTER_AREA)
    found = sure(detector.detect(np.ascontiguousarray(np.concatenate([capped, easy], axis=1), dtype=np.uint8)))
    assert len([face for face in found if face.box[0] < 512]) == 1


def test_threads_at_once_get_the_answers_of_one(detector: Detector, photos: dict[str, Pixels]) -> None:
    pictures = [
        photos["astronaut"],
        photos["group"][300:1200:2, 300:1600:2],
        photos["biden"][::3, ::3],
        photos["obama"][::3, ::3],
    ]
    alone = [detector.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector.detect, pictures * 4))
    for index, faces in enumerate(together):
        expected = alone[index % len(pictures)]
        assert len(faces) == len(expected) > 0
        for face, other in zip(faces, expected, strict=True):
            assert np.array_equal(face.box, other.box)
            assert np.array_equal(face.landmarks, other.landmarks)
            assert face.confidence == other.confidence


# Pictures without faces -------------------------------------------------------------------------------------------------


def noise(blur: float, seed: int = 0) -> Pixels:
    """Coloured noise, blurred and stretched to the whole range."""
    picture = np.random.default_rng(seed).integers(0, 256, (512, 640, 3), dtype=np.uint8)
    if blur:
        picture = cv2.normalize(cv2.GaussianBlur(picture, (0, 0), blur), None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    return picture


def shaded(function: Callable[[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[Any]]) -> Pixels:
    """A grey picture of a function of x and y, 0 to 1."""
    y, x = np.mgrid[0:512, 0:640]
    return np.repeat((255 * function(x, y)).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def dots(step: int, radius: int, ground: int) -> Pixels:
    picture = np.full((512, 640, 3), ground, np.uint8)
    for y in range(step, 512, step):
        for x in range(step, 640, step):
            cv2.circle(picture, (x, y), radius, (255 - ground, 180, 120), -1)
    return picture


FACELESS = {
    **{f"plain {value}": np.full((512, 640, 3), value, np.uint8) for value in (0, 127, 255)},
    "skin": np.full((512, 640, 3), (224, 172, 138), np.uint8),
    **{f"noise blurred by {blur}": noise(blur, seed) for seed, blur in enumerate((0, 0.7, 1, 1.5, 2, 3, 5, 8, 13, 21, 34))},
    **{f"checks of {side}": shaded(lambda x, y, s=side: (x // s + y // s) % 2) for side in (1, 2, 5, 12, 40, 128)},
    **{f"stripes of {side}": shaded(lambda x, y, s=side: x // s % 2) for side in (1, 3, 10, 33)},
    **{f"bars of {side}": shaded(lambda x, y, s=side: y // s % 2) for side in (2, 7, 25)},
    "ramp": shaded(lambda x, y: x / 640),
    "slope": shaded(lambda x, y: (x + y) / 1152),
    "glow": shaded(lambda x, y: np.exp(-(np.square(x - 320) + np.square(y - 256)) / 2e4)),
    "rings": shaded(lambda x, y: (1 + np.sin(np.hypot(x - 320, y - 256) / 9)) / 2),
    "waves": shaded(lambda x, y: (2 + np.sin(x / 15) + np.sin(y / 11)) / 4),
    **{f"dots of {radius}": dots(4 * radius, radius, ground) for radius, ground in ((3, 0), (6, 255), (12, 60), (30, 200))},
}


@pytest.mark.parametrize("name", FACELESS)
def test_a_picture_without_a_face_has_none(detector: Detector, name: str) -> None:
    assert sure(detector.detect(FACELESS[name])) == []


@pytest.mark.parametrize("shape", [(16, 16), (16, 5000), (5000, 16), (24, 24), (23, 400), (17, 30), (1, 1)])
def test_tiny_pictures_are_searched_without_an_error(detector: Detector, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert sure(locate(picture, detector, 1280)) == []
