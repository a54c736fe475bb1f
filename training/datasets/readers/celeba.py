"""CelebA: gender, one of forty attributes in a list."""

from __future__ import annotations

from typing import Final

from training.datasets.base import DataSet, Label, Split, split_of
from training.datasets.sources import Listing
from training.errors import DataSetError

LICENCE: Final = (
    'CelebA: non-commercial research use only; cite Liu et al., "Deep learning face attributes in the wild", ICCV 2015.'
)

_ATTRIBUTES: Final = ("list_attr_celeba.txt", "list_attr_celeba.csv")
_PARTITIONS: Final = ("list_eval_partition.txt", "list_eval_partition.csv")
_SPLITS: Final = {"0": Split.TRAIN, "1": Split.VALIDATION, "2": Split.TEST}


def celeba(files: Listing) -> DataSet | None:
    """Known by `list_attr_celeba.txt`: a count, the attributes' names, then a picture a line, with 1 or -1 for each; `Male` is
    read. `list_eval_partition.txt`, where it is there, has its authors' splits. Both may be tables instead, as they are copied
    by others: `list_attr_celeba.csv` and `list_eval_partition.csv`, whose first line has the columns' names.

    Args:
        files: Files of the source.

    Returns:
        The set, or None where the files are another's.

    Raises:
        DataSetError: A list is damaged.
    """
    attributes = next((name for name in _ATTRIBUTES if files.holds(name)), None)
    if attributes is None:
        return None
    partition = next((name for name in _PARTITIONS if files.holds(name)), None)
    texts = files.texts(attributes, *([partition] if partition else []))
    labels = _labels(texts[attributes], attributes, str(files.source))
    splits = _splits(texts[partition], partition, str(files.source)) if partition else {}
    return DataSet(
        "CelebA",
        LICENCE,
        False,
        files.source,
        labels.get,
        lambda name: splits[name] if name in splits else split_of(name),
        known_by=" and ".join(texts),
    )


def _cells(line: str, file: str) -> list[str]:
    """What stands in a line of a list: between commas, or else between blanks."""
    return [cell.strip() for cell in line.split(",")] if file.endswith(".csv") else line.split()


def _labels(text: str, file: str, source: str) -> dict[str, Label]:
    lines = text.strip().splitlines()
    if not file.endswith(".csv"):
        lines = [f"image_id {line}" if number == 0 else line for number, line in enumerate(lines[1:])]
    if not lines:
        raise DataSetError(f"{source}: {file} has no line of attributes")
    names, *rows = lines
    if "Male" not in _cells(names, file):
        raise DataSetError(f"{source}: {file} has no attribute Male")
    place = _cells(names, file).index("Male")
    labels = {}
    for row in filter(str.strip, rows):
        name, *values = _cells(row, file)
        if len(values) < place or values[place - 1] not in ("1", "-1"):
            raise DataSetError(f"{source}: a line of {file} is not a name and its attributes: {row[:40]!r}")
        labels[name] = Label({"gender": "male" if values[place - 1] == "1" else "female"})
    return labels


def _splits(text: str, file: str, source: str) -> dict[str, Split]:
    splits = {}
    for line in filter(str.strip, text.splitlines()[file.endswith(".csv") :]):
        name, *parts = _cells(line, file)
        if len(parts) != 1 or parts[0] not in _SPLITS:
            raise DataSetError(f"{source}: a line of {file} is not a name and 0, 1 or 2: {line[:40]!r}")
        splits[name] = _SPLITS[parts[0]]
    return splits
