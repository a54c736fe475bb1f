"""UTKFace: age, gender and race in the file's name."""

from __future__ import annotations

import re
from typing import Final

from training.datasets.base import GENDERS, RACES, DataSet, Label, split_of
from training.datasets.sources import Listing

LICENCE: Final = "UTKFace: non-commercial research use only, as its authors state."

_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+ ?\.?jpg\.chip\.jpg")  # two dates lack a dot, or have a blank


def utkface(files: Listing) -> DataSet:
    """The aligned and cropped set: `age_gender_race_date.jpg.chip.jpg`, 200 by 200 pixels.

    Args:
        files: Files of the source, whatever they are.

    Returns:
        The set.
    """
    return DataSet("UTKFace", LICENCE, True, files.source, parse, split_of)


def parse(name: str) -> Label | None:
    """Label in a file's name, or None where a field is missing.

    Args:
        name: Name of the file.

    Returns:
        The label, or None.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return Label({"age": int(match[1]), "gender": GENDERS[int(match[2])], "race": RACES[int(match[3])]})
