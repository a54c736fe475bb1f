"""A Docker engine, through its command line, and the containers that tests start in it."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

PORT = 8000
PATIENCE_S = 300
"""For what takes seconds on a machine that has nothing else to do."""


def run(*command: object, timeout: float = 600, env: Mapping[str, str] | None = None) -> str:
    """What a command prints; it must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=timeout, env=env, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def engine_answers() -> bool:
    """Whether there is an engine to test with."""
    try:
        return subprocess.run(["docker", "version"], capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def have_image(name: str) -> bool:
    """Whether the engine has an image, or can get it."""
    for command in (["docker", "image", "inspect", name], ["docker", "pull", "--quiet", name]):
        try:
            if subprocess.run(command, capture_output=True, timeout=180, check=False).returncode == 0:
                return True
        except subprocess.TimeoutExpired:
            continue
    return False


def eventually(condition: Callable[[], Any], seconds: float = PATIENCE_S, pause: float = 0.02) -> Any:
    """Wait until something is so, and return it. A connection that fails is not so yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
            failure = None
        except httpx.TransportError as error:
            failure = error
        assert time.monotonic() < end, f"not so after {seconds:g} s: {failure or 'no'}"
        time.sleep(pause)


class Container:
    """A container by its id."""

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def inspect(self) -> dict[str, Any]:
        """What the engine knows of it."""
        (known,) = json.loads(run("docker", "inspect", self.identity))
        return known

    @property
    def state(self) -> dict[str, Any]:
        """Status, exit code, health."""
        return self.inspect()["State"]

    @property
    def url(self) -> str:
        """Where the host reaches the service, by the container's own address: no proxy stands between, and none hides a
        connection that is cut."""
        (network,) = self.inspect()["NetworkSettings"]["Networks"].values()
        return f"http://{network['IPAddress']}:{PORT}"

    @property
    def logs(self) -> str:
        """Both of its streams."""
        done = subprocess.run(["docker", "logs", self.identity], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return done.stdout + done.stderr

    def python(self, program: str) -> str:
        """What a program prints that the image's own Python runs inside."""
        return run("docker", "exec", self.identity, "python", "-c", program)

    def signal(self, name: str) -> None:
        """Send a signal to its first process."""
        run("docker", "kill", "--signal", name, self.identity)

    def exit_status(self) -> int:
        """Its status, once it has ended."""
        return int(run("docker", "wait", self.identity, timeout=PATIENCE_S))

    def ready(self) -> Container:
        """Itself, once it accepts photos."""
        url = self.url + "/health/ready"
        eventually(lambda: self.state["Running"] is False or httpx.get(url, timeout=5).status_code == 200, PATIENCE_S)
        assert self.state["Running"], self.logs
        return self


@contextmanager
def container(*arguments: object) -> Iterator[Container]:
    """A container of `docker run`'s arguments, gone afterwards."""
    name = f"facet-test-{uuid.uuid4().hex[:12]}"
    try:
        yield Container(run("docker", "run", "--detach", "--name", name, *arguments).strip())
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, timeout=PATIENCE_S, check=False)
