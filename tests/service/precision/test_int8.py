"""The service in int8: the variant's digest and figures are what it shows of its model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.models.runtime import Precision
from service.models.store import VARIANT, file_digest
from service.settings import Settings

CPU = Path("/proc/cpuinfo")
VNNI = CPU.is_file() and "_vnni" in CPU.read_text()
"""Whether the CPU sums products of bytes exactly; on others the golden answers refuse the variant."""


@pytest.mark.skipif(not VNNI, reason="this CPU does not sum products of bytes exactly")
def test_int8_is_served_where_it_is_asked_for(root: Path, tmp_path: Path) -> None:
    for name in ("mobilenet/5", "centerface/2"):
        shutil.copytree(root / "model_store" / name, tmp_path / name)
    settings = Settings(model_store=tmp_path, precision=Precision.INT8, threads=1, workers=1)
    with TestClient(create_app(settings)) as client:
        card, metrics = client.get("/model").json(), client.get("/metrics").text
    digest = file_digest(tmp_path / "mobilenet/5/int8" / VARIANT)
    assert (card["serving"]["precision"], card["digest"]) == ("int8", digest)
    figures = card["evaluation"]["variants"]["int8"]["sets"]["all"]["figures"]
    assert abs(figures["int8"]["age_mae"] - figures["f32"]["age_mae"]) < 0.1
    (line,) = (line for line in metrics.splitlines() if line.startswith("facet_model_info{"))
    assert f'digest="{digest[:12]}"' in line
    assert 'precision="int8"' in line
