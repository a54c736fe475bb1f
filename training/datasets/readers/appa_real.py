"""APPA-REAL: the apparent age as people guessed it, and the real one."""

from __future__ import annotations

import csv
from typing import Final

from training.datasets.base import DataSet, Label, Split
from training.datasets.sources import Listing
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
    return DataSet("APPA-REAL", LICENCE, False, files.source, labels.get, splits.__getitem__, endings=(_FACE,))
