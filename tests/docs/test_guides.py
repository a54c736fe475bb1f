"""The guides' code does what the guides say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

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


def test_nginx_passes_on_what_the_service_needs() -> None:
    """The `Host`, to which a live view's origin is held, and bounds that are not below the service's own."""
    (shown,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/page.md").read_text(), re.DOTALL)
    said = dict(re.findall(r"^ +(?:proxy_set_header )?(\S+) (\S+);", shown, re.MULTILINE))
    assert said["Host"] == "$http_host"
    assert (said["proxy_http_version"], said["Upgrade"], said["Connection"]) == ("1.1", "$http_upgrade", "$http_connection")
    ours = {name: field.default for name, field in Settings.model_fields.items()}
    assert int(said["client_max_body_size"].rstrip("m")) >= ours["max_batch_mib"]
    assert int(said["proxy_read_timeout"].rstrip("s")) > ours["body_timeout_s"] + ours["batch_deadline_s"]
