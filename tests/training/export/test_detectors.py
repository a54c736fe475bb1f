"""Detectors of published weights: each is written as a version that was not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from service.models.runtime import Precision
from service.models.runtime.openvino import loader
from service.models.store import ModelStore
from training.export import centerface, mtcnn

PHOTO = np.random.default_rng(1).integers(0, 256, (320, 320, 3), np.uint8)


def test_a_version_that_is_there_stays(tmp_path: Path, root: Path) -> None:
    """Not one byte of a shipped version changes."""
    for name in ("mtcnn", "centerface"):
        shutil.copytree(root / "model_store" / name / "2", tmp_path / name / "2")
    with pytest.raises(FileExistsError, match="mtcnn/2 exists, and versions never change"):
        mtcnn.export(tmp_path, 2, PHOTO, "2026-01-01")
    with pytest.raises(FileExistsError, match="centerface/2 exists, and versions never change"):
        centerface.export(tmp_path, 2, tmp_path / "centerface.onnx", tmp_path / "mtcnn/2", PHOTO, "2026-01-01")
    for path in (root / "model_store/mtcnn/2").rglob("*"):
        copy = tmp_path / path.relative_to(root / "model_store")
        assert path.is_dir() or path.read_bytes() == copy.read_bytes()


def test_a_new_version_is_one_of_the_store(tmp_path: Path) -> None:
    made = mtcnn.export(tmp_path, 3, PHOTO, "2026-01-01")
    found = ModelStore(tmp_path).load("mtcnn", None, loader(Precision.F32, 2), kind="detector").manifest
    assert (found.version, found.files) == (3, made.files)
