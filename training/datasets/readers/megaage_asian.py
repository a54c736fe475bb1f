"""MegaAge-Asian: ages in lists that go beside lists of names."""

from __future__ import annotations

from typing import Final

from training.datasets.base import DataSet, Label, Split, split_of_train
from training.datasets.sources import Listing, base_name, last_parts
from training.errors import DataSetError

LICENCE: Final = (
    'MegaAge-Asian: non-commercial research use; cite Zhang et al., "Quantifying facial age by posterior of age comparisons", '
    "BMVC 2017."
)

_PARTS: Final = ("train", "test")
_LISTS: Final = tuple(f"{part}_{what}.txt" for part in _PARTS for what in ("name", "age"))


def megaage_asian(files: Listing) -> DataSet | None:
    """Known by `list/train_name.txt`, `train_age.txt` and the same of test: the pictures `train/N.jpg` and `test/N.jpg`, and
    their ages, line by line. The folder `test` is its authors' test.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.

    Raises:
        DataSetError: A list of ages is not as long as that of the names, or holds what is no age.
    """
    if not files.holds(*_LISTS):
        return None
    texts = files.texts(*_LISTS)
    ages: dict[str, int] = {}
    for part in _PARTS:
        names, years = (texts[f"{part}_{what}.txt"].split() for what in ("name", "age"))
        if len(names) != len(years):
            raise DataSetError(f"{files.source}: {part}_name.txt has {len(names)} lines, and {part}_age.txt {len(years)}")
        for name, age in zip(names, years, strict=True):
            if not age.isdecimal():
                raise DataSetError(f"{files.source}: a line of {part}_age.txt is no age: {age[:40]!r}")
            ages[f"{part}/{base_name(name)}"] = int(age)

    def label_of(name: str) -> Label | None:
        return Label({"age": ages[name]}) if name in ages else None

    def split_of(name: str) -> Split:
        return Split.TEST if name.startswith("test/") else split_of_train(name)

    return DataSet(
        "MegaAge-Asian", LICENCE, False, files.source, label_of, split_of, last_parts(2), known_by=" and ".join(_LISTS)
    )
