"""`WS /stream` in one process: its start, its answers, its problems, its limits and its door."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from service import errors
from service.api.stream import CLOSE, UNSTARTED, close_code, pause, same_origin
from service.app import create_app
from service.errors import FacetError
from service.inference.engine import Engine
from service.inference.workers import Workers
from service.settings import Settings
from service.tracking.session import TrackingSession
from tests.client import assert_discreet, years
from tests.conftest import encoded
from tests.fakes import GLASSES, ColourNetwork, FailingNetwork, GatedNetwork, engine_factory, squares

PHOTO = encoded(squares((200, 100, 50)), "JPEG", quality=95)
PAIR = encoded(squares((200, 100, 50), (10, 250, 50)))
START = {"type": "start"}


@contextmanager
def service(engine: Callable[[Settings], Engine] | None = None, **settings: Any) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(**settings), engine or engine_factory())) as client:
        yield client


@contextmanager
def stream(client: TestClient, *, headers: dict[str, str] | None = None, **start: Any) -> Iterator[WebSocketTestSession]:
    """A stream that was started, with its `ready` read."""
    with client.websocket_connect("/stream", headers=headers or {}) as socket:
        socket.send_json(START | start)
        assert socket.receive_json()["type"] == "ready"
        yield socket


def numbered(number: int, photo: bytes = PHOTO) -> bytes:
    return number.to_bytes(8, "big") + photo


def ask(socket: WebSocketTestSession, number: int, photo: bytes = PHOTO) -> dict[str, Any]:
    socket.send_bytes(numbered(number, photo))
    return socket.receive_json()


def assert_problem(message: dict[str, Any], status: int, code: str, frame: int | None = None) -> None:
    assert (message["type"], message["status"], message["code"]) == ("problem", status, code)
    assert message.get("frame") == frame
    assert len(message["detail"]) > 10
    assert ("retry_after_s" in message) == (status in (429, 503, 504))
    assert_discreet(str(message))


def assert_ends(socket: WebSocketTestSession, status: int, code: str, close: int) -> None:
    """The next message is the problem that ends the stream, and then it is closed with this code."""
    assert_problem(socket.receive_json(), status, code)
    with pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_json()
    assert (closed.value.code, closed.value.reason) == (close, code)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# What it says -----------------------------------------------------------------------------------------------------------


def test_the_start_is_answered_with_what_a_stream_may_be() -> None:
    limits = {"stream_max_frame_kib": 64, "stream_max_fps": 12.5, "stream_idle_s": 7, "stream_duration_s": 60}
    with service(**limits) as client, client.websocket_connect("/stream") as socket:
        socket.send_json(START)
        assert socket.receive_json() == {
            "type": "ready",
            "protocol": 1,
            "model": {"name": "fake", "version": 3},
            "max_frame_bytes": 65536,
            "max_fps": 12.5,
            "idle_timeout_s": 7.0,
            "max_duration_s": 60.0,
        }


def test_a_frame_is_answered_with_its_faces() -> None:
    with service() as client, stream(client) as socket:
        photo = client.post("/predict", content=PAIR).json()
        first, second = ask(socket, 7, PAIR), ask(socket, 2**63, PAIR)
    assert (first["type"], first["frame"], second["frame"]) == ("frame", 7, 2**63)
    assert first["image"] == photo["image"]
    assert (first["dropped"], second["dropped"]) == (0, 0)
    assert set(first["timing_ms"]) == {"wait", "decode", "detect", "crop", "predict", "total"}
    for tracked, still in zip(first["faces"], photo["faces"], strict=True):
        assert {key: tracked[key] for key in ("box", "confidence", "quality", "warnings")} == {
            key: still[key] for key in ("box", "confidence", "quality", "warnings")
        }
        assert tracked["age"]["years"] == still["age"]["years"]
        assert tracked["age"]["low"] <= still["age"]["low"] <= still["age"]["high"] <= tracked["age"]["high"]
        for name in ("gender", "race"):
            assert tracked[name]["label"] == still[name]["label"]
            assert tracked[name]["probabilities"] == pytest.approx(still[name]["probabilities"], abs=1e-3)
    assert [face["id"] for face in first["faces"]] == [face["id"] for face in second["faces"]] == [1, 2]
    assert [face["frames"] for face in second["faces"]] == [2, 2]
    assert [face["answers"] for face in second["faces"]] == [1, 1], "too soon for a second look"
    assert all(face["age_of_track_ms"] == 0 for face in first["faces"])
    assert all(0 < face["age_of_track_ms"] < 10_000 for face in second["faces"])


def test_the_probability_of_being_so_old_is_that_of_the_track() -> None:
    with service() as client, stream(client, at_least=[21, 18]) as socket:
        first = ask(socket, 1)["faces"][0]["age"]["at_least"]
        second = ask(socket, 2)["faces"][0]["age"]["at_least"]
    assert list(first) == list(second) == ["18", "21"]
    assert 1 > second["18"] >= second["21"] > 0.9
    with service() as client, client.websocket_connect("/stream") as socket:
        socket.send_json(START | {"at_least": [0]})
        assert_ends(socket, 422, "invalid_parameter", close_code(errors.InvalidParameter("")))


def test_parameters_of_the_start_are_used() -> None:
    with service() as client, stream(client, attributes=["age"], max_faces=1, landmarks=True) as socket:
        (face,) = ask(socket, 1, encoded(squares((200, 100, 50), (10, 250, 50), side=40)))["faces"]
    assert "age" in face
    assert not {"gender", "race"} & set(face)
    assert set(face["landmarks"]) == {"left_eye", "right_eye", "nose", "mouth_left", "mouth_right"}


def test_every_attribute_of_a_model_may_be_named_at_once() -> None:
    others = [GLASSES | {"name": f"an_attribute_with_a_long_name_{n}", "outputs": [f"output_{n}"]} for n in range(90)]
    names = ["glasses", *(str(one["name"]) for one in others)]
    engine = engine_factory(ColourNetwork(("glasses",)), attributes=[GLASSES, *others])
    with service(engine) as client, stream(client, attributes=names) as socket:
        face = ask(socket, 1)["faces"][0]
    assert set(face["glasses"]["probabilities"]) == {"no", "yes"}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_formats_are_known_by_their_bytes(form: str) -> None:
    with service() as client, stream(client) as socket:
        assert len(ask(socket, 1, encoded(squares((200, 100, 50)), form))["faces"]) == 1


def test_a_picture_without_a_face_is_no_problem() -> None:
    with service() as client, stream(client) as socket:
        assert ask(socket, 1, encoded(squares()))["faces"] == []


def test_two_cameras_have_scenes_of_their_own() -> None:
    with service() as client, stream(client) as one, stream(client) as other:
        ask(one, 1, PAIR)
        assert [face["id"] for face in ask(other, 1)["faces"]] == [1]
        assert years(ask(other, 2)["faces"][0]) == pytest.approx(years(ask(one, 2, PAIR)["faces"][0]), abs=1)


# Late frames ------------------------------------------------------------------------------------------------------------


def test_of_frames_that_wait_only_the_newest_is_answered() -> None:
    dropped = metric("facet_stream_frames_total", outcome="dropped")
    with GatedNetwork() as network, service(engine_factory(network), stream_deadline_s=20) as client, stream(client) as socket:
        socket.send_bytes(numbered(1))
        assert network.entered.wait(10)
        for number in range(2, 8):
            socket.send_bytes(numbered(number))
        wait_until(lambda: metric("facet_stream_frames_total", outcome="dropped") == dropped + 5)
        network.gate.set()
        first, last = socket.receive_json(), socket.receive_json()
    assert [first["frame"], last["frame"]] == [1, 7]
    assert first["dropped"] + last["dropped"] == 5


def test_frames_that_come_faster_than_is_allowed_are_dropped() -> None:
    with service(stream_max_fps=5) as client, stream(client) as socket:
        began = time.monotonic()
        for number in range(30):
            socket.send_bytes(numbered(number))
            time.sleep(0.01)
        answers = [socket.receive_json()]
        while answers[-1]["frame"] < 29:
            answers.append(socket.receive_json())
        spent = time.monotonic() - began
    assert len(answers) <= 5 * spent + 1
    assert sum(answer["dropped"] for answer in answers) == 30 - len(answers)


def test_the_advice_keeps_a_client_within_the_rate() -> None:
    with service(stream_max_fps=20) as client, stream(client) as socket:
        answers = []
        for number in range(8):
            answers.append(ask(socket, number))
            time.sleep(answers[-1]["next_in_ms"] / 1000)
    assert [answer["dropped"] for answer in answers] == [0] * 8
    assert all(0 <= answer["next_in_ms"] <= 50 for answer in answers)


@pytest.mark.parametrize(
    ("spent", "rounds", "expected"), [(0.02, 0, 0.08), (0.1, 0, 0.0), (0.3, 0, 0.0), (0.02, 2, 0.14), (0.3, 1, 0.03)]
)
def test_a_camera_slows_down_where_photos_stand_in_line(spent: float, rounds: float, expected: float) -> None:
    assert pause(0.1, spent, 0.03, rounds) == pytest.approx(expected)


class CrowdedWorkers(Workers):
    """Five photos of others stand in line before each thread."""

    @property
    def rounds(self) -> float:
        return 5.0


def test_who_does_not_heed_the_advice_is_held_to_it() -> None:
    network = GatedNetwork()
    crowded = engine_factory(network, workers_of=CrowdedWorkers)
    with network, service(crowded, stream_max_fps=100) as client, stream(client) as socket:
        for number in range(4):
            socket.send_bytes(numbered(number))
            time.sleep(0.02)
        network.gate.set()
        first = socket.receive_json()
        began = time.monotonic()
        last = socket.receive_json()
        waited = time.monotonic() - began
    assert first["next_in_ms"] >= 250  # five frames of others, each of 50 ms and more
    assert waited >= 0.9 * first["next_in_ms"] / 1000
    assert (last["frame"], first["dropped"] + last["dropped"]) == (3, 2)


def test_a_frame_that_waits_too_long_is_a_problem_and_the_stream_goes_on() -> None:
    with GatedNetwork() as network, service(engine_factory(network), stream_deadline_s=0.3) as client, stream(client) as socket:
        assert_problem(ask(socket, 1), 504, "deadline_exceeded", frame=1)
        network.gate.set()
        assert ask(socket, 2)["frame"] == 2


def test_several_cameras_and_photos_share_the_batches() -> None:
    with GatedNetwork() as network, service(engine_factory(network), stream_deadline_s=20, workers=4) as client:
        with stream(client) as one, stream(client) as other:
            one.send_bytes(numbered(1))
            assert network.entered.wait(10)
            other.send_bytes(numbered(1))
            post = threading.Thread(target=client.post, args=("/predict",), kwargs={"content": PAIR})
            post.start()
            wait_until(lambda: client.app.state.engine.batcher.waiting == 3)  # type: ignore[attr-defined]
            network.gate.set()
            assert len(one.receive_json()["faces"]) == len(other.receive_json()["faces"]) == 1
            post.join(10)
        assert network.batches == [1, 4], "three faces, padded to four"


# Bad frames -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photo", "status", "code"),
    [
        (b"", 400, "empty_file"),
        (b"canary-7f3e", 415, "unsupported_format"),
        (PHOTO[: len(PHOTO) // 2], 422, "corrupt_image"),
        (encoded(squares((200, 100, 50), side=400, height=900)), 422, "image_too_large"),
    ],
)
def test_a_bad_frame_is_a_problem_and_the_stream_goes_on(photo: bytes, status: int, code: str) -> None:
    with service(stream_max_megapixels=0.3) as client, stream(client) as socket:
        assert_problem(ask(socket, 5, photo), status, code, frame=5)
        assert ask(socket, 6)["frame"] == 6


def test_a_network_that_fails_is_a_problem_of_its_frame() -> None:
    with service(engine_factory(FailingNetwork(ValueError("canary-7f3e")))) as client, stream(client) as socket:
        assert_problem(ask(socket, 1, encoded(squares((255, 10, 10)))), 500, "inference_failed", frame=1)
        assert ask(socket, 2, encoded(squares((60, 200, 120))))["frame"] == 2


# Ends -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message", ["", "no json", "[]", "{}", '{"type": "stop"}', '{"type": "start"', '"start"', '{"type": "start"}' + " " * 9000]
)
def test_a_start_that_is_none_ends_the_stream(message: str) -> None:
    with service() as client, client.websocket_connect("/stream") as socket:
        socket.send_text(message)
        assert_ends(socket, 400, "malformed_message", 1008)


@pytest.mark.parametrize(
    "start",
    [{"attributes": ["mood"]}, {"attributes": "age"}, {"max_faces": 0}, {"min_confidence": 2}, {"landmarks": "perhaps"}],
)
def test_a_parameter_out_of_range_ends_the_stream(start: dict[str, Any]) -> None:
    with service() as client, client.websocket_connect("/stream") as socket:
        socket.send_json(START | start)
        assert_ends(socket, 422, "invalid_parameter", 1008)


@pytest.mark.parametrize("name", ["max_faces", "min_confidence", "at_least"])
def test_true_is_no_number(name: str) -> None:
    with service() as client, client.websocket_connect("/stream") as socket:
        socket.send_json(START | {name: [True] if name == "at_least" else True})
        problem = socket.receive_json()
        assert_problem(problem, 422, "invalid_parameter")
        assert problem["detail"].startswith(name)
        assert problem["detail"].endswith("it has to be a number")


@pytest.mark.parametrize("name", ["attribute", "maxFaces", "distribution", "x" * 4000])
def test_a_start_with_a_field_that_is_not_known_ends_the_stream(name: str) -> None:
    with service() as client, client.websocket_connect("/stream") as socket:
        socket.send_json(START | {name: ["age"]})
        problem = socket.receive_json()
        assert_problem(problem, 422, "invalid_parameter")
        assert "attributes, key, landmarks" in problem["detail"]
        assert len(problem["detail"]) < 200


def test_an_attribute_that_is_switched_off_cannot_be_requested() -> None:
    with service(attributes=("age",)) as client, client.websocket_connect("/stream") as socket:
        socket.send_json(START | {"attributes": ["race"]})
        assert_ends(socket, 422, "invalid_parameter", 1008)


def test_a_frame_in_place_of_the_start_ends_the_stream() -> None:
    with service() as client, client.websocket_connect("/stream") as socket:
        socket.send_bytes(numbered(1))
        assert_ends(socket, 400, "malformed_message", 1008)


@pytest.mark.parametrize(
    "send",
    [
        lambda socket: socket.send_json(START),
        lambda socket: socket.send_bytes(b"1234567"),
        lambda socket: socket.send_bytes(PHOTO),  # without its number
    ],
)
def test_after_the_start_there_is_nothing_but_frames(send: Callable[[WebSocketTestSession], None]) -> None:
    with service() as client, stream(client) as socket:
        send(socket)
        assert_ends(socket, 400, "malformed_message", 1008)


def test_a_frame_that_is_too_large_ends_the_stream() -> None:
    with service(stream_max_frame_kib=16) as client, stream(client) as socket:
        assert_problem(ask(socket, 1, bytes(16384)), 415, "unsupported_format", frame=1)
        socket.send_bytes(numbered(2, bytes(16385)))
        assert_ends(socket, 413, "body_too_large", 1009)


def test_a_stream_does_not_last_for_ever() -> None:
    with service(stream_duration_s=0.3) as client, stream(client) as socket:
        assert ask(socket, 1)["frame"] == 1
        assert_ends(socket, 503, "stream_over", 4000)


def test_a_silent_stream_is_ended() -> None:
    with service(stream_idle_s=0.3) as client:
        with stream(client) as socket:
            assert ask(socket, 1)["frame"] == 1
            assert_ends(socket, 408, "stream_idle", 4001)
        with client.websocket_connect("/stream") as silent:
            assert_ends(silent, 408, "stream_idle", 4001)


def test_a_silent_stream_is_ended_while_it_waits_for_an_answer() -> None:
    with (
        GatedNetwork() as network,
        service(engine_factory(network), stream_idle_s=0.3, stream_deadline_s=9) as client,
        stream(client) as socket,
    ):
        socket.send_bytes(numbered(1))
        assert_ends(socket, 408, "stream_idle", 4001)
        network.gate.set()  # before the service closes, which would wait for the network


def test_there_are_no_more_streams_than_may_be_and_one_that_ends_makes_room() -> None:
    with service(max_streams=2) as client:
        with stream(client), stream(client):
            assert metric("facet_streams") == 2
            with client.websocket_connect("/stream") as socket:
                socket.send_json(START)
                assert_ends(socket, 503, "too_many_streams", 1013)
            assert client.post("/predict", content=PHOTO).status_code == 200
        wait_until(lambda: metric("facet_streams") == 0)
        with stream(client) as socket:
            assert ask(socket, 1)["frame"] == 1


def test_streams_can_be_switched_off() -> None:
    with service(max_streams=0) as client, client.websocket_connect("/stream") as socket:
        socket.send_json(START)
        assert_ends(socket, 503, "too_many_streams", 1013)


def test_connections_that_say_nothing_take_no_streams_place_and_keep_nobody_out() -> None:
    with service(max_streams=1) as client, ExitStack() as silent:
        first, *_ = [silent.enter_context(client.websocket_connect("/stream")) for _ in range(UNSTARTED)]
        with client.websocket_connect("/stream") as late:
            assert_ends(first, 503, "too_many_streams", 1013)
            late.send_json(START)
            assert late.receive_json()["type"] == "ready"


async def test_one_more_may_come_at_the_moment_at_which_the_time_of_those_that_say_nothing_is_over() -> None:
    """Their timers have fired, and their tasks have not noticed yet: to move one then is an error, of the newcomer's."""
    app = create_app(Settings(stream_idle_s=0.1), engine_factory())

    async def connected(*texts: str) -> list[Any]:
        came = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": one} for one in texts)]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return came.pop(0) if came else await asyncio.Future()

        async def send(message: Any) -> None:
            sent.append(message)

        await app({"type": "websocket", "path": "/stream", "query_string": b"", "headers": []}, receive, send)
        return [sent[1]["text"], sent[-1]["code"]]

    async with app.router.lifespan_context(app):
        silent = [asyncio.create_task(connected()) for _ in range(UNSTARTED)]
        await asyncio.sleep(0)
        time.sleep(0.15)  # noqa: ASYNC251 - so that all their timers fire in the loop's next turn
        await asyncio.sleep(0)
        late = asyncio.create_task(connected(json.dumps(START)))  # begins behind the timers, and before what they end
        assert {code for _, code in await asyncio.gather(*silent)} == {1013, 4001}
        assert json.loads((await late)[0])["type"] == "ready"


def test_a_draining_service_ends_its_streams_and_lets_none_in() -> None:
    with service() as client:
        with stream(client) as socket:
            assert ask(socket, 1)["frame"] == 1
            client.app.state.engine.drain()  # type: ignore[attr-defined]
            assert ask(socket, 2)["frame"] == 2, "what is open goes on until the drain delay is over"
            with client.websocket_connect("/stream") as late:
                assert_ends(late, 503, "not_ready", 1001)
            assert client.portal is not None
            client.portal.call(client.app.state.streams.close)  # type: ignore[attr-defined]
            assert_ends(socket, 503, "not_ready", 1001)
        assert metric("facet_streams") == 0


def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    with GatedNetwork() as network, service(engine_factory(network), stream_deadline_s=20) as client:
        with stream(client) as socket:
            socket.send_bytes(numbered(1))
            assert network.entered.wait(10)
        wait_until(lambda: metric("facet_streams") == 0)
        network.gate.set()
        assert client.post("/predict", content=PHOTO).status_code == 200


# The door ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        ({}, {"key": "right"}),
        ({"X-API-Key": "right"}, {}),
        ({"Authorization": "Bearer right"}, {}),
        ({"X-API-Key": "wrong"}, {"key": "right"}),
    ],
)
def test_a_key_opens(headers: dict[str, str], start: dict[str, str]) -> None:
    with service(api_keys="right,other") as client, stream(client, headers=headers, **start) as socket:
        assert ask(socket, 1)["frame"] == 1


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        *(({}, {}), ({}, {"key": ""}), ({}, {"key": "canary-7f3e"}), ({"X-API-Key": "wrong"}, {}), ({}, {"key": "schlüssel"})),
        ({}, {"model": "other"}),  # which models there are is told to nobody without one
    ],
)
def test_no_key_or_a_wrong_one_does_not(headers: dict[str, str], start: dict[str, str]) -> None:
    with service(api_keys="right") as client, client.websocket_connect("/stream", headers=headers) as socket:
        socket.send_json(START | start)
        assert_ends(socket, 401, "unauthenticated", 1008)


def test_a_key_in_the_address_is_none() -> None:
    with service(api_keys="right") as client, client.websocket_connect("/stream?key=right") as socket:
        socket.send_json(START)
        assert_ends(socket, 401, "unauthenticated", 1008)


def test_a_key_that_is_not_ascii_works() -> None:
    with service(api_keys="schlüssel") as client, stream(client, key="schlüssel") as socket:
        assert ask(socket, 1)["frame"] == 1


def test_a_stream_counts_once_towards_its_keys_rate() -> None:
    with service(api_keys="right", rate_limit=2) as client:
        with stream(client, key="right") as socket:
            assert [ask(socket, number)["frame"] for number in range(4)] == [0, 1, 2, 3]
        assert client.post("/predict", content=PHOTO, headers={"X-API-Key": "right"}).status_code == 200
        with client.websocket_connect("/stream") as socket:
            socket.send_json(START | {"key": "right"})
            assert_ends(socket, 429, "rate_limited", 1013)


def test_a_stream_that_finds_no_place_counts_not_at_all() -> None:
    with service(api_keys="right", rate_limit=2, max_streams=1) as client, stream(client, key="right") as first:
        for _ in range(3):
            with client.websocket_connect("/stream") as socket:
                socket.send_json(START | {"key": "right"})
                assert_ends(socket, 503, "too_many_streams", 1013)
        assert ask(first, 1)["frame"] == 1
        assert client.post("/predict", content=PHOTO, headers={"X-API-Key": "right"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://testserver", "https://app.example", "HTTPS://APP.example", None])
def test_pages_of_known_origins_come_in(origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    with service(cors_origins="https://app.example") as client, stream(client, headers=headers) as socket:
        assert ask(socket, 1)["frame"] == 1


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://app.example", "null", "https://testserver.evil.example", ""]
)
def test_pages_of_other_origins_do_not(origin: str) -> None:
    with (
        service(cors_origins="https://app.example") as client,
        client.websocket_connect("/stream", headers={"Origin": origin}) as socket,
    ):
        assert_ends(socket, 403, "foreign_origin", 1008)


def test_every_page_may_where_every_page_may_call() -> None:
    with service(cors_origins="*") as client, stream(client, headers={"Origin": "https://anywhere.example"}) as socket:
        assert ask(socket, 1)["frame"] == 1


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://a.example", "a.example", True),
        ("https://a.example", "a.example", True),
        ("https://a.example", "a.example:443", True),
        ("http://a.example:8000", "a.example:8000", True),
        ("http://A.example:8000", "a.example:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://a.example:8000", "a.example", False),
        ("http://a.example", "b.example", False),
        ("file://a.example", "a.example", False),
        ("null", "", False),
        ("http://a.example:port", "a.example", False),
        ("http://", "", False),
    ],
)
def test_the_same_origin_is_the_same_host_and_port(origin: str, host: str, expected: bool) -> None:
    assert same_origin(origin, host) is expected


def test_who_comes_through_a_proxy_without_websockets_is_told_so() -> None:
    with service() as client:
        answer = client.get("/stream")
        assert (answer.status_code, answer.headers["upgrade"], answer.json()["code"]) == (426, "websocket", "http_error")
        assert "proxy" in answer.json()["detail"]
        assert client.head("/stream").status_code == 426
        assert "/stream" not in client.get("/openapi.json").json()["paths"]


def test_another_path_is_refused() -> None:
    with service() as client, pytest.raises(WebSocketDisconnect), client.websocket_connect("/streams"):
        pass


# Codes and counts -------------------------------------------------------------------------------------------------------


def kinds(kind: type[FacetError]) -> Iterator[type[FacetError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def test_every_error_has_a_close_code() -> None:
    codes = {kind: close_code(kind.__new__(kind)) for kind in kinds(FacetError)}
    assert set(codes.values()) == set(CLOSE.values())
    assert {code for kind, code in codes.items() if issubclass(kind, errors.RequestError)} == {1008, 1009, 1013, 4001}
    assert {code for kind, code in codes.items() if issubclass(kind, errors.InferenceError | errors.ModelError)} == {1011}


def test_streams_are_counted() -> None:
    before = {outcome: metric("facet_stream_frames_total", outcome=outcome) for outcome in ("answered", "failed")}
    faces = {network: metric("facet_stream_faces_total", network=network) for network in ("run", "spared")}
    seconds = metric("facet_stream_frame_seconds_count")
    closed = metric("facet_streams_closed_total", code="1000")
    with service() as client, stream(client) as socket:
        for number in range(3):
            ask(socket, number, PAIR)
        ask(socket, 4, b"nothing")
        socket.close(1000)  # leaving the context as well would cancel the stream, perhaps before it has counted
        wait_until(lambda: metric("facet_streams_closed_total", code="1000") == closed + 1)
    assert metric("facet_stream_frames_total", outcome="answered") == before["answered"] + 3
    assert metric("facet_stream_frames_total", outcome="failed") == before["failed"] + 1
    assert metric("facet_stream_faces_total", network="run") >= faces["run"] + 2
    assert (
        metric("facet_stream_faces_total", network="run") + metric("facet_stream_faces_total", network="spared")
        == sum(faces.values()) + 6
    )
    assert metric("facet_stream_frame_seconds_count") == seconds + 3


def test_frames_that_a_stream_ends_upon_are_counted() -> None:
    """One in work, and one that waits."""
    before = metric("facet_stream_frames_total", outcome="abandoned")
    with GatedNetwork() as network, service(engine_factory(network), stream_deadline_s=20) as client:
        with stream(client) as socket:
            socket.send_bytes(numbered(1))
            assert network.entered.wait(10)
            socket.send_bytes(numbered(2))
            socket.close(1000)
            wait_until(lambda: metric("facet_stream_frames_total", outcome="abandoned") == before + 2)
        network.gate.set()


def test_a_frame_that_fails_unforeseen_is_counted_and_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unforeseen(*_: object) -> None:
        raise TypeError("unforeseen")

    monkeypatch.setattr(TrackingSession, "step", unforeseen)
    before = metric("facet_stream_frames_total", outcome="failed")
    with service() as client, stream(client) as socket:
        socket.send_bytes(numbered(1))
        assert_ends(socket, 500, "internal_error", 1011)
    assert metric("facet_stream_frames_total", outcome="failed") == before + 1


def test_a_path_with_a_line_feed_at_its_end_is_no_stream() -> None:
    with service() as client, pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/stream%0A"):
        pass
    assert refused.value.status_code == 404


def test_the_log_says_what_became_of_a_stream_and_how_many_faces_it_answered(caplog: pytest.LogCaptureFixture) -> None:
    def lines() -> list[logging.LogRecord]:
        return [one for one in caplog.records if one.name == "facet.access"]

    with caplog.at_level(logging.INFO, "facet.access"), service(api_keys="good") as client:
        with client.websocket_connect("/stream") as socket:
            socket.send_json(START | {"key": "bad"})
            assert_problem(socket.receive_json(), 401, "unauthenticated")
            wait_until(lambda: len(lines()) == 1)
        with stream(client, key="good") as socket:
            for number in range(2):
                ask(socket, number, PAIR)
            socket.close(1000)
            wait_until(lambda: len(lines()) == 2)
    found = [tuple(getattr(line, name) for name in ("status", "outcome", "faces")) for line in lines()]
    assert found == [(1008, "unauthenticated", 0), (1000, "answered", 4)]


def test_the_contract_documents_the_messages() -> None:
    with service() as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert {"StreamStart", "StreamReady", "StreamFrame", "StreamProblem", "TrackedFace"} <= set(schemas)
    assert {"id", "frames", "answers", "age_of_track_ms", "box"} <= set(schemas["TrackedFace"]["properties"])


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
