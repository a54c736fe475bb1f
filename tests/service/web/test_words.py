"""What the page says of answers in words and numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from service.web import FOLDER

SCRIPT = """
import { text } from "./language.js";
import { amount } from "./words.js";
const answer = { value: 0.01234, unit: "m", low: 0.0105, high: 0.02 };
const others = [amount({ years: 30.5 }), amount({ value: 0.1, unit: "" })];
console.log(JSON.stringify([amount(answer), text("{low} to {high}", answer), ...others]));
"""


def test_numbers_have_the_digits_of_the_answer(tmp_path: Path) -> None:
    """An attribute may have a range of less than one."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    for name in ("contract.js", "facet.js", "language.js", "words.js"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "said.js").write_text(SCRIPT)
    done = subprocess.run([node, tmp_path / "said.js"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["0.01234 m", "0.0105 to 0.02", "31", "0.1"]
