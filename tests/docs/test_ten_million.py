"""The page that plans ten million photos: its table is what its own formula gives for the prices that it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Plan = Callable[..., tuple[int, float]]
ROW = re.compile(r"^\| 10 million \| ([\d.]+) \| (\d+) h \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/ten-million.md").read_text()


@pytest.fixture(scope="module")
def plan(page: str) -> Plan:
    """The function of the page."""
    found: dict[str, Any] = {}
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(program, found)
    function: Plan = found["plan"]
    return function


def price(page: str, of: str) -> float:
    """Dollars in the row of the table of prices that begins so."""
    (row,) = re.findall(rf"^\| {of}[^|]*\| ([\d.]+) \|", page, re.MULTILINE)
    return float(row)


def test_the_table_is_what_the_formula_gives(page: str, plan: Plan) -> None:
    on_demand, spot = map(float, re.findall(r"at (0\.\d+)(?: a CPU hour)? \|", page))
    rows = ROW.findall(page)
    assert len(rows) == page.count("| 10 million |") == 4
    for cpu_s, hours, nodes, dollars, dollars_on_spot in rows:
        given = (10_000_000, float(cpu_s), int(hours))
        assert plan(*given, on_demand) == (int(nodes), pytest.approx(float(dollars), abs=0.5))
        assert plan(*given, spot) == (int(nodes), pytest.approx(float(dollars_on_spot), abs=0.5))


def test_an_hour_of_a_cpu_costs_what_a_job_of_the_manifest_takes(page: str, root: Path) -> None:
    job = (root / "deploy/aws/batch/jobs.yaml").read_text()
    cpus, mebibytes = (float(re.search(rf"Type: {name}, Value: \"(\d+)\"", job)[1]) for name in ("VCPU", "MEMORY"))  # type: ignore[index]
    gigabytes = mebibytes / 1024 / cpus
    hour = price(page, "Fargate, an hour of a CPU") + gigabytes * price(page, "Fargate, an hour of a GB")
    assert gigabytes == 2
    assert round(hour, 3) == 0.049
    assert round(0.3 * hour, 3) == 0.015
    assert round(0.5 * hour, 3) == 0.025


def test_what_else_the_page_reckons(page: str, plan: Plan, root: Path) -> None:
    assert 10 * price(page, "S3, a million GET requests") == 4
    nodes, _ = plan(1_000_000, 0.1, 4, 0, cpus_a_node=8)
    assert nodes == 1, "a machine of 8 CPUs, a million photos, 4 hours"
    (size,) = re.findall(r"--array-properties size=(\d+)", page)
    (lines,) = re.findall(r"split -l (\d+)", page)
    assert int(size) * int(lines) == 10_000_000
    assert 8 <= int(lines) * 0.1 / 2 / 60 <= 10, "minutes of a list on two CPUs"
    cluster = yaml.safe_load((root / "deploy/kubernetes/ray/rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
    (worker,) = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    assert worker["resources"]["requests"]["cpu"] == "4", "the nodes of the table"
