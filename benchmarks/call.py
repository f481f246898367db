"""A WebRTC call that speaks sound into a server and hears what comes back.

It keeps to what any client can know: when it spoke, and when it heard.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from localvoice.audio.frames import AUDIBLE, AudioFrame, Samples

Signal = Callable[[dict[str, str]], Awaitable[dict[str, str]]]
"""Takes an offer to a server and brings back its answer, each with `type` and `sdp`."""

RATE: Final = 48_000
FRAME: Final = RATE // 50
GAP: Final = 0.5
"""Seconds without sound after which a sound is a new one. Pauses inside a sentence are shorter."""
HELD_PACKETS: Final = 2
"""Packets of 20 ms that the client holds back before it hears them; aiortc holds 4, and never less than 1.
With 2, the way there and back is nearest to Chromium's: see docs/latency.md."""


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


class Ears:
    """When the agent is heard, in the loop's time."""

    def __init__(self) -> None:
        self.onset = -np.inf
        """The first audible frame of the latest stretch of sound."""
        self.last = -np.inf
        """The latest audible frame."""
        self._heard = asyncio.Event()

    def hear(self, moment: float) -> None:
        """An audible frame came at this moment."""
        if moment - self.last > GAP:
            self.onset = moment
        self.last = moment
        self._heard.set()

    async def first_sound_after(self, moment: float) -> float:
        """The time of the first audible frame that comes from now on and after this moment."""
        while True:
            self._heard.clear()
            await self._heard.wait()
            if self.last > moment:
                return self.last

    async def answer_after(self, moment: float) -> float:
        """The time at which the first sound after this moment begins; one that goes on is passed over."""
        while self.onset <= moment:
            self._heard.clear()
            await self._heard.wait()
        return self.onset

    async def silence(self, seconds: float) -> float:
        """Wait until nothing was heard for so long; the time of the latest sound."""
        loop = asyncio.get_running_loop()
        while True:
            left = self.last + seconds - loop.time()
            if left <= 0:
                return self.last
            await asyncio.sleep(left)


class Call:
    """A WebRTC connection with a mouth and ears."""

    def __init__(self) -> None:
        self.mouth = Mouth()
        self.ears = Ears()
        self._connected = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.on("track", self._on_track)
        self._peer.on("connectionstatechange", self._on_state)

    async def connect(self, signal: Signal, more_candidates: tuple[str, ...] = ()) -> None:
        """Negotiate, and return when sound flows to the server. `more_candidates` are put into the offer."""
        self._peer.createDataChannel("data")
        self._peer.addTrack(self.mouth)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        local = self._peer.localDescription
        # In the first section: the others share its transport, and theirs are passed over.
        lines = "".join(f"{candidate}\r\n" for candidate in more_candidates)
        sdp = local.sdp.replace("a=candidate:", f"{lines}a=candidate:", 1)
        answer = await signal({"type": local.type, "sdp": sdp})
        await self._peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await self._connected.wait()
        await self.mouth.open.wait()

    async def close(self) -> None:
        """Hang up."""
        self.mouth.stop()
        await self._peer.close()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    def _on_state(self) -> None:
        if self._peer.connectionState == "connected":
            self._connected.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        for transceiver in self._peer.getTransceivers():
            if transceiver.receiver.track is track:
                # There is no public way to say how much the jitter buffer holds back.
                buffer = transceiver.receiver._RTCRtpReceiver__jitter_buffer  # type: ignore[attr-defined]
                buffer._prefetch = HELD_PACKETS
        self._listening = asyncio.create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        loop = asyncio.get_running_loop()
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                if is_audible(frame.to_ndarray()):
                    self.ears.hear(loop.time())


def is_audible(samples: Any) -> bool:
    """Whether a listener would hear something in these 16-bit samples."""
    return int(np.abs(samples.astype(np.int32)).max(initial=0)) > AUDIBLE
