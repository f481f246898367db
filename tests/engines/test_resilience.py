"""Deadlines: each stage's time-out, time that doesn't count, and engines that stay usable afterwards."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest

from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, Sampling
from localvoice.engines.deadlines import DeadlineStt, DeadlineTts, reply_within
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.threads import ThreadPlan
from localvoice.engines.types import Stt, Transcript, Tts
from localvoice.engines.worker import Worker
from localvoice.observability.stopwatch import now as now
from tests.support.small_llama import MODEL

SPEECH = AudioFrame(np.zeros(SPEECH_RATE, np.int16), SPEECH_RATE)


class Engine:
    """What it was asked to do in addition to its work."""

    def __init__(self) -> None:
        self.warmed = self.closed = 0
        self.stopped = 0
        """Jobs that were cancelled or closed before their end."""

    async def warm_up(self) -> None:
        await asyncio.sleep(1000)
        self.warmed += 1

    async def close(self) -> None:
        self.closed += 1


class Ears(Engine):
    """Takes so many seconds for an utterance."""

    name = "ears"

    def __init__(self, seconds: float, error: VoiceError | None = None) -> None:
        super().__init__()
        self.seconds = seconds
        self.error = error

    async def transcribe(self, speech: AudioFrame) -> Transcript:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if self.error is not None:
            raise self.error
        return Transcript("hello")


class Voice(Engine):
    """Says a frame after each of the pauses, in seconds."""

    name = "voice"

    def __init__(self, *pauses: float, end: float = 0.0) -> None:
        super().__init__()
        self.pauses = pauses
        self.end = end

    async def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        try:
            for pause in self.pauses:
                await asyncio.sleep(pause)
                yield SPEECH
            await asyncio.sleep(self.end)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise


class Mind:
    """Writes a word after each of the pauses."""

    def __init__(self, *pauses: float, end: float = 0.0) -> None:
        self.pauses = pauses
        self.end = end
        self.stopped = 0

    async def reply(self) -> AsyncGenerator[str, None]:
        try:
            for pause in self.pauses:
                await asyncio.sleep(pause)
                yield "word"
            await asyncio.sleep(self.end)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise


async def count(items: AsyncIterator[object], pause: float = 0.0) -> int:
    """Read all of them, slowly."""
    number = 0
    async for _ in items:
        number += 1
        await asyncio.sleep(pause)
    return number


@pytest.mark.virtual_clock
async def test_stt_past_its_deadline_is_stopped_and_told() -> None:
    ears = Ears(31)
    stt: Stt = DeadlineStt(ears, 30)
    with pytest.raises(VoiceError, match=r"30 s.*deadlines\.stt_seconds") as caught:
        await stt.transcribe(SPEECH)
    assert (caught.value.code, caught.value.component) == (ErrorCode.STT_TIMEOUT, Component.STT)
    assert ears.stopped == 1 and now() == 30


@pytest.mark.virtual_clock
async def test_stt_within_its_deadline_is_as_it_is() -> None:
    ears = Ears(29)
    stt = DeadlineStt(ears, 30)
    assert stt.name == "ears"
    assert await stt.transcribe(SPEECH) == Transcript("hello")
    ears.error = VoiceError(ErrorCode.STT_ERROR, Component.STT, "No ears.")
    with pytest.raises(VoiceError, match="No ears"):
        await stt.transcribe(SPEECH)
    await stt.warm_up()
    await stt.close()
    assert (ears.warmed, ears.closed) == (1, 1), "warming up has no deadline"


@pytest.mark.virtual_clock
async def test_cancelling_stt_is_no_time_out() -> None:
    ears = Ears(29)
    task = asyncio.create_task(DeadlineStt(ears, 30).transcribe(SPEECH))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ears.stopped == 1


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("voice", "frames", "seconds"), [(Voice(21), 0, 20), (Voice(15, 21), 1, 35), (Voice(1, end=21), 1, 21)]
)
async def test_tts_past_its_deadline_is_stopped_and_told(voice: Voice, frames: int, seconds: float) -> None:
    tts: Tts = DeadlineTts(voice, 20)
    seen = []
    with pytest.raises(VoiceError, match=r"20 s.*deadlines\.tts_seconds") as caught:
        async with aclosing(tts.synthesize("Hello.")) as sound:
            async for frame in sound:
                seen.append(frame)
    assert (caught.value.code, caught.value.component) == (ErrorCode.TTS_TIMEOUT, Component.TTS)
    assert len(seen) == frames and voice.stopped == 1 and now() == seconds


@pytest.mark.virtual_clock
async def test_time_in_which_the_playout_waits_is_not_the_voices() -> None:
    voice = Voice(15, 15, 15)
    tts = DeadlineTts(voice, 20)
    async with aclosing(tts.synthesize("Hello.")) as sound:
        assert await count(sound, pause=100) == 3
    assert voice.stopped == 0 and now() == 345
    await tts.warm_up()
    await tts.close()
    assert (tts.name, voice.warmed, voice.closed) == ("voice", 1, 1)


@pytest.mark.virtual_clock
async def test_closing_the_sound_early_closes_the_voices() -> None:
    voice = Voice(1, 1)
    async with aclosing(DeadlineTts(voice, 20).synthesize("Hello.")) as sound:
        await anext(sound)
    assert voice.stopped == 1


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("mind", "first", "whole", "words", "seconds", "setting"),
    [
        (Mind(31), 30, 120, 0, 30, "deadlines.llm_first_token_seconds"),
        (Mind(25, *[10] * 10), 30, 120, 10, 120, "deadlines.llm_seconds"),
        (Mind(1, end=200), 30, 120, 1, 120, "deadlines.llm_seconds"),
        (Mind(11), 30, 10, 0, 10, "deadlines.llm_seconds"),
    ],
)
async def test_llm_past_a_deadline_is_stopped_and_told(
    mind: Mind, first: float, whole: float, words: int, seconds: float, setting: str
) -> None:
    seen = []
    with pytest.raises(VoiceError, match=f"raise {setting}") as caught:
        async with aclosing(reply_within(mind.reply(), first, whole)) as items:
            async for item in items:
                seen.append(item)
    assert (caught.value.code, caught.value.component) == (ErrorCode.LLM_TIMEOUT, Component.LLM)
    assert len(seen) == words and mind.stopped == 1 and now() == seconds


@pytest.mark.virtual_clock
async def test_time_in_which_the_reader_is_slow_is_not_the_llms() -> None:
    mind = Mind(25, *[9] * 10)
    async with aclosing(reply_within(mind.reply(), 30, 120)) as items:
        assert await count(items, pause=500) == 11
    assert mind.stopped == 0 and now() == 25 + 90 + 11 * 500


@pytest.mark.virtual_clock
async def test_closing_or_cancelling_a_reply_stops_the_llm() -> None:
    mind = Mind(1, 1)
    async with aclosing(reply_within(mind.reply(), 30, 120)) as items:
        await anext(items)
    assert mind.stopped == 1

    async def read() -> int:
        async with aclosing(reply_within(mind.reply(), 30, 120)) as items:
            return await count(items)

    task = asyncio.create_task(read())
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mind.stopped == 2


async def test_a_stuck_thread_fails_each_call_at_its_own_deadline_until_it_is_free() -> None:
    worker, release = Worker("stuck-worker"), threading.Event()

    class Deaf(Ears):
        async def transcribe(self, speech: AudioFrame) -> Transcript:
            await worker.run(release.wait, 10)
            return Transcript("at last")

    stt = DeadlineStt(Deaf(0), 0.05)
    started = now()
    for _ in range(3):
        with pytest.raises(VoiceError, match=r"deadlines\.stt_seconds"):
            await stt.transcribe(SPEECH)
    assert 0.15 <= now() - started < 2, "no call waits for the thread"
    release.set()
    assert await DeadlineStt(Deaf(0), 5).transcribe(SPEECH) == Transcript("at last")
    await worker.close()


@pytest.mark.integration
async def test_a_reply_stopped_at_its_deadline_leaves_the_model_usable() -> None:
    if not MODEL.exists():
        pytest.skip("SmolLM2 isn't downloaded: make download-models PROFILE=tiny")
    llm = await LlamaLlm.load("smollm2-135m-instruct", MODEL, ThreadPlan(1, 1, 1, 1))
    try:
        await llm.warm_up()
        # A prompt of some thousand tokens takes seconds, and a deadline reaches into the middle of it.
        story = [ChatMessage("user", "Tell me a story. " * 500)]
        started = now()
        with pytest.raises(VoiceError) as caught:
            async with aclosing(reply_within(llm.reply(story, Sampling()), 0.1, 60)) as items:
                await count(items)
        assert caught.value.code is ErrorCode.LLM_TIMEOUT and now() - started < 1.5

        story = [ChatMessage("user", "Tell me a very long story about a dragon.")]
        with pytest.raises(VoiceError, match=r"deadlines\.llm_seconds"):
            async with aclosing(reply_within(llm.reply(story, Sampling(max_tokens=1000)), 60, 0.3)) as items:
                await count(items)

        question = [
            ChatMessage("system", "You are a helpful voice assistant. Answer in one short sentence."),
            ChatMessage("user", "What is the capital of France?"),
        ]
        async with aclosing(reply_within(llm.reply(question, Sampling(max_tokens=24)), 60, 60)) as items:
            assert "Paris" in "".join([item async for item in items if isinstance(item, str)])
    finally:
        await llm.close()
