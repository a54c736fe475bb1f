"""The single-shot detector: centres become faces at their places, and photos have the faces that they show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.models.runtime import Network, Precision, Runtime, loader
from service.models.store import ModelStore
from service.vision.detection import MIN_CONFIDENCE, SIDE_PX, Face, centerface, locate, mtcnn
from service.vision.detection.centerface import CANVASES, CELL, DIVISOR, CenterFaceDetector, create, in_company
from service.vision.image import decode
from tests.service.vision.detection.conftest import blurred_beside, sure

Pixels = npt.NDArray[np.uint8]
Outputs = dict[str, npt.NDArray[np.float32]]


class OneCentre:
    """A network with one certain face: 80 wide and 96 high, its centre in the middle of the cell of row 12 and column 20. It
    sees none in a picture that stands on its short side.
    """

    precision = "f32"
    eyes = ((0.3, 0.3), (0.7, 0.3))

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, batch: Pixels) -> Outputs:
        """Answers of one face, whatever the picture shows."""
        self.shapes.append(batch.shape)
        rows, columns = batch.shape[1] // CELL, batch.shape[2] // CELL
        answers = {"probability": np.zeros((1, rows, columns), np.float32)}
        answers |= {
            "log_sizes": np.zeros((1, rows, columns, 2), np.float32),
            "offsets": np.zeros((1, rows, columns, 2), np.float32),
        }
        answers["landmarks"] = np.zeros((1, rows, columns, 10), np.float32)
        answers["probability"][0, 12, 20] = 0.9 * (columns > rows)
        answers["log_sizes"][0, 12, 20] = np.log([96 / CELL, 80 / CELL])
        points = np.array([*self.eyes, (0.5, 0.5), (0.35, 0.7), (0.65, 0.7)], np.float32)
        answers["landmarks"][0, 12, 20] = points[:, ::-1].ravel()
        return answers


class Crowd:
    """A network with 20 by 10 heads of nine cells each: a quarter are less certain than any cell of the others."""

    precision = "f32"

    def __call__(self, batch: Pixels) -> Outputs:
        """Heads of 14 pixels in each square of 16."""
        head = np.array([[0.4, 0.6, 0.4], [0.6, 0.9, 0.6], [0.4, 0.6, 0.4]], np.float32)
        square = np.pad(head, ((0, 1), (0, 1)))
        certain = np.ones((10, 20), np.float32)
        certain[:, ::4] = 1 / 3
        probability = np.kron(certain, square)[np.newaxis]
        shape = probability.shape
        points = np.array([(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.35, 0.7), (0.65, 0.7)], np.float32)
        return {
            "probability": probability,
            "log_sizes": np.full((*shape, 2), np.log(14 / CELL), np.float32),
            "offsets": np.zeros((*shape, 2), np.float32),
            "landmarks": np.tile(points[:, ::-1].ravel(), (*shape, 1)),
        }


class Certain:
    """An O-Net that is sure of every window, and leaves its box as it is."""

    precision = "f32"

    def __call__(self, batch: Pixels) -> Outputs:
        """The same face in each window."""
        count = len(batch)
        points = np.array([0.3, 0.7, 0.5, 0.35, 0.65, 0.3, 0.3, 0.5, 0.7, 0.7], np.float32)
        return {
            "probability": np.ones(count, np.float32),
            "offsets": np.zeros((count, 4), np.float32),
            "landmarks": np.tile(points, (count, 1)),
        }


@pytest.fixture(scope="module")
def detector(root: Path) -> CenterFaceDetector:
    """As the service builds it."""
    load = loader(Runtime.OPENVINO, Precision.F32, 2)
    return create(ModelStore(root / "model_store").load("centerface", None, load, kind="detector").networks, 24)


@pytest.mark.parametrize("module", [centerface, mtcnn])
def test_what_one_face_takes_is_prepared_before_the_first_photo(module: Any) -> None:
    sizes = []

    class Noted(Certain):
        def __call__(self, batch: Pixels) -> Outputs:
            sizes.append(len(batch))
            return super().__call__(batch)

    onet = Noted()
    module.create({"faces": onet, "pnet": onet, "rnet": onet, "onet": onet}, 24)
    assert sizes == [1, 6]


@pytest.mark.parametrize(("min_face", "canvas"), [(12, (384, 640)), (24, (256, 320))])
def test_a_centre_becomes_a_face_at_its_place(min_face: float, canvas: tuple[int, int]) -> None:
    network = OneCentre()
    (face,) = create({"faces": network, "rnet": Certain(), "onet": Certain()}, min_face).detect(
        np.zeros((250, 520, 3), np.uint8)
    )
    scale = min_face / 12
    assert network.shapes == [(1, *canvas, 3)]
    centre, side = np.array([82, 50]) * scale, 96 * scale
    # O-Net's windows are squares, one of the six is an eighth larger, and its boxes count pixels.
    np.testing.assert_allclose((face.box[:2] + face.box[2:]) / 2, centre, atol=0.02 * side)
    np.testing.assert_allclose(face.box[2:] - face.box[:2], side, atol=0.03 * side)
    np.testing.assert_allclose(face.landmarks[2], centre, atol=0.02 * side)
    assert face.confidence > 0.95


def test_pictures_of_all_sizes_are_of_few_sizes_to_the_network() -> None:
    network = OneCentre()
    detector = create({"faces": network, "rnet": Certain(), "onet": Certain()}, 24)
    for height, width in [(960, 1280), (720, 1280), (853, 1280), (1024, 1280), (512, 512), (250, 250), (1280, 300), (30, 1280)]:
        detector.detect(np.zeros((height, width, 3), np.uint8))
    assert [shape[1:3] for shape in network.shapes] == [
        *((480, 640), (384, 640), (480, 640), (512, 640)),
        *((256, 256), (128, 128), (640, 384), (384, 640)),
    ]


def test_a_canvas_is_not_much_larger_than_what_is_on_it() -> None:
    assert len(CANVASES) <= 20  # oneDNN keeps 1,024 primitives, some 60 of them for each size
    assert all(side % 32 == 0 for canvas in CANVASES for side in canvas)
    sides = np.arange(40, 641, 8)
    photos = [(a, b) for a in sides for b in sides if max(a, b) <= 2 * min(a, b)]
    empty = [math.prod(next(one for one in CANVASES if one[0] >= a and one[1] >= b)) - a * b for a, b in photos]
    assert np.mean(empty) < 0.15 * math.prod(CANVASES[-1])
    assert max(empty) < 0.4 * math.prod(CANVASES[-1])


def test_a_picture_larger_than_every_canvas_is_padded_to_the_next_multiple() -> None:
    network = OneCentre()
    create({"faces": network, "rnet": Certain(), "onet": Certain()}, 12).detect(np.zeros((650, 900, 3), np.uint8))
    assert network.shapes == [(1, 704, 960, 3)]
    assert 704 % DIVISOR == 960 % DIVISOR == 0


def test_a_face_that_is_rolled_is_read_upright() -> None:
    network = OneCentre()
    network.eyes = ((0.5, 0.2), (0.5, 0.6))
    (face,) = create({"faces": network, "rnet": Certain(), "onet": Certain()}, 12).detect(np.zeros((256, 320, 3), np.uint8))
    x, y = face.landmarks[1] - face.landmarks[0]
    assert abs(np.rad2deg(np.arctan2(y, x)) - 90) < 1


def test_no_cell_beside_a_centre_takes_the_place_of_another_head() -> None:
    found = create({"faces": Crowd(), "rnet": Certain(), "onet": Certain()}, 12).detect(np.zeros((160, 320, 3), np.uint8))
    assert len(found) == 200
    assert len({(round(face.box[0] / 16), round(face.box[1] / 16)) for face in found}) == 200


def test_landmarks_come_of_the_weights_of_the_cascades_own_network(root: Path) -> None:
    store = ModelStore(root / "model_store")
    own, cascade = (
        {name: digest for name, digest in store.find(title, None)[0].files.items() if name.startswith(("rnet/v", "onet/v"))}
        for title in ("centerface", "mtcnn")
    )
    assert own == cascade != {}


@pytest.mark.model
@pytest.mark.parametrize(("name", "count"), [("astronaut", 1), ("obama", 1), ("biden", 1), ("group", 7)])
def test_examples_have_the_faces_and_landmarks_that_the_cascade_finds(
    detector: CenterFaceDetector, mtcnn_networks: Mapping[str, Network], examples: Path, name: str, count: int
) -> None:
    from service.vision.detection.mtcnn import MtcnnDetector

    pixels = decode((examples / f"{name}.jpg").read_bytes(), max_pixels=10**7, side=SIDE_PX).pixels
    found = sure(locate(pixels, detector, SIDE_PX))
    expected = sure(locate(pixels, MtcnnDetector(**mtcnn_networks), SIDE_PX))
    assert len(found) == len(expected) == count
    for one, other in zip(found, expected, strict=True):
        side = float((other.box[2:] - other.box[:2]).max())
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.04 * side)


def test_beside_a_certain_face_confidences_below_it_rise_in_their_order() -> None:
    given = [0.0, 0.3, 0.6, 0.75, 0.89, 0.9, 0.95, 1.0]
    nowhere = np.zeros(4, np.float32), np.zeros((5, 2), np.float32)
    doubtful = [Face(*nowhere, one) for one in given[:5]]
    assert in_company(doubtful) == doubtful, "none is certain"
    counted = [face.confidence for face in in_company([Face(*nowhere, one) for one in given])]
    assert counted == sorted(counted)
    assert counted[2:4] == pytest.approx([MIN_CONFIDENCE, 0.825])
    assert counted[5:] == given[5:]
    assert in_company([]) == []


@pytest.mark.model
@pytest.mark.parametrize("quarters", [0, 1])
def test_a_doubtful_face_is_answered_beside_a_certain_one(detector: CenterFaceDetector, examples: Path, quarters: int) -> None:
    """A head that is blurred by a tenth of its face, alone and beside another photo, as it stands and as it lies."""
    picture = blurred_beside(examples, 64, 5)
    assert sure(detector.detect(np.ascontiguousarray(picture[:, :400]))) == []
    assert len(sure(detector.detect(np.ascontiguousarray(np.rot90(picture, quarters))))) == 2


@pytest.mark.model
@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (31, 33)])
def test_tiny_and_narrow_pictures_are_searched(detector: CenterFaceDetector, shape: tuple[int, int]) -> None:
    assert locate(np.zeros((*shape, 3), np.uint8), detector, SIDE_PX) == []
