"""The page that tells how many replicas a rate takes: its figures are those that were measured, and its formula holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench import capacity_page
from benchmarks.capacity import cpu_seconds, percentiles, replicas
from service import metrics
from service.settings import Settings
from tests.client import Client


@pytest.fixture(scope="module")
def document(root: Path) -> dict[str, Any]:
    """What was measured."""
    found: dict[str, Any] = json.loads((root / "docs/capacity.json").read_text())
    return found


def test_the_page_has_the_figures_as_they_were_measured(root: Path, document: dict[str, Any]) -> None:
    page = (root / "docs/capacity.md").read_text()
    for name in capacity_page.BLOCKS:
        assert f"<!-- capacity: {name} -->" in page
    assert capacity_page.filled(page, document) == page
    assert capacity_page.filled(page, document | {"faces": [*document["faces"], document["faces"][0]]}) != page


def test_everything_was_measured(document: dict[str, Any]) -> None:
    assert [row["portraits"] for row in document["faces"]] == [0, 1, 2, 5, 7, 10, 20, 50, 100]
    assert {row["format"] for row in document["pixels"]} == {"JPEG", "HEIC", "PNG"}
    sizes = {row["megapixels"] for row in document["pixels"]}
    assert (min(sizes), max(sizes)) == pytest.approx((0.25, 48), rel=0.02)
    assert [row["clients"] for row in document["clients"]] == [1, 2, 4, 8, 16, 32, 64]
    assert {1, 2} <= {row["processes"] for row in document["processes"]}
    assert not document["run"]["here"].endswith("+")


def test_a_rate_takes_enough_replicas_when_one_fails() -> None:
    assert replicas(0.001, 0.04) == 2
    for rate, cpu_s, cpus in ((10, 0.04, 2), (50, 0.2, 2), (500, 0.05, 4)):
        left = replicas(rate, cpu_s, cpus) - 1
        assert rate * cpu_s <= 0.7 * left * cpus
        assert rate * cpu_s > 0.7 * (left - 1) * cpus


async def test_the_cpu_time_of_a_service_is_its_decoders_too(client: Client) -> None:
    before = await cpu_seconds(client)
    metrics.DECODER_CPU_SECONDS.inc(1000)
    assert 1000 <= await cpu_seconds(client) - before < 1060


def test_a_rate_that_fills_replicas_exactly_takes_no_more() -> None:
    assert replicas(5, 0.14, 1) == 2
    assert replicas(5, 0.28, 2) == 2


def test_the_headroom_is_what_autoscaling_aims_at(root: Path) -> None:
    page = (root / "docs/capacity.md").read_text()
    scaler = (root / "deploy/kubernetes/base/horizontalpodautoscaler.yaml").read_text()
    service = (root / "deploy/aws/service.yaml").read_text()
    kubernetes = re.search(r"averageUtilization: (\d+)", scaler)
    aws = re.search(r"ECSServiceAverageCPUUtilization\n +TargetValue: (\d+)", service)
    assert kubernetes
    assert aws
    assert f"{int(kubernetes[1]) / 100:g} is what autoscaling on Kubernetes aims at, and {int(aws[1]) / 100:g} on AWS" in page


def test_no_percentile_is_above_the_longest_time() -> None:
    assert percentiles([3.0]) == (3, 3)
    assert percentiles([1.0, 2.0]) == (1.5, pytest.approx(1.95))
    assert percentiles([float(value) for value in range(101)]) == (50, 95)


def test_what_is_on_a_line_costs_its_slope() -> None:
    faces = [{"faces": count, "cpu_ms": 30.0 + 10 * count} for count in (0, 2, 10)]
    pixels = [{"format": "PNG", "megapixels": size, "cpu_ms": 5.0 + 3 * size} for size in (2, 12, 48)]
    small = {"format": "PNG", "megapixels": 1, "cpu_ms": 99.0}  # is not reduced before it is searched
    costs = capacity_page.costs({"faces": faces, "pixels": [small, *pixels]})
    assert costs == pytest.approx({"a face": 10, "a megapixel of PNG": 3})


def test_the_page_names_the_defaults(root: Path) -> None:
    page, defaults = (root / "docs/capacity.md").read_text(), Settings()
    for name in ("photo_queue", "photo_wait_s", "detection_side_px", "max_faces"):
        assert f"| `FACET_{name.upper()}` | {getattr(defaults, name)} |" in page


def test_run_is_published_whole(tmp_path: Path, root: Path, document: dict[str, Any]) -> None:
    page = tmp_path / "ours.md"
    page.write_text((root / "docs/capacity.md").read_text())
    capacity_page.publish(document, page)
    assert page.read_text() == (root / "docs/capacity.md").read_text()
    assert json.loads((tmp_path / "ours.json").read_text()) == document
    assert {path.name for path in tmp_path.glob("*.png")} == {"ours-cost.png", "ours-load.png"}
