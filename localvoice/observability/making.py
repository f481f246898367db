"""The metrics adapter that the settings ask for."""

from typing import Literal

from localvoice.config import ConfigError
from localvoice.contract.metrics import Metrics, NoMetrics
from localvoice.observability.console import ConsoleMetrics
from localvoice.observability.opentelemetry import OpenTelemetryMetrics
from localvoice.observability.prometheus import PrometheusMetrics

MetricsKind = Literal["none", "console", "prometheus", "opentelemetry"]


def make_metrics(kind: MetricsKind, otlp_endpoint: str | None = None) -> Metrics:
    """An adapter; end it with `close_metrics`.

    Raises `ConfigError` if its library isn't installed, or if OpenTelemetry is given no usable endpoint.
    """
    match kind:
        case "none":
            return NoMetrics()
        case "console":
            return ConsoleMetrics()
        case "prometheus":
            return PrometheusMetrics()
        case "opentelemetry":
            if not otlp_endpoint:
                raise ConfigError(
                    "OpenTelemetry metrics need the address of a collector, such as http://127.0.0.1:4318"
                )
            return OpenTelemetryMetrics.over_otlp(otlp_endpoint)


async def close_metrics(metrics: Metrics) -> None:
    """Export what is left, if this adapter exports; takes a few seconds at most and never raises."""
    if isinstance(metrics, OpenTelemetryMetrics):
        await metrics.close()
