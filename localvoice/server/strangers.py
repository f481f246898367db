"""Connections that have shown no right to be here yet: few of them at a time, and none for long."""

import logging
from typing import Final, Protocol

from localvoice.server.doorkeeper import address_group

log = logging.getLogger(__name__)

_LIFETIME_SECONDS: Final = 60.0
"""aiohttp closes a connection that asks for nothing after ten; this ends one that asks now and then."""
_FEW: Final = 4
"""With less than a part in so many of the places taken, the crowd is over."""


class Arrival(Protocol):
    """A connection that was accepted."""

    @property
    def source(self) -> tuple[str, int]:
        """Address and port that it comes from."""

    @property
    def since(self) -> float:
        """When it was accepted (s)."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""

    def end(self) -> None:
        """End it at once."""


class Strangers:
    """Connections without the token; where there is none, those without a WebSocket that is served.

    One address may have half of the places, so it shuts out none but itself. Past that the oldest connection
    is ended and not the newest refused: a client that has something to ask is a stranger for milliseconds.
    """

    def __init__(self, most: int) -> None:
        """`most` at a time."""
        self._most = most
        self._groups: dict[str, dict[tuple[str, int], Arrival]] = {}
        """Of one address or IPv6 network each, the oldest first."""
        self._crowded = False

    def __len__(self) -> int:
        """How many there are."""
        return sum(map(len, self._groups.values()))

    def come(self, arrival: Arrival) -> None:
        """One more. Ends another one if there are too many."""
        group = address_group(arrival.source[0])
        self._groups.setdefault(group, {})[arrival.source] = arrival
        if self._is_full(group):
            self._forget_ended()
        if self._is_full(group):
            address = self._end_oldest(group if self._has_too_many(group) else self._largest())
            self._tell(address)

    def admit(self, source: tuple[str, int]) -> None:
        """The connection from this address and port is no stranger any more."""
        group = self._groups.get(address_group(source[0]))
        if group is not None:
            group.pop(source, None)

    def make_room(self) -> bool:
        """End the oldest of the address that has most. False if there is none."""
        self._forget_ended()
        if self._groups:
            self._end_oldest(self._largest())
            return True
        return False

    def sweep(self, now: float) -> None:
        """End those that have been here for too long; to be called each second or so."""
        for group in self._groups.values():
            for source, arrival in list(group.items()):
                if now - arrival.since > _LIFETIME_SECONDS:
                    del group[source]
                    arrival.end()
        self._forget_ended()
        if self._crowded and len(self) <= self._most // _FEW:
            self._crowded = False
            log.warning("the connections without a token are few again")

    def _is_full(self, group: str) -> bool:
        return len(self) > self._most or self._has_too_many(group)

    def _has_too_many(self, group: str) -> bool:
        return len(self._groups.get(group, ())) > max(1, self._most // 2)

    def _largest(self) -> str:
        return max(self._groups, key=lambda group: len(self._groups[group]))

    def _end_oldest(self, group: str) -> str:
        """The address whose connection it was."""
        oldest = next(iter(self._groups[group]))
        self._groups[group].pop(oldest).end()
        return oldest[0]

    def _tell(self, address: str) -> None:
        if not self._crowded:
            self._crowded = True
            log.warning(
                "%s keeps many connections open without showing a token. The oldest of them are ended, and "
                "other clients are served as before",
                address,
            )

    def _forget_ended(self) -> None:
        for name, group in list(self._groups.items()):
            for source in [source for source, arrival in group.items() if arrival.over]:
                del group[source]
            if not group:
                del self._groups[name]
