"""AFAD, the Asian Face Age Dataset: age and gender in the folders' names."""

from __future__ import annotations

import re
from typing import Final

from training.datasets.base import DataSet, Label, split_of
from training.datasets.sources import Listing, last_parts

LICENCE: Final = (
    'AFAD: academic research use only; cite Niu et al., "Ordinal regression with multiple output CNN for age estimation", '
    "CVPR 2016."
)

_NAME = re.compile(r"(\d{2})/(11[12])/[^/]+\.jpg")
_GENDERS: Final = {"111": "male", "112": "female"}


def afad(files: Listing) -> DataSet | None:
    """Known by `AGE/GENDER/ID-N.jpg`, where the folder 111 is male and 112 female; whole (AFAD-Full) or its Lite part.

    Its authors give no test list.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.
    """
    name_of = last_parts(3)
    if not any(_NAME.fullmatch(name_of(path)) for path in files.paths):
        return None
    return DataSet(
        "AFAD",
        LICENCE,
        False,
        files.source,
        _label_of,
        split_of,
        name_of,
        known_by="its folders, such as 15/111",
        label_is="lies in such a folder",
    )


def _label_of(name: str) -> Label | None:
    match = _NAME.fullmatch(name)
    return Label({"age": int(match[1]), "gender": _GENDERS[match[2]]}) if match else None
