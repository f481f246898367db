"""WebRTC clients that speak and are spoken to without rest, for `duplex.py`: `duplex_peers.py ADDRESS COUNT`.

They cost little, for the server is what is measured: they send sound that was encoded once, and count packets
rather than decode them. Prints a line when all are connected, then, for each line on the standard input, the
packets that each has received.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from aiohttp import ClientSession, ClientWebSocketResponse
from aiortc import MediaStreamTrack
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from voice_client import FRAME, RATE, Mouth, VoiceClient

_LEVEL: Final = 300
"""Of 32768: loud enough to keep the server awake, too faint to be taken for an interruption of the agent."""


def encoded(seconds: int = 2) -> list[bytes]:
    """A murmur as Opus packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.format, encoder.layout, encoder.sample_rate = "s16", "mono", RATE
    random = np.random.default_rng(0)
    packets = []
    for number in range(seconds * 50):
        samples = random.normal(0, _LEVEL, (1, FRAME)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
        frame.sample_rate, frame.pts = RATE, number * FRAME
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


PACKETS: Final = encoded()


class Murmur(Mouth):
    """Sends the same packets over and over, in real time."""

    async def recv(self) -> Any:
        """The next packet, when it is time for it."""
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if not self.open.is_set():
            self._start = loop.time()
            self.open.set()
        await asyncio.sleep(self._start + self._sent / RATE - loop.time())
        packet = av.Packet(PACKETS[self._sent // FRAME % len(PACKETS)])
        packet.pts, packet.time_base = self._sent, Fraction(1, RATE)
        self._sent += FRAME
        return packet


class Counter:
    """Stands for a receiver's jitter buffer: counts, and never leaves aiortc anything to decode."""

    def __init__(self) -> None:
        self.packets = 0

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet."""
        self.packets += 1
        return False, None


class Peer(VoiceClient):
    """One that has a story told, and another, while it murmurs."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        super().__init__(socket)
        self.mouth = Murmur()
        self.heard = Counter()

    async def listen(self) -> None:
        """Ask for a story whenever one has ended, until cancelled."""
        while True:
            await self.send({"type": "text", "text": "Tell me a story."})
            await self.wait_for("tts-complete")

    def _on_track(self, track: MediaStreamTrack) -> None:
        for transceiver in self._peer.getTransceivers():
            if transceiver.receiver.track is track:
                # There is no public way to say so.
                vars(transceiver.receiver)["_RTCRtpReceiver__jitter_buffer"] = self.heard


@asynccontextmanager
async def _connected(address: str, http: ClientSession) -> AsyncIterator[Peer]:
    async with http.ws_connect(f"{address}/ws") as socket:
        peer = Peer(socket)
        async with asyncio.timeout(30):
            await peer.connect()
        listening = asyncio.create_task(peer.listen())
        try:
            yield peer
        finally:
            listening.cancel()
            await peer.close()


async def main(address: str, count: int) -> None:
    """Until the standard input ends."""
    async with ClientSession() as http, AsyncExitStack() as connected:
        peers = [await connected.enter_async_context(_connected(address, http)) for _ in range(count)]
        print("connected", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            counts = [peer.heard.packets for peer in peers]
            print(
                json.dumps({"time": time.monotonic(), "cpu": time.process_time(), "packets": counts}),
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
