"""IMDB-WIKI: dates of birth and of the photo, genders and a detector's scores in MATLAB files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from typing import Any, Final

import numpy as np

from training.datasets.base import MAX_AGE, DataSet, Label, known, split_of
from training.datasets.sources import Listing, last_parts
from training.errors import DataSetError

LICENCE: Final = (
    'IMDB-WIKI: academic research use only; cite Rothe et al., "Deep expectation of real and apparent age from a single image '
    'without facial landmarks", IJCV 2018.'
)

MIN_SCORE: Final = 1.0
"""Score of the face below which a picture is left out, as is usual for this set; minus infinity is a picture without one."""
_GENDERS: Final = {0: "female", 1: "male"}
_MATLAB_DAYS: Final = 366
"""What MATLAB's day numbers are ahead of Python's."""


def imdb_wiki(files: Listing) -> DataSet | None:
    """Known by `imdb.mat` or `wiki.mat`, or both, beside the pictures `NN/ID_BIRTH_YEAR.jpg`; named IMDB, WIKI or IMDB-WIKI.

    A picture has a label where its face's score is `MIN_SCORE` or more, no second face was found, and the age lies between
    0 and 100; its authors publish the scores for that. The set is collected by machine: what is left is not all right. Its
    authors give no test list.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.

    Raises:
        DataSetError: A file is not what it should be.
    """
    parts = [part for part in ("imdb", "wiki") if files.holds(f"{part}.mat")]
    if not parts:
        return None
    labels: dict[str, Label] = {}
    for name, data in files.contents(*(f"{part}.mat" for part in parts)).items():
        labels |= _labels(data, name, str(files.source))
    name = "-".join(part.upper() for part in parts)
    return DataSet(
        name,
        LICENCE,
        False,
        files.source,
        labels.get,
        split_of,
        last_parts(2),
        known_by=" and ".join(f"{part}.mat" for part in parts),
    )


def _labels(data: bytes, name: str, source: str) -> dict[str, Label]:
    """Labels by picture of one MATLAB file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        table = loadmat(BytesIO(data), squeeze_me=True, struct_as_record=False)[name.removesuffix(".mat")]
        return dict(_rows(table))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, MatReadError, NotImplementedError) as error:
        raise DataSetError(f"{source}: {name} is not as its authors write it: {error}") from error


def _rows(table: Any) -> Iterator[tuple[str, Label]]:
    columns = ("full_path", "dob", "photo_taken", "gender", "face_score", "second_face_score")
    for path, birth, year, gender, score, second in zip(*(np.atleast_1d(getattr(table, one)) for one in columns), strict=True):
        age = age_at(float(birth), int(year))
        if age is not None and score >= MIN_SCORE and not second > 0:
            yield str(path), Label(known(age=age, gender=None if np.isnan(gender) else _GENDERS.get(int(gender))))


def age_at(birth: float, year: int) -> int | None:
    """Age on the first of July of the photo's year, as its authors reckon.

    Args:
        birth: A MATLAB day number.
        year: The photo's year.

    Returns:
        The age in years; None where it is not plausible: below 0, above 100, or of a birth before the year 1.
    """
    ordinal = int(birth) - _MATLAB_DAYS
    if not 1 <= ordinal <= date.max.toordinal():
        return None
    born = date.fromordinal(ordinal)
    age = year - born.year - ((born.month, born.day) > (7, 1))
    return age if 0 <= age <= MAX_AGE else None
