"""Port, user, health, grace and image are the same in the Dockerfile, compose, Kubernetes and CloudFormation."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from service.api.routes import router
from service.settings import Settings
from tests.client import ROOT
from tests.deploy.files import Document, container, manifest, mebibytes, seconds, template

PORT = 8000
USER = "10001:10001"
GRACE_S = 30
IMAGE = "facet"
MEMORY_MIB = 1024
CPUS = 2

KUBERNETES_POD: Document = manifest("base/deployment.yaml")["spec"]["template"]["spec"]
AWS: dict[str, Document] = {name: one["Properties"] for name, one in template("service")["Resources"].items()}
TASK = AWS["TaskDefinition"]["ContainerDefinitions"][0]


def default(setting: str) -> Any:
    return Settings.model_fields[setting].default


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """Instructions of the image that is built where no target is named, those of the stages below it first."""
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    stages: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.upper() == "FROM":
            base, _, name = rest.partition(" AS ")
            current = list(stages.get(base.strip(), []))
            stages[name.strip() or str(len(stages))] = current
        elif word:
            current.append((word.upper(), rest.strip()))
    return current


def last(instructions: list[tuple[str, str]], word: str) -> str:
    return [rest for name, rest in instructions if name == word][-1]


@pytest.fixture(scope="module")
def compose() -> Document:
    """The service `facet` of docker-compose.yml."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    one = services["facet"]
    assert isinstance(one, dict)
    return one


# Port -----------------------------------------------------------------------------------------------------------------


def test_port_in_the_image_and_in_compose(dockerfile: list[tuple[str, str]], compose: Document) -> None:
    assert default("port") == PORT
    assert last(dockerfile, "EXPOSE").split("/")[0] == str(PORT)
    assert {str(port).rsplit(":", 1)[1].split("/")[0] for port in compose["ports"]} == {str(PORT)}
    assert {str(value) for name, value in compose.get("environment", {}).items() if name == "FACET_PORT"} <= {str(PORT)}


def test_port_in_kubernetes() -> None:
    (port,) = container(KUBERNETES_POD)["ports"]
    assert port["containerPort"] == PORT
    (exposed,) = manifest("base/service.yaml")["spec"]["ports"]
    assert exposed["targetPort"] == port["name"]
    (rule,) = manifest("base/networkpolicy.yaml")["spec"]["ingress"]
    assert [one["port"] for one in rule["ports"]] == [port["name"]]


def test_port_in_aws() -> None:
    assert [one["ContainerPort"] for one in TASK["PortMappings"]] == [PORT]
    assert [one["ContainerPort"] for one in AWS["Service"]["LoadBalancers"]] == [PORT]
    assert {AWS[group]["Port"] for group in ("BlueTargetGroup", "GreenTargetGroup")} == {PORT}
    for rule in ("LoadBalancerToTasks", "TasksFromLoadBalancer", "TasksFromMonitoring"):
        assert (AWS[rule]["FromPort"], AWS[rule]["ToPort"]) == (PORT, PORT)


# User and disk --------------------------------------------------------------------------------------------------------


def test_user(dockerfile: list[tuple[str, str]], compose: Document) -> None:
    assert last(dockerfile, "USER") == USER
    assert compose.get("user", USER) == USER
    context = KUBERNETES_POD["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == USER
    assert TASK["User"] == USER


def test_nothing_is_writable(compose: Document) -> None:
    assert compose["read_only"] is True
    assert container(KUBERNETES_POD)["securityContext"]["readOnlyRootFilesystem"] is True
    assert TASK["ReadonlyRootFilesystem"] is True


# Health ---------------------------------------------------------------------------------------------------------------


def asked(command: list[str]) -> str:
    """Path that a health check of `python -m service.server.healthcheck` asks for, which is /health where it names none."""
    assert command[:4] == ["CMD", "python", "-m", "service.server.healthcheck"]
    return command[4] if command[4:] else "/health"


def test_health(dockerfile: list[tuple[str, str]]) -> None:
    probes = {name: container(KUBERNETES_POD)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/health/live",
        "liveness": "/health/live",
        "readiness": "/health/ready",
    }
    assert {probe["port"] for probe in probes.values()} == {container(KUBERNETES_POD)["ports"][0]["name"]}
    assert AWS["BlueTargetGroup"]["HealthCheckPath"] == probes["readiness"]["path"]
    assert asked(TASK["HealthCheck"]["Command"]) == probes["liveness"]["path"]
    _, _, command = last(dockerfile, "HEALTHCHECK").partition("CMD ")
    paths = {probe["path"] for probe in probes.values()} | {asked(["CMD", *json.loads(command)])}
    assert paths <= {route.path for route in router.routes if isinstance(route, APIRoute)}
    assert (ROOT / "service/server/healthcheck.py").is_file()


# Grace ----------------------------------------------------------------------------------------------------------------


def test_grace(dockerfile: list[tuple[str, str]], compose: Document) -> None:
    assert seconds(compose["stop_grace_period"]) == GRACE_S
    assert KUBERNETES_POD["terminationGracePeriodSeconds"] == GRACE_S
    assert TASK["StopTimeout"] == GRACE_S
    assert {rest for name, rest in dockerfile if name == "STOPSIGNAL"} <= {"SIGTERM"}


def test_the_service_ends_before_its_grace_does(compose: Document) -> None:
    (generated,) = manifest("base/kustomization.yaml")["configMapGenerator"]
    kubernetes = dict(literal.split("=", 1) for literal in generated["literals"])
    aws = {one["Name"]: one["Value"] for one in TASK["Environment"] if "Name" in one}
    for where in (kubernetes, aws, compose.get("environment", {})):
        drain = float(where.get("FACET_DRAIN_DELAY_S", default("drain_delay_s")))
        finish = float(where.get("FACET_SHUTDOWN_TIMEOUT_S", default("shutdown_timeout_s")))
        assert drain + finish + 5 <= GRACE_S
        # What was accepted just before it stops listening has that long, and is not cut off.
        assert finish >= default("deadline_s")


# Image, CPUs and memory -----------------------------------------------------------------------------------------------


def test_image(compose: Document) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (image,) = manifest("base/kustomization.yaml")["images"]
    assert container(KUBERNETES_POD)["image"] == image["name"] == IMAGE
    assert image["newName"].rsplit("/", 1)[1] == IMAGE
    assert image["newTag"] == version
    assert template("foundation")["Parameters"]["RepositoryName"]["Default"] == IMAGE
    given = re.sub(r"\$\{\w+:?-(.*?)\}", r"\1", compose["image"])  # its default, where the environment may say otherwise
    assert given.rsplit("/", 1)[-1].split(":")[0] == IMAGE


def test_cpus(compose: Document) -> None:
    """Pools are as large as the CPUs, and the memory is measured for as many."""
    assert int(container(KUBERNETES_POD)["resources"]["requests"]["cpu"]) == CPUS
    assert compose["deploy"]["resources"]["limits"]["cpus"] == f"${{CPUS:-{CPUS}}}"
    assert int(template("service")["Parameters"]["TaskCpu"]["Default"]) == CPUS * 1024
    page = (ROOT / "docs/docker.md").read_text()
    assert f"| `CPUS` | `{CPUS}` |" in page
    hardened = re.findall(r"--cap-drop ALL .*--memory 1g.*", page)
    assert hardened
    assert all(f" --cpus {CPUS} " in command for command in hardened)


def test_memory(compose: Document) -> None:
    resources = container(KUBERNETES_POD)["resources"]
    assert mebibytes(resources["requests"]["memory"]) == mebibytes(resources["limits"]["memory"]) == MEMORY_MIB
    limit = compose.get("mem_limit") or compose["deploy"]["resources"]["limits"]["memory"]
    assert mebibytes(limit) == MEMORY_MIB
    # Fargate's own pairs begin above it.
    assert min(int(size["Memory"]) for size in template("service")["Mappings"]["Task"].values()) >= MEMORY_MIB
    # The bodies that may be under way at once, and as much again for the photos in them, beside the models.
    assert default("max_bodies_mib") * 2 + 512 <= MEMORY_MIB
