"""What a benchmark measures of a service that stalls, refuses or ends; the service is a small program of its own."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import mmap
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from PIL import Image

psutil = pytest.importorskip("psutil", reason="make bench installs it")

from benchmarks.bench import measures  # noqa: E402
from benchmarks.bench.photos import of_sizes  # noqa: E402
from benchmarks.bench.variants import Variant  # noqa: E402


class Answers(BaseHTTPRequestHandler):
    """Answers at once, or once `held_until` is over; not at all where `gone`."""

    held_until = 0.0
    gone = False
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        time.sleep(max(0.0, self.held_until - time.monotonic()))
        if self.gone:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def answers() -> type[Answers]:
    """How the service answers."""

    return type("Ours", (Answers,), {})


@pytest.fixture
def service(answers: type[Answers]) -> Iterator[Variant]:
    with ThreadingHTTPServer(("127.0.0.1", 0), answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield Variant("made", f"http://127.0.0.1:{server.server_port}", psutil.Process(), 0.0)
        server.shutdown()


def test_photos_of_many_sizes_are_compared_round_by_round(service: Variant) -> None:
    rows = measures.sizes([service, dataclasses.replace(service, name="here")], [b"one", b"two"], 2)
    assert [(row["round"], row["service"]) for row in rows] == [(1, "made"), (1, "here"), (2, "made"), (2, "here")]
    assert all(row["times"] == 1 for row in rows if row["service"] == "here")
    assert all(0 < row["ms"] < 1000 for row in rows)


def test_photos_of_many_sizes_are_the_same_each_time() -> None:
    made = of_sizes(6)
    assert made == of_sizes(6)
    assert len({Image.open(io.BytesIO(data)).size for data in made}) == 6


def test_a_stall_holds_up_every_probe_that_was_due_in_it(service: Variant, answers: type[Answers]) -> None:
    with measures.probed(service) as took:
        answers.held_until = time.monotonic() + 1.4  # a client is there: making it may take a while on a busy machine
        time.sleep(1.8)
    assert len(took) >= 6
    held_up = [one for one in took if one is not None and one > 150]
    assert len(held_up) >= 4, took
    assert max(held_up) > 1000


def test_a_stall_to_the_end_is_counted(service: Variant, answers: type[Answers]) -> None:
    with measures.probed(service) as took:
        answers.held_until = time.monotonic() + 1.0
        time.sleep(0.5)
    assert len([one for one in took if one is not None and one > 150]) >= 3, took


def test_a_probe_without_an_answer_is_lost_and_the_report_is_json(service: Variant, answers: type[Answers]) -> None:
    answers.gone = True
    with measures.probed(service) as took:
        until = time.monotonic() + 20
        while took.count(None) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    lost = [one for one in took if one is None]  # on a busy machine another one may be late when the block ends
    assert len(lost) >= 2, took
    row = measures.tail(lost)
    assert row == {"p95": None, "most": None, "lost": len(lost)}
    json.loads(json.dumps(row), parse_constant=pytest.fail)


def test_a_client_that_is_long_in_the_making_delays_no_probe(service: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Variant.client

    def slowly(variant: Variant) -> httpx.Client:
        time.sleep(2)
        return made(variant)

    monkeypatch.setattr(Variant, "client", slowly)
    with measures.probed(service) as took:
        time.sleep(0.1)
    assert max(one or 0 for one in took) < 1500, took


def test_no_tail_is_longer_than_the_longest_probe() -> None:
    assert measures.tail([5.0] * 9 + [100.0]) == {"p95": pytest.approx(57.2, abs=0.1), "most": 100.0, "lost": 0}
    assert measures.tail([7.0]) == {"p95": 7.0, "most": 7.0, "lost": 0}


def test_no_service_answers_more_than_its_best(service: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service of 10 photos a second that is offered twice as many for two seconds, and answers all of its line in four."""
    answered = {"answered": 40, "photos_per_second": 10.0}
    monkeypatch.setattr(measures, "generate", lambda *_: dict(answered))
    rows = measures.open_loop([service], tmp_path, {"made": 10.0}, (2,), 2)
    assert [row["goodput"] for row in rows] == [1.0, 1.0]


def test_a_service_that_ends_is_no_figure_of_memory(service: Variant, answers: type[Answers], tmp_path: Path) -> None:
    photo = tmp_path / "photo.bin"
    photo.write_bytes(b"photo")
    answers.gone = True
    with pytest.raises(httpx.TransportError):
        measures.memory([service], [photo], [20])


@pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="make bench installs it")
def test_the_generators_memory_is_its_own(service: Variant, tmp_path: Path) -> None:
    """It is started by a process that holds much, as the benchmark's own does."""
    photo = tmp_path / "photo.bin"
    photo.write_bytes(b"photo")
    much = bytearray(400 * 2**20)
    much[:: mmap.PAGESIZE] = b"1" * len(much[:: mmap.PAGESIZE])
    row = measures.generate(service, [photo], 1, 0.2)
    assert row["answered"] > 0
    assert 20 < row["generator_mib"] < 200, len(much)


def test_what_was_measured_is_kept_where_a_later_section_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = importlib.import_module("benchmarks.bench.__main__")

    def measure(found: dict[str, Any], *_: Any) -> None:
        found["start"] = [{"service": "here", "ready_s": 2.5, "mib": 300.0}]
        raise httpx.ReadError("the service ended")

    monkeypatch.setattr(program, "measure", measure)
    monkeypatch.setattr(program, "end_as_by_ctrl_c", lambda: None)
    monkeypatch.setattr(sys, "argv", ["bench", "--out", str(tmp_path), "--base", "HEAD"])
    with pytest.raises(httpx.ReadError):
        program.main()
    assert json.loads((tmp_path / "report.json").read_text())["start"][0]["ready_s"] == 2.5
    assert "| here | 2.5 | 300.0 |" in (tmp_path / "report.md").read_text()


def test_the_earlier_commit_is_needed_only_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = importlib.import_module("benchmarks.bench.__main__")

    def measure(found: dict[str, Any], *_: Any) -> None:
        found["limit"] = [{"network": "mobilenet/5", "a second": 100.0}]

    monkeypatch.setattr(program, "measure", measure)
    monkeypatch.setattr(program, "end_as_by_ctrl_c", lambda: None)
    monkeypatch.setattr(sys, "argv", ["bench", "--out", str(tmp_path), "--base", "no-commit", "--only", "limit"])
    program.main()
    assert "base" not in json.loads((tmp_path / "report.json").read_text())["run"]


def test_a_page_that_is_not_there_is_said_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = importlib.import_module("benchmarks.bench.__main__")
    monkeypatch.setattr(sys, "argv", ["bench", "--out", str(tmp_path), "--page", str(tmp_path / "none.md")])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
