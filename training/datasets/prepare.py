"""Pictures to aligned crops: the service's own decoder, detector and crop run over a data set once."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from service.errors import FacetError
from service.vision.align import align
from service.vision.detection import MIN_CONFIDENCE, Detector, Face, locate
from service.vision.image import DecodedImage, decode
from service.vision.quality import measure
from training.datasets.base import GENDERS, RACES, UNKNOWN, DataSet, Label, Split
from training.datasets.readers import open_data_set

MAX_PIXELS = 64_000_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A labelled picture and the face nearest to its centre."""

    name: str
    set: str
    split: Split
    label: Label
    face: Face


def nearest_to_centre(faces: Iterable[Face], width: int, height: int) -> Face | None:
    """The face that a picture is labelled for: the one whose box's centre lies nearest to the picture's."""
    return min(faces, key=lambda face: distance_to_centre(face.box, width, height), default=None)


def distance_to_centre(box: npt.NDArray[np.floating[Any]], width: int, height: int) -> float:
    """How far the centre of a box lies from that of its picture.

    Args:
        box: Left, top, right and bottom, in pixels [4].
        width: The picture's, in pixels.
        height: The picture's, in pixels.

    Returns:
        Pixels.
    """
    return float(np.hypot(*((box[:2] + box[2:]) / 2 - np.array([width, height]) / 2)))


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


def read_template(path: Path) -> npt.NDArray[np.float32]:
    """The landmark template [5, 2] in a model's `model.json`, or in what `prepare` wrote. Raises `ValueError` where there is
    none."""
    document = json.loads(path.read_text())
    template = document.get("template", (document.get("input") or {}).get("template"))
    if template is None:
        raise ValueError(f"{path} has no landmark template")
    return np.array(template, np.float32)


def prepare(
    sources: Sequence[Path],
    out: Path,
    detector: Detector,
    *,
    size: int,
    side: int,
    workers: int,
    limit: int | None = None,
    template: npt.NDArray[np.float32] | None = None,
) -> dict[str, object]:
    """Write `crops.npy`, `faces.npz` and `prepare.json` under `out`; returns the last one's content.

    A first pass over the data sets finds the faces and, over those of the aligned sets' train, the mean landmarks: the
    template, unless one is given. A second one cuts each face by it at `size` pixels, and measures how sharp it is. `side` is
    the detector's longest side, as in the service;
    `limit` takes so many pictures of each set. Pictures without a label, a face or a whole file are left out and counted by
    set, split and reason. Raises `ValueError` where there is no face at all, or where without a `template` no aligned set has
    a face in train or its pictures are not square and of one size.
    """
    out.mkdir(parents=True, exist_ok=True)
    sets = [open_data_set(source) for source in sources]
    console = Console(stderr=True)
    seen: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    unusable: list[str] = []
    extents: set[tuple[int, ...]] = set()
    found: list[Found] = []

    with ThreadPoolExecutor(workers) as pool:
        for data_set in sets:
            look = partial(_look, data_set, detector, side, extents)
            total = limit or sum(1 for _ in data_set.names())
            walk = _ahead(pool, look, islice(data_set.pictures(), limit), workers * 8)
            for name, result in track(walk, f"{data_set.name}: finding faces", total=total, console=console):
                place = f"{data_set.name} {data_set.split_of(name).value}"
                seen[place] += 1
                if isinstance(result, Found):
                    found.append(result)
                else:
                    dropped[f"{place}: {result}"] += 1
                    unusable.append(name)
        if template is None:
            template = _measured(sources, sets, found, extents)
        elif not found:
            raise ValueError(f"no labelled face: {_listed(sources)}")

        rows = {(one.set, one.name): row for row, one in enumerate(found)}
        crops = np.lib.format.open_memmap(out / "crops.npy", "w+", np.uint8, (len(found), size, size, 3))
        sharpness = np.zeros(len(found), np.float32)

        def cut(set_name: str, item: tuple[str, bytes]) -> None:
            name, data = item
            row = rows.get((set_name, name))
            if row is not None:
                image = decode(data, max_pixels=MAX_PIXELS, side=side)
                crops[row] = align(image.pixels, found[row].face.landmarks, template, size)
                sharpness[row] = measure(found[row].face, crops[row]).sharpness

        for data_set in sets:
            walk_again = _ahead(pool, partial(cut, data_set.name), islice(data_set.pictures(), limit), workers * 8)
            for _ in track(walk_again, f"{data_set.name}: cutting crops", total=limit, console=console):
                continue
    crops.flush()
    np.savez(
        out / "faces.npz",
        name=np.array([one.name for one in found]),
        set=np.array([one.set for one in found]),
        split=np.array([one.split.value for one in found]),
        age=np.array([_years(one.label.age) for one in found], np.int16),
        gender=np.array([one.label.code("gender", GENDERS) for one in found], np.int8),
        race=np.array([one.label.code("race", RACES) for one in found], np.int8),
        ages=np.array([one.label.ages or (_years(one.label.age),) * 2 for one in found], np.int16),
        real_age=np.array([_years(one.label.real_age) for one in found], np.int16),
        sharpness=sharpness,
        confidence=np.array([one.face.confidence for one in found], np.float32),
        box=np.stack([one.face.box for one in found]),
        landmarks=np.stack([one.face.landmarks for one in found]),
    )
    report: dict[str, object] = {
        "sources": [source.name for source in sources],
        "sets": {data_set.name: data_set.licence for data_set in sets},
        "pictures": dict(seen),
        "faces": dict(Counter(f"{one.set} {one.split.value}" for one in found)),
        "dropped": dict(dropped),
        "dropped_names": unusable,
        "size": size,
        "detection_side": side,
        "template": template.tolist(),
    }
    (out / "prepare.json").write_text(json.dumps(report, indent=2))
    return report


def _years(age: float | None) -> float:
    return UNKNOWN if age is None else age


def _measured(
    sources: Sequence[Path], sets: Sequence[DataSet], found: Sequence[Found], extents: set[tuple[int, ...]]
) -> npt.NDArray[np.float32]:
    """The template of the faces of the aligned sets' train, as it is written and served."""
    aligned = {data_set.name for data_set in sets if data_set.aligned}
    train = [one.face.landmarks for one in found if one.set in aligned and one.split is Split.TRAIN]
    if not train:
        raise ValueError(
            f"no labelled face in the training split of an aligned set, such as UTKFace, and no template: {_listed(sources)}"
        )
    if len(extents) != 1 or (extent := extents.pop())[0] != extent[1]:
        raise ValueError("the template needs square pictures of one size, as UTKFace's aligned set has")
    return measure_template(np.stack(train), extent[0]).round(5)


def _look(
    data_set: DataSet, detector: Detector, side: int, extents: set[tuple[int, ...]], item: tuple[str, bytes]
) -> Found | str:
    """The labelled face of one picture, or why there is none; an aligned set's extent is added to `extents`."""
    name, data = item
    label = data_set.label_of(name)
    if label is None:
        return "label incomplete"
    try:
        image, face = examine(data, detector, side)
    except FacetError as error:
        return error.code
    if face is None:
        return "no face"
    if data_set.aligned:
        extents.add(image.pixels.shape[:2])
    return Found(name, data_set.name, data_set.split_of(name), label, face)


def _listed(sources: Sequence[Path]) -> str:
    return ", ".join(str(source) for source in sources)


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
