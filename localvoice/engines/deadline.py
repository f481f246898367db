"""A deadline that counts a model's work: it stands still while the job waits for the model's thread.

A caller with a short question behind another's long one would otherwise be told that the model is slow.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Final

MOST_WAIT: Final = 4.0
"""How many times as long as the work the whole may take, with the wait for the thread."""


class TooBusy(TimeoutError):
    """The model had too much else to do."""


class Deadline:
    """For one caller, who asks for one thing after the other. To be made on a running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout: asyncio.Timeout | None = None
        self._left = 0.0
        self._since: float | None = None  # when it began to run; None while it stands still
        self._waits = False

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Inside, models may work for so long. Past it `TimeoutError`; `TooBusy` if they never came to it."""
        token = _deadline.set(self)
        self._left = seconds
        whole = asyncio.timeout(MOST_WAIT * seconds)
        try:
            async with whole, asyncio.timeout(None) as self._timeout:
                if not self._waits:
                    self._start()
                yield
        except TimeoutError as error:
            if whole.expired():
                raise TooBusy from error
            raise
        finally:
            self._stand()
            self._timeout = None
            _deadline.reset(token)

    @property
    def left(self) -> float:
        """Seconds that were left of it at its end."""
        return max(0.0, self._left)

    def wait(self) -> None:
        """A job of this caller's waits for its thread; from any thread."""
        self._call(True)

    def work(self) -> None:
        """The thread has begun with it, or goes on; from any thread."""
        self._call(False)

    def _call(self, waits: bool) -> None:
        with suppress(RuntimeError):  # the loop is closed: its callers are gone
            self._loop.call_soon_threadsafe(self._turn, waits)

    def _turn(self, waits: bool) -> None:
        self._waits = waits
        if self._timeout is None or self._timeout.expired():  # then its caller is on the way out
            return
        if waits:
            self._stand()
            self._timeout.reschedule(None)
        elif self._since is None:
            self._start()

    def _start(self) -> None:
        assert self._timeout is not None
        self._since = self._loop.time()
        self._timeout.reschedule(self._since + self._left)

    def _stand(self) -> None:
        if self._since is not None:
            self._left -= self._loop.time() - self._since
            self._since = None


_deadline: Final[ContextVar[Deadline | None]] = ContextVar("deadline", default=None)


def current_deadline() -> Deadline | None:
    """The deadline of the caller that makes a job here; None where there is none."""
    return _deadline.get()
