"""Imports: their direction, and what serving must never bring in."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path


def python(root: Path, program: str) -> object:
    """What a program prints as JSON, run in a process of its own, where nothing was imported before."""
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def test_imports_point_downwards_only(root: Path) -> None:
    """In a process of its own: the linter silences every logger of the one that it runs in."""
    assert subprocess.run([sys.executable, "-c", LINT], cwd=root, timeout=60, check=False).returncode == 0


SERVE = """
import json, sys
from pathlib import Path
import service.app, service.cli, service.server.uvicorn
from service.vision.detection.mtcnn import MtcnnDetector
from service.models.store import ModelStore
from service.models.runtime import Precision, Runtime, loader
import numpy as np

load = loader(Runtime.AUTO, Precision.F32, 1)
networks = ModelStore(Path("model_store")).load("mtcnn", None, load, kind="detector").networks
MtcnnDetector(**networks).detect(np.zeros((64, 64, 3), np.uint8))
print(json.dumps(sorted({name.split(".")[0] for name, module in sys.modules.items() if module is not None})))
"""


def test_serving_with_openvino_brings_in_no_tensorflow_and_no_telemetry(root: Path) -> None:
    """Neither the reference runtime nor what makes the model store; and nothing that reports home."""
    loaded = python(root, SERVE)
    assert isinstance(loaded, list)
    assert {"openvino", "service", "numpy"} <= set(loaded)
    unwanted = {
        "tensorflow",
        "keras",
        "mtcnn",
        "openvino_telemetry",
        "training",
        "matplotlib",
        "sklearn",
        "scipy",
        "h5py",
        "torch",
    }
    assert not unwanted & set(loaded)


COMMAND_LINE = """
import json, sys
import service.cli
print(json.dumps([one for one in ("fastapi", "starlette", "uvicorn") if one in sys.modules]))
"""


def test_the_command_line_imports_no_web_framework(root: Path) -> None:
    """It is imported while the models load, and never by a command that needs none."""
    assert python(root, COMMAND_LINE) == []


EVERY_MODULE = """
import os, json, pkgutil, importlib
import cv2  # its own loader writes LD_LIBRARY_PATH, which nobody here can prevent
before = dict(os.environ)
import service
names = [module.name for module in pkgutil.walk_packages(service.__path__, "service.")]
for name in names:
    if name != "service.models.runtime.tensorflow":
        importlib.import_module(name)
changed = sorted(name for name in before.keys() | os.environ.keys() if before.get(name) != os.environ.get(name))
print(json.dumps([len(names), changed]))
"""


def test_importing_the_service_changes_no_environment_variable(root: Path) -> None:
    count, changed = python(root, EVERY_MODULE)  # type: ignore[misc]
    assert count > 20
    assert changed == []


PIXELS = {
    *("resize", "warpAffine", "remap", "cvtColor", "filter2D", "intersectConvexConvex"),
    *("norm", "sumElems", "mean", "meanStdDev", "absdiff", "blur", "transform", "LUT", "dilate"),
}
"""What serving may call of OpenCV besides its decoder for WebP: nothing that reaches video or the network."""


def test_serving_uses_of_opencv_what_works_on_pixels_alone(root: Path) -> None:
    used = dict[str, set[str]]()
    for path in sorted((root / "service").rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cv2"
        }
        used[path.name] = {name for name in names if name in PIXELS or (not name.isupper() and "_" not in name)}
        imported = [
            node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cv2")
        ]
        assert all(node.module == "cv2.typing" for node in imported), path
    assert used.pop("image.py") - PIXELS == {"imdecode", "setNumThreads", "utils", "error"}
    assert used.pop("loading.py") == {"setNumThreads"}
    assert used["colour.py"] - PIXELS == {"error"}
    used["colour.py"] -= {"error"}
    assert set[str]().union(*used.values()) == PIXELS
