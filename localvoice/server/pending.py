"""Connections that have not authenticated yet: few at a time, and none for long."""

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from localvoice.server.access import address_group

log = logging.getLogger(__name__)

_LIFETIME_SECONDS: Final = 60.0
"""aiohttp closes a connection that asks for nothing after ten; this ends one that asks now and then."""
_CALM_SHARE: Final = 4
"""The flood is over when less than one in so many of the places is taken."""


@dataclass(eq=False)
class PendingConnection:
    """A connection that was accepted."""

    source: tuple[str, int]
    """The client's address and port."""
    since: float
    """When it was accepted (s)."""
    socket: socket.socket
    abort: Callable[[], None]
    """Ends it at once."""

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
        """`most` at a time."""
        self._most = most
        self._groups: dict[str, dict[tuple[str, int], PendingConnection]] = {}
        """By address or IPv6 network, the oldest first."""
        self._flooded = False

    def __len__(self) -> int:
        """How many there are."""
        return sum(map(len, self._groups.values()))

    def add(self, connection: PendingConnection) -> None:
        """Count a new connection, and end an older one if it is one too many."""
        group = address_group(connection.source[0])
        self._groups.setdefault(group, {})[connection.source] = connection
        if self._is_full(group):
            self._drop_closed()
        if self._is_full(group):
            address = self._end_oldest(group if self._has_too_many(group) else self._largest())
            self._log_flood(address)

    def authenticated(self, source: tuple[str, int]) -> None:
        """The connection from this address and port is not pending any more."""
        group = self._groups.get(address_group(source[0]))
        if group is not None:
            group.pop(source, None)

    def make_room(self) -> bool:
        """End the oldest of the address that has most. False if there is none."""
        self._drop_closed()
        if self._groups:
            self._end_oldest(self._largest())
            return True
        return False

    def sweep(self, now: float) -> None:
        """End those that are too old; to be called each second or so."""
        for group in self._groups.values():
            for source, connection in list(group.items()):
                if now - connection.since > _LIFETIME_SECONDS:
                    del group[source]
                    connection.abort()
        self._drop_closed()
        if self._flooded and len(self) <= self._most // _CALM_SHARE:
            self._flooded = False
            log.warning("the flood of connections without a token is over")

    def _is_full(self, group: str) -> bool:
        return len(self) > self._most or self._has_too_many(group)

    def _has_too_many(self, group: str) -> bool:
        return len(self._groups.get(group, ())) > max(1, self._most // 2)

    def _largest(self) -> str:
        return max(self._groups, key=lambda group: len(self._groups[group]))

    def _end_oldest(self, group: str) -> str:
        """Gives the address that the connection came from."""
        oldest = next(iter(self._groups[group]))
        self._groups[group].pop(oldest).abort()
        return oldest[0]

    def _log_flood(self, address: str) -> None:
        if not self._flooded:
            self._flooded = True
            log.warning(
                "%s keeps many connections open without showing a token. The oldest of them are ended, and "
                "other clients are served as before",
                address,
            )

    def _drop_closed(self) -> None:
        for name, group in list(self._groups.items()):
            for source in [source for source, connection in group.items() if connection.closed]:
                del group[source]
            if not group:
                del self._groups[name]
