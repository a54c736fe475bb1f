"""What a viewer takes away: the overview, tables, documents, pictures with boxes, archives; and what can be undone."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.test_photos import ASTRONAUT, EXAMPLES, choose

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect


def saved(page: Any, button: str) -> bytes:
    """What a button lets the browser save."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    return Path(download.value.path()).read_bytes()


def test_the_overview_sorts_filters_and_is_downloaded(page: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "=letter, one.txt"
    wrong.write_text("no photo")
    choose(page, EXAMPLES / "group.jpg", ASTRONAUT, wrong)
    expect(page.locator("#progress")).to_have_text("8 faces in 2 photos, 1 failed")
    page.get_by_role("button", name="Overview").click()
    rows = page.locator(".overview tbody tr")
    expect(rows).to_have_count(9)
    page.get_by_role("button", name="Age", exact=True).click()
    ages = [int(one.split(" ")[0]) for one in page.locator(".overview td:nth-child(2)").all_inner_texts() if one[0].isdigit()]
    assert len(ages) == 8
    assert ages == sorted(ages)
    page.get_by_role("combobox", name="Show").select_option("failed")
    expect(rows).to_have_text(["=letter, one.txtThis file type isn't supported"])
    page.get_by_role("combobox", name="Show").select_option("all")
    page.get_by_role("checkbox", name="Uncertain only").check()
    expect(rows).to_have_count(8)

    table = list(csv.DictReader(io.StringIO(saved(page, "CSV").decode())))
    assert [row["file"] for row in table] == ["group.jpg"] * 7 + ["astronaut.jpg", "'=letter, one.txt"]
    assert table[-1]["problem"] == "unsupported_format"
    assert 0 < float(table[0]["age_years"]) < 101
    assert {"gender_uncertain", "p_white", "age_low", "sharpness"} <= table[0].keys()
    document = json.loads(saved(page, "JSON"))
    assert [len(one["result"]["faces"]) for one in document[:2]] == [7, 1]
    with zipfile.ZipFile(io.BytesIO(saved(page, "ZIP with pictures"))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["facet.csv", "facet.json", "group.faces.jpg", "astronaut.faces.jpg"]
        with Image.open(archive.open("astronaut.faces.jpg")) as picture:
            red, _, blue = picture.getpixel((182, 110))  # the left edge of the box
            assert red > 150
            assert red - blue > 60
    rows.last.get_by_role("button").click()
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()


def test_what_is_asked_of_the_detector(page: Any) -> None:
    choose(page, EXAMPLES / "group.jpg")
    expect(page.get_by_role("article")).to_have_count(7)
    page.get_by_text("More options").click()
    page.get_by_label("Show landmarks").check()
    expect(page.locator(".point")).to_have_count(35)
    with page.expect_request("**/predict?*") as asked:
        page.get_by_label("Maximum number of faces").fill("2")
        page.keyboard.press("Enter")
    assert "max_faces=2" in asked.value.url
    expect(page.get_by_role("article")).to_have_count(2)


def test_a_photo_can_be_removed_and_all_be_forgotten_and_both_undone(page: Any) -> None:
    choose(page, ASTRONAUT, EXAMPLES / "obama.jpg")
    expect(page.locator("#progress")).to_have_text("2 faces in 2 photos")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#tiles li")).to_have_count(1)
    expect(page.locator(".caption")).to_contain_text("obama.jpg")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".caption")).to_contain_text("astronaut.jpg")
    assert [one.get_attribute("title") for one in page.locator("#tiles button").all()] == ["astronaut.jpg", "obama.jpg"]
    page.get_by_role("button", name="Forget all").click()
    expect(page.locator("#undo")).to_contain_text("2 photos were forgotten.")
    expect(page.locator("#tiles li")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#tiles li")).to_have_count(2)
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()
    expect(page.locator("#undo")).to_be_hidden()
