"""Spans of requests and their stages, sent to an OpenTelemetry collector; needs the extra `traces`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_span_id, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from typing_extensions import override

from service import __version__
from service.tracing import RequestRecord, Tracer

FLUSH_MS: Final = 5000
"""Most milliseconds that the end waits for a collector."""


class Spans(Tracer):
    """Makes a span of every request and of each of its stages, and sends them in the background.

    What the collector does not take in time is dropped: no request waits for it. `endpoint` is its address, to which
    `/v1/traces` is added; `ratio` is the share, 0 to 1, of traces that begin here and are kept. What begins elsewhere is kept
    as it says there.
    """

    def __init__(self, endpoint: str, ratio: float) -> None:
        url = endpoint.rstrip("/")
        exporter = OTLPSpanExporter(endpoint=url if url.endswith("/v1/traces") else url + "/v1/traces", timeout=FLUSH_MS / 1000)
        own = {"service.name": "facet", "service.version": __version__}
        told = OTELResourceDetector().detect().attributes  # by the environment, before which our own would go
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)), resource=Resource.create({**own, **told}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("facet", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @override
    def begin(self, record: RequestRecord, traceparent: str, tracestate: str) -> Callable[[], None]:
        parent = self._propagator.extract({"traceparent": traceparent, "tracestate": tracestate})
        span = self._tracer.start_span("request", parent, SpanKind.SERVER, start_time=record.began_ns)
        context = span.get_span_context()
        record.trace_id, record.span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
        record.sampled = context.trace_flags.sampled
        return partial(self._end, span, record)

    def _end(self, span: Span, record: RequestRecord) -> None:
        """Name the span by what is known of its request now, and end it after its stages."""
        span.update_name(f"{record.method} {record.route}")
        span.set_attributes(
            {
                "http.request.method": record.method,
                "http.route": record.route,
                "http.response.status_code": record.status,
                "http.request.body.size": record.bytes,
                "facet.request_id": record.request_id,
                "facet.faces": record.faces,
                "facet.outcome": record.outcome,
            }
        )
        if record.outcome != "answered":
            span.set_attribute("error.type", record.outcome)
        if record.status in range(500, 600):
            span.set_status(Status(StatusCode.ERROR))
        within = set_span_in_context(span)
        for stage in record.stages or ():
            self._tracer.start_span(stage.name, within, start_time=stage.began_ns).end(stage.ended_ns)
        span.end()

    @override
    def close(self) -> None:
        # The SDK waits for a collector as often as there are batches left, and regards no timeout.
        end = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        end.start()
        end.join(FLUSH_MS / 1000)
