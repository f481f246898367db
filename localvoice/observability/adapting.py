"""What the adapters share: the buckets of a timing, and how they complain instead of raising."""

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from localvoice.config import ConfigError

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
        except Exception as error:
            self.once(name, "a figure was lost", f"{type(error).__name__}: {error}")


def missing_library(what: str, *packages: str) -> ConfigError:
    """The error for an optional library that isn't installed. It names the library, not an extra of ours."""
    command = shlex.join([sys.executable, "-m", "pip", "install", *packages])
    return ConfigError(f"{what} need a library that isn't installed. Install it with: {command}")
