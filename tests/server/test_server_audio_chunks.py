"""Voice over the WebSocket alone: the microphone in `audio-chunk`s, heard as a WebRTC track is."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from localvoice.audio.frames import AudioFrame, concatenate
from localvoice.contract.client_messages import MAX_CHUNK_SECONDS
from tests.support.audio_chunks import CHUNK_SECONDS, RATE, chunk, cut, send_at_once, utterance
from tests.support.fakes import FakeLlm, FakeStt, fake_engines, loud, silent
from tests.support.server_site import LONG, Client, seconds_of_sound, serving, sound_of


@asynccontextmanager
async def microphone(client: Client) -> AsyncIterator[list[AudioFrame]]:
    """A microphone in real time: silence, and what is put into the list."""
    sounds: list[AudioFrame] = []

    async def record() -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for piece in cut(sounds.pop(0)) if sounds else [silent(CHUNK_SECONDS, RATE)]:
                await client.send("audio-chunk", **chunk(piece))
                due += CHUNK_SECONDS
                await asyncio.sleep(due - loop.time())

    recording = asyncio.create_task(record())
    try:
        yield sounds
    finally:
        recording.cancel()
        await asyncio.wait([recording])


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
async def test_a_spoken_turn(rate: int) -> None:
    stt = FakeStt("How are you?")
    async with serving(fake_engines(stt, FakeLlm("I am fine."))) as site, site.client() as client:
        await send_at_once(client, utterance(rate))
        await client.expect("tts-complete")
        assert client.kinds("state", "turn-metrics", "ready") == [
            "speech-start",
            "speech-end",
            "transcript",
            "llm-chunk",
            "llm",
            "tts-start",
            "tts-chunk",
            "tts-complete",
        ]
        words = next(message for message in client.received if message["type"] == "transcript")
        assert words["text"] == "How are you?"
        assert seconds_of_sound(sound_of(client.received)) > 0.1
    assert stt.heard[-1].rate == 16_000
    assert seconds_of_sound(stt.heard[-1]) == pytest.approx(0.8, abs=0.1), "all that was said, and once"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", [("What is the time?", True)]),
        ("/ws?interim=false", [("What is the time?", True)]),
        ("/ws?interim=true", [("What is", False), ("What is the time?", True)]),
    ],
)
async def test_interim_transcripts_are_for_clients_that_ask(path: str, told: list[tuple[str, bool]]) -> None:
    """A client of the protocol's first release takes each transcript for a question."""
    stt = FakeStt("What is", "What is the time?")
    settings = {"listening": {"partial_ms": 640}}
    async with serving(fake_engines(stt), settings) as site, site.client(path) as client:
        await send_at_once(client, loud(0.8, RATE))
        await client.expect("speech-start")
        async with asyncio.timeout(8):
            while len(stt.script) > 1:  # noqa: ASYNC110 - a fake engine tells nobody
                await asyncio.sleep(0.01)
        await send_at_once(client, silent(0.8, RATE))
        await client.expect("tts-complete")
        heard = [message for message in client.received if message["type"] == "transcript"]
    assert [(message["text"], message["isFinal"]) for message in heard] == told


async def test_another_value_for_interim_is_refused_with_a_sentence() -> None:
    async with serving() as site, site.http.get(site.url + "/ws?interim=yes") as response:
        assert (response.status, await response.text()) == (
            400,
            "interim must be true or false, as in /ws?interim=true.\n",
        )


async def test_an_interruption_silences_the_reply_and_is_answered() -> None:
    llm = FakeLlm(LONG, "As you like.")
    async with serving(fake_engines(FakeStt("Talk.", "But why?"), llm)) as site, site.client() as client:
        async with microphone(client) as sounds:
            sounds.append(utterance())
            await client.expect("tts-start")
            await asyncio.sleep(0.6)
            before = len(client.received)
            sounds.append(utterance())
            await client.expect("tts-cancelled")
            assert client.kinds().count("speech-start") == 2
            heard = (await client.expect("reply-heard"))["text"]
            await client.expect("tts-complete")
        after = [message["type"] for message in client.received[before:]]
        assert "tts-chunk" not in after[after.index("tts-cancelled") : after.index("tts-start")]
    assert LONG.startswith(heard.strip()) and 0 < len(heard) < len(LONG) / 2
    remembered = [(message.role, message.content) for message in llm.asked[1][-3:]]
    assert remembered == [("user", "Talk."), ("assistant", heard), ("user", "But why?")]


async def test_a_microphone_that_stops_sending_ends_the_utterance() -> None:
    async with serving() as site, site.client() as client:
        await send_at_once(client, concatenate([silent(0.3, RATE), loud(0.8, RATE)]))
        await client.expect("tts-complete")
        assert client.kinds().count("speech-end") == 1


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


BAD_FIELDS = [
    {"sampleRate": 16_000},
    {"data": None, "sampleRate": 16_000},
    {"data": "", "sampleRate": 16_000},
    {"data": 7, "sampleRate": 16_000},
    {"data": encoded(bytes(960))},
    {"data": encoded(bytes(960)), "sampleRate": "16000"},
    {"data": encoded(bytes(960)), "sampleRate": 16_000.5},
    {"data": encoded(bytes(960)), "sampleRate": 7_999},
    {"data": encoded(bytes(960)), "sampleRate": 48_001},
    {"data": encoded(bytes(960)), "sampleRate": 0},
    {"data": encoded(bytes(960)), "sampleRate": -16_000},
    {"data": encoded(bytes(19_202)), "sampleRate": 48_000},
    {"data": "A" * 2_000_000, "sampleRate": 48_000},
]
BAD_SOUND = [
    {"data": "no base64!", "sampleRate": 16_000},
    {"data": "é" * 8, "sampleRate": 16_000},
    {"data": "====", "sampleRate": 16_000},
    {"data": encoded(bytes(961)), "sampleRate": 16_000},
    {"data": encoded(bytes(1)), "sampleRate": 16_000},
    {"data": encoded(bytes(2 * round(MAX_CHUNK_SECONDS * 16_000) + 2)), "sampleRate": 16_000},
]


@pytest.mark.parametrize(
    ("fields", "code"),
    [(fields, "INVALID_MESSAGE") for fields in BAD_FIELDS]
    + [(fields, "INVALID_AUDIO_FORMAT") for fields in BAD_SOUND],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
async def test_a_bad_chunk_gets_one_error_and_costs_nothing(fields: dict[str, Any], code: str) -> None:
    stt, llm = FakeStt("How are you?"), FakeLlm()
    async with serving(fake_engines(stt, llm)) as site, site.client() as client:
        pieces = list(cut(utterance()))
        for at, piece in enumerate(pieces):
            if at == len(pieces) // 2:  # in the middle of a word
                await client.send("audio-chunk", **fields)
            await client.send("audio-chunk", **chunk(piece))
        await client.expect("tts-complete")
        assert client.errors() == [code]
        assert client.kinds().count("transcript") == 1
    assert seconds_of_sound(stt.heard[-1]) == pytest.approx(0.8, abs=0.1)
    assert len(llm.asked) == 1


async def test_the_longest_chunk_is_taken() -> None:
    async with serving() as site, site.client() as client:
        for piece in cut(utterance(), MAX_CHUNK_SECONDS):
            await client.send("audio-chunk", **chunk(piece))
        await client.expect("tts-complete")
        assert client.errors() == []


async def test_samples_keep_their_sign_and_order() -> None:
    """Little-endian and signed: misread, speech turns into noise that still wakes the VAD."""
    stt = FakeStt()
    async with serving(fake_engines(stt)) as site, site.client() as client:
        sound = utterance(16_000)
        await send_at_once(client, sound)
        await client.expect("transcript")
    heard = stt.heard[-1].samples
    tone = loud(0.8).samples
    at = int(np.flatnonzero(np.abs(heard) > 1000)[0])
    start = int(np.flatnonzero(np.abs(tone) > 1000)[0])
    count = 8_000
    assert np.array_equal(heard[at : at + count], tone[start : start + count])
