"""Accepts TCP connections, with a limit on those that have not authenticated.

asyncio's own server accepts without a limit, and where the process has no file descriptors left it logs each
attempt, a hundred at a time.
"""

import asyncio
import errno
import logging
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from typing import Any, Final

from localvoice.observability.stopwatch import now
from localvoice.server.security import address_group

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS: Final = 10.0
"""For the TLS handshake; asyncio would give a minute to a client that says nothing."""
_BACKLOG: Final = 128
_MAX_PENDING: Final = 256
_SHARE_OF_FILES: Final = 4
"""Pending connections take at most one in so many of the file descriptors."""
_LIFETIME_SECONDS: Final = 60.0
"""aiohttp closes a connection that asks for nothing after ten; this ends one that asks now and then."""
_CALM_SHARE: Final = 4
"""The flood is over when less than one in so many of the places is taken."""
_SWEEP_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.2
_CALM_SECONDS: Final = 5.0
"""Without a failure, until the log says that connections are accepted again."""
_NOT_OURS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(eq=False)
class PendingConnection:
    source: tuple[str, int]
    """The client's address and port."""
    since: float
    """When it was accepted (s)."""
    socket: socket.socket
    abort: Callable[[], None]
    """Ends it at once."""

    @cached_property
    def group(self) -> str:
        return address_group(self.source[0])

    @property
    def closed(self) -> bool:
        """Whether the socket is closed, not just closing: a client that doesn't read keeps it open."""
        return self.socket.fileno() < 0


class PendingConnections:
    """Connections that have shown no token; without a token, those without a WebSocket that is served.

    One address may have half of `most`, so it shuts out none but itself. Above the limit the oldest
    connection is ended, rather than the newest refused: a client that asks for something is pending for
    milliseconds.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_source: dict[tuple[str, int], PendingConnection] = {}  # the oldest first
        self._flooded = False

    @classmethod
    def of_this_process(cls) -> "PendingConnections":
        """As many as the process's limit on open files allows."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = files == resource.RLIM_INFINITY
        return cls(_MAX_PENDING if unlimited else min(_MAX_PENDING, files // _SHARE_OF_FILES))

    def __len__(self) -> int:
        return len(self._by_source)

    def add(self, connection: PendingConnection) -> None:
        """Count a new connection, and end an older one if it is one too many."""
        self._by_source[connection.source] = connection
        group = self._crowd(connection.group)
        if group is not None and self._drop_closed():
            group = self._crowd(connection.group)
        if group is None:
            return
        address = self._end_oldest(group)
        if not self._flooded:
            self._flooded = True
            log.warning(
                "%s keeps many connections open without showing a token. The oldest of them are ended, and "
                "other clients are served as before",
                address,
            )

    def authenticated(self, source: tuple[str, int]) -> None:
        """The connection from this address and port is not pending any more."""
        self._by_source.pop(source, None)

    def make_room(self) -> bool:
        """End the oldest of the address that has most. False if there is none."""
        self._drop_closed()
        if not self._by_source:
            return False
        self._end_oldest(self._sizes().most_common(1)[0][0])
        return True

    def sweep(self, now: float) -> None:
        """End those that are too old; to be called each second or so."""
        for source, connection in list(self._by_source.items()):
            if now - connection.since > _LIFETIME_SECONDS:
                del self._by_source[source]
                connection.abort()
        self._drop_closed()
        if self._flooded and len(self) <= self._most // _CALM_SHARE:
            self._flooded = False
            log.warning("the flood of connections without a token is over")

    def _crowd(self, newest: str) -> str | None:
        """The address that has to give way, after one of `newest` was added; None if there is room."""
        sizes = self._sizes()
        if sizes[newest] > max(1, self._most // 2):
            return newest
        return sizes.most_common(1)[0][0] if len(self) > self._most else None

    def _sizes(self) -> Counter[str]:
        return Counter(map(attrgetter("group"), self._by_source.values()))

    def _end_oldest(self, group: str) -> str:
        """Gives the address that the connection came from."""
        oldest = next(each for each in self._by_source.values() if each.group == group)
        del self._by_source[oldest.source]
        oldest.abort()
        return oldest.source[0]

    def _drop_closed(self) -> bool:
        """Whether there were any."""
        closed = [source for source, each in self._by_source.items() if each.closed]
        for source in closed:
            del self._by_source[source]
        return bool(closed)


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Non-blocking sockets on all addresses of the host. Raises `OSError`, also for an invalid host name.

    Addresses that this machine lacks are left out as long as it has one of them: `localhost` often has an
    IPv6 address on a machine without IPv6.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:  # Python's encoder of names, for one with an empty label or a long one
        raise OSError(None, "that is not a host name") from None
    sockets = list[socket.socket]()
    lacking: OSError | None = None
    with ExitStack() as unless_all_listen:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                listening = socket.create_server(address, family=family, backlog=_BACKLOG)
            except OSError as error:
                if error.errno not in _NOT_OURS:
                    raise
                lacking = error
            else:
                listening.setblocking(False)
                sockets.append(unless_all_listen.enter_context(listening))
        unless_all_listen.pop_all()
    if not sockets and lacking is not None:
        raise lacking
    return sockets


class Listener:
    """Listening sockets, and each connection that is accepted until its protocol has it."""

    def __init__(
        self,
        sockets: list[socket.socket],
        protocol: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
        pending: PendingConnections,
    ) -> None:
        """Takes over `listening_sockets`; TLS if there is a context. Needs a running event loop."""
        self._sockets = sockets
        self._protocol = protocol
        self._context = context
        self._pending = pending
        self._exhausted: float | None = None
        """When a connection last could not be accepted, while that is the state that was logged."""
        self._logged = set[type[Exception]]()
        """Unexpected errors that were logged: a client that causes one can cause it again and again."""
        self._tasks = set[asyncio.Task[Any]]()
        self._tasks.add(asyncio.create_task(self._keep_sweeping(), name="pending connections"))
        self._paused = dict[socket.socket, asyncio.TimerHandle]()
        for each in sockets:
            self._listen(each)

    @property
    def port(self) -> int:
        """The port; for port 0, the free one that the system chose."""
        return int(self._sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Accept no more; connections that are open stay."""
        for each in self._sockets:
            asyncio.get_running_loop().remove_reader(each)
        for timer in self._paused.values():
            timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for each in self._sockets:
            each.close()

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._pending.sweep(now())
            if self._exhausted is not None and now() - self._exhausted > _CALM_SECONDS:
                self._exhausted = None
                log.warning("connections are accepted again")

    def _listen(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Accept one connection. The others of a flood wait for the loop's next step."""
        try:
            connection, address = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # the client has gone already
        except OSError as error:
            if error.errno not in _EXHAUSTED or not self._make_room(error):
                # The same error would come again at once.
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                self._paused[listening] = loop.call_later(_RETRY_SECONDS, self._listen, listening)
            return
        connection.setblocking(False)
        opening = asyncio.create_task(self._opened(connection), name="opening a connection")
        self._tasks.add(opening)
        # Not in the task, which may be cancelled before it starts.
        opening.add_done_callback(partial(self._on_opened, connection))
        self._pending.add(
            PendingConnection((address[0], address[1]), now(), connection, partial(_abort, opening))
        )

    def _make_room(self, error: OSError) -> bool:
        if self._exhausted is None:
            words = "no connection can be accepted: %s. Allow this process more open files (`ulimit -n`)"
            log.error(words, error.strerror)
        self._exhausted = now()
        return self._pending.make_room()

    async def _opened(self, connection: socket.socket) -> asyncio.Transport | None:
        """The transport, after the TLS handshake; None if that or anything else about it fails."""
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else HANDSHAKE_SECONDS,
            )
        except OSError as error:  # SSLError and a passed deadline among them
            log.debug("the TLS handshake with a client failed: %s", error)
            return None
        except Exception as error:
            level = logging.DEBUG if type(error) in self._logged else logging.ERROR
            self._logged.add(type(error))
            log.log(level, "a connection can't be opened, and is closed", exc_info=True)
            return None
        return transport

    def _on_opened(self, connection: socket.socket, opening: asyncio.Task[asyncio.Transport | None]) -> None:
        self._tasks.discard(opening)
        if opening.cancelled() or opening.result() is None:
            connection.close()


def _abort(opening: asyncio.Task[asyncio.Transport | None]) -> None:
    if not opening.cancel() and not opening.cancelled() and (transport := opening.result()) is not None:
        transport.abort()
