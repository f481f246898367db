"""Metrics for Prometheus at /metrics, with one of the application's own among them.

python examples/prometheus_metrics.py, which needs: pip install prometheus-client

Without figures of one's own, the setting `monitor.metrics = "prometheus"` does the same.
"""

from prometheus_client import CollectorRegistry, Counter

from localvoice import LocalVoice, PrometheusMetrics, tool

REGISTRY = CollectorRegistry()
DRINKS = Counter("bar_drinks", "Drinks that were ordered", ["drink"], registry=REGISTRY)


@tool
def order_drink(drink: str) -> str:
    """Order a drink at the bar."""
    DRINKS.labels(drink).inc()
    return f"one {drink} is on its way"


def build() -> LocalVoice:
    """The agent; the server answers GET /metrics because its adapter is Prometheus'."""
    return LocalVoice(tools=[order_drink], metrics=PrometheusMetrics(REGISTRY))


def main() -> None:
    """Serve until Ctrl-C."""
    build().run()


if __name__ == "__main__":
    main()
