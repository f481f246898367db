"""A WebRTC client in the stock client's order, with a microphone that speaks when told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import av
import numpy as np
import pytest
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError

from localvoice.audio.frames import AudioFrame
from localvoice.transports.webrtc.addresses import has_network
from tests.support.fakes import loud, until
from tests.support.server_site import Client, seconds_of_sound

needs_a_network = pytest.mark.skipif(
    not has_network(),
    reason="WebRTC needs a network interface beside loopback, and this machine has none up",
)


class Microphone(MediaStreamTrack):
    """Silence, and speech for as long as it is told, at the pace of a microphone."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._clock = AudioStreamTrack()
        self.speech_frames = 0

    async def recv(self) -> av.AudioFrame:
        frame = await self._clock.recv()
        assert isinstance(frame, av.AudioFrame)
        if self.speech_frames:
            self.speech_frames -= 1
            tone = loud(0.02, 8_000).samples
            frame.planes[0].update(tone.tobytes())
        return frame


class Browser:
    """A client in the stock client's order: data channel first, microphone by a second offer."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.on_channel: list[dict[str, Any]] = []
        self.heard: list[list[AudioFrame]] = []
        self.microphone = Microphone()
        self._listeners: list[asyncio.Task[None]] = []
        self.channel: RTCDataChannel | None = None

    async def connect(self) -> None:
        self.channel = self.connection.createDataChannel("data")
        opened = asyncio.Event()
        self.channel.on("open", opened.set)
        self.channel.on("message", lambda text: self.on_channel.append(json.loads(text)))
        self.connection.on("track", self._listen)
        await self.offer()
        async with asyncio.timeout(8):
            await opened.wait()

    async def offer(self) -> None:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        local = self.connection.localDescription
        await self.client.send("offer", signal={"type": local.type, "sdp": local.sdp})
        answer = (await self.client.expect("signal"))["signal"]
        assert answer["type"] == "answer"
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))

    async def add_microphone(self) -> None:
        self.connection.addTrack(self.microphone)
        await self.offer()

    def _listen(self, track: MediaStreamTrack) -> None:
        self._listeners.append(asyncio.create_task(self._hear(track)))

    async def _hear(self, track: MediaStreamTrack) -> None:
        frames: list[AudioFrame] = []
        self.heard.append(frames)
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, av.AudioFrame)
            samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            frames.append(AudioFrame(np.ascontiguousarray(samples), frame.sample_rate))

    def seconds_heard(self) -> list[float]:
        """Of each track."""
        return [sum(seconds_of_sound(frame) for frame in frames) for frames in self.heard]

    async def until_heard(self) -> None:
        await until(lambda: any(self.seconds_heard()))

    async def close(self) -> None:
        self.microphone._clock.stop()
        await self.connection.close()
        for listener in self._listeners:
            listener.cancel()
        if self._listeners:
            await asyncio.wait(self._listeners)


@asynccontextmanager
async def calling(client: Client) -> AsyncIterator[Browser]:
    browser = Browser(client)
    try:
        yield browser
    finally:
        await browser.close()
