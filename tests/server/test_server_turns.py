"""Turns over a WebSocket alone, without WebRTC: text and sound in messages."""

import asyncio
import base64

import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.wav import wav_bytes
from tests.support.fakes import TTS_FAILED, WORD_SECONDS, FakeLlm, FakeStt, FakeTts, fake_engines, loud
from tests.support.server_site import seconds_of_sound, serving, sound_of


async def test_a_typed_turn_is_answered_in_text_and_sound() -> None:
    reply = "One two three four five six seven eight nine ten."
    async with serving(fake_engines(llm=FakeLlm(reply))) as site, site.client() as client:
        await client.send("text", text="Count.")
        await client.expect("tts-complete")
        await client.sync()
        kinds = client.kinds("state", "turn-metrics", "ready", "pong")
        assert list(dict.fromkeys(kind for kind in kinds if kind.startswith("llm"))) == ["llm-chunk", "llm"]
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
        await client.send("text", text="But why?")
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
