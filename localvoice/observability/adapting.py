"""What the adapters share: the buckets of a timing, and how they complain instead of raising."""

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
