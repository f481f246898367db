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
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from localvoice.observability.stopwatch import now
from localvoice.server.access import PendingConnection, PendingConnections

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS: Final = 10.0
"""For the TLS handshake; asyncio would give a minute to a client that says nothing."""
_BACKLOG: Final = 128
_MAX_PENDING: Final = 256
_SHARE_OF_FILES: Final = 4
"""Pending connections take at most one in so many of the file descriptors."""
_SWEEP_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.2
_CALM_SECONDS: Final = 5.0
"""Without a failure, until the log says that connections are accepted again."""
_NOT_OURS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def pending_of_this_process() -> PendingConnections:
    """As many as the process's limit on open files allows."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MAX_PENDING if files == resource.RLIM_INFINITY else files // _SHARE_OF_FILES
    return PendingConnections(min(_MAX_PENDING, most))


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on all addresses of the host. Raises `OSError`, also for an invalid host name.

    Addresses that this machine lacks are left out as long as it has one of them: `localhost` often has an
    IPv6 address on a machine without IPv6.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:  # Python's encoder of names, for one with an empty label or a long one
        raise OSError(None, "that is not a host name") from None
    sockets = list[socket.socket]()
    lacking: OSError | None = None
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(socket.create_server(address, family=family, backlog=_BACKLOG))
            except OSError as error:
                if error.errno not in _NOT_OURS:
                    raise
                lacking = error
        if not sockets and lacking is not None:
            raise lacking
    except OSError:
        for each in sockets:
            each.close()
        raise
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
        """Takes over the sockets. Needs a running event loop; use `open`."""
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

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        protocol: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
        pending: PendingConnections,
    ) -> "Listener":
        """Listen on all addresses of the host, with TLS if there is a context. Raises `OSError`."""
        sockets = await asyncio.to_thread(listening_sockets, host, port)
        for each in sockets:
            each.setblocking(False)
        return cls(sockets, protocol, context, pending)

    @property
    def port(self) -> int:
        """The port; for port 0, the free one that the system chose."""
        port: int = self._sockets[0].getsockname()[1]
        return port

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

    def _accept(self, listening: socket.socket) -> None:
        """Accept one connection. The others of a flood wait for the loop's next step."""
        try:
            connection, address = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # the client has gone already
        except OSError as error:
            if error.errno not in _EXHAUSTED or not self._make_room(error):
                self._pause(listening)
            return
        connection.setblocking(False)
        self._open(connection, (address[0], address[1]))

    def _make_room(self, error: OSError) -> bool:
        if self._exhausted is None:
            words = "no connection can be accepted: %s. Allow this process more open files (`ulimit -n`)"
            log.error(words, error.strerror)
        self._exhausted = now()
        return self._pending.make_room()

    def _pause(self, listening: socket.socket) -> None:
        """Accept nothing on this socket for a moment: the same error would come again at once."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._paused[listening] = loop.call_later(_RETRY_SECONDS, self._listen, listening)

    def _listen(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _open(self, connection: socket.socket, source: tuple[str, int]) -> None:
        opening = asyncio.create_task(self._opened(connection), name="opening a connection")
        self._tasks.add(opening)
        opening.add_done_callback(self._tasks.discard)
        # Here rather than in the task, which may be cancelled before it starts.
        opening.add_done_callback(lambda task: connection.close() if _failed(task) else None)
        self._pending.add(PendingConnection(source, now(), connection, partial(_abort, opening)))

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


def _failed(opening: asyncio.Task[asyncio.Transport | None]) -> bool:
    return opening.cancelled() or opening.result() is None


def _abort(opening: asyncio.Task[asyncio.Transport | None]) -> None:
    if not opening.done():
        opening.cancel()
    elif not opening.cancelled() and (transport := opening.result()) is not None:
        transport.abort()
