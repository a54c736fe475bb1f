"""Adience: genders and buckets of ages in five folds."""

from __future__ import annotations

import csv
import re
from typing import Final

from training.datasets.base import DataSet, Label, Split, between, known, split_of_train
from training.datasets.sources import Listing, last_parts
from training.errors import DataSetError

LICENCE: Final = (
    "Adience: research use, pictures under their photographers' Creative Commons licences; cite Eidinger et al., \"Age and "
    'gender estimation of unfiltered faces", IEEE TIFS 2014.'
)

_FOLDS: Final = tuple(f"fold_{number}_data.txt" for number in range(5))
_TEST_FOLD: Final = _FOLDS[4]
_PREFIXES: Final = ("landmark_aligned_face.", "coarse_tilt_aligned_face.")
_GENDERS: Final = {"m": "male", "f": "female"}


def adience(files: Listing) -> DataSet | None:
    """Known by `fold_0_data.txt` to `fold_4_data.txt`, tables with tabs, beside `USER/landmark_aligned_face.ID.IMAGE` or,
    where there is none of those, `USER/coarse_tilt_aligned_face.ID.IMAGE`.

    A bucket such as `(25, 32)` is a range of ages, and a lone number an age; gender `u` is unknown. Its authors measure every
    fold once; here the last one is test, and a tenth of the others validation.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.

    Raises:
        DataSetError: A fold is damaged.
    """
    if not files.holds(*_FOLDS):
        return None
    prefix = next((one for one in _PREFIXES if any(f"/{one}" in path for path in files.paths)), _PREFIXES[0])
    labels, tests = {}, set()
    for fold, text in files.texts(*_FOLDS).items():
        for row in csv.DictReader(text.splitlines(), delimiter="\t"):
            try:
                name = f"{row['user_id']}/{prefix}{row['face_id']}.{row['original_image']}"
                label = _label(row["age"], row["gender"])
            except (KeyError, TypeError, ValueError) as error:
                raise DataSetError(f"{files.source}: a line of {fold} is not as its authors write it: {error}") from error
            if label is not None:
                labels[name] = label
            if fold == _TEST_FOLD:
                tests.add(name)

    def split_of(name: str) -> Split:
        return Split.TEST if name in tests else split_of_train(name)

    return DataSet(
        "Adience", LICENCE, False, files.source, labels.get, split_of, last_parts(2), known_by=f"{_FOLDS[0]} to {_TEST_FOLD}"
    )


def _label(age: str, gender: str | None) -> Label | None:
    """None where neither is known."""
    word = _GENDERS.get(gender or "")
    if bucket := re.fullmatch(r"\((\d+), ?(\d+)\)", age):
        return between(int(bucket[1]), int(bucket[2]), gender=word)
    if age in ("", "None"):
        return None if word is None else Label({"gender": word})
    return Label(known(age=int(age), gender=word))
