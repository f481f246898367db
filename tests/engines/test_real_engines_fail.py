"""The real models, made to fail or to hang in their library's lowest call; afterwards they work again."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import ctranslate2
import llama_cpp
import onnxruntime
import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.config import DeadlineSettings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines import worker as worker_module
from localvoice.engines.chat import ChatMessage, Sampling
from localvoice.engines.loading import close_all, load_engines
from localvoice.engines.types import Engines
from localvoice.engines.worker import troubles
from tests.support.fakes import until
from tests.support.tiny_engines import FILES, ON_CPU, need_files, speak, words

pytestmark = pytest.mark.integration

SECONDS: Final = 3.0
"""Of each deadline: the tiny models answer in some tenths of one, also on a busy machine."""
LIBRARY: Final[dict[str, tuple[Any, str]]] = {
    "stt": (ctranslate2.models.Whisper, "encode"),  # type: ignore[attr-defined]
    "llm": (llama_cpp._internals.llama_cpp, "llama_decode"),  # type: ignore[attr-defined]
    "tts": (onnxruntime.InferenceSession, "run"),  # type: ignore[attr-defined]
    "turn": (onnxruntime.InferenceSession, "run"),  # type: ignore[attr-defined]
}
"""By the name of the worker's thread: where its model leaves Python."""


class Fault:
    """What becomes of the next call into a model's library."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.way_out = threading.Event()
        self.hits = 0
        self._armed: dict[str, Callable[[], Any]] = {}
        for place, name in {(place, name) for place, name in LIBRARY.values()}:
            monkeypatch.setattr(place, name, self._around(getattr(place, name)))

    def fails(self, thread: str, error: Exception) -> None:
        def fail() -> None:
            raise error

        self._armed[thread] = fail

    def hangs(self, thread: str) -> None:
        self._armed[thread] = lambda: self.way_out.wait(60)

    def returns(self, thread: str, value: Any) -> None:
        self._armed[thread] = lambda: value

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            fault = self._armed.pop(threading.current_thread().name, None)
            if fault is None:
                return call(*args, **options)
            self.hits += 1
            return fault()

        return wrapped


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    monkeypatch.setattr(worker_module, "STUCK_SECONDS", 0.3)
    monkeypatch.setattr(worker_module, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(worker_module, "LEAVE_SECONDS", 0.2)
    fault = Fault(monkeypatch)
    yield fault
    fault.way_out.set()


@asynccontextmanager
async def loaded(fault: Fault) -> AsyncIterator[tuple[Engines, AudioFrame]]:
    """The tiny profile's engines, and a question that was spoken by its voice."""
    need_files()
    limits = DeadlineSettings(
        stt_seconds=SECONDS, llm_first_token_seconds=SECONDS, llm_seconds=2 * SECONDS, tts_seconds=SECONDS
    )
    engines = await load_engines(FILES, replace(ON_CPU, deadlines=limits, llm_retries=0))
    try:
        yield engines, await speak(engines.tts, "What is the capital of France?")
    finally:
        fault.way_out.set()
        await close_all(engines)


async def reply(engines: Engines) -> str:
    asked = [ChatMessage("user", "What is the capital of France? Answer in one short sentence.")]
    async with aclosing(engines.llm.reply(asked, Sampling(max_tokens=24))) as deltas:
        return "".join([delta async for delta in deltas if isinstance(delta, str)])


async def judged(engines: Engines, speech: AudioFrame) -> float:
    assert engines.turn is not None
    async with asyncio.timeout(SECONDS):
        return await engines.turn.complete(speech)


def uses(engines: Engines, speech: AudioFrame) -> dict[str, Callable[[], Awaitable[Any]]]:
    return {
        "stt": lambda: engines.stt.transcribe(speech),
        "llm": lambda: reply(engines),
        "tts": lambda: speak(engines.tts, "The capital is Paris."),
        "turn": lambda: judged(engines, speech),
    }


async def all_work(engines: Engines, speech: AudioFrame) -> None:
    assert "france" in words((await engines.stt.transcribe(speech)).text)
    assert "Paris" in await reply(engines)
    assert (await speak(engines.tts, "The capital is Paris.")).rms_dbfs > -35
    assert 0.0 <= await judged(engines, speech) <= 1.0


async def test_a_call_that_fails_is_one_error_and_the_next_one_works(fault: Fault) -> None:
    codes = {
        "stt": ErrorCode.STT_ERROR,
        "llm": ErrorCode.LLM_ERROR,
        "tts": ErrorCode.TTS_ERROR,
        "turn": ErrorCode.VAD_ERROR,
    }
    async with loaded(fault) as (engines, speech):
        for name, use in uses(engines, speech).items():
            for error in (MemoryError("bad allocation"), RuntimeError("CUDA error")):
                fault.fails(name, error)
                with pytest.raises(VoiceError, match=str(error)) as caught:
                    await use()
                assert caught.value.code is codes[name]
        fault.returns("llm", 1)  # "could not find a KV slot": the context is full
        with pytest.raises(VoiceError, match="llama_decode returned 1"):
            await reply(engines)
        assert fault.hits == 9
        await all_work(engines, speech)


async def test_a_call_that_never_returns_costs_its_turn_and_the_model_is_loaded_again(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    async with loaded(fault) as (engines, speech):
        jobs = uses(engines, speech)
        for name in jobs:
            fault.hangs(name)
        ends = await asyncio.gather(*(use() for use in jobs.values()), return_exceptions=True)
        assert fault.hits == 4
        codes = [end.code if isinstance(end, VoiceError) else type(end) for end in ends]
        # Nobody waits for the turn detector: the length of the silence ends the turn.
        assert codes == [ErrorCode.STT_TIMEOUT, ErrorCode.LLM_TIMEOUT, ErrorCode.TTS_TIMEOUT, TimeoutError]
        await until(lambda: caplog.text.count("works again") == 4, 30)
        assert not troubles()
        await all_work(engines, speech)
