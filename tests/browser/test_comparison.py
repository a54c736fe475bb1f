"""Several models on the page: one is chosen, and two are compared on one photo, in what is shown and in what is saved."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import hold, watched
from tests.browser.test_live import start
from tests.browser.test_looks import DESKTOP, FITS, PHONE, serious
from tests.browser.test_photos import ASTRONAUT, EXAMPLES, choose
from tests.browser.test_results import saved
from tests.service.server.test_serve import Service

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect


@pytest.fixture
def page(browser: Any, further: Service) -> Iterator[Any]:
    with watched(browser, **DESKTOP) as opened:
        opened.goto(further.url)
        expect(opened.locator("#served")).to_contain_text("fake/3")
        yield opened


def test_one_model_is_no_choice(browser: Any, service: Service) -> None:
    with watched(browser) as page:
        page.goto(service.url)
        expect(page.locator("#served")).to_contain_text("fake")
        choose(page, ASTRONAUT)
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()
        assert page.locator(".choices:visible").count() == 0


def test_another_model_answers_what_it_declares(page: Any) -> None:
    choose(page, ASTRONAUT)
    before = int(page.locator(".years").first.inner_text())
    page.get_by_role("link", name="Model", exact=True).click()
    chosen = page.locator("#model").get_by_role("combobox", name="Model")
    assert chosen.locator("option").all_inner_texts() == ["fake", "half"]
    chosen.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#model .rows")).to_contain_text("half, version 1")
    expect(chosen).to_be_focused()
    page.get_by_role("link", name="Photos", exact=True).click()
    assert page.locator("#show label").all_inner_texts() == ["Age", "Gender", "Race"]
    card = page.get_by_role("article", name="Face 1")
    expect(card.locator("h4")).to_have_text(["Apparent age", "Gender", "Race", "Picture quality"])
    assert int(card.locator(".years").inner_text()) == pytest.approx(before / 2, abs=1)
    page.get_by_role("button", name="curl").click()
    expect(page.get_by_label("Command")).to_contain_text("model=half")
    page.get_by_role("button", name="Python").click()
    expect(page.get_by_label("Command")).to_contain_text('model="half"')


def test_of_two_models_the_one_that_was_chosen_last_answers(page: Any) -> None:
    page.get_by_role("link", name="Model", exact=True).click()
    chosen = page.locator("#model").get_by_role("combobox", name="Model")
    held = hold(page, "**/model?model=half")
    chosen.select_option("half")
    slow = held()
    with page.expect_response("**/model"):
        chosen.select_option("fake")
    with page.expect_response("**/model?model=half"):
        slow.continue_()
    page.wait_for_timeout(300)
    expect(page.locator("#served")).to_contain_text("fake/3")
    expect(chosen).to_have_value("fake")


def test_two_models_side_by_side_and_what_is_saved_of_them(page: Any) -> None:
    choose(page, ASTRONAUT, EXAMPLES / "biden.jpg")
    page.get_by_role("combobox", name="Compare with").select_option("half")
    expect(page.locator(".comparison")).to_contain_text("Faces on which the models disagree: 1 of 1")
    card = page.get_by_role("article", name="Face 1")
    heads = card.locator(".attribute-head")
    expect(heads.locator("h4")).to_have_text(["Apparent age", "Race", "Glasses", "Bmi", "Gender"])
    first, second = (int(one) for one in card.locator(".attribute.age").first.locator(".years").all_inner_texts())
    assert second == pytest.approx(first / 2, abs=1)
    expect(heads.first.locator(".badge")).to_have_text(f"{first - second} years apart")
    one, other = (column.bounding_box() for column in card.locator(".pair").first.locator("> div").all())
    assert one["y"] == other["y"]
    expect(card.locator(".pair").nth(2).locator(".second")).to_contain_text("–")  # half knows of no glasses
    labels = card.locator(".pair").nth(1).locator(".second .bar-label").all_inner_texts()
    assert len(labels) == 5
    page.get_by_role("button", name="Overview").click()
    expect(page.locator("#tiles li")).to_have_count(2)
    page.get_by_role("combobox", name="Show").select_option("disagree")
    expect(page.locator(".face-cell")).to_have_count(2)

    rows = list(csv.DictReader(io.StringIO(saved(page, "CSV").decode())))
    assert Counter((row["file"], row["model"]) for row in rows) == dict.fromkeys(
        [(name, model) for name in ("astronaut.jpg", "biden.jpg") for model in ("fake", "half")], 1
    )
    assert {row["gender"] != "" for row in rows if row["model"] == "half"} == {True}
    results = [one["result"]["model"]["name"] for one in json.loads(saved(page, "JSON"))]
    assert results == ["fake", "half", "fake", "half"]
    with zipfile.ZipFile(io.BytesIO(saved(page, "ZIP with pictures"))) as archive:
        names = ["astronaut.fake-3", "astronaut.half-1", "biden.fake-3", "biden.half-1"]
        assert archive.namelist() == ["facet.csv", "facet.json", *(f"{name}.faces.jpg" for name in names)]

    page.get_by_role("combobox", name="Compare with").select_option("")
    page.locator("#tiles button").first.click()
    expect(page.locator(".pair, .comparison")).to_have_count(0)
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()


def test_a_second_model_that_fails_can_be_asked_again(page: Any) -> None:
    failure = {"type": "about:blank", "title": "x", "status": 504, "code": "deadline_exceeded", "detail": "", "request_id": "a"}
    page.route("**/predict?*model=half*", lambda route: route.fulfill(status=504, json=failure))
    choose(page, ASTRONAUT)
    page.get_by_role("combobox", name="Compare with").select_option("half")
    expect(page.locator(".comparison")).to_contain_text("It took too long")
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()
    page.unroute("**/predict?*model=half*")
    page.locator(".comparison").get_by_role("button", name="Try again").click()
    expect(page.locator(".pair")).to_have_count(5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_comparison_fits_a_phone_from_right_to_left(browser: Any, further: Service, scheme: str) -> None:
    with watched(browser, **PHONE, color_scheme=scheme, reduced_motion="reduce", locale="ar") as page:
        page.goto(further.url)
        choose(page, ASTRONAUT)
        page.locator("#model-of-photos-compared").select_option("half")
        expect(page.locator(".comparison .fine")).to_be_visible()
        expect(page.locator(".pair")).to_have_count(5)
        assert page.evaluate(FITS)
        assert serious(page) == []
        one, other = (column.bounding_box() for column in page.locator(".pair").first.locator("> div").all())
        assert one["y"] + one["height"] <= other["y"]


def test_the_live_view_asks_the_chosen_model(browser: Any, further: Service) -> None:
    with watched(browser, permissions=["camera"], viewport={"width": 1280, "height": 860}) as page:
        page.goto(further.url + "#live")
        start(page)
        expect(page.locator(".live-card h4")).to_have_text(["Apparent age", "Race", "Glasses", "Bmi"])
        page.locator("#live").get_by_role("combobox", name="Model").select_option("half")
        expect(page.locator(".live-card h4")).to_have_text(["Apparent age", "Gender", "Race"])
