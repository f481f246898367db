"""Keeps the log from being filled: a client must not push out of it what others did.

What is logged below WARNING is bounded by the limits on connections and turns; warnings and errors also come
of what a client sends wrong, as often as it likes.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

_WINDOW_SECONDS: Final = 60.0
_OF_A_SESSION: Final = 20
_IN_ALL: Final = 100
"""Lines of one kind in a window. Strangers have no session, and count as one together."""

Kind = tuple[str, int, str | None]
"""Where in the code a line comes from, and the error code that it is about."""


class FloodFilter(logging.Filter):
    """Lets so many warnings of a kind pass in a minute. The last of them says so, and the next one how many
    were left out. One instance serves all handlers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """The clock gives seconds."""
        super().__init__()
        self._clock = clock
        self._begun = clock()
        self._seen: Counter[tuple[Kind, str | None]] = Counter()
        self._passed: Counter[Kind] = Counter()
        self._left_out: Counter[Kind] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it passes."""
        if record.levelno < logging.WARNING:
            return True
        known: bool | None = getattr(record, "_passes", None)
        if known is None:  # the first handler's question
            known = self._passes(record)
            record.__dict__["_passes"] = known
        return known

    def _passes(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now - self._begun >= _WINDOW_SECONDS:
            self._begun = now
            self._seen.clear()
            self._passed.clear()
        kind = (record.pathname, record.lineno, getattr(record, "code", None))
        sender = (kind, getattr(record, "session_id", None))
        self._seen[sender] += 1
        if self._seen[sender] > _OF_A_SESSION or self._passed[kind] >= _IN_ALL:
            self._left_out[kind] += 1
            return False
        self._passed[kind] += 1
        notes = list[str]()
        if left_out := self._left_out.pop(kind, 0):
            notes.append(f"{left_out} lines like this were left out before")
        if self._seen[sender] == _OF_A_SESSION or self._passed[kind] == _IN_ALL:
            notes.append("more lines like this are left out for a minute")
        if notes:
            record.msg, record.args = f"{record.getMessage()} ({'; '.join(notes)})", ()
        return True
