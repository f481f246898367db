"""aiortc's peer connection, as one client needs it: one guarded transport, and no section that is over.

Private parts of aiortc are used: it has no public way to forget a section, or to be given a transport.
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
    """aiortc's own, which forgets what is over, and in whose background nothing fails unheard."""

    def __init__(self, guard: IceGuard) -> None:
        # An empty list of servers: with none given at all, aiortc asks a public STUN server. All sections
        # share one transport, so none is made that is thrown away at once.
        super().__init__(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._guard = guard
        self._transports: list[RTCDtlsTransport] = []
        self._connecting = False
        self._connect_again = False

    async def keep(self, sections: Sequence[tuple[str, str]]) -> None:
        """Forget all sections but these, each given by kind and mid, in the order of the next offer.

        aiortc itself forgets none, and finds one by its place in the offer.
        """
        transceivers: list[RTCRtpTransceiver] = vars(self)["_RTCPeerConnection__transceivers"]
        for each in list(transceivers):
            if (each.kind, each.mid) in sections:
                each._set_mline_index(sections.index((each.kind, each.mid)))
                each._bundled = True  # whatever comes to be the bundle's first, they stay on their transport
                continue
            transceivers.remove(each)
            for known in ("_RTCPeerConnection__remoteIce", "_RTCPeerConnection__remoteDtls"):
                vars(self)[known].pop(each, None)
            take_off(each)  # it would end with its sender
            await each.stop()

    async def stop_parts(self) -> None:
        """End threads and tasks, whatever each of them is stuck in."""
        transceivers = self.getTransceivers()
        parts = [stop for each in transceivers for stop in (each.sender.stop, each.receiver.stop)]
        if self.sctp is not None:
            parts.append(self.sctp.stop)
        await asyncio.gather(*map(_stopped, parts))

    async def stop_transports(self) -> None:
        """Close the sockets: an offer that went wrong may have torn one from the connection."""
        await asyncio.gather(*(_stopped(each.stop) for each in self._transports))
        await asyncio.gather(*(_stopped(each.transport.stop) for each in self._transports))

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:  # noqa: N802
        """Have each transport guarded from the start."""
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
        """Connect what an offer and its answer agreed on.

        Another offer may take away a transport meanwhile. The client is told when no connection comes about.
        aiortc calls this twice an offer. One call at a time waits for the client to be reached, and it then
        connects the latest agreement.
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
            log.debug("what was agreed on with a client can't be connected", exc_info=True)


def take_off(transceiver: RTCRtpTransceiver) -> None:
    """Have a section send nothing: its track may go on elsewhere."""
    if transceiver.sender.track is not None:
        transceiver.sender.replaceTrack(None)


async def _stopped(stop: Callable[[], Awaitable[None]]) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_STOP_SECONDS):
            await stop()
