"""The page in the languages of its viewers: by the browser's, by the switch, and from right to left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import watched
from tests.browser.test_photos import ASTRONAUT, EXAMPLES, choose
from tests.client import ROOT
from tests.service.server.test_serve import Service

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect


def words(code: str) -> Any:
    return json.loads((ROOT / f"service/web/static/languages/{code}.json").read_text())


def test_the_page_speaks_the_browsers_language_and_the_one_that_is_chosen(browser: Any, service: Service) -> None:
    german, arabic = words("de"), words("ar")
    with watched(browser, locale="de-AT", viewport={"width": 1280, "height": 860}) as page:
        page.goto(service.url)
        expect(page.locator("html")).to_have_attribute("lang", "de")
        expect(page.locator(".lead")).to_contain_text("schätzt für jedes Gesicht darauf scheinbares Alter, Geschlecht und")
        choose(page, ASTRONAUT)
        card = page.get_by_role("article", name="Gesicht 1")
        expect(card).to_contain_text(german["age.title"])
        expect(card.locator(".bar-value").first).to_have_text("56 %")
        card.get_by_role("button", name=german["label.uncertain"]).click()
        expect(page.get_by_role("dialog", name=german["term.uncertain.name"])).to_contain_text(german["term.uncertain"])
        page.keyboard.press("Escape")
        page.locator("#language").select_option("ar")
        expect(page.get_by_role("article").locator(".attribute").first).to_contain_text(arabic["age.title"])
        expect(page.locator("html")).to_have_attribute("dir", "rtl")
        expect(page.locator("#drop").get_by_role("button").first).to_have_text(arabic["drop.choose"])
        stage, shown = page.locator("#result .stage").bounding_box(), page.get_by_role("article").bounding_box()
        assert stage["x"] > shown["x"]  # what comes first is on the right
        page.reload()
        expect(page.get_by_role("link", name=arabic["nav.live"], exact=True)).to_be_visible()  # it is remembered
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_the_service_says_in_english_is_marked_as_such(browser: Any, service: Service, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("no picture")
    with watched(browser, locale="de") as page:
        page.goto(service.url)
        choose(page, tmp_path / "list.txt")
        expect(page.locator(".where [lang=en]")).to_contain_text("The file is not a JPEG")
        expect(page.locator(".where")).to_contain_text("list.txt: The file")
        page.get_by_role("link", name=words("de")["nav.model"], exact=True).click()
        expect(page.locator("#model .rows [lang=en]")).to_have_count(1)


SLOW_WORDS = """
const own = window.fetch;
window.fetch = async (address, ...more) => {
  if (String(address).endsWith("fr.json")) await new Promise((resolve) => (window.go = resolve));
  if (String(address).endsWith("hu.json")) throw new TypeError("Failed to fetch");
  return own(address, ...more);
};
"""
"""French comes when the test says so, and Hungarian never."""


def test_of_two_languages_the_one_that_was_chosen_last_is_spoken(browser: Any, service: Service) -> None:
    with watched(browser) as page:
        page.add_init_script(SLOW_WORDS)
        page.goto(service.url)
        expect(page.locator("#served")).to_contain_text("fake")
        page.locator("#language").select_option("fr")
        page.locator("#language").select_option("de")
        expect(page.locator("html")).to_have_attribute("lang", "de")
        page.evaluate("go()")
        page.wait_for_timeout(300)
        assert page.locator("html").get_attribute("lang") == page.locator("#language").input_value() == "de"
        page.locator("#language").select_option("hu")
        expect(page.locator("#banner")).to_be_visible()
        expect(page.locator("#language")).to_have_value("de")


def test_arrow_keys_go_where_they_point_from_right_to_left(browser: Any, service: Service) -> None:
    with watched(browser, locale="ar-EG") as page:
        page.goto(service.url)
        choose(page, ASTRONAUT, EXAMPLES / "obama.jpg")
        first, second = page.locator("#tiles button").all()
        assert first.bounding_box()["x"] > second.bounding_box()["x"]
        first.focus()
        page.keyboard.press("ArrowLeft")
        expect(second).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(first).to_be_focused()
