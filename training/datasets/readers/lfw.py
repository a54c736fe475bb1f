"""LFW, Labeled Faces in the Wild, with lists of its men and women."""

from __future__ import annotations

from typing import Final

from training.datasets.base import DataSet, Label, split_of
from training.datasets.sources import Listing
from training.errors import DataSetError

LICENCE: Final = (
    'LFW: research use, pictures from the news; cite Huang et al., "Labeled faces in the wild", University of Massachusetts '
    '2007; gender lists: Afifi and Abdelhamed, "AFIF4", Journal of Visual Communication and Image Representation 2019.'
)

_LISTS: Final = ("male_names.txt", "female_names.txt")


def lfw(files: Listing) -> DataSet | None:
    """Known by `male_names.txt` and `female_names.txt`, a picture a line, beside `NAME/NAME_0001.jpg`.

    The lists give gender alone, and there is no test list for that.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.

    Raises:
        DataSetError: A picture is in both lists.
    """
    if not files.holds(*_LISTS):
        return None
    texts = files.texts(*_LISTS)
    men, women = ({line.strip().removesuffix(".jpg") for line in texts[name].splitlines() if line.strip()} for name in _LISTS)
    if men & women:
        raise DataSetError(f"{files.source}: {min(men & women)} is in both lists")
    labels = {f"{name}.jpg": Label({"gender": word}) for word, names in (("male", men), ("female", women)) for name in names}
    return DataSet("LFW", LICENCE, False, files.source, labels.get, split_of, known_by=" and ".join(_LISTS))
