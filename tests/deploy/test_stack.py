"""`docker compose up`: the stack comes up, answers a photo, and Prometheus has what the dashboard and the alerts ask for."""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.client import ROOT
from tests.deploy.docker import PATIENCE_S, Container, eventually, have_image, run
from tests.deploy.monitoring import alerts, queries

pytestmark = pytest.mark.container

COMPOSE = Path(sys.executable).parent / "docker-compose"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Stack:
    """A running stack: its services and where they are reached."""

    containers: dict[str, Container]
    facet: str
    prometheus: str
    alertmanager: str
    grafana: str

    def query(self, promql: str) -> list[dict[str, Any]]:
        """What Prometheus finds; the query must be one."""
        answer = httpx.get(self.prometheus + "/api/v1/query", params={"query": promql}, timeout=PATIENCE_S).json()
        assert answer["status"] == "success", (promql, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


@pytest.fixture(scope="module")
def stack(image: str, examples: Path) -> Iterator[Stack]:
    """What `docker compose up --wait` brings, in a project of its own, after some photos, a problem and a live frame.

    Without Grafana or Alertmanager where its image cannot be had: everything else is as in the file.
    """
    ports = {name: free_port() for name in ("PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT")}
    env = os.environ | {"IMAGE": image} | {name: str(port) for name, port in ports.items()}
    compose = (COMPOSE, "--project-name", f"facet-test-{uuid.uuid4().hex[:8]}", "--project-directory", ROOT)
    config = json.loads(run(*compose, "config", "--format", "json", env=env))
    if not have_image(config["services"]["prometheus"]["image"]):
        pytest.skip("Prometheus's image cannot be had here")
    spared = ("grafana", "alertmanager")
    names = [name for name, one in config["services"].items() if name not in spared or have_image(one["image"])]
    try:
        run(*compose, "up", "--wait", "--wait-timeout", PATIENCE_S, "--no-build", "--quiet-pull", *names, env=env)
        identities = {name: run(*compose, "ps", "--quiet", name, env=env).strip() for name in names}
        started = Stack(
            {name: Container(identity) for name, identity in identities.items()},
            *(f"http://127.0.0.1:{port}" for port in ports.values()),
        )
        for _ in range(3):
            for photo in ("astronaut.jpg", "group.jpg"):
                with (examples / photo).open("rb") as file:
                    assert httpx.post(started.facet + "/predict", files={"file": file}, timeout=PATIENCE_S).status_code == 200
        assert httpx.post(started.facet + "/predict", content=b"text", timeout=PATIENCE_S).status_code == 415
        with connect(started.facet.replace("http", "ws") + "/stream") as camera:
            camera.send(json.dumps({"type": "start"}))
            assert json.loads(camera.recv(PATIENCE_S))["type"] == "ready"
            camera.send((1).to_bytes(8, "big") + (examples / "astronaut.jpg").read_bytes())
            assert len(json.loads(camera.recv(PATIENCE_S))["faces"]) == 1
        yield started
    finally:
        run(*compose, "down", "--volumes", "--timeout", "30", env=env)


def test_every_service_is_healthy_read_only_and_limited(stack: Stack) -> None:
    for name, container in stack.containers.items():
        known = container.inspect()
        host = known["HostConfig"]
        assert known["State"]["Health"]["Status"] == "healthy", name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert 0 < host["Memory"] <= 2**30, name
        assert 0 < host["PidsLimit"] <= 256, name
        assert 0 < host["NanoCpus"] <= 2e9, name
    assert stack.containers["facet"].inspect()["HostConfig"]["Memory"] == 2**30
    assert stack.containers["facet"].inspect()["Config"]["StopTimeout"] == 30


def test_prometheus_scrapes_the_service(stack: Stack) -> None:
    eventually(lambda: [one["value"][1] for one in stack.query('up{job="facet"}')] == ["1"], pause=0.5)
    (info,) = eventually(lambda: stack.query("facet_model_info"), pause=0.5)
    assert info["metric"]["name"] == httpx.get(stack.facet + "/health", timeout=PATIENCE_S).json()["model"]["name"]
    eventually(lambda: sum(float(one["value"][1]) for one in stack.query("facet_faces_per_image_count")) == 6, pause=0.5)


def test_every_query_of_the_dashboard_finds_something(stack: Stack) -> None:
    """Rates need two readings: what finds nothing at first is asked again for a while."""
    asked = dict(queries())
    assert len(asked) >= 20
    empty: list[str] = []

    def all_find() -> bool:
        empty[:] = [title for title, promql in asked.items() if not stack.query(promql)]
        return not empty

    try:
        eventually(all_find, pause=1)
    except AssertionError as error:
        raise AssertionError(f"these find nothing: {empty}") from error


def test_every_alert_rule_is_evaluated_and_none_fires(stack: Stack) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = httpx.get(stack.prometheus + "/api/v1/rules", timeout=PATIENCE_S).json()["data"]["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else []

    evaluated = eventually(rules, pause=1)
    assert {rule["name"] for rule in evaluated if rule["type"] == "alerting"} == {rule["alert"] for rule in alerts()}
    assert {rule["name"]: rule.get("lastError", "") for rule in evaluated if rule["health"] != "ok"} == {}
    assert [rule["name"] for rule in evaluated if rule.get("state") == "firing"] == []


def test_prometheus_sends_its_alerts_to_the_alertmanager(stack: Stack) -> None:
    if "alertmanager" not in stack.containers:
        pytest.skip("Alertmanager's image cannot be had here")

    def known() -> list[str]:
        document = httpx.get(stack.prometheus + "/api/v1/alertmanagers", timeout=PATIENCE_S).json()
        return [one["url"] for one in document["data"]["activeAlertmanagers"]]

    assert eventually(known, pause=0.5) == ["http://alertmanager:9093/api/v2/alerts"]
    receivers = httpx.get(stack.alertmanager + "/api/v2/receivers", timeout=PATIENCE_S).json()
    assert {one["name"] for one in receivers} == {"page", "ticket"}


def test_grafana_shows_the_dashboard_to_anybody_and_lets_nobody_change_it(stack: Stack) -> None:
    if "grafana" not in stack.containers:
        pytest.skip("Grafana's image cannot be had here; its dashboard's queries are asked of Prometheus instead")
    found = httpx.get(stack.grafana + "/api/dashboards/uid/facet", timeout=PATIENCE_S)
    assert found.status_code == 200
    assert found.json()["dashboard"]["title"] == "Facet"
    assert found.json()["meta"]["provisioned"] is True
    changed = httpx.post(
        stack.grafana + "/api/dashboards/db", json={"dashboard": found.json()["dashboard"]}, timeout=PATIENCE_S
    )
    assert changed.status_code in (401, 403)
