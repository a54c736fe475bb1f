"""Start a service for a benchmark: a process of its own on a free port, ended with the benchmark."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
READY_S = 120.0
"""Seconds within which a service has to become ready."""
END_S = 90.0
"""Seconds within which it has to end by itself."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs: its address and its process."""

    url: str
    pid: int


@contextmanager
def served(folder: Path = ROOT, settings: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Serve from a checkout until the block ends.

    Args:
        folder: A checkout of Facet.
        settings: `FACET_*` variables; those of the environment are left out, so that a run can be repeated.

    Yields:
        The service, ready.

    Raises:
        SystemExit: The service did not become ready.
    """
    port = free_port()
    command = [sys.executable, "-m", "service.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FACET_")}
    variables |= {"PYTHONPATH": str(folder), "FACET_MODEL_STORE": str(folder / "model_store"), **(settings or {})}
    with running(command, port, folder, variables) as service:
        yield service


def end_as_by_ctrl_c() -> None:
    """Have SIGTERM and SIGHUP unwind this program, so that no service, checkout or other process of its own stays behind."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def free_port() -> int:
    """A port of this machine that nobody listens on.

    Returns:
        Its number.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(command: Sequence[str], port: int, folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Run a program that answers `/health/ready` until the block ends.

    Args:
        command: The program and its arguments.
        port: Where it listens.
        folder: Where it is started.
        variables: Its environment; None for this process's own.

    Yields:
        The service, ready.

    Raises:
        SystemExit: The service did not become ready.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=errors)
        service = Service(f"http://127.0.0.1:{port}", process.pid)
        try:
            until = time.monotonic() + READY_S
            while not _ready(service.url):
                if process.poll() is not None or time.monotonic() > until:
                    errors.seek(0)
                    reason = errors.read().decode(errors="replace")[-2000:]
                    raise SystemExit(f"{' '.join(command)} did not become ready in {folder}: {reason}")
                time.sleep(0.05)
            yield service
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, by force where it does not by itself.

    Args:
        process: One that runs, or has ended.
    """
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").is_success
    except httpx.TransportError:
        return False
