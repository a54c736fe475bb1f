"""What the tests of the container share: an engine, a network, the image."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from service import __version__
from tests.client import ROOT
from tests.deploy.docker import engine_answers, run


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine answers; otherwise the test is skipped."""
    if not engine_answers():
        pytest.skip("no Docker engine answers; as root on Debian, `.ci/with_docker.py make test` brings one")


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The image of this checkout, built by the Dockerfile as anybody builds it."""
    name = "facet:test"
    arguments = ["--build-arg", f"VERSION={__version__}", "--build-arg", "REVISION=test", "--network", "host"]
    run("docker", "build", "--quiet", "--tag", name, *arguments, ROOT)
    return name


@pytest.fixture(scope="session")
def network(engine: None) -> Iterator[str]:
    """A network of the tests' own, in which the host reaches containers by their addresses."""
    name = f"facet-test-{uuid.uuid4().hex[:12]}"
    run("docker", "network", "create", name)
    yield name
    run("docker", "network", "rm", name)
