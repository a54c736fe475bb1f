"""The data sets that can be read, one file each: every reader knows its set by the files that its authors publish."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from training.datasets.base import DataSet
from training.datasets.readers import recognition
from training.datasets.readers.adience import adience
from training.datasets.readers.afad import afad
from training.datasets.readers.all_age_faces import all_age_faces
from training.datasets.readers.appa_real import appa_real, appa_real_faces
from training.datasets.readers.celeba import celeba
from training.datasets.readers.fairface import fairface
from training.datasets.readers.folder import labelled_folder
from training.datasets.readers.imdb_wiki import imdb_wiki
from training.datasets.readers.lfw import lfw
from training.datasets.readers.megaage_asian import megaage_asian
from training.datasets.readers.utkface import utkface
from training.datasets.sources import Listing, listing
from training.errors import DataSetError

logger = logging.getLogger(__name__)

READERS: Final[tuple[Callable[[Listing], DataSet | None], ...]] = (
    labelled_folder,
    all_age_faces,
    appa_real,
    appa_real_faces,
    celeba,
    fairface,
    imdb_wiki,
    lfw,
    megaage_asian,
    adience,
    afad,
    utkface,
)
"""Readers in the order in which they are tried; each gives None of files that are not its set's. UTKFace, which has no list to
be known by, takes what is left."""


def open_data_set(source: Path) -> DataSet:
    """The data set in a folder or tar file, known by its files; UTKFace where no other is.

    Args:
        source: The folder or tar file.

    Returns:
        The set.

    Raises:
        FileNotFoundError: `source` does not exist.
        DataSetError: It is neither, a list in it is damaged, or none of its pictures has a label; the message says what it was
            taken for.
    """
    files = listing(source)
    data_set = next(data_set for reader in READERS if (data_set := reader(files)) is not None)
    if (reason := recognition.why_unlabelled(files, data_set)) is not None:
        raise DataSetError(reason)
    logger.info(recognition.description(files, data_set))
    return data_set


def open_data_sets(sources: Sequence[Path]) -> list[DataSet]:
    """The data sets in folders or tar files; see `open_data_set`.

    Args:
        sources: The folders or tar files, which may hold parts of one set.

    Returns:
        The sets, in their order.

    Raises:
        FileNotFoundError: A source does not exist.
        DataSetError: A source is no data set, or two sets of one name hold a picture of one name, by which pictures are known.
    """
    sets = [open_data_set(source) for source in sources]
    for number, later in enumerate(sets):
        for earlier in sets[:number]:
            if earlier.name == later.name and (both := {*earlier.names()} & {*later.names()}):
                raise DataSetError(
                    f"{earlier.source} and {later.source} are both called {later.name} and hold {min(both)!r}; "
                    "rename one where they are different sets"
                )
    return sets
