"""The page's tables have the columns of `facet predict --out`: the same names for whatever a model declares."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.inference.attributes import CONTRACT
from service.inference.columns import column_names
from service.models.manifest import AGE, Attribute
from service.web import FOLDER
from tests.fakes import BMI, GLASSES, attributes

SCRIPT = """
import { readFileSync } from "node:fs";
import { AGE, CONTRACT } from "./contract.js";
import { columnNames } from "./columns.js";
const names = JSON.parse(readFileSync(0)).map((attributes) => {
  const { prefixes, labels } = columnNames(attributes);
  const columns = [...labels].flatMap(([name, all]) => [...all].map(([label, column]) => [name, label, column]));
  return [Object.fromEntries(prefixes), columns];
});
console.log(JSON.stringify({ age: AGE, contract: [...CONTRACT], names }));
"""


def labels(name: str, *names: str) -> dict[str, Any]:
    return {"name": name, "kind": "labels", "labels": list(names), "outputs": [name]}


def number(name: str) -> dict[str, Any]:
    return {"name": name, "kind": "expectation", "labels": [], "outputs": [name]}


MODELS = [
    [*attributes(), GLASSES, BMI | {"labels": []}],
    [labels("face", "round", "long"), number("model"), number("digest"), number("nose_x"), labels("track_", "a", "b")],
    [number("age"), labels("age_low", "a", "b"), labels("at", "least_18", "b"), number("a"), labels("a_low", "a", "b")],
    [labels("gender", "other", "least"), labels("race", "other", "at_least_18")],
    [labels("p_male", "a", "b"), labels("gender", "male", "female"), labels("a", "b_c", "d"), labels("a_b", "c", "d")],
    [number("attribute_x"), number("x"), labels("attribute_face", "a", "b"), labels("face", "a", "b")],
]


def test_names_of_columns_are_those_of_the_command_line(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    for name in ("contract.js", "columns.js"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "names.js").write_text(SCRIPT)
    declared = [[one | {"labels": list(one.get("labels", []))} for one in model] for model in MODELS]
    done = subprocess.run(
        [node, tmp_path / "names.js"], input=json.dumps(declared), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout)
    assert (page["age"], page["contract"]) == (AGE, list(CONTRACT))
    for model, (prefixes, columns) in zip(MODELS, page["names"], strict=True):
        names = column_names([Attribute.model_validate(one) for one in model])
        assert prefixes == dict(names.prefixes)
        assert {(name, label): column for name, label, column in columns} == dict(names.labels)
