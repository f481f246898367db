"""Metrics adapters: what all of them share, and those that need no further library."""

import logging
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from rich.console import Console

from localvoice.application.calls import message_of
from localvoice.config import ConfigError
from localvoice.contract.metrics import NO_TAGS, Metrics, Tags

log = logging.getLogger(__name__)

BUCKETS_MS: Final = (
    *(5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 750.0),
    *(1_000.0, 1_500.0, 2_000.0, 3_000.0, 5_000.0, 7_500.0, 10_000.0, 20_000.0, 30_000.0, 60_000.0),
)
"""Upper ends: close together where a listener notices a difference, up to the longest utterance."""


class Complaints:
    """Says of each metric once what is wrong with it: figures come many times a second."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def once(self, name: str, trouble: str, detail: str) -> None:
        """Log the trouble with this metric, unless it was logged before with whatever detail."""
        if (name, trouble) not in self._told:
            self._told.add((name, trouble))
            log.warning("metric %s: %s (%s)", name, trouble, detail)

    @contextmanager
    def instead_of_raising(self, name: str) -> Iterator[None]:
        """Whatever goes wrong in the block costs this figure and nothing else."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.once(name, "a figure was lost", f"{type(error).__name__}: {message_of(error)}")


class ContainedMetrics:
    """An application's adapter, whose failures cost a figure and nothing else."""

    def __init__(self, adapter: Metrics) -> None:
        self._adapter = adapter
        self._complaints = Complaints()

    def increment(self, name: str, value: float = 1, tags: Tags = NO_TAGS) -> None:
        """As the adapter does."""
        with self._complaints.instead_of_raising(name):
            self._adapter.increment(name, value, tags)

    def timing(self, name: str, ms: float, tags: Tags = NO_TAGS) -> None:
        """As the adapter does."""
        with self._complaints.instead_of_raising(name):
            self._adapter.timing(name, ms, tags)

    def gauge(self, name: str, value: float, tags: Tags = NO_TAGS) -> None:
        """As the adapter does."""
        with self._complaints.instead_of_raising(name):
            self._adapter.gauge(name, value, tags)


def missing_library(what: str, *packages: str) -> ConfigError:
    """The error for an optional library that isn't installed. It names the library, not an extra of ours."""
    command = shlex.join([sys.executable, "-m", "pip", "install", *packages])
    return ConfigError(f"{what} need a library that isn't installed. Install it with: {command}")


class ConsoleMetrics:
    """A line for each figure. For development: it writes at once, as fast as the terminal reads."""

    def __init__(self, target: Console | logging.Logger | None = None) -> None:
        """Without a target, to the log at INFO, in its format."""
        self._target = target or logging.getLogger("localvoice.metrics")
        self._complaints = Complaints()

    def increment(self, name: str, value: float = 1, tags: Tags = NO_TAGS) -> None:
        """Write `name +value`."""
        self._write(name, value, f"+{value:g}", tags)

    def timing(self, name: str, ms: float, tags: Tags = NO_TAGS) -> None:
        """Write `name 12.3 ms`."""
        self._write(name, ms, f"{ms:.1f} ms", tags)

    def gauge(self, name: str, value: float, tags: Tags = NO_TAGS) -> None:
        """Write `name = value`."""
        self._write(name, value, f"= {value:g}", tags)

    def _write(self, name: str, value: float, figure: str, tags: Tags) -> None:
        name = str(name)
        line = " ".join([name, figure, *(f"{key}={tag}" for key, tag in tags.items())])
        if isinstance(self._target, logging.Logger):
            self._target.info(line, extra={"metric": name, "value": value, "tags": dict(tags)})
            return
        with self._complaints.instead_of_raising(name):
            try:
                self._target.print(line, markup=False, highlight=False, soft_wrap=True)
            except SystemExit:  # rich ends the process when nobody reads its pipe any more
                self._complaints.once(name, "a figure was lost", "nobody reads the console any more")


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
