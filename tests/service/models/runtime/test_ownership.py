"""Weights in service are the process's own: whoever overwrites or truncates a model's files changes no answer."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from service.errors import ModelDamaged
from service.models.runtime import Network, Precision, Runtime, loader
from service.models.store import ModelStore


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say what is mapped")
def test_no_file_of_a_model_is_mapped_and_none_that_is_overwritten_matters(root: Path, tmp_path: Path) -> None:
    """The detector takes any size, so that a new one is compiled from the weights again."""
    shutil.copytree(root / "model_store/mtcnn", tmp_path / "mtcnn")
    load = loader(Runtime.OPENVINO, Precision.F32, 1)
    network = ModelStore(tmp_path).load("mtcnn", None, load, kind="detector").networks["pnet"]
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    small, large = (np.full((1, side, side + 7, 3), 99, np.uint8) for side in (48, 61))
    before = network(small)
    for path in (path for path in (tmp_path / "mtcnn").rglob("*") if path.is_file()):
        path.write_bytes(os.urandom(path.stat().st_size))
        os.truncate(path, 10)
    fresh = ModelStore(root / "model_store").load("mtcnn", None, load, kind="detector").networks["pnet"]
    for name, values in network(small).items():
        np.testing.assert_array_equal(values, before[name])
    for name, values in network(large).items():
        np.testing.assert_array_equal(values, fresh(large)[name])


def test_what_is_changed_while_it_is_read_is_refused(tiny_store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_store, tmp_path / "store")
    load = loader(Runtime.OPENVINO, Precision.F32, 1)

    def slow(folder: Path) -> Network:
        network = load(folder)
        with (folder / "variables/variables.data-00000-of-00001").open("r+b") as weights:
            weights.write(b"\0\0\0\0")
        return network

    with pytest.raises(ModelDamaged, match="is not the manifest's"):
        ModelStore(tmp_path / "store").load("tiny", 1, slow)
