"""Metrics in lists, for tests and for a look from within."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from localvoice.contract.metrics import NO_TAGS, Tags

Kind = Literal["increment", "timing", "gauge"]


@dataclass(frozen=True)
class Figure:
    """One call of an adapter."""

    kind: Kind
    """Which of the three."""
    name: str
    """The metric's."""
    value: float
    """Milliseconds for a timing."""
    tags: Mapping[str, str]
    """As they were given."""


class InMemoryMetrics:
    """Keeps every figure, for ever: clear it, or keep it to tests."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def increment(self, name: str, value: float = 1, tags: Tags = NO_TAGS) -> None:
        """Keep it."""
        self.figures.append(Figure("increment", str(name), value, dict(tags)))

    def timing(self, name: str, ms: float, tags: Tags = NO_TAGS) -> None:
        """Keep it."""
        self.figures.append(Figure("timing", str(name), ms, dict(tags)))

    def gauge(self, name: str, value: float, tags: Tags = NO_TAGS) -> None:
        """Keep it."""
        self.figures.append(Figure("gauge", str(name), value, dict(tags)))

    def count(self, name: str, **tags: str) -> float:
        """The sum of all increments that carry at least these tags; 0 without any."""
        return sum(self._values("increment", name, tags))

    def timings(self, name: str, **tags: str) -> list[float]:
        """All timings that carry at least these tags, ms, in order."""
        return self._values("timing", name, tags)

    def current(self, name: str, **tags: str) -> float | None:
        """The last value of a gauge with at least these tags; None if it was never set."""
        values = self._values("gauge", name, tags)
        return values[-1] if values else None

    def names(self) -> set[str]:
        """Every metric that had a figure."""
        return {figure.name for figure in self.figures}

    def clear(self) -> None:
        """Forget them all."""
        self.figures.clear()

    def _values(self, kind: Kind, name: str, tags: Mapping[str, str]) -> list[float]:
        return [
            figure.value
            for figure in self.figures
            if figure.kind == kind and figure.name == name and tags.items() <= figure.tags.items()
        ]
