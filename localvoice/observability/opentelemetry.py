"""Metrics for OpenTelemetry. Needs the packages of the extra `opentelemetry`."""

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from localvoice.config import ConfigError
from localvoice.contract.metrics import Tags
from localvoice.observability.adapters import BUCKETS_MS, Adapter, Kind, missing_library

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

log = logging.getLogger(__name__)

_PACKAGES: Final = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
_EXPORT_SECONDS: Final = 10.0
"""Time between two exports."""
_PATIENCE_SECONDS: Final = 3.0
"""How long an export may take; a collector that is away must not hold up the end of the process."""
_LEAVE_SECONDS: Final = 1.0
"""Beyond that, for the exporter's thread to say what went wrong, and to end."""


class OpenTelemetryMetrics(Adapter):
    """Counters, gauges and histograms (ms) of the meter `localvoice`, under the metrics' own names."""

    def __init__(self, meter_provider: "MeterProvider | None" = None) -> None:
        """Without a provider, the one that the application has set for the whole process.

        Raises `ConfigError` if the library isn't installed.
        """
        super().__init__()
        try:
            from opentelemetry.metrics import get_meter
        except ModuleNotFoundError as error:
            raise missing_library("OpenTelemetry metrics", *_PACKAGES) from error
        meter = get_meter("localvoice", meter_provider=meter_provider)
        histogram = partial(
            meter.create_histogram, unit="ms", explicit_bucket_boundaries_advisory=list(BUCKETS_MS)
        )
        self._make: dict[Kind, Callable[[str], Callable[..., None]]] = {
            "increment": lambda name: meter.create_counter(name).add,
            "timing": lambda name: histogram(name).record,
            "gauge": lambda name: meter.create_gauge(name).set,
        }
        """What makes an instrument of this kind; gives what records a value with it."""
        self._instruments: dict[tuple[Kind, str], Callable[..., None]] = {}
        self._lock = threading.Lock()  # a tool may count in a thread of its own
        self._own_provider: SdkMeterProvider | None = None

    @classmethod
    def over_otlp(cls, endpoint: str) -> Self:
        """Export to this endpoint until `close()`; see `otlp_provider`."""
        provider = otlp_provider(endpoint)
        metrics = cls(provider)
        metrics._own_provider = provider
        return metrics

    async def close(self) -> None:
        """Export what is left and end the exporter that `over_otlp` made; without effect on any other.

        Takes 4 s at most; what could not be exported is logged by the library.
        """
        provider, self._own_provider = self._own_provider, None
        if provider is None:
            return
        try:
            limit = _PATIENCE_SECONDS + _LEAVE_SECONDS
            await asyncio.to_thread(provider.shutdown, timeout_millis=1000 * limit)
        except Exception as error:  # the library raises a bare Exception
            log.warning("the last metrics were not exported: %s", error)

    def _record(self, kind: Kind, name: str, value: float, tags: Tags) -> None:
        with self._lock:
            if (kind, name) not in self._instruments:
                self._instruments[kind, name] = self._make[kind](str(name))
        self._instruments[kind, name](value, dict(tags))


def otlp_provider(endpoint: str) -> "SdkMeterProvider":
    """A provider that exports every 10 s, from a thread of its own, by OTLP over HTTP; `shutdown()` ends it.

    `endpoint` is the collector's address, such as http://127.0.0.1:4318; `/v1/metrics` is added to one
    without a path. Raises `ConfigError` for what is no such address, or if the library isn't installed.
    """
    try:
        parts = urlsplit(endpoint)
    except ValueError:  # of half an IPv6 address
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        words = "OpenTelemetry metrics need the address of a collector, such as http://127.0.0.1:4318, not"
        raise ConfigError(f"{words} {endpoint!r}")
    if parts.path in ("", "/"):
        parts = parts._replace(path="/v1/metrics")
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
    except ModuleNotFoundError as error:
        raise missing_library("OpenTelemetry metrics", *_PACKAGES) from error
    exporter = OTLPMetricExporter(parts.geturl(), timeout=_PATIENCE_SECONDS)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=1000 * _EXPORT_SECONDS)
    return MeterProvider([reader], Resource.create({"service.name": "localvoice"}))
