"""Error codes of a connection, each provoked by a real client: sessions, messages, limits, bugs."""

import asyncio
import base64
import io
import json
import re
import time
import wave
from typing import Any

import pytest
from aiohttp import WSCloseCode

from localvoice.audio.wav import wav_bytes
from localvoice.contract.errors import Component, ErrorCode
from localvoice.server import inbound
from localvoice.server.admission import SUBPROTOCOL
from tests.support.error_watch import SAID, Watch, ask, goes_on
from tests.support.fakes import FakeLlm, fake_engines, loud
from tests.support.server_site import serving

FLOOD = 500


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)


def seconds_told(message: str) -> int:
    found = re.search(r"Try again in (\d+) s\.", message)
    assert found is not None
    return int(found[1])


# --- sessions ---


async def test_session_not_found(watch: Watch) -> None:
    async with serving(brought=watch.brought()) as site, site.client() as client:
        await client.send("reconnect", sessionId="made up by the client")
        assert (await client.expect("reconnect-ack"))["success"] is False
        await client.sync()
        watch.told(client, ErrorCode.SESSION_NOT_FOUND, Component.SERVER, "A new one has begun")
        await goes_on(client)


async def test_session_expired(watch: Watch) -> None:
    async with serving(brought=watch.brought(), session_minutes=0.2 / 60) as site:
        async with site.client() as client:
            old = client.received[0]["id"]
        await site.until_alone()
        await asyncio.sleep(0.3)
        async with site.client() as again:
            await again.send("reconnect", sessionId=old)
            assert (await again.expect("reconnect-ack"))["success"] is False
            await again.sync()
            watch.told(again, ErrorCode.SESSION_EXPIRED, Component.SERVER, "A new one has begun")
            await goes_on(again)


# --- messages ---


async def test_invalid_message(watch: Watch) -> None:
    async with serving(brought=watch.brought()) as site, site.client() as client:
        await client.send("text", words=f"Tell me about {SAID}.")
        await client.sync()
        watch.told(client, ErrorCode.INVALID_MESSAGE, Component.SERVER, r"text\.text: Field required")
        await goes_on(client)


async def test_a_stranger_writes_no_log_lines_of_its_own(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(brought=watch.brought()) as site, site.client() as client:
        await client.send("x\n2025-01-01 ERROR all is lost\x1b[31m\u2028")
        await client.sync()
        watch.told(client, ErrorCode.INVALID_MESSAGE, Component.SERVER, "does not match any")
    (record,) = [each for each in caplog.records if "all is lost" in each.getMessage()]
    assert record.getMessage().isprintable()


def wav(seconds: float = 0.5, rate: int = 16_000, width: int = 2, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(b"\0" * int(seconds * rate) * width * channels)
    return buffer.getvalue()


def patched(at: int, data: bytes) -> bytes:
    """A good file with other bytes in its header."""
    good = wav()
    return good[:at] + data + good[at + len(data) :]


BAD_AUDIO = {
    "not base64": "no base64!",
    "letters that aren't ASCII": "Ünicode=",
    "no wav": b"ID3\x04 this is an mp3, or claims to be",
    "empty": wav(0),
    "only a header's beginning": wav()[:20],
    "truncated": wav()[:-1000],
    "zero rate": patched(24, bytes(4)),
    "a rate of 1 Hz": patched(24, (1).to_bytes(4, "little")),
    "a rate of 4 GHz": patched(24, b"\xff\xff\xff\xff"),
    "zero channels": patched(22, bytes(2)),
    "zero bits": patched(34, bytes(2)),
    "compressed": patched(20, (85).to_bytes(2, "little")),
    "a format chunk without end": patched(16, b"\xff\xff\xff\x7f"),
    "a sound chunk without end": patched(40, b"\xff\xff\xff\x7f"),
}


@pytest.mark.parametrize("audio", BAD_AUDIO.values(), ids=BAD_AUDIO.keys())
async def test_invalid_audio_format(watch: Watch, audio: str | bytes) -> None:
    data = audio if isinstance(audio, str) else base64.b64encode(audio).decode()
    engines = fake_engines()
    async with serving(engines, brought=watch.brought()) as site, site.client() as client:
        await client.send("audio", data=data)
        await client.sync()
        watch.told(client, ErrorCode.INVALID_AUDIO_FORMAT, Component.SERVER, "Convert it|Send a WAV")
        assert client.kinds() == ["ready", "error", "pong"], "no turn begins"
        await client.send("audio", data=base64.b64encode(wav_bytes(loud(0.5))).decode())
        await client.expect("tts-complete")
        assert client.errors() == ["INVALID_AUDIO_FORMAT"]


async def test_internal_error_of_a_message(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_data: str, _most: float) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(inbound, "decode_utterance", bug)
    async with serving(brought=watch.brought()) as site, site.client() as client:
        await client.send("audio", data="UklGRg==")
        await client.sync()
        words = watch.told(client, ErrorCode.INTERNAL_ERROR, Component.SERVER, "Say it again")
        assert "bug" not in words and "ZeroDivision" not in words
        await goes_on(client)


# --- limits ---


async def test_rate_limited_messages_and_what_a_flood_costs_others(watch: Watch) -> None:
    llm = FakeLlm()
    async with serving(fake_engines(llm=llm), brought=watch.brought()) as site:
        async with site.client() as flooding, site.client() as other:
            begun = time.monotonic()
            text = json.dumps({"type": "text", "text": f"{SAID}!"})

            async def flood() -> None:
                for _ in range(FLOOD):
                    await flooding.socket.send_str(text)

            flooder = asyncio.create_task(flood())
            await ask(other)
            await other.expect("tts-complete")
            assert other.errors() == []
            await flooder
            await other.sync()
            seconds = time.monotonic() - begun
            await asyncio.sleep(4)  # the rest of the flood is read no faster than it may come
            await flooding.sync()
            assert set(flooding.errors()) == {"RATE_LIMITED"}
            assert 1 <= len(flooding.errors()) <= seconds + 5, "told once a second, not 500 times"
            assert len(llm.asked) < 69 + seconds, "a minute's turns, and no more"
            assert watch.metrics.count("llmrtc.errors", code="RATE_LIMITED", component="server") == len(
                flooding.errors()
            )
            await goes_on(flooding)
            assert await site.counts() == (2, 2)
    watch.log_holds_no_transcript()


@pytest.mark.parametrize(
    ("limits", "kind", "fields"),
    [
        ({"message_burst": 5, "messages_per_second": 1}, "ping", {"timestamp": 1}),
        ({"turns_per_minute": 60}, "text", {"text": f"{SAID}?"}),
    ],
    ids=["messages", "turns"],
)
async def test_rate_limited_says_when_to_go_on(
    watch: Watch, limits: dict[str, Any], kind: str, fields: dict[str, Any]
) -> None:
    groups = {"limits": {"message_burst": 1000, "messages_per_second": 1000, **limits}}
    async with serving(groups=groups, brought=watch.brought()) as site, site.client() as client:
        for _ in range(5 if kind == "ping" else 60):
            await client.send(kind, **fields)
        await client.send(kind, **fields)
        await client.expect("error")
        await asyncio.sleep(0.05)
        words = watch.told(client, ErrorCode.RATE_LIMITED, Component.SERVER, "Too many")
        await asyncio.sleep(seconds_told(words))
        await goes_on(client)


@pytest.mark.parametrize("limits", [{"connections": 1}, {"sessions_per_minute": 1}], ids=str)
async def test_rate_limited_connections_and_sessions(watch: Watch, limits: dict[str, Any]) -> None:
    async with serving(groups={"limits": limits}, brought=watch.brought()) as site:
        async with site.client() as client:
            async with site.http.ws_connect(site.url, protocols=(SUBPROTOCOL,)) as refused:
                told = [await refused.receive_json()]
                await refused.receive()
                assert refused.close_code == WSCloseCode.TRY_AGAIN_LATER
            words = watch.saw(told, None, ErrorCode.RATE_LIMITED, Component.SERVER, "on this server|of this")
            assert seconds_told(words) > 0
            await goes_on(client)
            assert await site.counts() == (1, 1)
