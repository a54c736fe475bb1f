"""Two builds over the same pictures: whether they find the same faces, and what CPU time each takes.

    .venv/bin/python benchmarks/same_faces.py BASE [--faces DIR] [--photos DIR…] [--count 300] [--rounds 3] [--json FILE]

BASE is another checkout, whose `service` package and model store are compared with this one's. A face is the same where its
box is within 2 px, its landmarks within 1 px and its age within 0.2 years. Pictures are the examples in several sizes,
turned and mirrored; textures; faces of a folder alone, turned, and in made groups; and photos of other folders. Each build
answers in a process of its own; pictures take turns between them, so that a busy machine slows both. It fails where a face
differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

Pixels = npt.NDArray[np.uint8]

ROOT: Final = Path(__file__).resolve().parent.parent
SIDE: Final = 1280
BOX_PX: Final = 2.0
LANDMARK_PX: Final = 1.0
YEARS: Final = 0.2
FACELESS: Final = "texture"
WORKER: Final = "--worker"
_PHOTOS: Final = {".jpg", ".jpeg", ".png", ".webp"}


# One build ---------------------------------------------------------------------------------------------------------------


def work() -> None:
    """Answer paths of PNG files on standard input with a line of JSON each; runs with another checkout's `service`."""
    from service.inference.pipeline import Options
    from service.loading import create_engine
    from service.models.runtime import Precision, loader
    from service.models.store import ModelStore
    from service.settings import Settings
    from service.vision.detection import locate
    from service.vision.detection.registry import load_detector

    settings = Settings()
    engine = create_engine(settings)
    options = Options(["age"], 1000, engine.min_confidence)
    threads = settings.threads or 1
    detector, _ = load_detector(
        ModelStore(settings.model_store),
        settings.detector,
        loader(settings.runtime, Precision.F32, threads),
        settings.min_face_px,
    )
    loop = asyncio.new_event_loop()
    answer("ready")
    for line in sys.stdin:
        path, rounds = json.loads(line)
        data = Path(path).read_bytes()
        pixels = np.asarray(Image.open(path).convert("RGB"))
        analysis = loop.run_until_complete(engine.analyse(data, options, loop.time() + 600))
        faces = [
            {"box": face.face.box.tolist(), "landmarks": face.face.landmarks.tolist(), "age": age(face.attributes)}
            for face in analysis.faces
        ]
        spent: dict[str, list[float]] = {"detection": [], "request": []}
        for _ in range(rounds):
            began = time.process_time()
            locate(pixels, detector, SIDE)
            between = time.process_time()
            loop.run_until_complete(engine.analyse(data, options, loop.time() + 600))
            spent["detection"].append(between - began)
            spent["request"].append(time.process_time() - between)
        answer({"faces": faces, "cpu_s": {name: min(times) for name, times in spent.items() if times}})
    loop.run_until_complete(engine.close())


def answer(document: object) -> None:
    """A line for the comparing process."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def age(attributes: Any) -> float:
    """Years of a face, whichever form a build gives its attributes."""
    found = attributes["age"]
    return float(found.value)


class Build:
    """A checkout that answers pictures in a process of its own."""

    def __init__(self, root: Path, precision: str) -> None:
        script = str(Path(__file__).resolve())
        environment = os.environ | {
            "PYTHONPATH": str(root),
            "FACET_THREADS": "1",
            "FACET_WORKERS": "1",
            "FACET_PRECISION": precision,
        }
        command = [sys.executable, script, WORKER]
        self._process = subprocess.Popen(
            command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        if self._line() != '"ready"':
            raise SystemExit(f"{root} does not start")

    def _line(self) -> str:
        if self._process.stdout is None:
            raise SystemExit("a build has no output")
        return self._process.stdout.readline().strip()

    def answer(self, path: Path, rounds: int) -> dict[str, Any]:
        """Faces and seconds of CPU time of one picture."""
        if self._process.stdin is None:
            raise SystemExit("a build has no input")
        self._process.stdin.write(json.dumps([str(path), rounds]) + "\n")
        line = self._line()
        if not line:
            raise SystemExit("a build ended")
        answered: dict[str, Any] = json.loads(line)
        return answered

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(60)


# Pictures ----------------------------------------------------------------------------------------------------------------


def read(path: Path) -> Pixels:
    """An upright photo, uint8 RGB [H, W, 3]."""
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


def fitted(pixels: Pixels, side: int) -> Pixels:
    """A photo whose longer side is `side`."""
    ratio = side / max(pixels.shape[:2])
    how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, None, fx=ratio, fy=ratio, interpolation=how), np.uint8)


def listed(folder: Path, count: int) -> list[Path]:
    """As many photos of a folder, evenly over it."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PHOTOS)
    return [found[index] for index in np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).astype(int))]


def examples() -> Iterator[tuple[str, Pixels]]:
    """The example photos, as they are, small, mirrored, turned a quarter, dark, grey."""
    for path in sorted((ROOT / "examples").glob("*.jpg")):
        photo = fitted(read(path), SIDE)
        small = fitted(photo, 512)
        yield "one face at 512" if path.stem == "astronaut" else "example", small if path.stem == "astronaut" else photo
        yield "group at 1280" if path.stem == "group" else "example", photo if path.stem == "group" else small
        yield "example", np.ascontiguousarray(photo[:, ::-1])
        yield "turned", np.ascontiguousarray(np.rot90(small))
        yield "example", (small * 0.4).astype(np.uint8)
        yield "example", np.repeat(small.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)


def textures() -> Iterator[tuple[str, Pixels]]:
    """Noise of several grains, stripes, checks and a plain ground, at 1280 by 960."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:960, 0:1280]
    for blur in (0.0, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0):
        noise = random.integers(0, 256, (960, 1280, 3), np.uint8)
        if blur:
            noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), blur), np.uint8)
            noise = np.asarray(cv2.normalize(noise, noise.copy(), 0, 255, cv2.NORM_MINMAX), np.uint8)
        yield FACELESS, noise
    for side in (2, 5, 12, 40):
        for pattern in ((x // side + y // side) % 2, x // side % 2):
            yield FACELESS, np.repeat((pattern * 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    yield FACELESS, np.full((960, 1280, 3), 127, np.uint8)


def faces(folder: Path, count: int) -> Iterator[tuple[str, Pixels]]:
    """Faces of a folder: a third alone, a third turned on plain ground, a third in groups of eight on plain ground."""
    random = np.random.default_rng(1)
    photos = [read(path) for path in listed(folder, count)]
    for index, photo in enumerate(photos[: 2 * count // 3]):
        if index % 2:
            yield "face", photo
            continue
        height, width = photo.shape[:2]
        centre = ((width - 1) / 2, (height - 1) / 2)
        turn = cv2.getRotationMatrix2D(centre, float(random.choice([60, 90, 135, 180, -90, -120])), 0.8)
        grey = (127.0, 127.0, 127.0)
        yield "turned", np.asarray(cv2.warpAffine(photo, turn, (width, height), borderValue=grey), np.uint8)
    for _ in range(count // 3):
        ground = np.full((960, 1280, 3), random.integers(60, 200, 3), np.uint8)
        for cell in range(8):
            face = fitted(photos[random.integers(len(photos))], int(random.integers(60, 300)))
            top, left = 480 * (cell // 4) + 10, 320 * (cell % 4) + 10
            ground[top : top + face.shape[0], left : left + face.shape[1]] = face
        yield "group", ground


def pictures(options: argparse.Namespace) -> Iterator[tuple[str, Pixels]]:
    """Every picture with its class."""
    yield from examples()
    yield from textures()
    if options.faces:
        yield from faces(options.faces, options.count // 2)
    for folder in options.photos:
        for path in listed(folder, options.count // 3):
            yield f"photo of {folder.name}", fitted(read(path), min(SIDE, max(read(path).shape[:2])))


# Comparison --------------------------------------------------------------------------------------------------------------


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    a, b = np.asarray(one), np.asarray(other)
    shared = float(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod())
    return shared / (float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared + 1e-9)


def differences(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    """What is not the same, one line each."""
    found, left = [], list(after)
    for face in before:
        other = max(left, key=lambda one: overlap(one["box"], face["box"]), default=None)
        if other is None or overlap(other["box"], face["box"]) < 0.5:
            found.append(f"lost, {np.round(face['box']).astype(int).tolist()}")
            continue
        left.remove(other)
        distances = {
            f"box by {{:.1f}} px of {face['box'][2] - face['box'][0]:.0f}": (np.subtract(face["box"], other["box"]), BOX_PX),
            "landmarks by {:.1f} px": (np.subtract(face["landmarks"], other["landmarks"]), LANDMARK_PX),
            "age by {:.2f} years": (np.subtract(face["age"], other["age"]), YEARS),
        }
        found += [name.format(np.abs(d).max()) for name, (d, most) in distances.items() if np.abs(d).max() > most]
    return found + [f"gained, {np.round(face['box']).astype(int).tolist()}" for face in left]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    builds = [Build(options.base.resolve(), options.precision), Build(ROOT, options.precision)]
    found: dict[str, list[str]] = {}
    ratios: dict[str, dict[str, list[float]]] = {}
    counts: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        for number, (kind, pixels) in enumerate(pictures(options)):
            Image.fromarray(pixels).save(path, compress_level=1)
            before, after = (build.answer(path, options.rounds) for build in builds)
            counts.setdefault(kind, [0, 0])
            counts[kind][0] += 1
            counts[kind][1] += len(before["faces"])
            for name in before["cpu_s"]:
                ratios.setdefault(kind, {}).setdefault(name, []).append(before["cpu_s"][name] / after["cpu_s"][name])
            for difference in differences(before["faces"], after["faces"]):
                found.setdefault(kind, []).append(f"{number}: {difference}")
    for build in builds:
        build.close()
    table = Table()
    for column in ("pictures", "number", "faces", "differences", "detection, times less", "request, times less"):
        table.add_column(column)
    for kind, (number, total) in counts.items():
        spent = [
            f"{statistics.median(ratios[kind][name]):.2f}" for name in ("detection", "request") if name in ratios.get(kind, {})
        ]
        table.add_row(kind, str(number), str(total), str(len(found.get(kind, []))), *spent)
    console = Console(width=140, markup=False)
    console.print(table)
    for kind, lines in found.items():
        console.print(*(f"{kind} {line}" for line in lines), sep="\n", markup=False)
    if options.json:
        options.json.write_text(json.dumps({"counts": counts, "ratios": ratios, "differences": found}, indent=1))
    raise SystemExit(bool(found))


if __name__ == "__main__":
    work() if WORKER in sys.argv else main()
