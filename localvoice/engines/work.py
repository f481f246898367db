"""How long the models have worked for somebody: the workers count it for whoever asked them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final


class Work:
    """Seconds of work on behalf of one asker, added up from the threads of all models."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """A model has worked for so long; from any thread."""
        with self._lock:
            self._seconds += seconds

    def take(self) -> float:
        """Seconds since the last time this was asked."""
        with self._lock:
            seconds, self._seconds = self._seconds, 0.0
            return seconds


_asker: Final[ContextVar[Work | None]] = ContextVar("asker", default=None)


@contextmanager
def counted() -> Iterator[Work]:
    """Count what models do for the code in this block, and for the tasks that it starts."""
    work = Work()
    token = _asker.set(work)
    try:
        yield work
    finally:
        _asker.reset(token)


def asker() -> Work | None:
    """Whose work a job that is made here will be; None where nobody counts."""
    return _asker.get()
