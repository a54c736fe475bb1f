"""How the page fits: phones, dark and light, screen readers, keyboards; and that it is installed and opens offline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.browser.conftest import faces, hold, watched
from tests.browser.test_photos import ASTRONAUT, EXAMPLES, choose
from tests.service.server.test_serve import Service

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
expect = playwright.expect
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
FITS = "document.documentElement.scrollWidth <= screen.width"
"""Of a phone `innerWidth` grows with what does not fit."""
OVERLAPS = """(cells) => cells.filter((cell) => [...cell.children].some((part) =>
    part.getBoundingClientRect().right > cell.getBoundingClientRect().right)).map((cell) => cell.textContent)"""
"""Cells of a table whose words lie on those of the next one."""
DESKTOP = {"viewport": {"width": 1280, "height": 860}}


def serious(page: Any) -> list[str]:
    """What axe finds that is more than a detail: `rule: element`."""
    # Headings and landmarks are asked for, too, which axe calls best practice rather than law.
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_serious_in_any_view(browser: Any, service: Service, device: dict[str, Any], scheme: str) -> None:
    with watched(browser, color_scheme=scheme, reduced_motion="reduce", **device) as page:
        page.goto(service.url)
        expect(page.locator("#served")).to_contain_text("fake")
        assert serious(page) == []
        choose(page, EXAMPLES / "group.jpg", Path(__file__))
        expect(page.get_by_role("article")).to_have_count(7)
        page.get_by_role("button", name="JSON").click()
        assert serious(page) == []
        page.get_by_role("checkbox", name="Keep results on this device").check()
        page.get_by_role("button", name="Overview").click()
        expect(page.locator("#result .face-cell")).to_have_count(8)
        expect(page.locator(".history-list > li")).to_have_count(1)
        assert serious(page) == []
        page.locator("#tiles button").nth(1).click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert serious(page) == []
        for view in ("Live", "Model"):
            page.get_by_role("link", name=view, exact=True).click()
            assert serious(page) == []
        page.get_by_role("link", name="Photos", exact=True).click()
        page.evaluate("document.querySelector('#key-dialog').showModal()")
        assert serious(page) == []


def test_nothing_is_wider_than_a_phone(browser: Any, service: Service) -> None:
    with watched(browser, **{**PHONE, "viewport": {"width": 320, "height": 640}}) as page:
        page.goto(service.url)
        assert page.evaluate(FITS)
        choose(page, EXAMPLES / "group.jpg", ASTRONAUT, EXAMPLES / "obama.jpg", EXAMPLES / "biden.jpg", Path(__file__))
        expect(page.get_by_role("article")).to_have_count(7)
        page.get_by_role("button", name="JSON").click()
        assert page.evaluate(FITS)
        for view in ("Live", "Model"):
            page.get_by_role("link", name=view, exact=True).click()
            assert page.evaluate(FITS)


def test_tables_on_a_phone_lack_no_column(browser: Any, service: Service) -> None:
    with watched(browser, **PHONE) as page:
        page.goto(service.url)
        choose(page, EXAMPLES / "group.jpg", Path(__file__))
        page.get_by_role("button", name="Overview").click()
        page.get_by_role("button", name="Table").click()
        expect(page.get_by_role("columnheader", name="Age")).to_be_visible()
        expect(page.get_by_role("cell", name="This file type isn't supported")).to_be_visible()
        assert page.evaluate(FITS)
        assert page.locator(".overview th").evaluate_all(OVERLAPS) == []


def test_large_letters_push_no_view_off_a_phone(browser: Any, service: Service) -> None:
    with watched(browser, **PHONE) as page:
        page.goto(service.url)
        page.evaluate("document.documentElement.style.fontSize = '32px'")
        assert page.evaluate(FITS)
        for link in page.locator("nav a").all():
            box = link.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
        choose(page, ASTRONAUT)
        expect(page.get_by_role("article")).to_be_visible()
        assert page.evaluate(FITS)
        for view in ("Live", "Model"):
            page.get_by_role("link", name=view, exact=True).click()
            assert page.evaluate(FITS)


def test_forced_colours_leave_the_winner_the_boxes_and_the_view_to_be_seen(browser: Any, service: Service) -> None:
    def style(one: Any, name: str) -> str:
        return one.evaluate(f"(element) => getComputedStyle(element)['{name}']")

    with watched(browser, forced_colors="active", **DESKTOP) as page:
        page.goto(service.url)
        choose(page, ASTRONAUT)
        bars = page.locator(".bars").last
        winner, other = bars.locator(".top .bar-fill"), bars.locator("li:not(.top) .bar-fill").first
        expect(winner).to_be_visible()
        assert style(winner, "backgroundColor") != style(other, "backgroundColor")
        assert style(page.locator("#result .box"), "borderTopColor") == style(winner, "backgroundColor")
        assert float(style(page.locator("nav a[aria-current]"), "borderTopWidth").removesuffix("px")) >= 1
        assert style(page.locator("nav a:not([aria-current])").first, "borderTopWidth") == "0px"
        page.get_by_role("button", name="Overview").click()
        switch = page.locator(".switch")
        chosen, left = switch.locator("[aria-pressed=true]"), switch.locator("[aria-pressed=false]")
        assert style(chosen, "borderTopWidth") != style(left, "borderTopWidth")


def test_the_focus_stays_where_the_result_is_drawn_anew(browser: Any, service: Service) -> None:
    with watched(browser, **DESKTOP) as page:
        page.goto(service.url)
        choose(page, ASTRONAUT)
        turn = page.get_by_role("button", name="Turn", exact=True)
        turn.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".caption")).to_contain_text("turned")
        expect(page.get_by_role("button", name="Turn", exact=True)).to_be_focused()


def test_the_focus_goes_where_the_viewer_is_led(page: Any) -> None:
    result = page.locator("#result")
    page.get_by_role("button", name="Eileen Collins").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()
    expect(result).to_be_focused()
    choose(page, ASTRONAUT, EXAMPLES / "obama.jpg")
    expect(page.locator("#progress")).to_have_text("3 faces in 3 photos")
    page.get_by_role("button", name="Overview").click()
    page.locator(".face-cell").nth(2).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".caption")).to_contain_text("obama.jpg")
    expect(result).to_be_focused()
    for button in ("Remove", "Undo", "Forget all", "Undo"):
        page.get_by_role("button", name=button).focus()
        page.keyboard.press("Enter")
        expect(
            {"Undo": result, "Forget all": page.locator("#choose")}.get(button, page.locator("button:focus"))
        ).to_be_focused()
    expect(page.locator("#tiles li")).to_have_count(3)


def test_an_undo_that_has_the_focus_stays(browser: Any, service: Service) -> None:
    with watched(browser) as page:
        page.clock.install()
        page.goto(service.url)
        choose(page, ASTRONAUT)
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()
        page.get_by_role("button", name="Forget all").click()
        undo = page.get_by_role("button", name="Undo")
        undo.focus()
        page.clock.fast_forward(11_000)
        expect(undo).to_be_focused()
        page.locator("#choose").focus()
        page.clock.fast_forward(11_000)
        expect(undo).to_be_hidden()


def test_of_rows_of_one_name_the_one_that_had_the_focus_keeps_it(page: Any) -> None:
    choose(page, EXAMPLES / "group.jpg")
    expect(page.get_by_role("article")).to_have_count(7)
    held = hold(page, "**/predict*")
    choose(page, ASTRONAUT)
    last = held()
    page.get_by_role("button", name="Overview").click()
    page.get_by_role("button", name="Table").click()
    rows = page.locator(".overview tbody")
    rows.get_by_role("button").nth(4).focus()
    last.continue_()
    expect(rows).not_to_contain_text("processing")
    expect(rows.get_by_role("button").nth(4)).to_be_focused()


def test_copying_without_https_keeps_the_focus(browser: Any, service: Service) -> None:
    with watched(browser) as page:
        page.goto(f"http://facet.test:{service.port}")
        choose(page, ASTRONAUT)
        page.get_by_role("button", name="Copy these results").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Copied")).to_be_focused()


def test_fingers_find_every_button(browser: Any, service: Service) -> None:
    """At least 24 by 24 pixels, as WCAG 2.2 asks (2.5.8); boxes on faces are as small as the faces, and cards say the same."""
    with watched(browser, **PHONE) as page:
        page.goto(service.url)
        choose(page, ASTRONAUT)
        expect(page.get_by_role("article")).to_have_count(1)
        sizes = page.evaluate(
            """() => [...document.querySelectorAll('button:not(.box), nav a, .toggle')]
                .map((one) => [one.textContent.trim(), one.getBoundingClientRect()])
                .filter(([, { width }]) => width > 0)
                .map(([name, { width, height }]) => [name, Math.min(width, height)])"""
        )
        assert len(sizes) > 8
        assert [name for name, side in sizes if side < 24] == []


def test_dark_is_dark_and_light_is_light(browser: Any, service: Service) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        with watched(browser, color_scheme=scheme) as page:
            page.goto(service.url)
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            grounds[scheme] = sum(int(part) for part in colour[4:-1].split(","))
    assert grounds["light"] > 690
    assert grounds["dark"] < 90


def test_everything_can_be_done_with_the_keyboard(page: Any) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == "Eight faces":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("article")).to_have_count(8)
    choose(page, ASTRONAUT)
    expect(page.get_by_role("article")).to_have_count(1)
    page.locator("#tiles button").nth(1).focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("article")).to_have_count(8)
    page.get_by_role("button", name="Face 3").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name="Face 3")).to_be_focused()


CONTRAST = """(element, [one, other]) => {
    const style = (name, of) => getComputedStyle(of)[name];
    const own = (of) => style('backgroundColor', of);
    const ground = (of) => own(of).includes('rgba') ? ground(of.parentElement) : own(of);
    const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, value, index) => {
        const share = value / 255;
        return sum + [0.2126, 0.7152, 0.0722][index] * (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
    }, 0.05);
    const a = light(style(one, element));
    const b = light(other === 'ground' ? ground(element.parentElement) : style(other, element));
    return Math.max(a, b) / Math.min(a, b);
}"""
"""Of a colour of an element and another one, or what it lies on (WCAG 2.2, 1.4.11)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_focus_and_the_borders_of_fields_are_seen(browser: Any, service: Service, scheme: str) -> None:
    with watched(browser, color_scheme=scheme, reduced_motion="reduce", **DESKTOP) as page:
        page.goto(service.url)
        choose(page, EXAMPLES / "group.jpg")
        expect(page.get_by_role("article")).to_have_count(7)
        tile = page.locator("#tiles button")
        expect(tile).to_have_attribute("aria-current", "true")
        assert tile.evaluate("one => getComputedStyle(one).outlineStyle") == "none"
        tile.focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Shift+Tab")
        assert tile.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
        for number in range(1, 8):
            page.get_by_role("button", name=f"Face {number}").focus()
            page.keyboard.press("Enter")
            card = page.get_by_role("article", name=f"Face {number}")
            expect(card).to_be_focused()
            assert card.evaluate(CONTRAST, ["outlineColor", "ground"]) >= 3
        assert page.locator("#ages").evaluate(CONTRAST, ["borderTopColor", "ground"]) >= 3


def test_nothing_glides_where_motion_is_not_wanted(browser: Any, service: Service) -> None:
    with watched(browser, reduced_motion="reduce", viewport={"width": 500, "height": 500}) as page:
        page.goto(service.url)
        choose(page, EXAMPLES / "group.jpg")
        expect(page.get_by_role("article")).to_have_count(7)
        page.evaluate("() => { window.places = new Set(); addEventListener('scroll', () => places.add(scrollY)); }")
        page.get_by_role("button", name="Face 7").click()
        expect(page.get_by_role("article", name="Face 7")).to_be_in_viewport()
        page.wait_for_timeout(300)
        assert page.evaluate("places.size") <= 2


def test_whoever_skips_to_the_content_stays_in_the_view(page: Any) -> None:
    page.get_by_role("link", name="Model", exact=True).click()
    page.get_by_role("link", name="Skip to the content").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.get_by_role("heading", name="The model")).to_be_visible()
    assert page.url.endswith("#model")


def test_it_can_be_installed(page: Any) -> None:
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    session = page.context.new_cdp_session(page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert '"display": "standalone"' in manifest["data"]
    assert [one["errorId"] for one in session.send("Page.getInstallabilityErrors")["installabilityErrors"]] in (
        [],
        ["in-incognito"],  # each test has a profile of its own, which is what this means
    )


def test_it_opens_without_a_connection_and_says_so(browser: Any, tmp_path: Path) -> None:
    with watched(browser) as page:
        with faces(tmp_path / "log") as service:
            page.goto(service.url)
            page.evaluate("navigator.serviceWorker.ready.then(() => true)")
            expect(page.locator("#served")).to_contain_text("fake")
            url = service.url
        page.goto(url)
        expect(page.get_by_role("heading", name="Every face")).to_be_visible()
        expect(page.locator("#banner")).to_contain_text("The service can't be reached")
        choose(page, ASTRONAUT)
        expect(page.get_by_role("alert")).to_contain_text("The service can't be reached")
        cached = page.evaluate(
            "caches.keys().then((names) => caches.open(names[0])).then((c) => c.keys()).then((k) => k.map((r) => r.url))"
        )
        assert not [address for address in cached if "predict" in address or address.rsplit("/", 1)[-1] == "model"]


def test_it_opens_where_the_browser_has_no_room_to_keep_it(browser: Any, service: Service) -> None:
    with watched(browser) as page:
        page.goto(service.url)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.evaluate("caches.keys().then((names) => Promise.all(names.map((name) => caches.delete(name))))")
        session = page.context.new_cdp_session(page)
        session.send("Storage.overrideQuotaForOrigin", {"origin": service.url.rstrip("/"), "quotaSize": 1})
        page.reload()
        assert page.evaluate("navigator.serviceWorker.controller !== null")
        expect(page.locator("#served")).to_contain_text("fake")


@contextmanager
def proxied(service: Service, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy that takes a prefix off; its address, and the paths that were asked for outside the prefix."""
    strays: list[str] = []

    class Forward(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(prefix):
                strays.append(self.path)
                self.send_error(404)
                return
            length = int(self.headers.get("Content-Length", 0))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "accept-encoding")}
            kept["Accept-Encoding"] = "identity"
            address = f"{service.url}/{self.path.removeprefix(prefix)}"
            answer = httpx.request(self.command, address, headers=kept, content=self.rfile.read(length), timeout=60)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in ("content-length", "date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{prefix}", strays
        server.shutdown()


def test_it_works_behind_a_prefix(browser: Any, service: Service) -> None:
    with proxied(service, "/faces/") as (address, strays), watched(browser) as page:
        page.goto(address)
        assert page.evaluate("navigator.serviceWorker.ready.then(({ scope }) => scope)") == address
        choose(page, ASTRONAUT)
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()
        expect(page.locator("#served")).to_contain_text("fake")
        assert set(strays) <= {"/favicon.ico"}
