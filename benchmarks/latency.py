"""Facet's path against the mtcnn package and the same model in TensorFlow, side by side in one process.

    .venv/bin/python benchmarks/latency.py [--runs 9]

Both get the bytes of a JPEG and answer with attributes. Runs alternate; medians and the median of the ratios are printed,
because a shared machine's speed drifts.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from mtcnn import MTCNN
from PIL import Image
from rich.console import Console
from rich.table import Table

from service.inference.pipeline import Options
from service.loading import create_engine
from service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def photos() -> dict[str, bytes]:
    """A 512-pixel portrait, and a 12-megapixel photo of seven faces, as JPEG."""
    large = io.BytesIO()
    Image.open(ROOT / "examples/group.jpg").resize((4032, 3024), Image.Resampling.BICUBIC).save(large, "JPEG", quality=90)
    return {"512x512, 1 face": (ROOT / "examples/astronaut.jpg").read_bytes(), "12 megapixels, 7 faces": large.getvalue()}


def usual_way(store: Path, name: str, version: int, size: int) -> Callable[[bytes], int]:
    """The mtcnn package, a crop of each box, and the SavedModel's signature, one call for all faces."""
    detector = MTCNN()
    loaded = tf.saved_model.load(str(store / name / str(version)))
    signature = loaded.signatures["serving_default"]

    def answer(data: bytes) -> int:
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        crops = []
        for face in detector.detect_faces(pixels):
            x, y, width, height = face["box"]
            crops.append(tf.image.resize(pixels[y : y + height, x : x + width], (size, size)))
        if crops:
            signature(tf.cast(tf.stack(crops), tf.uint8))
        return len(crops)

    answer.loaded = loaded  # type: ignore[attr-defined]  # the signature does not keep its variables alive
    return answer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs: int = parser.parse_args().runs
    engine = create_engine(Settings())
    options = Options(engine.attributes, engine.max_faces, engine.min_confidence)
    loop = asyncio.new_event_loop()
    manifest = engine.model.manifest
    if manifest.input is None:
        raise SystemExit("the model has no input")
    usual = usual_way(Settings().model_store, manifest.name, manifest.version, manifest.input.size)

    def facet(data: bytes) -> int:
        return len(loop.run_until_complete(engine.analyse(data, options)).faces)

    table = Table()
    for column in ("photo", "faces", "usual way [ms]", "Facet [ms]", "times faster"):
        table.add_column(column)
    for title, data in photos().items():
        spent: dict[str, list[float]] = {"usual": [], "facet": []}
        faces = {"usual": usual(data), "facet": facet(data)}
        for _ in range(runs):
            for name, call in (("usual", usual), ("facet", facet)):
                began = time.perf_counter()
                call(data)
                spent[name].append((time.perf_counter() - began) * 1000)
        ratio = statistics.median(a / b for a, b in zip(spent["usual"], spent["facet"], strict=True))
        medians = {name: statistics.median(values) for name, values in spent.items()}
        found = f"{faces['usual']} / {faces['facet']}"
        table.add_row(title, found, f"{medians['usual']:.0f}", f"{medians['facet']:.0f}", f"{ratio:.1f}")
    Console(width=140, markup=False).print(table)
    loop.run_until_complete(engine.close())


if __name__ == "__main__":
    main()
