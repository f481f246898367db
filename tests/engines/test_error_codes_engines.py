"""Error codes of the models, each provoked by a real client: engines that are stuck, fail, or have a bug."""

import asyncio
import base64
import logging
import re
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.wav import wav_bytes
from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.engines.deadlines import DeadlineStt, DeadlineTts
from localvoice.engines.fallback import LlmSource, ResilientLlm, RetryPolicy, load_with_fallback
from localvoice.engines.jobs import Stop
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.loading import close_all
from localvoice.engines.piper import PiperTts
from localvoice.engines.silero import SileroStream
from localvoice.engines.threads import ThreadPlan
from localvoice.engines.types import Engines, Llm, Transcript
from localvoice.engines.whisper import WhisperStt
from localvoice.engines.worker import Worker
from tests.support.error_watch import SAID, Watch, ask, goes_on
from tests.support.fakes import LLM_FAILED, FakeLlm, FakeStt, FakeTts, FakeVad, fake_engines, loud, silent
from tests.support.server_site import Client, serving
from tests.support.session_room import STEP, Rooms

SECONDS = 0.6
"""Every deadline here."""
REPLY = f"All about {SAID}."
QUICK = RetryPolicy(first_token_seconds=SECONDS, reply_seconds=2 * SECONDS, retries=3, backoff_seconds=0.01)


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)


class Model:
    """What runs in an adapter's thread: in trouble as often as told, and then as it should be."""

    def __init__(self, *troubles: str) -> None:
        self._troubles = list(troubles)

    def transcribe(self, _speech: AudioFrame, stop: Stop) -> Generator[None, None, Transcript]:
        yield
        self._have_trouble(stop)
        return Transcript(f"Tell me about {SAID}.")

    def speak(self, _text: str, _pace: float, stop: Stop) -> Generator[AudioFrame, None, None]:
        self._have_trouble(stop)
        yield loud(0.1, 22_050)

    def _have_trouble(self, stop: Stop) -> None:
        match self._troubles.pop(0) if self._troubles else "none":
            case "stuck":
                while not stop.is_set():
                    time.sleep(0.005)
                stop.check()
            case "fails":
                raise RuntimeError("out of memory")


@asynccontextmanager
async def adapters(*, stt: Model | None = None, tts: Model | None = None) -> AsyncIterator[Engines]:
    """The real adapters and deadlines around models in trouble."""
    ears = WhisperStt("ears", Worker("stt"), stt or Model())  # type: ignore[arg-type]
    voice = PiperTts("voice", Worker("tts"), tts or Model())  # type: ignore[arg-type]
    engines = Engines(FakeVad(), DeadlineStt(ears, SECONDS), FakeLlm(REPLY), DeadlineTts(voice, SECONDS))
    yield engines
    await close_all(engines)


def with_llm(llm: Llm) -> Engines:
    return Engines(FakeVad(), FakeStt(), llm, FakeTts())


async def say(client: Client) -> None:
    """A spoken utterance."""
    await client.send("audio", data=base64.b64encode(wav_bytes(loud(0.5))).decode())


async def failed(client: Client) -> None:
    """Read on until the error, and all that belongs to it."""
    await client.expect("error")
    await client.sync()


@pytest.mark.parametrize(
    ("trouble", "code", "advice"),
    [
        ("fails", ErrorCode.STT_ERROR, "Say it again; .* restart localvoice"),
        ("stuck", ErrorCode.STT_TIMEOUT, r"raise deadlines\.stt_seconds"),
    ],
)
async def test_stt(watch: Watch, trouble: str, code: ErrorCode, advice: str) -> None:
    async with adapters(stt=Model(trouble)) as engines, serving(engines, brought=watch.brought()) as site:
        async with site.client() as client:
            await say(client)
            await failed(client)
            watch.told(client, code, Component.STT, advice, in_turn=True)
            assert "transcript" not in client.kinds() and "llm" not in client.kinds()
            await say(client)
            await client.expect("tts-complete")
            assert client.errors() == [code] and "transcript" in client.kinds()
    watch.log_holds_no_transcript()


@pytest.mark.parametrize(
    ("trouble", "code", "advice"),
    [
        ("fails", ErrorCode.TTS_ERROR, "Ask again; .* restart localvoice"),
        ("stuck", ErrorCode.TTS_TIMEOUT, r"raise deadlines\.tts_seconds"),
    ],
)
async def test_tts_and_the_text_is_still_sent(
    watch: Watch, trouble: str, code: ErrorCode, advice: str
) -> None:
    async with adapters(tts=Model(trouble)) as engines, serving(engines, brought=watch.brought()) as site:
        async with site.client() as client:
            await ask(client)
            await failed(client)
            watch.told(client, code, Component.TTS, advice, in_turn=True)
            (reply,) = [each for each in client.received if each["type"] == "llm"]
            assert reply["text"] == REPLY and "tts-start" not in client.kinds()
            await goes_on(client)


# --- the language model ---


async def test_llm_error_after_all_retries(watch: Watch) -> None:
    llm = FakeLlm(*[[LLM_FAILED]] * 4, REPLY)
    async with serving(with_llm(ResilientLlm(llm, QUICK)), brought=watch.brought()) as site:
        async with site.client() as client:
            await ask(client)
            await failed(client)
            watch.told(client, ErrorCode.LLM_ERROR, Component.LLM, "was asked 4 times", in_turn=True)
            assert len(llm.asked) == 4
            await goes_on(client)


async def test_a_retry_that_succeeds_is_no_error(watch: Watch) -> None:
    llm = FakeLlm(*[[LLM_FAILED]] * 3, REPLY)
    async with serving(with_llm(ResilientLlm(llm, QUICK)), brought=watch.brought()) as site:
        async with site.client() as client:
            await goes_on(client)
            assert client.errors() == [] and watch.metrics.count("llmrtc.errors") == 0


async def test_llm_error_and_the_fallback_takes_over_and_says_so(watch: Watch) -> None:
    async def load() -> Llm:
        return spare

    llm, spare = FakeLlm(*[[LLM_FAILED]] * 9), FakeLlm(REPLY)
    spare.name = "spare-mind"
    resilient = ResilientLlm(llm, QUICK, LlmSource("spare-mind", load))
    async with serving(with_llm(resilient), brought=watch.brought()) as site, site.client() as client:
        await ask(client)
        assert (await client.expect("llm"))["text"] == REPLY
        await failed(client)
        words = watch.told(client, ErrorCode.LLM_ERROR, Component.LLM, "From now on", in_turn=True)
        assert "fake-mind" in words and "spare-mind" in words
        await goes_on(client)
        assert (len(llm.asked), len(spare.asked)) == (3, 2)
        async with site.http.get(site.url + "/health") as response:
            assert (await response.json())["models"]["llm"] == "spare-mind"


async def test_a_broken_model_file_and_the_fallback_takes_over(
    watch: Watch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async def load_broken() -> Llm:
        return await LlamaLlm.load("broken-mind", file, ThreadPlan(1, 1, 1, 1))

    async def load_spare() -> Llm:
        return spare

    file, spare = tmp_path / "broken.gguf", FakeLlm(REPLY)
    file.write_bytes(b"GGUF" + bytes(1000))
    broken = LlmSource("broken-mind", load_broken)
    with pytest.raises(VoiceError, match=r"broken\.gguf.*Download it again") as caught:
        await load_with_fallback(broken, None, QUICK)
    assert (caught.value.code, caught.value.component) == (ErrorCode.LLM_ERROR, Component.LLM)
    llm = await load_with_fallback(broken, LlmSource("fake-mind", load_spare), QUICK)
    assert "fake-mind takes over from broken-mind" in caplog.text
    async with serving(with_llm(llm), brought=watch.brought()) as site, site.client() as client:
        await goes_on(client)


@pytest.mark.parametrize(
    ("delay", "advice", "asked"),
    [
        (60.0, r"begin.*deadlines\.llm_first_token_seconds.*asked 4 times", 4),
        (0.2, r"finish.*llm_seconds", 1),
    ],
    ids=["first token", "whole answer"],
)
async def test_llm_timeout(watch: Watch, delay: float, advice: str, asked: int) -> None:
    llm = FakeLlm(*[f"All that I know about {SAID}, and it is much."] * 4, REPLY, delay=delay)
    async with serving(with_llm(ResilientLlm(llm, QUICK)), brought=watch.brought()) as site:
        async with site.client() as client:
            await ask(client)
            await failed(client)
            watch.told(client, ErrorCode.LLM_TIMEOUT, Component.LLM, advice, in_turn=True)
            assert len(llm.asked) == asked and llm.running == 0
            assert ("llm" in client.kinds()) == (asked == 1), "what was written before is still said"
            llm.delay = 0
            await goes_on(client)


# --- bugs ---


@pytest.mark.parametrize("part", ["stt", "llm", "tts"])
async def test_internal_error_of_an_engine(watch: Watch, part: str) -> None:
    bug = ZeroDivisionError("a bug")
    engines = fake_engines(
        FakeStt(bug if part == "stt" else "Hi."),
        FakeLlm([bug] if part == "llm" else REPLY, REPLY),
        FakeTts(bug if part == "tts" else None),
    )
    async with serving(engines, brought=watch.brought()) as site, site.client() as client:
        await say(client)
        await failed(client)
        words = watch.told(client, ErrorCode.INTERNAL_ERROR, Component.SERVER, "Say it again", in_turn=True)
        assert "bug" not in words and "ZeroDivision" not in words
        await goes_on(client)


async def test_the_log_says_where_a_bug_is(caplog: pytest.LogCaptureFixture) -> None:
    engines = fake_engines(llm=FakeLlm([ZeroDivisionError("a bug")]))
    async with serving(engines) as site, site.client() as client:
        await ask(client)
        await failed(client)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert re.search(r"ZeroDivisionError at\n.*fakes\.py\", line \d+", record.getMessage(), re.DOTALL)


# --- what is done with the microphone's sound ---


class BrokenSession:
    """An ONNX session that fails while it is told to."""

    broken = True

    def run(self, _names: None, inputs: dict[str, Any]) -> list[Any]:
        if self.broken:
            raise RuntimeError("bad allocation")
        probability = 0.9 if abs(inputs["input"]).max() > 0.01 else 0.1
        return [loud(0.1).as_float()[:1].reshape(1, 1) * 0 + probability, inputs["state"]]


@pytest.mark.virtual_clock
async def test_vad_error_is_told_once_and_speech_is_heard_again(watch: Watch, room: Rooms) -> None:
    session = BrokenSession()
    vad = FakeVad()
    vad.stream = lambda: SileroStream(session)  # type: ignore[method-assign,assignment,arg-type,return-value]
    r = room(FakeStt(f"About {SAID}."), vad=vad, hooks=watch.hooks)

    async def frames() -> AsyncIterator[AudioFrame]:
        for number in range(150):
            session.broken = number < 50
            yield loud(STEP) if number < 100 else silent(STEP)

    await r.session.listen(frames())
    await r.session.settle()
    await asyncio.sleep(STEP)
    watch.told_in(r, ErrorCode.VAD_ERROR, Component.VAD, "Text still works; .* restart localvoice")
    assert r.said()[0] == ("user", f"About {SAID}."), "what was said when it worked again"


@pytest.mark.virtual_clock
@pytest.mark.parametrize("rate", [0, -8_000])
async def test_audio_processing_error_is_told_once_and_speech_is_heard_again(
    watch: Watch, room: Rooms, rate: int
) -> None:
    r = room(FakeStt(f"About {SAID}."), hooks=watch.hooks)

    async def frames() -> AsyncIterator[AudioFrame]:
        for number in range(150):
            sound = loud(STEP) if number < 100 else silent(STEP)
            yield AudioFrame(sound.samples, rate) if number < 50 else sound

    await r.session.listen(frames())
    await r.session.settle()
    await asyncio.sleep(STEP)
    watch.told_in(r, ErrorCode.AUDIO_PROCESSING_ERROR, Component.SERVER, "Check the microphone's format")
    (heard,) = r.stt.heard
    assert 0.9 < heard.seconds < 1.3, "sound of an impossible rate is not taken for good"
