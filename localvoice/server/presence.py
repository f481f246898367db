"""Sees that a client has gone while nothing of it is read: in a flood, or while its picture is decoded.

Otherwise the end of what it sent tells; but that waits behind all that isn't read yet. The kernel knows
sooner.
"""

import asyncio
import select
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_SECONDS: Final = 0.05
"""Between two looks, which cost some microseconds. What a client still waits for has 0.15 s when it goes, and
all of it has to be over after a quarter of a second."""
_OVER: Final = select.POLLHUP | select.POLLERR | (select.POLLRDHUP if sys.platform == "linux" else 0)
"""Reset, or closed by the other side, which is as good as gone: it reads no answer any more."""


class Presence:
    """Looks after one connection's socket, but only while its reader is at something else."""

    def __init__(self, connection: socket.socket | None, nudge: Callable[[], Awaitable[None]]) -> None:
        """`connection` is None if it is lost already; `nudge` sends something that asks for no answer."""
        self._connection = connection
        self._nudge = nudge
        self._unread = asyncio.Event()

    @contextmanager
    def unread(self) -> Iterator[None]:
        """Inside, nothing is read."""
        self._unread.set()
        try:
            yield
        finally:
            self._unread.clear()

    @property
    def reads(self) -> bool:
        """Whether the reader waits for the client, rather than the client for the reader."""
        return not self._unread.is_set()

    async def until_gone(self) -> None:
        """Return when the client is seen to have gone, or fail with a `ConnectionError`."""
        while True:
            await self._unread.wait()
            await asyncio.sleep(_LOOK_SECONDS)
            if self._unread.is_set():
                if self._is_over():
                    return
                # The end may be stuck behind a flood for which there is no room. Then the kernel of a client
                # that has gone still answers whatever comes to it with a reset.
                await self._nudge()

    def _is_over(self) -> bool:
        """Asked of the kernel: with reading paused, the event loop hears nothing of it."""
        if self._connection is None or self._connection.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._connection.fileno(), _OVER)
        return bool(poll.poll(0))
