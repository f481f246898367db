"""Metrics: their names, and the adapters that need no library."""

import io
import logging
import sys
from typing import Any

import pytest
from rich.console import Console

from localvoice.config import ConfigError
from localvoice.contract.metrics import Metric, Metrics, NoMetrics
from localvoice.observability.adapters import ConsoleMetrics, ContainedMetrics, Figure, InMemoryMetrics
from localvoice.observability.prometheus import PrometheusMetrics
from localvoice.startup import MetricsKind, close_metrics, make_metrics

# The names that the contract promises; dashboards know them.
NAMES = """
llmrtc.stt.duration_ms llmrtc.llm.ttft_ms llmrtc.llm.duration_ms llmrtc.llm.tokens llmrtc.tts.duration_ms
llmrtc.turn.duration_ms llmrtc.session.duration_ms llmrtc.sessions.active llmrtc.session.turns llmrtc.errors
llmrtc.connections.active llmrtc.reconnections llmrtc.tool.duration_ms llmrtc.tool.calls llmrtc.tool.errors
llmrtc.playbook.stage.duration_ms llmrtc.playbook.transitions llmrtc.playbook.stage.turns
llmrtc.playbook.stage.current llmrtc.playbook.completions
""".split()
OURS = {
    Metric.VOICE_TO_VOICE,
    Metric.ENDPOINT_DELAY,
    Metric.TRANSCRIPT_DELAY,
    Metric.FIRST_TOKEN_DELAY,
    Metric.FIRST_PIECE_DELAY,
    Metric.BARGE_IN_STOP,
    Metric.CONVERSATIONS_ACTIVE,
    Metric.CONVERSATIONS_CAPACITY,
}


def test_the_names_are_exact() -> None:
    assert {str(metric) for metric in Metric} == {*NAMES, *OURS}
    assert len(NAMES) == 20


def use(metrics: Metrics) -> None:
    metrics.increment(Metric.ERRORS, tags={"code": "LLM_ERROR"})
    metrics.timing(Metric.STT_DURATION, 120.25, {"model": "base"})
    metrics.gauge(Metric.SESSIONS_ACTIVE, 3)


def test_in_memory_keeps_every_figure_in_order() -> None:
    metrics = InMemoryMetrics()
    use(metrics)
    assert metrics.figures == [
        Figure("increment", "llmrtc.errors", 1, {"code": "LLM_ERROR"}),
        Figure("timing", "llmrtc.stt.duration_ms", 120.25, {"model": "base"}),
        Figure("gauge", "llmrtc.sessions.active", 3, {}),
    ]
    assert metrics.names() == {"llmrtc.errors", "llmrtc.stt.duration_ms", "llmrtc.sessions.active"}


def test_in_memory_finds_figures_by_name_and_tags() -> None:
    metrics = InMemoryMetrics()
    metrics.increment(Metric.ERRORS, tags={"code": "LLM_ERROR", "component": "llm"})
    metrics.increment(Metric.ERRORS, 2, {"code": "STT_ERROR", "component": "stt"})
    metrics.timing(Metric.STT_DURATION, 10, {"status": "success"})
    metrics.timing(Metric.STT_DURATION, 20, {"status": "error"})
    metrics.gauge(Metric.SESSIONS_ACTIVE, 1)
    metrics.gauge(Metric.SESSIONS_ACTIVE, 0)
    assert metrics.count(Metric.ERRORS) == 3
    assert metrics.count(Metric.ERRORS, component="stt") == 2
    assert metrics.count(Metric.ERRORS, code="LLM_ERROR", component="stt") == 0
    assert metrics.timings(Metric.STT_DURATION) == [10, 20]
    assert metrics.timings(Metric.STT_DURATION, status="error") == [20]
    assert metrics.current(Metric.SESSIONS_ACTIVE) == 0
    assert metrics.current(Metric.CONNECTIONS_ACTIVE) is None
    metrics.clear()
    assert metrics.count(Metric.ERRORS) == 0


def test_in_memory_keeps_tags_as_they_were() -> None:
    metrics, tags = InMemoryMetrics(), {"model": "tiny"}
    metrics.increment(Metric.TOOL_CALLS, tags=tags)
    tags["model"] = "base"
    assert metrics.count(Metric.TOOL_CALLS, model="tiny") == 1


def test_the_console_shows_a_line_for_each_figure() -> None:
    screen = io.StringIO()
    metrics = ConsoleMetrics(Console(file=screen, width=20))
    use(metrics)
    metrics.increment(Metric.TOOL_CALLS, tags={"tool": "[red]odd[/red]"})
    assert screen.getvalue().splitlines() == [
        "llmrtc.errors +1 code=LLM_ERROR",
        "llmrtc.stt.duration_ms 120.2 ms model=base",
        "llmrtc.sessions.active = 3",
        "llmrtc.tool.calls +1 tool=[red]odd[/red]",
    ]


@pytest.mark.parametrize("logger", [None, logging.getLogger("some.app")])
def test_the_log_gets_the_figures_as_fields(
    logger: logging.Logger | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    use(ConsoleMetrics(logger))
    timing = caplog.records[1]
    assert timing.name == (logger.name if logger else "localvoice.metrics")
    assert timing.getMessage() == "llmrtc.stt.duration_ms 120.2 ms model=base"
    assert vars(timing)["metric"] == "llmrtc.stt.duration_ms"
    assert vars(timing)["value"] == 120.25
    assert vars(timing)["tags"] == {"model": "base"}


def test_an_adapter_of_metrics_gets_what_was_given() -> None:
    calls: list[tuple[object, ...]] = []

    class Notes:
        def increment(self, *given: object) -> None:
            calls.append(given)

        timing = gauge = increment

    metrics = ContainedMetrics(Notes())
    metrics.increment(Metric.ERRORS)
    metrics.timing(Metric.STT_DURATION, 2.5, {"model": "base"})
    metrics.gauge("own", 3)
    assert calls == [(Metric.ERRORS, 1, {}), (Metric.STT_DURATION, 2.5, {"model": "base"}), ("own", 3, {})]
    assert calls[0][0] is Metric.ERRORS, "a name keeps its type"


@pytest.mark.parametrize("error", [BrokenPipeError, OSError])
def test_a_console_that_has_gone_ends_nothing(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    console = Console(file=Gone())
    # What rich does when a pipe breaks, but for taking the test run's own stdout away.
    monkeypatch.setattr(console, "on_broken_pipe", lambda: sys.exit(1))
    metrics = ConsoleMetrics(console)
    use(metrics)
    use(metrics)
    assert len(caplog.records) == 3  # once for each of the metrics


@pytest.mark.parametrize(
    ("kind", "made"),
    [("none", NoMetrics), ("console", ConsoleMetrics), ("prometheus", PrometheusMetrics)],
)
async def test_the_settings_choose_the_adapter(kind: MetricsKind, made: type[Any]) -> None:
    metrics = make_metrics(kind, None)
    assert type(metrics) is made
    use(metrics)
    await close_metrics(metrics)


@pytest.mark.parametrize(
    "endpoint", [None, "", "localhost:4318", "http://", "ftp://127.0.0.1", "http://[::1"]
)
def test_opentelemetry_needs_the_address_of_a_collector(endpoint: str | None) -> None:
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:4318"):
        make_metrics("opentelemetry", endpoint)


@pytest.mark.parametrize(
    ("kind", "library", "packages"),
    [
        ("prometheus", "prometheus_client", "prometheus-client"),
        (
            "opentelemetry",
            "opentelemetry.sdk.metrics",
            "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http",
        ),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(
    kind: MetricsKind, library: str, packages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"{sys.executable} -m pip install {packages}$"):
        make_metrics(kind, "http://127.0.0.1:1")
