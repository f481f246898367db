"""An adapter of one's own for metrics: says at the end how quick the agent was.

python examples/own_metrics.py
"""

from collections import Counter
from statistics import median

from localvoice import NO_TAGS, LocalVoice, Metric, Tags


class Summary:
    """Keeps what is said at the end. It is called while people talk, so it neither blocks nor raises."""

    def __init__(self) -> None:
        self._turns: list[float] = []
        self._errors: Counter[str] = Counter()
        self._connections = 0.0

    def increment(self, name: str, value: float = 1, tags: Tags = NO_TAGS) -> None:
        """Something happened `value` times."""
        if name == Metric.ERRORS:
            self._errors[tags["code"]] += int(value)

    def timing(self, name: str, ms: float, tags: Tags = NO_TAGS) -> None:
        """Something took so many milliseconds."""
        if name == Metric.TURN_DURATION:
            self._turns.append(ms)

    def gauge(self, name: str, value: float, tags: Tags = NO_TAGS) -> None:
        """Something stands at this value now."""
        if name == Metric.CONNECTIONS_ACTIVE:
            self._connections = max(self._connections, value)

    def __str__(self) -> str:
        """Two lines for a terminal."""
        typical = f", half of them within {median(self._turns) / 1000:.1f} s" if self._turns else ""
        errors = ", ".join(f"{count} x {code}" for code, count in self._errors.items()) or "none"
        return (
            f"{len(self._turns)} turns{typical}, at most {self._connections:.0f} people at once\n"
            f"errors: {errors}"
        )


def build(summary: Summary) -> LocalVoice:
    """The agent, with its figures in `summary`."""
    return LocalVoice(metrics=summary)


def main() -> None:
    """Serve until Ctrl-C, and say how it went."""
    summary = Summary()
    build(summary).run()
    print(summary)


if __name__ == "__main__":
    main()
