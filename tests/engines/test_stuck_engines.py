"""Models whose thread does not come back: the turn ends, the model is loaded again, all others go on."""

import asyncio
import base64
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.audio.wav import wav_bytes
from localvoice.engines.chat import Prompt, Sampling
from localvoice.engines.deadlines import DeadlineStt, DeadlineTts
from localvoice.engines.fallback import ResilientLlm, RetryPolicy
from localvoice.engines.jobs import Stop
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.loading import close_all
from localvoice.engines.piper import PiperTts
from localvoice.engines.smart_turn import SmartTurn
from localvoice.engines.types import Engines, Transcript
from localvoice.engines.whisper import WhisperStt
from localvoice.engines.worker import Worker, troubles
from tests.support.fakes import FakeVad, loud, until
from tests.support.server_site import Client, Site, serving
from tests.support.stuck_models import Hole, worker
from tests.support.stuck_models import hole as hole
from tests.support.stuck_models import soon_stuck as soon_stuck

SECONDS = 1.0
"""Every deadline here. It passes in the code under test, which can't know that its threads wait for a core,
as they do for a quarter of a second on a busy machine: no test is to fail of that."""
PATIENCE = RetryPolicy(
    first_token_seconds=SECONDS, reply_seconds=2 * SECONDS, retries=0, backoff_seconds=0.01
)


class Model:
    """What runs in the threads of the real adapters."""

    sees = False
    context_tokens = 4096
    prompts = SimpleNamespace(prompt=lambda messages, offer: Prompt(messages, offer, 10))

    def __init__(self, hole: Hole) -> None:
        self.hole = hole
        self.heard = 0

    def transcribe(self, _speech: AudioFrame, _stop: Stop) -> Generator[None, None, Transcript]:
        self.heard += 1
        yield
        self.hole.step("transcribe")
        return Transcript("Hello.")

    def speak(self, _text: str, _pace: float, _stop: Stop) -> Generator[AudioFrame, None, None]:
        self.hole.step("speak")
        yield loud(0.02, 22_050)
        self.hole.step("speak on")
        yield loud(0.02, 22_050)

    def reply(
        self, _messages: Any, _sampling: Sampling, _offer: Any, aside: bool, _stop: Stop
    ) -> Generator[str, None, None]:
        self.hole.step("aside" if aside else "reply")
        yield "Well,"
        self.hole.step("write on")
        yield " hello."

    def read(self, _messages: Any, _offer: Any, _stop: Stop) -> Generator[str, None, None]:
        self.hole.step("read")
        yield ""

    def forget(self) -> None:
        self.hole.step("forget")

    def run(self, _names: None, _inputs: Any, _options: Any) -> list[Any]:
        self.hole.step("judge")
        return [loud(0.1).as_float()[:1] * 0 + 0.9]


def ears(hole: Hole) -> DeadlineStt:
    return DeadlineStt(WhisperStt("ears", worker(hole, "stt"), Model(hole)), SECONDS)  # type: ignore[arg-type]


def mind(hole: Hole, patience: RetryPolicy = PATIENCE) -> ResilientLlm:
    return ResilientLlm(LlamaLlm("mind", worker(hole, "llm"), Model(hole)), patience)  # type: ignore[arg-type]


def voice(hole: Hole) -> DeadlineTts:
    return DeadlineTts(PiperTts("voice", worker(hole, "tts"), Model(hole)), SECONDS)  # type: ignore[arg-type]


@asynccontextmanager
async def site_with(
    hole: Hole, patience: RetryPolicy = PATIENCE, **groups: dict[str, Any]
) -> AsyncIterator[Site]:
    """A server with the real adapters and deadlines, around models that may fall into the hole."""
    engines = Engines(FakeVad(), ears(hole), mind(hole, patience), voice(hole))
    async with serving(engines, groups) as site:
        yield site
    hole.way_out.set()
    await close_all(engines)


async def say(client: Client) -> None:
    await client.send("audio", data=base64.b64encode(wav_bytes(loud(0.5))).decode())


async def answered(client: Client) -> None:
    errors = len(client.errors())
    await say(client)
    await client.expect("tts-complete")
    assert len(client.errors()) == errors


async def health(site: Site) -> tuple[int, dict[str, Any]]:
    async with site.http.get(site.url + "/health") as response:
        return response.status, await response.json()


async def well_again(site: Site) -> None:
    async with asyncio.timeout(8):
        while (await health(site))[0] != 200:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("trap", "code"),
    [
        ("transcribe", "STT_TIMEOUT"),
        ("reply", "LLM_TIMEOUT"),
        ("write on", "LLM_TIMEOUT"),
        ("speak", "TTS_TIMEOUT"),
        ("speak on", "TTS_TIMEOUT"),
    ],
)
async def test_a_stuck_model_ends_the_turn_and_is_loaded_again_for_everybody(
    hole: Hole, trap: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with site_with(hole) as site, site.client() as unlucky, site.client() as other:
        hole.traps.append(trap)
        await say(unlucky)
        assert (await unlucky.expect("error"))["code"] == code
        await until(lambda: hole.loaded == 1)
        await well_again(site)
        for client in (other, unlucky):
            await answered(client)
        assert (hole.inside, hole.loaded) == (1, 1)
        assert "is stuck: it doesn't stop when it is told to" in caplog.text
        assert "works again" in caplog.text


async def test_a_question_that_is_asked_again_is_answered_by_the_fresh_model(hole: Hole) -> None:
    async with site_with(hole, replace(PATIENCE, retries=1)) as site, site.client() as client:
        hole.traps.append("reply")
        await answered(client)
        assert (hole.inside, hole.loaded) == (1, 1)


async def test_words_said_while_the_model_is_stuck_are_answered_when_it_is_back(hole: Hole) -> None:
    async with site_with(hole) as site, site.client() as unlucky, site.client() as other:
        hole.traps.append("transcribe")
        await say(unlucky)
        await unlucky.expect("error")
        await answered(other)  # it waited in the queue of the stuck thread, and moved to the fresh one
        assert hole.loaded == 1


async def test_reading_ahead_that_is_stuck_costs_one_turn_at_most(hole: Hole) -> None:
    async with site_with(hole) as site, site.client() as client:
        hole.traps.append("read")
        await client.send("text", text="Hello?")  # after it the next prompt is read ahead
        await until(lambda: hole.inside == 1)
        for _ in range(3):
            await client.send("text", text="Hello?")
            await asyncio.sleep(0.3)
        await until(lambda: hole.loaded == 1)
        await client.sync()
        assert set(client.errors()) <= {"LLM_TIMEOUT"}
        await answered(client)


async def test_forgetting_that_is_stuck_is_told_and_ends(hole: Hole) -> None:
    async with site_with(hole) as site, site.client() as client:
        hole.traps.append("forget")
        await client.send("forget", scope="last")
        error = await client.expect("error")
        assert error["code"] == "LLM_TIMEOUT" and "could not forget within" in error["message"]
        await until(lambda: hole.loaded == 1)
        await answered(client)


async def test_a_model_that_is_stuck_each_time_is_given_up_and_that_is_said(hole: Hole) -> None:
    async with site_with(hole) as site, site.client() as client:
        for number in range(1, 4):
            hole.traps.append("transcribe")
            await say(client)
            assert (await client.expect("error"))["code"] == "STT_TIMEOUT"
            await until(lambda n=number: hole.loaded == min(n, 2) and bool(n < 3 or troubles()))  # type: ignore[misc]
        await say(client)
        error = await client.expect("error")
        assert error["code"] == "STT_ERROR" and "restart localvoice" in error["message"]
        status, told = await health(site)
        assert status == 503 and told["ok"] is False
        assert told["trouble"] == ["the model in the thread stt is stuck, and was not loaded again"]
        await client.send("text", text="Hello?")
        await client.expect("tts-complete")  # what needs no ears goes on
    assert hole.loaded == 2


async def test_a_model_that_cannot_be_loaded_again_is_told(
    hole: Hole, caplog: pytest.LogCaptureFixture
) -> None:
    hole.cannot_load = MemoryError("12 GB more")
    async with site_with(hole) as site, site.client() as client:
        hole.traps.append("transcribe")
        await say(client)
        await client.expect("error")
        await until(lambda: "can't be loaded again: 12 GB more" in caplog.text)
        await say(client)
        assert (await client.expect("error"))["code"] == "STT_ERROR"
        assert (await health(site))[0] == 503


async def test_a_stuck_turn_detector_is_loaded_again_and_no_turn_waits_for_it(hole: Hole) -> None:
    detector = SmartTurn("tact", worker(hole, "turn"), Model(hole))  # type: ignore[arg-type]
    hole.traps.append("judge")
    judging = asyncio.create_task(detector.complete(loud(0.5)))
    await until(lambda: hole.inside == 1)
    judging.cancel()  # as at the end of each pause
    await until(lambda: hole.loaded == 1)
    assert await detector.complete(loud(0.5)) == pytest.approx(0.9)
    hole.way_out.set()
    await detector.close()


async def test_what_waits_for_a_stuck_model_is_done_by_the_one_that_was_loaded_again(hole: Hole) -> None:
    models: list[Model] = []

    def load(_stop: Stop) -> Any:
        models.append(Model(hole))
        return models[-1]

    stt = await Worker.loaded("stt", load, partial(WhisperStt, "ears"))
    hole.traps.append("transcribe")
    stuck = asyncio.create_task(stt.transcribe(loud(0.5)))
    await until(lambda: hole.inside == 1)
    stuck.cancel()
    assert (await stt.transcribe(loud(0.5))).text == "Hello."
    assert [model.heard for model in models] == [1, 1]
    hole.way_out.set()
    await stt.close()
