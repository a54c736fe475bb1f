"""Pictures to face embeddings of a recognition network, which a trunk learns to give beside its heads.

A network that was trained to distinguish the people of millions of photos has learnt features that ten thousand labels do not
teach. Its embedding of a picture is a second target (FitNets, Romero et al., ICLR 2015) while the network is trained; it is
no part of the model that is served. The embeddings are dlib's (King, "Dlib-ml", JMLR 2009; the model is in the public domain,
CC0), 128 numbers, which its packages compute: the extra `face-embeddings`.
"""

from __future__ import annotations

import importlib.util
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track

from service.arrays import Bools, Floats
from service.extras import install_command
from service.files import replacing
from service.vision.detection import SIDE_PX
from service.vision.image import decode
from training.datasets.base import DataSet, Split
from training.datasets.prepared import EMBEDDINGS, open_faces
from training.datasets.readers import open_data_set
from training.datasets.sources import MAX_PIXELS
from training.errors import DataSetError, MissingPackage

LENGTH: Final = 128
CHUNK: Final = 32
_CHIP, _PADDING = 150, 0.25  # what the network was trained on

Item = tuple[bytes, Floats]
"""Bytes of a picture, and its face's box [4] in pixels of it."""
Chunk = tuple[list[int], list[Item]]
"""Rows of the prepared faces, and their pictures."""
Embed = Callable[[list[Item]], Floats]
"""Pictures to their embeddings [N, 128]."""

_networks: list[Any] = []


def write_embeddings(sources: Sequence[Path], prepared: Path, workers: int, embed: Embed | None = None) -> Path:
    """Write `embeddings.npy` beside the crops: for each an embedding [N, 128], float16; zero for those of test.

    Each number is less its mean over train and divided by its deviation there, since what all faces have in common teaches
    nothing; then each embedding is brought to unit length.

    Args:
        sources: The prepared data sets.
        prepared: Folder that `prepare` wrote.
        workers: Processes of dlib.
        embed: What embeds; dlib's network where it is not given.

    Returns:
        The file.

    Raises:
        MissingPackage: dlib or its models are not installed.
        DataSetError: The data sets are not those that were prepared.
        FileNotFoundError: `prepare` wrote nothing.
    """
    if embed is None:
        _locate()
    with open_faces(prepared) as table:
        rows = {
            (str(table["set"][row]), str(table["name"][row])): int(row)
            for row in np.flatnonzero(table["split"] != Split.TEST.value)
        }
        boxes, train = table["box"], table["split"] == Split.TRAIN.value
    data_sets = [open_data_set(source) for source in sources]
    _require_prepared({one.name for one in data_sets}, {name for name, _ in rows}, prepared)
    embeddings = np.zeros((len(boxes), LENGTH), np.float32)
    chunks, console = _chunks(data_sets, rows, boxes), Console(stderr=True)
    results = _embedded(chunks, workers) if embed is None else ((places, embed(items)) for places, items in chunks)
    for places, values in track(results, "embedding faces", total=math.ceil(len(rows) / CHUNK), console=console):
        embeddings[places] = values
    with replacing(prepared / EMBEDDINGS) as new:
        np.save(new, standardised(embeddings, train).astype(np.float16))
    return prepared / EMBEDDINGS


def _require_prepared(given: set[str], known: set[str], prepared: Path) -> None:
    """Raises `DataSetError` unless the given data sets are the prepared ones, or faces of some would have no embedding."""
    if others := sorted(given - known):
        raise DataSetError(f"no face in {prepared} that is embedded comes from {others[0]}")
    if left := sorted(known - given):
        raise DataSetError(f"{prepared} holds faces of {left[0]}, too: name it with --data")


def _chunks(data_sets: Sequence[DataSet], rows: Mapping[tuple[str, str], int], boxes: Floats) -> Iterator[Chunk]:
    """The pictures of these rows, read as they are asked for, `CHUNK` at a time."""
    places: list[int] = []
    items: list[Item] = []
    for data_set in data_sets:
        for name, data in data_set.pictures():
            if (row := rows.get((data_set.name, name))) is None:
                continue
            places.append(row)
            items.append((data, boxes[row]))
            if len(items) == CHUNK:
                yield places, items
                places, items = [], []
    if items:
        yield places, items


def _embedded(chunks: Iterator[Chunk], workers: int) -> Iterator[tuple[list[int], Floats]]:
    """Rows and their embeddings by dlib, in order; a few chunks more than there are processes are in memory."""
    waiting: deque[tuple[list[int], Future[Floats]]] = deque()
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for places, items in chunks:
            waiting.append((places, pool.submit(_embed, items)))
            if len(waiting) > 2 * workers:
                rows, result = waiting.popleft()
                yield rows, result.result()
        for rows, result in waiting:
            yield rows, result.result()


def standardised(embeddings: Floats, train: Bools) -> Floats:
    """Embeddings with the mean and deviation of train taken out, of unit length; those that are zero stay so.

    Args:
        embeddings: [N, D].
        train: Which of them are of train [N].

    Returns:
        The same [N, D], float32.
    """
    known = (embeddings != 0).any(axis=1)
    learnt = embeddings[known & train]
    centred = (embeddings - learnt.mean(axis=0)) / np.maximum(learnt.std(axis=0), 1e-6)
    length = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return np.where(known[:, np.newaxis], centred / length, 0).astype(np.float32)


def _locate() -> Path:
    """Folder of dlib's models. Raises `MissingPackage` where they or dlib are not installed."""
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or found.origin is None or importlib.util.find_spec("dlib") is None:
        raise MissingPackage(f"face embeddings need dlib and its models: {install_command('face-embeddings')}")
    return Path(found.origin).parent / "models"


def _embed(items: list[Item]) -> Floats:
    """Embeddings [N, 128] by dlib, in a process of its own, which keeps the networks."""
    import dlib

    if not _networks:
        folder = _locate()
        _networks.append(dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat")))
        _networks.append(dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat")))
    landmarks, network = _networks
    chips = []
    for data, (x0, y0, x1, y1) in items:
        pixels = np.ascontiguousarray(decode(data, max_pixels=MAX_PIXELS, side=SIDE_PX).pixels)
        x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, 0.85 * (y1 - y0)) / 2
        square = dlib.rectangle(int(x - half), int(y - 0.9 * half), int(x + half), int(y + 1.1 * half))
        chips.append(dlib.get_face_chip(pixels, landmarks(pixels, square), _CHIP, _PADDING))
    return np.array(network.compute_face_descriptor(chips, 0), np.float32)
