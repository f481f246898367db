"""Measures what an attack costs: the longest that one callback keeps an event loop, and the most memory.

The loop's time is its thread's processor time: a machine that stands still, or has other work, adds nothing
to it. What other threads compute meanwhile isn't in it, unless the loop does it for them.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.memory import peak_mb, resident_mb

STALL_SECONDS: Final = 0.1
"""What one message may keep the loop for."""
_PEAK_RESET: Final = "5"
"""Written to this file, it makes Linux count the peak from now on."""


class Cost:
    """What something has cost."""

    def __init__(self) -> None:
        self.stall = 0.0
        """Processor seconds of the callback that took the most."""
        self.callback = ""
        """Which one that was."""
        self.memory_mb = 0.0
        """By how much the process was larger at its peak than at the beginning, in 10^6 bytes."""

    def __str__(self) -> str:
        """For the failure of a test."""
        return f"{1000 * self.stall:.0f} ms in {self.callback}, {self.memory_mb:.0f} MB"


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure what all loops of this process do meanwhile; the figures are whole at the end of the block."""
    cost, run = Cost(), asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> Any:
        told, begun = repr(handle), time.thread_time()
        try:
            return run(handle)
        finally:
            if (seconds := time.thread_time() - begun) > cost.stall:
                cost.stall, cost.callback = seconds, told

    Path("/proc/self/clear_refs").write_text(_PEAK_RESET)
    before = resident_mb()
    setattr(asyncio.Handle, "_run", timed)  # noqa: B010 - mypy lets no method be replaced
    try:
        yield cost
    finally:
        setattr(asyncio.Handle, "_run", run)  # noqa: B010
        cost.memory_mb = peak_mb() - before
