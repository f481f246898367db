"""The engines together, on the files of the tiny profile: loading, and one turn from speech to speech."""

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localvoice.audio.frames import SPEECH_RATE, AudioFrame
from localvoice.audio.wav import read_wav
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines import loading
from localvoice.engines.chat import ChatMessage, Sampling
from localvoice.engines.loading import EngineOptions, close_all, load_engines, warm_up_all
from localvoice.engines.threads import choose_device
from localvoice.engines.types import Engines
from tests.support.folders import SPEECH
from tests.support.tiny_engines import FILES, ON_CPU, need_files, speak, words

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """One set for all: engines belong to no event loop."""
    need_files()
    engines = asyncio.run(load_engines(FILES, ON_CPU))
    yield engines
    asyncio.run(close_all(engines))


async def test_from_speech_to_speech(engines: Engines) -> None:
    await warm_up_all(engines)
    assert (engines.stt.name, engines.llm.name, engines.tts.name) == (
        "whisper-tiny.en",
        "smollm2-135m-instruct",
        "en_US-joe-medium",
    )
    question = await speak(engines.tts, "What is the capital of France?")

    stream = engines.vad.stream()
    windows = question.as_float()[: len(question.samples) // 512 * 512].reshape(-1, 512)
    assert max(map(stream, windows)) > 0.9

    transcript = await engines.stt.transcribe(question)
    assert words(transcript.text) == ["what", "is", "the", "capital", "of", "france"]

    asked = [ChatMessage("system", "Answer in one short sentence."), ChatMessage("user", transcript.text)]
    async with aclosing(engines.llm.reply(asked, Sampling(max_tokens=32))) as deltas:
        answer = "".join([delta async for delta in deltas if isinstance(delta, str)])
    assert "Paris" in answer

    spoken = await speak(engines.tts, answer)
    assert spoken.rms_dbfs > -35
    assert "Paris" in (await engines.stt.transcribe(spoken)).text


async def test_a_word_of_thanks_is_heard_though_whisper_likes_to_invent_it(engines: Engines) -> None:
    for text in ("Thank you.", "Bye bye.", "Yes."):
        heard = await engines.stt.transcribe(await speak(engines.tts, text))
        assert words(heard.text) == words(text)


async def test_recordings_are_understood_while_a_reply_is_being_written(engines: Engines) -> None:
    clip = SPEECH / "weather_question.wav"
    if not clip.exists():
        pytest.skip(f"the recording {clip.name} isn't on this machine")
    story = [ChatMessage("user", "Tell me a long story.")]
    async with aclosing(engines.llm.reply(story, Sampling(max_tokens=200))) as deltas:
        await anext(deltas)
        heard = await engines.stt.transcribe(read_wav(clip))
        assert words(heard.text) == ["what", "is", "the", "weather", "in", "paris"]
        assert await anext(deltas)


async def test_the_event_loop_stays_free_while_models_work(engines: Engines) -> None:
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - before)

    ticking = asyncio.create_task(tick())
    noise = np.random.default_rng(0).normal(0, 2000, SPEECH_RATE * 3).astype(np.int16)
    await asyncio.gather(
        engines.stt.transcribe(AudioFrame(noise, SPEECH_RATE)),
        speak(engines.tts, "This is a sentence that takes a while to say."),
        engines.llm.warm_up(),
    )
    ticking.cancel()
    assert longest < 0.3


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("stt", ErrorCode.STT_ERROR),
        ("llm", ErrorCode.LLM_ERROR),
        ("tts", ErrorCode.TTS_ERROR),
        ("tts_config", ErrorCode.TTS_ERROR),
        ("vad", ErrorCode.VAD_ERROR),
    ],
)
async def test_a_missing_file_is_named_and_nothing_stays_loaded(
    field: str, code: ErrorCode, tmp_path: Path
) -> None:
    need_files()
    change: dict[str, Any] = {field: tmp_path / "not-there"}
    files = dataclasses.replace(FILES, **change)
    with pytest.raises(VoiceError, match="not-there") as caught:
        await load_engines(files, ON_CPU)
    assert caught.value.code is code


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.5])
async def test_loading_can_be_cancelled(delay: float) -> None:
    """Amid the voice, which takes a second and more."""
    need_files()
    before = set(threading.enumerate())
    task = asyncio.create_task(load_engines(FILES, ON_CPU))
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "tts" not in {thread.name for thread in set(threading.enumerate()) - before}


async def test_a_gpu_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "gpu_count", lambda: 0)
    with pytest.raises(VoiceError, match="No CUDA GPU"):
        await load_engines(FILES, EngineOptions(device="cuda"))
    assert choose_device("auto", gpus=0) == "cpu"


def test_layers_go_to_a_gpu_that_the_binding_can_use(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_device("auto", gpus=1) == "cuda"
    monkeypatch.setattr(loading, "supports_gpu", lambda: True)
    assert loading._gpu_layers(None, "cuda") == -1
    assert loading._gpu_layers(None, "cpu") == 0
    assert loading._gpu_layers(12, "cuda") == 12
    assert not caplog.records
    monkeypatch.setattr(loading, "supports_gpu", lambda: False)
    assert loading._gpu_layers(None, "cuda") == 0
    assert "runs on the CPU" in caplog.text
