"""Spans, as a collector receives them over OTLP: of requests and their stages, within the trace of whoever asks."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.settings import Settings
from service.tracing import RequestRecord
from tests.client import disposition, multipart, serving
from tests.conftest import encoded
from tests.fakes import squares

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytest.importorskip("opentelemetry.sdk.trace")

PHOTO = encoded(squares((200, 100, 50)))
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["wait", "decode", "detect", "crop", "predict"]


class Collector(ThreadingHTTPServer):
    """Takes what is posted to /v1/traces."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> list[Any]:
        """Every span, in the order in which it arrived."""
        resources = [resource for one in self.requests for resource in one.resource_spans]
        return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]


class Handler(BaseHTTPRequestHandler):
    """Reads one export."""

    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            raise NotImplementedError
        assert self.path == "/v1/traces"
        self.server.requests.append(trace_service.ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


async def test_a_request_and_its_stages_are_spans_of_the_callers_trace(collector: Collector) -> None:
    async with serving(otlp_endpoint=collector.url) as client:
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "mine"}
        assert (await client.post("/predict", content=PHOTO, headers=headers)).status_code == 200
        for path in ("/health", "/health/live", "/health/ready", "/metrics"):
            await client.get(path)
    spans = collector.spans
    *stages, request = sorted(spans, key=lambda span: span.name == "POST /predict")
    assert [span.name for span in stages] == STAGES
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert request.parent_span_id.hex() == CALLER
    assert {span.parent_span_id for span in stages} == {request.span_id}
    assert all(
        request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= request.end_time_unix_nano
        for span in stages
    )
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "http.request.body.size": len(PHOTO),
        "facet.request_id": "mine",
        "facet.faces": 1,
        "facet.outcome": "answered",
    }
    named = {one.key: one.value.string_value for one in collector.requests[0].resource_spans[0].resource.attributes}
    assert named["service.name"] == "facet"


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=faces,deployment.environment.name=west"}, "faces"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=west"}, "facet"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=faces", "OTEL_SERVICE_NAME": "portraits"}, "portraits"),
    ],
)
async def test_the_operator_names_the_replica(
    collector: Collector, environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    async with serving(otlp_endpoint=collector.url) as client:
        await client.get("/model")
    named = {one.key: one.value.string_value for one in collector.requests[0].resource_spans[0].resource.attributes}
    assert named["service.name"] == name
    assert named.get("deployment.environment.name", "") in environment["OTEL_RESOURCE_ATTRIBUTES"]


async def test_photos_of_a_batch_keep_their_stages_and_a_problem_its_code(collector: Collector) -> None:
    async with serving(otlp_endpoint=collector.url) as client:
        await client.post("/predict/batch", **multipart((disposition(), PHOTO), (disposition(), PHOTO)))
        await asyncio.gather(*(client.post("/predict", content=b"text") for _ in range(3)))
    by_trace: dict[bytes, list[Any]] = {}
    for span in collector.spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    assert len(by_trace) == 4  # a trace of its own for each that brought none
    batch = [spans for spans in by_trace.values() if any(span.name == "POST /predict/batch" for span in spans)]
    assert sorted(span.name for span in batch[0]) == sorted([*STAGES, *STAGES, "POST /predict/batch"])
    refused = [span for span in collector.spans if span.name == "POST /predict"]
    assert [attributes(span)["error.type"] for span in refused] == ["unsupported_format"] * 3
    assert all(span.parent_span_id == b"" for span in refused)


@pytest.mark.parametrize(("flags", "ratio", "kept"), [("00", 1, 0), ("01", 0, 1)])
async def test_the_caller_decides_whether_its_trace_is_kept(collector: Collector, flags: str, ratio: float, kept: int) -> None:
    async with serving(otlp_endpoint=collector.url, trace_ratio=ratio) as client:
        await client.post("/predict", content=PHOTO, headers={"traceparent": f"00-{TRACE}-{CALLER}-{flags}"})
        await client.post("/predict", content=PHOTO) if ratio == 0 else None
    assert [span.name for span in collector.spans if span.name.startswith("POST")] == ["POST /predict"] * kept


async def test_a_collector_that_is_gone_fails_no_request() -> None:
    async with serving(otlp_endpoint="http://127.0.0.1:9") as client:
        assert (await client.post("/predict", content=PHOTO)).status_code == 200


def test_a_collector_that_does_not_answer_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not once for each batch of spans that is left: the end would outlast what an orchestrator waits."""
    spans = pytest.importorskip("service.api.spans")
    monkeypatch.setattr(spans, "FLUSH_MS", 500)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracer = spans.Spans(f"http://127.0.0.1:{silent.getsockname()[1]}", 1)
        for number in range(2000):
            tracer.begin(RequestRecord(str(number)), "", "")()
        began = time.monotonic()
        tracer.close()
        assert time.monotonic() - began < 3


async def test_metrics_name_a_trace_where_openmetrics_is_asked_for(collector: Collector) -> None:
    async with serving(otlp_endpoint=collector.url) as client:
        await client.post("/predict", content=PHOTO, headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
        plain = await client.get("/metrics")
        open_metrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert TRACE not in plain.text
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = text_string_to_metric_families(open_metrics.text)
    (seconds,) = [family for family in families if family.name == "facet_request_seconds"]
    exemplars = [sample.exemplar.labels for sample in seconds.samples if sample.exemplar]
    assert {"trace_id": TRACE} in exemplars


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="otlp_endpoint"):
        Settings(otlp_endpoint="collector:4318")
