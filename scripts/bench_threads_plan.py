"""The engines of a profile under one thread plan: a process that scripts/bench_threads.py starts for each.

Takes the job as JSON on its command line, and prints the figures as JSON.
"""

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from bench_figures import percentile
from piper import PiperVoice

from localvoice.audio.frames import SPEECH_RATE, AudioFrame, concatenate
from localvoice.catalog import ModelFiles, load_catalog, models_folder, ready
from localvoice.config import SYSTEM_PROMPT
from localvoice.engines.jobs import Stop
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.piper import PiperTts
from localvoice.engines.threads import ThreadPlan
from localvoice.engines.types import ChatMessage, Sampling
from localvoice.engines.whisper import WhisperStt
from localvoice.engines.worker import Worker

Speak = Callable[[str], AsyncGenerator[AudioFrame, None]]

SENTENCE: Final = "The harbour lies behind the hill, and in the evening the boats come home one by one."
STORY: Final = (ChatMessage("user", "Tell me a very long story about a harbour, with many details."),)
FIRST_PIECE: Final = 8
"""Tokens after which speech begins."""
TICK: Final = 0.02
"""Seconds, as the event loop's sound comes and goes."""


@dataclass(frozen=True)
class Rig:
    """The engines under test."""

    llm: LlamaLlm
    """Writes and reads."""
    stt: WhisperStt
    """Hears."""
    speak: Speak
    """Speaks."""
    clip: AudioFrame
    """3 s of speech at 16 kHz."""


async def _run(job: dict[str, Any]) -> dict[str, Any]:
    files = ready(load_catalog(), job["profile"], models_folder())
    plan, seconds = job["plan"], job["seconds"]
    threads = ThreadPlan(**plan["threads"])
    async with _loaded(files, threads, plan["onnxruntime_default"]) as rig:
        if not job["places"]:
            return await _alone(rig, seconds)
        figures = {}
        for place in job["places"]:
            with _busy_neighbour(place == "neighbour"):
                turn = {"turn": await _turns(rig, 3 * seconds)}
                alone = await _alone(rig, seconds)
                figures[place] = {"alone": turn | alone, "together": await _together(rig, 2 * seconds)}
        return figures


@asynccontextmanager
async def _loaded(files: ModelFiles, plan: ThreadPlan, stock_voice: bool) -> AsyncIterator[Rig]:
    """All engines, warm, and closed when the block is left."""
    profile = files.profile
    llm = await LlamaLlm.load(profile.llm, files.llm_file, plan)
    stt = await WhisperStt.load(profile.stt, files.stt_dir, plan.stt, language="en")
    voice: PiperTts | _StockVoice = (
        _StockVoice(files)
        if stock_voice
        else await PiperTts.load(profile.tts, files.voice_file, files.voice_config_file, plan.tts)
    )
    try:
        clip = concatenate([frame async for frame in voice.synthesize(SENTENCE)]).resampled(SPEECH_RATE)
        clip = AudioFrame(clip.samples[: 3 * SPEECH_RATE], SPEECH_RATE)
        await stt.warm_up()
        await llm.warm_up()
        yield Rig(llm, stt, voice.synthesize, clip)
    finally:
        for engine in (llm, stt, voice):
            await engine.close()


class _StockVoice:
    """A Piper voice opened as its library opens it."""

    def __init__(self, files: ModelFiles) -> None:
        self._worker = Worker("tts")
        self._voice = PiperVoice.load(files.voice_file, files.voice_config_file)

    def synthesize(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        def speak(_stop: Stop) -> Generator[AudioFrame, None, None]:
            for chunk in self._voice.synthesize(text):
                yield AudioFrame(np.array(chunk.audio_int16_array), chunk.sample_rate)

        return self._worker.stream(speak)

    async def close(self) -> None:
        await self._worker.close()


async def _alone(rig: Rig, seconds: float) -> dict[str, float]:
    """Each engine for that long, while nothing else of ours runs."""
    return {
        "decode": await _write(rig, seconds),
        "prompt": await _read(rig, seconds),
        "stt": await _hear(rig, seconds),
        "tts": await _talk(rig, seconds),
    }


async def _together(rig: Rig, seconds: float) -> dict[str, float]:
    """All engines at once, as with several sessions, and how late the event loop gets."""
    names = ("decode", "stt", "tts", "lag")
    jobs = (_write(rig, seconds), _hear(rig, seconds), _talk(rig, seconds), _tick(seconds))
    return dict(zip(names, await asyncio.gather(*jobs), strict=True))


async def _turns(rig: Rig, seconds: float) -> float:
    """Median ms from the end of speech that is whole to the reply's first sound."""
    loop = asyncio.get_running_loop()
    until, taken = loop.time() + seconds, list[float]()
    system = ChatMessage("system", SYSTEM_PROMPT)
    while loop.time() < until:
        await rig.llm.prepare([system])
        begun = loop.time()
        words = (await rig.stt.transcribe(rig.clip)).text
        question = ChatMessage("user", f"{len(taken)}. {words} What then?")
        written, first_piece = "", loop.create_future()
        sound = asyncio.create_task(_first_sound(rig, first_piece))
        async with aclosing(rig.llm.reply([system, question], Sampling(max_tokens=100))) as tokens:
            count = 0
            async for token in tokens:
                written, count = written + str(token), count + 1
                if count == FIRST_PIECE:
                    first_piece.set_result(written)
                if sound.done():
                    break
        if not first_piece.done():
            first_piece.set_result(written)  # a short answer
        taken.append(1000 * (await sound - begun))
    return statistics.median(taken)


async def _first_sound(rig: Rig, piece: asyncio.Future[str]) -> float:
    async with aclosing(rig.speak(await piece)) as frames:
        await anext(frames, None)
    return asyncio.get_running_loop().time()


async def _write(rig: Rig, seconds: float) -> float:
    """Tokens a second of replies."""
    loop = asyncio.get_running_loop()
    until, tokens, spent = loop.time() + seconds, 0, 0.0
    while loop.time() < until:
        async with aclosing(rig.llm.reply(STORY, Sampling(max_tokens=200))) as items:
            await anext(items, None)
            begun = last = loop.time()
            async for _ in items:
                last, tokens = loop.time(), tokens + 1
                if last > until:
                    break
        spent += last - begun
    return tokens / spent


async def _read(rig: Rig, seconds: float) -> float:
    """Tokens a second of prompts that are new from their first word on."""
    loop = asyncio.get_running_loop()
    until, tokens, spent, number = loop.time() + seconds, 0, 0.0, 0
    while loop.time() < until:
        number += 1
        prompt = [ChatMessage("system", f"{number} {number} {SENTENCE * 8}")]
        begun = loop.time()
        await rig.llm.prepare(prompt)
        spent += loop.time() - begun
        tokens += rig.llm.prompt_tokens(prompt)
    return tokens / spent


async def _hear(rig: Rig, seconds: float) -> float:
    """Median ms of a transcription."""
    loop = asyncio.get_running_loop()
    until, taken = loop.time() + seconds, list[float]()
    while loop.time() < until:
        begun = loop.time()
        await rig.stt.transcribe(rig.clip)
        taken.append(1000 * (loop.time() - begun))
    return statistics.median(taken)


async def _talk(rig: Rig, seconds: float) -> float:
    """Seconds that a second of speech takes to make."""
    loop = asyncio.get_running_loop()
    until, spent, spoken = loop.time() + seconds, 0.0, 0.0
    while loop.time() < until:
        begun = loop.time()
        async with aclosing(rig.speak(SENTENCE)) as frames:
            async for frame in frames:
                spoken += frame.seconds
        spent += loop.time() - begun
    return spent / spoken


async def _tick(seconds: float) -> float:
    """ms by which the event loop is late, the 99th percentile."""
    loop = asyncio.get_running_loop()
    begun, late = loop.time(), list[float]()
    for number in range(1, int(seconds / TICK)):
        due = begun + number * TICK
        await asyncio.sleep(due - loop.time())
        late.append(1000 * (loop.time() - due))
    return percentile(late, 99)


@contextmanager
def _busy_neighbour(wanted: bool) -> Iterator[None]:
    """Another program that computes on one core without a pause, if wanted."""
    if not wanted:
        yield
        return
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spinner.kill()
        spinner.wait()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(json.loads(sys.argv[1])))))
