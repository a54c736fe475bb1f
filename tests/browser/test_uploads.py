"""Photos on their way: a large one is reduced and says so, and one can be stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.test_photos import ASTRONAUT, choose

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect


def test_a_large_photo_is_sent_reduced_and_one_can_be_stopped(page: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(ASTRONAUT) as photo:
        large = photo.convert("RGB").resize((3000, 3000)).crop((0, 0, 3000, 2400))
        large.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.jpg", quality=100, subsampling=0, exif=exif)
    assert (tmp_path / "phone.jpg").stat().st_size > 1_500_000
    with page.expect_request("**/predict?*") as asked:
        choose(page, tmp_path / "phone.jpg")
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()
    expect(page.locator(".caption")).to_contain_text("sent as 2560 × 2048 px")
    assert len(asked.value.post_data_buffer or b"") < (tmp_path / "phone.jpg").stat().st_size
    page.get_by_role("button", name="curl").click()
    expect(page.locator("#code-panel")).to_contain_text("sends the whole file")

    page.route("**/predict*", lambda route: None)
    choose(page, ASTRONAUT)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_contain_text("Cancelled")
    page.unroute("**/predict*")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()
