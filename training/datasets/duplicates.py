"""Pictures of one split that another split holds too, found by a perceptual hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import imagehash
import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track

from service.errors import FacetError
from service.models.manifest import AGE, CANONICAL
from service.models.runtime import cpu_quota
from service.vision.image import decode
from training.datasets.base import DataSet, Split
from training.datasets.sources import MAX_PIXELS

Hashes = np.ndarray[Any, np.dtype[np.uint64]]

SIDE: Final = 16
"""Side of the hash in bits; it has `SIDE` squared of them. See `THRESHOLD`."""
THRESHOLD: Final = 40
"""Most bits, of 256, in which two hashes of one photo differ; no pair of different people was found within them.

Aligned faces resemble each other far more than photos at large, so that the usual 64 bits are too few. docs/measurements.md has
the counts of pairs by distance.
"""

_ROWS: Final = 64  # pictures compared at once; with 19,000 others 10 MB a word of the hash

EARLIER: Final[dict[Split, tuple[Split, ...]]] = {
    Split.TRAIN: (),
    Split.VALIDATION: (Split.TRAIN,),
    Split.TEST: (Split.TRAIN, Split.VALIDATION),
}
"""Splits that a model has learnt from, or was chosen by, before it is measured on one."""


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """A picture, another one of the same photo, the bits in which their hashes differ, and whether one is mirrored."""

    name: str
    other: str
    bits: int
    mirrored: bool


def perceptual_hash(image: Image.Image) -> Hashes:
    """The 256 bits of a picture's pHash, [4]: signs, about their median, of the lowest frequencies of its brightness.

    Args:
        image: The picture.

    Returns:
        The hash as four words of 64 bits.
    """
    return np.packbits(imagehash.phash(image, SIDE).hash.ravel()).view(np.uint64)


def near_duplicates(data: DataSet, split: Split, limit: int | None = None) -> list[NearDuplicate]:
    """Every pair of a picture of `split`, of the first `limit` where given, and one of the splits before it, that is one photo
    within `THRESHOLD`. Pictures that cannot be decoded have none.

    Args:
        data: The set.
        split: The split whose pictures are compared.
        limit: Most of its pictures.

    Returns:
        The pairs, by pictures of `split`.
    """
    known = [(name, picture) for earlier in EARLIER[split] for name, picture in _hashed(data, earlier, None, (False,))]
    later = list(_hashed(data, split, limit, (False, True))) if known else []
    return list(_pairs(later, known)) if later else []


def differing(twins: Iterable[NearDuplicate], data: DataSet) -> dict[str, Any]:
    """How many pairs bear different labels: in anything, and by attribute; and by how many years their ages differ in the mean.

    Args:
        twins: The pairs.
        data: The set that they are of.

    Returns:
        Counts under `any` and each attribute's name, and the mean under `years`, or None.
    """
    pairs = [(data.label_of(twin.name), data.label_of(twin.other)) for twin in twins]
    labels = [(one, other) for one, other in pairs if one is not None and other is not None]
    names = dict.fromkeys((AGE, *CANONICAL, *sorted({name for pair in labels for one in pair for name in one.values})))
    by_label = {name: sum(one.values.get(name) != other.values.get(name) for one, other in labels) for name in names}
    ages = [abs(one.age - other.age) for one, other in labels if one.age is not None and other.age is not None]
    return {
        "any": sum(one != other for one, other in labels),
        **by_label,
        "years": float(np.mean(ages)) if ages else None,
    }


def _hashed(data: DataSet, split: Split, limit: int | None, mirrored: tuple[bool, ...]) -> Iterator[tuple[str, Hashes]]:
    """Name and hashes [len(mirrored), 4] of the pictures of a split that can be decoded."""

    def work(name: str, content: bytes) -> tuple[str, Hashes] | None:
        try:
            image = Image.fromarray(decode(content, max_pixels=MAX_PIXELS, side=SIDE * 4).pixels)
        except FacetError:
            return None
        return name, np.stack([perceptual_hash(ImageOps.mirror(image) if one else image) for one in mirrored])

    walk = Parallel(cpu_quota(), prefer="threads", return_as="generator")(
        delayed(work)(name, content) for name, _, content in islice(data.labelled(split), limit)
    )
    for item in track(walk, f"{data.name}: hashing {split.value}", console=Console(stderr=True)):
        if item is not None:
            yield item


def _pairs(later: Sequence[tuple[str, Hashes]], known: Sequence[tuple[str, Hashes]]) -> Iterator[NearDuplicate]:
    others = np.concatenate([hashes for _, hashes in known])
    ours = np.stack([hashes for _, hashes in later])
    for start in range(0, len(ours), _ROWS):
        plain, mirror = (distances(ours[start : start + _ROWS, side], others) for side in (0, 1))
        nearest = np.minimum(plain, mirror)
        for row, column in np.argwhere(nearest <= THRESHOLD):
            bits = int(nearest[row, column])
            yield NearDuplicate(later[start + row][0], known[column][0], bits, bool(plain[row, column] > bits))


def distances(ours: Hashes, others: Hashes) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """In how many bits hashes differ.

    Args:
        ours: Hashes [N, 4].
        others: Hashes [M, 4].

    Returns:
        Bits [N, M].
    """
    counted = np.zeros((len(ours), len(others)), np.uint16)
    for word in range(ours.shape[1]):
        counted += np.bitwise_count(ours[:, word, np.newaxis] ^ others[:, word])
    return counted
