"""The function that checks a new version on AWS, as the template has it, against the service and against what may go wrong."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.server import tls
from tests.client import ROOT
from tests.deploy.files import checker, ran, template
from tests.s3 import simulated

HOST = "facet.example.com"
CALL = """
import json
import sys

import hook

class Context:
    def get_remaining_time_in_millis(self):
        return int(sys.argv[1])

print(json.dumps(hook.handler({"lifecycleStage": "POST_TEST_TRAFFIC_SHIFT"}, Context())))
"""
FACE = {"box": {}, "age": {"years": 30, "low": 25, "high": 39}}
GOOD = (200, {"faces": [FACE]})


def source() -> str:
    """The function's code, as the template has it."""
    code = template("service")["Resources"]["PredictCheck"]["Properties"]["Code"]["ZipFile"]
    assert isinstance(code, str)
    return code


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tls.Certificate:
    """Of the clients' name; the function is made to trust it."""
    return tls.self_signed(tmp_path_factory.mktemp("certificate"), (HOST,))


def checked(
    folder: Path, certificate: tls.Certificate, port: int, python: str = sys.executable, left_s: int = 200, **environment: str
) -> str:
    """The function's verdict, in a process of its own as on AWS."""
    (folder / "hook.py").write_text(source())
    variables = {
        "ADDRESS": f"127.0.0.1:{port}",
        "HOST_NAME": HOST,
        "TEST_HEADER": "a-guid",
        "API_KEYS_SECRET_ARN": "",
        "PAUSE_S": "0.05",
        "SSL_CERT_FILE": str(certificate.certificate),
        "PYTHONPATH": str(folder),
    }
    output = ran(python, "-c", CALL, str(1000 * left_s), environment=variables | environment)
    return str(json.loads(output.splitlines()[-1])["hookStatus"])


class Answers(BaseHTTPRequestHandler):
    """Gives prepared answers in turn, the last one for ever, and keeps what was asked."""

    server: Prepared

    def do_POST(self) -> None:
        photo = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), photo))
        status, document = self.server.answers[min(len(self.server.asked), len(self.server.answers)) - 1]
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the base class's name
        """Write nothing."""


class Prepared(ThreadingHTTPServer):
    """A service with prepared answers, over TLS."""

    daemon_threads = True

    def __init__(self, certificate: tls.Certificate, answers: list[tuple[int, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)


@contextmanager
def answering(certificate: tls.Certificate, *answers: tuple[int, Any]) -> Iterator[Prepared]:
    with Prepared(certificate, list(answers)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("answers", "verdict", "asked"),
    [
        ([GOOD], "SUCCEEDED", 5),
        ([(200, {"faces": [{"box": {}}]})], "SUCCEEDED", 5),  # a model without ages
        # What is turned away is asked again, and no reason to go back,
        ([(503, {"code": "queue_full"}), (429, {}), GOOD, (504, {}), GOOD], "SUCCEEDED", 8),
        # but for what is the version's own fault there is no second chance.
        ([GOOD, (500, {"code": "inference_failed"}), GOOD], "FAILED", 2),
        ([(401, {"code": "unauthorized"})], "FAILED", 1),
        ([(404, {})], "FAILED", 1),
        ([(200, {"faces": []})], "FAILED", 1),
        ([(200, {"faces": [FACE, FACE]})], "FAILED", 1),
        ([(200, {"faces": [{"age": {"years": 3, "low": 1, "high": 5}}]})], "FAILED", 1),
        ([(200, b"<html>")], "FAILED", 1),
        ([(200, {"status": "ok"})], "FAILED", 1),
    ],
)
def test_what_a_version_answers_decides(
    tmp_path: Path, certificate: tls.Certificate, answers: list[tuple[int, Any]], verdict: str, asked: int
) -> None:
    with answering(certificate, *answers) as server:
        assert checked(tmp_path, certificate, server.server_port) == verdict
        assert len(server.asked) == asked
        for path, headers, photo in server.asked:
            assert path == "/predict"
            assert (headers["Host"], headers["X-Facet-Test"]) == (HOST, "a-guid")
            assert headers["User-Agent"]  # without which the firewall's rules block
            assert photo[8:12] == b"WEBP"


def test_a_version_that_never_answers_is_given_up_in_time(tmp_path: Path, certificate: tls.Certificate) -> None:
    """Before the function itself is ended, which would tell nobody why. So is one that shows another name's certificate."""
    with answering(certificate, (503, {})) as server:
        assert checked(tmp_path, certificate, server.server_port, left_s=30) == "FAILED"
        assert checked(tmp_path, certificate, server.server_port, left_s=30, HOST_NAME="another.example.com") == "FAILED"
        assert len(server.asked) == 1
    assert checked(tmp_path, certificate, server.server_port, left_s=30) == "FAILED"
    timeout = template("service")["Resources"]["PredictCheck"]["Properties"]["Timeout"]
    assert timeout <= 900  # ECS's and Lambda's most


def test_the_function_is_linted_as_all_code_is(tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text(source())
    # Lambda's Python needs no __future__, and its signature no types.
    ran(str(Path(sys.executable).parent / "ruff"), "check", "--ignore", "ANN,I002,PTH,T20,INP", str(tmp_path / "hook.py"))
    assert len(source()) < 4096 * 1024


@pytest.mark.model
def test_the_service_itself_passes_with_its_own_model_and_a_key_out_of_the_secret(
    tmp_path: Path, certificate: tls.Certificate
) -> None:
    python = checker("python")  # the one with boto3, which Lambda's has
    port, log = free_port(), tmp_path / "log"
    environment = {
        "FACET_TLS_CERTIFICATE": str(certificate.certificate),
        "FACET_TLS_KEY": str(certificate.key),
        "FACET_API_KEYS": "the-key,another",
        "FACET_DRAIN_DELAY_S": "0",
        "FACET_THREADS": "1",
        "FACET_WORKERS": "1",
    }
    command = [sys.executable, "-m", "service.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (
        simulated() as variables,
        log.open("wb") as stream,
        subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=stream, stderr=stream) as process,
    ):
        try:
            end = time.monotonic() + 120
            while "running on" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, "it did not start"
                time.sleep(0.1)
            for secret, verdict in (("the-key, another", "SUCCEEDED"), ("a-former-key", "FAILED")):
                name = f"facet/{verdict}"
                create = ["secretsmanager", "create-secret", "--name", name, "--secret-string", secret]
                ran(checker("aws"), *create, environment=variables)
                more = variables | {"API_KEYS_SECRET_ARN": name}
                assert checked(tmp_path, certificate, port, python, **more) == verdict, log.read_text()
        finally:
            process.terminate()
    assert process.returncode == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
