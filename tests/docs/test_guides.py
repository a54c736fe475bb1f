"""The guides' code does what the guides say."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from tests.client import ROOT
from training.datasets.base import Label
from training.datasets.readers.recognition import description
from training.datasets.sources import listing


def block(page: str, begins: str) -> str:
    """The one block of Python of a guide that begins so."""
    text = (ROOT / "docs/extending" / page).read_text()
    (found,) = (code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if code.startswith(begins))
    return str(found)


def test_the_reader_of_the_guide_says_what_it_read(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(block("data-set.md", '"""Village'), names)
    source = tmp_path / "village"
    source.mkdir()
    (source / "0001.jpg").write_bytes(b"a")
    (source / "village.txt").write_text("0001.jpg 34 female\n")
    data = names["village"](listing(source))
    assert data.label_of("0001.jpg") == Label({"age": 34, "gender": "female"})
    said = description(listing(source), data)
    assert said == f"{source}: taken for Village, by village.txt; 1 of 1 pictures have a label"


def signature(module: str, name: str) -> inspect.Signature | None:
    """That of a function, from its source: some import TensorFlow; None of a class, and of the file that a guide adds."""
    place = ROOT / module.replace(".", "/")
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    for node in ast.parse(source.read_text()).body if source.exists() else ():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            node.decorator_list, node.body = [], [ast.Pass()]
            made: dict[str, Any] = {}
            exec(f"from __future__ import annotations\n{ast.unparse(node)}", made)
            return inspect.signature(made[name])
    return None


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_calls_in_guides_fit_the_code(page: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        if "import" not in code:  # a part of a file
            continue
        nodes = list(ast.walk(ast.parse(code)))
        ours = {
            alias.name: node.module
            for node in nodes
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("service.", "training."))
            for alias in node.names
        }
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ours:
                found = signature(str(ours[node.func.id]), node.func.id)
                if found is not None:
                    found.bind(*node.args, **{str(keyword.arg): keyword.value for keyword in node.keywords})


def test_nginx_passes_on_what_the_service_needs() -> None:
    """The `Host`, to which a live view's origin is held, bounds not below the service's own, and no file of a photo."""
    (shown,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/page.md").read_text(), re.DOTALL)
    said = dict(re.findall(r"^ +(?:proxy_set_header )?(\S+) (\S+);", shown, re.MULTILINE))
    assert said["Host"] == "$http_host"
    assert (said["proxy_http_version"], said["Upgrade"], said["Connection"]) == ("1.1", "$http_upgrade", "$http_connection")
    ours = {name: field.default for name, field in Settings.model_fields.items()}
    assert int(said["client_max_body_size"].rstrip("m")) >= ours["max_batch_mib"]
    assert int(said["proxy_read_timeout"].rstrip("s")) > ours["body_timeout_s"] + ours["batch_deadline_s"]
    assert (said["proxy_request_buffering"], said["proxy_max_temp_file_size"]) == ("off", "0")
