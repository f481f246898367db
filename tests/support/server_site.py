"""A running server, and a WebSocket client that remembers all it was sent."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from aiohttp import WSMsgType

from localvoice.audio.frames import AudioFrame
from localvoice.config import Settings
from localvoice.engines.types import Engines
from localvoice.server.admission import SUBPROTOCOL
from localvoice.server.app import VoiceServer
from localvoice.server.endpoint import Endpoint
from tests.support.directors import agent_of
from tests.support.fakes import fake_engines

LONG = "This is a rather long reply, and it has many words. They go on. " * 5


@dataclass
class Client:
    """A WebSocket client that remembers all it was sent."""

    socket: aiohttp.ClientWebSocketResponse
    received: list[dict[str, Any]] = field(default_factory=list)

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_json({"type": kind, **fields})

    async def expect(self, kind: str) -> dict[str, Any]:
        """Read on until a message of this type."""
        async with asyncio.timeout(8):
            while True:
                message: dict[str, Any] = await self.socket.receive_json()
                self.received.append(message)
                if message["type"] == kind:
                    return message

    async def sync(self) -> None:
        """Read all that the server has sent so far in answer to us."""
        await self.send("ping", timestamp=len(self.received))
        await self.expect("pong")

    async def closed(self) -> int | None:
        """Read until the server closes; the code."""
        async with asyncio.timeout(8):
            while (message := await self.socket.receive()).type is WSMsgType.TEXT:
                self.received.append(json.loads(message.data))
        return self.socket.close_code

    def kinds(self, *left_out: str) -> list[str]:
        """Types in order, each run of one type as one."""
        kinds = [message["type"] for message in self.received if message["type"] not in left_out]
        return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]

    def errors(self) -> list[str]:
        return [message["code"] for message in self.received if message["type"] == "error"]


@dataclass
class Site:
    """A running server and a browser's worth of HTTP."""

    url: str
    http: aiohttp.ClientSession

    @property
    def origin(self) -> str:
        return self.url

    @asynccontextmanager
    async def client(self, path: str = "/") -> AsyncIterator[Client]:
        async with self.http.ws_connect(
            self.url + path, headers={"Origin": self.origin}, protocols=(SUBPROTOCOL,)
        ) as socket:
            client = Client(socket)
            client_ready = await client.expect("ready")
            assert client.received == [client_ready], "ready is the first message"
            yield client

    async def counts(self) -> tuple[int, int]:
        """Connections and sessions that the server has."""
        async with self.http.get(self.url + "/health") as response:
            health = await response.json()
            return health["connections"], health["sessions"]

    async def until_connections(self, count: int) -> None:
        """Wait until so many are left: one that its client has closed takes some ms to end."""
        async with asyncio.timeout(8):
            while (await self.counts())[0] != count:  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(0.01)

    async def until_alone(self) -> None:
        await self.until_connections(0)


@asynccontextmanager
async def serving(
    engines: Engines | None = None,
    groups: dict[str, dict[str, Any]] | None = None,
    brought: dict[str, Any] | None = None,
    endpoint: Endpoint | None = None,
    trusted: ssl.SSLContext | bool = True,
    headers: dict[str, str] | None = None,
    **server: Any,
) -> AsyncIterator[Site]:
    """`groups` are settings beside the server's; `brought` is what an application brings along.

    Clients trust the certificates that `trusted` says, and send the `headers`.
    """
    groups = groups or {}
    # A scripted LLM would give its lines to the summary.
    agent_settings = {"summarise": False, **groups.get("agent", {})}
    settings = Settings.model_validate(groups | {"agent": agent_settings, "server": {"port": 0, **server}})
    agent = agent_of(settings, engines or fake_engines(), **(brought or {}))
    async with (
        VoiceServer(agent, endpoint).running() as link,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted), headers=headers) as http,
    ):
        yield Site(link.partition("/?")[0], http)


def sound_of(messages: list[dict[str, Any]]) -> AudioFrame:
    chunks = [message for message in messages if message["type"] == "tts-chunk"]
    assert {(chunk["format"], chunk["sampleRate"]) for chunk in chunks} == {("pcm", 48_000)}
    data = b"".join(base64.b64decode(chunk["data"]) for chunk in chunks)
    return AudioFrame(np.frombuffer(data, "<i2"), 48_000)


def seconds_of_sound(frame: AudioFrame) -> float:
    """How much of it isn't silence, by 10 ms."""
    step = frame.rate // 100
    whole = frame.samples[: len(frame.samples) // step * step].reshape(-1, step)
    return float((np.abs(whole.astype(int)).max(axis=1) > 1000).sum() / 100)
