"""Data sets and networks that tests make up: UTKFace-style names of a wanted split, small pictures, a trunk of two layers."""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
from service.vision.detection import Detector
from service.vision.detection.registry import load_detector
from tests.conftest import ROOT, encoded
from tests.fakes import squares
from training.datasets.base import Split, split_of
from training.recipe import Recipe

Pixels = npt.NDArray[np.uint8]

SIDE = 32
"""Side of the tiny network's input in pixels."""


def names(split: Split, count: int, age: int = 30, gender: int = 1, race: int = 2) -> list[str]:
    """So many names with these labels whose hash puts them into a split."""
    candidates = (f"{age}_{gender}_{race}_{20170101000000000 + i}.jpg.chip.jpg" for i in itertools.count())
    return list(itertools.islice((name for name in candidates if split_of(name) is split), count))


def face_picture(shift: int = 0) -> bytes:
    """200 by 200 pixels round the astronaut's face, as UTKFace cuts them, moved by a few pixels."""
    photo = np.asarray(Image.open(ROOT / "examples/astronaut.jpg").convert("RGB"))
    return encoded(photo[15 + shift : 215 + shift, 123:323], "JPEG", quality=95)


def square_picture(x: int, y: int, colour: tuple[int, int, int] = (200, 90, 30), width: int = 40, side: int = 96) -> Pixels:
    """A black square picture with one face of `tests.fakes.SquareDetector`, its upper left corner at x, y."""
    picture = np.zeros((side, side, 3), np.uint8)
    picture[y : y + width, x : x + width] = colour
    return picture


def all_age_faces(folder: Path, labels: Sequence[tuple[str, int, str]]) -> Path:
    """A small All-Age-Faces: of each picture its name, gender as that set writes it (0 female), and the list it is in."""
    made = folder_of(folder, [(name, face_picture(number % 5)) for number, (name, _, _) in enumerate(labels)])
    for split in ("train", "val"):
        lines = [f"{name} {gender}\n" for name, gender, of in labels if of == split]
        (made / f"{split}.txt").write_text("".join(lines))
    return made


def black() -> bytes:
    """A picture without a face."""
    return encoded(np.zeros_like(squares((0, 0, 0), side=100, height=200)), "JPEG")


def folder_of(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """The files in a folder."""
    folder.mkdir(parents=True)
    for name, data in files:
        (folder / name).write_bytes(data)
    return folder


def tar_of(path: Path, folder: Path) -> Path:
    """A folder's files in a tar file, under the folder's name."""
    with tarfile.open(path, "w") as archive:
        archive.add(folder, folder.name)
    return path


def tiny(size: int, init: str) -> Any:
    """A trunk of two convolutions, with batch normalisation behind each."""
    import keras
    from keras import layers

    from training.models.heads import TRUNK
    from training.models.normalization import FusedBatchNormalization

    pixels = keras.Input((size, size, 3))
    x = layers.Conv2D(8, 3, strides=4, use_bias=False)(pixels)
    x = layers.Activation("relu")(FusedBatchNormalization(momentum=0.9)(x))
    x = layers.Conv2D(16, 3, strides=2)(x)
    x = layers.Activation("relu")(FusedBatchNormalization(momentum=0.9, scale=False)(x))
    trunk = keras.Model(pixels, layers.Flatten()(x), name=TRUNK)
    if init != "random":
        trunk.load_weights(init)
    return trunk


def recipe(**sections: dict[str, Any]) -> Recipe:
    """A recipe of the tiny network; sections change the ones given here."""
    base: dict[str, dict[str, Any]] = {
        "network": {"architecture": "tiny", "size": SIDE, "head_units": 16},
        "schedule": {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "ema_momentum": 0.9},
    }
    merged = {name: base.get(name, {}) | sections.get(name, {}) for name in {*base, *sections}}
    return Recipe.model_validate({"name": "tiny"} | merged)


def prepared(folder: Path, train: int, validation: int, kinds: int | None = None) -> Path:
    """What `prepare` writes, of pictures of noise; with `kinds`, of so many, again and again."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    count = train + validation
    crops = random.integers(0, 256, (count, 40, 40, 3), np.uint8)
    labels = {"age": random.integers(0, 101, count), "gender": np.arange(count) % 2, "race": np.arange(count) % 5}
    if kinds is not None:
        for values in (crops, *labels.values()):
            values[:] = values[np.arange(count) % kinds]
    np.save(folder / "crops.npy", crops)
    np.savez(
        folder / "faces.npz",
        name=np.array([f"{i}.jpg" for i in range(count)]),
        set=np.array(["UTKFace"] * count),
        split=np.array(["train"] * train + ["validation"] * validation),
        **labels,
    )
    return folder


def detector(store: Path) -> Detector:
    """The detector that a store holds."""
    return load_detector(ModelStore(store), "centerface", loader(Runtime.AUTO, Precision.F32, 2))[0]
