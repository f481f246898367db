"""How long things take: durations on the event loop's monotonic clock, beginnings as people's clocks show."""

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """How long something took."""

    start_time: float
    """Unix ms."""
    end_time: float
    """Unix ms."""
    duration_ms: float
    """On the monotonic clock."""
    ttft_ms: float | None = None
    """For the LLM: from the request to its first token."""


def now() -> float:
    """The event loop's time, in seconds: what everything in a conversation is counted in."""
    return asyncio.get_running_loop().time()


def unix_ms() -> float:
    """The wall clock, for hooks and logs only: it may jump."""
    return time.time() * 1000


class Stopwatch:
    """Runs from where it is made, or from an earlier moment of the event loop's time."""

    def __init__(self, since: float | None = None) -> None:
        self.begun = now() if since is None else since
        self.start_time = unix_ms() - 1000 * (now() - self.begun)
        self._first: float | None = None

    def note_first(self) -> None:
        """The first token, or another first that counts; later calls change nothing."""
        if self._first is None:
            self._first = now()

    def timing(self) -> Timing:
        """From the beginning until now."""
        elapsed = 1000 * (now() - self.begun)
        ttft = None if self._first is None else round(1000 * (self._first - self.begun), 1)
        return Timing(self.start_time, self.start_time + elapsed, round(elapsed, 1), ttft)
