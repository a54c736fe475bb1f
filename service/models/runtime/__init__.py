"""A SavedModel folder to a callable on arrays, whatever library runs it."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, runtime_checkable

from service import cgroups
from service.arrays import Floats, Pixels
from service.errors import ModelIncompatible


class Network(Protocol):
    """A loaded network: one uint8 batch in, float32 arrays by output name out. Safe to call from several threads."""

    @property
    def precision(self) -> str:
        """Arithmetic that it computes in: `f32`, `bf16`, `f16` or `int8`."""
        ...

    def __call__(self, batch: Pixels) -> dict[str, Floats]:
        """Outputs, float32 and the caller's own, each with the batch as its first axis."""
        ...


@runtime_checkable
class Repeatable(Network, Protocol):
    """A network that can be had once more without its files, in a quarter of the time that reading it took."""

    def again(self, threads: int) -> Network:
        """The same network, with the same answers, of its own threads and memory.

        Args:
            threads: Most threads that it uses.

        Returns:
            The other one.

        Raises:
            ModelIncompatible: The library cannot do it.
        """
        ...


def again(network: Network, threads: int) -> Network:
    """A network once more, for calls beside its own.

    Args:
        network: A loaded network.
        threads: Most threads that the other one uses.

    Returns:
        The other one; the network itself where its library has one pool of threads for all calls.

    Raises:
        ModelIncompatible: The library cannot do it.
    """
    return network.again(threads) if isinstance(network, Repeatable) else network


Loader = Callable[[Path], Network]
"""Reads a SavedModel folder, or the OpenVINO IR (.xml) of a variant."""


class Precision(StrEnum):
    """Arithmetic of a network. `auto` reads a network in bf16 where the CPU multiplies it in hardware, and in f32 elsewhere;
    `int8` is that of variants, which are made for it and have files of their own.
    """

    AUTO = "auto"
    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"

    @property
    def variant(self) -> str | None:
        """The variant of a model that is served in this arithmetic; None for the model itself."""
        return self.value if self is Precision.INT8 else None


class Runtime(StrEnum):
    """Library that runs the networks. `auto` is OpenVINO where it is installed, and TensorFlow elsewhere."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TENSORFLOW = "tensorflow"


def resolve(runtime: Runtime) -> Runtime:
    """Choose the library that runs networks on this machine.

    Args:
        runtime: A library, or `auto`.

    Returns:
        The library itself; for `auto` the first one that is installed.

    Raises:
        ModelIncompatible: It is not installed.
    """
    candidates = [Runtime.OPENVINO, Runtime.TENSORFLOW] if runtime is Runtime.AUTO else [runtime]
    for candidate in candidates:
        if find_spec(candidate.value) is not None:
            return candidate
    raise ModelIncompatible(f"The runtime {runtime.value!r} is not installed.")


def prepare(runtime: Runtime) -> None:
    """Import the library that runs networks, so that it is there when the first one is read.

    Args:
        runtime: A library, or `auto`.

    Raises:
        ModelIncompatible: It is not installed.
    """
    import_module(f"{__name__}.{resolve(runtime).value}")


def loader(runtime: Runtime, precision: Precision, threads: int) -> Loader:
    """Choose the function that reads SavedModel folders.

    Args:
        runtime: A library, or `auto`.
        precision: Arithmetic of the networks.
        threads: Most threads that one network uses.

    Returns:
        The function; it raises `ModelIncompatible` for a folder that the library cannot read.

    Raises:
        ModelIncompatible: The library is not installed, or does not have this precision: TensorFlow computes in float32.
    """
    if resolve(runtime) is Runtime.OPENVINO:
        from service.models.runtime import openvino

        return openvino.loader(precision, threads)
    if precision not in (Precision.AUTO, Precision.F32):  # said before the seconds that importing it takes
        raise ModelIncompatible(f"The TensorFlow runtime computes in f32; choose the openvino runtime for {precision.value}.")
    from service.models.runtime import tensorflow

    return tensorflow.loader(threads)


def release() -> None:
    """Have every network that computes nothing give back what its largest picture or batch took between its layers.

    The next call takes as much of it as it needs again. TensorFlow has no such call.
    """
    if (library := sys.modules.get(f"{__name__}.openvino")) is not None:
        library.release()


def affinity() -> int:
    """CPUs that the system may run this process on.

    Returns:
        At least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(root: Path = cgroups.ROOT, allowed: int | None = None, process: Path = cgroups.PROCESS) -> int:
    """Whole CPUs that this process may use: the smallest of its affinity and the quotas of its group and all above it.

    The libraries size their pools by affinity and do not see a quota: cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`.

    Args:
        root: Where the control groups are mounted.
        allowed: CPUs of its affinity; None for those of `affinity()`.
        process: The file that names the process's own groups.

    Returns:
        At least 1.
    """
    quotas = (_quota(folder) for folder in cgroups.groups("cpu", root, process))
    return max(1, math.ceil(min([affinity() if allowed is None else allowed, *(one for one in quotas if one is not None)])))


def _quota(group: Path) -> float | None:
    """CPUs that a group may use, in parts, too; None where it has no quota."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            return None
    return int(quota) / int(period) if quota.isdecimal() and int(quota) else None  # else `max`, or -1
