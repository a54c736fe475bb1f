"""Photos in a real browser: every way in, every answer and failure, keys, switches, history, keyboard and phones."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from service.models.store import EVALUATION, ModelStore
from service.settings import Settings
from tests.browser.conftest import faces, hold, until, watched
from tests.client import ROOT
from tests.service.server.test_serve import Service

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
EXAMPLES = ROOT / "examples"
ASTRONAUT = EXAMPLES / "astronaut.jpg"
COPY = """async () => {
    const photo = await createImageBitmap(await (await fetch('page/examples/astronaut.jpg')).blob());
    const canvas = new OffscreenCanvas(photo.width, photo.height);
    canvas.getContext('2d').drawImage(photo, 0, 0);
    const png = await canvas.convertToBlob({ type: 'image/png' });
    await navigator.clipboard.write([new ClipboardItem({ 'image/png': png })]);
}"""
"""Copies an example as a PNG picture."""
DRAG = """async () => {
    const transfer = new DataTransfer();
    const photo = await (await fetch('page/examples/lieu.jpg')).blob();
    transfer.items.add(new File([photo], 'dropped.jpg', { type: 'image/jpeg' }));
    return transfer;
}"""
"""What carries an example that is dropped."""


def choose(page: Any, *photos: Path) -> None:
    page.set_input_files("#files", [str(photo) for photo in photos])


# Ways in --------------------------------------------------------------------------------------------------------------


def test_a_chosen_photo_gets_a_box_and_a_card(page: Any) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose photos").click()
    chooser.value.set_files(str(ASTRONAUT))
    card = page.get_by_role("article", name="Face 1")
    expect(card).to_be_visible()
    expect(card.get_by_role("img", name="Age about")).to_be_visible()
    assert card.locator(".curve").get_attribute("d").count("L") == 100  # the distribution itself, year by year
    assert "to" in card.locator(".between").inner_text()
    assert "in 8 of 10 cases" in card.locator(".between").inner_text()
    for attribute, labels in (("Gender", 2), ("Race", 5)):
        section = card.locator(".attribute", has=page.get_by_role("heading", name=attribute))
        expect(section.locator("li")).to_have_count(labels)
    box = page.get_by_role("button", name="Face 1").bounding_box()
    stage = page.locator("#result .stage").bounding_box()
    assert box["x"] - stage["x"] == pytest.approx(182 / 512 * stage["width"], abs=12)
    assert box["y"] - stage["y"] == pytest.approx(61 / 512 * stage["height"], abs=12)
    crop = card.locator("canvas.crop").evaluate("c => [...c.getContext('2d').getImageData(88, 88, 1, 1).data]")
    assert crop[0] > crop[2] > 40  # skin, and no empty canvas


@contextmanager
def wordless(browser: Any, service: Service) -> Iterator[tuple[Any, Callable[[], None]]]:
    """The page before its words have come, and what lets them come."""
    with watched(browser, locale="en-GB", permissions=["clipboard-read", "clipboard-write"]) as page:
        held = hold(page, "**/languages/*.json")
        page.goto(service.url)
        yield page, held().continue_


def test_what_is_clicked_before_the_words_have_come_is_done_when_they_have(browser: Any, service: Service) -> None:
    with wordless(browser, service) as (page, speak):
        page.locator("#choose").click()
        page.locator("[data-example]").first.click()
        with page.expect_file_chooser() as chooser:
            speak()
        chooser.value.set_files(str(ASTRONAUT))
        expect(page.locator("#tiles li")).to_have_count(2)
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()


def test_what_is_pasted_before_the_words_have_come_is_shown_when_they_have(browser: Any, service: Service) -> None:
    with wordless(browser, service) as (page, speak):
        page.evaluate(COPY)
        page.keyboard.press("Control+V")
        speak()
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()


def test_words_that_are_pasted_before_the_pages_own_have_come_are_answered_kindly(browser: Any, service: Service) -> None:
    with wordless(browser, service) as (page, speak):
        page.evaluate("navigator.clipboard.writeText('words')")
        page.keyboard.press("Control+V")
        speak()
        expect(page.get_by_role("status").filter(has_text="no picture in the clipboard")).to_be_visible()


def test_what_is_dropped_before_the_words_have_come_is_shown_when_they_have(browser: Any, service: Service) -> None:
    with wordless(browser, service) as (page, speak):
        page.dispatch_event("body", "drop", {"dataTransfer": page.evaluate_handle(DRAG)})
        speak()
        expect(page.get_by_text("dropped.jpg")).to_be_visible()
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()


def test_the_box_leads_to_its_card(page: Any) -> None:
    choose(page, EXAMPLES / "group.jpg")
    page.get_by_role("button", name="Face 7").click()
    expect(page.get_by_role("article", name="Face 7")).to_be_focused()
    expect(page.get_by_role("article", name="Face 7")).to_be_in_viewport()


def test_a_pasted_photo(browser: Any, service: Service) -> None:
    with watched(browser, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(service.url)
        page.evaluate(COPY)
        page.keyboard.press("Control+V")
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()


def test_pasting_words_is_answered_kindly(browser: Any, service: Service) -> None:
    with watched(browser, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(service.url)
        page.evaluate("navigator.clipboard.writeText('words')")
        page.keyboard.press("Control+V")
        expect(page.get_by_role("status").filter(has_text="no picture in the clipboard")).to_be_visible()


def test_a_dropped_photo(page: Any) -> None:
    transfer = page.evaluate_handle(DRAG)
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop anywhere")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop anywhere")).to_be_hidden()
    expect(page.get_by_text("dropped.jpg")).to_be_visible()
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()


def test_an_example(page: Any) -> None:
    page.get_by_role("button", name="Eight faces").click()
    expect(page.get_by_role("article")).to_have_count(8)


def test_a_photo_from_the_camera(browser: Any, service: Service) -> None:
    with watched(browser, permissions=["camera"]) as page:
        page.goto(service.url)
        page.get_by_role("button", name="Take a photo").click()
        page.get_by_role("button", name="Take the photo").click()
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()
        expect(page.get_by_text("640 × 480 px")).to_be_visible()
        assert page.evaluate("document.querySelector('#camera-video').srcObject") is None


def test_without_https_the_phones_own_camera_is_offered(browser: Any, service: Service) -> None:
    with watched(browser) as page:
        page.goto(f"http://facet.test:{service.port}")
        assert not page.evaluate("isSecureContext")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Take a photo").click()
        assert chooser.value.element.get_attribute("capture") == "user"
        page.get_by_role("link", name="Live", exact=True).click()
        expect(page.get_by_role("heading", name="The camera needs HTTPS")).to_be_visible()
        expect(page.get_by_role("button", name="Start camera")).to_be_hidden()
        expect(page.locator("#live code")).to_have_text("facet serve --tls")


# Answers --------------------------------------------------------------------------------------------------------------


def test_several_photos_with_progress_and_one_that_fails(browser: Any, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("no photo")
    with faces(tmp_path / "log", slow=1) as service, watched(browser) as page:
        page.goto(service.url)
        choose(page, EXAMPLES / "group.jpg", text, ASTRONAUT, EXAMPLES / "obama.jpg")
        progress = page.locator("#progress")
        expect(progress).to_have_text("1 of 4 photos processed")
        expect(progress).to_have_text("9 faces in 3 photos, 1 failed")
        tiles = page.locator("#tiles button")
        assert [tile.get_attribute("aria-label") for tile in tiles.all()] == [
            "group.jpg: 7 faces",
            "letter.txt: failed",
            "astronaut.jpg: 1 face",
            "obama.jpg: 1 face",
        ]
        tiles.nth(1).click()
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("This file type isn't supported")
        expect(alert.get_by_role("button", name="Try again")).to_have_count(0)
        tiles.nth(2).click()
        expect(page.get_by_role("article")).to_have_count(1)


def test_a_photo_that_is_forgotten_while_it_is_asked_for_stays_forgotten(page: Any) -> None:
    held = hold(page, "**/predict*")
    choose(page, ASTRONAUT)
    expect(page.locator("#tiles li")).to_have_count(1)
    held()
    with page.expect_event("requestfailed") as ended:  # nobody waits for it any more
        page.get_by_role("button", name="Forget all").click()
    assert "/predict" in ended.value.url
    expect(page.locator("#tiles li")).to_have_count(0)
    page.unroute("**/predict*")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")
    assert page.locator("#tiles li").count() == 0
    assert page.get_by_role("article").count() == 0
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()


def test_photos_that_are_forgotten_on_their_way_hold_up_no_others(page: Any) -> None:
    held = hold(page, "**/predict*")
    choose(page, ASTRONAUT, EXAMPLES / "obama.jpg")
    held()
    page.get_by_role("button", name="Forget all").click()
    page.unroute("**/predict*")
    choose(page, EXAMPLES / "group.jpg")
    expect(page.locator("#tiles button")).to_have_attribute("aria-label", "group.jpg: 7 faces")


def test_the_visits_history_is_forgotten_on_demand_and_on_leaving(page: Any) -> None:
    choose(page, ASTRONAUT)
    expect(page.locator("#tiles li")).to_have_count(1)
    page.get_by_role("button", name="Forget all").click()
    expect(page.get_by_role("heading", name="Every face")).to_be_visible()
    expect(page.locator("#tiles li")).to_have_count(0)
    choose(page, ASTRONAUT)
    expect(page.get_by_role("article")).to_have_count(1)
    page.reload()
    expect(page.locator("#tiles li")).to_have_count(0)
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_no_face_is_an_answer(page: Any, tmp_path: Path) -> None:
    Image.new("RGB", (320, 240), "#8899aa").save(tmp_path / "wall.png")
    choose(page, tmp_path / "wall.png")
    expect(page.get_by_role("heading", name="No faces found")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_photo_that_stands_on_its_head_is_read_and_can_be_turned(page: Any, tmp_path: Path) -> None:
    with Image.open(ASTRONAUT) as photo:
        photo.rotate(180).save(tmp_path / "head.png")
    choose(page, tmp_path / "head.png")
    box, turn = page.locator("#photos .box"), page.get_by_role("button", name="Turn", exact=True)
    # 182 of 512 pixels from the left and 61 from above: where the face is in the upright photo, 85 pixels wide and 111 high.
    on_its_head = re.compile(r"left: 4[678]\.\d+%; top: 6[567]\.\d+%")
    expect(box).to_have_attribute("style", on_its_head)
    turn.click()
    expect(page.locator(".caption")).to_contain_text("head-turned.jpg")
    turn.click()
    expect(box).to_have_attribute("style", re.compile(r"left: 3[456]\.\d+%; top: 1[123]\.\d+%"))
    expect(page.locator("#tiles li")).to_have_count(1)
    turn.click()
    turn.click()  # before the picture of the turn before is there
    expect(page.locator(".caption")).to_contain_text("head.png")
    expect(box).to_have_attribute("style", on_its_head)


def test_a_photo_without_a_face_can_be_turned_and_looked_at_again(page: Any, tmp_path: Path) -> None:
    Image.new("RGB", (320, 240), "#8899aa").save(tmp_path / "wall.png")
    choose(page, tmp_path / "wall.png")
    page.get_by_role("button", name="Turn the photo and try again").click()
    expect(page.locator(".caption")).to_contain_text("wall-turned.jpg")
    expect(page.get_by_role("heading", name="No faces found")).to_be_visible()


def test_many_faces_are_one_line_each_until_they_are_opened(page: Any) -> None:
    choose(page, EXAMPLES / "group.jpg")
    curves = page.get_by_role("img", name="Age about")
    expect(page.get_by_role("article")).to_have_count(7)
    expect(curves).to_have_count(0)
    card = page.get_by_role("article", name="Face 4")
    expect(card.locator(".brief")).to_have_text(re.compile(r"^\d+, (fe)?male, race uncertain$"))
    page.get_by_role("button", name="Face 4").click()
    expect(curves).to_have_count(1)
    expect(card.get_by_role("heading", name="Race")).to_be_visible()
    page.get_by_role("checkbox", name="Race").uncheck()
    expect(card.get_by_role("heading", name="Gender")).to_be_visible()  # it stays open when it is drawn anew
    page.get_by_role("button", name="Open all").click()
    expect(curves).to_have_count(7)
    page.get_by_role("button", name="Close all").click()
    expect(curves).to_have_count(0)


def test_a_format_that_the_browser_cannot_show_is_shown_as_the_service_sees_it(page: Any) -> None:
    choose(page, ROOT / "tests/service/vision/data/turned.heic")
    canvas = page.locator("#result .stage canvas").first
    expect(canvas).to_be_visible()
    expect(page.locator(".caption")).to_contain_text("px")
    assert page.get_by_text("This browser cannot show this format").count() == 0
    page.get_by_role("button", name="JSON").click()
    assert "preview" not in page.get_by_label("Result as JSON").inner_text()


def test_the_boxes_of_a_webp_that_lies_on_its_side_are_on_its_faces(page: Any, tmp_path: Path) -> None:
    """Chromium turns a JPEG by its EXIF, and a WebP not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(ASTRONAUT) as photo:
        upright = photo.convert("RGB").crop((100, 0, 400, 400))
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "lying.webp", exif=exif)
    choose(page, tmp_path / "lying.webp")
    expect(page.locator("#result .box")).to_have_count(1)
    canvas = page.locator("#result .stage canvas").first
    expect(canvas).to_be_visible()
    assert canvas.evaluate("({ width, height }) => [width, height]") == [300, 400]


def test_the_json_and_the_command_are_one_click_away(page: Any) -> None:
    choose(page, ASTRONAUT)
    page.get_by_role("button", name="JSON").click()
    shown = json.loads(page.get_by_label("Result as JSON").inner_text())
    assert len(shown["faces"]) == 1
    page.get_by_role("button", name="curl").click()
    command = page.get_by_label("Command").inner_text()
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: its command was shown, but not run")
    done = subprocess.run(shlex.split(command), cwd=EXAMPLES, capture_output=True, check=True, timeout=30)
    assert json.loads(done.stdout)["faces"] == shown["faces"]


def test_the_same_request_in_python_and_javascript(page: Any, tmp_path: Path) -> None:
    choose(page, ASTRONAUT)
    page.get_by_text("More options").click()
    with page.expect_response("**/predict?*max_faces=3*"):
        page.get_by_label("Maximum number of faces").fill("3")
        page.keyboard.press("Enter")
    page.locator("#ages").fill("18, 21")
    page.keyboard.press("Enter")
    expect(page.locator(".at-least li")).to_have_count(2)
    page.get_by_role("button", name="Python", exact=True).click()
    written = page.get_by_label("Command").inner_text()
    assert "at_least=[18, 21], max_faces=3" in written
    expect(page.locator(".code-panel")).to_contain_text("Go, Java, Kotlin, Swift and Dart")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "clients/python/src")}
    done = subprocess.run(
        [sys.executable, "-c", written], cwd=EXAMPLES, env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"at_least={" in done.stdout

    page.get_by_role("button", name="JavaScript", exact=True).click()
    written = page.get_by_label("Command").inner_text()
    assert "atLeast: [18, 21], maxFaces: 3" in written
    if shutil.which("node") is None:
        pytest.skip("Node is not installed: its program was shown, but not run")
    package = tmp_path / "node_modules/facet-client"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "exports": "./facet.js"}')
    shutil.copy(ROOT / "service/web/static/facet.js", package)
    shutil.copy(ASTRONAUT, tmp_path)
    (tmp_path / "faces.mjs").write_text(written)
    done = subprocess.run(["node", "faces.mjs"], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"at_least" in done.stdout


def test_a_photo_that_is_no_file_can_be_saved_for_the_command(page: Any, tmp_path: Path) -> None:
    page.get_by_role("button", name="Eileen Collins").click()
    page.get_by_role("button", name="curl").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save astronaut.jpg").click()
    saved.value.save_as(tmp_path / saved.value.suggested_filename)
    assert (tmp_path / "astronaut.jpg").read_bytes() == (ROOT / "service/web/static/examples/astronaut.jpg").read_bytes()
    choose(page, ASTRONAUT)
    expect(page.locator("#tiles li")).to_have_count(2)
    page.get_by_role("button", name="curl").click()
    expect(page.get_by_label("Command")).to_be_visible()
    expect(page.get_by_role("button", name="Save astronaut.jpg")).to_have_count(0)


@pytest.mark.parametrize("name", ["it's, a; photo.jpg", 'with "quotes".jpg', "-o evil.jpg", "$HOME `id`.jpg"])
def test_no_file_name_breaks_the_command(page: Any, tmp_path: Path, name: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / name).write_bytes(ASTRONAUT.read_bytes())
    choose(page, tmp_path / name)
    page.get_by_role("button", name="curl").click()
    command = page.get_by_label("Command").inner_text()
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True, timeout=30)
    assert len(json.loads(done.stdout)["faces"]) == 1


SLOW_SECOND = """() => {
    const own = Image.prototype.decode;
    let decoded = 0;
    Image.prototype.decode = async function () {
        if (++decoded === 2) await new Promise((resolve) => (window.go = resolve));
        return own.call(this);
    };
}"""
"""The second picture from now on is decoded when the test says so."""


def test_of_a_photo_that_is_turned_twice_the_last_picture_is_shown(page: Any) -> None:
    choose(page, EXAMPLES / "lieu.jpg")
    turn = page.get_by_role("button", name="Turn", exact=True).element_handle()
    page.evaluate(SLOW_SECOND)
    turn.evaluate("button => button.click()")
    until(page, lambda: page.evaluate("'go' in window"))
    turn.evaluate("button => button.click()")
    upright = page.locator("#result canvas").first
    expect(page.locator(".caption .file")).to_have_text("lieu-turned.jpg")
    page.evaluate("go()")
    page.wait_for_timeout(500)
    assert upright.evaluate("canvas => canvas.height > canvas.width")


def test_what_is_uncertain_is_shown_as_such(page: Any) -> None:
    choose(page, ASTRONAUT)
    race = page.locator(".attribute", has=page.get_by_role("heading", name="Race"))
    expect(race.locator(".badge")).to_have_text("uncertain")
    expect(race.locator(".label")).to_have_text(re.compile(r"^\w+ \d+% or \w+ \d+%"))
    gender = page.locator(".attribute", has=page.get_by_role("heading", name="Gender"))
    expect(gender.locator(".badge")).to_have_count(0)


def test_warnings_come_in_plain_words(page: Any, tmp_path: Path) -> None:
    with Image.open(ASTRONAUT) as photo:
        photo.point(lambda value: value // 8).save(tmp_path / "night.png")
    choose(page, tmp_path / "night.png")
    expect(page.locator(".warnings")).to_contain_text("The face is dark")


# Switches and keys ----------------------------------------------------------------------------------------------------


def test_what_the_viewer_switches_off_is_neither_shown_nor_asked_for(page: Any) -> None:
    choose(page, ASTRONAUT)
    card = page.get_by_role("article", name="Face 1")
    expect(card.get_by_role("heading", name="Race")).to_be_visible()
    page.get_by_role("checkbox", name="Race").uncheck()
    expect(card.get_by_role("heading", name="Race")).to_have_count(0)
    assert "race" not in page.get_by_role("button", name="Face 1").get_attribute("aria-label")
    with page.expect_request("**/predict?*") as asked:
        choose(page, EXAMPLES / "obama.jpg")
    assert "attributes=age%2Cgender" in asked.value.url
    expect(page.get_by_text("obama.jpg")).to_be_visible()
    with page.expect_request("**/predict?*") as again:
        page.get_by_role("checkbox", name="Race").check()
    assert "attributes" not in again.value.url
    expect(page.get_by_role("heading", name="Race")).to_be_visible()


def test_what_the_operator_switches_off_cannot_be_switched_on(browser: Any, tmp_path: Path) -> None:
    with faces(tmp_path / "log", FACET_ATTRIBUTES="age") as service, watched(browser) as page:
        page.goto(service.url)
        expect(page.locator("#served")).to_contain_text("fake")
        choose(page, ASTRONAUT)
        expect(page.get_by_role("img", name="Age about")).to_be_visible()
        expect(page.get_by_role("heading", name="Gender")).to_have_count(0)
        for name in ("Gender", "Race"):
            expect(page.get_by_role("checkbox", name=name)).to_be_disabled()


def test_a_key_is_asked_for_and_kept_in_this_tab_alone(browser: Any, tmp_path: Path) -> None:
    with faces(tmp_path / "log", FACET_API_KEYS="right") as service, watched(browser) as page:
        page.goto(service.url)
        dialog = page.get_by_role("dialog", name="This service needs an API key")
        expect(dialog).to_be_visible()
        dialog.get_by_role("button", name="Cancel").click()
        choose(page, ASTRONAUT)
        expect(dialog).to_be_visible()
        page.locator("#key").fill("wrong")
        page.keyboard.press("Enter")
        again = page.get_by_role("dialog", name="That key isn't valid")
        expect(again).to_be_visible()
        page.locator("#key").fill("right")
        again.get_by_role("button", name="Use key").click()
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()
        page.get_by_role("button", name="curl").click()
        expect(page.get_by_label("Command")).to_contain_text('-H "X-API-Key: $FACET_KEY"')
        page.get_by_role("button", name="Python", exact=True).click()
        expect(page.get_by_label("Command")).to_contain_text('key=os.environ["FACET_KEY"]')
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.reload()
        expect(page.locator("#served")).to_contain_text("fake")
        expect(dialog).to_be_hidden()


def test_a_refusal_of_no_key_that_comes_late_says_nothing_of_the_key(page: Any) -> None:
    held: list[Any] = []

    def hold_first(route: Any) -> None:
        held.append(route)

    page.route("**/predict*", hold_first, times=1)
    choose(page, ASTRONAUT)
    until(page, lambda: bool(held))
    page.evaluate("document.getElementById('change-key').click()")
    page.locator("#key").fill("right")
    page.keyboard.press("Enter")
    expect(page.locator("#change-key")).to_be_visible()
    held[0].fulfill(status=401, json={"status": 401, "code": "unauthenticated", "detail": ""})
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_service_that_goes_away_is_said_and_its_return_noticed(page: Any) -> None:
    expect(page.locator("#served")).to_contain_text("fake")
    page.context.set_offline(True)
    choose(page, ASTRONAUT)
    expect(page.get_by_role("alert")).to_contain_text("You are offline")
    expect(page.locator("#banner")).to_contain_text("You are offline")
    page.context.set_offline(False)
    expect(page.get_by_role("article", name="Face 1")).to_be_visible()
    expect(page.locator("#banner")).to_be_hidden()


def test_a_service_that_starts_late_or_comes_back_otherwise_is_asked_what_it_answers(browser: Any, service: Service) -> None:
    with watched(browser) as page:
        page.clock.install()
        page.route("**/model", lambda route: route.fulfill(status=502, content_type="text/html", body="<p>"))
        page.goto(service.url)
        expect(page.locator("#banner")).to_contain_text("The service can't be reached")
        page.unroute("**/model")
        page.clock.fast_forward(6000)
        expect(page.locator("#served")).to_contain_text("fake")
        expect(page.locator("#banner")).to_be_hidden()

        def younger(route: Any) -> None:
            card = route.fetch().json()
            card["serving"]["attributes"] = ["age"]
            route.fulfill(json=card)

        page.route("**/model", younger)
        page.context.set_offline(True)
        choose(page, ASTRONAUT)
        expect(page.locator("#banner")).to_contain_text("You are offline")
        page.context.set_offline(False)
        expect(page.get_by_role("checkbox", name="Race")).to_be_disabled()


def test_a_photo_that_is_answered_pulls_nobody_up_to_its_tile(browser: Any, service: Service) -> None:
    with watched(browser, viewport={"width": 600, "height": 400}) as page:
        page.goto(service.url)
        choose(page, ASTRONAUT, EXAMPLES / "obama.jpg")
        expect(page.locator("#progress")).to_have_text("2 faces in 2 photos")
        held = hold(page, "**/predict*")
        page.locator("#ages").fill("18")
        page.keyboard.press("Enter")
        first = held()
        footer = page.locator("footer")
        footer.scroll_into_view_if_needed()
        first.continue_()
        page.unroute("**/predict*")
        expect(page.locator(".at-least li")).to_have_count(1)
        expect(page.locator("#tiles")).not_to_be_in_viewport()


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("body_too_large", 413, "This file is too large"),
        ("image_too_large", 422, "This photo has too many pixels"),
        ("queue_full", 503, "The service is busy"),
        ("rate_limited", 429, "That was a lot of photos"),
        ("internal_error", 500, "The service failed"),
        ("from_the_future", 418, "Something went wrong"),
    ],
)
def test_every_failure_has_its_words(page: Any, code: str, status: int, said: str) -> None:
    problem = {"type": "t", "title": "T", "status": status, "detail": "Its own sentence.", "code": code, "request_id": "r"}
    page.route(
        "**/predict*",
        lambda route: route.fulfill(
            status=status, headers={"Retry-After": "60"}, content_type="application/problem+json", body=json.dumps(problem)
        ),
    )
    choose(page, ASTRONAUT)
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_role("alert")).to_contain_text("Its own sentence.")
    again = page.get_by_role("alert").get_by_role("button", name="Try again")
    if status in (413, 422):
        expect(again).to_have_count(0)
    else:
        page.unroute("**/predict*")
        again.click()
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (204, "The reply can't be read"),
        (403, "The request was blocked on its way"),
        (413, "This file is too large"),
        (502, "The service can't be reached"),
    ],
)
def test_an_answer_of_something_before_the_service_has_words_too(page: Any, status: int, said: str) -> None:
    page.route(
        "**/predict*", lambda route: route.fulfill(status=status, content_type="text/html", body="" if status == 204 else "<p>")
    )
    choose(page, ASTRONAUT)
    expect(page.get_by_role("alert")).to_contain_text(said)


def test_a_photo_under_which_the_service_goes_away_is_not_sent_for_ever(browser: Any, service: Service) -> None:
    sent: list[Any] = []

    def broken(route: Any) -> None:
        sent.append(route)
        route.abort("connectionreset")

    with watched(browser) as page:
        page.clock.install()
        page.goto(service.url)
        expect(page.locator("#served")).to_contain_text("fake")
        page.route("**/predict*", broken)
        choose(page, ASTRONAUT)
        for number in range(1, 7):
            until(page, lambda number=number: len(sent) >= min(number, 4))
            expect(page.get_by_role("alert")).to_contain_text("The service can't be reached")
            page.clock.fast_forward(6000)
            expect(page.locator("#banner")).to_be_hidden()
        assert len(sent) == 4
        page.unroute("**/predict*")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("article", name="Face 1")).to_be_visible()


def test_an_empty_file_is_called_empty(page: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    choose(page, tmp_path / "empty.jpg")
    expect(page.get_by_role("alert")).to_contain_text("This file is empty")
    expect(page.get_by_role("alert")).to_contain_text("empty.jpg")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)


def test_a_file_that_is_gone_is_no_lost_connection(page: Any, tmp_path: Path) -> None:
    copy = tmp_path / "moved.jpg"
    copy.write_bytes(ASTRONAUT.read_bytes())
    page.route("**/predict*", lambda route: route.fulfill(status=500, body="{}"))
    choose(page, copy)
    again = page.get_by_role("alert").get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    copy.unlink()
    page.unroute("**/predict*")
    again.click()
    expect(page.get_by_role("alert")).to_contain_text("This can't be opened")
    expect(page.locator("#banner")).to_be_hidden()


# The model ------------------------------------------------------------------------------------------------------------


def test_a_model_that_took_anothers_place_is_named(page: Any) -> None:
    page.route("**/model", lambda route: route.fulfill(json=route.fetch().json() | {"version": 2}))
    page.reload()
    expect(page.locator("#served")).to_contain_text("fake/2")
    page.unroute("**/model")
    choose(page, ASTRONAUT)
    expect(page.locator("#served")).to_contain_text("fake/3")


def test_the_view_of_the_model_says_what_it_is_and_how_good(page: Any) -> None:
    served = [one for one in ModelStore(ROOT / "model_store").manifests() if one.name == Settings().model][-1]
    folder = ROOT / "model_store" / served.name / str(served.version)
    card = served.model_dump(mode="json") | {"evaluation": json.loads((folder / EVALUATION).read_text())}
    serving = {"attributes": ["age", "gender", "race"], "facet": "9.9", "runtime": "openvino", "precision": "bf16"}
    answer = {**card, "digest": "0", "serving": {**serving, "detector": {"name": "mtcnn", "version": 1}}}
    page.route("**/model", lambda route: route.fulfill(json=answer))
    page.reload()
    page.get_by_role("link", name="Model", exact=True).click()
    view = page.locator("#model")
    expect(view).to_contain_text(f"{served.name}, version {served.version}")
    expect(view).to_contain_text("UTKFace")
    expect(view).to_contain_text(f"{card['evaluation']['headline']['age_mae']:.1f} years")
    rows = sum(len(group) for group in card["evaluation"]["groups"].values())
    expect(view.locator("tbody tr")).to_have_count(rows)


def test_a_model_that_says_nothing_of_its_quality_is_shown_all_the_same(page: Any) -> None:
    page.get_by_role("link", name="Model", exact=True).click()
    expect(page.locator("#model")).to_contain_text("fake, version 3")
    expect(page.get_by_role("heading", name="How accurate it is")).to_have_count(0)


# The client, in a browser ---------------------------------------------------------------------------------------------


def test_the_client_in_a_browser(page: Any) -> None:
    answer = page.evaluate(
        """async () => {
            const { Facet, FacetError } = await import(new URL('page/facet.js', document.baseURI));
            const facet = new Facet();
            const photo = await (await fetch('page/examples/astronaut.jpg')).blob();
            const batch = await facet.predictBatch([photo, new Blob(['text'])], { attributes: ['age'] });
            const refused = await facet.predict(new Blob(['text'])).catch((error) => error);
            const { status } = await facet.health();
            return [batch.results.map(({ status }) => status), refused instanceof FacetError && refused.code, status];
        }"""
    )
    assert answer == [[200, 415], "unsupported_format", "ok"]
