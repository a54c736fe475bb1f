"""All-Age-Faces: age in the file's name, gender in its two lists."""

from __future__ import annotations

import re
from typing import Final

from training.datasets.base import DataSet, Label, Split, split_of_train
from training.datasets.sources import Listing, base_name
from training.errors import DataSetError

LICENCE: Final = (
    'All-Age-Faces: research use; cite Cheng et al., "Exploiting effective facial patches for robust gender recognition", '
    "Tsinghua Science and Technology 2019."
)

_NAME = re.compile(r"\d{5}A(\d{2,3})\.jpg")
_LISTS: Final = ("train.txt", "val.txt")
_GENDERS: Final = {"0": "female", "1": "male"}


def all_age_faces(files: Listing) -> DataSet | None:
    """Known by `train.txt` and `val.txt`, whose lines are a name and 0 for female or 1 for male, and by such names: others have
    lists of these names, too. `val.txt` is its test list.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.

    Raises:
        DataSetError: A list is damaged.
    """
    if not files.holds(*_LISTS):
        return None
    texts = files.texts(*_LISTS)
    listed = (line.split(" ")[0] for text in texts.values() for line in text.splitlines())
    if not any(_NAME.fullmatch(name) for name in (*map(base_name, files.paths), *listed)):
        return None
    genders, tests = {}, set()
    for list_name, text in texts.items():
        for line in text.splitlines():
            match = re.fullmatch(r"(\d{5}A\d{2,3}\.jpg) ([01])", line.strip())
            if match is None:
                raise DataSetError(f"{files.source}: a line of {list_name} is not a name and a gender: {line[:40]!r}")
            genders[match[1]] = _GENDERS[match[2]]
            if list_name == "val.txt":
                tests.add(match[1])

    def label_of(name: str) -> Label | None:
        match = _NAME.fullmatch(name)
        return Label({"age": int(match[1]), "gender": genders[name]}) if match and name in genders else None

    def split_of(name: str) -> Split:
        return Split.TEST if name in tests else split_of_train(name)

    return DataSet("All-Age-Faces", LICENCE, False, files.source, label_of, split_of, known_by=" and ".join(_LISTS))
