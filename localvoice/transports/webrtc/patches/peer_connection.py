"""aiortc 1.16's peer connection, with one guarded transport, and without sections that are over.

aiortc has no public way to drop a section, to be given a transport, or to tell which codec it sends.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpTransceiver,
)

from localvoice.transports.webrtc.patches.ice import IceGuard

log = logging.getLogger(__name__)

_STOP_SECONDS: Final = 3.0
"""How long a part may take to end."""


class PeerConnection(RTCPeerConnection):
    """As aiortc's, but drops sections that are over, and handles failures of its background tasks."""

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
                each._bundled = (
                    True  # they stay on their transport, whichever section becomes the bundle's first
                )
                continue
            transceivers.remove(each)
            for known in ("_RTCPeerConnection__remoteIce", "_RTCPeerConnection__remoteDtls"):
                vars(self)[known].pop(each, None)
            detach_track(each)  # the track would end with its sender
            await each.stop()

    async def stop_parts(self) -> None:
        """End threads and tasks, even if one of them is stuck."""
        transceivers = self.getTransceivers()
        parts = [stop for each in transceivers for stop in (each.sender.stop, each.receiver.stop)]
        if self.sctp is not None:
            parts.append(self.sctp.stop)
        await asyncio.gather(*map(_stopped, parts))

    async def stop_transports(self) -> None:
        """Close the sockets: a failed offer may have detached one from the connection."""
        await asyncio.gather(*(_stopped(each.stop) for each in self._transports))
        await asyncio.gather(*(_stopped(each.transport.stop) for each in self._transports))

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:  # noqa: N802
        """As aiortc's, but guarded from the start."""
        made: RTCDtlsTransport = super()._RTCPeerConnection__createDtlsTransport()  # type: ignore[misc]
        self._transports.append(made)
        self._guard.guard(made)
        return made

    def _RTCPeerConnection__createSctpTransport(self) -> None:  # noqa: N802
        super()._RTCPeerConnection__createSctpTransport()  # type: ignore[misc]
        if self.sctp is not None:
            self.sctp._bundled = True
            self._guard.note_channel(self.sctp)

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
                await self._connect()
        finally:
            self._connecting = False

    async def _connect(self) -> None:
        try:
            await super()._RTCPeerConnection__connect()  # type: ignore[misc]
        except Exception:
            log.debug("a WebRTC connection can't be opened", exc_info=True)


def detach_track(transceiver: RTCRtpTransceiver) -> None:
    """Have a section send nothing; its track may go on elsewhere."""
    if transceiver.sender.track is not None:
        transceiver.sender.replaceTrack(None)


def sends_opus(transceiver: RTCRtpTransceiver) -> bool:
    """Whether a negotiated section sends Opus: aiortc sends the first codec."""
    opus: bool = transceiver._codecs[0].mimeType.lower() == "audio/opus"
    return opus


async def _stopped(stop: Callable[[], Awaitable[None]]) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_STOP_SECONDS):
            await stop()
