"""Closes holes in aiortc 1.16's DTLS: how many packets a peer may send, and what a broken one breaks.

An exception that a packet causes, in any parser, ends the whole connection with a traceback in the log. Here
it costs that packet, and the log reports the first one of a connection.

A packet may hold several records, or one of more than the 1,500 bytes that aiortc reads at a time. aiortc
reads one piece for each packet; the rest stays in memory, and all later packets wait behind it.

A peer may ask for a new handshake again and again, at a higher cost than anything else that it can ask for.
WebRTC doesn't use that.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport
from aiortc.rtp import is_rtcp
from OpenSSL import SSL

from localvoice.transports.limits import TokenBucket

log = logging.getLogger(__name__)

LARGEST_PACKET: Final = 1500
"""Bytes that aiortc and libsrtp read at a time, and the most that WebRTC clients send."""
_RATES: Final = {"messages": (1_000, 4_000), "sound": (250, 1_000), "reports": (20, 100)}
"""Packets of each kind, by the second and at once. A browser sends 50 or 100 of sound and 1 or 2 reports; two
pictures of the largest size are 500 messages."""

_recv_next = RTCDtlsTransport._recv_next
_send_data = RTCDtlsTransport._send_data
_create_ssl_context = RTCCertificate._create_ssl_context
_begin = RTCIceTransport.__init__


class PacketFilter:
    """Admits what one peer may send: packets of a readable size, and as many as a conversation needs."""

    def __init__(self, now: float) -> None:
        """`now` is on the clock of `admits`."""
        self._left = {kind: TokenBucket(rate, burst, now) for kind, (rate, burst) in _RATES.items()}
        self._told = False

    def admits(self, packet: bytes, now: float) -> bool:
        """Whether to read this packet."""
        if not 0 < len(packet) <= LARGEST_PACKET:
            return False
        if not self._left[_kind_of(packet)].take(now):
            return True
        if not self._told:
            log.warning("a client sends more packets than a conversation needs; the excess is dropped")
        self._told = True
        return False


def _kind_of(packet: bytes) -> str:
    if not 127 < packet[0] < 192:
        return "messages"
    return "reports" if is_rtcp(packet) else "sound"


def begin(transport: RTCIceTransport, gatherer: RTCIceGatherer) -> None:
    """As aiortc's, but what it receives is filtered."""
    _begin(transport, gatherer)
    receive: Callable[[], Awaitable[bytes]] = transport._recv
    loop = asyncio.get_running_loop()
    packets = PacketFilter(loop.time())

    async def receive_filtered() -> bytes:
        while not packets.admits(packet := await receive(), loop.time()):
            pass
        return packet

    vars(transport)["_recv"] = receive_filtered


async def recv_next(transport: RTCDtlsTransport) -> None:
    """As aiortc's, but reads all that has come, and drops a packet that breaks it.

    An error without a packet is raised: it would come again at once, and again.
    """
    before = _received(transport)
    try:
        await _recv_next(transport)
        await _read_all(transport)
    except ConnectionError:
        raise
    except Exception as error:
        if _received(transport) == before:
            raise
        if not vars(transport).get("_told_unreadable"):
            log.warning("a client's packet can't be used and is dropped: %r", error)
        vars(transport)["_told_unreadable"] = True


def _received(transport: RTCDtlsTransport) -> int:
    packets: int = vars(transport)["_RTCDtlsTransport__rx_packets"]
    return packets


async def _read_all(transport: RTCDtlsTransport) -> None:
    ssl, receiver = transport._ssl, transport._data_receiver
    while ssl is not None and transport.encrypted and receiver is not None:
        try:
            data = ssl.recv(LARGEST_PACKET)
        except SSL.ZeroReturnError as error:
            raise ConnectionError("the peer has closed the connection") from error
        except SSL.Error:
            return  # no more
        await receiver._handle_data(data)


async def send_data(transport: RTCDtlsTransport, data: bytes) -> None:
    """As aiortc's, but a connection that the peer broke counts as closed."""
    try:
        await _send_data(transport, data)
    except SSL.Error as error:
        raise ConnectionError("the peer has broken the encryption") from error


def create_ssl_context(certificate: RTCCertificate, srtp_profiles: list[Any]) -> SSL.Context:
    """As aiortc's, but with one handshake a connection."""
    context = _create_ssl_context(certificate, srtp_profiles)
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    return context


PATCHES: Final[list[tuple[Any, str, Any]]] = [
    (RTCIceTransport, "__init__", begin),
    (RTCDtlsTransport, "_recv_next", recv_next),
    (RTCDtlsTransport, "_send_data", send_data),
    (RTCCertificate, "_create_ssl_context", create_ssl_context),
]
