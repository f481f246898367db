"""Finds out that a client has gone: by silence (`Watchdog`), by its packets, or by its TCP socket."""

import asyncio
import select
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_CHECKS: Final = 10
"""A watchdog's time is divided into this many checks."""
_LATE_SECONDS: Final = 0.2
"""The event loop is later than this only if it is busy or the process was stopped."""
_SILENT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05
"""A client that still waits for something gives up after 0.15 s, and all of it has to end within 0.25 s."""
_HANGUP: Final = select.POLLHUP | select.POLLERR | (select.POLLRDHUP if sys.platform == "linux" else 0)
"""Reset, or closed by the client, which then reads no answer any more."""
_UNACKNOWLEDGED_MS: Final = 10_000


class Watchdog:
    """A timeout for what a client should send, which counts only time in which it could have been read.

    All timers of a process that was suspended are due when it resumes, while what its clients sent still lies
    in the sockets. A plain timeout would end every connection at once.
    """

    def __init__(self, seconds: float) -> None:
        """Expires `seconds` after the last reset, or up to a tenth later."""
        self._step = seconds / _CHECKS
        self.reset()

    def reset(self) -> None:
        self._checks = 0
        self._spared = False

    async def expired(self, counts: Callable[[], bool] = lambda: True) -> None:
        """Return on expiry. Checks count only while `counts()`, while what the client sends is read."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._step
            await asyncio.sleep(self._step)
            if not counts():
                continue
            self._checks += 1
            if self._checks <= _CHECKS:
                continue
            if self._spared or loop.time() - due < _LATE_SECONDS:
                return
            self._spared = True  # by the next check, what lay in the sockets has been read


class PacketLiveness:
    """Notices that a WebRTC peer vanished without closing: cable pulled, process stopped.

    The WebSocket's heartbeat would take three quarters of a minute, while the models work for a client that
    has gone. A peer that sent sound once sends a packet every 20 ms. A browser whose microphone was taken
    away still sends a STUN request every 2.5 s, so the peer counts as gone after 5 s without any packet. Only
    packets count that the client alone can have sent (`patches/connection.py`). A peer that never sent sound
    is left to the heartbeat.
    """

    def __init__(self, on_gone: Callable[[], None]) -> None:
        """`on_gone` is called once, 5 s after the last packet of a peer that has sent sound."""
        self._on_gone = on_gone
        self._watchdog = Watchdog(_SILENT_SECONDS)
        self._watching: asyncio.Task[None] | None = None

    def heard(self) -> None:
        """The peer sent sound: from now on packets are expected."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="packet liveness")

    def received(self) -> None:
        self._watchdog.reset()

    def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        await self._watchdog.expired()
        self._on_gone()


def limit_unacknowledged(connection: socket.socket | None) -> None:
    """Have Linux drop a client that acknowledges nothing for 10 s; by default it tries for 15 minutes.

    On other systems the heartbeat ends such a connection, later.
    """
    if connection is not None and sys.platform == "linux":
        with suppress(OSError):  # closed meanwhile
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)


class SocketLiveness:
    """Polls a client's TCP socket while its reader is busy: in a flood, or while a picture is decoded.

    Otherwise the end of the stream tells, but it waits behind everything that has not been read.
    """

    def __init__(self, connection: socket.socket | None, nudge: Callable[[], Awaitable[None]]) -> None:
        """`connection` is None if it is lost already; `nudge` sends something that asks for no answer."""
        self._connection = connection
        self._nudge = nudge
        self._busy = asyncio.Event()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While inside, the reader handles a message and reads nothing."""
        self._busy.set()
        try:
            yield
        finally:
            self._busy.clear()

    @property
    def reading(self) -> bool:
        """Whether the reader waits for the client, rather than the client for the reader."""
        return not self._busy.is_set()

    async def gone(self) -> None:
        """Return when the client has gone. What it sent and was not read is dropped."""
        while True:
            await self._busy.wait()
            await asyncio.sleep(_POLL_SECONDS)
            if not self._busy.is_set():
                continue
            if self._hung_up():
                return
            # The end may be stuck behind a flood for which the receive buffer has no room. The kernel of
            # a client that has gone answers a frame with a reset all the same.
            try:
                await self._nudge()
            except ConnectionError:
                return

    def _hung_up(self) -> bool:
        """Asks the kernel: while reading is paused, the event loop isn't told."""
        if self._connection is None or self._connection.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._connection.fileno(), _HANGUP)
        return bool(poll.poll(0))
