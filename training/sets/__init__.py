"""The data sets that can be read, one file each: every reader knows its set by the files that its authors publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from training.data import DataSet
from training.files import Listing, listing
from training.sets.adience import adience
from training.sets.afad import afad
from training.sets.all_age_faces import all_age_faces
from training.sets.appa_real import appa_real
from training.sets.celeba import celeba
from training.sets.fairface import fairface
from training.sets.folder import labelled_folder
from training.sets.imdb_wiki import imdb_wiki
from training.sets.lfw import lfw
from training.sets.megaage_asian import megaage_asian
from training.sets.utkface import utkface

READERS: Final[tuple[Callable[[Listing], DataSet | None], ...]] = (
    labelled_folder,
    all_age_faces,
    appa_real,
    celeba,
    fairface,
    imdb_wiki,
    lfw,
    megaage_asian,
    adience,
    afad,
    utkface,
)
"""Readers in the order in which they are asked; each gives None of files that are not its set's. UTKFace, which has no list to
be known by, takes what is left."""


def recognised(source: Path) -> DataSet:
    """The data set in a folder or tar file. Raises as `training.data.open_data_set` does."""
    files = listing(source)
    return next(data_set for reader in READERS if (data_set := reader(files)) is not None)
