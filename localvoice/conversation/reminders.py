"""Sentences to be said later: what a timer leaves behind. Belongs to a conversation, not to a connection."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from localvoice.contract.messages import in_utf8
from localvoice.observability.stopwatch import now
from localvoice.tools import ToolError

LIMIT: Final = 100
"""Reminders of one conversation at once."""


class Reminders:
    """Calls back with each text when its time has come. Only for the event loop's thread."""

    __slots__ = ("_on_due", "_limit", "_waiting", "_closed")

    def __init__(self, on_due: Callable[[str], None], limit: int = LIMIT) -> None:
        self._on_due = on_due
        self._limit = limit
        self._waiting: dict[asyncio.TimerHandle, str] = {}
        self._closed = False

    def after(self, seconds: float, text: str) -> None:
        """Remind of `text` after so many seconds, at least 0; raises `ToolError`, in words to pass on."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ToolError(f"a reminder can't be {seconds:g} seconds away: give a number from 0 up")
        if not isinstance(text, str) or not text.strip():
            raise ToolError("a reminder needs words: give it a sentence to say")
        if self._closed:
            raise ToolError("the conversation has ended, so no one is left to remind")
        if len(self._waiting) >= self._limit:
            raise ToolError(f"{self._limit} reminders wait already; wait until one of them has passed")
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle = loop.call_later(seconds, lambda: self._on_due(self._waiting.pop(timer)))
        self._waiting[timer] = in_utf8(text)

    def pending(self) -> tuple[tuple[float, str], ...]:
        """Seconds left and text of each, the next one first."""
        left = ((max(0.0, timer.when() - now()), text) for timer, text in self._waiting.items())
        return tuple(sorted(left, key=lambda each: each[0]))

    def close(self) -> None:
        """Forget all, for good."""
        self._closed = True
        self.clear()

    def clear(self) -> None:
        for timer in self._waiting:
            timer.cancel()
        self._waiting.clear()
