"""The JavaScript client: its own tests, against services that run; its types, against the contract; and its package."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from service.web import FOLDER
from tests.client import ROOT, serving
from tests.conftest import encoded
from tests.fakes import squares
from tests.service.server.test_serve import fake

CLIENT = ROOT / "clients/javascript"
FILES = ("facet.js", "facet.d.ts")


def node(program: str = "node") -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def test_its_own_tests_pass_against_running_services(tmp_path: Path) -> None:
    run = node()
    version = subprocess.run([run, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").split(".")[0]) < 20:
        pytest.skip(f"the client needs Node 20, and {version.strip()} is installed")
    package = shutil.copytree(CLIENT, tmp_path / "client", ignore=shutil.ignore_patterns("facet.*", "node_modules"))
    for name in FILES:
        shutil.copy(FOLDER / name, package)
    photo = encoded(squares((200, 100, 50)))
    with fake(tmp_path / "log") as service, fake(tmp_path / "keyed", FACET_API_KEYS="right") as keyed:
        environment = {"FACET_URL": service.url, "FACET_KEYED_URL": keyed.url, "FACET_PHOTO": base64.b64encode(photo).decode()}
        done = subprocess.run(
            [run, "--test", "--test-reporter=tap", "test/"],
            cwd=package,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)[1]) >= 19
    assert "FACET_URL is not set" not in done.stdout


def test_the_package_is_the_file_that_is_served(tmp_path: Path) -> None:
    run = node("npm")
    folder = tmp_path / "clients/javascript"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("facet.*", "node_modules"))
    served = tmp_path / "service/web/static"
    served.mkdir(parents=True)
    for name in FILES:
        shutil.copy(FOLDER / name, served)
    command = [run, "pack", "--silent", "--pack-destination", str(tmp_path)]
    environment = os.environ | {"npm_config_cache": str(tmp_path / "cache"), "npm_config_offline": "true"}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True, timeout=120)
    (made,) = tmp_path.glob("*.tgz")
    with tarfile.open(made) as archive:
        inside = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
    for name in FILES:
        assert inside[f"package/{name}"] == (FOLDER / name).read_bytes()
    assert set(inside) == {"package/package.json", "package/README.md", *(f"package/{name}" for name in FILES)}


def test_the_folder_can_be_installed_as_it_is(tmp_path: Path) -> None:
    run = node("npm")
    repository, project = tmp_path / "facet", tmp_path / "project"
    shutil.copytree(CLIENT, repository / "clients/javascript", ignore=shutil.ignore_patterns("facet.*", "node_modules"))
    (repository / "service/web/static").mkdir(parents=True)
    for name in FILES:
        shutil.copy(FOLDER / name, repository / "service/web/static")
    project.mkdir()
    (project / "package.json").write_text('{"name": "project", "private": true, "type": "module"}')
    environment = os.environ | {"npm_config_cache": str(tmp_path / "cache"), "npm_config_offline": "true"}
    command = [run, "install", "--silent", "--no-audit", "--no-fund", "../facet/clients/javascript"]
    subprocess.run(command, cwd=project, env=environment, capture_output=True, check=True, timeout=120)
    program = 'import { Facet } from "facet-client"; console.log(typeof new Facet().predictMany)'
    said = subprocess.run(
        [node(), "--input-type=module", "-e", program], cwd=project, capture_output=True, text=True, check=True
    )
    assert said.stdout == "function\n"


def interfaces() -> dict[str, tuple[str | None, dict[str, bool]]]:
    """Every interface of the types: what it extends, and its fields, each with whether it may be absent."""
    text = re.sub(r"/\*\*.*?\*/", "", (FOLDER / "facet.d.ts").read_text(), flags=re.DOTALL)
    found = re.findall(r"^export interface (\w+)(?: extends (\w+))? \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    return {
        name: (base or None, {field: bool(mark) for field, mark in re.findall(r"^  (\w+)(\??):", body, re.MULTILINE)})
        for name, base, body in found
    }


def fields(name: str) -> dict[str, bool]:
    base, own = interfaces()[name]
    return (fields(base) if base else {}) | own


async def test_the_types_are_those_of_the_openapi_document() -> None:
    async with serving() as client:
        schemas: dict[str, Any] = (await client.get("/openapi.json")).json()["components"]["schemas"]
    typed = interfaces()
    compared = sorted(set(schemas) & set(typed))
    assert {
        "PredictAnswer",
        "FaceAnswer",
        "AgeAnswer",
        "ExpectationAnswer",
        "LabelAnswer",
        "BatchAnswer",
        "Problem",
        "Health",
    } <= set(compared)
    for name in compared:
        assert set(fields(name)) == set(schemas[name]["properties"]), name
        nullable = {field for field, form in schemas[name]["properties"].items() if {"type": "null"} in form.get("anyOf", [])}
        absent = {field for field, mark in fields(name).items() if mark}
        assert nullable <= absent <= nullable | set(schemas[name]["properties"]) - set(schemas[name].get("required", [])), name
    missing = {name for name in schemas if "properties" in schemas[name]} - set(typed) - {"StreamStart", "StreamProblem"}
    assert missing == set(), "every schema has its interface"


async def test_every_parameter_has_its_option() -> None:
    async with serving() as client:
        document = (await client.get("/openapi.json")).json()
    query = {parameter["name"] for parameter in document["paths"]["/predict"]["post"]["parameters"]}
    options = {re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name) for name in interfaces()["PredictOptions"][1]}
    assert query == options
