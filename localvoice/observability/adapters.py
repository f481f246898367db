"""Metrics adapters: what all of them share, and those that need no further library."""

import logging
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
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

Kind = Literal["increment", "timing", "gauge"]


class Adapter(ABC):
    """The three calls of `Metrics` as one. A failure costs its figure; each metric's first is in the log."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def increment(self, name: str, value: float = 1, tags: Tags = NO_TAGS) -> None:
        """Count `value` more of something."""
        self._try("increment", name, value, tags)

    def timing(self, name: str, ms: float, tags: Tags = NO_TAGS) -> None:
        """Something took so many milliseconds."""
        self._try("timing", name, ms, tags)

    def gauge(self, name: str, value: float, tags: Tags = NO_TAGS) -> None:
        """Something stands at this value now."""
        self._try("gauge", name, value, tags)

    @abstractmethod
    def _record(self, kind: Kind, name: str, value: float, tags: Tags) -> None: ...

    def _try(self, kind: Kind, name: str, value: float, tags: Tags) -> None:
        try:
            self._record(kind, name, value, tags)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an application's adapter may raise anything, SystemExit too
            self.warn_once(name, "a figure was lost", f"{type(error).__name__}: {message_of(error)}")

    def warn_once(self, name: str, trouble: str, detail: str) -> None:
        """Log this trouble with a metric, unless the log has it already."""
        if (name, trouble) not in self._told:
            self._told.add((name, trouble))
            log.warning("metric %s: %s (%s)", name, trouble, detail)


class ContainedMetrics(Adapter):
    """An application's adapter, which may fail."""

    def __init__(self, adapter: Metrics) -> None:
        super().__init__()
        self._adapter = adapter

    def _record(self, kind: Kind, name: str, value: float, tags: Tags) -> None:
        getattr(self._adapter, kind)(name, value, tags)


def missing_library(what: str, *packages: str) -> ConfigError:
    """The error for an optional library that isn't installed. It names the library, not an extra of ours."""
    command = shlex.join([sys.executable, "-m", "pip", "install", *packages])
    return ConfigError(f"{what} need a library that isn't installed. Install it with: {command}")


class ConsoleMetrics(Adapter):
    """A line for each figure. For development: it writes at once, as fast as the terminal reads."""

    def __init__(self, target: Console | logging.Logger | None = None) -> None:
        """Without a target, to the log at INFO, in its format."""
        super().__init__()
        self._target = target or logging.getLogger("localvoice.metrics")

    def _record(self, kind: Kind, name: str, value: float, tags: Tags) -> None:
        figure = {"increment": f"+{value:g}", "timing": f"{value:.1f} ms", "gauge": f"= {value:g}"}[kind]
        line = " ".join([str(name), figure, *(f"{key}={tag}" for key, tag in tags.items())])
        if isinstance(self._target, logging.Logger):
            self._target.info(line, extra={"metric": str(name), "value": value, "tags": dict(tags)})
            return
        try:
            self._target.print(line, markup=False, highlight=False, soft_wrap=True)
        except SystemExit as error:  # rich ends the process when nothing reads its pipe any more
            raise BrokenPipeError("nothing reads the console any more") from error


@dataclass(frozen=True)
class Figure:
    """One call of an adapter."""

    kind: Kind
    name: str
    value: float
    """Milliseconds for a timing."""
    tags: Mapping[str, str]


class InMemoryMetrics(Adapter):
    """Keeps every figure, for ever: clear it, or keep it to tests."""

    def __init__(self) -> None:
        super().__init__()
        self.figures: list[Figure] = []

    def _record(self, kind: Kind, name: str, value: float, tags: Tags) -> None:
        self.figures.append(Figure(kind, str(name), value, dict(tags)))

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
