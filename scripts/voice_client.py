"""A loopback client: speaks sound files into a server over WebRTC and hears what comes back.

The benchmark measures with it. It keeps to what any client can know: when it spoke, and when it heard.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from localvoice.audio.frames import AUDIBLE, AudioFrame, Samples

RATE: Final = 48_000
FRAME: Final = RATE // 50

PING_SECONDS: Final = 15
"""Between two pings."""
HELD_PACKETS: Final = 2
"""Packets of 20 ms that the client holds back before it hears them; aiortc holds 4, and never less than 1.
With 2, the way there and back is nearest to Chromium's: see docs/benchmarks.md and `make bench-browser`."""


class ServerReported(RuntimeError):
    """The server sent an error instead of what was waited for."""


class PacedTrack(MediaStreamTrack):
    """A track into which sound is put, sent in real time; silence in between."""

    kind = "audio"
    delay = 0
    """Samples after its beginning at which a frame is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        """Set once sound is sent."""
        self._start = 0.0
        self._sent = 0
        self._sound: Samples = np.zeros(0, np.int16)

    def put(self, sound: AudioFrame) -> None:
        """Send it from the next frame on."""
        self._sound = sound.resampled(RATE).samples

    @property
    def speaking(self) -> bool:
        """Whether something is left to send."""
        return len(self._sound) > 0

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms, when it is time for them."""
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if not self.open.is_set():
            self._start = loop.time()
            self.open.set()
        await asyncio.sleep(self._start + (self._sent + self.delay) / RATE - loop.time())
        samples = np.zeros(FRAME, np.int16)
        now, self._sound = self._sound[:FRAME], self._sound[FRAME:]
        samples[: len(now)] = now
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._sent, Fraction(1, RATE)
        self._sent += FRAME
        return frame


class Mouth(PacedTrack):
    """A microphone: it gives 20 ms once they have been spoken."""

    delay = FRAME

    def __init__(self) -> None:
        super().__init__()
        self.onset = 0.0
        """The loop's time at which the first voiced sample of what was last said is spoken."""

    def say(self, speech: AudioFrame) -> float:
        """Speak from the next frame on. The loop's time at which the last voiced sample is spoken."""
        self.put(speech)
        voiced = AudioFrame(self._sound, RATE).audible
        self.onset = self._start + (self._sent + int(voiced[0])) / RATE
        return self._start + (self._sent + int(voiced[-1])) / RATE


class Caller:
    """One connection to a server: its messages. How it speaks and hears is its subclasses' affair."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.last_sound = 0.0
        """The loop's time of the latest audible frame."""
        self._socket = socket
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Return when sound flows both ways."""
        self._tasks += [asyncio.create_task(self._read()), asyncio.create_task(self._ping())]

    def say(self, speech: AudioFrame) -> float:
        """Speak from the next frame on. The loop's time at which the last voiced sample is spoken."""
        raise NotImplementedError

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message over the WebSocket."""
        await self._socket.send_str(json.dumps(message))

    async def wait_for(self, kind: str) -> dict[str, Any]:
        """The next message of this type; the ones before it are passed over. Raises `ServerReported`."""
        while (message := await self.messages.get())["type"] != kind:
            if message["type"] == "error":
                raise ServerReported(f"the server reports {message['code']}: {message['message']}")
        return message

    def forget(self) -> None:
        """Pass over the messages that have come."""
        while not self.messages.empty():
            self.messages.get_nowait()

    async def close(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def _take(self, message: dict[str, Any]) -> None:
        """Deal with a message that has come."""
        self.messages.put_nowait(message)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                self._take(json.loads(message.data))

    async def _ping(self) -> None:
        """As a browser's client does: the server ends a connection that says nothing for a minute."""
        while True:
            await self.send({"type": "ping", "timestamp": time.time()})
            await asyncio.sleep(PING_SECONDS)


class VoiceClient(Caller):
    """A caller by WebRTC, with a mouth and ears."""

    def __init__(self, socket: ClientWebSocketResponse, held_packets: int = HELD_PACKETS) -> None:
        """`held_packets`: of its jitter buffer, at least 1; see `HELD_PACKETS`."""
        super().__init__(socket)
        self._held_packets = held_packets
        self.mouth = Mouth()
        self._heard = asyncio.Event()
        self._connected = asyncio.Event()
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._answer: asyncio.Future[RTCSessionDescription] = asyncio.get_running_loop().create_future()
        self._peer.on("track", self._on_track)
        self._peer.on("connectionstatechange", self._on_state)

    async def connect(self, more_candidates: tuple[str, ...] = ()) -> None:
        """Negotiate, and return when sound flows both ways. `more_candidates` are put into the offer."""
        await super().connect()
        self._peer.createDataChannel("data")
        self._peer.addTrack(self.mouth)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        local = self._peer.localDescription
        # In the first section: the others share its transport, and theirs are passed over.
        lines = "".join(f"{candidate}\r\n" for candidate in more_candidates)
        sdp = local.sdp.replace("a=candidate:", f"{lines}a=candidate:", 1)
        await self.send({"type": "offer", "signal": {"type": local.type, "sdp": sdp}})
        await self._peer.setRemoteDescription(await self._answer)
        await self._connected.wait()
        await self.mouth.open.wait()

    def say(self, speech: AudioFrame) -> float:
        """Speak from the next frame on. The loop's time at which the last voiced sample is spoken."""
        return self.mouth.say(speech)

    async def first_sound_after(self, moment: float) -> float:
        """The loop's time of the first audible frame that comes after this moment."""
        while True:
            self._heard.clear()
            await self._heard.wait()
            if self.last_sound > moment:
                return self.last_sound

    async def close(self) -> None:
        """Hang up."""
        self.mouth.stop()
        await self._peer.close()
        await super().close()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "signal":
            signal = message["signal"]
            self._answer.set_result(RTCSessionDescription(signal["sdp"], signal["type"]))
        else:
            super()._take(message)

    def _on_state(self) -> None:
        if self._peer.connectionState == "connected":
            self._connected.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        hold_packets(self._peer, track, self._held_packets)
        self._tasks.append(asyncio.create_task(self._hear(track)))

    async def _hear(self, track: MediaStreamTrack) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, av.AudioFrame)
            if is_audible(frame):
                self.last_sound = loop.time()
                self._heard.set()


def hold_packets(peer: RTCPeerConnection, track: MediaStreamTrack, count: int) -> None:
    """Have the track's jitter buffer hold back so many packets, at least 1; see `HELD_PACKETS`."""
    for transceiver in peer.getTransceivers():
        if transceiver.receiver.track is track:
            # There is no public way to say so.
            buffer = transceiver.receiver._RTCRtpReceiver__jitter_buffer  # type: ignore[attr-defined]
            buffer._prefetch = count


def is_audible(frame: av.AudioFrame) -> bool:
    """Whether a listener would hear something in it."""
    return int(np.abs(frame.to_ndarray().astype(np.int32)).max()) > AUDIBLE


@asynccontextmanager
async def voice_client(
    address: str, more_candidates: tuple[str, ...] = (), held_packets: int = HELD_PACKETS
) -> AsyncIterator[VoiceClient]:
    """A connected client, hung up when the block is left."""
    async with ClientSession() as http, http.ws_connect(f"{address}/ws") as socket:
        client = VoiceClient(socket, held_packets)
        try:
            async with asyncio.timeout(20):
                await client.connect(more_candidates)
            yield client
        finally:
            await client.close()
