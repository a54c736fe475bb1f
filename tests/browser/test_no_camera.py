"""The live view where there is no camera: a file of its own, so that no other Chromium runs beside the one without."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import ARGUMENTS, CHROMIUM, watched
from tests.browser.test_live import start
from tests.service.server.test_serve import Service

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect


def test_no_camera_at_all(drive: Any, service: Service) -> None:
    with (
        drive.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS) as browser,
        watched(browser, permissions=["camera"]) as page,
    ):
        page.goto(service.url + "#live")
        start(page)
        expect(page.locator(".live-message")).to_contain_text("No camera was found")
