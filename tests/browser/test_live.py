"""The live view in a real browser, whose camera plays a film of a face: against the service, and against what may go wrong."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import until, watched
from tests.browser.test_photos import EXAMPLES
from tests.service.server.test_serve import Service

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
READY = {
    "type": "ready",
    "protocol": 1,
    "model": {"name": "fake", "version": 3},
    "max_frame_bytes": 1_000_000,
    "max_fps": 50,
    "idle_timeout_s": 30,
    "max_duration_s": 3600,
}


@pytest.fixture
def page(browser: Any, service: Service) -> Iterator[Any]:
    with watched(browser, permissions=["camera"], viewport={"width": 1280, "height": 860}) as opened:
        opened.goto(service.url + "#live")
        yield opened


def start(page: Any) -> None:
    page.get_by_role("button", name="Start camera").click()


def frame(number: int, *faces: dict[str, Any], next_in_ms: int = 0) -> str:
    message = {"type": "frame", "frame": number, "image": {"width": 640, "height": 480}, "faces": faces}
    return json.dumps({**message, "dropped": 0, "next_in_ms": next_in_ms, "timing_ms": {"total": 5}})


def face(identity: int, x: int, **more: Any) -> dict[str, Any]:
    quality = {"size_px": 120, "sharpness": 12, "brightness": 0.5, "roll": 0, "yaw": 0, "noise": 0.4, "contrast": 0.2}
    known = {"confidence": 0.99, "quality": quality, "warnings": [], "frames": 4, "answers": 3, "age_of_track_ms": 900}
    return {"id": identity, "box": {"x": x, "y": 100, "width": 100, "height": 120}, **known, **more}


def talking(page: Any, answer: Callable[[Any, int], None]) -> list[tuple[float, int, bytes]]:
    """Answer the page's stream in place of the service; what it sent: when, the frame's number, the photo."""
    sent: list[tuple[float, int, bytes]] = []

    def connected(socket: Any) -> None:
        def heard(message: str | bytes) -> None:
            if isinstance(message, str):
                assert json.loads(message)["type"] == "start"
                socket.send(json.dumps(READY))
                return
            number = int.from_bytes(message[:8], "big")
            sent.append((time.monotonic(), number, message[8:]))
            answer(socket, number)

        socket.on_message(heard)

    page.route_web_socket("**/stream", connected)
    page.reload()  # pages that are loaded from now on are routed
    return sent


# With the service -----------------------------------------------------------------------------------------------------


def test_a_face_before_the_camera_keeps_its_number(page: Any) -> None:
    start(page)
    box = page.locator("#live .box")
    expect(box).to_have_count(1)
    expect(page.get_by_role("img", name="Age about")).to_be_visible()
    identity = box.get_attribute("data-track")
    seen, places = set(), set()
    for _ in range(20):
        seen.update(one.get_attribute("data-track") for one in box.all())
        places.add(round(box.bounding_box()["x"]))
        page.wait_for_timeout(150)
    assert seen == {identity}
    assert len(places) > 3  # it moves, and the box with it
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="The camera is off")).to_be_visible()
    expect(box).to_have_count(0)
    start(page)
    expect(box).to_have_count(1)


def test_whoever_hears_the_page_hears_of_the_camera_and_keeps_the_place(page: Any) -> None:
    page.get_by_role("button", name="Start camera").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#live .box")).to_have_count(1)
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="The camera is off")).to_be_visible()
    expect(page.get_by_role("button", name="Start camera")).to_be_focused()


@pytest.fixture(scope="module")
def short_film(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """Three seconds of two faces, as WebM."""
    av = pytest.importorskip("av")
    path: Path = tmp_path_factory.mktemp("film") / "two.webm"
    with Image.open(examples / "astronaut.jpg") as photo, av.open(path, "w") as container:
        portrait = photo.convert("RGB").resize((360, 360))
        video = container.add_stream("libvpx", rate=10)
        video.width, video.height, video.pix_fmt = 800, 360, "yuv420p"
        for step in range(30):
            frame = Image.new("RGB", (800, 360), "#8a8f98")
            frame.paste(portrait, (step, 0))
            frame.paste(portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (430, 0))
            container.mux(video.encode(av.VideoFrame.from_image(frame)))
        container.mux(video.encode(None))
    return path


def test_a_video_file_is_followed_to_its_end(browser: Any, service: Service, short_film: Path) -> None:
    with watched(browser, viewport={"width": 1280, "height": 860}) as page:
        page.goto(service.url + "#live")
        page.set_input_files("#film", short_film)
        expect(page.locator("#live .box")).to_have_count(2)
        expect(page.get_by_role("heading", name="The video has ended")).to_be_visible()
        expect(page.locator("#live .box")).to_have_count(0)
        cards = page.locator(".live-card")
        expect(cards).to_have_count(2)  # they stay to be read
        expect(cards.first).to_contain_text("Apparent age")
        expect(page.get_by_role("button", name="Choose a video")).to_be_visible()
        page.set_input_files("#film", {"name": "letter.mp4", "mimeType": "video/mp4", "buffer": b"no film"})
        expect(page.get_by_role("heading", name="This video can't be played")).to_be_visible()
        expect(cards).to_have_count(0)


def test_a_video_goes_on_when_its_page_is_looked_at_again(browser: Any, service: Service, short_film: Path) -> None:
    """A page in the background sends nothing, until the service ends its stream."""
    hide = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); "
    hide += "document.dispatchEvent(new Event('visibilitychange')); }"
    sockets: list[Any] = []

    def answer(socket: Any, number: int) -> None:
        if socket not in sockets:
            sockets.append(socket)
        socket.send(frame(number, face(len(sockets), 100), next_in_ms=100))

    with watched(browser) as page:
        page.goto(service.url + "#live")
        talking(page, answer)
        page.set_input_files("#film", short_film)
        expect(page.locator("[data-track='1']")).to_be_visible()
        page.evaluate(hide, True)
        page.wait_for_timeout(500)
        sockets[0].close(code=4001, reason="")
        page.wait_for_timeout(1500)
        page.evaluate(hide, False)
        expect(page.locator("[data-track='2']")).to_be_visible()


def test_a_video_that_breaks_off_is_said_to(browser: Any, service: Service, short_film: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.webm"
    broken.write_bytes(short_film.read_bytes()[: short_film.stat().st_size // 2])
    with watched(browser) as page:
        page.goto(service.url + "#live")
        page.set_input_files("#film", broken)
        expect(page.get_by_role("heading", name="This video can't be played")).to_be_visible()


def test_a_video_that_is_dropped_among_the_photos_is_followed(browser: Any, service: Service, short_film: Path) -> None:
    with watched(browser) as page:
        page.goto(service.url)
        page.set_input_files("#files", short_film)
        expect(page.locator("#live .box")).to_have_count(2)
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_role("heading", name="Stopped")).to_be_visible()


def test_photos_that_come_with_a_video_are_answered_too(browser: Any, service: Service, short_film: Path) -> None:
    with watched(browser) as page:
        page.goto(service.url)
        page.set_input_files("#files", [short_film, EXAMPLES / "astronaut.jpg"])
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#live .box")).to_have_count(2)
        page.get_by_role("link", name="Photos", exact=True).click()
        expect(page.locator("#tiles button")).to_have_attribute("aria-label", "astronaut.jpg: 1 face")


def test_of_several_videos_the_first_is_followed_and_the_page_says_so(
    browser: Any, service: Service, short_film: Path, tmp_path: Path
) -> None:
    (tmp_path / "second.webm").write_bytes(short_film.read_bytes())
    with watched(browser) as page:
        page.goto(service.url)
        page.set_input_files("#files", [short_film, tmp_path / "second.webm"])
        expect(page.locator("#banner")).to_have_text("Videos play one at a time. The rest were left out.")


def test_the_live_view_is_recorded_with_its_boxes(page: Any, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    start(page)
    expect(page.locator("#live .box")).to_have_count(1)
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2500)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save recording").click()
    assert saved.value.suggested_filename == "facet-live.webm"
    saved.value.save_as(tmp_path / "live.webm")
    with av.open(tmp_path / "live.webm") as container:
        frames = deque(container.decode(video=0), maxlen=3)
        assert len(frames) == 3
        pixels = frames[-1].to_ndarray(format="rgb24").astype(int)
    assert pixels.shape[:2] == (480, 640)
    red, green, blue = np.moveaxis(pixels, 2, 0)
    box = (red - blue > 100) & (abs(green - 65) < 40)  # the colour of the first track
    assert box.sum() > 300
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_visible()


def test_cards_of_a_crowd_are_one_line_each(page: Any) -> None:
    age = {"years": 41.3, "low": 33, "high": 50, "coverage": 0.8}
    crowd = [face(number, 120 * number - 100, age=age) for number in range(1, 5)]
    talking(page, lambda socket, number: socket.send(frame(number, *crowd, next_in_ms=100)))
    start(page)
    cards = page.locator(".live-card")
    expect(cards).to_have_count(4)
    expect(cards.locator("details[open]")).to_have_count(2)
    expect(cards.last).to_contain_text("41")
    last = cards.last.locator("summary")
    last.click()
    expect(cards.last.get_by_role("img", name="Age about")).to_be_visible()
    page.wait_for_timeout(400)
    expect(last).to_be_focused()  # it is the same one, though frames went by


# With what may go wrong -----------------------------------------------------------------------------------------------


def test_boxes_are_drawn_where_the_viewer_sees_the_faces_and_cards_follow(page: Any) -> None:
    age = {"years": 41.3, "low": 33, "high": 50, "coverage": 0.8}
    race = {
        "label": "indian",
        "confidence": 0.4,
        "uncertain": True,
        "probabilities": {"white": 0.25, "indian": 0.4, "other": 0.35},
    }

    def answer(socket: Any, number: int) -> None:
        both = [face(7, 40, age=age, race=race), face(9, 400)]
        socket.send(frame(number, *(both if number < 25 else both[:1]), next_in_ms=60))

    sent = talking(page, answer)
    start(page)
    first = page.locator("[data-track='7']")
    expect(first).to_contain_text("41")
    expect(page.locator(".live-card")).to_have_count(2)
    expect(page.get_by_role("article", name="Face 7")).to_contain_text("Indian 40% or other 35%")
    expect(page.get_by_role("article", name="Face 9")).to_contain_text("processing")
    page.wait_for_timeout(400)  # boxes glide
    box, stage = first.bounding_box(), page.locator(".live-stage").bounding_box()
    assert (box["x"] - stage["x"]) / stage["width"] == pytest.approx((640 - 40 - 100) / 640, abs=0.02)  # mirrored
    expect(page.locator("[data-track='9']")).to_have_count(0)
    expect(page.locator(".live-card")).to_have_count(1)
    assert sent[0][2][:3] == b"\xff\xd8\xff"
    assert [number for _, number, _ in sent] == list(range(1, len(sent) + 1))


def test_a_box_runs_ahead_of_an_answer_that_is_late(page: Any) -> None:
    pending: list[tuple[Any, int]] = []
    talking(page, lambda socket, number: pending.append((socket, number)))
    start(page)
    for step in range(6):
        until(page, lambda step=step: len(pending) > step)
        page.wait_for_timeout(150)
        socket, number = pending[step]
        socket.send(frame(number, face(1, 40 + 60 * step), face(2, 40)))
    page.wait_for_timeout(400)  # boxes glide
    stage = page.locator(".live-stage").bounding_box()

    def left(track: int) -> float:
        box = page.locator(f"[data-track='{track}']").bounding_box()
        return 640 * (1 - (box["x"] + box["width"] - stage["x"]) / stage["width"])  # pixels of the frame, mirrored back

    assert 340 + 10 < left(1) < 340 + 180  # seen at 340, and on its way
    assert left(2) == pytest.approx(40, abs=8)


def test_who_is_hidden_for_a_moment_keeps_the_card(page: Any) -> None:
    hidden = range(10, 16)
    talking(
        page, lambda socket, number: socket.send(frame(number, *([] if number in hidden else [face(1, 100)]), next_in_ms=150))
    )
    start(page)
    card = page.locator(".live-card")
    expect(page.locator("#live .box")).to_have_count(1)
    expect(page.locator(".live-card.away")).to_have_count(1)
    expect(page.locator("#live .box")).to_have_count(0)
    expect(page.locator(".live-card:not(.away)")).to_have_count(1)
    expect(card).to_have_count(1)
    expect(page.locator("#live .box")).to_have_count(1)


def test_the_page_waits_for_each_answer_and_for_as_long_as_it_is_told(page: Any) -> None:
    pending: list[tuple[Any, int]] = []
    sent = talking(page, lambda socket, number: pending.append((socket, number)))
    start(page)
    until(page, lambda: len(pending) == 1)
    page.wait_for_timeout(800)
    assert len(sent) == 1  # nothing queues while an answer is due
    socket, number = pending[0]
    answered = time.monotonic()
    socket.send(frame(number, next_in_ms=1500))
    until(page, lambda: len(sent) == 2)
    assert sent[1][0] - answered >= 1.4


def test_a_bad_frame_does_not_end_the_stream(page: Any) -> None:
    def answer(socket: Any, number: int) -> None:
        problem = {"type": "problem", "frame": number, "code": "corrupt_image", "title": "T", "status": 422, "detail": "D."}
        socket.send(json.dumps(problem) if number == 1 else frame(number, face(1, 100), next_in_ms=100))

    talking(page, answer)
    start(page)
    expect(page.locator("#live .box")).to_have_count(1)


@pytest.mark.parametrize(
    ("code", "close", "said"),
    [
        ("too_many_streams", 1013, "The service is busy"),
        (None, 4001, "The live view has ended"),
        (None, 1009, "This file is too large"),
    ],
)
def test_the_end_of_a_stream_is_explained(page: Any, code: str | None, close: int, said: str) -> None:
    def answer(socket: Any, number: int) -> None:
        if code is not None:
            socket.send(json.dumps({"type": "problem", "code": code, "title": "T", "status": 503, "detail": "D."}))
        socket.close(code=close, reason="")

    talking(page, answer)
    start(page)
    expect(page.locator(".live-message")).to_contain_text(said)
    expect(page.get_by_role("button", name="Start camera")).to_be_visible()
    assert page.evaluate("document.querySelector('#live video').srcObject") is None


@pytest.mark.parametrize(("code", "close"), [("stream_over", 4000), ("not_ready", 1001)])
def test_a_stream_that_may_be_opened_again_is(page: Any, code: str, close: int) -> None:
    ended: list[int] = []

    def answer(socket: Any, number: int) -> None:
        if ended:
            socket.send(frame(number, face(1, 100), next_in_ms=100))
            return
        ended.append(number)
        socket.send(json.dumps({"type": "problem", "code": code, "title": "T", "status": 503, "detail": "D."}))
        socket.close(code=close, reason="")

    talking(page, answer)
    start(page)
    expect(page.locator("#live .box")).to_have_count(1)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.get_by_role("button", name="Snapshot").click()
    expect(page.get_by_role("status").filter(has_text="in your photos")).to_be_visible()
    expect(page.locator("#tiles li")).to_have_count(1)


def test_what_is_said_of_a_lost_connection_can_be_read_over_the_camera(page: Any) -> None:
    opened: list[int] = []

    def answer(socket: Any, number: int) -> None:
        if opened:
            socket.close(code=1001, reason="")
            return
        opened.append(number)
        socket.send(frame(number, face(1, 100)))

    talking(page, answer)
    start(page)
    message = page.locator(".live-message")
    expect(message).to_contain_text("Reconnecting")
    assert page.evaluate("document.querySelector('#live video').srcObject.active")
    *_, opacity = message.evaluate("message => getComputedStyle(message).backgroundColor").rstrip(")").split(",")
    assert float(opacity) >= 0.7


def test_a_key_that_the_stream_wants_is_asked_for(page: Any) -> None:
    talking(page, lambda socket, number: socket.close(code=1008, reason=""))
    start(page)
    expect(page.get_by_role("dialog", name="This service needs an API key")).to_be_visible()


def test_a_stream_that_does_not_open_is_explained(page: Any) -> None:
    page.route_web_socket("**/stream", lambda socket: socket.close(code=1011))
    page.reload()
    start(page)
    expect(page.locator(".live-message")).to_contain_text("The service failed")


def test_leaving_the_view_lets_go_of_the_camera(page: Any) -> None:
    talking(page, lambda socket, number: socket.send(frame(number, face(1, 100), next_in_ms=100)))
    start(page)
    expect(page.locator("#live .box")).to_have_count(1)
    track = page.evaluate_handle("document.querySelector('#live video').srcObject.getTracks()[0]")
    page.get_by_role("link", name="Photos", exact=True).click()
    expect(page.locator("#live")).to_be_hidden()
    assert track.evaluate("track => track.readyState") == "ended"


LISTENERS = """
window.listeners = 0;
for (const [name, step] of [['addEventListener', 1], ['removeEventListener', -1]]) {
  AbortSignal.prototype[name] = function (...given) {
    window.listeners += step;
    return EventTarget.prototype[name].apply(this, given);
  };
}
"""
"""Counts those that wait for an abort."""


def test_a_view_that_is_open_for_hours_holds_no_more_than_at_first(page: Any) -> None:
    page.add_init_script(LISTENERS)
    page.reload()
    start(page)
    expect(page.locator("#live .box")).to_have_count(1)
    before = page.evaluate("listeners")
    page.wait_for_timeout(2500)
    assert page.evaluate("listeners") <= before + 3


def test_a_word_of_a_card_can_be_pressed_and_keeps_the_focus_while_frames_come(page: Any) -> None:
    def answer(socket: Any, number: int) -> None:
        age = {"years": 30 + number % 9, "low": 25, "high": 40 + number % 3, "coverage": 0.8}
        shares = {"female": 0.6, "male": 0.4} if number % 2 else {"male": 0.6, "female": 0.4}
        gender = {"label": max(shares, key=shares.__getitem__), "confidence": 0.6, "uncertain": number % 3 == 0}
        socket.send(frame(number, face(1, 100, age=age, gender={**gender, "probabilities": shares}), next_in_ms=30))

    sent = talking(page, answer)
    start(page)
    word = page.get_by_role("button", name="Apparent age")
    box = word.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    many = len(sent) + 6
    until(page, lambda: len(sent) >= many)
    page.mouse.up()
    expect(page.get_by_role("dialog", name="Apparent age")).to_be_visible()
    page.keyboard.press("Escape")
    expect(word).to_be_focused()
    page.keyboard.press("Tab")
    between = page.get_by_role("button", name="in 8 of 10 cases")
    expect(between).to_be_focused()
    years, labels = page.locator(".years"), page.locator(".live-card .label")
    expect(years).not_to_have_text(years.inner_text())
    expect(labels).to_have_text("Male")
    expect(labels).to_have_text("Female")
    expect(labels).to_contain_text("uncertain")
    expect(between).to_be_focused()


def test_a_camera_that_is_not_allowed(forbidding: Any, service: Service) -> None:
    with watched(forbidding) as page:
        page.goto(service.url + "#live")
        start(page)
        expect(page.locator(".live-message")).to_contain_text("The camera was blocked")


def test_no_camera_at_all(blind: Any, service: Service) -> None:
    with watched(blind, permissions=["camera"]) as page:
        page.goto(service.url + "#live")
        start(page)
        expect(page.locator(".live-message")).to_contain_text("No camera was found")


# With a camera that is slow to open --------------------------------------------------------------------------------------

SLOW_CAMERA = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.asked = [];
window.tracks = [];
navigator.mediaDevices.getUserMedia = async (wanted) => {
  await new Promise((resolve, reject) => window.asked.push({ resolve, reject }));
  const stream = await open(wanted);
  window.tracks.push(...stream.getTracks());
  return stream;
};
"""
"""Cameras open, or fail to, when the test says so; `tracks` has all of their tracks."""
TWO_CAMERAS = "navigator.mediaDevices.enumerateDevices = async () => [{ kind: 'videoinput' }, { kind: 'videoinput' }]"


def asked(page: Any, number: int) -> None:
    page.wait_for_function("number => window.asked.length === number", arg=number)


def filmed(page: Any) -> list[str]:
    states: list[str] = page.evaluate("window.tracks.map(({ readyState }) => readyState)")
    return states


@pytest.mark.parametrize("late", ["reject(new DOMException('No.', 'NotAllowedError'))", "resolve()"])
def test_a_camera_that_nobody_waits_for_any_more_takes_nothing_from_the_next(browser: Any, service: Service, late: str) -> None:
    with watched(browser, permissions=["camera"]) as page:
        page.add_init_script(SLOW_CAMERA)
        page.goto(service.url + "#live")
        start(page)
        asked(page, 1)
        page.get_by_role("link", name="Photos", exact=True).click()
        page.get_by_role("link", name="Live", exact=True).click()
        start(page)
        asked(page, 2)
        page.evaluate("asked[1].resolve()")
        expect(page.locator("#live .box")).to_have_count(1)
        page.evaluate(f"asked[0].{late}")
        page.wait_for_timeout(500)
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        expect(page.locator("#live .box")).to_have_count(1)
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("heading", name="The camera is off")).to_be_visible()
        assert set(filmed(page)) == {"ended"}


def test_the_other_camera_keeps_the_focus(browser: Any, service: Service) -> None:
    with watched(browser, permissions=["camera"]) as page:
        page.add_init_script(SLOW_CAMERA + TWO_CAMERAS)
        page.goto(service.url + "#live")
        start(page)
        asked(page, 1)
        page.evaluate("asked[0].resolve()")
        flip = page.get_by_role("button", name="Other camera")
        flip.focus()
        page.keyboard.press("Enter")
        asked(page, 2)
        expect(flip).to_be_hidden()
        page.evaluate("asked[1].resolve()")
        expect(flip).to_be_focused()


def test_the_other_camera_takes_the_focus_from_nothing_else(browser: Any, service: Service) -> None:
    with watched(browser, permissions=["camera"]) as page:
        page.add_init_script(SLOW_CAMERA + TWO_CAMERAS)
        page.goto(service.url + "#live")
        start(page)
        asked(page, 1)
        page.evaluate("asked[0].resolve()")
        page.get_by_role("button", name="Other camera").click()
        asked(page, 2)
        elsewhere = page.get_by_role("link", name="Live", exact=True)
        elsewhere.focus()
        page.evaluate("asked[1].resolve()")
        expect(page.locator("#live .box")).to_have_count(1)
        expect(elsewhere).to_be_focused()


def test_leaving_while_the_camera_starts_leaves_no_view_that_says_it_connects(browser: Any, service: Service) -> None:
    with watched(browser, permissions=["camera"]) as page:
        page.add_init_script(
            "const list = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);"
            "navigator.mediaDevices.enumerateDevices = () => new Promise((resolve) => (window.go = () => resolve(list())));"
        )
        page.goto(service.url + "#live")
        start(page)
        page.wait_for_function("() => window.go")
        page.get_by_role("link", name="Photos", exact=True).click()
        page.evaluate("go()")
        page.get_by_role("link", name="Live", exact=True).click()
        page.wait_for_timeout(300)
        expect(page.get_by_role("heading", name="The camera is off")).to_be_visible()
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_no_camera_of_the_dialog_stays_on(browser: Any, service: Service) -> None:
    with watched(browser, permissions=["camera"]) as page:
        page.add_init_script(SLOW_CAMERA)
        page.goto(service.url)
        page.get_by_role("button", name="Take a photo").click()
        asked(page, 1)
        flip = page.get_by_role("button", name="Other camera")
        flip.evaluate("flip => (flip.hidden = false)")  # as with two cameras
        flip.click()
        flip.click()
        asked(page, 3)
        page.evaluate("asked.forEach(({ resolve }) => resolve())")
        page.wait_for_function("() => window.tracks.length === 3")
        shoot = page.get_by_role("dialog").get_by_role("button", name="Take the photo")
        expect(shoot).to_be_enabled()
        assert filmed(page).count("live") == 1
        page.evaluate("tracks.find(({ readyState }) => readyState === 'live').dispatchEvent(new Event('ended'))")
        expect(page.get_by_role("dialog")).to_contain_text("The camera was disconnected.")
        expect(shoot).to_be_disabled()
        page.get_by_role("button", name="Close the camera").click()
        until(page, lambda: filmed(page) == ["ended"] * 3)
