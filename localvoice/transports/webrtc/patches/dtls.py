"""Closes holes in aiortc 1.16's DTLS, RTP and RTCP: what a peer's packet may cost, keep, and break.

DTLS. An exception that a packet causes, in any parser, ends the whole connection with a traceback in the log.
Here it costs that packet, and the log reports the first one of a connection. A packet may hold several
records, or one of more than the 1,500 bytes that aiortc reads at a time. aiortc reads one piece for each
packet; the rest stays in memory, and all later packets wait behind it. A peer may ask for a new handshake
again and again, at a higher cost than anything else that it can ask for. WebRTC doesn't use that.

RTP and RTCP. aiortc keeps each source (SSRC) that a peer names for ever, in five tables and in libsrtp, which
walks through them for each packet. Its report lists each one: 60 of them make it too large for libsrtp, and
256 can't be written at all. Timestamps that jump do the same: the jitter outgrows its field. The task that
sends the reports then dies silently, and the connection's end waits for that task for ever. A report of lost
packets (NACK) of 1,500 bytes can ask for 6,000 packets again. Only sound is sent, for which no such reports
are negotiated, and feedback about pictures (REMB, PLI) means nothing to it: they aren't read.

aiortc has no public way to replace a receiver's jitter buffer (`sound.py`).
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from aiortc import RTCCertificate, RTCDtlsTransport, RTCRtpCodecParameters, RTCRtpReceiver, RTCRtpSender, rtp
from aiortc.rtcdtlstransport import RtpReceiver, RtpRouter
from aiortc.rtcrtpreceiver import StreamStatistics
from OpenSSL import SSL
from pylibsrtp import Session

log = logging.getLogger(__name__)

LARGEST_PACKET: Final = 1500
"""Bytes that aiortc and libsrtp read at a time, and the most that WebRTC clients send."""
_SOURCES: Final = 16  # kept of a peer; a browser has one for each microphone, and one for its reports
_HIGHEST_JITTER: Final = 2**32 - 1  # the largest value of its field in a report

_recv_next = RTCDtlsTransport._recv_next
_send_data = RTCDtlsTransport._send_data
_setup_srtp = RTCDtlsTransport._setup_srtp
_create_ssl_context = RTCCertificate._create_ssl_context
_parse = rtp.RtcpPacket.parse


async def recv_next(transport: RTCDtlsTransport) -> None:
    """As aiortc's, but reads all that has come, and drops a packet that breaks it.

    An error without a packet is raised: it would come again at once, and again.
    """
    own = vars(transport)
    before = own["_RTCDtlsTransport__rx_packets"]
    try:
        await _recv_next(transport)
        await _read_all(transport)
    except ConnectionError:
        raise
    except Exception as error:
        if own["_RTCDtlsTransport__rx_packets"] == before:
            raise
        if not own.get("_told_unreadable"):
            log.warning("a client's packet can't be used and is dropped: %r", error)
        own["_told_unreadable"] = True


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


class BoundedSources:
    """A session of libsrtp that reads packets and keeps only the latest sources, as do their receivers."""

    def __init__(self, session: Session, receivers: Collection[RtpReceiver]) -> None:
        self._session = session
        self._receivers = receivers
        self._heard: OrderedDict[int, None] = OrderedDict()

    def unprotect(self, packet: bytes) -> bytes:
        """The packet of sound. Raises as libsrtp does; such a packet doesn't count."""
        return self._noted(self._session.unprotect(packet), 8)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        return self._noted(self._session.unprotect_rtcp(packet), 4)

    def _noted(self, packet: bytes, at: int) -> bytes:
        source = int.from_bytes(packet[at : at + 4], "big")
        self._heard[source] = None
        self._heard.move_to_end(source)
        if len(self._heard) > _SOURCES:
            oldest, _ = self._heard.popitem(last=False)
            self._session.remove_stream(oldest)
            for receiver in self._receivers:
                for table in ("active_ssrc", "remote_streams", "lsr", "lsr_time"):
                    vars(receiver)[f"_RTCRtpReceiver__{table}"].pop(oldest, None)
        return packet


def setup_srtp(transport: RTCDtlsTransport) -> None:
    """As aiortc's, but with bounded sources."""
    _setup_srtp(transport)
    if transport._rx_srtp is not None:
        sources = BoundedSources(transport._rx_srtp, transport._rtp_router.receivers)
        vars(transport)["_rx_srtp"] = sources


def route_rtp(router: RtpRouter, packet: rtp.RtpPacket) -> RtpReceiver | None:
    """As aiortc's, but doesn't keep a source that no offer has named."""
    fitting = router.payload_type_table.get(packet.payload_type, set())
    known = router.ssrc_table.get(packet.ssrc)
    if known is None and len(fitting) == 1:
        return next(iter(fitting))
    return known if known in fitting else None


def parse_reports(data: bytes) -> list[rtp.AnyRtcpPacket]:
    """As aiortc's, but leaves out what sound doesn't use."""
    used = rtp.RtcpSrPacket | rtp.RtcpRrPacket | rtp.RtcpByePacket
    return [each for each in _parse(data) if isinstance(each, used)]


def parse_feedback(data: bytes, fmt: int) -> rtp.RtcpRtpfbPacket:
    """Leaves out the packets that it names, which may be 17 for each four bytes."""
    return rtp.RtcpRtpfbPacket(fmt=fmt, ssrc=0, media_ssrc=0)


def jitter(stream: StreamStatistics) -> int:
    """As aiortc's, but at most what a report has room for."""
    return min(stream._jitter_q4 >> 4, _HIGHEST_JITTER)


def always_ending(part: type[RTCRtpReceiver | RTCRtpSender]) -> Callable[[Any], Awaitable[None]]:
    """Reports as aiortc sends them, but whatever ends them, the event that they have ended is set."""
    reports: Callable[[Any], Awaitable[None]] = part._run_rtcp

    async def run(of: Any) -> None:
        try:
            await reports(of)
        except Exception as error:
            log.warning("no more reports are sent to a client: %r", error)
        finally:
            vars(of)[f"_{part.__name__}__rtcp_exited"].set()

    return run


def replace_jitter_buffer(
    receiver: RTCRtpReceiver, make: Callable[[Mapping[int, RTCRtpCodecParameters]], object]
) -> None:
    """Have a receiver give its packets to the `add` of what `make` makes.

    `make` gets the codecs by payload type, which are empty until the receiver starts.
    """
    own = vars(receiver)
    own["_RTCRtpReceiver__jitter_buffer"] = make(own["_RTCRtpReceiver__codecs"])


def payload(packet: rtp.RtpPacket) -> bytes:
    """A packet's payload without the codec's own header, as aiortc's receiver leaves it."""
    data: bytes = vars(packet)["_data"]
    return data


PATCHES: Final[list[tuple[Any, str, Any]]] = [
    (RTCDtlsTransport, "_recv_next", recv_next),
    (RTCDtlsTransport, "_send_data", send_data),
    (RTCDtlsTransport, "_setup_srtp", setup_srtp),
    (RTCCertificate, "_create_ssl_context", create_ssl_context),
    (RtpRouter, "route_rtp", route_rtp),
    (rtp.RtcpPacket, "parse", staticmethod(parse_reports)),
    (rtp.RtcpRtpfbPacket, "parse", staticmethod(parse_feedback)),
    (StreamStatistics, "jitter", property(jitter)),
    (RTCRtpReceiver, "_run_rtcp", always_ending(RTCRtpReceiver)),
    (RTCRtpSender, "_run_rtcp", always_ending(RTCRtpSender)),
]
