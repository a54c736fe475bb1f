"""What a connection may cost, over real sockets: heads, silence, slow bodies, half-closed and reset ones, and the shutdown."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from service.server import protocol
from service.server.connections import BODY_ARRIVING, HEAD_ARRIVING, IN_WORK, ConnectionLimits, Connections
from service.server.protocol import MAX_FRAMES, HttpProtocol
from service.server.uvicorn import Server
from tests.client import ROOT, assert_problem, assert_problem_document, until
from tests.service.server.test_serve import FAKE, PHOTO, Service, fake, head, parsed, read_all

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": 13,
    "Sec_WebSocket_Key": base64.b64encode(bytes(16)).decode(),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One process that waits a second for a head, and has room for few connections."""
    log = tmp_path_factory.mktemp("connections") / "log"
    with fake(log, FACET_HEAD_TIMEOUT_S="1", FACET_MAX_CONNECTIONS="20", FACET_MAX_HEAD_KIB="8") as running:
        yield running
        assert running.process.poll() is None, running.log
        assert "Traceback" not in running.log


def head_of(size: int, **headers: object) -> bytes:
    return head("/stream" if headers else "/predict", "GET", X_Long="x" * size, **headers)


def test_white_space_round_a_header_is_no_part_of_it(service: Service) -> None:
    with service.connected() as connection:
        connection.sendall(head("/health", "GET", X_Request_ID=" \tits-own-name \t", Connection="close"))
        assert b"x-request-id: its-own-name\r\n" in read_all(connection)


@pytest.mark.parametrize(
    "sent",
    [
        head_of(9000),
        head_of(9000, **UPGRADE),
        head("/health?" + "q" * 9000, "GET"),
        head("/health", "GET", **{f"X_{index}": "" for index in range(101)}),
        head("/stream", "GET", **UPGRADE, **{f"X_{index}": "" for index in range(101)}),
        b"GET /health HTTP/1.1\r\nX-Endless: " + b"x" * 1_000_000,
        b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 200_000,
    ],
    ids=["long", "upgrade", "target", "many", "upgrade-many", "endless", "endlessly-many"],
)
def test_a_head_that_is_too_large_is_431(service: Service, sent: bytes) -> None:
    with service.connected() as connection:
        try:
            connection.sendall(sent)
        except (ConnectionResetError, BrokenPipeError):
            pytest.fail("the answer was lost")
        (answer,) = parsed(read_all(connection))
    assert_problem(answer, 431, "head_too_large")


def test_what_is_no_request_is_one_line_of_the_log_with_the_id_of_its_answer(service: Service) -> None:
    (answer,) = parsed(service.exchange(b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n"))
    assert_problem(answer, 400, "malformed_request")
    assert f"refused before its route: malformed_request 400 {answer.json()['request_id']}" in service.log
    assert "Invalid HTTP request" not in service.log


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 400),
        (b"GET /stream HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 400),
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", 200),
    ],
)
def test_a_request_names_its_host_once(service: Service, sent: bytes, status: int) -> None:
    """As RFC 9112, 3.2, asks for; what is older need not."""
    (answer,) = parsed(service.exchange(sent))
    assert answer.status_code == status


def test_a_head_within_its_bounds_passes(service: Service) -> None:
    headers = {f"X_{index}": "y" for index in range(90)}
    assert service.exchange(head("/health", "GET", Connection="close", **headers)).startswith(b"HTTP/1.1 200")
    with service.connected() as connection:
        connection.sendall(head("/stream", "GET", X_Long="x" * 6000, **UPGRADE))
        assert connection.recv(100).startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize("length", ["0" * 5000 + "5", "9" * 19])
@pytest.mark.parametrize("target", [("POST", "/predict"), ("GET", "/health"), ("GET", "/nothing")])
def test_a_length_that_is_no_plausible_number_is_400(service: Service, target: tuple[str, str], length: str) -> None:
    method, path = target
    (answer,) = parsed(service.exchange(head(path, method, Content_Length=length)))
    assert_problem(answer, 400, "malformed_request")


def test_what_comes_behind_a_chunked_body_is_no_header(service: Service) -> None:
    body = b"%x\r\n%s\r\n0\r\nContent-Encoding: gzip\r\n\r\n" % (len(PHOTO), PHOTO)
    sent = head(Transfer_Encoding="chunked", Trailer="Content-Encoding", Connection="close") + body
    assert service.exchange(sent).startswith(b"HTTP/1.1 200")


def test_framing_alone_is_no_body(service: Service) -> None:
    with service.connected() as connection:
        connection.sendall(head(Transfer_Encoding="chunked") + b"1;" + b"x" * 100_000)
        connection.sendall(b"x" * 100_000)
        (answer,) = parsed(read_all(connection))
    assert_problem(answer, 400, "malformed_request")


@pytest.mark.parametrize(("sent", "status"), [(b"", []), (b"GET /health HTTP/1.1\r\nHost: x\r\n", [408]), (b"\r\n", [408])])
def test_a_silent_or_half_headed_connection_has_a_deadline(service: Service, sent: bytes, status: list[int]) -> None:
    began = time.monotonic()
    answers = parsed(service.exchange(sent))
    assert [answer.status_code for answer in answers] == status
    assert 0.8 < time.monotonic() - began < 3
    for answer in answers:
        assert_problem(answer, 408, "head_timeout")


def test_dripping_a_head_buys_no_time(service: Service) -> None:
    began = time.monotonic()
    with service.connected() as connection:
        connection.settimeout(0.1)
        while time.monotonic() - began < 5:
            try:
                connection.sendall(b"G" if time.monotonic() - began < 0.05 else b"")
                if not connection.recv(1000):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert time.monotonic() - began < 3


def test_a_body_that_drips_after_its_answer_is_closed(service: Service) -> None:
    began = time.monotonic()
    with service.connected() as connection:
        connection.sendall(head("/nothing", Content_Length=1_000_000))
        assert connection.recv(1000).startswith(b"HTTP/1.1 404")
        try:
            while time.monotonic() - began < 20:
                connection.sendall(b"x")
                time.sleep(0.1)
        except ConnectionError:
            pass
    assert time.monotonic() - began < 10


def test_silent_connections_keep_nobody_out(tmp_path: Path) -> None:
    """Each of them may be silent for a minute, which no photo waits for, however slow the machine is."""
    with fake(tmp_path / "log", FACET_HEAD_TIMEOUT_S="60", FACET_MAX_CONNECTIONS="20") as service, ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(service.connected())
        began = time.monotonic()
        assert httpx.post(service.url + "/predict", content=PHOTO, timeout=50).status_code == 200
        assert time.monotonic() - began < 40


@asynccontextmanager
async def answering(size: int, known: Connections, keep_alive: int = 5) -> AsyncIterator[socket.socket]:
    """A client that has asked for so many bytes, over a connection that buffers few."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(bytes(size))(scope, receive, send)

    config, loop = uvicorn.Config(answer, timeout_keep_alive=keep_alive), asyncio.get_running_loop()
    limits = ConnectionLimits(head_bytes=8192, head_timeout=10, connections=8)
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        server = await loop.create_server(
            lambda: HttpProtocol(config, ServerState(), {}, limits=limits, known=known), sock=listening
        )
        client.setblocking(False)
        await loop.sock_connect(client, listening.getsockname())
        await loop.sock_sendall(client, head("/", "GET"))
        yield client
        server.close()


@pytest.mark.parametrize("reads", [True, False])
async def test_who_takes_a_large_answer_slowly_gets_it_whole_and_who_stops_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    monkeypatch.setattr("service.server.protocol.STALLED_WRITE_S", 1.5)  # half of what the whole takes
    whole, loop, known = 3_000_000, asyncio.get_running_loop(), Connections(8)
    async with answering(whole, known) as client:
        received, began = len(await loop.sock_recv(client, 16384)), loop.time()
        while reads and received < whole and (piece := await loop.sock_recv(client, 16384)):
            received += len(piece)
            await asyncio.sleep(began + received / 1_000_000 - loop.time())
        assert received >= whole or not reads
        await until(lambda: reads or not len(known), seconds=10)


async def test_a_connection_whose_client_leaves_the_rest_of_an_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little is left for the server to pause: it would be idle for ever, half closed."""
    monkeypatch.setattr("service.server.protocol.STALLED_WRITE_S", 0.5)
    known = Connections(8)
    async with answering(60_000, known, keep_alive=1):
        await until(lambda: len(known) == 1)
        await until(lambda: not len(known), seconds=10)


def test_a_client_that_closes_its_sending_side_gets_its_answer(service: Service) -> None:
    answers = parsed(service.exchange(head(Content_Length=len(PHOTO)) + PHOTO, hang_up=True))
    assert [answer.status_code for answer in answers] == [200]


def metric(url: str, line: str) -> float:
    return sum(float(one.rsplit(" ", 1)[1]) for one in httpx.get(url + "/metrics").text.splitlines() if one.startswith(line))


def test_clients_that_have_left_free_their_places(tmp_path: Path) -> None:
    with fake(tmp_path / "log", slow=0.4, FACET_WORKERS="1", FACET_PHOTO_WAIT_S="60") as service:
        with ExitStack() as stack:
            sent = [stack.enter_context(service.connected()) for _ in range(30)]
            for connection in sent:
                connection.sendall(head(Content_Length=len(PHOTO)) + PHOTO)
            time.sleep(0.1)
        time.sleep(0.6)
        began = time.monotonic()
        assert httpx.post(service.url + "/predict", content=PHOTO).status_code == 200
        assert time.monotonic() - began < 1.5
        assert metric(service.url, 'facet_request_seconds_count{method="POST",route="/predict",status="499"}') >= 10


CLOSED = {
    "vanished": (None, "1006"),
    "without a code": (b"\x88\x80\0\0\0\0", "1005"),
    "with a code": (b"\x88\x82\0\0\0\0\x03\xe8", "1000"),
}


@pytest.mark.parametrize(("frame", "code"), CLOSED.values(), ids=CLOSED)
@pytest.mark.parametrize("started", [False, True], ids=["unstarted", "started"])
def test_a_stream_is_counted_by_the_close_frame_that_came(
    service: Service, frame: bytes | None, code: str, started: bool
) -> None:
    def counts() -> dict[str, float]:
        return {one: metric(service.url, f'facet_streams_closed_total{{code="{one}"}}') for one in ("1000", "1005", "1006")}

    before = counts()
    with service.connected() as connection:
        connection.sendall(head("/stream", "GET", **UPGRADE))
        assert b" 101 " in connection.recv(1000)
        if started:
            text = b'{"type": "start"}'
            connection.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
            assert b"ready" in connection.recv(1000)
        if frame is not None:
            connection.sendall(frame)
    end = time.monotonic() + 10
    while counts() == before and time.monotonic() < end:
        time.sleep(0.02)
    assert counts() == before | {code: before[code] + 1}
    assert f"WS /stream {code} " in service.log


def test_a_reset_while_requests_are_pipelined_is_no_fault_of_ours(tmp_path: Path) -> None:
    with fake(tmp_path / "log", slow=0.3) as service:
        before = metric(service.url, "facet_rejections_total")
        for _ in range(5):
            connection = socket.create_connection(("127.0.0.1", service.port))
            connection.sendall((head(Content_Length=len(PHOTO)) + PHOTO) * 3)
            time.sleep(0.05)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        time.sleep(1)
        assert metric(service.url, "facet_rejections_total") == before
        assert httpx.post(service.url + "/predict", content=PHOTO).status_code == 200
        assert "Traceback" not in service.log
        assert "ERROR" not in service.log


def test_a_body_still_arriving_when_the_time_is_up_gets_a_problem(tmp_path: Path) -> None:
    with fake(tmp_path / "log", FACET_DRAIN_DELAY_S="0", FACET_SHUTDOWN_TIMEOUT_S="1") as service:
        with service.connected() as connection:
            connection.sendall(head(Content_Length=1000) + b"x")
            time.sleep(0.2)
            service.process.send_signal(signal.SIGTERM)
            (answer,) = parsed(read_all(connection))
        assert_problem_closed(answer)
        assert service.exit_status() == 0
        assert "Traceback" not in service.log


async def test_who_connects_as_the_listener_closes_is_answered() -> None:
    """The system connects clients on its own; it resets those that nobody has accepted when the listener closes."""
    config = uvicorn.Config(Response(b"answered"), host="127.0.0.1", port=0, lifespan="off", log_config=None)
    config.load()
    told: list[int] = []
    server = Server(config, 0, ConnectionLimits(head_bytes=8192, head_timeout=10, connections=8), told.append)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    address = server.servers[0].sockets[0].getsockname()
    assert told == [address[1]], "and not 0, which asks for any port"
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(4)]
        for client in clients[:3]:
            client.sendall(head("/", "GET"))
        await server.shutdown()  # the loop has not run since they came
        answers = [await asyncio.to_thread(read_all, client) for client in clients]
        assert [answer.count(b"answered") for answer in answers] == [1, 1, 1, 0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_a_stream_that_has_not_started_is_told_of_the_shutdown(tmp_path: Path) -> None:
    sockets, closed = pytest.importorskip("websockets.sync.client"), pytest.importorskip("websockets.exceptions")
    with fake(tmp_path / "log", FACET_DRAIN_DELAY_S="0") as service, sockets.connect(f"ws{service.url[4:]}/stream") as camera:
        service.process.send_signal(signal.SIGTERM)
        assert json.loads(camera.recv(20))["code"] == "not_ready"
        with pytest.raises(closed.ConnectionClosed) as end:
            camera.recv(20)
        assert (end.value.rcvd.code, end.value.rcvd.reason) == (1001, "not_ready")
        assert service.exit_status() == 0


@pytest.mark.parametrize(
    ("proxies", "codes"),
    [(named, ["queue_full", "unsupported_format"]) for named in ("127.0.0.1", "*", "192.0.2.1,*")] + [("192.0.2.1", [])],
)
def test_a_trusted_proxy_says_who_a_client_is(tmp_path: Path, proxies: str, codes: list[str]) -> None:
    """One client may hold three quarters of all bodies while others ask; nobody else is believed to stand for several."""
    caps = dict.fromkeys(("FACET_MAX_BODY_MIB", "FACET_MAX_BATCH_MIB", "FACET_MAX_BODIES_MIB"), "1")
    with fake(tmp_path / "log", FACET_TRUSTED_PROXIES=proxies, **caps) as service:

        def send(client: str, body: bytes) -> httpx.Response:
            return httpx.post(service.url + "/predict", content=body, headers={"X-Forwarded-For": client})

        assert send("10.0.0.1", PHOTO).status_code == 200
        with service.connected() as connection:
            held = 550_000
            connection.sendall(head(Content_Length=held + 1, X_Forwarded_For="10.0.0.2") + bytes(held))
            time.sleep(0.3)
            found = [send(client, bytes(300_000)).json()["code"] for client in ("10.0.0.2", "10.0.0.3")]
        assert found == (codes or ["unsupported_format"] * 2)


def assert_problem_closed(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_ready"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"FACET_API_KEY": "secret"}, "FACET_API_KEYS"),
        ({"FACET_API_KEYS": " "}, "FACET_API_KEYS"),
        ({"FACET_API_KEYS": ","}, "FACET_API_KEYS"),
        ({"FACET_API_KEYS": ""}, "FACET_API_KEYS"),
        ({"FACET_API_KEYS": "one,\u200b"}, "FACET_API_KEYS"),
        ({"FACET_TRUSTED_PROXIES": "10.0.0.1/8"}, "no address or network"),
        ({"FACET_HOST": "no.such.host.invalid"}, "no.such.host.invalid"),
        ({"FACET_HOST": "x" * 300}, "cannot be listened on"),
        ({"FACET_PORT": "99999"}, "FACET_PORT"),
        ({"FACET_MAX_MEGAPIXELS": "inf"}, "FACET_MAX_MEGAPIXELS"),
        ({"FACET_CORS_ORIGINS": "https://example.org/app"}, "FACET_CORS_ORIGINS"),
        ({"FACET_TLS_CERTIFICATE": "/no/such", "FACET_TLS_KEY": "/no/such"}, "No such file"),
    ],
)
def test_a_start_that_fails_is_one_line(environment: dict[str, str], words: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FACET_")}
    done = subprocess.run(
        [sys.executable, "-c", FAKE, "serve"],
        cwd=ROOT,
        env=clean | {"SLOW": "0", "FACET_LOG_LEVEL": "error"} | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_names_that_kubernetes_docker_and_scripts_add_are_no_settings(tmp_path: Path) -> None:
    added = {"FACET_SERVICE_HOST": "10.0.0.1", "FACET_PORT_80_TCP_ADDR": "10.0.0.1", "FACET_API_SERVICE_PORT_HTTP": "80"}
    added |= {"FACET_BIN": "facet", "FACET_URL": "http://localhost:8000"}
    added |= {"WEB_CONCURRENCY": "auto"}  # which uvicorn would read
    with fake(tmp_path / "log", **added) as service:
        assert json.loads(httpx.get(service.url + "/health").text)["status"] == "ok"


class Fake:
    def __init__(self, address: str, stage: int) -> None:
        self.address, self.stage, self.dropped = address, stage, False

    def drop(self) -> None:
        self.dropped = True


def test_the_oldest_that_waits_of_who_has_most_makes_room() -> None:
    known = Connections(5)
    few = Fake("few", HEAD_ARRIVING)
    many = [Fake("many", stage) for stage in (IN_WORK, BODY_ARRIVING, HEAD_ARRIVING, HEAD_ARRIVING)]
    assert all(known.admit(one) for one in (few, *many))
    assert known.admit(Fake("new", HEAD_ARRIVING))
    assert [one.dropped for one in many] == [False, False, True, False]
    assert known.admit(Fake("many", IN_WORK))
    assert known.admit(Fake("new", IN_WORK))
    assert [one.dropped for one in many] == [False, False, True, True]
    assert not few.dropped
    assert len(known) == 5


def test_where_nobody_waits_the_newcomer_is_turned_away() -> None:
    known = Connections(2)
    assert known.admit(Fake("a", IN_WORK))
    last = Fake("b", IN_WORK)
    assert known.admit(last)
    assert not known.admit(Fake("c", HEAD_ARRIVING))
    known.discard(last)
    assert known.admit(Fake("c", HEAD_ARRIVING))


# Frames of a WebSocket --------------------------------------------------------------------------------------------------


def frame(first: int, content: bytes = b"") -> bytes:
    """A masked frame, whose mask changes nothing (RFC 6455, 5.2)."""
    length = bytes([0x80 | len(content)]) if len(content) < 126 else b"\xfe" + len(content).to_bytes(2, "big")
    return bytes([first]) + length + bytes(4) + content


@pytest.mark.parametrize("kind", [0x00, 0x89, 0x8A], ids=["pieces", "pings", "pongs"])
def test_frames_that_bring_no_message_end_the_connection(service: Service, kind: int) -> None:
    with service.connected() as connection:
        connection.sendall(head("/stream", "GET", **UPGRADE))
        assert connection.recv(65536).startswith(b"HTTP/1.1 101")
        with contextlib.suppress(ConnectionError):  # it may be closed before all is sent
            connection.sendall(frame(0x02) + frame(kind) * (MAX_FRAMES + 1))
            assert (1008).to_bytes(2, "big") + b"too many frames" in read_all(connection)


@pytest.mark.parametrize(
    ("sent", "code"),
    [(frame(0x81, b"\xff"), 1007), (frame(0x81, b'{"type": "start"}') + frame(0x8B), 1002)],
    ids=["text", "frame"],
)
def test_what_breaks_the_protocol_is_no_error_of_the_services(service: Service, sent: bytes, code: int) -> None:
    """Text that is no UTF-8, and a kind of frame that there is not, behind a start that is still to be answered."""
    with service.connected() as connection:
        connection.sendall(head("/stream", "GET", **UPGRADE))
        assert connection.recv(65536).startswith(b"HTTP/1.1 101")
        connection.sendall(sent)
        assert code.to_bytes(2, "big") in read_all(connection)
    assert "Traceback" not in service.log


@asynccontextmanager
async def camera(answer: bytes) -> AsyncIterator[socket.socket]:
    """A client of a WebSocket, which has read nothing but the handshake; one that is sent an answer is closed behind it."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": answer})
        if not answer:
            await receive()

    config = uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None)
    config.load()
    server = Server(config, 0, ConnectionLimits(head_bytes=8192, head_timeout=10, connections=8))
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    with socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=5) as client:
        client.sendall(head("/", "GET", **UPGRADE))
        assert (await asyncio.to_thread(client.recv, 12)) == b"HTTP/1.1 101"
        yield client
        server.force_exit = True
        await server.shutdown()


def rest(client: socket.socket) -> int:
    """How many bytes a client still gets."""
    count = 0
    with contextlib.suppress(ConnectionError):
        while more := client.recv(65536):
            count += len(more)
    return count


async def test_who_takes_nothing_of_a_stream_that_has_ended_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STALLED_WRITE_S", 0.1)
    async with camera(bytes(2**24)) as client:
        await asyncio.sleep(0.3)
        assert await asyncio.to_thread(rest, client) < 2**24


async def test_who_sends_on_and_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async with camera(b"") as client:
        monkeypatch.setattr(protocol, "UNREAD_BYTES", -1)  # so that nothing is too much
        client.sendall(frame(0x89))
        assert await asyncio.to_thread(rest, client) < 500, "no more than the handshake"


def test_a_message_in_pieces_between_pings_is_read(service: Service) -> None:
    hello = b'{"type": "start"}'
    pieces = frame(0x01) + b"".join(frame(0x00, hello[i : i + 1]) + frame(0x89) for i in range(len(hello))) + frame(0x80)
    with service.connected() as connection:
        connection.sendall(head("/stream", "GET", **UPGRADE))
        assert connection.recv(65536).startswith(b"HTTP/1.1 101")
        connection.sendall(pieces)
        received = b""
        while b'"ready"' not in received:
            more = connection.recv(65536)
            assert more
            received += more


# Offers of other protocols ----------------------------------------------------------------------------------------------

H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"}


@pytest.mark.parametrize("piece", [1_000_000, 7])
def test_an_offer_of_http_2_is_ignored_and_the_body_is_read(service: Service, piece: int) -> None:
    """Java's client makes one with every request; what follows on the connection is answered too."""
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (PHOTO[:100], PHOTO[100:])) + b"0\r\n\r\n"
    sent = head("/predict", Content_Length=len(PHOTO), **H2C) + PHOTO
    sent += head("/predict", Transfer_Encoding="chunked", **H2C) + chunked
    sent += head("/health", "GET", **H2C) + head("/health", "GET", Connection="close")
    with service.connected() as connection:
        for start in range(0, len(sent), piece):
            connection.sendall(sent[start : start + piece])
        answers = parsed(read_all(connection))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [len(answer.json()["faces"]) for answer in answers[:2]] == [1, 1]


def test_an_offer_beside_the_end_of_the_connection_keeps_it(service: Service) -> None:
    sent = head("/predict", Content_Length=len(PHOTO), **(H2C | {"Connection": "close, Upgrade"})) + PHOTO
    (answer,) = parsed(service.exchange(sent))
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("length", [{"Content_Length": len(PHOTO)}, {"Transfer_Encoding": "chunked"}])
def test_an_offer_of_a_websocket_with_a_body_is_answered_over_http(service: Service, length: dict[str, object]) -> None:
    """It is no handshake, and would wait for an answer for ever, in a place that nobody can take."""
    body = PHOTO if "Content_Length" in length else b"%x\r\n%b\r\n0\r\n\r\n" % (len(PHOTO), PHOTO)
    offer = {"Connection": "Upgrade", "Upgrade": "websocket"}
    sent = head("/predict", **offer, **length) + body + head("/stream", "GET", **offer, **length) + body
    with service.connected() as connection:
        connection.sendall(sent + head("/health", "GET", Connection="close"))
        answers = parsed(read_all(connection))
    assert [answer.status_code for answer in answers] == [200, 426, 200]


def test_a_tunnel_is_refused(service: Service) -> None:
    assert service.exchange(head("example.com:443", "CONNECT", Connection="close")).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    ("path", "changed", "status", "code"),
    [
        ("/nothing", {}, 404, "not_found"),
        ("/predict", {}, 404, "not_found"),
        ("/stream", {"Sec_WebSocket_Version": 8}, 400, "malformed_request"),
        ("/stream", {"Sec_WebSocket_Key": "short"}, 400, "malformed_request"),
    ],
)
def test_a_websocket_that_cannot_be_is_refused_with_a_document(
    service: Service, path: str, changed: dict[str, object], status: int, code: str
) -> None:
    (answer,) = parsed(service.exchange(head(path, "GET", **(UPGRADE | changed))))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert_problem_document(answer.json(), status, code)
