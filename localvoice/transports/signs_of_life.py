"""Notices that a peer has vanished without a word: its cable was pulled, or its process stands still.

Its WebSocket would tell only after the heartbeat's three quarters of a minute, and until then the models
would work for a client that has gone. A peer that spoke once sends a packet of sound every 20 ms. But one
that sends none any more need not be gone: a browser whose microphone was taken away goes on asking, every
2.5 s, whether we are there. So it takes 5 s without a packet of any kind. Only packets count that the client
alone can have sent (`ice_guard`). A client that never sent sound is left to the heartbeat.
"""

import asyncio
from collections.abc import Callable
from typing import Final

_LOOK_SECONDS: Final = 0.5
_SILENT_LOOKS: Final = 10
"""5 s. Looks and not seconds, so that a process that was held up doesn't think its clients gone."""


class SignsOfLife:
    """Watches the packets of one peer connection."""

    def __init__(self, on_gone: Callable[[], None]) -> None:
        """`on_gone` is called once, 5 s after the last packet of a peer that has sent sound."""
        self._on_gone = on_gone
        self._looks_without = 0
        self._speaks = False
        self._next: asyncio.TimerHandle | None = None

    def hears(self) -> None:
        """The peer has sent sound: from now on it is expected to go on with something."""
        if not self._speaks:
            self._speaks = True
            self._look()

    def sees(self) -> None:
        """A packet of the peer's has come."""
        self._looks_without = 0

    def stop(self) -> None:
        """Watch no more."""
        if self._next is not None:
            self._next.cancel()

    def _look(self) -> None:
        self._looks_without += 1
        if self._looks_without > _SILENT_LOOKS:
            self._on_gone()
        else:
            self._next = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)
