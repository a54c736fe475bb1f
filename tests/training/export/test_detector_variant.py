"""An int8 variant of a detector's network: what it is calibrated on, and what is left where none can be made."""

from __future__ import annotations

import shutil
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from service.models.runtime import Precision
from service.models.runtime.openvino import loader
from service.models.store import ModelStore
from tests.training import made
from training.datasets.base import Split
from training.datasets.readers import open_data_set
from training.errors import DataSetError, MissingPackage
from training.export.detector_variant import SIDES, mosaics, quantize_detector


@pytest.fixture
def store(tmp_path: Path, root: Path) -> Path:
    shutil.copytree(root / "model_store/centerface", tmp_path / "centerface", ignore=shutil.ignore_patterns("int8"))
    return tmp_path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    names = made.names(Split.TRAIN, 4)
    return made.folder_of(tmp_path / "set", [(name, made.face_picture(shift)) for shift, name in enumerate(names)])


def test_made_pictures_are_full_of_the_given_ones() -> None:
    colours = [np.full((40, 30, 3), value, np.uint8) for value in (10, 250)]
    pictures = list(islice(mosaics(colours), 8))
    assert {picture.shape[0] for picture in pictures} <= set(SIDES)
    assert len({picture.shape for picture in pictures}) > 1
    for picture in pictures:
        assert picture.shape == (picture.shape[0], picture.shape[0], 3)
        assert set(np.unique(picture)) == {10, 250}
    assert np.array_equal(next(mosaics(colours)), pictures[0]), "the same ones again"


def test_a_variant_that_is_there_stays(store: Path, data: Path) -> None:
    (store / "centerface/2/int8").mkdir()
    with pytest.raises(FileExistsError, match="never change"):
        quantize_detector(store, "centerface", 2, [open_data_set(data)], "2026-01-01")


def test_without_its_package_nothing_is_left_behind(store: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingPackage, match="make extra EXTRA=quantize"):
        quantize_detector(store, "centerface", 2, [open_data_set(data)], "2026-01-01", 8)
    assert not (store / "centerface/2/int8").exists()


def test_a_set_without_a_training_picture_is_named(store: Path, tmp_path: Path) -> None:
    """`mosaics` of no picture ended with the traceback of a generator."""
    data = made.folder_of(tmp_path / "tested", [(name, made.face_picture()) for name in made.names(Split.TEST, 1)])
    with pytest.raises(DataSetError, match="has no labelled picture of the train split"):
        quantize_detector(store, "centerface", 2, [open_data_set(data)], "2026-01-01", 8)


def test_a_variant_is_made_of_a_detector(store: Path, data: Path) -> None:
    pytest.importorskip("nncf")
    found = quantize_detector(store, "centerface", 2, [open_data_set(data)], "2026-01-01", 8)
    assert (found.networks, found.pictures, found.calibrated_on) == ({"faces": "faces.xml"}, 8, ("UTKFace",))
    loaded = ModelStore(store).load("centerface", 2, loader(Precision.INT8, 1), kind="detector", variant="int8")
    assert set(loaded.networks) == {"faces"}
