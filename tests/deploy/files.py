"""Reads what stands under deploy/, and finds the programs that check it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.client import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
AWS = ROOT / "deploy/aws"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())

Document = dict[str, Any]


class _Template(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _long_form(loader: _Template, suffix: str, node: yaml.Node) -> Document:
    """`!Ref x` as `{"Ref": "x"}`, `!Sub x` as `{"Fn::Sub": "x"}`, `!GetAtt a.b` as `{"Fn::GetAtt": ["a", "b"]}`."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Template.add_multi_constructor("!", _long_form)


def template(name: str) -> Document:
    """A CloudFormation template, its short forms written out."""
    document = yaml.load((AWS / f"{name}.yaml").read_text(), Loader=_Template)
    assert isinstance(document, dict)
    return document


def manifest(path: str) -> Document:
    """The only document of a file below deploy/kubernetes, as it is written."""
    document = yaml.safe_load((KUBERNETES / path).read_text())
    assert isinstance(document, dict)
    return document


def checker(name: str) -> str:
    """Path of a checking program. Skips the test where it is not installed, unless CHECKERS says that it has to be."""
    folder = Path(os.environ.get("CHECKERS", ROOT / ".venv-deploy/bin"))
    program = (folder if folder.is_absolute() else ROOT / folder) / name
    if not program.exists():
        if "CHECKERS" in os.environ:
            pytest.fail(f"{program} is missing")
        pytest.skip(f"{name} is not installed; `make check-deploy` does that, and runs this test")
    return str(program)


def ran(*command: str, environment: Mapping[str, str] | None = None, status: int | None = 0) -> str:
    """What a program printed, on both its outputs; fails where it does not end with the status, if one is asked for."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert status is None or done.returncode == status, done.stdout
    return done.stdout


def rendered(overlay: str) -> list[Document]:
    """Every object of `overlays/NAME`, or of another folder, `base` or `ray`, as `kubectl apply -k` would send them."""
    return [document for document in yaml.safe_load_all(_kustomized(checker("kubectl"), overlay)) if document]


@cache
def _kustomized(kubectl: str, overlay: str) -> str:
    folder = KUBERNETES / (overlay if overlay in ("base", "ray") else f"overlays/{overlay}")
    return ran(kubectl, "kustomize", str(folder))


def ray_pods(objects: list[Document]) -> list[Document]:
    """Templates of the pods of the RayJob, the head's first."""
    cluster = of(objects, "RayJob", "facet-photos")["spec"]["rayClusterSpec"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def with_pods(objects: list[Document]) -> list[Document]:
    """The objects, but for the RayJob, whose pods stand in its place: checkers know pods."""
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{index}"} | pod["metadata"], "spec": pod["spec"]}
        for index, pod in enumerate(ray_pods(objects))
    ]
    for pod in pods:
        pod["metadata"]["namespace"] = "facet-photos"
    return [*(one for one in objects if one["kind"] != "RayJob"), *pods]


def of(objects: list[Document], kind: str, name: str = "facet") -> Document:
    """The one object of this kind and name."""
    (found,) = (one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def container(pod: Document) -> Document:
    """The only container of a pod template's or a task definition's."""
    (one,) = pod["containers"]
    assert isinstance(one, dict)
    return one


def seconds(text: str | float) -> float:
    """A duration as compose and Docker write it: `30s`, `1m30s`, or a bare number of seconds."""
    if isinstance(text, int | float):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    assert "".join(number + unit for number, unit in parts) == text, text
    return sum(float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit] for number, unit in parts)


def mebibytes(text: str) -> float:
    """A size as Kubernetes or compose writes it, `1Gi`, `512Mi`, `1g`, `768m`, in MiB; both count by 1024."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(Gi|Mi|[gGmM][bB]?)", text)
    assert found, text
    return float(found[1]) * (1024 if found[2][0] in "Gg" else 1)
