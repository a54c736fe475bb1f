"""The page shows what the model declares: a service with seven races, glasses and a number, and without a gender."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.models.evaluation import Evaluation
from service.models.manifest import Attribute
from service.offline.table import Table
from tests.browser.conftest import faces, watched
from tests.browser.test_live import start
from tests.browser.test_photos import ASTRONAUT, EXAMPLES, choose
from tests.browser.test_results import saved
from tests.fakes import REPEATED
from tests.service.server.test_serve import Service

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
FIGURES = {"count": 90, "age_mae": 4.2, "race_accuracy": 0.7, "glasses_accuracy": 0.93, "bmi_mae": 2.345}
NO_INTERVALS: dict[str, Any] = {"headline": {}, "found_only": {}, "groups": {}}
EVALUATION = Evaluation.model_validate(
    {
        "data": "club",
        "split": "test",
        "precision": "f32",
        "headline": FIGURES,
        "found_only": FIGURES,
        "groups": {"glasses": {"no": FIGURES, "yes": FIGURES}},
        "intervals": NO_INTERVALS,
        "mean_age_of_train": 40.0,
    }
)


@pytest.fixture
def page(browser: Any, further: Service) -> Iterator[Any]:
    with watched(browser, viewport={"width": 1280, "height": 860}) as opened:
        opened.goto(further.url)
        expect(opened.locator("#served")).to_contain_text("fake")
        yield opened


def test_a_card_shows_every_attribute_with_its_labels(page: Any) -> None:
    expect(page.locator(".lead")).to_contain_text("estimates apparent age, race, glasses, and bmi for every face")
    choose(page, ASTRONAUT)
    card = page.get_by_role("article", name="Face 1")
    expect(card.locator("h4")).to_have_text(["Apparent age", "Race", "Glasses", "Bmi", "Picture quality"])
    glasses = card.locator(".attribute", has=page.get_by_role("heading", name="Glasses"))
    expect(glasses.locator(".bar-label")).to_have_count(2)
    shares = [int(re.sub(r"\D", "", one)) for one in glasses.locator(".bar-value").all_inner_texts()]
    assert 99 <= sum(shares) <= 101
    number = card.locator(".attribute", has=page.get_by_role("heading", name="Bmi"))
    expect(number.locator(".years")).to_have_text(re.compile(r"^\d\d(\.\d+)? kg/m²$"))
    expect(number.locator(".between")).to_contain_text("in 8 of 10 cases")
    assert number.locator(".tick-label").all_text_contents() == ["10", "18", "26", "34", "42", "50"]
    race = card.locator(".attribute", has=page.get_by_role("heading", name="Race"))
    expect(race.locator(".bar-label")).to_have_count(7)
    assert "kg/m²" in page.get_by_role("button", name="Face 1").get_attribute("aria-label")
    assert "glasses: " in page.get_by_role("button", name="Face 1").get_attribute("aria-label")


def test_a_further_attribute_is_switched_off_as_any_other(page: Any) -> None:
    choose(page, ASTRONAUT)
    assert page.locator("#show label").all_inner_texts() == ["Age", "Race", "Glasses", "Bmi"]
    page.get_by_role("checkbox", name="Glasses").uncheck()
    expect(page.get_by_role("heading", name="Glasses")).to_have_count(0)
    with page.expect_request("**/predict?*") as asked:
        choose(page, EXAMPLES / "obama.jpg")
    assert "attributes=age%2Crace%2Cbmi&" in asked.value.url
    page.get_by_role("checkbox", name="Glasses").check()
    expect(page.get_by_role("heading", name="Glasses")).to_be_visible()


def test_the_view_of_the_model_goes_by_its_attributes(page: Any, further: Service) -> None:
    measured = EVALUATION.model_dump(mode="json", exclude_unset=True)
    page.route("**/model", lambda route: route.fulfill(json=route.fetch().json() | {"evaluation": measured}))
    page.reload()
    page.get_by_role("link", name="Model", exact=True).click()
    view = page.locator("#model")
    expect(view).to_contain_text("93%of labels for “glasses” are right")
    expect(view).to_contain_text("2.35 kg/m²average error (bmi)")
    head = ["Group", "Pictures", "Age: error", "Race: right", "Glasses: right", "Bmi: error"]
    assert view.locator("thead th").all_inner_texts() == head
    assert view.locator("tbody th").all_inner_texts() == ["Glasses: no", "Glasses: yes"]
    expect(view.locator(".rows")).to_contain_text("apparent age, race, glasses, and bmi")
    expect(view.locator(".rows")).not_to_contain_text("gender")


def test_no_two_columns_of_the_csv_have_one_name(browser: Any, tmp_path: Path) -> None:
    """Where the model has attributes called `face` and `model`, and gender and race share a label."""
    with (
        faces(tmp_path / "log", declared="repeated") as service,
        watched(browser, viewport={"width": 1280, "height": 860}) as page,
    ):
        page.goto(service.url)
        expect(page.locator("#served")).to_contain_text("fake")
        choose(page, ASTRONAUT)
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()
        page.get_by_role("button", name="Overview").click()
        header, row = csv.reader(io.StringIO(saved(page, "CSV").decode()))
    assert len(set(header)) == len(header)
    declared = [Attribute.model_validate(one) for one in REPEATED]
    assert {column.name for column in Table(declared).columns} - {"digest", "time_s"} == set(header)  # of a run; of a film
    cells = dict(zip(header, row, strict=True))
    assert (cells["face"], cells["model"]) == ("0", "fake")
    assert cells["attribute_face"] in ("round", "long")
    assert float(cells["p_gender_other"]) + float(cells["p_female"]) == pytest.approx(1)
    assert 10 <= float(cells["attribute_model"]) <= 50


def test_the_live_view_shows_it_too(browser: Any, further: Service) -> None:
    with watched(browser, permissions=["camera"], viewport={"width": 1280, "height": 860}) as page:
        page.goto(further.url + "#live")
        start(page)
        expect(page.locator(".live-card h4")).to_have_text(["Apparent age", "Race", "Glasses", "Bmi"])
