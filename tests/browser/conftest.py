"""A real browser before a real service: Chromium, MTCNN that finds real faces, and a network that answers by colour."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.service.server.test_serve import Service, started

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or shutil.which("chromium")
"""The one without windows, where it is installed: it takes 0.6 of the CPU time, and 180 MiB less."""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP facet.test 127.0.0.1",
]
ALLOWED = "--use-fake-ui-for-media-stream"
"""Whoever is asked for a camera allows it. Without windows nobody else can be asked."""
PATIENCE_MS = 30_000
playwright.expect.set_options(timeout=PATIENCE_MS)

FACES = """
import dataclasses, os, time
import service.cli
from service.vision.detection.mtcnn import create
from service.models.store import ModelStore
from service.models.runtime import Precision, Runtime, loader
from service.settings import Settings
from tests.fakes import BMI, GLASSES, REPEATED, ColourNetwork, attributes, engine_factory
from tests.service.test_reloading import Scaled
from tests.service.test_several_models import other

class Slow(ColourNetwork):
    def __call__(self, batch):
        time.sleep(float(os.environ["SLOW"]))
        return super().__call__(batch)

detection = ModelStore(Settings().model_store).load("mtcnn", None, loader(Runtime.OPENVINO, Precision.F32, 1), kind="detector")
RACES = ("black", "east asian", "indian", "latino", "middle eastern", "southeast asian", "white")
declared = {
    "three": attributes(race={"threshold": 0.99}),
    "further": [attributes()[0], *attributes(RACES, race={"threshold": 0.99})[2:], GLASSES, BMI],
    "repeated": REPEATED,
}[os.environ["DECLARED"]]
outputs = tuple(output for one in declared for output in one["outputs"])
network = Slow(outputs, races=len(next(one for one in declared if one["name"] == "race")["labels"]))

def build(settings):
    engine = engine_factory(network, create(detection.networks, 40), attributes=declared)(settings)
    if os.environ["DECLARED"] == "further":
        half = other(engine, Scaled(0.5), name="half", version=1, attributes=attributes(race={"threshold": 0.3}))
        engine.beside.named["half"] = dataclasses.replace(half, attributes=("age", "gender", "race"))
    return engine

service.cli.main(service.cli.Parts(build))
"""
"""`facet` with its own detector and a network of three lines, which is sure of no race."""


def faces(log: Path, slow: float = 0, declared: str = "three", **environment: str) -> Any:
    """A service; `declared` chooses age, gender and race; `further` seven races, glasses and a number, and beside it the model
    `half` of age, gender and race; or `repeated`.
    """
    own = {"SLOW": str(slow), "DECLARED": declared, "FACET_DRAIN_DELAY_S": "0"}
    return started(log, sys.executable, "-c", FACES, **own, **environment)


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One process for every test that leaves it as it was."""
    with faces(tmp_path_factory.mktemp("page") / "log") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def further(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of two models, the first of which declares what no contract names."""
    with faces(tmp_path_factory.mktemp("further") / "log", declared="further") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def drive() -> Iterator[Any]:
    """Playwright, which holds more with every page; its event loop is gone before the tests of other packages want one."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (CHROMIUM names another one)")
    with playwright.sync_playwright() as started:
        yield started


def film(path: Path, examples: Path) -> Path:
    """A face that moves to and fro before the camera, 640 by 480 pixels, as concatenated JPEGs."""
    with Image.open(examples / "astronaut.jpg") as photo, path.open("wb") as stream:
        portrait = photo.convert("RGB").resize((480, 480))
        for step in [*range(40), *range(40, 0, -1)]:
            frame = Image.new("RGB", (640, 480), "#8a8f98")
            frame.paste(portrait, (20 + 2 * step, 0))
            frame.save(stream, "JPEG", quality=88)
    return path


@pytest.fixture(scope="module")
def browser(drive: Any, tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Iterator[Any]:
    """Chromium whose camera plays a film of one face; pages must still ask for it."""
    path = film(tmp_path_factory.mktemp("film") / "face.mjpeg", examples)
    camera = [ALLOWED, "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={path}"]
    running = drive.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS + camera)
    yield running
    running.close()


@pytest.fixture
def blind(drive: Any) -> Iterator[Any]:
    """Chromium without a camera."""
    running = drive.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, ALLOWED])
    yield running
    running.close()


@pytest.fixture
def forbidding(drive: Any) -> Iterator[Any]:
    """Chromium whose camera nobody allows."""
    camera = [f"{ALLOWED}=deny", "--use-fake-device-for-media-stream"]
    running = drive.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS + camera)
    yield running
    running.close()


@contextmanager
def watched(browser: Any, **context: Any) -> Iterator[Any]:
    """A page of its own; fails where the page's code does, or its policy is broken."""
    with_errors: list[str] = []
    shell = browser.new_context(**context)
    shell.set_default_timeout(PATIENCE_MS)
    page = shell.new_page()
    page.on("pageerror", lambda error: with_errors.append(str(error)))
    page.on("console", lambda message: with_errors.append(message.text) if complaint(message) else None)
    try:
        yield page
        assert with_errors == []
    finally:
        shell.close()


def until(page: Any, condition: Callable[[], bool], seconds: float = 30) -> None:
    """Let the page run until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(50)


def hold(page: Any, pattern: str) -> Callable[[], Any]:
    """Hold back what the page asks for at `pattern`; the answer waits for the first such request, and returns its route.

    A request is told of before its route comes, and a click ends before its request begins: neither is waited for enough.
    """
    held: list[Any] = []

    def keep(route: Any) -> None:
        held.append(route)

    page.route(pattern, keep)

    def first() -> Any:
        until(page, lambda: bool(held))
        return held[0]

    return first


def complaint(message: Any) -> bool:
    """Whether a console message is the page's own fault: that a request failed is what many tests are about."""
    expected = ("Failed to load resource", "WebSocket connection to", "net::ERR_")
    return message.type in ("error", "warning") and not any(text in message.text for text in expected)


@pytest.fixture
def page(browser: Any, service: Service) -> Iterator[Any]:
    """The page, opened on a desktop."""
    with watched(browser, viewport={"width": 1280, "height": 860}) as opened:
        opened.goto(service.url)
        yield opened
