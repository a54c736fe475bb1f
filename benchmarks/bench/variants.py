"""The services that are compared: this checkout, an earlier commit, and the published stack, each a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.serving import ROOT, free_port, running, served
from service.models.store import ModelStore

BASE = "2eafcdd"
"""The last commit before work on the speed of detection began."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A service that runs."""

    name: str
    url: str
    process: psutil.Process
    ready_s: float
    """Seconds from its start until it was ready."""

    def family(self) -> list[psutil.Process]:
        """Its process and all that descend from it."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """CPU time that it has used, user and system."""
        total = 0.0
        for process in self.family():
            try:
                spent = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += spent.user + spent.system
        return total

    def memory_mib(self) -> float:
        """MiB that it holds; pages that its processes share count in part."""
        return float(sum(process.memory_full_info().pss for process in self.family())) / 2**20

    def client(self) -> httpx.Client:
        """A client with a connection of its own."""
        return httpx.Client(base_url=self.url, timeout=120)


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A clean checkout of a commit, for as long as it is needed.

    Args:
        commit: Any name of it.

    Yields:
        Its folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkout"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


@contextmanager
def facet(name: str, folder: Path = ROOT, settings: Mapping[str, str] | None = None) -> Iterator[Variant]:
    """Serve from a checkout.

    Args:
        name: What the report calls it.
        folder: The checkout.
        settings: `FACET_*` variables.

    Yields:
        The service, ready.
    """
    began = time.monotonic()
    with served(folder, settings) as service:
        yield Variant(name, service.url, psutil.Process(service.pid), time.monotonic() - began)


@contextmanager
def published(name: str) -> Iterator[Variant]:
    """Serve the default attribute network as the published systems do.

    Args:
        name: What the report calls it.

    Yields:
        The service, ready.

    Raises:
        SystemExit: It did not become ready.
    """
    newest = {one.name: one for one in ModelStore(ROOT / "model_store").manifests() if one.input is not None}
    manifest = newest["mobilenet"]
    assert manifest.input is not None  # noqa: S101 - for the checker of types
    port = free_port()
    network = ROOT / "model_store" / manifest.name / str(manifest.version) / manifest.networks["faces"]
    command = [sys.executable, "-m", "benchmarks.bench.published", str(port), str(network), "--size", str(manifest.input.size)]
    began = time.monotonic()
    with running(command, port, ROOT) as service:
        yield Variant(name, service.url, psutil.Process(service.pid), time.monotonic() - began)
