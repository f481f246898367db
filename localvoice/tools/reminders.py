"""What is to be said later: timers, alarms, reminders. Belongs to a conversation, not to a connection."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from localvoice.contract.messages import in_utf8
from localvoice.observability.stopwatch import now
from localvoice.tools.errors import ToolError

LIMIT: Final = 100
"""Reminders of one conversation at once."""
_LOOK_AGAIN_SECONDS: Final = 30.0
"""The wall clock may be set, and the event loop's stands still while a laptop sleeps."""

Kind = Literal["timer", "alarm", "reminder"]


@dataclass(frozen=True, eq=False)
class Reminder:
    """A sentence for later. Two that say the same are still two."""

    text: str
    """What is said when the time has come."""
    due: float
    """In Unix seconds if `by_clock`, otherwise the event loop's time."""
    by_clock: bool = False
    """Whether it is for a time of day rather than after a length of time."""
    kind: Kind | None = None
    """What the user takes it for; None: only a text, which they know nothing of until they hear it."""
    label: str = ""
    """What for, in the user's words."""
    seconds: float = 0.0
    """How long it runs from its start; 0 if it is for a time of day."""

    @property
    def seconds_left(self) -> float:
        """Until it is due; 0 once it is."""
        return max(0.0, self.due - (time.time() if self.by_clock else now()))


class Reminders:
    """Calls back with each text when its time has come. Only for the event loop's thread."""

    __slots__ = ("_on_due", "_limit", "_waiting", "_closed", "_last", "_last_at")

    def __init__(self, on_due: Callable[[str], None] = lambda text: None, limit: int = LIMIT) -> None:
        self._on_due = on_due
        self._limit = limit
        self._waiting: dict[Reminder, asyncio.TimerHandle] = {}
        self._closed = False
        self._last: Reminder | None = None
        self._last_at = -math.inf

    @property
    def waiting(self) -> tuple[Reminder, ...]:
        """Those to come, in the order in which they were set."""
        return tuple(self._waiting)

    @property
    def last_due(self) -> Reminder | None:
        """The timer, alarm or reminder that was said last."""
        return self._last

    @property
    def seconds_since_due(self) -> float:
        """Since then; infinite if there was none."""
        return now() - self._last_at

    def after(self, seconds: float, text: str) -> None:
        """Remind of `text` after so many seconds, at least 0; raises `ToolError`, in words to pass on."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ToolError(f"a reminder can't be {seconds:g} seconds away: give a number from 0 up")
        if not isinstance(text, str) or not text.strip():
            raise ToolError("a reminder needs words: give it a sentence to say")
        self.add(Reminder(in_utf8(text), now() + seconds))

    def add(self, reminder: Reminder) -> None:
        """Say it when it is due, at once if it is; raises `ToolError`, in words to pass on."""
        if self._closed:
            raise ToolError("the conversation has ended, so no one is left to remind")
        if len(self._waiting) >= self._limit:
            raise ToolError(f"{self._limit} reminders wait already; wait until one of them has passed")
        self._wait_for(reminder)

    def remove(self, reminder: Reminder) -> None:
        """Never say it."""
        self._waiting.pop(reminder).cancel()

    def replace(self, old: Reminder, new: Reminder) -> None:
        """Say the new one in the place of the old."""
        self.remove(old)
        self.add(new)

    def pending(self) -> tuple[tuple[float, str], ...]:
        """Seconds left and text of each, the next one first."""
        left = ((reminder.seconds_left, reminder.text) for reminder in self._waiting)
        return tuple(sorted(left, key=lambda each: each[0]))

    def close(self) -> None:
        """Forget all, for good."""
        self._closed = True
        self.clear()

    def clear(self) -> None:
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        self._last, self._last_at = None, -math.inf

    def _wait_for(self, reminder: Reminder) -> None:
        seconds = reminder.seconds_left
        if reminder.by_clock:
            seconds = min(seconds, _LOOK_AGAIN_SECONDS)
        loop = asyncio.get_running_loop()
        self._waiting[reminder] = loop.call_later(seconds, self._look_at, reminder)

    def _look_at(self, reminder: Reminder) -> None:
        if reminder.by_clock and reminder.seconds_left > 0:
            self._wait_for(reminder)  # a dict keeps its order
            return
        del self._waiting[reminder]
        if reminder.kind is not None:
            self._last, self._last_at = reminder, now()
        self._on_due(reminder.text)
