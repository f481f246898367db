"""Two DTLS transports without a network, one of which may send what it likes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiortc import (
    RTCCertificate,
    RTCDtlsTransport,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpReceiver,
    RTCRtpSender,
)
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.rtcrtpreceiver import RemoteStreamTrack

from localvoice.transports.webrtc import peer as _  # noqa: F401 - installs the guards
from localvoice.transports.webrtc.patches.dtls import replace_jitter_buffer
from localvoice.transports.webrtc.sound import IncomingSound

OPUS: Final = RTCRtpCodecParameters(mimeType="audio/opus", clockRate=48_000, channels=2, payloadType=96)
AUDIO_LEVEL: Final = 2
"""The header extension's number."""


class Path:
    """Stands for the ICE transport of one end."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.came: asyncio.Queue[bytes] = asyncio.Queue()
        self.other = self

    async def _recv(self) -> bytes:
        return await self.came.get()

    async def _send(self, data: bytes) -> None:
        self.other.came.put_nowait(data)


class Call:
    """Our end of a call with sound both ways, and the peer's end of its encryption."""

    def __init__(self) -> None:
        paths = [Path("controlled"), Path("controlling")]
        paths[0].other, paths[1].other = paths[1], paths[0]
        certificates = [RTCCertificate.generateCertificate() for _path in paths]
        self.ours, self.theirs = (
            RTCDtlsTransport(path, [certificate])  # type: ignore[arg-type]
            for path, certificate in zip(paths, certificates, strict=True)
        )
        self.path = paths[0]
        self.receiver = RTCRtpReceiver("audio", self.ours)
        self.sender = RTCRtpSender("audio", self.ours)
        self.sounds = 0

    async def begin(self) -> None:
        """The handshake, and what comes after it."""
        await asyncio.gather(
            self.ours.start(self.theirs.getLocalParameters()),
            self.theirs.start(self.ours.getLocalParameters()),
        )
        await self.listen()

    async def listen(self) -> None:
        """Begin to take sound and to send it."""
        self.receiver._track = RemoteStreamTrack("audio")
        self.receiver._set_rtcp_ssrc(self.sender._ssrc)
        replace_jitter_buffer(
            self.receiver,
            lambda codecs: IncomingSound(
                codecs, self._on_sound, lambda reason: None, lambda: False, lambda: True
            ),
        )
        extension = RTCRtpHeaderExtensionParameters(
            id=AUDIO_LEVEL, uri="urn:ietf:params:rtp-hdrext:ssrc-audio-level"
        )
        await self.receiver.receive(RTCRtpReceiveParameters(codecs=[OPUS], headerExtensions=[extension]))
        await self.sender.send(RTCRtpSendParameters(codecs=[OPUS], headerExtensions=[extension]))

    def _on_sound(self, frame: object) -> None:
        self.sounds += 1

    async def attack(self, packet: bytes) -> None:
        """Give our end a packet of the peer's sound or reports, and wait until it is dealt with."""
        await self.theirs._send_rtp(packet)
        await self.dealt_with()

    async def dealt_with(self) -> None:
        """Wait until our end has taken all that came."""
        while not self.path.came.empty():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def end(self) -> None:
        """Stop all of it."""
        for part in (self.sender, self.receiver, self.ours, self.theirs):
            await part.stop()


@asynccontextmanager
async def call() -> AsyncIterator[Call]:
    """An established one."""
    made = Call()
    try:
        await made.begin()
        yield made
    finally:
        await made.end()
