"""aiortc 1.16's peer connection, on sockets of aioice 0.13 that take the client's packets alone.

aioice binds every address of this machine but the loopback, takes packets from every host, answers each STUN
request, also one without a password, and keeps without a bound what isn't read. aiortc reads the first byte
of an empty packet, and gives more than 1,500 bytes to a cipher that has no room for them: either ends the
call. So sockets are bound where the client reaches the server, and drop what can't be the client's before
aioice sees it. A packet that isn't STUN is the client's only if a STUN request with the password came from
its port: other programs of the client's machine have its address, but not its port.

There is no public way to choose addresses, to see packets before aioice, to tell which were genuine, to drop
a section, to be given a transport, or to tell which codec is sent.
"""

import asyncio
import logging
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

from aioice import Candidate, Connection, ice, stun
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCDtlsTransport, RTCPeerConnection, RTCRtpTransceiver
from aiortc.rtp import is_rtcp

from localvoice.transports.limits import TokenBucket
from localvoice.transports.webrtc.patches.dtls import LARGEST_PACKET

log = logging.getLogger(__name__)

_RATES: Final = {"messages": (1_000, 4_000), "sound": (250, 1_000), "reports": (20, 100)}
"""Packets of each kind, by the second and at once. A browser sends 50 or 100 of sound and 1 or 2 reports; two
pictures of the largest size are 500 messages."""
_MAX_SENDERS: Final = 32
"""Ports of the client that ICE tries; a browser has two for each of its networks. Each costs a task."""
_MAX_UNREAD: Final = 1024
"""Packets that wait for DTLS, which reads them at once. After a failure of DTLS nothing reads them."""
_STUN_ENDS: Final = 4  # STUN's first byte is below it, that of DTLS and SRTP above (RFC 7983)
_STOP_SECONDS: Final = 3.0  # how long a part may take to end

_Address = tuple[str, int]

_unguarded_socket = ice.StunProtocol


class PacketRates:
    """Admits as many packets of one peer as a conversation needs."""

    def __init__(self, now: float) -> None:
        self._left = {kind: TokenBucket(rate, burst, now) for kind, (rate, burst) in _RATES.items()}
        self._told = False

    def admits(self, packet: bytes, now: float) -> bool:
        kind = "messages"
        if 127 < packet[0] < 192:
            kind = "reports" if is_rtcp(packet) else "sound"
        excess = bool(self._left[kind].take(now))
        if excess and not self._told:
            log.warning("a client sends more packets than a conversation needs; the excess is dropped")
        self._told = self._told or excess
        return not excess


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
        self._senders: set[_Address] = set()

    def guard(self, transport: RTCDtlsTransport) -> None:
        """Guard a transport that has not gathered candidates yet."""
        connection = cast(_GuardedConnection, transport.transport._connection)
        connection.__class__ = _GuardedConnection
        connection.guard = self
        connection.rates = PacketRates(asyncio.get_running_loop().time())
        self.note(transport, "_handle_rtp_data", "_handle_rtcp_data")

    def note(self, part: object, *methods: str) -> None:
        """Have these methods, which get only verified packets, report each."""
        for name in methods:
            vars(part)[name] = partial(self._report, getattr(part, name))

    async def _report(self, receive: Callable[..., Any], *packet: Any, **more: Any) -> None:
        self.on_packet()
        await receive(*packet, **more)

    def admits(self, data: bytes, address: tuple[Any, ...]) -> bool:
        """Whether a packet may be the client's."""
        if not 0 < len(data) <= LARGEST_PACKET or address[0] not in self.client:
            return False
        return data[0] < _STUN_ENDS or address[:2] in self._senders

    def authenticated(self, address: _Address) -> bool:
        """Admit an address that showed the password. False if it is one too many."""
        if address not in self._senders and len(self._senders) >= _MAX_SENDERS:
            return False
        self._senders.add(address)
        self.on_packet()
        return True


class _GuardedConnection(Connection):
    """As aioice's, but bound to the guard's addresses, and answers the client alone."""

    guard: IceGuard
    rates: PacketRates

    async def get_component_candidates(
        self, component: int, addresses: list[str], *limits: int
    ) -> list[Candidate]:
        return await super().get_component_candidates(component, self.guard.bound, *limits)

    def check_incoming(self, message: stun.Message, addr: _Address, protocol: ice.StunProtocol) -> None:
        """Called for requests with the password."""
        if self.guard.authenticated(addr):
            super().check_incoming(message, addr, protocol)

    def respond_error(
        self, request: stun.Message, addr: _Address, protocol: ice.StunProtocol, error_code: tuple[int, str]
    ) -> None:
        """A request without the password gets no answer, which would tell that something listens here."""
        if error_code[0] not in (400, 401):
            super().respond_error(request, addr, protocol, error_code)

    def data_received(self, data: bytes, component: int) -> None:
        """Called for what isn't STUN."""
        now = asyncio.get_running_loop().time()
        if self.rates.admits(data, now) and self._queue.qsize() < _MAX_UNREAD:
            super().data_received(data, component)


class _GuardedSocket(_unguarded_socket):
    """As aioice's, but takes what the guard of its connection admits, or everything without a guard."""

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        guard = self._guard
        if guard is not None and not guard.admits(cast(bytes, data), addr):
            return
        try:
            super().datagram_received(data, addr)
        except (KeyError, struct.error) as error:
            # A STUN attribute is missing, or too short for its type. aioice handles ValueError alone.
            log.debug("a broken STUN packet is dropped: %r", error)

    async def request(self, *request: Any, **more: Any) -> tuple[stun.Message, _Address]:
        """The answer to the server's request: aioice takes only one with the password."""
        answer = await super().request(*request, **more)
        if self._guard is not None:
            self._guard.authenticated(answer[1])
        return answer

    @property
    def _guard(self) -> IceGuard | None:
        return getattr(self.receiver, "guard", None)


class PeerConnection(RTCPeerConnection):
    """As aiortc's, but guarded, without sections that are over, and its background tasks may fail."""

    def __init__(self, guard: IceGuard) -> None:
        # With an empty list, aiortc asks no public STUN server. With one transport for all sections, none is
        # made that is closed at once.
        super().__init__(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._guard = guard
        self._transports: list[RTCDtlsTransport] = []
        self._connecting = False
        self._connect_again = False

    async def keep(self, sections: Sequence[tuple[str, str]]) -> None:
        """Drop all sections but these, each given by kind and mid, in the order of the next offer.

        aiortc drops none, and finds one by its place in the offer.
        """
        transceivers: list[RTCRtpTransceiver] = vars(self)["_RTCPeerConnection__transceivers"]
        for each in list(transceivers):
            if (each.kind, each.mid) in sections:
                each._set_mline_index(sections.index((each.kind, each.mid)))
                # They stay on their transport, whichever section becomes the bundle's first.
                each._bundled = True
                continue
            transceivers.remove(each)
            for known in ("_RTCPeerConnection__remoteIce", "_RTCPeerConnection__remoteDtls"):
                vars(self)[known].pop(each, None)
            detach_track(each)  # the track would end with its sender
            await each.stop()

    async def stop_all(self) -> None:
        """End threads and tasks, even if one is stuck, then all sockets: a failed offer may detach one."""
        parts: list[Any] = [part for each in self.getTransceivers() for part in (each.sender, each.receiver)]
        if self.sctp is not None:
            parts.append(self.sctp)
        for stage in (parts, self._transports, [each.transport for each in self._transports]):
            await asyncio.gather(*map(_stop, stage))

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:  # noqa: N802
        made: RTCDtlsTransport = super()._RTCPeerConnection__createDtlsTransport()  # type: ignore[misc]
        self._transports.append(made)
        self._guard.guard(made)
        return made

    def _RTCPeerConnection__createSctpTransport(self) -> None:  # noqa: N802
        super()._RTCPeerConnection__createSctpTransport()  # type: ignore[misc]
        if self.sctp is not None:
            self.sctp._bundled = True
            self._guard.note(self.sctp, "_handle_data")

    async def _RTCPeerConnection__connect(self) -> None:  # noqa: N802 - the name that it is called by
        """As aiortc's, but one call at a time; it connects what the latest offer and answer agreed on.

        aiortc calls this twice for an offer, and another offer may take away a transport meanwhile.
        `WebRtcPeer` tells the client if there is no connection in time.
        """
        self._connect_again = True
        if self._connecting:
            return
        self._connecting = True
        try:
            while self._connect_again:
                self._connect_again = False
                try:
                    await super()._RTCPeerConnection__connect()  # type: ignore[misc]
                except Exception:
                    log.debug("a WebRTC connection can't be opened", exc_info=True)
        finally:
            self._connecting = False


def detach_track(transceiver: RTCRtpTransceiver) -> None:
    """Have a section send nothing; its track may go on elsewhere."""
    if transceiver.sender.track is not None:
        transceiver.sender.replaceTrack(None)


def sends_opus(transceiver: RTCRtpTransceiver) -> bool:
    """Whether a negotiated section sends Opus: aiortc sends the first codec."""
    return bool(transceiver._codecs[0].mimeType.lower() == "audio/opus")


async def _stop(part: Any) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_STOP_SECONDS):
            await part.stop()


PATCHES: Final[list[tuple[Any, str, Any]]] = [(ice, "StunProtocol", _GuardedSocket)]
