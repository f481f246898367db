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

from localvoice.transports.watchdog import Watchdog

_SILENT_SECONDS: Final = 5.0


class SignsOfLife:
    """Watches the packets of one peer connection."""

    def __init__(self, on_gone: Callable[[], None]) -> None:
        """`on_gone` is called once, 5 s after the last packet of a peer that has sent sound."""
        self._on_gone = on_gone
        self._watchdog = Watchdog(_SILENT_SECONDS)
        self._watching: asyncio.Task[None] | None = None

    def hears(self) -> None:
        """The peer has sent sound: from now on it is expected to go on with something."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="signs of a client's life")

    def sees(self) -> None:
        """A packet of the peer's has come."""
        self._watchdog.reset()

    def stop(self) -> None:
        """Watch no more."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        await self._watchdog.run_out()
        self._on_gone()
