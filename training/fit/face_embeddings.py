"""Pictures to face embeddings of a recognition network, which a trunk learns to give beside its heads.

A network that was trained to distinguish the people of millions of photos has learnt features that ten thousand labels do not
teach. Its embedding of a picture is a second target (FitNets, Romero et al., ICLR 2015) while the network is trained; it is
no part of the model that is served. The embeddings are dlib's (King, "Dlib-ml", JMLR 2009; the model is in the public domain,
CC0), 128 numbers, which its packages compute: the extra `face-embeddings`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
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
from training.datasets.base import Split
from training.datasets.prepared import EMBEDDINGS, open_faces
from training.datasets.readers import open_data_set
from training.datasets.sources import MAX_PIXELS
from training.errors import MissingPackage

LENGTH: Final = 128
CHUNK: Final = 32
_CHIP, _PADDING = 150, 0.25  # what the network was trained on

Item = tuple[bytes, Floats]
"""Bytes of a picture, and its face's box [4] in pixels of it."""
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
        FileNotFoundError: `prepare` wrote nothing.
    """
    if embed is None:
        _locate()
    with open_faces(prepared) as table:
        rows = {
            (str(table["set"][row]), str(table["name"][row])): row for row in np.flatnonzero(table["split"] != Split.TEST.value)
        }
        boxes, train = table["box"], table["split"] == Split.TRAIN.value
    embeddings = np.zeros((len(boxes), LENGTH), np.float32)
    items: list[tuple[int, Item]] = []
    for data_set in map(open_data_set, sources):
        for name, data in data_set.pictures():
            row = rows.get((data_set.name, name))
            if row is not None:
                items.append((int(row), (data, boxes[row])))
    chunks = [items[begin : begin + CHUNK] for begin in range(0, len(items), CHUNK)]
    console = Console(stderr=True)
    if embed is None:
        pool = ProcessPoolExecutor(workers, get_context("spawn"))
        results = pool.map(_embed, ([item for _, item in chunk] for chunk in chunks))
    else:
        pool, results = None, map(embed, ([item for _, item in chunk] for chunk in chunks))
    for chunk, values in track(zip(chunks, results, strict=True), "embedding faces", total=len(chunks), console=console):
        embeddings[[row for row, _ in chunk]] = values
    if pool is not None:
        pool.shutdown()
    with replacing(prepared / EMBEDDINGS) as new:
        np.save(new, standardised(embeddings, train).astype(np.float16))
    return prepared / EMBEDDINGS


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
