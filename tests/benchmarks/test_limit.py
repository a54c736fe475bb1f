"""The limit that networks set: it is that of every arithmetic in which the service may run one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="make bench installs it")

from benchmarks.bench.limit import networks_alone


def test_variants_have_a_limit_of_their_own(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "model_store/mobilefacenet/1", tmp_path / "mobilefacenet/1")
    rows = networks_alone(tmp_path, 1)
    assert [row["network"] for row in rows] == ["mobilefacenet/1", "mobilefacenet/1, int8"]
    for row in rows:
        assert row["a second"] == pytest.approx(1000 / row["ms"], rel=0.01)
        assert row["ms"] <= row["ms alone"]
