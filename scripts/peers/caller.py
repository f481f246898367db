"""The loopback client that speaks to every contender in the same way, and hears when it is answered.

It knows nothing but what it hears: no contender tells it when a turn begins or ends.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import av
import numpy as np
from aiohttp import ClientSession, ClientWebSocketResponse
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from voice_client import HELD_PACKETS, PING_SECONDS, Mouth, hold_packets, is_audible

from localvoice.audio.frames import AudioFrame
from peers.figures import TIMEOUT

Signal = Callable[[dict[str, str]], Awaitable[dict[str, str]]]
"""Takes an offer to a server and brings back its answer, each with `type` and `sdp`."""

GAP: Final = 0.5
"""Seconds without sound after which a sound is a new one. Pauses inside a sentence are shorter."""
QUIET: Final = 1.5
"""Seconds without sound after which an answer is over; also what the caller takes for breath."""
LONGEST_ANSWER: Final = 120.0
INTO_ANSWER: Final = 1.0
"""Seconds into the answer at which the caller interrupts."""
_CONNECT_SECONDS: Final = 30.0


class Ears:
    """When the agent is heard: the beginning of the latest stretch of sound, and its end."""

    def __init__(self) -> None:
        self.onset = -np.inf
        """Time of the first audible frame of the latest stretch."""
        self.last = -np.inf
        """Time of the latest audible frame."""

    def hear(self, moment: float) -> None:
        """An audible frame came at this moment."""
        if moment - self.last > GAP:
            self.onset = moment
        self.last = moment


class Caller:
    """One call to one server."""

    def __init__(self) -> None:
        self.mouth = Mouth()
        self.ears = Ears()
        self._loop = asyncio.get_running_loop()
        self._heard = asyncio.Event()
        self._connected = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.on("track", self._on_track)
        self._peer.on("connectionstatechange", self._on_state)

    async def connect(self, signal: Signal) -> None:
        """Return when sound flows to the server."""
        self._peer.createDataChannel("data")
        self._peer.addTrack(self.mouth)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        local = self._peer.localDescription
        answer = await signal({"type": local.type, "sdp": local.sdp})
        await self._peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await self._connected.wait()
        await self.mouth.open.wait()

    def say(self, clip: AudioFrame) -> float:
        """Speak from the next frame on. The loop's time at which the last voiced sample is spoken."""
        return self.mouth.say(clip)

    async def answer_after(self, moment: float) -> float:
        """The loop's time at which the first sound after this moment begins.

        What sounds already and goes on isn't an answer to what was said until then.
        """
        while self.ears.onset <= moment:
            self._heard.clear()
            await self._heard.wait()
        return self.ears.onset

    async def silence(self, seconds: float) -> float:
        """Wait until nothing was heard for so long; the loop's time of the latest sound."""
        while True:
            left = self.ears.last + seconds - self._loop.time()
            if left <= 0:
                return self.ears.last
            await asyncio.sleep(left)

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
        hold_packets(self._peer, track, HELD_PACKETS)
        self._listening = asyncio.create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                if is_audible(frame):
                    self.ears.hear(self._loop.time())
                    self._heard.set()


async def one_turn(caller: Caller, clip: AudioFrame) -> tuple[float | None, bool]:
    """Ask, and listen to the answer. Its ms from voice to voice, and whether it began too soon.

    An answer that began while the clip was still spoken is no answer to it: the first sound that begins
    after the clip counts. None where none came in time.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    ended = caller.say(clip)
    await asyncio.sleep(ended - loop.time())
    cut_in = caller.ears.onset > begun
    answered: float | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout_at(ended + TIMEOUT):
            answered = await caller.answer_after(ended)
    async with asyncio.timeout(LONGEST_ANSWER):
        await caller.silence(QUIET)
    return None if answered is None else 1000 * (answered - ended), cut_in


async def one_interruption(
    caller: Caller, question: AudioFrame, clip: AudioFrame
) -> tuple[bool, float | None]:
    """Speak over an answer. Whether there was one, and the ms until it was silent; None if it went on."""
    loop = asyncio.get_running_loop()
    ended = caller.say(question)
    try:
        async with asyncio.timeout_at(ended + TIMEOUT):
            await caller.answer_after(ended)
    except TimeoutError:
        return False, None
    await asyncio.sleep(INTO_ANSWER)
    ended = caller.say(clip)
    onset = caller.mouth.onset
    await asyncio.sleep(max(0.0, onset - loop.time()))
    was_speaking = loop.time() - caller.ears.last < GAP / 2
    silent: float | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout_at(onset + TIMEOUT):
            silent = await caller.silence(GAP)
    with suppress(TimeoutError):
        async with asyncio.timeout_at(ended + TIMEOUT):
            await caller.answer_after(ended)
    async with asyncio.timeout(LONGEST_ANSWER):
        await caller.silence(QUIET)
    return was_speaking, None if silent is None else max(0.0, 1000 * (silent - onset))


@asynccontextmanager
async def call(address: str, by_websocket: bool) -> AsyncIterator[Caller]:
    """A call that is connected; hung up when the block is left.

    localvoice takes its offers on a WebSocket, which stays open; the others take a POST to /api/offer.
    """
    async with ClientSession() as http:
        caller = Caller()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                if by_websocket:
                    socket = await http.ws_connect(f"{address}/ws")
                    await caller.connect(lambda offer: _over_websocket(socket, offer))
                    background = asyncio.create_task(_keep_alive(socket))
                else:
                    await caller.connect(lambda offer: _over_http(http, address, offer))
                    background = None
            try:
                yield caller
            finally:
                if background is not None:
                    background.cancel()
                    await asyncio.gather(background, return_exceptions=True)
        finally:
            await caller.close()


async def _over_http(http: ClientSession, address: str, offer: dict[str, str]) -> dict[str, str]:
    async with http.post(f"{address}/api/offer", json=offer, raise_for_status=True) as response:
        answer: dict[str, str] = await response.json()
        return answer


async def _over_websocket(socket: ClientWebSocketResponse, offer: dict[str, str]) -> dict[str, str]:
    await socket.send_str(json.dumps({"type": "offer", "signal": offer}))
    while (message := await socket.receive_json())["type"] != "signal":
        if message["type"] == "error":
            raise ConnectionError(f"localvoice reports {message['code']}: {message['message']}")
    signal: dict[str, str] = message["signal"]
    return signal


async def _keep_alive(socket: ClientWebSocketResponse) -> None:
    """Read what comes, for an unread socket fills up, and ping, for a silent client is let go."""

    async def drain() -> None:
        async for _ in socket:
            pass

    async with asyncio.TaskGroup() as group:
        group.create_task(drain())
        while not socket.closed:
            await socket.send_str(json.dumps({"type": "ping", "timestamp": time.time()}))
            await asyncio.sleep(PING_SECONDS)
