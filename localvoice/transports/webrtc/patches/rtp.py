"""Closes holes in aiortc 1.16's RTP and RTCP: what a peer's packet may cost, keep, and break.

aiortc keeps each source (SSRC) that a peer names for ever, in five tables and in libsrtp, which walks through
them for each packet. Its report lists each one: 60 of them make it too large for libsrtp, and 256 can't be
written at all. Timestamps that jump do the same: the jitter outgrows its field. The task that sends the
reports then dies silently, and the connection's end waits for that task for ever.

A report of lost packets (NACK) of 1,500 bytes can ask for 6,000 packets again. Only sound is sent, for which
no such reports are negotiated, and feedback about pictures (REMB, PLI) means nothing to it: they aren't read.

aiortc has no public way to replace a receiver's jitter buffer (`incoming.py`).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiortc import RTCDtlsTransport, RTCRtpCodecParameters, RTCRtpReceiver, RTCRtpSender
from aiortc.rtcdtlstransport import RtpReceiver, RtpRouter
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
)
from pylibsrtp import Session

log = logging.getLogger(__name__)

_SOURCES: Final = 16
"""Kept of a peer; a browser has one for each microphone, and one for its reports."""
_HIGHEST_JITTER: Final = 2**32 - 1
"""The largest value of its field in a report."""

_parse = RtcpPacket.parse
_setup_srtp = RTCDtlsTransport._setup_srtp
_reports_of_receiver = RTCRtpReceiver._run_rtcp
_reports_of_sender = RTCRtpSender._run_rtcp


class BoundedSources:
    """A session of libsrtp that reads packets and keeps only the latest sources."""

    def __init__(self, session: Session, on_dropped: Callable[[int], None]) -> None:
        """`on_dropped` gets each source that is dropped for newer ones."""
        self._session = session
        self._on_dropped = on_dropped
        self._heard: OrderedDict[int, None] = OrderedDict()

    def unprotect(self, packet: bytes) -> bytes:
        """The packet of sound. Raises as libsrtp does; such a packet doesn't count."""
        read: bytes = self._session.unprotect(packet)
        self._note(read[8:12])
        return read

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """The packet of reports, as with sound."""
        read: bytes = self._session.unprotect_rtcp(packet)
        self._note(read[4:8])
        return read

    def _note(self, source: bytes) -> None:
        number = int.from_bytes(source, "big")
        self._heard[number] = None
        self._heard.move_to_end(number)
        if len(self._heard) > _SOURCES:
            oldest, _ = self._heard.popitem(last=False)
            self._session.remove_stream(oldest)
            self._on_dropped(oldest)


def setup_srtp(transport: RTCDtlsTransport) -> None:
    """As aiortc's, but with bounded sources."""
    _setup_srtp(transport)
    if transport._rx_srtp is not None:
        vars(transport)["_rx_srtp"] = BoundedSources(
            transport._rx_srtp, lambda source: _drop(transport, source)
        )


def _drop(transport: RTCDtlsTransport, source: int) -> None:
    for receiver in transport._rtp_router.receivers:
        for table in ("active_ssrc", "remote_streams", "lsr", "lsr_time"):
            vars(receiver)[f"_RTCRtpReceiver__{table}"].pop(source, None)


def route_rtp(router: RtpRouter, packet: RtpPacket) -> RtpReceiver | None:
    """As aiortc's, but doesn't keep a source that no offer has named."""
    fitting = router.payload_type_table.get(packet.payload_type, set())
    known = router.ssrc_table.get(packet.ssrc)
    if known is None and len(fitting) == 1:
        return next(iter(fitting))
    return known if known in fitting else None


def parse_reports(data: bytes) -> list[AnyRtcpPacket]:
    """As aiortc's, but leaves out what sound doesn't use."""
    return [each for each in _parse(data) if isinstance(each, RtcpSrPacket | RtcpRrPacket | RtcpByePacket)]


def parse_feedback(data: bytes, fmt: int) -> RtcpRtpfbPacket:
    """Leaves out the packets that it names, which may be 17 for each four bytes."""
    return RtcpRtpfbPacket(fmt=fmt, ssrc=0, media_ssrc=0)


def jitter(stream: StreamStatistics) -> int:
    """As aiortc's, but at most what a report has room for."""
    return min(stream._jitter_q4 >> 4, _HIGHEST_JITTER)


async def reports_of_receiver(receiver: RTCRtpReceiver) -> None:
    """As aiortc's, but always sets the event that it has ended."""
    await _ending(_reports_of_receiver(receiver), vars(receiver)["_RTCRtpReceiver__rtcp_exited"])


async def reports_of_sender(sender: RTCRtpSender) -> None:
    """As aiortc's, but always sets the event that it has ended."""
    await _ending(_reports_of_sender(sender), vars(sender)["_RTCRtpSender__rtcp_exited"])


async def _ending(reports: Awaitable[None], ended: asyncio.Event) -> None:
    try:
        await reports
    except Exception as error:
        log.warning("no more reports are sent to a client: %r", error)
    finally:
        ended.set()


def receiver_codecs(receiver: RTCRtpReceiver) -> Mapping[int, RTCRtpCodecParameters]:
    """The codecs by payload type; empty until the receiver starts."""
    codecs: Mapping[int, RTCRtpCodecParameters] = vars(receiver)["_RTCRtpReceiver__codecs"]
    return codecs


def replace_jitter_buffer(receiver: RTCRtpReceiver, buffer: object) -> None:
    """Have a receiver give its packets to `buffer.add`."""
    vars(receiver)["_RTCRtpReceiver__jitter_buffer"] = buffer


def payload(packet: RtpPacket) -> bytes:
    """A packet's payload without the codec's own header, as aiortc's receiver leaves it."""
    data: bytes = vars(packet)["_data"]
    return data


PATCHES: Final[list[tuple[Any, str, Any]]] = [
    (RTCDtlsTransport, "_setup_srtp", setup_srtp),
    (RtpRouter, "route_rtp", route_rtp),
    (RtcpPacket, "parse", staticmethod(parse_reports)),
    (RtcpRtpfbPacket, "parse", staticmethod(parse_feedback)),
    (StreamStatistics, "jitter", property(jitter)),
    (RTCRtpReceiver, "_run_rtcp", reports_of_receiver),
    (RTCRtpSender, "_run_rtcp", reports_of_sender),
]
