"""A service that answers photos for the command: the same rows, patience where it is busy, and an end where it is not there."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from service.api.schemas import EXAMPLE
from service.offline.errors import ServiceError
from service.offline.parameters import Parameters
from service.offline.predictors import ServicePredictor
from service.offline.run import still_waiting
from tests.fakes import GLASSES, attributes
from tests.service.offline.made import folder, local, photo, predict, requested
from tests.service.offline.test_command import rows
from tests.service.server.test_serve import fake

CARD = b'{"name": "m", "version": 1, "digest": "d", "attributes": []}'
ANSWER = b"""{"request_id": "r", "model": {"name": "m", "version": 1},
    "image": {"width": 9, "height": 9}, "faces": [], "timing_ms": {}}"""


@contextmanager
def serving(answers: list[tuple[int, bytes, dict[str, str]]], **cards: bytes) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives a card, those of `cards` to who names them, and these answers to photos, the last one again and
    again; its address, and what it got.
    """
    sent: list[Any] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            named = parse_qs(urlsplit(self.path).query).get("model", [""])[0].replace("/", "_")
            self._answer(*((200, cards[named] if named else CARD) if named in {"", *cards} else (422, CARD)), {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                sent.append((self.path, dict(self.headers), body))
                status, text, headers = answers.pop(0) if len(answers) > 1 else answers[0]
            if status == 0:
                self.close_connection = True
                return
            self._answer(status, text, headers)

        def _answer(self, status: int, text: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        server.server_close()


def problem(code: str, status: int) -> bytes:
    text = '{"type": "t", "title": "t", "status": %d, "detail": "Why.", "code": "%s", "request_id": "r"}'
    return (text % (status, code)).encode()


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A photo."""
    (tmp_path / "x.png").write_bytes(photo(200))
    return tmp_path / "x.png"


def test_a_service_gives_the_same_table(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 12)
    (photos / "text.jpg").write_bytes(b"text")
    (photos / "nothing.jpg").write_bytes(b"")
    options = {"at_least": (18,), "landmarks": True, "max_faces": 1}
    with fake(tmp_path / "log") as service:
        remote = ServicePredictor(service.url, None, requested(**options).parameters_of, 4)
        predict(photos, predictor=remote, out=tmp_path / "remote.jsonl", **options)
    predict(photos, out=tmp_path / "local.jsonl", **options)
    assert rows(tmp_path / "remote.jsonl") == rows(tmp_path / "local.jsonl")


def test_a_service_is_asked_for_one_of_its_models(one: Path, tmp_path: Path) -> None:
    with fake(tmp_path / "log") as service:
        known = ServicePredictor(service.url, None, requested().parameters_of, 1)
        named = f"{known.model.name}/{known.model.version}"
        asyncio.run(known.close())
        chosen = ServicePredictor(service.url, None, requested().parameters_of, 1, named)
        predict(one, predictor=chosen, out=tmp_path / "f.jsonl")
        with pytest.raises(ServiceError, match="choose from fake"):
            ServicePredictor(service.url, None, requested().parameters_of, 1, "other/1")
    (row,) = rows(tmp_path / "f.jsonl")
    assert f"{row['model']}/{row['version']}" == named


def test_rows_of_a_canary_have_its_digest_and_the_model_is_the_default_one(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 3)
    answers = [ANSWER.replace(b'"version": 1', b'"version": %d' % version) for version in (1, 2, 3)]
    canary = CARD.replace(b'"version": 1, "digest": "d"', b'"version": 2, "digest": "e"')
    with serving([(200, one, {}) for one in answers], m_2=canary) as (url, _):
        predictor = ServicePredictor(url, None, requested().parameters_of, 1)
        predict(photos, predictor=predictor, out=tmp_path / "f.jsonl", jobs=1)
    found = {row["version"]: row["digest"] for row in rows(tmp_path / "f.jsonl")}
    assert found == {1: "d", 2: "e", 3: ""}, "of what is gone nobody knows"
    assert (predictor.model.version, predictor.model.digest) == (1, "d")


def test_a_finished_table_whose_last_answer_is_a_canarys_takes_up_what_is_new(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 2)
    answers = [ANSWER.replace(b'"version": 1', b'"version": %d' % version) for version in (1, 2, 1)]
    canary = CARD.replace(b'"version": 1, "digest": "d"', b'"version": 2, "digest": "e"')
    with serving([(200, one, {}) for one in answers], m_2=canary) as (url, _):
        for resume in (False, True):
            predictor = ServicePredictor(url, None, requested().parameters_of, 1)
            predict(photos, predictor=predictor, out=tmp_path / "f.jsonl", jobs=1, resume=resume)
            (photos / "zz.png").write_bytes(photo(99))
    assert [row["version"] for row in rows(tmp_path / "f.jsonl")] == [1, 2, 1]


def test_what_a_newer_service_adds_to_its_answers_is_passed_over(one: Path, tmp_path: Path) -> None:
    glasses = EXAMPLE["faces"][0]["gender"] | {"since": 2}
    face = EXAMPLE["faces"][0] | {"glasses": glasses, "pose": {"pitch": 3.5}, "mask": 0.2, "tags": ["a"]}
    newer = json.dumps(EXAMPLE | {"model": {"name": "m", "version": 1}, "faces": [face], "node": "b"}).encode()
    declared = [*attributes(), GLASSES | {"labels": ["male", "female"]}]
    card = json.dumps(json.loads(CARD) | {"attributes": declared}).encode()
    with serving([(200, newer, {})], m_1=card) as (url, _):
        predict(
            one, predictor=ServicePredictor(url, None, requested().parameters_of, 1, "m/1"), out=tmp_path / "f.jsonl", jobs=1
        )
    (row,) = rows(tmp_path / "f.jsonl")
    assert (row["age_years"], row["glasses"], row["problem"]) == (31.4, "female", None)


def test_a_service_without_ages_gives_its_counts(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 3)
    with fake(tmp_path / "log", FACET_ATTRIBUTES="gender") as service:
        remote = ServicePredictor(service.url, None, requested(aggregate=True).parameters_of, 4)
        predict(photos, predictor=remote, out=tmp_path / "remote.jsonl", aggregate=True)
    here = local(requested(aggregate=True), "gender")
    predict(photos, predictor=here, out=tmp_path / "local.jsonl", aggregate=True)
    assert rows(tmp_path / "remote.jsonl") == rows(tmp_path / "local.jsonl")


def test_what_is_asked_for_is_sent(one: Path, tmp_path: Path) -> None:
    parameters = Parameters(["age"], 3, 0.9, (18, 21), landmarks=True, distribution=True)
    with serving([(200, ANSWER, {})]) as (url, sent):
        predict(one, predictor=ServicePredictor(f"{url}/below/", "secret", lambda _: parameters, 1), out=tmp_path / "f.jsonl")
    ((path, headers, body),) = sent
    assert (
        path == "/below/predict?attributes=age&max_faces=3&min_confidence=0.9&landmarks=true&distribution=true&at_least=18%2C21"
    )
    assert headers["X-API-Key"] == "secret"
    assert body == one.read_bytes()
    (row,) = rows(tmp_path / "f.jsonl")
    assert (row["model"], row["digest"], row["problem"]) == ("m", "d", None)


@pytest.mark.parametrize("key", ["schlüssel\n", "鍵"])
def test_a_key_is_sent_in_utf_8_without_the_end_of_its_line(one: Path, tmp_path: Path, key: str) -> None:
    with serving([(200, ANSWER, {})]) as (url, sent):
        predict(one, predictor=ServicePredictor(f"{url}/größe", key, lambda _: Parameters(), 1), out=tmp_path / "f.jsonl")
    ((path, headers, _),) = sent
    assert path == "/gr%C3%B6%C3%9Fe/predict"
    assert headers["X-API-Key"].encode("latin-1") == key.strip().encode()


def test_a_name_and_password_of_the_address_are_sent_to_the_proxy_that_wants_them(one: Path, tmp_path: Path) -> None:
    with serving([(200, ANSWER, {})]) as (url, sent):
        predictor = ServicePredictor(url.replace("//", "//me:p%40ss@"), None, requested().parameters_of, 1)
        predict(one, predictor=predictor, out=tmp_path / "f.jsonl")
    assert sent[0][1]["Authorization"] == "Basic bWU6cEBzcw=="
    with pytest.raises(ServiceError) as raised:
        ServicePredictor("http://me:p/ss@host:none", None, requested().parameters_of, 1)
    assert "p/ss" not in str(raised.value)


def test_a_key_that_no_header_can_carry_is_not_told() -> None:
    with pytest.raises(ServiceError) as raised:
        ServicePredictor("http://127.0.0.1:9", "sec\nret", requested().parameters_of, 1)
    assert "sec" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_photo_waits_where_the_service_has_no_room(one: Path, tmp_path: Path) -> None:
    busy = [(429, problem("rate_limited", 429), {"retry-after": "1"}), (503, problem("queue_full", 503), {"retry-after": "1"})]
    with serving([*busy, (200, ANSWER, {})]) as (url, sent):
        predict(one, predictor=ServicePredictor(url, None, requested().parameters_of, 1), out=tmp_path / "f.jsonl")
    assert len(sent) == 3
    assert rows(tmp_path / "f.jsonl")[0]["problem"] is None


def test_a_photo_under_which_the_service_breaks_off_is_a_row(one: Path, tmp_path: Path) -> None:
    other = one.with_name("y.png")
    other.write_bytes(one.read_bytes())
    with serving([(0, b"", {}), (0, b"", {}), (200, ANSWER, {})]) as (url, sent):
        predict(
            one, other, predictor=ServicePredictor(url, None, requested().parameters_of, 1), out=tmp_path / "f.jsonl", jobs=1
        )
    assert len(sent) == 3
    assert [row["problem"] for row in rows(tmp_path / "f.jsonl")] == ["connection_broken", None]


def test_connections_that_the_service_has_closed_meanwhile_cost_no_photo(one: Path, tmp_path: Path) -> None:
    """Several wait; the second try takes none of them, but a new one."""
    others = [one.with_name(f"y{number}.png") for number in range(3)]
    for other in others:
        other.write_bytes(one.read_bytes())
    with serving([(200, ANSWER, {})]) as (url, sent):
        predictor = ServicePredictor(url, None, requested().parameters_of, 4)
        connections = [predictor._connection(new=True)[0] for _ in range(3)]  # noqa: SLF001
        for connection in connections:
            connection.request("GET", "/model")
            connection.getresponse().read()
            assert connection.sock is not None
            connection.sock.shutdown(socket.SHUT_RDWR)  # as the other end does after its patience
            predictor._idle.put(connection)  # noqa: SLF001
        predict(one, *others, predictor=predictor, out=tmp_path / "f.jsonl", jobs=1)
    assert [row["problem"] for row in rows(tmp_path / "f.jsonl")] == [None] * 4
    assert len(sent) == 4


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "unauthenticated", "Why"),
        (422, "invalid_parameter", "Why"),
        (418, None, "not an answer of Facet"),
        (301, None, "leads to another address"),
    ],
)
def test_what_every_photo_would_meet_ends_the_run(one: Path, tmp_path: Path, status: int, code: str | None, words: str) -> None:
    answers = [(status, problem(code, status) if code else b"<html>", {})]
    with serving(answers) as (url, _), pytest.raises(ServiceError, match=words):
        predict(one, predictor=ServicePredictor(url, None, requested().parameters_of, 1), out=tmp_path / "f.jsonl")
    assert not list(tmp_path.glob("f.jsonl*")), "nothing to go on with"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count connections that wait in other ways")
def test_the_end_of_a_run_waits_for_no_service_that_cannot_be_reached(one: Path) -> None:
    """Ctrl-C, and SIGTERM before a kill: what was done is written at once."""
    data = one.read_bytes()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as waiting:

        def give_card() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(CARD), CARD))

        giving = threading.Thread(target=give_card)
        giving.start()
        predictor = ServicePredictor(f"http://127.0.0.1:{server.getsockname()[1]}", None, requested().parameters_of, 2)
        giving.join()
        for _ in range(2):  # nobody accepts them, and the next one's first packet is dropped
            more = waiting.enter_context(socket.socket())
            more.setblocking(False)
            more.connect_ex(server.getsockname())
        time.sleep(0.05)

        async def interrupted() -> None:
            run = asyncio.create_task(predictor.predict("x.png", data))
            await asyncio.sleep(0.2)
            assert not run.done()
            run.cancel()
            await asyncio.wait([run])
            await predictor.close()

        began = time.monotonic()
        asyncio.run(interrupted())
        assert time.monotonic() - began < 5
        assert still_waiting(), "so that the command leaves without its thread"


@pytest.mark.parametrize("url", ["ftp://x", "http://x:80a", "http://x:99999", "http://[::1", "http://a..example", "http://"])
def test_no_service_is_said_at_once(url: str) -> None:
    with pytest.raises(ServiceError, match="such as http"):
        ServicePredictor(url, None, requested().parameters_of, 1)
