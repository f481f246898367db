"""A client whose voice goes both ways in messages, as the page's does where WebRTC can't connect."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import numpy as np
from aiohttp import ClientSession, ClientWebSocketResponse
from voice_client import RATE, Caller

from localvoice.audio.frames import AUDIBLE, AudioFrame, Samples

CHUNK: Final = RATE // 20
"""50 ms, as the page's."""


class SocketClient(Caller):
    """A caller without WebRTC: an open microphone in `audio-chunk`s, the reply in `tts-chunk`s."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        super().__init__(socket)
        self._sound: Samples = np.zeros(0, np.int16)

    async def connect(self) -> None:
        """Open the microphone."""
        await super().connect()
        self._tasks.append(asyncio.create_task(self._record()))

    def say(self, speech: AudioFrame) -> float:
        """Speak from the next chunk on. The loop's time at which the last voiced sample is spoken."""
        self._sound = speech.resampled(RATE).samples
        voiced = AudioFrame(self._sound, RATE).audible
        return asyncio.get_running_loop().time() + int(voiced[-1]) / RATE

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "tts-chunk":
            samples = np.frombuffer(base64.b64decode(message["data"]), "<i2")
            if int(np.abs(samples.astype(np.int32)).max(initial=0)) > AUDIBLE:
                self.last_sound = asyncio.get_running_loop().time()
        else:
            super()._take(message)

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


@asynccontextmanager
async def socket_client(address: str) -> AsyncIterator[SocketClient]:
    """A connected client, hung up when the block is left."""
    async with ClientSession() as http, http.ws_connect(f"{address}/ws") as socket:
        client = SocketClient(socket)
        try:
            await client.connect()
            yield client
        finally:
            await client.close()
