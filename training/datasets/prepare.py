"""Pictures to aligned crops: the service's own decoder, detector and crop run over a data set once."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from service.arrays import Floats, Pixels
from service.errors import FacetError
from service.files import replacing
from service.models.manifest import AGE, CANONICAL
from service.vision.align import align
from service.vision.detection import MIN_CONFIDENCE, Detector, Face, locate
from service.vision.image import DecodedImage, decode
from service.vision.quality import measure, measured_crop
from training.artifacts import mapped_pixels, one_writer, write_document
from training.datasets.base import UNKNOWN, DataSet, Label, Split
from training.datasets.documents import PreparedReport
from training.datasets.prepared import BESIDE, CROPS, FACES, REPORT, coded
from training.datasets.readers import open_data_sets
from training.datasets.sources import MAX_PIXELS
from training.errors import DataSetError, PreparedError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """A labelled picture and the face nearest to its centre."""

    name: str
    set: str
    split: Split
    label: Label
    face: Face


@dataclass(frozen=True, slots=True)
class FirstPass:
    """What the first pass over the pictures found, and why it left pictures out, by set, split and reason."""

    found: list[LabelledFace] = field(default_factory=list)
    pictures: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_names: list[str] = field(default_factory=list)
    extents: set[tuple[int, ...]] = field(default_factory=set)
    """Heights and widths of the pictures of aligned sets."""


def prepare(
    sources: Sequence[Path],
    out: Path,
    detector: Detector,
    *,
    size: int,
    side: int,
    workers: int,
    limit: int | None = None,
    template: Floats | None = None,
    margin: float = 0.0,
    detector_title: str | None = None,
) -> PreparedReport:
    """Write `crops.npy`, `faces.npz` and `prepare.json` under `out`.

    A first pass over the data sets finds the faces and, over those of the aligned sets' train, the mean landmarks: the
    template, unless one is given. A second one cuts each face by it, and measures how sharp it is. Pictures without a label, a
    face or a whole file are left out and counted by set, split and reason. What `distill` and `embed` wrote beside former crops
    goes with these.

    Args:
        sources: Data sets, each a folder or tar file.
        out: Folder to write to.
        detector: What finds faces.
        size: Side of the crops in pixels.
        side: Longest side, in pixels, at which the detector looks, as in the service.
        workers: Threads.
        limit: Most pictures of each set.
        template: Landmarks [5, 2] in fractions of the crop.
        margin: What the crop shows beyond that of the template on every side, in sides of that.
        detector_title: NAME/VERSION of the detector, as `prepare.json` has it.

    Returns:
        What `prepare.json` holds.

    Raises:
        DataSetError: There is no face at all; or, without a template, no aligned set has a face in train, or its pictures are
            not square and of one size; or a source is no data set, or two hold one picture.
        FileNotFoundError: A source does not exist.
        BlockingIOError: Another process prepares into `out`.
        OSError: The disk has too little room for the crops.
    """
    sets = open_data_sets(sources)
    with one_writer(out), ThreadPoolExecutor(workers) as pool:
        survey = _first_pass(pool, sets, detector, side, workers, limit)
        listed = ", ".join(str(source) for source in sources)
        if template is None:
            template = _measured(listed, sets, survey)
        elif not survey.found:
            raise DataSetError(f"no labelled face: {listed}")
        if margin:
            template = ((template + margin) / (1 + 2 * margin)).round(5).astype(np.float32)
        with replacing(out / CROPS) as new:
            crops = mapped_pixels(new, (len(survey.found), size, size, 3))
            sharpness = _cut(pool, sets, survey.found, crops, template, side, workers, limit)
            crops.flush()
            _discard(out)
        labels = _coded(survey.found)
        _write_faces(out / FACES, survey.found, labels, sharpness)
        report = PreparedReport(
            sources=tuple(source.name for source in sources),
            sets={data_set.name: data_set.licence for data_set in sets},
            pictures=dict(survey.pictures),
            faces=dict(Counter(f"{one.set} {one.split.value}" for one in survey.found)),
            labels={name: _counted(survey.found, name) for name in labels},
            dropped=dict(survey.dropped),
            dropped_names=tuple(survey.dropped_names),
            size=size,
            detection_side=side,
            detector=detector_title,
            template=template.tolist(),
        )
        write_document(out / REPORT, report)
    return report


def nearest_to_centre(faces: Iterable[Face], width: int, height: int) -> Face | None:
    """The face that a picture is labelled for: the one whose box's centre lies nearest to the picture's.

    Args:
        faces: Faces in pixels of the picture.
        width: The picture's, in pixels.
        height: The picture's, in pixels.

    Returns:
        One of the faces, or None where there is none.
    """
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


def detect_face(data: bytes, detector: Detector, side: int) -> tuple[DecodedImage, Face | None]:
    """Decode a picture and find the face that its label is about.

    Args:
        data: Bytes of the picture.
        detector: What finds faces.
        side: Longest side, in pixels, at which it looks.

    Returns:
        The decoded picture, and the face in pixels of it, or None.

    Raises:
        FacetError: The bytes are no picture that can be decoded.
    """
    image = decode(data, max_pixels=MAX_PIXELS, side=side)
    height, width = image.pixels.shape[:2]
    faces = [face for face in locate(image.pixels, detector, side) if face.confidence >= MIN_CONFIDENCE]
    return image, nearest_to_centre(faces, width, height)


def measure_template(landmarks: Floats, extent: float) -> Floats:
    """Mean landmarks of faces in square pictures of one size.

    Args:
        landmarks: In pixels [N, 5, 2].
        extent: Side of the pictures in pixels.

    Returns:
        The mean [5, 2] in fractions of the picture.
    """
    return np.asarray(landmarks.mean(axis=0, dtype=np.float64) / extent, np.float32)


def read_template(path: Path) -> Floats:
    """The landmark template in a model's `model.json`, or in what `prepare` wrote.

    Args:
        path: The JSON file.

    Returns:
        Landmarks [5, 2] in fractions of the crop.

    Raises:
        PreparedError: There is none in the file.
        FileNotFoundError: There is no such file.
    """
    try:
        document = json.loads(path.read_text())
        template = document.get("template", (document.get("input") or {}).get("template"))
    except (ValueError, AttributeError) as error:
        raise PreparedError(f"{path} is no model.json or prepare.json") from error
    if template is None:
        raise PreparedError(f"{path} has no landmark template")
    return np.array(template, np.float32)


def read_report(folder: Path) -> PreparedReport:
    """What `prepare.json` holds: the template, and the licence of every data set.

    Args:
        folder: Folder that `prepare` wrote.

    Returns:
        The document.

    Raises:
        PreparedError: The file is not what `prepare` writes.
        FileNotFoundError: There is no such file.
    """
    path = folder / REPORT
    try:
        return PreparedReport.model_validate_json(path.read_text())
    except ValueError as error:
        raise PreparedError(f"{path} is not what prepare writes; prepare again") from error


def _discard(folder: Path) -> None:
    """Remove all that is told of former crops, row by row: beside others it would be told of other faces."""
    for name in (FACES, REPORT, *BESIDE):
        (folder / name).unlink(missing_ok=True)


def _first_pass(
    pool: ThreadPoolExecutor, sets: Sequence[DataSet], detector: Detector, side: int, workers: int, limit: int | None
) -> FirstPass:
    """The first pass: every labelled picture and its face."""
    survey, console = FirstPass(), Console(stderr=True)
    for data_set in sets:
        look = partial(_labelled_face, data_set, detector, side, survey.extents)
        total = limit or sum(1 for _ in data_set.names())
        walk = _prefetched(pool, look, islice(data_set.pictures(), limit), workers * 8)
        for name, result in track(walk, f"{data_set.name}: finding faces", total=total, console=console):
            place = f"{data_set.name} {data_set.split_of(name).value}"
            survey.pictures[place] += 1
            if isinstance(result, LabelledFace):
                survey.found.append(result)
            else:
                survey.dropped[f"{place}: {result}"] += 1
                survey.dropped_names.append(name)
    return survey


def _labelled_face(
    data_set: DataSet, detector: Detector, side: int, extents: set[tuple[int, ...]], item: tuple[str, bytes]
) -> LabelledFace | str:
    """The labelled face of one picture, or why there is none; an aligned set's extent is added to `extents`."""
    name, data = item
    label = data_set.label_of(name)
    if label is None:
        return "label incomplete"
    try:
        image, face = detect_face(data, detector, side)
    except FacetError as error:
        return error.code
    if face is None:
        return "no face"
    if data_set.aligned:
        extents.add(image.pixels.shape[:2])
    return LabelledFace(name, data_set.name, data_set.split_of(name), label, face)


def _cut(
    pool: ThreadPoolExecutor,
    sets: Sequence[DataSet],
    found: Sequence[LabelledFace],
    crops: Pixels,
    template: Floats,
    side: int,
    workers: int,
    limit: int | None,
) -> Floats:
    """The second pass: every face is cut into `crops` [N, size, size, 3]; returns how sharp each is [N]."""
    rows = {(one.set, one.name): row for row, one in enumerate(found)}
    sharpness = np.zeros(len(found), np.float32)

    def cut(set_name: str, item: tuple[str, bytes]) -> None:
        name, data = item
        row = rows.get((set_name, name))
        if row is not None:
            image = decode(data, max_pixels=MAX_PIXELS, side=side)
            face = found[row].face
            crops[row] = align(image.pixels, face.landmarks, template, crops.shape[1])
            sharpness[row] = measure(face, measured_crop(crops[row], image.pixels, face.landmarks, template)).sharpness

    for data_set in sets:
        walk = _prefetched(pool, partial(cut, data_set.name), islice(data_set.pictures(), limit), workers * 8)
        for _ in track(walk, f"{data_set.name}: cutting crops", total=limit, console=Console(stderr=True)):
            continue
    return sharpness


def _coded(found: Sequence[LabelledFace]) -> dict[str, dict[str, np.ndarray]]:
    """Arrays of every attribute but the age that some picture has, and of those of the contract, by attribute."""
    given = {name for one in found for name in one.label.values if name != AGE}
    names = (*CANONICAL, *sorted(given - set(CANONICAL)))
    return {name: coded([one.label.word(name) for one in found], name) for name in names}


def _counted(found: Sequence[LabelledFace], name: str) -> dict[str, int]:
    """How many faces have each word of an attribute, in the words' order of the alphabet."""
    counts = Counter(word for one in found if (word := one.label.word(name)) is not None)
    return {word: counts[word] for word in sorted(counts)}


def _write_faces(
    path: Path, found: Sequence[LabelledFace], labels: dict[str, dict[str, np.ndarray]], sharpness: Floats
) -> None:
    """Write what is known of every crop, in the crops' order; `training.datasets.prepared` reads it."""
    columns = {key: values for arrays in labels.values() for key, values in arrays.items()}
    with replacing(path) as new:
        np.savez(
            new,
            name=np.array([one.name for one in found]),
            set=np.array([one.set for one in found]),
            split=np.array([one.split.value for one in found]),
            age=np.array([_years(one.label.age) for one in found], np.float32),
            ages=np.array([one.label.ages or (_years(one.label.age),) * 2 for one in found], np.float32),
            real_age=np.array([_years(one.label.real_age) for one in found], np.float32),
            sharpness=sharpness,
            confidence=np.array([one.face.confidence for one in found], np.float32),
            box=np.stack([one.face.box for one in found]),
            landmarks=np.stack([one.face.landmarks for one in found]),
            **columns,  # type: ignore[arg-type]
        )


def _years(age: float | None) -> float:
    return UNKNOWN if age is None else age


def _measured(listed: str, sets: Sequence[DataSet], survey: FirstPass) -> Floats:
    """The template of the faces of the aligned sets' train, as it is written and served."""
    aligned = {data_set.name for data_set in sets if data_set.aligned}
    train = [one.face.landmarks for one in survey.found if one.set in aligned and one.split is Split.TRAIN]
    if not train:
        kinds = ", ".join(f"{one.name} (by {one.known_by})" for one in sets)
        raise DataSetError(
            "no labelled face in the training split of an aligned set, such as UTKFace, and no template: give one with "
            f"--template, such as a model.json; {listed} was taken for {kinds}"
        )
    extents = sorted(survey.extents)
    if len(extents) != 1 or extents[0][0] != extents[0][1]:
        raise DataSetError("the template needs square pictures of one size, as UTKFace's aligned set has")
    return np.asarray(measure_template(np.stack(train), extents[0][0]).round(5), np.float32)


def _prefetched(
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
