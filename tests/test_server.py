"""The server over a real socket: WebSocket clients, and a WebRTC client in the stock client's order."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
from aiohttp import WSMsgType
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError
from fakes import TTS_FAILED, WORD_SECONDS, FakeLlm, FakeStt, FakeTts, fake_engines, loud, until

from localvoice.agent.sessions import Conversation
from localvoice.audio.frames import AudioFrame, wav_bytes
from localvoice.config import ConfigError, Settings
from localvoice.contract.messages import MAX_MESSAGE_BYTES
from localvoice.engines.protocols import Engines
from localvoice.server import connection
from localvoice.server.app import VoiceServer
from localvoice.server.security import HEADERS
from localvoice.transports.candidates import host_addresses
from localvoice.transports.webrtc import WebRtcPeer

LONG = "This is a rather long reply, and it has many words. They go on. " * 5

needs_a_network = pytest.mark.skipif(
    host_addresses() <= {"127.0.0.1", "::1"},
    reason="WebRTC needs a network interface beside loopback, and this machine has none up",
)


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
        async with self.http.ws_connect(self.url + path, headers={"Origin": self.origin}) as socket:
            client = Client(socket)
            client_ready = await client.expect("ready")
            assert client.received == [client_ready], "ready is the first message"
            yield client

    async def counts(self) -> tuple[int, int]:
        """Connections and sessions that the server has."""
        async with self.http.get(self.url + "/health") as response:
            health = await response.json()
            return health["connections"], health["sessions"]

    async def until_alone(self) -> None:
        async with asyncio.timeout(8):
            while (await self.counts())[0]:  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(engines: Engines | None = None, **server: Any) -> AsyncIterator[Site]:
    settings = Settings.model_validate({"server": {"port": 0, **server}})
    async with (
        VoiceServer(settings, engines or fake_engines()).running() as url,
        aiohttp.ClientSession() as http,
    ):
        yield Site(url, http)


# --- pages and strangers ---


async def test_the_page_its_files_and_its_health() -> None:
    async with serving() as site:
        for path, kind in (("/", "text/html"), ("/index.html", "text/html"), ("/app.js", "javascript")):
            async with site.http.get(site.url + path) as response:
                assert response.status == 200 and kind in response.content_type
                assert {name: response.headers[name] for name in HEADERS} == HEADERS
        async with site.http.get(site.url + "/health") as response:
            health = await response.json()
        assert health["ok"] is True
        assert health["models"] == {"stt": "fake-ears", "llm": "fake-mind", "tts": "fake-voice"}
        for path in ("/../config.py", "/%2e%2e/app.py", "/..%2fapp.py", "/.git/config", "/web/index.html"):
            async with site.http.get(site.url + path) as response:
                assert response.status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.nip.io"},
        {"Host": "evil@127.0.0.1"},
        {"Host": "localhost:port"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
    ids=str,
)
async def test_strangers_are_turned_away_everywhere(headers: dict[str, str]) -> None:
    async with serving() as site:
        for path in ("/", "/ws", "/health", "/app.js", "/nowhere"):
            async with site.http.get(site.url + path, headers=headers) as response:
                assert response.status == 403, path
        for path in ("/", "/ws"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await site.http.ws_connect(site.url + path, headers=headers)
            assert caught.value.status == 403
        assert await site.counts() == (0, 0)


async def test_a_page_that_is_allowed_may_connect() -> None:
    async with serving(allowed_origins=["http://localhost:3000"]) as site:
        async with site.http.ws_connect(site.url, headers={"Origin": "http://localhost:3000"}) as socket:
            assert (await socket.receive_json())["type"] == "ready"
        async with site.http.ws_connect(site.url) as socket:  # no browser, so no Origin
            assert (await socket.receive_json())["type"] == "ready"


def test_an_address_that_others_reach_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0"):
        VoiceServer(Settings.model_validate({"server": {"host": "0.0.0.0"}}), fake_engines())


async def test_a_port_in_use_is_named() -> None:
    async with serving() as site:
        port = int(site.url.rsplit(":", 1)[1])
        with pytest.raises(ConfigError, match=f"{port}.*--port"):
            async with serving(port=port):
                pass


async def test_ipv6_loopback_has_an_address_that_works() -> None:
    try:
        async with serving(host="::1") as site:
            assert site.url.startswith("http://[::1]:")
            async with site.client() as client:
                await client.sync()
    except ConfigError:
        pytest.skip("this machine has no IPv6 loopback")


# --- messages ---


@pytest.mark.parametrize("path", ["/", "/ws"])
async def test_ready_and_a_ping(path: str) -> None:
    async with serving() as site, site.client(path) as client:
        ready = client.received[0]
        assert ready["protocolVersion"] == 1 and len(ready["id"]) >= 22
        (stun,) = ready["iceServers"]
        assert stun["urls"].startswith("stun:127.0.0.1:"), "asked by clients that would ask a public one"
        await client.send("ping", timestamp=1_700_000_000_123)
        assert (await client.expect("pong"))["timestamp"] == 1_700_000_000_123


@pytest.mark.parametrize(
    "message",
    [
        "hello",
        "",
        "[]",
        '{"type":"shutdown"}',
        '{"type":"ping"}',
        '{"type":"text","text":""}',
        "[" * 50_000,
        b"\x00\x01\x02",
        " " * (MAX_MESSAGE_BYTES + 1),
    ],
    ids=lambda value: repr(value[:20]),
)
async def test_a_broken_message_gets_one_error_and_costs_nothing_else(message: str | bytes) -> None:
    async with serving() as site, site.client() as client:
        if isinstance(message, bytes):
            await client.socket.send_bytes(message)
        else:
            await client.socket.send_str(message)
        await client.sync()
        assert client.kinds() == ["ready", "error", "pong"]
        assert client.errors() == ["INVALID_MESSAGE"]


async def test_a_gigantic_message_ends_that_lostalone(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as site, site.client() as other:
        async with site.client() as client:
            lost = client.socket._response.connection
            assert lost is not None and lost.transport is not None
            size = (5 * MAX_MESSAGE_BYTES).to_bytes(8, "big")
            lost.transport.write(b"\x81\xff" + size + b"mask" + b" " * 10_000)
            assert await client.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        await other.sync()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


# --- turns without WebRTC ---


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


async def test_a_typed_turn_is_answered_in_text_and_sound() -> None:
    reply = "One two three four five six seven eight nine ten."
    async with serving(fake_engines(llm=FakeLlm(reply))) as site, site.client() as client:
        await client.send("text", text="Count.")
        await client.expect("tts-complete")
        await client.sync()
        kinds = client.kinds("state", "turn-metrics", "ready", "pong")
        assert [kind for kind in kinds if kind.startswith("llm")] == ["llm-chunk", "llm"]
        assert [kind for kind in kinds if kind.startswith("tts")] == [
            "tts-start",
            "tts-chunk",
            "tts-complete",
        ]
        assert next(m for m in client.received if m["type"] == "llm")["text"] == reply
        assert seconds_of_sound(sound_of(client.received)) == pytest.approx(10 * WORD_SECONDS, abs=0.03)
        states = [message["state"] for message in client.received if message["type"] == "state"]
        assert states == ["thinking", "speaking", "idle"]


async def test_sound_in_messages_is_paced() -> None:
    """What was sent can't be taken back, so little is sent ahead of its time."""
    llm = FakeLlm("word " * 100)
    async with serving(fake_engines(llm=llm)) as site, site.client() as client:
        await client.send("text", text="Talk.")
        await client.expect("tts-start")
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(0.5)
        await client.send("text", text="Stop.")
        await client.expect("tts-cancelled")
        taken = asyncio.get_running_loop().time() - begun
        assert sound_of(client.received).seconds == pytest.approx(taken + 0.35, abs=0.25)
        heard = await client.expect("reply-heard")
        assert heard["text"].split() == ["word"] * len(heard["text"].split()) != []
        await client.expect("tts-complete")


async def test_an_utterance_as_a_wav() -> None:
    stt = FakeStt("How are you?")
    async with serving(fake_engines(stt, FakeLlm("Fine."))) as site, site.client() as client:
        await client.send(
            "audio", data=base64.b64encode(wav_bytes(loud(1.0, 44_100))).decode(), attachments=[]
        )
        assert (await client.expect("transcript"))["text"] == "How are you?"
        assert (await client.expect("llm"))["text"] == "Fine."
        await client.expect("tts-complete")
        assert (stt.heard[0].rate, round(stt.heard[0].seconds, 2)) == (16_000, 1.0)


def low_rate() -> bytes:
    return wav_bytes(AudioFrame(loud(1.0).samples, 1))


@pytest.mark.parametrize(
    "data",
    [
        "not base64!",
        "é" * 8,
        "UklGRg==",
        base64.b64encode(b"RIFF" * 100).decode(),
        base64.b64encode(low_rate()).decode(),
    ],
    ids=lambda value: value[:12],
)
async def test_a_broken_utterance_is_refused(data: str) -> None:
    async with serving() as site, site.client() as client:
        await client.send("audio", data=data)
        await client.sync()
        assert client.errors() == ["INVALID_AUDIO_FORMAT"]
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")


async def test_a_failure_is_an_error_message_and_the_next_turn_works() -> None:
    async with serving(fake_engines(tts=FakeTts(TTS_FAILED))) as site, site.client() as client:
        await client.send("text", text="Hi.")
        assert (await client.expect("error"))["code"] == "TTS_ERROR"
        assert "llm" in client.kinds()
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")


# --- sessions ---


async def test_a_session_is_gone_on_with_on_a_new_connection() -> None:
    llm = FakeLlm("Hello Ann.", "You are Ann.")
    async with serving(fake_engines(llm=llm)) as site:
        async with site.client() as client:
            await client.send("text", text="I am Ann.")
            await client.expect("tts-complete")
            await client.sync()
        await site.until_alone()
        async with site.client() as again:
            await again.send("reconnect", sessionId=client.received[0]["id"])
            ack = await again.expect("reconnect-ack")
            assert (ack["success"], ack["historyRecovered"]) == (True, True)
            assert ack["sessionId"] == client.received[0]["id"]
            assert await site.counts() == (1, 1), "the session that it began with is forgotten"
            await again.send("text", text="Who am I?")
            await again.expect("llm")
    assert [message.content for message in llm.asked[1][1:]] == ["I am Ann.", "Hello Ann.", "Who am I?"]


async def test_an_unknown_session_is_told_and_the_own_one_goes_on() -> None:
    async with serving() as site, site.client() as client:
        await client.send("reconnect", sessionId="made up by the client")
        ack = await client.expect("reconnect-ack")
        assert client.kinds("state") == ["ready", "error", "reconnect-ack"]
        assert client.errors() == ["SESSION_NOT_FOUND"]
        assert (ack["success"], ack["historyRecovered"]) == (False, False)
        assert ack["sessionId"] == client.received[0]["id"]
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")


async def test_an_expired_session_is_told() -> None:
    async with serving(session_minutes=0.2 / 60) as site:
        async with site.client() as client:
            old = client.received[0]["id"]
        await asyncio.sleep(0.3)
        async with site.client() as again:
            await again.send("reconnect", sessionId=old)
            assert (await again.expect("reconnect-ack"))["success"] is False
            assert again.errors() == ["SESSION_EXPIRED"]


async def test_the_newest_socket_wins() -> None:
    llm = FakeLlm(LONG, "Fine.")
    async with serving(fake_engines(llm=llm)) as site, site.client() as older, site.client() as newer:
        await older.send("text", text="Talk.")
        await older.expect("turn-metrics")
        await asyncio.sleep(0.3)
        await newer.send("reconnect", sessionId=older.received[0]["id"])
        assert (await newer.expect("reconnect-ack"))["success"] is True
        assert await older.closed() == aiohttp.WSCloseCode.GOING_AWAY
        assert await site.counts() == (1, 1)
        await newer.send("text", text="And?")
        await newer.expect("llm")
    roles = [message.role for message in llm.asked[1]]
    assert roles == ["system", "user", "assistant", "user"], "what was heard of the turn that ran is kept"


async def test_of_two_that_come_back_at_once_one_stays() -> None:
    async with serving() as site, site.client() as one, site.client() as two:
        async with site.client() as old:
            pass
        for client in (one, two):
            await client.send("reconnect", sessionId=old.received[0]["id"])
        await asyncio.wait(
            [asyncio.ensure_future(client.closed()) for client in (one, two)],
            return_when=asyncio.FIRST_COMPLETED,
            timeout=2,
        )
        assert (await site.counts())[0] == 1


async def test_a_client_without_a_ping_is_let_go_and_one_with_pings_stays() -> None:
    async with serving(ping_seconds=0.5) as site, site.client() as silent_one, site.client() as lively:
        for _ in range(5):
            await asyncio.sleep(0.2)
            await lively.sync()
        assert await silent_one.closed() is not None
        assert await site.counts() == (1, 2), "its session waits for it"


# --- clients that go, and a server that goes ---


@pytest.mark.parametrize("after", ["ready", "llm-chunk", "tts-start"])
async def test_a_client_that_vanishes_leaves_nothing(after: str, caplog: pytest.LogCaptureFixture) -> None:
    llm = FakeLlm(LONG, delay=0.01)
    async with serving(fake_engines(llm=llm)) as site:
        client = await site.http.ws_connect(site.url)
        await client.send_json({"type": "text", "text": "Talk."})
        while (await client.receive_json())["type"] != after:
            pass
        lost = client._response.connection
        assert lost is not None and lost.transport is not None
        lost.transport.abort()
        await site.until_alone()
        assert llm.running == 0
        await client.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"], "clients do go"


async def test_a_client_that_reads_nothing_is_let_go_at_its_deadline() -> None:
    llm = FakeLlm(("x" * 200_000 + ". ") * 50)
    async with serving(fake_engines(llm=llm), ping_seconds=1.0) as site:
        port = int(site.url.rsplit(":", 1)[1])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        text = json.dumps({"type": "text", "text": "Talk."}).encode()
        writer.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        try:
            await asyncio.sleep(0.8)
            assert await site.counts() == (1, 1)
            await site.until_alone()
            assert llm.asked and not llm.running
        finally:
            writer.transport.abort()


async def test_when_the_server_stops_clients_are_told() -> None:
    llm = FakeLlm(LONG, delay=0.01)
    server = VoiceServer(Settings.model_validate({"server": {"port": 0}}), fake_engines(llm=llm))
    async with aiohttp.ClientSession() as http:
        async with server.running() as url:
            clients = [Client(await http.ws_connect(url)) for _ in range(2)]
            await clients[0].send("text", text="Talk.")
            await clients[0].expect("tts-start")
            closing = [asyncio.ensure_future(client.closed()) for client in clients]
        assert await asyncio.gather(*closing) == [1001, 1001]
        assert llm.running == 0


# --- WebRTC ---


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


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> list[WebRtcPeer]:
    """The server's side of each call."""
    made: list[WebRtcPeer] = []

    def make(*args: Any) -> WebRtcPeer:
        made.append(WebRtcPeer(*args))
        return made[-1]

    monkeypatch.setattr(connection, "WebRtcPeer", make)
    return made


def payload(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    signalling = ("ready", "pong", "signal", "reconnect-ack")
    return [message for message in messages if message["type"] not in signalling]


@needs_a_network
async def test_a_call_in_the_stock_clients_order() -> None:
    stt, llm = FakeStt("How are you?"), FakeLlm("I am very well today, thank you for asking me.")
    async with serving(fake_engines(stt, llm)) as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        await browser.add_microphone()
        begun = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - begun < 0.5:  # DTLS is there; the first frames are not
            await client.sync()
            await asyncio.sleep(0.05)
        before = len(client.received)
        browser.microphone.speech_frames = 40
        await client.expect("tts-complete")
        await client.sync()
        await asyncio.sleep(0.3)
        kinds = [message["type"] for message in client.received[before:]]
        assert kinds[:2] != [] and "tts-chunk" not in kinds, "sound goes over the track"
        order = [
            kind
            for kind in kinds
            if kind in ("speech-start", "speech-end", "transcript", "llm", "tts-complete")
        ]
        assert order == ["speech-start", "speech-end", "transcript", "llm", "tts-complete"]
        assert payload(browser.on_channel) == payload(client.received), "the payload goes both ways"
        (heard,) = browser.seconds_heard()
        assert heard == pytest.approx(10 * WORD_SECONDS, abs=0.15)
        (speech,) = stt.heard
        assert 0.8 < speech.seconds < 1.6 and seconds_of_sound(speech) == pytest.approx(0.8, abs=0.15)


@needs_a_network
async def test_frames_are_not_held_back_for_a_network_that_reorders_them(peers: list[WebRtcPeer]) -> None:
    """aiortc has no public way to say so: this fails when the private one is gone."""
    assert vars(JitterBuffer(capacity=16, prefetch=4))["_prefetch"] == 4
    async with serving() as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        await browser.add_microphone()
        (peer,) = peers
        (receiver,) = [each.receiver for each in peer._connection.getTransceivers()]
        assert vars(receiver)["_RTCRtpReceiver__jitter_buffer"]._prefetch == 1


@needs_a_network
async def test_text_on_the_data_channel_and_barge_in_over_it() -> None:
    llm = FakeLlm(LONG, "Fine.")
    async with serving(fake_engines(llm=llm)) as site, site.client() as client, calling(client) as browser:
        await browser.connect()
        await browser.add_microphone()
        assert browser.channel is not None
        browser.channel.send(json.dumps({"type": "text", "text": "Talk."}))
        await browser.until_heard()
        browser.channel.send(json.dumps({"type": "text", "text": "Stop."}))
        await client.expect("tts-cancelled")
        for broken in ('{"type":"ping","timestamp":1}', "nonsense", b"\0\1"):
            browser.channel.send(broken)
            assert (await client.expect("error"))["code"] == "INVALID_MESSAGE"
        await client.sync()
    assert [message.content for message in llm.asked[1] if message.role == "user"] == ["Talk.", "Stop."]


@needs_a_network
async def test_a_second_microphone_does_not_share_out_the_voice() -> None:
    async with serving(fake_engines(llm=FakeLlm("word " * 16))) as site, site.client() as client:
        async with calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            browser.connection.addTransceiver("audio")
            await browser.offer()
            await client.send("text", text="Talk.")
            await client.expect("tts-complete")
            await asyncio.sleep(0.3)
            assert sorted(browser.seconds_heard())[-1] == pytest.approx(16 * WORD_SECONDS, abs=0.15)


@needs_a_network
async def test_a_new_loston_the_same_socket_replaces_the_old_one() -> None:
    async with serving() as site, site.client() as client:
        async with calling(client) as first:
            await first.connect()
            async with calling(client) as second:
                await second.connect()
                await second.add_microphone()
                await client.send("text", text="Hi.")
                await second.until_heard()
                assert not any(first.seconds_heard())


BAD_OFFERS = {
    "no sdp": "hello",
    "only the version": "v=0\r\n",
    "no ice": "v=0\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n",
    "a broken section": "v=0\r\nm=\r\n",
    "a broken codec": "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:x\r\n",
    "too many candidates": "v=0\r\n" + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 33,
    "a broken candidate": "v=0\r\nm=audio 9 RTP/SAVPF 0\r\na=candidate:x y udp z 127.0.0.1 port typ host\r\n",
    "a broken fingerprint": "v=0\r\na=fingerprint:\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
}


@pytest.mark.parametrize("sdp", BAD_OFFERS.values(), ids=BAD_OFFERS.keys())
async def test_a_bad_offer_is_an_error_and_text_still_works(sdp: str) -> None:
    async with serving() as site, site.client() as client:
        await client.send("offer", signal={"type": "offer", "sdp": sdp})
        assert (await client.expect("error"))["code"] == "CONNECTION_FAILED"
        await client.send("text", text="Hi.")
        await client.expect("tts-complete")
        assert client.errors() == ["CONNECTION_FAILED"] and "tts-chunk" in client.kinds()


@needs_a_network
async def test_after_a_bad_offer_a_good_one_works() -> None:
    async with serving() as site, site.client() as client, calling(client) as browser:
        await client.send("offer", signal={"type": "offer", "sdp": "v=0\r\nm=\r\n"})
        await client.expect("error")
        await browser.connect()
        await browser.add_microphone()
        await client.send("text", text="Hi.")
        await browser.until_heard()


@needs_a_network
async def test_a_caller_who_vanishes_leaves_no_peer(peers: list[WebRtcPeer]) -> None:
    async with serving(fake_engines(llm=FakeLlm(LONG))) as site:
        async with site.client() as client, calling(client) as browser:
            await browser.connect()
            await browser.add_microphone()
            await client.send("text", text="Talk.")
            await browser.until_heard()
            lost = client.socket._response.connection
            assert lost is not None and lost.transport is not None
            lost.transport.abort()
            await site.until_alone()
            assert [peer._connection.connectionState for peer in peers] == ["closed"]


async def test_conversations_are_apart() -> None:
    llm = FakeLlm("One.", "Two.")
    async with serving(fake_engines(llm=llm)) as site, site.client() as one, site.client() as two:
        for client in (one, two):
            await client.send("text", text="Hi.")
            await client.expect("tts-complete")
        assert one.received[0]["id"] != two.received[0]["id"]
    assert [len(asked) for asked in llm.asked] == [2, 2]
    assert Conversation("a").history is not Conversation("b").history
