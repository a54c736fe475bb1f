"""Photos that two splits hold: found when they were encoded, reduced, recoloured or mirrored again, and no others."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.training import made
from training.datasets.base import Label, Split
from training.datasets.duplicates import THRESHOLD, NearDuplicate, differing, distances, near_duplicates, perceptual_hash
from training.datasets.readers import open_data_set


def picture(seed: int) -> Image.Image:
    """A face's shape and light, as all aligned faces share them, and features of its own."""
    random = np.random.default_rng(seed)
    features = cv2.GaussianBlur(random.normal(0, 1, (200, 200, 3)).astype(np.float32), (0, 0), 8)
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    shape = np.exp(-(x**2 + y**2))[..., np.newaxis]
    return Image.fromarray((110 * shape + 60 + 40 * features / features.std()).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


CHANGES = {
    "the same": jpeg,
    "encoded again": lambda image: jpeg(image, quality=30),
    "reduced": lambda image: jpeg(image.resize((90, 90))),
    "recoloured": lambda image: jpeg(ImageEnhance.Contrast(ImageEnhance.Color(image).enhance(0.2)).enhance(1.4)),
    "grey": lambda image: jpeg(image.convert("L")),
    "cut closer": lambda image: jpeg(image.crop((2, 2, 198, 198)).resize((200, 200))),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_photo_that_comes_again_is_found(change: str, mirrored: bool, tmp_path: Path) -> None:
    (trained,), (validated,), (tested, other) = (
        made.names(split, count) for split, count in ((Split.TRAIN, 1), (Split.VALIDATION, 1), (Split.TEST, 2))
    )
    again = ImageOps.mirror(picture(1)) if mirrored else picture(1)
    files = [
        (trained, jpeg(picture(1))),
        (validated, jpeg(picture(2))),
        (tested, CHANGES[change](again)),
        (other, jpeg(picture(3))),
    ]
    (twin,) = near_duplicates(open_data_set(made.folder_of(tmp_path / "set", files)), Split.TEST)
    assert (twin.name, twin.other, twin.mirrored) == (tested, trained, mirrored)
    assert twin.bits <= THRESHOLD


def test_different_pictures_are_far_apart() -> None:
    hashes = np.stack([perceptual_hash(picture(seed)) for seed in range(30)])
    apart = distances(hashes, hashes)
    assert (np.diag(apart) == 0).all()
    assert apart[~np.eye(30, dtype=bool)].min() > 1.2 * THRESHOLD


def test_distance_is_the_number_of_bits() -> None:
    random = np.random.default_rng(0)
    ours, others = (random.integers(0, 2**64, (count, 4), np.uint64) for count in (3, 5))
    expected = [[sum((int(a) ^ int(b)).bit_count() for a, b in zip(x, y, strict=True)) for y in others] for x in ours]
    assert distances(ours, others).tolist() == expected
    assert distances(ours, ~ours).diagonal().tolist() == [256] * 3


def test_a_split_is_compared_with_those_before_it(tmp_path: Path) -> None:
    chosen = {split: made.names(split, 2) for split in Split}
    files = [(name, jpeg(picture(number))) for names in chosen.values() for number, name in enumerate(names)]
    data = open_data_set(made.folder_of(tmp_path / "set", files))
    tested = near_duplicates(data, Split.TEST)
    assert {(twin.name, twin.other) for twin in tested} == {
        (name, chosen[split][number])
        for number, name in enumerate(chosen[Split.TEST])
        for split in (Split.TRAIN, Split.VALIDATION)
    }
    assert {twin.other for twin in near_duplicates(data, Split.VALIDATION)} == set(chosen[Split.TRAIN])
    assert near_duplicates(data, Split.TRAIN) == []
    assert len({twin.name for twin in near_duplicates(data, Split.TEST, limit=1)}) == 1


def test_a_picture_that_cannot_be_decoded_has_no_twin(tmp_path: Path) -> None:
    (trained, damaged), tested = made.names(Split.TRAIN, 2), made.names(Split.TEST, 2)
    files = [(trained, jpeg(picture(1))), (damaged, b"no picture"), (tested[0], b"no picture"), (tested[1], jpeg(picture(1)))]
    data = open_data_set(made.folder_of(tmp_path / "set", files))
    assert [(twin.name, twin.other) for twin in near_duplicates(data, Split.TEST)] == [(tested[1], trained)]


def test_labels_that_differ_are_counted(pictures: Path) -> None:
    data = open_data_set(pictures)
    base, old, man, both = (
        made.names(Split.TEST, 1, *labels)[0] for labels in ((30, 1, 2), (36, 1, 2), (30, 0, 2), (32, 0, 2))
    )
    assert data.label_of(both) == Label({"age": 32, "gender": "male", "race": "asian"})
    given = differing([NearDuplicate(base, other, 0, False) for other in (base, old, man, both)], data)
    assert given == {"any": 3, "age": 2, "gender": 2, "race": 0, "years": 2.0}
    assert differing([], data)["years"] is None
