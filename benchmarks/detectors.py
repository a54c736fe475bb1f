"""What each detector of the store finds, takes for a face and costs, and what ages come of its crops, side by side.

    .venv/bin/python benchmarks/detectors.py [--detectors mtcnn centerface] [--precisions auto] [--every 1] [--out FILE]
        [--annotations wider_face_val_bbx_gt.txt --photos WIDER_val/images] [--empty FOLDER]
        [--data UTKFace.tar --limit 300]

Annotations are in WIDER FACE's format, `--empty` is a folder of pictures without faces, and of `--data` the validation split is
asked. Detectors take turns, picture by picture, at one thread, and CPU time counts, because a shared machine's speed drifts.
A face is found where a box overlaps its annotation by `OVERLAP`; a box is false where it hardly meets any annotation.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from service.arrays import Bools, Floats, Pixels
from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
from service.vision.detection import MIN_CONFIDENCE, SIDE_PX, Detector, locate
from service.vision.detection.registry import load_detector
from service.vision.image import decode
from training.datasets.base import Split
from training.datasets.readers import open_data_set
from training.datasets.sources import MAX_PIXELS
from training.evaluation.degradations import rotated
from training.evaluation.service_client import measured_settings, predict

ROOT: Final = Path(__file__).resolve().parent.parent
OVERLAP: Final = 0.35
"""Intersection over union with its annotation from which a face is found: detectors cut faces differently."""
FALSE_OVERLAP: Final = 0.2
"""Largest intersection over union with any annotation of a false face, with the smallest and those marked invalid, too."""
ANGLES: Final = (0, 30, 60, 90, 180)
"""Degrees by which pictures of one face are turned."""
PHOTOS: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True, slots=True)
class Annotation:
    """The faces of a photo: `boxes` [N, 4] as x0, y0, x1, y1 in pixels; `sharp`, `covered`, `posed` and `valid` [N]."""

    boxes: Floats
    sharp: Bools
    covered: Bools
    posed: Bools
    valid: Bools


@dataclass(slots=True)
class Tally:
    """What was counted of one detector: found and annotated faces by group, boxes, CPU seconds and pictures by kind."""

    found: dict[str, int] = field(default_factory=dict)
    faces: dict[str, int] = field(default_factory=dict)
    boxes: int = 0
    false: int = 0
    false_in_empty: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, int] = field(default_factory=dict)
    turned: dict[str, float] = field(default_factory=dict)
    ages: dict[str, float] = field(default_factory=dict)

    def count(self, group: str, found: Bools) -> None:
        """Add faces of a group, [N], which were found or not."""
        self.found[group] = self.found.get(group, 0) + int(found.sum())
        self.faces[group] = self.faces.get(group, 0) + len(found)


def annotations(path: Path) -> dict[str, Annotation]:
    """The photos of a file in WIDER FACE's format, by name: a name, a count, and a row of ten numbers a face."""
    lines = path.read_text().splitlines()
    found, index = {}, 0
    while index + 1 < len(lines):
        name, count = lines[index], int(lines[index + 1])
        rows = np.array([line.split()[:10] for line in lines[index + 2 : index + 2 + count]], np.float32).reshape(-1, 10)
        index += 2 + max(count, 1)  # a photo without faces has one row of zeros
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        found[name] = Annotation(boxes, rows[:, 4] == 0, rows[:, 8] > 0, rows[:, 9] > 0, rows[:, 7] == 0)
    return found


def overlaps(one: Floats, other: Floats) -> Floats:
    """Intersection over union, [N, M], of boxes [N, 4] and [M, 4]."""
    corner = np.minimum(one[:, np.newaxis, 2:], other[np.newaxis, :, 2:])
    shared = np.maximum(corner - np.maximum(one[:, np.newaxis, :2], other[np.newaxis, :, :2]), 0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    return np.asarray(shared / np.maximum(areas[0][:, np.newaxis] + areas[1] - shared, 1e-6), np.float32)


def groups(truth: Annotation) -> Iterator[tuple[str, Bools]]:
    """Names of groups of faces, and which faces are in each."""
    side = (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(axis=1, initial=0)
    large = truth.valid & (side >= 24)
    yield "24 px and more", large
    yield "12 to 24 px", truth.valid & (side >= 12) & (side < 24)
    yield "24 to 40 px", large & (side < 40)
    yield "40 to 80 px", large & (side >= 40) & (side < 80)
    yield "80 px and more", large & (side >= 80)
    yield "40 px and more, plain", large & (side >= 40) & truth.sharp & ~truth.covered & ~truth.posed
    yield "covered", large & truth.covered
    yield "odd pose", large & truth.posed


def answered(detector: Detector, pixels: Pixels, kind: str, tally: Tally) -> Floats:
    """Boxes [N, 4] that the service would answer, timed."""
    began = time.process_time()
    faces = locate(pixels, detector, SIDE_PX)
    tally.seconds[kind] = tally.seconds.get(kind, 0.0) + time.process_time() - began
    tally.pictures[kind] = tally.pictures.get(kind, 0) + 1
    return np.array([face.box for face in faces if face.confidence >= MIN_CONFIDENCE], np.float32).reshape(-1, 4)


def read(path: Path) -> Pixels:
    """A photo as the service decodes it."""
    return decode(path.read_bytes(), max_pixels=MAX_PIXELS, side=MAX_PIXELS).pixels


def warmed(detectors: dict[str, Detector], pixels: Pixels) -> None:
    """Search once with each: a runtime prepares itself for every size that it meets."""
    for detector in detectors.values():
        locate(pixels, detector, SIDE_PX)


def search_annotated(
    detectors: dict[str, Detector], tallies: dict[str, Tally], truths: dict[str, Annotation], photos: Path
) -> None:
    """Compare every detector with the annotations."""
    for name, truth in truths.items():
        pixels = read(photos / name)
        warmed(detectors, pixels)
        for title, detector in detectors.items():
            tally = tallies[title]
            boxes = answered(detector, pixels, "with faces", tally)
            shared = overlaps(boxes, truth.boxes)
            hit = shared.max(axis=0, initial=0) >= OVERLAP
            for group, members in groups(truth):
                tally.count(group, hit[members])
            tally.boxes += len(boxes)
            tally.false += int((shared.max(axis=1, initial=0) < FALSE_OVERLAP).sum())


def search_empty(detectors: dict[str, Detector], tallies: dict[str, Tally], paths: Sequence[Path]) -> None:
    """Count faces where there are none."""
    for path in paths:
        pixels = read(path)
        warmed(detectors, pixels)
        for title, detector in detectors.items():
            tallies[title].false_in_empty += len(answered(detector, pixels, "without", tallies[title]))


def search_turned(detectors: dict[str, Detector], tallies: dict[str, Tally], pictures: Sequence[Pixels]) -> None:
    """Turn pictures of one face about their centres: the share in which the box at the centre is found."""
    for degrees in ANGLES:
        found = dict.fromkeys(detectors, 0)
        for pixels in pictures:
            side = max(pixels.shape[:2])
            wide = cv2.copyMakeBorder(pixels, *[side // 2] * 4, cv2.BORDER_CONSTANT, value=(120, 120, 120))
            turned = rotated(np.asarray(wide, np.uint8), degrees)
            middle = np.array([turned.shape[1], turned.shape[0]]) / 2
            for title, detector in detectors.items():
                boxes = answered(detector, turned, "turned", tallies[title])
                found[title] += bool(((boxes[:, :2] < middle) & (boxes[:, 2:] > middle)).all(axis=1).any())
        for title, count in found.items():
            tallies[title].turned[f"{degrees}°"] = count / len(pictures)


def measure_ages(titles: Sequence[str], precision: Precision, tallies: dict[str, Tally], source: Path, limit: int) -> None:
    """Ask the whole service for ages of a validation split, with each detector; errors are over faces that all found."""
    errors, found = {}, {}
    for title in titles:
        settings = measured_settings(detector=title, precision=precision)
        predictions = predict(settings, open_data_set(source), Split.VALIDATION, limit).predictions
        age = predictions.expectations["age"]
        errors[title], found[title] = np.abs(age.value - age.label), predictions.found
    common = np.all(list(found.values()), axis=0)
    for title in titles:
        tally = tallies[f"{title}, {precision}"]
        tally.ages[f"{source.name}: age error [years]"] = float(np.nanmean(errors[title][common]))
        tally.ages[f"{source.name}: share found"] = float(found[title].mean())


def table(tallies: dict[str, Tally]) -> Table:
    """A row a figure, a column a detector."""
    rows: dict[str, list[str]] = {}
    for tally in tallies.values():
        cells = {}
        for group, number in tally.faces.items():
            cells[f"{group} [%]"] = f"{100 * tally.found[group] / max(1, number):.1f} of {number}"
        if tally.faces:
            cells["boxes on no face"] = f"{tally.false} of {tally.boxes}"
        if "without" in tally.pictures:
            cells["faces in pictures without"] = f"{tally.false_in_empty} in {tally.pictures['without']}"
        cells |= {f"turned by {angle} [%]": f"{100 * share:.1f}" for angle, share in tally.turned.items()}
        for kind, spent in tally.seconds.items():
            cells[f"{kind}: CPU a picture [ms]"] = f"{1000 * spent / tally.pictures[kind]:.0f}"
        cells |= {name: f"{value:.3f}" for name, value in tally.ages.items()}
        for name, cell in cells.items():
            rows.setdefault(name, []).append(cell)
    drawn = Table("", *tallies)
    for name, row in rows.items():
        drawn.add_row(name, *row)
    return drawn


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=ROOT / "model_store")
    parser.add_argument("--detectors", nargs="+", default=["mtcnn", "centerface"], help="NAME or NAME/VERSION")
    parser.add_argument("--precisions", nargs="+", choices=["auto", "bf16", "f32"], default=["auto"], help="as FACET_PRECISION")
    parser.add_argument("--annotations", type=Path, help="a file in WIDER FACE's format")
    parser.add_argument("--photos", type=Path, help="the folder that its names are in; those that are missing are left out")
    parser.add_argument("--every", type=int, default=1, help="every how manieth of the annotated and the empty pictures")
    parser.add_argument("--start", type=int, default=0, help="the first of them; several runs can share the work")
    parser.add_argument("--empty", type=Path, help="a folder of pictures without faces")
    parser.add_argument("--data", type=Path, action="append", default=[], help="a data set, whose validation split is asked")
    parser.add_argument("--limit", type=int, default=300, help="so many pictures of each data set")
    parser.add_argument("--turned", type=int, default=50, help="so many of the first data set are turned, too")
    parser.add_argument("--out", type=Path, help="a JSON file of all counts")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    load, quick, int8 = (loader(Runtime.OPENVINO, one, 1) for one in (Precision.F32, Precision.AUTO, Precision.INT8))
    ways = {Precision.F32: {}, Precision.BF16: {"quick": quick}, Precision.AUTO: {"quick": quick, "int8": int8}}
    detectors = {
        f"{title}, {way}": load_detector(ModelStore(arguments.store), title, load, **ways[Precision(way)])[0]
        for title in arguments.detectors
        for way in arguments.precisions
    }
    tallies = {title: Tally() for title in detectors}
    if arguments.annotations is not None:
        truths = annotations(arguments.annotations)
        names = [name for name in truths if (arguments.photos / name).is_file()][arguments.start :: arguments.every]
        search_annotated(detectors, tallies, {name: truths[name] for name in names}, arguments.photos)
    if arguments.empty is not None:
        paths = [path for path in sorted(arguments.empty.iterdir()) if path.suffix.lower() in PHOTOS]
        search_empty(detectors, tallies, paths[arguments.start :: arguments.every])
    for source in arguments.data[:1]:
        some = [content for _, _, content in islice(open_data_set(source).labelled(Split.VALIDATION), arguments.turned)]
        pictures = [decode(content, max_pixels=MAX_PIXELS, side=MAX_PIXELS).pixels for content in some]
        search_turned(detectors, tallies, pictures)
    for source in arguments.data:
        for way in arguments.precisions:
            measure_ages(arguments.detectors, Precision(way), tallies, source, arguments.limit)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({title: asdict(tally) for title, tally in tallies.items()}, indent=2) + "\n")
    Console(width=140, markup=False).print(table(tallies))


if __name__ == "__main__":
    main()
