"""Finds callbacks that hold up an event loop, and leaves out what they are not to blame for."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, NamedTuple

from tests.support.metronome import Metronome, queued_seconds

BLOCKED_SECONDS: Final = 0.5
"""Far above what any callback should take, so that a slow machine doesn't fail a good test."""


class _Slow(NamedTuple):
    """A callback that took long."""

    told: str
    begun: float
    ended: float
    queued: float
    """Seconds of it in which its thread could have run, and others had the core."""


class BlockedLoop(logging.Handler):
    """Collects asyncio's own warnings about callbacks that took too long. A loop in debug mode gives them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._slow: list[_Slow] = []
        self._at_begin = threading.local()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See what all loops of this process do meanwhile."""
        logger, run = logging.getLogger("asyncio"), asyncio.Handle._run

        def noted(handle: asyncio.Handle) -> Any:
            self._at_begin.queued = queued_seconds()  # asyncio tells only at the end of the callback
            return run(handle)

        logger.addHandler(self)
        setattr(asyncio.Handle, "_run", noted)  # noqa: B010 - mypy lets no method be replaced
        try:
            yield
        finally:
            setattr(asyncio.Handle, "_run", run)  # noqa: B010
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Note down a callback: this runs in its loop's thread, just after it."""
        if record.msg.startswith("Executing ") and isinstance(record.args, tuple):
            _, seconds = record.args
            if isinstance(seconds, float) and seconds >= BLOCKED_SECONDS:
                ended, queued = monotonic(), queued_seconds()
                queued -= getattr(self._at_begin, "queued", queued)  # begun before anybody watched: no excuse
                self._slow.append(_Slow(record.getMessage(), ended - seconds, ended, queued))

    def found(self, metronome: Metronome) -> list[str]:
        """The callbacks that took too long of themselves, in words."""
        found = []
        for slow in self._slow:
            still = metronome.stood_still(slow.begun, slow.ended)
            if slow.ended - slow.begun - slow.queued - still >= BLOCKED_SECONDS:
                excuse = (
                    f"{slow.queued:.3f} of them waiting for a core, {still:.3f} on a machine that stood still"
                )
                found.append(f"{slow.told} ({excuse})")
        return found
