"""OpenTelemetry metrics: through the SDK's reader, and through the real exporter to a real receiver."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from localvoice.contract.metrics import Metric
from localvoice.observability.opentelemetry import OpenTelemetryMetrics, otlp_provider
from localvoice.startup import close_metrics, make_metrics


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def metrics(reader: InMemoryMetricReader) -> Iterator[OpenTelemetryMetrics]:
    provider = MeterProvider([reader])
    yield OpenTelemetryMetrics(provider)
    provider.shutdown()


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """The data points of each metric."""
    data = reader.get_metrics_data()
    return {
        metric.name: list(metric.data.data_points)
        for resource in (data.resource_metrics if data else [])
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_counters_gauges_and_histograms(metrics: OpenTelemetryMetrics, reader: InMemoryMetricReader) -> None:
    metrics.increment(Metric.ERRORS, tags={"code": "LLM_ERROR"})
    metrics.increment(Metric.ERRORS, 2, {"code": "LLM_ERROR"})
    metrics.increment(Metric.ERRORS, tags={"code": "STT_ERROR"})
    metrics.gauge(Metric.SESSIONS_ACTIVE, 3)
    metrics.gauge(Metric.SESSIONS_ACTIVE, 2)
    metrics.timing(Metric.STT_DURATION, 120, {"model": "base"})
    metrics.timing(Metric.STT_DURATION, 4, {"model": "base"})
    found = points(reader)
    assert {point.attributes["code"]: point.value for point in found["llmrtc.errors"]} == {
        "LLM_ERROR": 3,
        "STT_ERROR": 1,
    }
    assert [point.value for point in found["llmrtc.sessions.active"]] == [2]
    (histogram,) = found["llmrtc.stt.duration_ms"]
    assert (histogram.count, histogram.sum, histogram.attributes) == (2, 124, {"model": "base"})
    assert histogram.explicit_bounds[0] == 5 and histogram.explicit_bounds[-1] == 60_000
    assert histogram.bucket_counts[0] == 1


def test_what_cannot_be_counted_is_never_raised(
    metrics: OpenTelemetryMetrics, reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        metrics.increment("not a name", 1)
        metrics.increment(Metric.ERRORS, -1)
        metrics.gauge(Metric.SESSIONS_ACTIVE, 1, {"odd": object()})  # type: ignore[dict-item]
    metrics.increment(Metric.ERRORS)
    assert points(reader)["llmrtc.errors"][0].value == 1
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("localvoice")]
    assert len(ours) == 1 and ours[0].startswith("metric not a name: a figure was lost")


def test_without_a_provider_the_figures_go_to_the_processs_own() -> None:
    metrics = OpenTelemetryMetrics()  # none is set here: they go nowhere
    metrics.increment(Metric.ERRORS)
    metrics.timing(Metric.STT_DURATION, 1)
    metrics.gauge(Metric.SESSIONS_ACTIVE, 1)


async def test_closing_leaves_the_applications_provider_alone(
    metrics: OpenTelemetryMetrics, reader: InMemoryMetricReader
) -> None:
    await close_metrics(metrics)
    metrics.increment(Metric.ERRORS)
    assert points(reader)["llmrtc.errors"][0].value == 1


@dataclass
class Collector:
    """A receiver of OTLP over HTTP on this machine."""

    address: str
    paths: list[str] = field(default_factory=list)
    requests: list[ExportMetricsServiceRequest] = field(default_factory=list)

    @property
    def service(self) -> Mapping[str, str]:
        resource = self.requests[-1].resource_metrics[0].resource
        return {each.key: each.value.string_value for each in resource.attributes}

    def metrics(self) -> dict[str, Any]:
        return {
            metric.name: metric
            for request in self.requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.paths.append(self.path)
            found.requests.append(ExportMetricsServiceRequest.FromString(body))
            answer = ExportMetricsServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_real_collector_gets_the_figures_over_http(collector: Collector) -> None:
    metrics = make_metrics("opentelemetry", collector.address)
    metrics.increment(Metric.ERRORS, tags={"code": "LLM_ERROR"})
    metrics.timing(Metric.VOICE_TO_VOICE, 640)
    metrics.gauge(Metric.SESSIONS_ACTIVE, 2)
    await close_metrics(metrics)
    assert set(collector.paths) == {"/v1/metrics"}
    assert collector.service["service.name"] == "localvoice"
    got = collector.metrics()
    (error,) = got["llmrtc.errors"].sum.data_points
    assert (error.as_int, error.attributes[0].value.string_value) == (1, "LLM_ERROR")
    assert got["llmrtc.voice_to_voice.duration_ms"].histogram.data_points[0].sum == 640
    assert got["llmrtc.voice_to_voice.duration_ms"].unit == "ms"
    assert got["llmrtc.sessions.active"].gauge.data_points[0].as_int == 2


async def test_it_closes_once(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    metrics = make_metrics("opentelemetry", collector.address)
    await close_metrics(metrics)
    await close_metrics(metrics)
    assert caplog.records == []


def test_a_provider_of_ones_own_exports_where_it_is_told_to(collector: Collector) -> None:
    provider = otlp_provider(f"{collector.address}/some/where")
    try:
        OpenTelemetryMetrics(provider).increment(Metric.RECONNECTIONS)
        provider.force_flush()
    finally:
        provider.shutdown()
    assert set(collector.paths) == {"/some/where"}
    assert "llmrtc.reconnections" in collector.metrics()


@pytest.mark.parametrize("silent", [False, True])
async def test_a_collector_that_is_away_or_silent_holds_up_neither_the_loop_nor_the_end(
    silent: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("localvoice.observability.opentelemetry._PATIENCE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if not silent:
            listening.close()
        metrics = make_metrics("opentelemetry", address)
        metrics.increment(Metric.ERRORS)
        began = time.monotonic()
        closing = asyncio.create_task(close_metrics(metrics))
        await asyncio.sleep(0.05)
        if silent:
            assert not closing.done()  # and yet the loop goes on
        await closing
        assert time.monotonic() - began < 5
    assert [record for record in caplog.records if record.levelno >= logging.WARNING]
