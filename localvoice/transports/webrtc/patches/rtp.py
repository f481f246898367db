"""Closes holes in aiortc 1.16's RTP and RTCP: what a peer's packet may cost, keep, and break.

Each source (SSRC) that a peer names is kept for ever, in five tables and in libsrtp, which then walks through
them for each packet. Of each one our report tells: at 60 of them it is too large for libsrtp, at 256 it can't
be written at all. Timestamps that jump do the same: the jitter outgrows its field. The task that sends the
reports dies of that in silence, and the connection's end waits for the task for ever.

A report of lost packets (NACK) of 1,500 bytes can ask for 6,000 packets again. We send sound, for which no
such reports are agreed on, and pictures' feedback (REMB, PLI) means nothing to it: they aren't read.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from aiortc import RTCDtlsTransport, RTCRtpReceiver, RTCRtpSender
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
"""That a peer sends from by turns; a browser has one for each microphone, and one for its reports."""
_HIGHEST_JITTER: Final = 2**32 - 1
"""What its field in a report holds."""

_parse = RtcpPacket.parse
_setup_srtp = RTCDtlsTransport._setup_srtp
_reports_of_receiver = RTCRtpReceiver._run_rtcp
_reports_of_sender = RTCRtpSender._run_rtcp


class FewSources:
    """A session of libsrtp that reads packets and keeps the sources that were heard last only."""

    def __init__(self, session: Session, on_forgotten: Callable[[int], None]) -> None:
        """`on_forgotten` gets a source that others have taken the place of."""
        self._session = session
        self._on_forgotten = on_forgotten
        self._heard: OrderedDict[int, None] = OrderedDict()

    def unprotect(self, packet: bytes) -> bytes:
        """The packet of sound. Raises what libsrtp does; then it counts for nothing."""
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
            self._on_forgotten(oldest)


def setup_srtp(transport: RTCDtlsTransport) -> None:
    """As aiortc's, but with few sources."""
    _setup_srtp(transport)
    if transport._rx_srtp is not None:
        vars(transport)["_rx_srtp"] = FewSources(
            transport._rx_srtp, lambda source: _forget(transport, source)
        )


def _forget(transport: RTCDtlsTransport, source: int) -> None:
    for receiver in transport._rtp_router.receivers:
        for table in ("active_ssrc", "remote_streams", "lsr", "lsr_time"):
            vars(receiver)[f"_RTCRtpReceiver__{table}"].pop(source, None)


def route_rtp(router: RtpRouter, packet: RtpPacket) -> RtpReceiver | None:
    """As aiortc's, but a source that no offer has named isn't remembered."""
    fitting = router.payload_type_table.get(packet.payload_type, set())
    known = router.ssrc_table.get(packet.ssrc)
    if known is None and len(fitting) == 1:
        return next(iter(fitting))
    return known if known in fitting else None


def parse_reports(data: bytes) -> list[AnyRtcpPacket]:
    """As aiortc's, but what sound has no use for is left out."""
    return [each for each in _parse(data) if isinstance(each, RtcpSrPacket | RtcpRrPacket | RtcpByePacket)]


def parse_feedback(data: bytes, fmt: int) -> RtcpRtpfbPacket:
    """Without the packets that it names, which may be 17 for each four bytes."""
    return RtcpRtpfbPacket(fmt=fmt, ssrc=0, media_ssrc=0)


def jitter(stream: StreamStatistics) -> int:
    """As aiortc's, but not above what a report has room for."""
    return min(stream._jitter_q4 >> 4, _HIGHEST_JITTER)


async def reports_of_receiver(receiver: RTCRtpReceiver) -> None:
    """As aiortc's, but says in any case that it has ended."""
    try:
        await _reports_of_receiver(receiver)
    except Exception as error:
        log.warning("no reports are sent to a client any more: %r", error)
    finally:
        vars(receiver)["_RTCRtpReceiver__rtcp_exited"].set()


async def reports_of_sender(sender: RTCRtpSender) -> None:
    """As aiortc's, but says in any case that it has ended."""
    try:
        await _reports_of_sender(sender)
    except Exception as error:
        log.warning("no reports are sent to a client any more: %r", error)
    finally:
        vars(sender)["_RTCRtpSender__rtcp_exited"].set()


def install() -> None:
    """Put the guards in their places, for the whole process."""
    places: list[tuple[Any, str, Any]] = [
        (RTCDtlsTransport, "_setup_srtp", setup_srtp),
        (RtpRouter, "route_rtp", route_rtp),
        (RtcpPacket, "parse", staticmethod(parse_reports)),
        (RtcpRtpfbPacket, "parse", staticmethod(parse_feedback)),
        (StreamStatistics, "jitter", property(jitter)),
        (RTCRtpReceiver, "_run_rtcp", reports_of_receiver),
        (RTCRtpSender, "_run_rtcp", reports_of_sender),
    ]
    for owner, name, guard in places:
        setattr(owner, name, guard)
