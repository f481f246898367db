"""Clients of our server: its messages, and a voice by WebRTC or in WebSocket messages."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

import numpy as np
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from benchmarks.call import RATE, Call, Ears, is_audible
from localvoice.audio.frames import AudioFrame, Samples

CHUNK: Final = RATE // 20
"""50 ms, as the page's `audio-chunk`s."""
PING_SECONDS: Final = 15
CONNECT_SECONDS: Final = 20


class ServerReported(RuntimeError):
    """The server sent an error instead of what was waited for."""


class Client:
    """One connection to a server: its messages. How it speaks and hears is for the subclasses."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.ears = Ears()
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._socket = socket
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Return when sound flows both ways."""
        self._tasks += [asyncio.create_task(self._read()), asyncio.create_task(self._ping())]

    def say(self, speech: AudioFrame) -> float:
        """Speak from the next frame on. The loop's time at which the last voiced sample is spoken."""
        raise NotImplementedError

    async def send(self, message: dict[str, Any]) -> None:
        await self._socket.send_str(json.dumps(message))

    async def wait_for(self, kind: str) -> dict[str, Any]:
        """The next message of this type; the ones before it are passed over. Raises `ServerReported`."""
        while (message := await self._messages.get())["type"] != kind:
            if message["type"] == "error":
                raise ServerReported(f"the server reports {message['code']}: {message['message']}")
        return message

    def forget(self) -> None:
        while not self._messages.empty():
            self._messages.get_nowait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def _take(self, message: dict[str, Any]) -> None:
        self._messages.put_nowait(message)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                self._take(json.loads(message.data))

    async def _ping(self) -> None:
        """The server ends a connection that says nothing for a minute."""
        while True:
            await self.send({"type": "ping", "timestamp": time.time()})
            await asyncio.sleep(PING_SECONDS)


class VoiceClient(Client):
    """A client whose voice goes by WebRTC."""

    def __init__(self, socket: ClientWebSocketResponse, more_candidates: tuple[str, ...] = ()) -> None:
        super().__init__(socket)
        self.call = Call()
        self.ears, self.mouth = self.call.ears, self.call.mouth
        self._more_candidates = more_candidates

    async def connect(self) -> None:
        await super().connect()
        async with asyncio.timeout(CONNECT_SECONDS):
            await self.call.connect(self._offer, self._more_candidates)

    def say(self, speech: AudioFrame) -> float:
        return self.mouth.say(speech)

    async def close(self) -> None:
        await self.call.close()
        await super().close()

    async def _offer(self, offer: dict[str, str]) -> dict[str, str]:
        await self.send({"type": "offer", "signal": offer})
        answer: dict[str, str] = (await self.wait_for("signal"))["signal"]
        return answer


class SocketClient(Client):
    """A client without WebRTC, as the page where that can't connect: its voice goes in messages."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        super().__init__(socket)
        self._sound: Samples = np.zeros(0, np.int16)

    async def connect(self) -> None:
        await super().connect()
        self._tasks.append(asyncio.create_task(self._record()))

    def say(self, speech: AudioFrame) -> float:
        self._sound = speech.resampled(RATE).samples
        voiced = AudioFrame(self._sound, RATE).audible
        return asyncio.get_running_loop().time() + int(voiced[-1]) / RATE

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] != "tts-chunk":
            super()._take(message)
        elif is_audible(np.frombuffer(base64.b64decode(message["data"]), "<i2")):
            self.ears.hear(asyncio.get_running_loop().time())

    async def _record(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            samples = np.zeros(CHUNK, "<i2")
            now, self._sound = self._sound[:CHUNK], self._sound[CHUNK:]
            samples[: len(now)] = now
            data = base64.b64encode(samples.tobytes()).decode()
            await self.send({"type": "audio-chunk", "data": data, "sampleRate": RATE})
            due += CHUNK / RATE
            await asyncio.sleep(due - loop.time())


AnyClient = TypeVar("AnyClient", bound=Client)


def voice_client(
    address: str, more_candidates: tuple[str, ...] = ()
) -> AbstractAsyncContextManager[VoiceClient]:
    """A connected client, hung up when the block is left."""
    return _connected(address, lambda socket: VoiceClient(socket, more_candidates))


def socket_client(address: str) -> AbstractAsyncContextManager[SocketClient]:
    """The same without WebRTC."""
    return _connected(address, SocketClient)


@asynccontextmanager
async def _connected(
    address: str, make: Callable[[ClientWebSocketResponse], AnyClient]
) -> AsyncIterator[AnyClient]:
    async with ClientSession() as http, http.ws_connect(f"{address}/ws") as socket:
        client = make(socket)
        try:
            await client.connect()
            yield client
        finally:
            await client.close()
