"""Which library runs, and on how many CPUs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from service.errors import ModelIncompatible
from service.models.runtime import Runtime, cpu_quota, resolve


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Of the libraries, these alone can be imported."""
    for runtime in (Runtime.OPENVINO, Runtime.TENSORFLOW):
        if runtime not in names:
            monkeypatch.setitem(sys.modules, runtime.value, None)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("openvino", "tensorflow"), Runtime.OPENVINO),
        (("openvino",), Runtime.OPENVINO),
        (("tensorflow",), Runtime.TENSORFLOW),
    ],
)
def test_auto_takes_openvino_where_it_is(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], expected: Runtime) -> None:
    installed(monkeypatch, *names)
    assert resolve(Runtime.AUTO) is expected


def test_what_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "openvino", "tensorflow")
    assert resolve(Runtime.TENSORFLOW) is Runtime.TENSORFLOW
    assert resolve(Runtime.OPENVINO) is Runtime.OPENVINO


@pytest.mark.parametrize(("asked", "names"), [(Runtime.AUTO, ()), (Runtime.TENSORFLOW, ("openvino",)), (Runtime.OPENVINO, ())])
def test_what_is_not_installed_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, asked: Runtime, names: tuple[str, ...]
) -> None:
    installed(monkeypatch, *names)
    with pytest.raises(ModelIncompatible, match=asked.value):
        resolve(asked)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("60000 20000\n", 3),
    ],
)
def test_quota_of_cgroup_v2(tmp_path: Path, content: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert cpu_quota(tmp_path, 8) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("200000", 2), ("250000", 3), ("10000", 1), ("0", 8)])
def test_quota_of_cgroup_v1(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path, 8) == expected


def test_the_least_quota_of_the_group_and_those_above_it_holds(tmp_path: Path) -> None:
    """Outside a container, such as in a unit of systemd, the quota does not stand where the groups are mounted."""
    process = tmp_path / "cgroup"
    process.write_text("5:cpu,cpuacct:/jobs/one\n0::/slice/unit\n")
    assert cpu_quota(tmp_path, 8, process) == 8
    for name, text, expected in (
        ("cpu/jobs/one/cpu.cfs_quota_us", "700000", 8),
        ("cpu/jobs/one/cpu.cfs_period_us", "100000", 7),
        ("slice/unit/cpu.max", "max 100000", 7),
        ("slice/cpu.max", "320000 100000", 4),
        ("slice/unit/cpu.max", "50000 100000", 1),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        assert cpu_quota(tmp_path, 8, process) == expected


def test_without_a_cgroup_affinity_counts(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, 8) == 8


def test_on_this_machine_it_is_a_number_of_cpus() -> None:
    assert 1 <= cpu_quota() <= (os.cpu_count() or 1)
