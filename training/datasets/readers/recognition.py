"""What a folder was taken for, in words, and why no picture of it has a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from training.datasets.base import DataSet
from training.datasets.readers import folder, utkface
from training.datasets.sources import Listing, base_name

_LISTS: Final = (".csv", ".tsv", ".txt", ".json", ".xlsx", ".mat", ".parquet")
_SHOWN: Final = 3


def description(files: Listing, data_set: DataSet) -> str:
    """What the files were taken for, how many pictures have a label, and which lists were left aside.

    Args:
        files: Files of the source.
        data_set: The set that a reader made of them.

    Returns:
        A line.
    """
    names = set(_pictures(files, data_set))
    labelled = sum(1 for name in names if data_set.label_of(name) is not None)
    text = f"{files.source}: taken for {_taken(data_set)}; {labelled} of {len(names)} pictures have a label"
    aside = _aside(files, data_set)
    return f"{text}; not read: {_some(aside)}" if aside else text


def why_unlabelled(files: Listing, data_set: DataSet) -> str | None:
    """Why no picture has a label, and what would change that.

    Args:
        files: Files of the source.
        data_set: The set that a reader made of them.

    Returns:
        A line; None where some picture has one.
    """
    pictures = _pictures(files, data_set)
    if any(data_set.label_of(name) is not None for name in pictures):
        return None
    reasons = [f"no labelled picture in {files.source}: it was taken for {_taken(data_set)}"]
    if not files.paths:
        return f"no labelled picture in {files.source}: there is no file in it"
    if not pictures:
        endings = Counter(PurePosixPath(path).suffix or "no ending" for path in files.paths)
        counts = ", ".join(f"{count} of {ending}" for ending, count in endings.most_common(_SHOWN))
        reasons.append(f"no file ends in {' or '.join(data_set.endings)} (there are {counts})")
    else:
        reasons.append(f"none of its {len(pictures)} pictures, such as {pictures[0]!r}, {data_set.label_is}")
    if data_set.name != utkface.NAME and any(utkface.is_named(base_name(path)) for path in files.paths):
        reasons.append(f"its pictures are named as UTKFace's: without {data_set.known_by} their names would be read")
    elif aside := [path for path in _aside(files, data_set) if path.endswith((".csv", ".tsv", ".txt", ".xlsx"))]:
        columns = "file, and any of age, gender, race, split"
        reasons.append(f"a table of your own is read where it is named {folder.TABLE} and has the columns {columns}")
        reasons.append(f"there is {_some(aside)}")
    elif not data_set.known_by.startswith(folder.TABLE):
        reasons.append(f"labels of your own are read of a table {folder.TABLE} beside the pictures")
    return "; ".join(reasons)


def _pictures(files: Listing, data_set: DataSet) -> list[str]:
    return [data_set.name_of(path) for path in files.paths if path.endswith(data_set.endings)]


def _taken(data_set: DataSet) -> str:
    return f"{data_set.name}, by {data_set.known_by}"


def _aside(files: Listing, data_set: DataSet) -> list[str]:
    """Paths of lists that the set is not known by."""
    return [path for path in files.paths if path.lower().endswith(_LISTS) and base_name(path) not in data_set.known_by]


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
