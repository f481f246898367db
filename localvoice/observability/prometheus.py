"""Metrics for Prometheus to fetch. Needs prometheus-client."""

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from localvoice.contract.metrics import NO_TAGS, Tags
from localvoice.observability.adapters import BUCKETS_MS, Complaints, missing_library

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics import MetricWrapperBase

Family = TypeVar("Family", bound="MetricWrapperBase")


class PrometheusMetrics:
    """Counters, gauges and histograms under the metrics' names, dots as underscores.

    Prometheus wants the same labels on all series of a metric. They are those of its first figure: a tag that
    comes later is left out (and said once in the log), one that is missing is empty.
    """

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        """A registry of its own unless one is given. Raises `ConfigError` if the library isn't installed."""
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
            from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
        except ModuleNotFoundError as error:
            raise missing_library("Prometheus metrics", "prometheus-client") from error
        into = CollectorRegistry() if registry is None else registry
        self._complaints = Complaints()
        self._counters = _Families(
            lambda name, help, labels: Counter(name, help, labels, registry=into), self._complaints
        )
        self._gauges = _Families(
            lambda name, help, labels: Gauge(name, help, labels, registry=into), self._complaints
        )
        self._histograms = _Families(
            lambda name, help, labels: Histogram(name, help, labels, registry=into, buckets=BUCKETS_MS),
            self._complaints,
        )
        self._render: Callable[[], tuple[bytes, str]] = lambda: (generate_latest(into), CONTENT_TYPE_LATEST)

    def increment(self, name: str, value: float = 1, tags: Tags = NO_TAGS) -> None:
        """Add to the counter `…_total`."""
        with self._complaints.instead_of_raising(name):
            self._counters.member(name, tags).inc(value)

    def timing(self, name: str, ms: float, tags: Tags = NO_TAGS) -> None:
        """Add to the histogram, in milliseconds."""
        with self._complaints.instead_of_raising(name):
            self._histograms.member(name, tags).observe(ms)

    def gauge(self, name: str, value: float, tags: Tags = NO_TAGS) -> None:
        """Set the gauge."""
        with self._complaints.instead_of_raising(name):
            self._gauges.member(name, tags).set(value)

    def render(self) -> tuple[bytes, str]:
        """Body and Content-Type of the answer to GET /metrics."""
        return self._render()


class _Families(Generic[Family]):
    """All metrics of one kind, made when they are first used."""

    def __init__(self, make: Callable[[str, str, tuple[str, ...]], Family], complaints: Complaints) -> None:
        self._make = make
        self._complaints = complaints
        self._known: dict[str, tuple[Family, tuple[str, ...]]] = {}
        self._lock = threading.Lock()  # a tool may count in a thread of its own

    def member(self, name: str, tags: Tags) -> Family:
        given = {_label(key): str(value) for key, value in tags.items()}
        with self._lock:
            if name not in self._known:
                made = self._make(re.sub(r"[^a-zA-Z0-9_:]", "_", name), str(name), tuple(given))
                self._known[name] = made, tuple(given)
        family, labels = self._known[name]
        if late := given.keys() - set(labels):
            self._complaints.once(name, "tags that its first figure hadn't are left out", ", ".join(late))
        return family.labels(*(given.get(label, "") for label in labels)) if labels else family


def _label(key: str) -> str:
    label = re.sub(r"[^a-zA-Z0-9_]", "_", key)
    # Prometheus keeps __… and, in a histogram, le for itself.
    taken = label.startswith("__") or label == "le" or not re.match("[a-zA-Z_]", label)
    return f"tag_{label}" if taken else label
