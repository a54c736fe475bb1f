"""What a viewer takes away: the overview, tables, documents, pictures with boxes, archives; and what can be undone."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import hold
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
    page.get_by_role("button", name="Table").click()
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


def test_an_archive_keeps_every_file_of_one_name(page: Any) -> None:
    """Also where the name is another file's own, or differs by case or an accent's form, which many disks take for the same."""
    names = ["me.jpg", "me.jpg", "me-2.jpg", "ME.jpg", "né.jpg", unicodedata.normalize("NFD", "né.jpg")]
    made = page.evaluate(
        """async (names) => {
            const { zip } = await import(new URL('page/files.js', document.baseURI));
            const archive = await zip(names.map((name, index) => [name, new Blob([String(index)])]));
            return [...new Uint8Array(await archive.arrayBuffer())];
        }""",
        names,
    )
    with zipfile.ZipFile(io.BytesIO(bytes(made))) as archive:
        assert archive.testzip() is None
        assert [archive.read(name) for name in archive.namelist()] == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert len({unicodedata.normalize("NFC", name).lower() for name in archive.namelist()}) == len(names)
        assert archive.namelist()[0] == "me.jpg"


def test_the_overview_stays_in_place_while_photos_are_answered(page: Any) -> None:
    choose(page, EXAMPLES / "group.jpg")
    expect(page.get_by_role("article")).to_have_count(7)
    held = hold(page, "**/predict*")
    choose(page, ASTRONAUT)
    last = held()
    page.get_by_role("button", name="Overview").click()
    page.get_by_role("button", name="Table").click()
    only = page.get_by_role("checkbox", name="Uncertain only")
    only.focus()
    body = page.locator(".overview .scroll")
    body.evaluate("body => { body.style.height = '120px'; body.style.overflow = 'auto'; body.scrollTop = 90; }")
    last.continue_()
    expect(page.locator(".overview tbody tr")).to_have_count(8)
    expect(page.locator(".overview tbody")).not_to_contain_text("processing")
    expect(only).to_be_focused()
    assert body.evaluate("body => body.scrollTop") == 90
    sort = page.get_by_role("columnheader").get_by_role("button", name="Age")
    sort.focus()
    page.keyboard.press("Enter")
    expect(sort).to_be_focused()
    expect(page.get_by_role("columnheader", name="Age")).to_have_attribute("aria-sort", "ascending")


def test_what_is_asked_of_the_detector(page: Any) -> None:
    choose(page, EXAMPLES / "group.jpg")
    expect(page.get_by_role("article")).to_have_count(7)
    page.get_by_text("More options").click()
    page.get_by_label("Show landmarks").check()
    expect(page.locator(".point")).to_have_count(35)
    page.get_by_role("button", name="Overview").click()
    first = next(csv.DictReader(io.StringIO(saved(page, "CSV").decode())))
    points = json.loads(saved(page, "JSON"))[0]["result"]["faces"][0]["landmarks"]
    assert [float(first[f"nose_{axis}"]) for axis in "xy"] == points["nose"]
    page.locator(".overview").get_by_role("button", name="group.jpg").first.click()
    with page.expect_request("**/predict?*") as asked:
        page.get_by_label("Maximum number of faces").fill("2")
        page.keyboard.press("Enter")
    assert "max_faces=2" in asked.value.url
    expect(page.get_by_role("article")).to_have_count(2)


def test_an_option_that_cannot_be_is_said_to(page: Any) -> None:
    choose(page, ASTRONAUT)
    page.get_by_text("More options").click()
    confidence = page.get_by_label("Minimum detection confidence")
    confidence.fill("0.2")
    page.get_by_label("Maximum number of faces").focus()
    expect(confidence).to_be_focused()  # the browser says why


def test_a_photo_can_be_removed_and_all_be_forgotten_and_both_undone(page: Any) -> None:
    choose(page, ASTRONAUT, EXAMPLES / "obama.jpg")
    expect(page.locator("#progress")).to_have_text("2 faces in 2 photos")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#tiles li")).to_have_count(1)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator("#undo")).to_be_in_viewport()
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


def test_a_photo_that_is_removed_twice_is_removed_once(page: Any) -> None:
    choose(page, ASTRONAUT, EXAMPLES / "obama.jpg")
    expect(page.locator("#progress")).to_have_text("2 faces in 2 photos")
    page.get_by_role("button", name="Remove").evaluate("button => (button.click(), button.click())")
    expect(page.locator(".caption")).to_contain_text("obama.jpg")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#tiles li")).to_have_count(2)


def test_a_face_is_copied_with_its_uncertainty(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page, ASTRONAUT)
    page.get_by_role("button", name="Copy these results").click()
    expect(page.get_by_role("button", name="Copied")).to_have_attribute("aria-live", "polite")
    copied = page.evaluate("navigator.clipboard.readText()")
    lines = ["Face 1", r"Apparent age: \d+ \(\d+ to \d+\)", r"Gender: (fe)?male \d+%", r"Race: .+% or .+% \(uncertain\)"]
    assert re.match("\n".join(lines), copied)


def test_the_grid_shows_every_face_sorts_and_filters_as_the_table_does(page: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "letter.txt"
    wrong.write_text("no photo")
    choose(page, EXAMPLES / "group.jpg", ASTRONAUT, wrong)
    expect(page.locator("#progress")).to_have_text("8 faces in 2 photos, 1 failed")
    page.get_by_role("button", name="Overview").click()
    cells = page.locator(".face-cell")
    expect(cells).to_have_count(9)
    expect(cells.locator("img")).to_have_count(8)
    expect(cells.last).to_contain_text("This file type isn't supported")
    expect(cells.locator(".badge", has_text="Race uncertain")).to_have_count(8)
    middle = (
        cells.nth(7)
        .locator("img")
        .evaluate(
            """image => {
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            const pen = canvas.getContext('2d');
            pen.drawImage(image, 0, 0);
            return [...pen.getImageData(88, 88, 1, 1).data];
        }"""
        )
    )
    assert middle[0] > middle[2] > 40  # skin
    page.get_by_role("combobox", name="Sort by").select_option("age")
    page.get_by_role("button", name="Descending").click()
    expect(page.get_by_role("button", name="Descending")).to_have_attribute("aria-pressed", "true")
    ages = [int(one.split("\u2009")[0].split(" ")[0].split("\xa0")[0]) for one in page.locator(".answers b").all_inner_texts()]
    assert len(ages) == 8
    assert ages == sorted(ages, reverse=True)
    page.get_by_role("combobox", name="Show").select_option("failed")
    expect(cells).to_have_count(1)
    page.get_by_role("combobox", name="Show").select_option("with")
    cells.last.click()
    expect(page.locator("#result article").first).to_be_visible()


def test_results_are_kept_on_the_device_only_where_the_viewer_wants_it(page: Any) -> None:
    keep = page.get_by_role("checkbox", name="Keep results on this device")
    kept = page.locator(".history-list > li")
    choose(page, ASTRONAUT)
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()
    page.reload()
    expect(keep).not_to_be_checked()
    expect(kept).to_have_count(0)
    assert page.evaluate("localStorage.length") == 0

    keep.check()
    choose(page, ASTRONAUT, EXAMPLES / "group.jpg")
    expect(kept).to_have_count(2)
    page.get_by_label("Maximum number of faces").evaluate("input => (input.closest('details').open = true)")
    page.get_by_label("Maximum number of faces").fill("2")
    page.keyboard.press("Enter")
    expect(kept.filter(has_text="group.jpg")).to_contain_text("2 faces")  # the newer answer stands for the earlier one
    expect(kept).to_have_count(2)
    page.reload()
    expect(keep).to_be_checked()
    expect(kept).to_have_count(2)
    kept.first.locator("summary").click()
    expect(kept.first.locator(".face-cell img").first).to_be_visible()
    kept.first.get_by_role("button", name="Remove").click()
    expect(kept).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    expect(kept).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(kept).to_have_count(1)
    keep.uncheck()
    expect(kept).to_have_count(0)
    page.reload()
    expect(keep).not_to_be_checked()
    keep.check()
    expect(kept).to_have_count(0)


def test_a_result_that_is_kept_again_is_there_once_after_an_undo(page: Any) -> None:
    keep = page.get_by_role("checkbox", name="Keep results on this device")
    kept = page.locator(".history-list > li")
    keep.check()
    choose(page, ASTRONAUT)
    expect(kept).to_have_count(1)
    keep.uncheck()
    expect(kept).to_have_count(0)
    keep.check()
    expect(kept).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    page.wait_for_timeout(300)
    expect(kept).to_have_count(1)


def test_what_is_kept_stays_as_it_is_looked_at_and_what_is_removed_stays_away(page: Any) -> None:
    keep = page.get_by_role("checkbox", name="Keep results on this device")
    kept = page.locator(".history-list > li")
    keep.check()
    choose(page, ASTRONAUT, EXAMPLES / "obama.jpg")
    expect(kept).to_have_count(2)
    oldest = kept.filter(has_text="astronaut.jpg")
    oldest.locator("summary").click()
    removes = oldest.get_by_role("button", name="Remove")
    removes.focus()
    choose(page, EXAMPLES / "biden.jpg")
    expect(kept).to_have_count(3)
    expect(removes).to_be_focused()
    page.keyboard.press("Enter")
    expect(kept).to_have_count(2)
    expect(kept.last.locator("summary")).to_be_focused()
    page.locator("#result").get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Undo").click()  # which tells of all photos anew
    expect(page.locator("#tiles li")).to_have_count(3)
    page.wait_for_timeout(300)
    assert [one.locator(".file").first.inner_text() for one in kept.all()] == ["biden.jpg", "obama.jpg"]
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Enter")
    expect(kept).to_have_count(0)
    expect(keep).to_be_focused()
