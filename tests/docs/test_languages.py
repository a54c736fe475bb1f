"""Snippets of other languages: each that can be run prints what the service answers, and the others name what there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.web import FOLDER
from tests.client import ROOT
from tests.conftest import encoded
from tests.fakes import squares
from tests.service.server.test_serve import Service, fake

PAGE = (ROOT / "docs/languages.md").read_text()
SNIPPETS = dict(re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = {
    "sh": ("photo.sh", ["sh", "photo.sh"], ("curl", "jq")),
    "python": ("photo.py", [sys.executable, "photo.py"], ()),
    "py": ("plain.py", [sys.executable, "plain.py"], ()),
    "js": ("photo.mjs", ["node", "photo.mjs"], ("node",)),
    "go": ("photo.go", ["go", "run", "photo.go"], ("go",)),
    "php": ("photo.php", ["php", "photo.php"], ("php",)),
    "ruby": ("photo.rb", ["ruby", "photo.rb"], ("ruby",)),
    "java": ("Faces.java", ["java", "Faces.java"], ("java", "javac")),
}
"""File, command, and the programs that it needs, by the language of the block."""
UNRUN = ("csharp", "kotlin", "swift", "dart")
"""Languages whose tools no test has."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with fake(tmp_path_factory.mktemp("languages") / "log") as running:
        yield running


@pytest.mark.parametrize("language", COMMANDS)
def test_a_snippet_prints_what_the_service_answers(service: Service, tmp_path: Path, language: str) -> None:
    name, command, programs = COMMANDS[language]
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    photo = encoded(squares((200, 100, 50), (20, 90, 200)), "JPEG")
    (tmp_path / "photo.jpg").write_bytes(photo)
    (tmp_path / name).write_text(SNIPPETS[language].replace("http://localhost:8000", service.url))
    package = tmp_path / "node_modules/facet-client"
    package.mkdir(parents=True)
    shutil.copy(FOLDER / "facet.js", package)
    (package / "package.json").write_text('{"name": "facet-client", "type": "module", "exports": "./facet.js"}')
    environment = os.environ | {"PYTHONPATH": str(ROOT / "clients/python/src"), "GOCACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    faces = httpx.post(f"{service.url}/predict", content=photo).raise_for_status().json()["faces"]
    assert len(faces) == 2
    if language == "java":
        assert json.loads(done.stdout)["faces"] == faces
        return
    ages = [face["age"] for face in faces]
    ends = [f"({age['low']} to {age['high']})" for age in ages]
    lines = [f"{age['years']:g} {end} {face['gender']['label']}" for age, end, face in zip(ages, ends, faces, strict=True)]
    printed = re.sub(r"(\d)\.0 \(", r"\1 (", done.stdout)
    assert printed.splitlines() == lines


@pytest.mark.parametrize("language", UNRUN)
def test_a_snippet_that_cannot_be_run_names_what_there_is(service: Service, language: str) -> None:
    answer = httpx.post(f"{service.url}/predict", content=encoded(squares((200, 100, 50)))).json()
    named = set(re.findall(r"\b(faces|age|years|low|high|gender|label|uncertain)\b", SNIPPETS[language]))
    fields = {"faces", *answer["faces"][0], *answer["faces"][0]["age"], *answer["faces"][0]["gender"]}
    assert {"faces", "age", "years", "low", "high"} <= named <= fields
    assert ":8000/predict" in SNIPPETS[language]


def test_every_snippet_is_looked_at() -> None:
    assert {*COMMANDS, *UNRUN} == set(SNIPPETS)
