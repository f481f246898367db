"""Metrics as lines on a terminal or in the log."""

import logging

from rich.console import Console

from localvoice.contract.metrics import NO_TAGS, Tags
from localvoice.observability.adapting import Complaints


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
