"""UTKFace: age, gender and race in the file's name."""

from __future__ import annotations

import re
from typing import Final

from training.datasets.base import GENDERS, RACES, DataSet, Label, Split, split_of
from training.datasets.sources import Listing, base_name

LICENCE: Final = "UTKFace: non-commercial research use only, as its authors state."

NAME: Final = "UTKFace"
_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+ ?\.?jpg\.chip\.jpg")  # two dates lack a dot, or have a blank
_WILD = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+ ?\.?jpg")
_CHIP: Final = ".chip.jpg"
_LABEL: Final = (
    "is named AGE_GENDER_RACE_DATE.jpg.chip.jpg, as the aligned ones, or AGE_GENDER_RACE_DATE.jpg, as those in the wild"
)


def utkface(files: Listing) -> DataSet:
    """The aligned and cropped set: `age_gender_race_date.jpg.chip.jpg`, 200 by 200 pixels; or, where there is none of these,
    the pictures in the wild, `age_gender_race_date.jpg`, of any size.

    A picture in the wild is in the split of its aligned one.

    Args:
        files: Files of the source, whatever they are.

    Returns:
        The set.
    """
    names = {base_name(path) for path in files.paths}
    if not any(map(_NAME.fullmatch, names)) and any(map(_WILD.fullmatch, names)):
        known_by = "the names of its pictures in the wild"
        return DataSet(
            NAME, LICENCE, False, files.source, _parse_in_the_wild, _split_in_the_wild, known_by=known_by, label_is=_LABEL
        )
    known_by = "the names of its pictures" if any(map(_NAME.fullmatch, names)) else "nothing, as no other set is"
    return DataSet(NAME, LICENCE, True, files.source, parse, split_of, known_by=known_by, label_is=_LABEL)


def is_named(name: str) -> bool:
    """Whether a file is named as the set's are, aligned or in the wild.

    Args:
        name: Name of the file.

    Returns:
        Whether it is.
    """
    return parse(name) is not None or _parse_in_the_wild(name) is not None


def parse(name: str) -> Label | None:
    """Label in the name of an aligned file, or None where a field is missing.

    Args:
        name: Name of the file.

    Returns:
        The label, or None.
    """
    return _label(_NAME.fullmatch(name))


def _parse_in_the_wild(name: str) -> Label | None:
    return _label(_WILD.fullmatch(name))


def _label(match: re.Match[str] | None) -> Label | None:
    if match is None:
        return None
    return Label({"age": int(match[1]), "gender": GENDERS[int(match[2])], "race": RACES[int(match[3])]})


def _split_in_the_wild(name: str) -> Split:
    return split_of(name + _CHIP)
