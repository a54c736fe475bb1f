"""APPA-REAL: the apparent age as people guessed it and the real one, or faces cut from it with the real one in their names."""

from __future__ import annotations

import csv
import hashlib
import re
from typing import Final

from training.datasets.base import DataSet, Label, Split
from training.datasets.sources import Listing, base_name
from training.errors import DataSetError

LICENCE: Final = (
    'APPA-REAL: research use; cite Agustsson et al., "Apparent and real age estimation in still images with deep residual '
    'regressors on APPA-REAL database", FG 2017.'
)

_LISTS: Final = {
    "gt_avg_train.csv": Split.TRAIN,
    "gt_avg_valid.csv": Split.VALIDATION,
    "gt_avg_test.csv": Split.TEST,
}
_FACE: Final = "_face.jpg"
_NAME: Final = re.compile(r"\d{6}_(\d{1,3})\.jpg")


def appa_real(files: Listing) -> DataSet | None:
    """Known by `gt_avg_train.csv`, `gt_avg_valid.csv` and `gt_avg_test.csv`, its authors' splits: of each picture the mean of
    the guesses, which is rounded and is the label's age, and the real age.

    The pictures are the faces cut with a margin, `SPLIT/NAME_face.jpg`: the labelled one is in the middle.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.

    Raises:
        DataSetError: A list is damaged.
    """
    if not files.holds(*_LISTS):
        return None
    labels, splits = {}, {}
    for list_name, text in files.texts(*_LISTS).items():
        for row in csv.DictReader(text.splitlines()):
            try:
                name = row["file_name"] + _FACE
                age, real = round(float(row["apparent_age_avg"])), round(float(row["real_age"]))
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise DataSetError(f"{files.source}: a line of {list_name} has no file and two ages: {error}") from error
            labels[name], splits[name] = Label({"age": age}, real_age=real), _LISTS[list_name]
    return DataSet(
        "APPA-REAL",
        LICENCE,
        False,
        files.source,
        labels.get,
        lambda name: splits.get(name, Split.TRAIN),
        endings=(_FACE,),
        known_by=", ".join(_LISTS),
    )


def appa_real_faces(files: Listing) -> DataSet | None:
    """Known by a picture `NUMBER_AGE.jpg`, whose number has six digits: faces cut from its authors' training pictures.

    The name has the real age in years, and there is no apparent one: the label's age is the real one. A tenth, by the SHA-256
    of the name, is validation; the rest is train, and nothing is test.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.
    """
    if not any(_NAME.fullmatch(base_name(path)) for path in files.paths):
        return None
    return DataSet("APPA-REAL", LICENCE, False, files.source, _label_of, _split_of)


def _label_of(name: str) -> Label | None:
    match = _NAME.fullmatch(name)
    return Label({"age": int(match[1])}, real_age=int(match[1])) if match else None


def _split_of(name: str) -> Split:
    return Split.VALIDATION if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0 else Split.TRAIN
