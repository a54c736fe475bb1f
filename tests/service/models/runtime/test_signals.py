"""A model that is dropped leaves signals as they were: an operator's SIGTERM finds a process that can handle it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import gc, pathlib, signal, threading
from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
handled = []
signal.signal(signal.SIGTERM, lambda *_: handled.append(True))
load = loader(Runtime.OPENVINO, Precision.F32, 1)
models = [ModelStore(pathlib.Path("model_store")).load("mtcnn", None, load, kind="detector")]
del load
other = threading.Thread(target=lambda: (models.clear(), gc.collect()))
other.start()
other.join()
signal.raise_signal(signal.SIGTERM)
assert handled
"""


def test_a_signal_is_handled_after_a_model_was_dropped_on_another_thread(root: Path) -> None:
    """On CPUs with AMX the kernel ended the process here, when the thread's signal stack was gone with the model."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
