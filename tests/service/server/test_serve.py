"""`facet serve` as a process, over real sockets: start, answers, hostile bytes, and the end that SIGTERM brings."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.settings import Settings
from tests.client import CANARY, ROOT, assert_problem, multipart, years
from tests.conftest import encoded
from tests.fakes import squares

PHOTO = encoded(squares((200, 100, 50)))

FAKE = """
import os, time
import service.cli
from tests.fakes import ColourNetwork, engine_factory

class Slow(ColourNetwork):
    def __call__(self, batch):
        time.sleep(float(os.environ["SLOW"]))
        return super().__call__(batch)

service.cli.main(service.cli.Parts(engine_factory(Slow())))
"""
"""`facet` with fakes in place of its models: everything else is the real thing, and it starts in a second."""


class Service:
    """A running process and its address."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log
        self.port = self._port()
        self.url = f"http://127.0.0.1:{self.port}"

    def _port(self) -> int:
        end = time.monotonic() + 180
        while time.monotonic() < end:
            if started := re.search(r"running on https?://127\.0\.0\.1:(\d+)", self.log):
                return int(started[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        else:
            self.process.send_signal(signal.SIGABRT)  # where every thread hangs is in the log then
            self.process.wait()
        raise AssertionError(f"did not start: {self.log}")

    @property
    def log(self) -> str:
        return self._log.read_text()

    def exit_status(self) -> int:
        return self.process.wait(20)

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            yield connection

    def exchange(self, sent: bytes, *, hang_up: bool = False) -> bytes:
        """Everything that comes back for these bytes until the service closes, or we do."""
        with self.connected() as connection:
            connection.sendall(sent)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            return read_all(connection)


def inherited() -> dict[str, str]:
    """The environment without Facet's settings, but for the arithmetic that a whole run of the tests is asked to hold in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FACET_")}
    return kept | {name: os.environ[name] for name in ("FACET_PRECISION",) if name in os.environ}


@contextmanager
def started(log: Path, *command: str, **environment: str) -> Iterator[Service]:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "serve", "--host", "127.0.0.1", "--port", "0"],
            cwd=ROOT,
            env=inherited() | {"PYTHONFAULTHANDLER": "1"} | environment,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield Service(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def fake(log: Path, slow: float = 0, **environment: str) -> Any:
    return started(log, sys.executable, "-c", FAKE, SLOW=str(slow), **environment)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One process for the tests that leave it as it was; it takes bodies of 1 MiB, in 1 s."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with fake(log, FACET_MAX_BODY_MIB="1", FACET_BODY_TIMEOUT_S="1", FACET_LOG_LEVEL="debug") as running:
        yield running
        assert running.process.poll() is None, running.log
        assert "Traceback" not in running.log
        assert CANARY not in running.log


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def head(path: str = "/predict", method: str = "POST", **headers: object) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: facet.test\r\n{lines}\r\n".encode()


def parsed(raw: bytes) -> list[httpx.Response]:
    """The responses in what a connection brought."""
    responses = []
    while raw:
        top, _, rest = raw.partition(b"\r\n\r\n")
        status, *lines = top.decode("latin-1").split("\r\n")
        headers = [tuple(line.split(": ", 1)) for line in lines]
        length = int(dict(headers).get("content-length", len(rest)))
        responses.append(httpx.Response(int(status.split()[1]), headers=headers, content=rest[:length]))
        raw = rest[length:]
    return responses


# Sockets --------------------------------------------------------------------------------------------------------------


def test_a_photo_through_a_real_socket(service: Service) -> None:
    with httpx.Client(base_url=service.url) as client:
        for _ in range(3):  # over one connection
            response = client.post("/predict", files={"file": ("a.png", PHOTO, "image/png")})
            assert response.status_code == 200
            assert years(response.json()["faces"][0]) == pytest.approx(74.1, abs=0.5)
            assert "server" not in response.headers
        assert_problem(client.post("/predict", content=b"text"), 415, "unsupported_format")
        assert_problem(client.get("/nothing"), 404, "not_found")


def test_pipelined_requests_are_answered_in_their_order(service: Service) -> None:
    photo = head(Content_Length=len(PHOTO), X_Request_ID="one") + PHOTO
    bad = head(Content_Length=4, X_Request_ID="two") + b"text"
    last = head("/health", "GET", X_Request_ID="three", Connection="close")
    answers = parsed(service.exchange(photo + bad + photo + last))
    assert [answer.status_code for answer in answers] == [200, 415, 200, 200]
    assert [answer.headers["x-request-id"] for answer in answers] == ["one", "two", "one", "three"]


@pytest.mark.parametrize(("path", "status"), [("/health", b"200"), ("/metrics", b"200"), ("/predict", b"405"), ("/x", b"404")])
def test_head_is_answered_as_get_without_its_body(service: Service, path: str, status: bytes) -> None:
    with service.connected() as connection:
        connection.sendall(head(path, "HEAD", Connection="close"))
        top, _, rest = read_all(connection).partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 " + status)
    assert rest == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + CANARY.encode() * 9,  # TLS to a plain port
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: \xb2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
    ],
    ids=["tls", "negative", "superscript", "overflow", "smuggled", "two-lengths", "bad-chunk", "space"],
)
def test_what_is_not_http_is_refused_and_hurts_nobody(service: Service, sent: bytes) -> None:
    answers = parsed(service.exchange(sent, hang_up=True))
    assert [answer.status_code for answer in answers] in ([400], [])
    assert CANARY not in "".join(answer.text for answer in answers)
    assert httpx.get(service.url + "/health").status_code == 200


def test_a_client_that_hangs_up_hurts_nobody(service: Service) -> None:
    for cut in (10, len(PHOTO)):
        for _ in range(10):
            with service.connected() as connection:
                connection.sendall(head(Content_Length=len(PHOTO)) + PHOTO[:cut])
    assert httpx.post(service.url + "/predict", content=PHOTO).status_code == 200


# The limits of a body -------------------------------------------------------------------------------------------------

MIB = 2**20


def test_a_client_that_sends_too_much_gets_to_read_the_413(service: Service) -> None:
    with service.connected() as connection:
        connection.sendall(head(Content_Length=8 * MIB))
        for _ in range(8):
            connection.sendall(bytes(MIB))
        assert_problem(*parsed(read_all(connection)), 413, "body_too_large")


def test_so_does_one_that_does_not_say_how_much(service: Service) -> None:
    with service.connected() as connection:
        connection.sendall(head(Transfer_Encoding="chunked"))
        for _ in range(8):
            connection.sendall(b"100000\r\n" + bytes(MIB) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert_problem(*parsed(read_all(connection)), 413, "body_too_large")


def test_one_that_stops_sending_is_not_waited_for_long(service: Service) -> None:
    began = time.monotonic()
    with service.connected() as connection:
        connection.sendall(head(Content_Length=100 * MIB) + bytes(2 * MIB))
        assert_problem(*parsed(read_all(connection)), 413, "body_too_large")
    assert time.monotonic() - began < 4


def test_expect_100_continue(service: Service) -> None:
    began = time.monotonic()
    with service.connected() as connection:
        connection.sendall(head(Content_Length=8 * MIB, Expect="100-continue"))
        assert_problem(*parsed(read_all(connection)), 413, "body_too_large")  # and no 100 before it
    assert time.monotonic() - began < 1
    with service.connected() as connection:
        connection.sendall(head(Content_Length=len(PHOTO), Expect="100-continue", Connection="close"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PHOTO)
        (answer,) = parsed(read_all(connection))
        assert answer.status_code == 200


def test_a_body_that_does_not_come_is_408_and_the_connection_closed(service: Service) -> None:
    with service.connected() as connection:
        connection.sendall(head(Content_Length=1000) + b"x")
        assert_problem(*parsed(read_all(connection)), 408, "body_timeout")


def test_curls_form_upload(service: Service) -> None:
    """curl's own way: a boundary of dashes, a file name and a type on the part."""
    boundary = "------------------------d74496d66958873e"
    form = multipart(
        ('Content-Disposition: form-data; name="file"; filename="astronaut.png"\r\nContent-Type: image/png', PHOTO)
    )
    body = form["content"].replace(b"--b", f"--{boundary}".encode())
    answer = httpx.post(
        service.url + "/predict", content=body, headers={"content-type": f"multipart/form-data; boundary={boundary}"}
    )
    assert answer.status_code == 200


# The end --------------------------------------------------------------------------------------------------------------


async def test_sigterm_under_load_drains_and_every_accepted_request_is_answered(tmp_path: Path) -> None:
    with fake(tmp_path / "log", slow=0.5, FACET_DRAIN_DELAY_S="1", FACET_PHOTO_QUEUE="100", FACET_PHOTO_WAIT_S="60") as service:
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=service.url, limits=limits, timeout=15) as client:
            reds = range(60, 260, 8)
            photos = {red: encoded(squares((red, 60, 60))) for red in reds}
            requests = {red: asyncio.create_task(client.post("/predict", content=photos[red])) for red in reds[:15]}
            await asyncio.sleep(0.3)
            service.process.send_signal(signal.SIGTERM)
            terminated = time.monotonic()
            while (await client.get("/health/ready")).status_code != 503:
                assert time.monotonic() - terminated < 0.5
            assert (await client.get("/health/live")).status_code == 200
            requests |= {red: asyncio.create_task(client.post("/predict", content=photos[red])) for red in reds[15:]}
            service.process.send_signal(signal.SIGTERM)  # an impatient second one changes nothing
            await asyncio.sleep(0.5)
            late = asyncio.create_task(client.post("/predict", content=PHOTO))  # still under way when the listener closes
            for red, request in requests.items():
                response = await request
                assert response.status_code == 200
                assert years(response.json()["faces"][0]) == pytest.approx(0.945 * red / 255 * 100, abs=0.6)
            assert (await late).status_code == 200
            assert await asyncio.to_thread(service.exit_status) == 0
            assert 1 <= time.monotonic() - terminated < 5
            with pytest.raises(httpx.ConnectError):
                await client.get("/health")
        assert "Traceback" not in service.log


def test_a_connection_that_a_client_keeps_open_is_ended_by_an_answer_while_the_service_drains(tmp_path: Path) -> None:
    """What is closed without one loses the request that is on its way, and a POST is not sent again."""
    with fake(tmp_path / "log", FACET_DRAIN_DELAY_S="60") as service, service.connected() as connection:
        photo = head(Content_Length=len(PHOTO)) + PHOTO
        connection.sendall(photo)
        first = connection.recv(65536)
        assert first.startswith(b"HTTP/1.1 200")
        assert b"connection: close" not in first.lower()
        service.process.send_signal(signal.SIGTERM)
        while httpx.get(service.url + "/health/ready").status_code != 503:
            time.sleep(0.01)
        connection.sendall(photo)
        (answer,) = parsed(read_all(connection))  # until the service closes it, long before the delay is over
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(("sent", "delay"), [(signal.SIGTERM, "0"), (signal.SIGTERM, "0.3"), (signal.SIGINT, "60")])
def test_an_idle_service_ends_with_0(tmp_path: Path, sent: signal.Signals, delay: str) -> None:
    with fake(tmp_path / "log", FACET_DRAIN_DELAY_S=delay) as service, httpx.Client() as client:
        assert client.get(service.url + "/health").status_code == 200  # a connection that stays open does not hold it up
        service.process.send_signal(sent)
        began = time.monotonic()
        assert service.exit_status() == 0, service.log
        assert time.monotonic() - began < 3
        assert "Traceback" not in service.log


LACKING = """
import signal, sys
sys.modules |= dict.fromkeys(("fcntl", "resource"))
del signal.SIGHUP
"""
"""What Windows has not got, and is asked for while the service starts and serves."""


def test_it_serves_where_a_system_has_no_hang_up_nor_a_number_of_descriptors(tmp_path: Path) -> None:
    with started(tmp_path / "log", sys.executable, "-c", LACKING + FAKE, SLOW="0", FACET_DRAIN_DELAY_S="0") as service:
        assert httpx.post(service.url + "/predict", content=PHOTO).status_code == 200, service.log
        service.process.send_signal(signal.SIGTERM)
        assert service.exit_status() == 0, service.log
        assert "Traceback" not in service.log


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_come_until_the_process_is_gone_end_it_with_0_all_the_same(tmp_path: Path, again: signal.Signals) -> None:
    """Two send SIGTERM, or systemd SIGHUP behind it (`SendSIGHUP=`)."""
    with fake(tmp_path / "log", FACET_DRAIN_DELAY_S="0") as service:
        service.process.send_signal(signal.SIGTERM)
        while service.process.poll() is None:
            service.process.send_signal(again)
            time.sleep(0.0005)
        assert service.exit_status() == 0, service.log
        assert "Traceback" not in service.log


STARTING = """
import os, sys, time

def pause(*_, **__):
    sys.stdout.write("here\\n")
    sys.stdout.flush()
    for _ in range(3000):  # a signal that comes just before a sleep is seen after it
        time.sleep(0.01)

class Finder:
    def find_spec(name, *_):
        return pause() if name == os.environ["AT"] else None

sys.meta_path.insert(0, Finder)
import service.cli
from tests.fakes import engine_factory

parts = {"create_engine": engine_factory()}
if os.environ["AT"] in ("create_engine", "create_app", "run"):
    parts[os.environ["AT"]] = pause
service.cli.main(service.cli.Parts(**parts))
"""
"""`facet` with fakes, which stops and prints where it imports a module, or calls one of its parts."""

FIRST_PROCESS = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""What makes a command the first process of a namespace of its own, as a container does."""


@contextmanager
def starting(at: str, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    """A process that starts and has come to this place."""
    command = [*prefix, sys.executable, "-c", STARTING, "serve", "--host", "127.0.0.1", "--port", "0"]
    environment = os.environ | {"AT": at, "FACET_LOG_LEVEL": "warning"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
@pytest.mark.parametrize("at", ["asyncio", "service.app", "create_engine", "create_app", "run"])
def test_a_signal_ends_a_start_at_once_wherever_it_is(at: str, sent: signal.Signals, status: int) -> None:
    """At the first import, later ones, while the models load, and between them and the server.

    One Ctrl-C in twenty hung while it imported beside the thread that loads the models.
    """
    with starting(at) as process:
        process.send_signal(sent)
        assert process.wait(5) == status
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize("at", ["asyncio", "create_app"])
def test_sigterm_ends_the_start_of_a_containers_first_process(at: str) -> None:
    """It has no default action there, so that a handler must stand all the time."""
    if (
        shutil.which(FIRST_PROCESS[0]) is None
        or subprocess.run([*FIRST_PROCESS, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs unshare, and the right to make a namespace of processes")
    with starting(at, *FIRST_PROCESS) as process:
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        assert process.wait(5) == 0


def test_a_port_that_is_taken_is_an_error_and_no_traceback(tmp_path: Path, service: Service) -> None:
    command = [sys.executable, "-c", FAKE, "serve", "--host", "127.0.0.1", "--port", str(service.port)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"SLOW": "0"}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert "address already in use" in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_a_bad_setting_is_one_line() -> None:
    command = [sys.executable, "-c", FAKE, "serve"]
    environment = os.environ | {"SLOW": "0", "FACET_DEADLINE_S": "soon"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("facet: setting FACET_DEADLINE_S: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


# The real thing -------------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_the_real_service_from_start_to_end(tmp_path: Path, examples: Path) -> None:
    facet = str(Path(sys.executable).with_name("facet"))
    with (
        started(tmp_path / "log", facet, FACET_DRAIN_DELAY_S="0.2") as service,
        httpx.Client(base_url=service.url, timeout=30) as client,
    ):
        state = client.get("/health").json()
        assert state["status"] == "ok"
        assert state["model"]["name"] == Settings().model
        answer = client.post("/predict?landmarks=true", files={"file": (examples / "astronaut.jpg").read_bytes()}).json()
        assert answer["image"] == {"width": 512, "height": 512}
        (face,) = answer["faces"]
        assert face["confidence"] > 0.99
        for key, value in {"x": 182, "y": 61, "width": 85, "height": 111}.items():
            assert face["box"][key] == pytest.approx(value, abs=12)
        assert face["gender"]["label"] == "female"
        assert 25 <= years(face) <= 50
        assert client.get("/model").json()["digest"] == json.loads(client.get("/model").text)["digest"]
        batch = client.post(
            "/predict/batch", files=[("file", path.read_bytes()) for path in sorted(examples.glob("*.jpg"))]
        ).json()
        assert [result["status"] for result in batch["results"]] == [200] * len(batch["results"])
        assert batch["results"][0]["result"]["faces"][0]["box"] == face["box"]
        assert years(batch["results"][0]["result"]["faces"][0]) == pytest.approx(years(face), abs=0.5)
        with Image.open(examples / "astronaut.jpg") as photo:
            for roll, turn in (
                (90, Image.Transpose.ROTATE_270),
                (-90, Image.Transpose.ROTATE_90),
                (180, Image.Transpose.ROTATE_180),
            ):
                rotated = encoded(np.asarray(photo.transpose(turn)))
                (turned,) = client.post("/predict", files={"file": rotated}).json()["faces"]
                assert "rolled" in turned["warnings"]
                assert (turned["quality"]["roll"] - roll - face["quality"]["roll"] + 180) % 360 - 180 == pytest.approx(0, abs=5)
                assert (years(turned), turned["gender"]["label"]) == (pytest.approx(years(face), abs=3), "female")
        service.process.send_signal(signal.SIGTERM)
        assert service.exit_status() == 0, service.log
        assert "Traceback" not in service.log
