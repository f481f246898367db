"""A time-out for what a client should have sent, which only counts time in which it could have been read.

A process that is stopped, as a suspended one is, finds all its timers due when it goes on, while what clients
sent meanwhile still lies in its sockets. asyncio's own time-outs then end every connection at once.
"""

import asyncio
from collections.abc import Callable
from typing import Final

_LOOKS: Final = 10
"""In the whole time. Each counts for a tenth of it, however long the process stood still meanwhile."""
_LATE_SECONDS: Final = 0.2
"""An event loop that isn't busy is less late than that."""


class Watchdog:
    """Runs out when it has not been reset for so long."""

    def __init__(self, seconds: float) -> None:
        """It runs out `seconds` after the last reset, or up to a tenth later."""
        self._step = seconds / _LOOKS
        self.reset()

    def reset(self) -> None:
        """Begin again with all of the time."""
        self._looks = 0
        self._spared = False

    async def run_out(self, counts: Callable[[], bool] = lambda: True) -> None:
        """Return when it has run out. `counts`: whether what was sent is being read at the time."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._step
            await asyncio.sleep(self._step)
            if not counts():
                continue
            self._looks += 1
            if self._looks <= _LOOKS:
                continue
            if self._spared or loop.time() - due < _LATE_SECONDS:
                return
            self._spared = True  # by the next look, what lay in the sockets is read
