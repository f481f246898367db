"""Closes holes in aioice 0.13 and aiortc 1.16: where UDP sockets are bound, and whose packets they take.

aioice binds every address of this machine but the loopback, takes packets from every host, and answers each
STUN request, also one without a password. aiortc reads the first byte of an empty packet, and gives more than
1,500 bytes to a cipher that has no room for them: either ends the call. So sockets are bound where the client
reaches the server, and drop what can't be the client's before aioice sees it. A packet that isn't STUN is the
client's only if a STUN request with the password came from its port: other programs of the client's machine
have its address, but not its port.

There is no public way to choose addresses, to see packets before aioice, or to tell which were genuine.
"""

import logging
import struct
from collections.abc import Callable
from typing import Any, Final, cast

from aioice import Candidate, Connection, ice, stun
from aiortc import RTCDtlsTransport, RTCSctpTransport

from localvoice.transports.webrtc.patches.dtls import LARGEST_PACKET

log = logging.getLogger(__name__)

_MAX_SENDERS: Final = 32
"""Ports of the client that ICE tries; a browser has two for each of its networks. Each costs a task."""
_MAX_UNREAD: Final = 1024
"""Packets that wait for DTLS, which reads them at once. After a failure of DTLS nothing reads them."""
_STUN_ENDS: Final = 4
"""STUN's first byte is below it, that of DTLS and SRTP above (RFC 7983)."""

_unguarded_socket = ice.StunProtocol


class IceGuard:
    """Keeps the sockets of one peer connection for one client, and reports each of its packets."""

    def __init__(self, on_packet: Callable[[], None]) -> None:
        """`on_packet` is called for each packet that the client alone can have sent.

        That is STUN with the password, and what DTLS or SRTP verified.
        """
        self.bound: list[str] = []
        """This machine's addresses to listen on."""
        self.client: frozenset[str] = frozenset()
        """The addresses that packets may come from."""
        self.on_packet = on_packet
        self._senders: set[tuple[str, int]] = set()

    def guard(self, transport: RTCDtlsTransport) -> None:
        """Guard a transport that has not gathered candidates yet."""
        connection = cast(_GuardedConnection, transport.transport._connection)
        connection.__class__ = _GuardedConnection
        connection.guard = self
        self._note(transport, "_handle_rtp_data", "_handle_rtcp_data")

    def note_channel(self, sctp: RTCSctpTransport) -> None:
        """Report the packets of the data channel's transport."""
        self._note(sctp, "_handle_data")

    def admits(self, data: bytes, address: tuple[Any, ...]) -> bool:
        """Whether a packet may be the client's."""
        if not 0 < len(data) <= LARGEST_PACKET or address[0] not in self.client:
            return False
        return data[0] < _STUN_ENDS or address[:2] in self._senders

    def authenticated(self, address: tuple[str, int]) -> bool:
        """Admit an address that showed the password. False if it is one too many."""
        if address not in self._senders and len(self._senders) >= _MAX_SENDERS:
            return False
        self._senders.add(address)
        self.on_packet()
        return True

    def _note(self, part: object, *names: str) -> None:
        """Have these methods, which get only verified packets, report each."""
        for name in names:
            vars(part)[name] = self._reporting(getattr(part, name))

    def _reporting(self, receive: Callable[..., Any]) -> Callable[..., Any]:
        async def report(*packet: Any, **more: Any) -> None:
            self.on_packet()
            await receive(*packet, **more)

        return report


class _GuardedConnection(Connection):
    """As aioice's, but bound to the guard's addresses, and answers the client alone."""

    guard: IceGuard

    async def get_component_candidates(
        self, component: int, addresses: list[str], *limits: int
    ) -> list[Candidate]:
        return await super().get_component_candidates(component, self.guard.bound, *limits)

    def check_incoming(
        self, message: stun.Message, addr: tuple[str, int], protocol: ice.StunProtocol
    ) -> None:
        """Called for requests with the password."""
        if self.guard.authenticated(addr):
            super().check_incoming(message, addr, protocol)

    def respond_error(
        self,
        request: stun.Message,
        addr: tuple[str, int],
        protocol: ice.StunProtocol,
        error_code: tuple[int, str],
    ) -> None:
        """A request without the password gets no answer, which would tell that something listens here."""
        if error_code[0] not in (400, 401):
            super().respond_error(request, addr, protocol, error_code)

    def data_received(self, data: bytes, component: int) -> None:
        if self._queue.qsize() < _MAX_UNREAD:
            super().data_received(data, component)


class _GuardedSocket(_unguarded_socket):
    """As aioice's, but takes what the guard of its connection admits, or everything without a guard."""

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        guard = self._guard
        if guard is None:
            super().datagram_received(data, addr)
        elif guard.admits(cast(bytes, data), addr):
            try:
                super().datagram_received(data, addr)
            except (KeyError, struct.error) as error:
                # A STUN attribute is missing, or too short for its type. aioice handles ValueError alone.
                log.debug("a broken STUN packet is dropped: %r", error)

    async def request(self, *request: Any, **more: Any) -> tuple[stun.Message, tuple[str, int]]:
        """The answer to the server's request: aioice takes only one with the password."""
        answer = await super().request(*request, **more)
        if self._guard is not None:
            self._guard.authenticated(answer[1])
        return answer

    @property
    def _guard(self) -> IceGuard | None:
        return self.receiver.guard if isinstance(self.receiver, _GuardedConnection) else None


PATCHES: Final[list[tuple[Any, str, Any]]] = [(ice, "StunProtocol", _GuardedSocket)]
