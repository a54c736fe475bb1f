"""Networks leave it to the system on which CPU each thread runs: those of several processes share them all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from service.models.runtime import Precision, Runtime, loader


def affinities() -> set[frozenset[int]]:
    """The CPUs that each thread of this process may run on."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        try:
            found.add(frozenset(os.sched_getaffinity(int(thread.name))))
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="there is one CPU")
@pytest.mark.parametrize("threads", [1, 2])
def test_no_thread_is_bound_to_a_cpu_while_a_network_runs(root: Path, threads: int) -> None:
    network = loader(Runtime.OPENVINO, Precision.F32, threads)(root / "model_store/mtcnn/2/onet")
    batch = np.zeros((64, 48, 48, 3), np.uint8)
    expected = affinities()
    seen: set[frozenset[int]] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            seen.update(affinities())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(30):
            network(batch)
    finally:
        ended.set()
        watcher.join()
    assert seen == expected == {frozenset(os.sched_getaffinity(0))}
