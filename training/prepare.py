"""Pictures to aligned crops: the service's own decoder, detector and crop run over a data set once."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from service.crop import align
from service.detection import MIN_CONFIDENCE, Detector, Face, locate
from service.errors import FacetError
from service.image import DecodedImage, decode
from training.data import Label, Split, parse_utkface, pictures, split_of

MAX_PIXELS = 64_000_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A labelled picture and the face nearest to its centre."""

    name: str
    label: Label
    face: Face


def nearest_to_centre(faces: Iterable[Face], width: int, height: int) -> Face | None:
    """The face that a picture is labelled for: the one whose box's centre lies nearest to the picture's."""
    centre = np.array([width, height]) / 2
    return min(faces, key=lambda face: float(np.hypot(*((face.box[:2] + face.box[2:]) / 2 - centre))), default=None)


def examine(data: bytes, detector: Detector, side: int) -> tuple[DecodedImage, Face | None]:
    """Decode a picture and find the face that its label is about, in pixels of the decoded picture."""
    image = decode(data, max_pixels=MAX_PIXELS, side=side)
    height, width = image.pixels.shape[:2]
    faces = [face for face in locate(image.pixels, detector, side) if face.confidence >= MIN_CONFIDENCE]
    return image, nearest_to_centre(faces, width, height)


def measure_template(landmarks: npt.NDArray[np.float32], extent: float) -> npt.NDArray[np.float32]:
    """Mean landmarks [5, 2] of faces [N, 5, 2] in square pictures of `extent` pixels, in fractions of the picture."""
    mean: npt.NDArray[np.float64] = landmarks.mean(axis=0, dtype=np.float64)
    return (mean / extent).astype(np.float32)


def prepare(
    source: Path, out: Path, detector: Detector, *, size: int, side: int, workers: int, limit: int | None = None
) -> dict[str, object]:
    """Write `crops.npy`, `faces.npz` and `prepare.json` under `out`; returns the last one's content.

    A first pass finds the faces and, over those of train, the mean landmarks: the template. A second one cuts each face by
    it at `size` pixels. `side` is the detector's longest side, as in the service. Pictures without a label, a face or a
    whole file are left out and counted by split and reason. Raises `ValueError` where train holds no face, or where the
    pictures are not square and of one size.
    """
    out.mkdir(parents=True, exist_ok=True)
    dropped: Counter[str] = Counter()
    unusable: list[str] = []
    extents: set[tuple[int, ...]] = set()

    def look(item: tuple[str, bytes]) -> Found | str:
        name, data = item
        label = parse_utkface(name)
        if label is None:
            return "label incomplete"
        try:
            image, face = examine(data, detector, side)
        except FacetError as error:
            return error.code
        if face is None:
            return "no face"
        extents.add(image.pixels.shape[:2])
        return Found(name, label, face)

    console = Console(stderr=True)
    found: list[Found] = []
    seen: Counter[str] = Counter()
    total = limit or sum(1 for _ in pictures(source))
    with ThreadPoolExecutor(workers) as pool:
        walk = _ahead(pool, look, islice(pictures(source), limit), workers * 8)
        for name, result in track(walk, "finding faces", total=total, console=console):
            seen[split_of(name).value] += 1
            if isinstance(result, Found):
                found.append(result)
            else:
                dropped[f"{split_of(name).value}: {result}"] += 1
                unusable.append(name)
        train = [one.face.landmarks for one in found if split_of(one.name) is Split.TRAIN]
        if not train:
            raise ValueError(f"{source} has no labelled picture with a face in the training split")
        if len(extents) != 1 or (extent := extents.pop())[0] != extent[1]:
            raise ValueError("the template needs square pictures of one size, as UTKFace's aligned set has")
        template = measure_template(np.stack(train), extent[0]).round(5)  # as it is written, and served

        faces = {one.name: one for one in found}
        crops = np.lib.format.open_memmap(out / "crops.npy", "w+", np.uint8, (len(found), size, size, 3))
        row = {one.name: index for index, one in enumerate(found)}

        def cut(item: tuple[str, bytes]) -> None:
            name, data = item
            if name in faces:
                image = decode(data, max_pixels=MAX_PIXELS, side=side)
                crops[row[name]] = align(image.pixels, faces[name].face.landmarks, template, size)

        walk_again = _ahead(pool, cut, islice(pictures(source), limit), workers * 8)
        for _ in track(walk_again, "cutting crops", total=total, console=console):
            continue
    crops.flush()
    np.savez(
        out / "faces.npz",
        name=np.array([one.name for one in found]),
        split=np.array([split_of(one.name).value for one in found]),
        age=np.array([one.label.age for one in found], np.int16),
        gender=np.array([one.label.gender for one in found], np.int8),
        race=np.array([one.label.race for one in found], np.int8),
        confidence=np.array([one.face.confidence for one in found], np.float32),
        box=np.stack([one.face.box for one in found]),
        landmarks=np.stack([one.face.landmarks for one in found]),
    )
    report: dict[str, object] = {
        "source": source.name,
        "pictures": dict(seen),
        "faces": dict(Counter(split_of(one.name).value for one in found)),
        "dropped": dict(dropped),
        "dropped_names": unusable,
        "size": size,
        "detection_side": side,
        "template": template.tolist(),
    }
    (out / "prepare.json").write_text(json.dumps(report, indent=2))
    return report


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[tuple[str, bytes]], T], items: Iterator[tuple[str, bytes]], depth: int
) -> Iterator[tuple[str, T]]:
    """Results of `work` in order, with `depth` items under way, so that a data set is never held in memory."""
    waiting: deque[tuple[str, Future[T]]] = deque()
    for item in items:
        waiting.append((item[0], pool.submit(work, item)))
        if len(waiting) >= depth:
            name, future = waiting.popleft()
            yield name, future.result()
    while waiting:
        name, future = waiting.popleft()
        yield name, future.result()
