"""The first pictures of a process may come on several threads at once, as the models of a service load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import pathlib, sys, threading
import numpy as np
from service.models.runtime import Precision, Runtime, loader
load = loader(Runtime.OPENVINO, Precision.F32, 1)
networks = [load(pathlib.Path("model_store/mtcnn/2/pnet")) for _ in range(3)]
sys.setswitchinterval(1e-5)
together = threading.Barrier(len(networks))

def call(network):
    together.wait()
    network(np.zeros((1, 12, 12, 3), np.uint8))

threads = [threading.Thread(target=call, args=(network,)) for network in networks]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_that_predict_first_at_the_same_moment_do_not_wait_for_each_other(root: Path) -> None:
    """One in thousands of starts hung for ever, since the library made its table of types at the first call."""
    both = [subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=root) for _ in range(2)]
    try:
        assert [process.wait(30) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
            process.wait()
