"""The container's health check: as a process, against `facet serve` as a process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.server import healthcheck as health
from service.settings import Settings
from tests.client import ROOT
from tests.service.server.test_serve import Service, fake


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with fake(tmp_path_factory.mktemp("health") / "log", FACET_DRAIN_DELAY_S="60") as running:
        yield running


def check(*arguments: str, **environment: object) -> subprocess.CompletedProcess[str]:
    """Run the check as a container does, with these settings and no others."""
    settings = {f"FACET_{name.upper()}": str(value) for name, value in environment.items()}
    return subprocess.run(
        [sys.executable, "-m", "service.server.healthcheck", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("FACET_")} | settings,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def refused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("path", [(), ("/health",), ("/health/live",), ("/health/ready",)])
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_a_service_that_is_well(service: Service, host: str, path: tuple[str, ...]) -> None:
    done = check(*path, host=host, port=service.port)
    assert done.returncode == 0, done.stderr
    status, _, body = done.stdout.partition(" ")
    assert status == "200"
    assert json.loads(body)["status"] == "ok"
    assert done.stderr == ""


@pytest.mark.parametrize("port", [" {} ", "+{}", "0{}"])
def test_a_port_is_read_as_the_setting_is(service: Service, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = port.format(service.port)
    monkeypatch.setenv("FACET_PORT", written)
    assert Settings().port == service.port
    assert check(port=written).returncode == 0


def test_proxies_are_not_asked(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refused_port()}")
    assert check(port=service.port).returncode == 0


def test_nobody_listens() -> None:
    done = check(port=refused_port())
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("facet: /health: ")
    assert "refused" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("port", ["many", "0", "-1", "65536", ""])
def test_a_port_that_cannot_be_asked(port: str) -> None:
    done = check(port=port)
    assert done.returncode == 1
    assert "FACET_PORT" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("/predict",), ("http://example.org/health",), ("/health", "/health/live"), ("--help",)])
def test_other_paths_are_no_health(arguments: tuple[str, ...]) -> None:
    done = check(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


@contextmanager
def listening(sent: bytes | None) -> Iterator[int]:
    """A port on which one connection is taken, and answered with these bytes; with None it is left waiting."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                if sent is None:
                    connection.recv(1)  # until the check has had enough
                else:
                    connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "sent", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", None], ids=["closes", "ssh", "404", "hangs"]
)
def test_somebody_else_listens(sent: bytes | None) -> None:
    """What takes the connection and says nothing, or no HTTP, is not well; and the check does not wait for it for ever."""
    with listening(sent) as port:
        done = check(port=port)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr


def test_a_service_that_is_not_well() -> None:
    body = '{"status":"unavailable"}'
    answer = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with listening(answer.encode()) as port:
        done = check(port=port)
    assert (done.returncode, done.stdout) == (1, f"503 {body}\n")


def test_a_service_that_drains_is_alive_and_not_ready(tmp_path: Path) -> None:
    with fake(tmp_path / "log", FACET_DRAIN_DELAY_S="60") as running:
        running.process.terminate()
        while httpx.get(running.url + "/health/ready").status_code == 200:
            pass
        assert check("/health/live", port=running.port).returncode == 0
        for path in ("/health", "/health/ready"):
            done = check(path, port=running.port)
            assert done.returncode == 1
            assert done.stdout.startswith("503 ")


def test_its_defaults_are_those_of_the_settings() -> None:
    default = {name: field.default for name, field in Settings.model_fields.items()}
    assert health.address({}) == ("127.0.0.1", default["port"])
    assert health.address({}) == health.address({"FACET_HOST": default["host"], "FACET_PORT": str(default["port"])})
    assert health.address({"FACET_HOST": "::", "FACET_PORT": "81"}) == ("::1", 81)
    assert health.address({"FACET_HOST": "10.0.0.7"}) == ("10.0.0.7", 8000)


def test_it_imports_the_standard_library_alone() -> None:
    """It starts every few seconds beside the service, and must cost next to nothing."""
    program = "import json, sys, service.server.healthcheck; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    ours = {name for name in json.loads(done.stdout) if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in ours if name.startswith("service")} == {
        "service",
        "service.server",
        "service.server.healthcheck",
    }
    assert not {"pydantic", "numpy", "fastapi", "typer", "openvino"} & ours
