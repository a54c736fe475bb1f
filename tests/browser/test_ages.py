"""The control for ages: how probable it is to be at least so old, on photos and in the live view."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import faces, until, watched
from tests.browser.test_live import READY, face, frame, start
from tests.browser.test_photos import ASTRONAUT, EXAMPLES, choose
from tests.service.server.test_serve import Service

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect


def ask(page: Any, text: str) -> None:
    """Type ages into the field of the view that is open."""
    page.locator(".ages input:visible").fill(text)
    page.keyboard.press("Enter")


def test_a_card_shows_how_probable_each_age_is_and_the_command_asks_for_them(page: Any) -> None:
    choose(page, ASTRONAUT)
    card = page.get_by_role("article", name="Face 1")
    expect(card).to_be_visible()
    expect(page.locator(".at-least")).to_have_count(0)
    expect(page.get_by_label("At least").first).to_have_value("")
    expect(page.locator(".ages:visible")).to_contain_text("Where it matters, a person should decide")
    with page.expect_request("**/predict?*") as asked:
        ask(page, "99, 18,18")
    assert "at_least=18%2C99" in asked.value.url
    expect(card.locator(".at-least li")).to_have_text(["at least 18: >\u200999%", "at least 99: <\u20091%"])
    expect(page.get_by_label("At least").first).to_have_value("18, 99")
    page.get_by_role("button", name="curl").click()
    command = page.get_by_label("Command").inner_text()
    assert "at_least=18%2C99" in command
    if shutil.which("curl") is not None:
        done = subprocess.run(shlex.split(command), cwd=EXAMPLES, capture_output=True, check=True, timeout=30)
        assert list(json.loads(done.stdout)["faces"][0]["age"]["at_least"]) == ["18", "99"]
    with page.expect_request("**/predict?*") as again:
        ask(page, "")
    assert "at_least" not in again.value.url
    expect(page.locator(".at-least")).to_have_count(0)


@pytest.mark.parametrize("text", ["0", "100", "adult", "18.5", "1 2 3 4 5 6 7 8 9"])
def test_what_is_no_age_is_said_and_not_asked_for(page: Any, text: str) -> None:
    choose(page, ASTRONAUT)
    expect(page.get_by_role("article")).to_have_count(1)
    ask(page, text)
    expect(page.locator(".ages:visible")).to_contain_text("whole ages from 1 to 99, at most 8 of them.")
    expect(page.get_by_label("At least").first).to_have_attribute("aria-invalid", "true")
    with page.expect_request("**/predict?*") as asked:
        choose(page, EXAMPLES / "obama.jpg")
    assert "at_least" not in asked.value.url


def test_without_the_age_no_probability_is_asked_for(page: Any) -> None:
    choose(page, ASTRONAUT)
    ask(page, "18")
    expect(page.locator(".at-least")).to_have_count(1)
    page.get_by_role("checkbox", name="Age").uncheck()
    expect(page.locator(".at-least")).to_have_count(0)
    with page.expect_request("**/predict?*") as asked:
        choose(page, EXAMPLES / "obama.jpg")
    assert "at_least" not in asked.value.url
    page.get_by_role("checkbox", name="Age").check()
    expect(page.locator(".at-least")).to_have_count(1)


def test_a_service_without_ages_has_no_such_field(browser: Any, tmp_path: Path) -> None:
    with faces(tmp_path / "log", FACET_ATTRIBUTES="gender,race") as service, watched(browser) as page:
        page.goto(service.url)
        choose(page, ASTRONAUT)
        expect(page.get_by_role("checkbox", name="Gender")).to_be_enabled()
        expect(page.locator(".ages:visible")).to_have_count(0)


def test_the_live_view_asks_for_them_anew(browser: Any, service: Service) -> None:
    """A stream is told what is asked for when it begins: other ages begin another one."""
    starts: list[Any] = []

    def connected(socket: Any) -> None:
        own: list[Any] = []

        def heard(message: str | bytes) -> None:
            if isinstance(message, str):
                own.append(json.loads(message))
                starts.append(own[0])
                socket.send(json.dumps(READY))
                return
            age = {"years": 30.2, "at_least": {str(one): 0.97 for one in own[0].get("at_least", [])}}
            shown = face(len(starts), 100, age=age)
            socket.send(frame(int.from_bytes(message[:8], "big"), shown, next_in_ms=50))

        socket.on_message(heard)

    with watched(browser, permissions=["camera"], viewport={"width": 1280, "height": 860}) as page:
        page.route_web_socket("**/stream", connected)
        page.goto(service.url + "#live")
        expect(page.locator(".ages:visible")).to_contain_text("a person should decide")
        start(page)
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()
        ask(page, "18 21")
        until(page, lambda: len(starts) == 2)
        expect(page.locator(".live-card .at-least li")).to_have_text(["at least 18: 97%", "at least 21: 97%"])
        expect(page.locator(".live-card")).to_have_count(1)
        assert [one.get("at_least") for one in starts] == [None, [18, 21]]


def test_a_stream_of_the_service_answers_them(browser: Any, service: Service) -> None:
    with watched(browser, permissions=["camera"], viewport={"width": 1280, "height": 860}) as page:
        page.goto(service.url + "#live")
        expect(page.locator(".ages:visible")).to_have_count(1)
        ask(page, "18")
        start(page)
        expect(page.locator(".live-card .at-least li")).to_contain_text(["at least 18: "])


@pytest.mark.parametrize(("locale", "typed"), [("ar-EG", "١٨، ٢١"), ("zh-CN", "\uff11\uff18\uff0c21"), ("en-GB", "18, 21")])
def test_ages_are_read_as_the_viewer_writes_them(browser: Any, service: Service, locale: str, typed: str) -> None:
    with watched(browser, locale=locale) as page:
        page.goto(service.url)
        choose(page, ASTRONAUT)
        expect(page.get_by_role("article")).to_be_visible()
        with page.expect_request("**/predict?*") as asked:
            ask(page, typed)
        assert "at_least=18%2C21" in asked.value.url
