"""Small real parts for tests: a network of three lines, a detector that finds bright squares, an engine made of both."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from service import metrics
from service.inference.batching import Batcher
from service.inference.decoding import PhotoDecoder
from service.inference.engine import HANG_S, Engine, allowed
from service.inference.memory import MemoryBudget
from service.inference.pipeline import Limits, Pipeline
from service.inference.workers import Workers
from service.models.evaluation import Evaluation
from service.models.manifest import Manifest
from service.models.store import Model, ModelStore
from service.settings import Settings
from service.vision.detection import Face

Pixels = npt.NDArray[np.uint8]
Outputs = dict[str, npt.NDArray[np.float32]]

TEMPLATE = ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.35, 0.7), (0.65, 0.7))
CROP = 16


class ColourNetwork:
    """An attribute network whose answer is the crop's mean colour: age is red, gender green, race peaks by blue.

    Every crop gets an answer of its own, so that answers that are swapped between requests, or colours that are swapped
    within a crop, are seen at once.
    """

    precision = "f32"

    def __init__(self, outputs: tuple[str, ...] = ("age", "age_distribution", "gender", "race"), races: int = 5) -> None:
        self.outputs, self.races = outputs, races
        self.batches: list[int] = []

    def __call__(self, batch: Pixels) -> Outputs:
        self.batches.append(len(batch))
        mean = batch.astype(np.float32).mean(axis=(1, 2))
        age = mean[:, 0] / 255 * 100
        years = np.arange(101, dtype=np.float32)
        spread = np.exp(-0.5 * np.square((years - age[:, None]) / 4))
        race = np.exp(-0.5 * np.square(np.arange(self.races) - mean[:, 2:] / 255 * (self.races - 1)))
        answers = {
            "age": age,
            "age_distribution": spread / spread.sum(axis=1, keepdims=True),
            "gender": mean[:, 1] / 255,
            "race": race / race.sum(axis=1, keepdims=True),
            "glasses": mean[:, 2] / 255,
            "bmi": 10 + age * 0.4,
        }
        answers["bmi_distribution"] = answers["age_distribution"]
        return {name: answers[name].astype(np.float32) for name in self.outputs}


class GatedNetwork(ColourNetwork):
    """A slow network: waits, in every call, until `gate` is set; `entered` tells that it waits.

    As a context it is stuck inside and opens on leaving, so that a test that fails does not wait for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Event()

    def __enter__(self) -> GatedNetwork:
        return self

    def __exit__(self, *error: object) -> None:
        self.gate.set()

    def __call__(self, batch: Pixels) -> Outputs:
        self.entered.set()
        if not self.gate.wait(timeout=30):
            raise TimeoutError("no test opened the gate")
        return super().__call__(batch)


class FailingNetwork(ColourNetwork):
    """Fails on crops that are mostly red, by an error or by an answer that is not a number; answers the others."""

    def __init__(self, how: Exception | None = None) -> None:
        super().__init__()
        self.how = how

    def __call__(self, batch: Pixels) -> Outputs:
        answers = super().__call__(batch)
        red = batch.astype(np.float32).mean(axis=(1, 2))[:, 0] > 200
        if red.any():
            if self.how is not None:
                raise self.how
            answers["age"][red] = np.nan
        return answers


class SquareDetector:
    """Finds axis-aligned squares of one colour on black; each is a face, whose landmarks lie on `TEMPLATE`."""

    def detect(self, pixels: Pixels) -> list[Face]:
        import cv2

        mask = (pixels.max(axis=2) > 40).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        faces = []
        for x, y, width, height, _ in stats[1:count]:
            box = np.array([x, y, x + width, y + height], np.float32)
            landmarks = np.array(TEMPLATE, np.float32) * [width, height] + [x, y]
            faces.append(Face(box, landmarks.astype(np.float32), 0.99))
        return faces


def squares(*colours: tuple[int, int, int], side: int = 40, height: int = 80) -> Pixels:
    """A black picture with a square of each colour, left to right, 20 pixels apart."""
    picture = np.zeros((height, 20 + (side + 20) * len(colours), 3), np.uint8)
    for index, colour in enumerate(colours):
        x = 20 + index * (side + 20)
        picture[20 : 20 + side, x : x + side] = colour
    return picture


GLASSES = {"name": "glasses", "kind": "labels", "labels": ["no", "yes"], "outputs": ["glasses"]}
"""An attribute that no line of the service, the page or a client names."""
BMI: dict[str, Any] = {
    "name": "bmi",
    "kind": "expectation",
    "range": [10, 50],
    "unit": "kg/m²",
    "outputs": ["bmi", "bmi_distribution"],
    "calibration": {"interval": {"coverage": 0.8, "unit": "deviation", "bands": [{"below": 1000, "low": -1, "high": 1}]}},
}
"""An expectation that no line of the service, the page or a client names."""
RACES = ("white", "black", "asian", "indian", "other")
INTERVAL = {"coverage": 0.8, "unit": "deviation", "bands": [{"below": 1000.0, "low": -1.3, "high": 1.3}]}


def attributes(races: tuple[str, ...] = RACES, **calibration: dict[str, Any]) -> list[dict[str, Any]]:
    """Age, gender and race as a manifest declares them; `calibration` is that of each by its name."""
    age: dict[str, Any] = {"name": "age", "kind": "expectation", "outputs": ["age", "age_distribution"]}
    gender: dict[str, Any] = {"name": "gender", "kind": "labels", "labels": ["male", "female"], "outputs": ["gender"]}
    race: dict[str, Any] = {"name": "race", "kind": "labels", "labels": races, "outputs": ["race"]}
    fitted = {"age": {"interval": INTERVAL}, **calibration}
    return [one | {"calibration": fitted.get(one["name"], {})} for one in (age, gender, race)]


REPEATED = [
    {"name": "face", "kind": "labels", "labels": ["round", "long"], "outputs": ["glasses"]},
    {"name": "gender", "kind": "labels", "labels": ["other", "female"], "outputs": ["gender"]},
    {"name": "model", "kind": "expectation", "range": [10, 50], "outputs": ["bmi", "bmi_distribution"]},
    attributes()[2],
]
"""Two attributes with names of columns of a table, and a label that gender and race share."""


def manifest(**changes: Any) -> Manifest:
    """A manifest of an attribute model with everything."""
    fields: dict[str, Any] = {
        "name": "fake",
        "version": 3,
        "kind": "attributes",
        "architecture": "mean colour",
        "created": "2026-01-01",
        "licence": "none",
        "trained_on": ("nothing",),
        "networks": {"faces": "."},
        "input": {"size": CROP, "template": TEMPLATE},
        "attributes": attributes(),
        "tolerance": {"f32": {"age": 0.05, "other": 0.005}},
        "files": {},
    }
    return Manifest.model_validate(fields | changes)


def shipped(root: Path, name: str) -> Callable[[Settings], Engine]:
    """An engine described and measured as the newest version of a shipped model is; its network is a fake."""
    store = ModelStore(root / "model_store")
    version = store.versions(name)[-1]
    described = next(one for one in store.manifests() if (one.name, one.version) == (name, version))
    return engine_factory(evaluation=store.evaluation(name, version), **described.model_dump())


def decoder_of(workers: Workers) -> PhotoDecoder:
    """A decoder with a gigabyte for photos, and a process for each worker."""
    return PhotoDecoder(MemoryBudget(2**30), workers.threads)


def engine_factory(
    network: Any | None = None,
    detector: Any | None = None,
    *,
    engine: type[Engine] = Engine,
    workers_of: type[Workers] = Workers,
    hang_s: float = HANG_S,
    evaluation: Evaluation | None = None,
    **changes: Any,
) -> Callable[[Settings], Engine]:
    """A function that `create_app` takes in place of `create_engine`: real queues, batcher and pipeline round fakes."""
    faces = network or ColourNetwork()

    def build(settings: Settings) -> Engine:
        described = manifest(**changes)
        batcher = Batcher(faces, settings.face_queue, metrics.BATCH_SIZE.observe)
        workers = workers_of(settings.workers or 2, settings.photo_queue, settings.photo_wait_s)
        limits = Limits(round(settings.max_megapixels * 1e6), settings.detection_side_px)
        model = Model(described, {"faces": faces}, "0" * 64, evaluation)
        return engine(
            pipeline=Pipeline(detector or SquareDetector(), described, batcher, workers, limits, decoder_of(workers)),
            batcher=batcher,
            workers=workers,
            model=model,
            detector=model,
            runtime="fake",
            precision="f32",
            attributes=allowed(described, settings.attributes),
            max_faces=settings.max_faces,
            min_confidence=settings.min_confidence,
            min_face_px=settings.min_face_px,
            detection_side_px=settings.detection_side_px,
            max_batch_files=settings.max_batch_files,
            photos_at_once=2,
            deadline=settings.deadline_s,
            batch_deadline=settings.batch_deadline_s,
            hang_s=hang_s,
        )

    return build


@contextlib.contextmanager
def failing_bitmaps(error: Exception) -> Iterator[None]:
    """Pillow reads bitmaps by a plugin whose decoder raises an error on their pixels."""

    class Failing(ImageFile.ImageFile):
        format = "BMP"

        def _open(self) -> None:
            self._size, self._mode = (64, 96), "RGB"

        def load(self) -> Any:
            raise error

    Image.init()
    shipped = Image.OPEN["BMP"]
    Image.register_open("BMP", Failing)
    try:
        yield
    finally:
        Image.register_open("BMP", *shipped)
