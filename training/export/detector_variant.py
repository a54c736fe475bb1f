"""A detector of the store to its int8 variant: the network that proposes faces, quantised by made pictures of many faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from service.arrays import Pixels
from service.models.manifest import Tolerance, Variant
from service.models.runtime import Precision, cpu_quota
from service.models.runtime import openvino as runtime
from service.models.store import VARIANT, ModelStore, file_digest
from service.vision.image import decode
from training.artifacts import new_folder, whole_folder, write_text
from training.datasets.base import DataSet, Split, require_labelled
from training.datasets.sources import MAX_PIXELS
from training.export.quantization import NETWORK, write_golden, write_network
from training.export.tolerance import TOLERANCE

SIDES: Final = (256, 320, 416, 512, 640)
"""Sides of the made pictures in pixels, multiples of 32."""
HEIGHTS: Final = (32, 48, 64, 96, 128, 192, 256)
"""Heights in pixels to which labelled pictures are brought; a row has one."""
TURNED: Final = 0.4
"""Share of them that lie on their side or upside down, as heads of any angle are to be proposed."""
PICTURES_OF_A_SET: Final = 250
OTHER: Final = 0.1
"""Largest difference of a score from its golden one: CPUs round in other places, and those without VNNI clip sums."""
SEED: Final = 1
"""Of the made pictures: a draw of 150 lost four points of heads on their side, this one of 300 half a point."""


def quantize_detector(
    store: Path, name: str, version: int, sources: Sequence[DataSet], created: str, pictures: int = 300
) -> Variant:
    """Write `store/NAME/VERSION/int8` of a detector's network `faces`; its other networks stay what they are.

    Args:
        store: Model store.
        name: The detector's.
        version: Its version.
        sources: Data sets whose training pictures are joined to pictures of many faces.
        created: Date, such as 2026-09-01.
        pictures: Made pictures by which the ranges of values are measured.

    Returns:
        The variant's document.

    Raises:
        ModelError: The store holds no such detector, or it is damaged.
        FileExistsError: It has an int8 variant.
        MissingPackage: NNCF is not installed.
        ExportError: The variant is too large.
        DataSetError: A set has no training picture.
    """
    threads = cpu_quota()
    model = ModelStore(store).load(name, version, runtime.loader(Precision.F32, threads), kind="detector")
    folder = store / name / str(version)
    target = folder / Precision.INT8.value
    if target.exists():
        raise FileExistsError(f"{target} exists, and versions never change once written")
    for source in sources:
        require_labelled(source, Split.TRAIN)
    shown = [picture[np.newaxis] for picture in islice(mosaics(_training_pictures(sources)), pictures)]
    load = runtime.loader(Precision.INT8, threads)
    with new_folder(store, target) as draft:
        write_network(
            folder / model.manifest.networks["faces"], shown, draft / NETWORK, fast=True
        )  # the other loses turned heads
        write_golden(folder, draft, load(draft / NETWORK), {"probability"})
        document = Variant(
            name=name,
            version=version,
            precision="int8",
            manifest=model.digest,
            created=created,
            made_by=f"nncf {metadata.version('nncf')}",
            calibrated_on=tuple(source.name for source in sources),
            pictures=len(shown),
            networks={"faces": NETWORK},
            tolerance=Tolerance(expectation=TOLERANCE["int8"]["expectation"], other=OTHER),
            files={path.name: file_digest(path) for path in sorted(draft.iterdir())},
        )
        write_text(draft / VARIANT, document.model_dump_json(indent=2) + "\n")
    with whole_folder(target):
        ModelStore(store).load(name, version, load, kind="detector", variant="int8")
    return document


def mosaics(pictures: Sequence[Pixels], seed: int = SEED) -> Iterator[Pixels]:
    """Square pictures of many faces, in rows of several heights.

    Args:
        pictures: uint8 RGB [H, W, 3] each, one or more.
        seed: Of their order, sizes and turns.

    Yields:
        uint8 RGB [S, S, 3], without end.
    """
    random = np.random.default_rng(seed)
    shown = cycle(random.permutation(len(pictures)).tolist())
    while True:
        side = int(random.choice(SIDES))
        canvas = np.empty((side, side, 3), np.uint8)
        canvas[:] = random.integers(40, 200, 3)
        top = 0
        while top < side:
            height = min(int(random.choice(HEIGHTS)), side - top)
            left = 0
            while left < side:
                turns = int(random.integers(1, 4)) if random.random() < TURNED else 0
                picture = np.ascontiguousarray(np.rot90(pictures[next(shown)], turns))
                width = max(1, round(picture.shape[1] * height / picture.shape[0]))
                tile = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)[:, : side - left]
                canvas[top : top + height, left : left + tile.shape[1]] = tile
                left += width
            top += height
        yield canvas


def _training_pictures(sources: Sequence[DataSet]) -> list[Pixels]:
    """The first labelled training pictures of each set."""
    return [
        decode(content, max_pixels=MAX_PIXELS, side=max(HEIGHTS)).pixels
        for source in sources
        for _, _, content in islice(source.labelled(Split.TRAIN), PICTURES_OF_A_SET)
    ]
