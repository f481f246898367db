"""A session whose engines fail: what the client is told, and the turn after it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from localvoice.audio.frames import AudioFrame
from localvoice.contract.messages import ErrorMessage, LlmReply
from tests.support.fakes import (
    LLM_FAILED,
    STT_FAILED,
    TTS_FAILED,
    VAD_FAILED,
    FakeLlm,
    FakeStt,
    FakeTts,
    loud,
    silent,
)
from tests.support.session_room import STEP, Rooms, codes

pytestmark = pytest.mark.virtual_clock


async def test_stt_fails_and_the_next_turn_works(room: Rooms) -> None:
    r = room(FakeStt(STT_FAILED, "Hi."), FakeLlm("Fine."))
    await r.says()
    await r.session.settle()
    assert r.told() == ["speech-start", "speech-end", "error"] and codes(r) == ["STT_ERROR"]
    assert r.states()[-1] == "idle" and not r.llm.asked
    await r.says()
    await r.session.settle()
    assert r.said() == [("user", "Hi."), ("assistant", "Fine.")]


async def test_stt_fails_after_the_turn_was_interrupted(room: Rooms) -> None:
    r = room(FakeStt(STT_FAILED, "Hi.", delay=1.2), FakeLlm("Fine."))
    await r.says(0.2)
    await r.says(0.2)
    await r.session.settle()
    assert codes(r) == ["STT_ERROR"]
    assert r.states() == ["listening", "thinking", "listening", "thinking", "speaking", "idle"]
    assert r.said() == [("user", "Hi."), ("assistant", "Fine.")]


async def test_the_llm_fails_at_once(room: Rooms) -> None:
    r = room(FakeStt("Hi.", "Again."), FakeLlm([LLM_FAILED], "Fine."))
    await r.says()
    await r.session.settle()
    assert r.told() == ["speech-start", "speech-end", "transcript", "error"] and codes(r) == ["LLM_ERROR"]
    assert r.states()[-1] == "idle"
    await r.says()
    await r.session.settle()
    assert r.said() == [("user", "Hi."), ("user", "Again."), ("assistant", "Fine.")]


async def test_what_was_written_before_the_llm_failed_is_spoken_and_kept(room: Rooms) -> None:
    r = room(llm=FakeLlm(["This is all I know. And", LLM_FAILED]))
    r.session.answer_text("Tell me.")
    await r.session.settle()
    assert r.tts.said == ["This is all I know.", "And"]
    assert codes(r) == ["LLM_ERROR"]
    assert r.told()[-2:] == ["tts-complete", "error"]
    assert r.said()[1] == ("assistant", "This is all I know. And")


async def test_the_voice_fails_and_the_text_still_comes(room: Rooms) -> None:
    r = room(llm=FakeLlm("One sentence. Another sentence.", "Fine."), tts=FakeTts(TTS_FAILED))
    r.session.answer_text("Go.")
    await r.session.settle()
    assert r.all(LlmReply)[0].text == "One sentence. Another sentence."
    assert codes(r) == ["TTS_ERROR"] and "tts-start" not in r.told()
    assert len(r.tts.said) == 1, "what failed is not tried for each sentence"
    assert r.states()[-1] == "idle"
    r.session.answer_text("Again.")
    await r.session.settle()
    assert r.told()[-1] == "tts-complete"


async def test_the_voice_fails_in_the_middle(room: Rooms) -> None:
    r = room(llm=FakeLlm("One sentence. Another sentence."), tts=FakeTts(None, TTS_FAILED))
    r.session.answer_text("Go.")
    await r.session.settle()
    assert codes(r) == ["TTS_ERROR"]
    assert r.all(LlmReply)[0].text == "One sentence. Another sentence."
    assert r.said()[1] == ("assistant", "One sentence. Another sentence."), "the user has its text"
    assert "tts-complete" in r.told()


@pytest.mark.parametrize("part", ["stt", "llm", "tts"])
async def test_what_nobody_foresaw_is_an_internal_error(room: Rooms, part: str) -> None:
    bug = ZeroDivisionError("a bug")
    r = room(
        FakeStt(bug if part == "stt" else "Hi.", "Hi."),
        FakeLlm([bug] if part == "llm" else "Fine.", "Fine."),
        FakeTts(bug if part == "tts" else None),
    )
    await r.says()
    await r.session.settle()
    assert codes(r) == ["INTERNAL_ERROR"]
    assert "ZeroDivision" not in r.all(ErrorMessage)[0].message
    assert r.states()[-1] == "idle"
    await r.says()
    await r.session.settle()
    assert r.told()[-1] == "tts-complete", "and the session goes on"


async def test_a_broken_vad_is_told_once_and_may_recover(room: Rooms) -> None:
    r = room(FakeStt("Hi."))
    r.vad.error = VAD_FAILED

    async def frames() -> AsyncIterator[AudioFrame]:
        for number in range(150):
            if number == 50:
                r.vad.error = None
            yield loud(STEP) if number < 100 else silent(STEP)

    await r.session.listen(frames())
    await r.session.settle()
    assert codes(r) == ["VAD_ERROR"]
    assert r.said()[0] == ("user", "Hi.")


async def test_after_a_failed_turn_the_next_prompt_is_read_ahead_all_the_same(room: Rooms) -> None:
    r = room(llm=FakeLlm([LLM_FAILED]))
    r.session.answer_text("Go.")
    await r.session.settle()
    await asyncio.sleep(STEP)
    assert codes(r) == ["LLM_ERROR"]
    assert [message.content for message in r.llm.prepared[-1]][1:] == ["Go."]
