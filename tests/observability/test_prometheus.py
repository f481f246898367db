"""Prometheus metrics, as its own parser reads them."""

import threading

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from localvoice.contract.metrics import Metric
from localvoice.observability.prometheus import PrometheusMetrics


def families(metrics: PrometheusMetrics) -> dict[str, Family]:
    body, _ = metrics.render()
    read = text_string_to_metric_families(body.decode())
    return {family.name: family for family in read if not family.name.endswith("_created")}


def value(metrics: PrometheusMetrics, sample: str, **labels: str) -> float:
    """The value of the one sample with just these labels."""
    (found,) = [
        each.value
        for family in families(metrics).values()
        for each in family.samples
        if each.name == sample and each.labels == labels
    ]
    return found


def test_counters_gauges_and_histograms_under_their_names() -> None:
    metrics = PrometheusMetrics()
    metrics.increment(Metric.ERRORS, tags={"code": "LLM_ERROR"})
    metrics.increment(Metric.ERRORS, 2, {"code": "LLM_ERROR"})
    metrics.increment(Metric.ERRORS, tags={"code": "STT_ERROR"})
    metrics.gauge(Metric.SESSIONS_ACTIVE, 3)
    metrics.gauge(Metric.SESSIONS_ACTIVE, 2)
    metrics.timing(Metric.STT_DURATION, 120, {"model": "base"})
    metrics.timing(Metric.STT_DURATION, 4, {"model": "base"})
    found = families(metrics)
    assert found["llmrtc_errors"].type == "counter"
    assert found["llmrtc_sessions_active"].type == "gauge"
    assert found["llmrtc_stt_duration_ms"].type == "histogram"
    assert found["llmrtc_stt_duration_ms"].documentation == "llmrtc.stt.duration_ms"
    assert value(metrics, "llmrtc_errors_total", code="LLM_ERROR") == 3
    assert value(metrics, "llmrtc_errors_total", code="STT_ERROR") == 1
    assert value(metrics, "llmrtc_sessions_active") == 2
    assert value(metrics, "llmrtc_stt_duration_ms_count", model="base") == 2
    assert value(metrics, "llmrtc_stt_duration_ms_sum", model="base") == 124
    assert value(metrics, "llmrtc_stt_duration_ms_bucket", model="base", le="5.0") == 1
    assert value(metrics, "llmrtc_stt_duration_ms_bucket", model="base", le="150.0") == 2


def test_the_buckets_suit_a_voice() -> None:
    metrics = PrometheusMetrics()
    metrics.timing(Metric.VOICE_TO_VOICE, 800)
    ends = [
        float(sample.labels["le"])
        for sample in families(metrics)["llmrtc_voice_to_voice_duration_ms"].samples
        if sample.name.endswith("_bucket")
    ]
    assert ends[0] == 5 and ends[-2:] == [60_000, float("inf")]
    assert len([end for end in ends if 100 <= end <= 1000]) >= 8


def test_the_answer_says_what_it_is() -> None:
    body, content_type = PrometheusMetrics().render()
    assert body == b""
    assert content_type.startswith("text/plain; version=")


def test_every_metric_of_the_contract_can_be_all_three() -> None:
    for record in ("increment", "timing", "gauge"):
        metrics = PrometheusMetrics()
        for metric in Metric:
            getattr(metrics, record)(metric, 1.5)
        assert set(families(metrics)) == {metric.replace(".", "_") for metric in Metric}


def test_other_tags_later_are_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    metrics = PrometheusMetrics()
    metrics.increment(Metric.TOOL_CALLS, tags={"tool": "time", "status": "ok"})
    for _ in range(3):
        metrics.increment(Metric.TOOL_CALLS, tags={"tool": "time", "colour": "red"})
    metrics.increment(Metric.TOOL_CALLS)
    assert value(metrics, "llmrtc_tool_calls_total", tool="time", status="ok") == 1
    assert value(metrics, "llmrtc_tool_calls_total", tool="time", status="") == 3
    assert value(metrics, "llmrtc_tool_calls_total", tool="", status="") == 1
    assert [record.getMessage() for record in caplog.records] == [
        "metric llmrtc.tool.calls: tags that its first figure hadn't are left out (colour)"
    ]


def test_tags_after_a_first_figure_without_any_are_left_out() -> None:
    metrics = PrometheusMetrics()
    metrics.timing(Metric.TTS_DURATION, 10)
    metrics.timing(Metric.TTS_DURATION, 20, {"voice": "amy"})
    assert value(metrics, "llmrtc_tts_duration_ms_count") == 2


@pytest.mark.parametrize("key", ["le", "__name", "a-b", "1st", "", "größe"])
def test_any_tag_becomes_a_label(key: str) -> None:
    metrics = PrometheusMetrics()
    metrics.timing(Metric.TTS_DURATION, 10, {key: 'quote " newline \n backslash \\'})
    (count,) = [
        sample
        for sample in families(metrics)["llmrtc_tts_duration_ms"].samples
        if sample.name.endswith("_count")
    ]
    assert list(count.labels.values()) == ['quote " newline \n backslash \\']


def test_what_cannot_be_counted_is_said_once_and_never_raised(caplog: pytest.LogCaptureFixture) -> None:
    metrics = PrometheusMetrics()
    for _ in range(3):
        metrics.increment(Metric.ERRORS, -1)  # a counter only goes up
        metrics.gauge(Metric.ERRORS, 1)  # the name is taken by the counter
        metrics.timing("", 1)
        metrics.gauge(Metric.SESSIONS_ACTIVE, "many")  # type: ignore[arg-type]
    metrics.increment(Metric.ERRORS)
    assert value(metrics, "llmrtc_errors_total") == 1
    assert len(caplog.records) == 3  # once for each of the metrics


def test_two_adapters_share_nothing_unless_they_share_a_registry() -> None:
    registry = CollectorRegistry()
    one, two = PrometheusMetrics(registry), PrometheusMetrics()
    one.increment(Metric.RECONNECTIONS)
    assert registry.get_sample_value("llmrtc_reconnections_total") == 1
    assert families(two) == {}


def test_threads_may_count_too(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    start = threading.Barrier(8)

    def count() -> None:
        start.wait()
        for number in range(100):
            metrics.increment(f"tool.{number}", tags={"tool": "time"})

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [f"tool_{number}_total" for number in range(100)]
    assert {registry.get_sample_value(name, {"tool": "time"}) for name in names} == {8}
    assert caplog.records == []
