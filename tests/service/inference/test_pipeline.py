"""The whole story below HTTP: the same photo gets the same answer, and every turn of its pixels is noticed."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image

from service.errors import CorruptImage, DeadlineExceeded, FacetError, ImageTooLarge, InferenceError
from service.inference.attributes import CONTRACT
from service.inference.batching import Batcher
from service.inference.pipeline import AnalysedFace, Analysis, Limits, Options, Pipeline, largest
from service.inference.workers import Workers
from service.models.runtime import Network
from service.models.store import Manifest
from service.vision.detection import Detector, Face
from service.vision.detection.mtcnn import MtcnnDetector
from service.vision.image import decode
from service.vision.quality import Quality
from tests.conftest import encoded
from tests.fakes import RACES, TEMPLATE, ColourNetwork, SquareDetector, decoder_of, manifest, squares

FACE_TEMPLATE = ((0.294, 0.286), (0.688, 0.286), (0.489, 0.517), (0.314, 0.691), (0.667, 0.691))
"""That of the shipped models, nearly."""

Pixels = npt.NDArray[np.uint8]
Outputs = dict[str, npt.NDArray[np.float32]]

OPTIONS = Options(CONTRACT, 100, 0.9)


class CornerNetwork(ColourNetwork):
    """Tells the colours of the crop's corners: what is turned, mirrored or of another colour order answers otherwise.

    Age is the red of the upper left, gender the green of the upper right; race is the red, green and blue of the lower left
    and the red and blue of the lower right, in parts of their sum.
    """

    def __call__(self, batch: Pixels) -> Outputs:
        self.batches.append(len(batch))
        crops = batch.astype(np.float32) / 255
        lower = np.concatenate([crops[:, 11, 4], crops[:, 11, 11][:, [0, 2]]], axis=1) + 0.01
        return {
            "age": crops[:, 4, 4, 0] * 100,
            "age_distribution": super().__call__(batch)["age_distribution"],
            "gender": crops[:, 4, 11, 1],
            "race": lower / lower.sum(axis=1, keepdims=True),
        }


@asynccontextmanager
async def running(
    detector: Detector | None = None,
    network: Any | None = None,
    *,
    pixels: int = 64_000_000,
    side: int = 1280,
    described: Manifest | None = None,
    threads: int = 2,
    capacity: int = 512,
) -> AsyncIterator[Pipeline]:
    """A pipeline round real queues."""
    batcher, workers = Batcher(network or ColourNetwork(), capacity), Workers(threads, 100)
    try:
        limits, decoder = Limits(pixels, side), decoder_of(workers)
        yield Pipeline(detector or SquareDetector(), described or manifest(), batcher, workers, limits, decoder)
    finally:
        await batcher.close()
        await workers.close()


async def analysed(pipeline: Pipeline, data: bytes, options: Options = OPTIONS, seconds: float = 60) -> Analysis:
    return await pipeline.analyse(data, options, asyncio.get_running_loop().time() + seconds)


def said(person: AnalysedFace) -> tuple[Any, ...]:
    """Everything that is told of a face, to be compared."""
    attributes = person.attributes
    return (
        person.face.box.tolist(),
        person.face.landmarks.tolist(),
        person.face.confidence,
        [getattr(attributes.get("age"), name, None) for name in ("value", "low", "high")],
        [getattr(attributes.get(name), "probabilities", None) for name in ("gender", "race")],
        person.quality,
        person.warnings,
    )


def age(person: AnalysedFace) -> float:
    return person.attributes["age"].value


class Nobody(SquareDetector):
    """Finds nothing."""

    def detect(self, pixels: Pixels) -> list[Face]:
        return []


async def test_frames_of_streams_may_have_a_detector_of_their_own() -> None:
    photo, batcher, workers = encoded(squares((255, 60, 60))), Batcher(ColourNetwork(), 512), Workers(2, 100)
    due = asyncio.get_running_loop().time() + 60
    for streaming in (None, Nobody()):
        limits, decoder = Limits(10**6, 1280), decoder_of(workers)
        pipeline = Pipeline(SquareDetector(), manifest(), batcher, workers, limits, decoder, streaming)
        for one in (pipeline, pipeline.with_model(manifest(), batcher)):
            assert len((await one.analyse(photo, OPTIONS, due)).faces) == 1
            assert len((await one.detect(photo, OPTIONS, due)).faces) == (0 if streaming else 1)
    await batcher.close()
    await workers.close()


# One photo --------------------------------------------------------------------------------------------------------------


async def test_every_face_gets_the_answer_of_its_own_colour() -> None:
    colours = [(255, 60, 60), (60, 255, 120), (60, 60, 255), (200, 200, 10)]
    async with running() as pipeline:
        analysis = await analysed(pipeline, encoded(squares(*colours)))
    assert (analysis.width, analysis.height) == (260, 80)
    assert len(analysis.faces) == 4
    for index, (person, (red, green, blue)) in enumerate(zip(analysis.faces, colours, strict=True)):
        assert person.face.box.tolist() == [20 + 60 * index, 20, 60 + 60 * index, 60]
        assert age(person) == pytest.approx(red / 255 * 100, rel=0.06)  # the crop's edge mixes with the black beside it
        assert person.attributes["gender"].probabilities["female"] == pytest.approx(green / 255, rel=0.06)
        assert person.attributes["race"].label == RACES[round(blue / 255 * 4)]


async def test_no_face_is_an_answer_too() -> None:
    network = ColourNetwork()
    async with running(network=network) as pipeline:
        analysis = await analysed(pipeline, encoded(np.zeros((50, 70, 3), np.uint8)))
    assert (analysis.width, analysis.height, analysis.faces) == (70, 50, [])
    assert network.batches == [], "nothing is invented: no face, no prediction"


async def test_stages_are_timed() -> None:
    async with running() as pipeline:
        timings = (await analysed(pipeline, encoded(squares((255, 0, 0))))).timings
    assert {"decode", "detect", "crop", "predict", "total"} <= set(timings)
    assert all(value >= 0 for value in timings.values())
    assert timings["total"] >= timings["decode"] + timings["detect"] + timings["predict"]


@pytest.mark.parametrize("wanted", [(), ("gender",), ("age", "race")])
async def test_what_is_not_wanted_is_not_told(wanted: tuple[str, ...]) -> None:
    async with running() as pipeline:
        analysis = await analysed(pipeline, encoded(squares((255, 60, 60))), Options(wanted, 100, 0.9))
    (person,) = analysis.faces
    assert set(person.attributes) == set(wanted)


async def test_a_face_below_the_confidence_is_left_out() -> None:
    async with running() as pipeline:
        sure = await analysed(pipeline, encoded(squares((255, 0, 0))), Options((), 100, 0.98))
        unsure = await analysed(pipeline, encoded(squares((255, 0, 0))), Options((), 100, 0.995))
    assert (len(sure.faces), len(unsure.faces)) == (1, 0)


async def test_max_faces_keeps_the_largest_in_their_order() -> None:
    picture = np.zeros((120, 420, 3), np.uint8)
    for x, side in ((10, 48), (70, 70), (160, 58), (240, 90), (350, 40)):
        picture[10 : 10 + side, x : x + side] = (side, 200, 100)
    async with running() as pipeline:
        for count, expected in ((1, [240]), (2, [70, 240]), (3, [70, 160, 240]), (5, [10, 70, 160, 240, 350])):
            analysis = await analysed(pipeline, encoded(picture), Options(CONTRACT, count, 0.9))
            assert [person.face.box[0] for person in analysis.faces] == expected
            for person in analysis.faces:
                side = person.face.box[2] - person.face.box[0]
                assert age(person) == pytest.approx(side / 255 * 100, rel=0.08), "the answer of another face"


def test_the_largest_of_equals_are_the_first() -> None:
    faces = [Face(np.array([x, 0, x + 10, 10], np.float32), np.zeros((5, 2), np.float32), 0.9) for x in (0, 20, 40)]
    assert largest(faces, 2) == faces[:2]
    assert largest(faces, 3) == faces
    bigger = [*faces, Face(np.array([60, 0, 90, 30], np.float32), np.zeros((5, 2), np.float32), 0.9)]
    assert len(largest(bigger, 2)) == 2
    assert largest(bigger, 2)[-1] is bigger[-1], "a tie must not push the largest out"


# Turns, mirrors and colours ---------------------------------------------------------------------------------------------

STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def cornered() -> Pixels:
    """A face whose four quarters differ, off the middle of its photo."""
    picture = np.zeros((160, 220, 3), np.uint8)
    picture[30:70, 120:160] = (200, 50, 90)
    picture[30:70, 160:200] = (60, 180, 50)
    picture[70:110, 120:160] = (50, 100, 250)
    picture[70:110, 160:200] = (150, 250, 50)
    return picture


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_photo_gets_the_answer_of_its_upright_self(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    method, image, buffer = STORED[orientation], Image.fromarray(cornered()), io.BytesIO()
    (image if method is None else image.transpose(method)).save(buffer, "PNG", exif=exif)
    async with running(network=CornerNetwork()) as pipeline:
        analysis = await analysed(pipeline, buffer.getvalue())
    assert (analysis.width, analysis.height) == (220, 160)
    (person,) = analysis.faces
    assert person.face.box.tolist() == [120, 30, 200, 110]
    assert person.face.landmarks == pytest.approx(np.array(TEMPLATE) * 80 + [120, 30])
    assert age(person) == pytest.approx(200 / 255 * 100, abs=1), "the upper left of the face, as the viewer sees it, is red"
    assert person.attributes["gender"].probabilities["female"] == pytest.approx(180 / 255, abs=0.01)
    lower = np.array([50, 100, 250, 150, 50]) / 255 + 0.01
    assert list(person.attributes["race"].probabilities.values()) == pytest.approx(lower / lower.sum(), abs=0.01)


async def test_a_mirrored_photo_gets_another_answer() -> None:
    async with running(network=CornerNetwork()) as pipeline:
        analysis = await analysed(pipeline, encoded(np.ascontiguousarray(cornered()[:, ::-1])))
    (person,) = analysis.faces
    assert person.face.box.tolist() == [20, 30, 100, 110]
    assert age(person) == pytest.approx(60 / 255 * 100, abs=1)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
async def test_a_large_photo_is_answered_in_its_own_pixels(form: str, factor: int) -> None:
    large = np.repeat(np.repeat(cornered(), factor * 2, axis=0), factor * 2, axis=1)
    data = encoded(large, form, **({"quality": 95} if form == "JPEG" else {}))
    async with running(network=CornerNetwork(), side=330) as pipeline:
        analysis = await analysed(pipeline, data)
    assert (analysis.width, analysis.height) == (440 * factor, 320 * factor)
    (person,) = analysis.faces
    expected = np.array([120, 30, 200, 110]) * factor * 2
    assert np.abs(person.face.box - expected).max() <= 3 * factor
    assert np.abs(person.face.landmarks - (np.array(TEMPLATE) * 80 + [120, 30]) * factor * 2).max() <= 3 * factor
    assert person.quality.size_px == pytest.approx(160 * factor, rel=0.03)
    assert age(person) == pytest.approx(200 / 255 * 100, abs=3)
    assert (person.face.box[2:] <= [analysis.width, analysis.height]).all()


async def test_a_face_is_small_by_the_pixels_that_its_crop_was_cut_from() -> None:
    photo = np.zeros((1600, 1600, 3), np.uint8)
    photo[600:800, 700:900] = (200, 90, 30)
    for side, small in ((1280, False), (150, True)):
        async with running(side=side) as pipeline:
            (person,) = (await analysed(pipeline, encoded(photo, "JPEG", quality=95))).faces
        assert person.quality.size_px == pytest.approx(200, rel=0.1)
        assert ("small" in person.warnings) == small


async def test_a_face_at_the_edge_has_its_box_inside_and_is_told_of() -> None:
    class Outside:
        def detect(self, pixels: Pixels) -> list[Face]:
            points = np.array(TEMPLATE, np.float32) * 60 + np.float32([-20, 30])
            return [Face(np.array([-20, 30, 40, 95], np.float32), points.astype(np.float32), 0.99)]

    async with running(Outside()) as pipeline:
        (person,) = (await analysed(pipeline, encoded(np.full((80, 100, 3), 120, np.uint8)))).faces
    assert person.face.box.tolist() == [0, 30, 40, 80]
    assert "cut_off" in person.warnings
    assert age(person) == pytest.approx(120 / 255 * 100, abs=0.5), "beyond the photo its edge is repeated"


# With the real detector -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector(mtcnn_networks: Mapping[str, Network]) -> MtcnnDetector:
    return MtcnnDetector(**mtcnn_networks)


@pytest.fixture(scope="module")
def photos(examples: Path) -> list[bytes]:
    """Photos with one, one, one, three and no faces, as they come from a client."""
    with Image.open(examples / "group.jpg") as group:
        part = np.asarray(group.crop((550, 650, 1600, 1200)).resize((700, 367)))
    return [
        *((examples / f"{name}.jpg").read_bytes() for name in ("astronaut", "obama", "biden")),
        encoded(part, "JPEG", quality=92),
        encoded(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8), "JPEG"),
    ]


async def test_a_photo_gets_the_same_answer_alone_and_under_load(detector: MtcnnDetector, photos: list[bytes]) -> None:
    network = ColourNetwork()
    async with running(detector, network, threads=4) as pipeline:
        alone = [await analysed(pipeline, photo) for photo in photos]
        assert [len(analysis.faces) for analysis in alone] == [1, 1, 1, 3, 0]
        order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(photos)), 5))
        together = await asyncio.gather(*(analysed(pipeline, photos[index]) for index in order))
    for index, analysis in zip(order, together, strict=True):
        expected = alone[index]
        assert (analysis.width, analysis.height) == (expected.width, expected.height)
        assert [said(person) for person in analysis.faces] == [said(person) for person in expected.faces]


async def test_the_crop_of_a_real_face_is_upright_and_unmirrored(detector: MtcnnDetector, photos: list[bytes]) -> None:
    """The astronaut has the flag to the viewer's left of her, and her eyes lie above her mouth."""
    crops: list[Pixels] = []

    class Watching(ColourNetwork):
        def __call__(self, batch: Pixels) -> Outputs:
            crops.extend(batch)
            return super().__call__(batch)

    template = ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.42, 0.6), (0.58, 0.6))
    async with running(detector, Watching(), described=manifest(input={"size": 96, "template": template})) as pipeline:
        (person,) = (await analysed(pipeline, photos[0])).faces
    photo = decode(photos[0], max_pixels=10**6, side=512).pixels.astype(float)
    left, right = person.face.landmarks[0], person.face.landmarks[1]
    # Two points of the crop and what the photo shows there, by plain arithmetic from the eyes.
    across = (right - left) / (0.2 * 96)
    for u, v in ((20, 40), (75, 40), (48, 30), (48, 80), (30, 70)):
        du, dv = u - 0.4 * 96, v - 0.4 * 96
        x = left[0] + across[0] * du - across[1] * dv
        y = left[1] + across[1] * du + across[0] * dv
        there = photo[round(y) - 6 : round(y) + 7, round(x) - 6 : round(x) + 7].mean(axis=(0, 1))
        size = max(1, round(6 / np.hypot(*across)))
        here = crops[0][v - size : v + size + 1, u - size : u + size + 1].astype(float).mean(axis=(0, 1))
        assert np.abs(here - there).max() < 25


async def test_a_face_is_measured_alike_whatever_its_model_sees(detector: MtcnnDetector, examples: Path) -> None:
    """A crop of 62 pixels has a fine grain of its own, which is no noise of the photo, and half of its detail."""
    photos = [(examples / f"{name}.jpg").read_bytes() for name in ("astronaut", "obama", "waters", "portraits")]
    seen: dict[int, list[AnalysedFace]] = {}
    for size in (48, 62, 128, 192):
        described = manifest(input={"size": size, "template": FACE_TEMPLATE})
        async with running(detector, described=described) as pipeline:
            seen[size] = [person for photo in photos for person in (await analysed(pipeline, photo)).faces]
    assert len(seen[128]) == 11
    for size, people in seen.items():
        for person, reference in zip(people, seen[128], strict=True):
            assert person.warnings == reference.warnings, size
            for one in fields(Quality):
                given, expected = getattr(person.quality, one.name), getattr(reference.quality, one.name)
                assert given == pytest.approx(expected, rel=0.25, abs=0.4 if one.name == "noise" else 0.01), (size, one.name)


async def test_a_reduced_photo_finds_the_same_faces(detector: MtcnnDetector, examples: Path) -> None:
    with Image.open(examples / "group.jpg") as group:
        large = encoded(np.asarray(group.resize((3200, 2400), Image.Resampling.BICUBIC)), "JPEG", quality=90)
    async with running(detector) as pipeline:
        small = await analysed(pipeline, (examples / "group.jpg").read_bytes())
        big = await analysed(pipeline, large)
    assert (big.width, big.height) == (3200, 2400)
    assert len(small.faces) == len(big.faces) == 7
    for one, other in zip(small.faces, big.faces, strict=True):
        side = one.face.box[2] - one.face.box[0]
        assert np.abs(other.face.box / 2 - one.face.box).max() < 0.12 * side
        assert age(one) == pytest.approx(age(other), abs=2)


# What goes wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (encoded(squares((255, 0, 0)))[:100], CorruptImage),
        (encoded(np.zeros((101, 100, 3), np.uint8)), ImageTooLarge),
    ],
)
async def test_a_bad_photo_fails_alone(data: bytes, error: type[FacetError]) -> None:
    async with running(pixels=10_000) as pipeline:
        bad, good = await asyncio.gather(
            analysed(pipeline, data), analysed(pipeline, encoded(squares((255, 0, 0)))), return_exceptions=True
        )
    assert isinstance(bad, error)
    assert isinstance(good, Analysis)
    assert len(good.faces) == 1


async def test_a_detector_that_fails_is_an_inference_error_and_frees_its_place() -> None:
    class Failing(SquareDetector):
        def detect(self, pixels: Pixels) -> list[Face]:
            if pixels.shape[1] == 140:  # two squares
                raise RuntimeError("secret")
            return super().detect(pixels)

    async with running(Failing(), threads=1) as pipeline:
        for _ in range(3):
            with pytest.raises(InferenceError) as caught:
                await analysed(pipeline, encoded(squares((255, 0, 0), (0, 255, 0))))
            assert "secret" not in str(caught.value)
        assert len((await analysed(pipeline, encoded(squares((255, 0, 0))))).faces) == 1


async def test_a_decoder_that_fails_is_its_photos_fault_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is Facet's own ends one photo of a batch, and not the batch."""

    def fail(photo: bytes, **_: Any) -> None:
        raise TypeError("secret")

    async with running(threads=1) as pipeline:
        with monkeypatch.context() as patched:
            patched.setattr(pipeline.decoder, "decode", fail)
            with pytest.raises(FacetError) as caught:
                await analysed(pipeline, encoded(squares((255, 0, 0))))
        assert caught.value.code == "internal_error"
        assert "secret" not in str(caught.value)
        assert len((await analysed(pipeline, encoded(squares((255, 0, 0))))).faces) == 1


async def test_an_answer_that_would_come_too_late_is_an_error_at_its_deadline() -> None:
    gate = threading.Event()

    class Slow(ColourNetwork):
        def __call__(self, batch: Pixels) -> Outputs:
            assert gate.wait(timeout=30)
            return super().__call__(batch)

    async with running(network=Slow()) as pipeline:
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceeded):
            await analysed(pipeline, encoded(squares((255, 0, 0))), seconds=0.2)
        assert asyncio.get_running_loop().time() - began < 5
        gate.set()
        assert len((await analysed(pipeline, encoded(squares((255, 0, 0))))).faces) == 1


async def test_a_deadline_that_has_passed_costs_no_work() -> None:
    network = ColourNetwork()
    async with running(network=network) as pipeline:
        with pytest.raises(DeadlineExceeded):
            await analysed(pipeline, encoded(squares((255, 0, 0))), seconds=-1)
    assert network.batches == []


async def test_pixels_in_flight_are_bounded_over_many_photos() -> None:
    """Photos of the whole budget each: they are decoded one after the other, and all are answered."""
    data = encoded(squares((255, 60, 60), side=40))
    async with running(pixels=80 * 80, threads=4) as pipeline:
        analyses = await asyncio.gather(*(analysed(pipeline, data) for _ in range(12)))
    assert all(len(analysis.faces) == 1 for analysis in analyses)


def test_a_model_without_an_input_has_no_pipeline() -> None:
    batcher, workers = Batcher(ColourNetwork(), 1), Workers(1, 1)
    with pytest.raises(ValueError, match="input"):
        Pipeline(SquareDetector(), manifest(input=None), batcher, workers, Limits(1, 1), decoder_of(workers))
