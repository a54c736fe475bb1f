"""A bucket of S3, as moto simulates it, in a process of its own: its packages do not go with the others'."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.deploy.files import checker

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
READY_S = 60


@contextmanager
def simulated() -> Iterator[dict[str, str]]:
    """Variables of the environment of who uses it; skips the test where moto is not installed."""
    server = checker("moto_server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [server, "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + READY_S
        while not _listens(port):
            assert process.poll() is None, "moto has ended"
            assert time.monotonic() < end, "moto did not start"
            time.sleep(0.05)
        yield {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def bucket(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system of fsspec with an empty bucket; the environment leads to it."""
    s3fs = pytest.importorskip("s3fs")
    with simulated() as variables:
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        system = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        system.mkdir(name)
        yield system
        s3fs.S3FileSystem.clear_instance_cache()
