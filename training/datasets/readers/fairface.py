"""FairFace: gender, seven races and buckets of ages in two tables."""

from __future__ import annotations

import csv
import re
from typing import Final

from training.datasets.base import DataSet, Split, between, split_of_train
from training.datasets.sources import Listing, last_parts
from training.errors import DataSetError

LICENCE: Final = (
    'FairFace: CC BY 4.0; cite Kärkkäinen and Joo, "FairFace: face attribute dataset for balanced race, gender, and age", '
    "WACV 2021."
)

RACE_OF: Final = {
    "White": "white",
    "Black": "black",
    "East Asian": "asian",
    "Southeast Asian": "asian",
    "Indian": "indian",
    "Latino_Hispanic": "other",
    "Middle Eastern": "other",
}
"""Its seven races in UTKFace's five, whose `other` its authors describe as Hispanic, Latino and Middle Eastern among others."""
OLDEST: Final = (70, 90)
"""What its bucket `more than 70` is taken for: the set gives no upper end."""

_TABLES: Final = ("fairface_label_train.csv", "fairface_label_val.csv")
_GENDERS: Final = {"Male": "male", "Female": "female"}


def fairface(files: Listing) -> DataSet | None:
    """Known by `fairface_label_train.csv` and `fairface_label_val.csv`, with the columns file (`train/1.jpg`), age, gender
    and race. The second is what its authors measure on: test.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.

    Raises:
        DataSetError: A table is damaged.
    """
    if not files.holds(*_TABLES):
        return None
    labels = {}
    for table, text in files.texts(*_TABLES).items():
        for row in csv.DictReader(text.splitlines()):
            try:
                label = between(*_years(row["age"]), gender=_GENDERS[row["gender"]], race=RACE_OF[row["race"]])
                labels[row["file"]] = label
            except (KeyError, TypeError, ValueError) as error:
                raise DataSetError(f"{files.source}: a line of {table} is not as its authors write it: {error}") from error
    return DataSet(
        "FairFace", LICENCE, False, files.source, labels.get, _split_of, last_parts(2), known_by=" and ".join(_TABLES)
    )


def _years(bucket: str) -> tuple[int, int]:
    if bucket == "more than 70":
        return OLDEST
    match = re.fullmatch(r"(\d+)-(\d+)", bucket)
    if match is None:
        raise ValueError(f"{bucket!r} is no bucket of ages")
    return int(match[1]), int(match[2])


def _split_of(name: str) -> Split:
    return Split.TEST if name.startswith("val/") else split_of_train(name)
