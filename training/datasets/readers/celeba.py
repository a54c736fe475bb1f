"""CelebA: gender, one of forty attributes in a list."""

from __future__ import annotations

from typing import Final

from training.datasets.base import DataSet, Label, Split, split_of
from training.datasets.sources import Listing
from training.errors import DataSetError

LICENCE: Final = (
    'CelebA: non-commercial research use only; cite Liu et al., "Deep learning face attributes in the wild", ICCV 2015.'
)

_ATTRIBUTES: Final = "list_attr_celeba.txt"
_PARTITION: Final = "list_eval_partition.txt"
_SPLITS: Final = {"0": Split.TRAIN, "1": Split.VALIDATION, "2": Split.TEST}


def celeba(files: Listing) -> DataSet | None:
    """Known by `list_attr_celeba.txt`: a count, the attributes' names, then a picture a line, with 1 or -1 for each; `Male` is
    read. `list_eval_partition.txt`, where it is there, has its authors' splits.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.

    Raises:
        DataSetError: A list is damaged.
    """
    if not files.holds(_ATTRIBUTES):
        return None
    texts = files.texts(_ATTRIBUTES, _PARTITION)
    labels = _labels(texts[_ATTRIBUTES], str(files.source))
    splits = _splits(texts.get(_PARTITION, ""), str(files.source))
    return DataSet(
        "CelebA", LICENCE, False, files.source, labels.get, lambda name: splits[name] if name in splits else split_of(name)
    )


def _labels(text: str, source: str) -> dict[str, Label]:
    lines = text.strip().splitlines()
    if len(lines) < 2:
        raise DataSetError(f"{source}: {_ATTRIBUTES} has no line of attributes")
    _, names, *rows = lines
    if "Male" not in names.split():
        raise DataSetError(f"{source}: {_ATTRIBUTES} has no attribute Male")
    place = names.split().index("Male") + 1
    labels = {}
    for row in rows:
        name, *values = row.split()
        if len(values) < place or values[place - 1] not in ("1", "-1"):
            raise DataSetError(f"{source}: a line of {_ATTRIBUTES} is not a name and its attributes: {row[:40]!r}")
        labels[name] = Label({"gender": "male" if values[place - 1] == "1" else "female"})
    return labels


def _splits(text: str, source: str) -> dict[str, Split]:
    splits = {}
    for line in text.splitlines():
        name, _, part = line.partition(" ")
        if part.strip() not in _SPLITS:
            raise DataSetError(f"{source}: a line of {_PARTITION} is not a name and 0, 1 or 2: {line[:40]!r}")
        splits[name] = _SPLITS[part.strip()]
    return splits
