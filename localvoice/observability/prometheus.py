"""Metrics for Prometheus to fetch. Needs prometheus-client."""

import re
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from localvoice.contract.metrics import Tags
from localvoice.observability.adapters import BUCKETS_MS, Adapter, Kind, missing_library

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class PrometheusMetrics(Adapter):
    """Counters (`…_total`), gauges and histograms (ms) under the metrics' names, dots as underscores.

    Prometheus wants the same labels on all series of a metric. They are those of its first figure: a tag that
    comes later is left out (and said once in the log), one that is missing is empty.
    """

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        """A registry of its own unless one is given. Raises `ConfigError` if the library isn't installed."""
        super().__init__()
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
            from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
        except ModuleNotFoundError as error:
            raise missing_library("Prometheus metrics", "prometheus-client") from error
        into = CollectorRegistry() if registry is None else registry
        self._kinds: dict[Kind, tuple[Callable[..., Any], Callable[[Any, float], None]]] = {
            "increment": (partial(Counter, registry=into), Counter.inc),
            "timing": (partial(Histogram, registry=into, buckets=BUCKETS_MS), Histogram.observe),
            "gauge": (partial(Gauge, registry=into), Gauge.set),
        }
        """What makes a family of this kind, and what records a value in a series of it."""
        self._families: dict[tuple[Kind, str], tuple[Any, list[str]]] = {}
        """Each with its labels."""
        self._lock = threading.Lock()  # a tool may count in a thread of its own
        self._render: Callable[[], tuple[bytes, str]] = lambda: (generate_latest(into), CONTENT_TYPE_LATEST)

    def render(self) -> tuple[bytes, str]:
        """Body and Content-Type of the answer to GET /metrics."""
        return self._render()

    def _record(self, kind: Kind, name: str, value: float, tags: Tags) -> None:
        make, record = self._kinds[kind]
        given = {_label(key): str(tag) for key, tag in tags.items()}
        with self._lock:
            if (kind, name) not in self._families:
                family = make(re.sub(r"[^a-zA-Z0-9_:]", "_", name), str(name), list(given))
                self._families[kind, name] = family, list(given)
        family, labels = self._families[kind, name]
        if late := given.keys() - set(labels):
            self.warn_once(name, "tags that its first figure hadn't are left out", ", ".join(late))
        record(family.labels(*(given.get(label, "") for label in labels)) if labels else family, value)


def _label(key: str) -> str:
    label = re.sub(r"[^a-zA-Z0-9_]", "_", key)
    # Prometheus keeps __… and, in a histogram, le for itself.
    taken = label.startswith("__") or label == "le" or not re.match("[a-zA-Z_]", label)
    return f"tag_{label}" if taken else label
