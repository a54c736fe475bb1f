"""The log as documents: every line of a process is one, and a request's says who asked what, and what became of it."""

from __future__ import annotations

import io
import json
import signal
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import ExifTags, Image

from service.tracing import trace_of
from tests.client import ROOT, disposition, multipart
from tests.conftest import encoded
from tests.fakes import squares
from tests.service.server.test_serve import PHOTO, Service, fake, started

pytest.importorskip("pythonjsonlogger")

FAILING = """
import service.cli
from tests.fakes import FailingNetwork, engine_factory
service.cli.main(service.cli.Parts(engine_factory(FailingNetwork())))
"""
DOCUMENTS = {"FACET_LOG_FORMAT": "json", "FACET_DRAIN_DELAY_S": "0"}
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
PAIR = encoded(squares((200, 100, 50), (20, 200, 100)))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with fake(tmp_path / "log", **DOCUMENTS, FACET_API_KEYS="secret-one", FACET_LOG_LEVEL="info") as running:
        yield running


def ended(service: Service) -> list[dict[str, Any]]:
    """Every line of the log, once the process has ended: each must be a document with the fields that all have."""
    service.process.send_signal(signal.SIGTERM)
    assert service.exit_status() == 0
    lines = [json.loads(line) for line in service.log.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    return lines


def requests(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["logger"] == "facet.access"]


def test_every_line_is_a_document_and_a_request_says_what_became_of_it(service: Service) -> None:
    with httpx.Client(base_url=service.url, headers={"X-API-Key": "secret-one"}) as client:
        client.post("/predict", content=PAIR, headers={"X-Request-ID": "mine", "traceparent": PARENT})
        client.post("/predict", content=b"text", headers=[("traceparent", PARENT), ("traceparent", PARENT)])
        client.post("/predict/batch", **multipart((disposition(), PHOTO), (disposition(), b"nothing")))
        client.post("/predict", content=PHOTO, headers={"X-API-Key": "wrong"})
        client.get("/nowhere")
        for path in ("/health", "/health/live", "/health/ready", "/metrics"):
            client.get(path)
    lines = ended(service)
    expected = [
        ("/predict", 200, "answered", 2, 0),
        ("/predict", 415, "unsupported_format", 0, 0),
        ("/predict/batch", 200, "answered", 1, 1),
        ("/predict", 401, "unauthenticated", 0, 0),
        ("unknown", 404, "not_found", 0, 0),
    ]
    found = requests(lines)
    # A line is written after its answer: on a busy machine the next request's may come first.
    found.sort(key=lambda one: [known[:2] for known in expected].index((one["route"], one["status"])))
    assert [(one["route"], one["status"], one["outcome"], one["faces"], one["failed"]) for one in found] == expected
    first = found[0]
    assert (first["request_id"], first["trace_id"], first["method"]) == ("mine", TRACE, "POST")
    assert first["bytes"] == len(PAIR)
    assert first["duration_ms"] > 0
    assert len(first["key"]) == 16
    assert [one["key"] for one in found] == [first["key"]] * 3 + [None, None]
    assert found[1]["trace_id"] is None
    assert "secret-one" not in service.log


def test_a_stream_is_one_line_and_one_that_is_refused_another(service: Service) -> None:
    sockets = pytest.importorskip("websockets.sync.client")
    with sockets.connect(f"ws://127.0.0.1:{service.port}/stream") as camera:
        camera.send('{"type": "start", "key": "secret-one"}')
        assert json.loads(camera.recv())["type"] == "ready"
    with pytest.raises(Exception, match="404"):
        sockets.connect(f"ws://127.0.0.1:{service.port}/nowhere")
    lines = ended(service)
    started = next(number for number, line in enumerate(lines) if "running on" in line["message"])
    stopped = next(number for number, line in enumerate(lines) if line["message"].startswith("draining"))
    assert sorted((line["logger"], line.get("route", line["message"])) for line in lines[started + 1 : stopped]) == [
        ("facet.access", "/stream"),
        ("facet.access", "unknown"),
    ]


def test_what_fails_is_one_line_with_its_request(tmp_path: Path) -> None:
    """A traceback stands within its document."""
    with started(tmp_path / "log", sys.executable, "-c", FAILING, **DOCUMENTS) as service:
        answer = httpx.post(service.url + "/predict", content=encoded(squares((250, 0, 0))), headers={"traceparent": PARENT})
        assert answer.status_code == 500
        lines = ended(service)
    (failed,) = [line for line in lines if line["level"] == "ERROR"]
    assert failed["request_id"] == answer.headers["x-request-id"]
    assert failed["trace_id"] == TRACE
    assert "Traceback" in failed["exc_info"]


def test_decoders_write_nothing_of_a_damaged_photo(service: Service) -> None:
    pixels = squares((200, 100, 50))
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a maker of cameras"
    header = bytearray(exif.tobytes())
    at = header.index(struct.pack(">H", ExifTags.Base.Make)) + 8
    header[at : at + 4] = struct.pack(">I", 0xFFFF)  # where its text is said to stand
    photos = [encoded(pixels, "JPEG", exif=bytes(header)), encoded(pixels, "WEBP")[:30]]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Image.open(io.BytesIO(photos[0])).getexif()
    assert caught
    statuses = [
        httpx.post(service.url + "/predict", content=photo, headers={"X-API-Key": "secret-one"}).status_code for photo in photos
    ]
    assert statuses == [200, 422]
    lines = ended(service)
    assert {line["logger"] for line in lines} <= {"facet", "facet.access", "uvicorn.error"}


def test_no_library_logs_what_it_is_given() -> None:
    """botocore would log the token by which a replica reads its model store."""
    pytest.importorskip("botocore")
    program = """
import logging
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from service.server.process import configure_logging

configure_logging("debug")
logging.getLogger("facet.access").debug("a probe")
request = AWSRequest("GET", "https://bucket.s3.amazonaws.com/models/mobilenet/5/model.json")
request.context = {}
S3SigV4Auth(Credentials("name", "secret", "token-of-a-role"), "s3", "eu-central-1").add_auth(request)
assert request.headers["X-Amz-Security-Token"] == "token-of-a-role"
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "DEBUG facet.access: a probe" in done.stderr
    assert "token-of-a-role" not in done.stderr


def test_a_setting_that_is_refused_is_a_document_too(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="did not start"),
        fake(tmp_path / "log", **DOCUMENTS, FACET_MAX_FACES="none"),
    ):
        pass
    (line,) = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert line["level"] == "CRITICAL"
    assert line["message"].startswith("setting FACET_MAX_FACES: ")


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (PARENT, TRACE),
        (f"01-{TRACE}-b7ad6b7169203331-01-later", TRACE),
        (f"00-{TRACE}-b7ad6b7169203331-01-later", ""),
        (f"ff-{TRACE}-b7ad6b7169203331-01", ""),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (PARENT.upper(), ""),
        ("", ""),
        ("canary", ""),
    ],
)
def test_a_trace_is_that_of_a_traceparent_as_the_standard_has_it(header: str, trace: str) -> None:
    assert trace_of(header) == trace
