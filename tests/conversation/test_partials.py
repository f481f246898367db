"""Words while they are being said: for captions, and for the LLM to read ahead. They decide nothing."""

import asyncio

import pytest

from localvoice.contract.errors import Component, ErrorCode, VoiceError
from localvoice.contract.messages import TranscriptMessage
from tests.support.fakes import FakeLlm, FakeStt, loud, silent
from tests.support.session_room import LONG, STEP, Room, Rooms

pytestmark = pytest.mark.virtual_clock

QUESTION = "Would you tell me how a volcano is made?"


def told(r: Room) -> list[tuple[str, bool]]:
    return [(message.text, message.is_final) for message in r.all(TranscriptMessage)]


async def test_what_is_said_is_told_while_it_is_said(room: Rooms) -> None:
    r = room(
        FakeStt("Would you tell me", QUESTION, delay=0.2), FakeLlm("Gladly."), listening={"partial_ms": 960}
    )
    await r.user(loud(1.5))
    assert told(r) == [("Would you tell me", False)]
    prompt = r.llm.prepared[-1]
    assert prompt[-1].content == "Would you tell me" and not r.llm.asked, "read ahead, and nothing is written"
    await r.user(silent(0.8))
    await r.session.settle()
    assert told(r) == [("Would you tell me", False), (QUESTION, True)]
    assert r.said() == [("user", QUESTION), ("assistant", "Gladly.")]


async def test_what_was_said_before_a_pause_is_told_when_the_user_goes_on(room: Rooms) -> None:
    r = room(FakeStt("Would you", "Would you stop?", delay=0.2), listening={"eager": False})
    await r.user(loud(0.5))
    await r.user(silent(0.1))
    await r.user(loud(0.3))
    assert told(r) == [("Would you", False)], "its transcription was under way, and is not thrown away"
    await r.user(silent(0.8))
    await r.session.settle()
    assert told(r)[1:] == [("Would you stop?", True)]


async def test_the_last_words_never_wait_for_those_before_them(room: Rooms) -> None:
    stt = FakeStt(QUESTION, delay=0.6)
    r = room(stt, listening={"partial_ms": 960})
    await r.user(loud(1.2))
    assert len(stt.heard) == 1 and stt.cancelled == 0, "the partial one is under way"
    await r.user(silent(0.1))
    assert len(stt.heard) == 2 and stt.cancelled == 1
    await r.user(silent(1.0))
    await r.session.settle()
    assert told(r) == [(QUESTION, True)]


async def test_one_at_a_time_and_none_if_not_wanted(room: Rooms) -> None:
    stt = FakeStt(delay=5)
    r = room(stt, listening={"partial_ms": 320})
    await r.user(loud(3))
    assert len(stt.heard) == 1
    await r.session.close()

    stt = FakeStt(delay=5)
    r = room(stt, listening={"partial_ms": 0})
    await r.user(loud(3))
    assert not stt.heard


async def test_one_that_fails_or_holds_no_words_is_not_told(room: Rooms) -> None:
    broken = VoiceError(ErrorCode.STT_ERROR, Component.STT, "The ears are broken.")
    r = room(FakeStt(broken, "", "Hello."), listening={"partial_ms": 640})
    await r.user(loud(1.6))
    await asyncio.sleep(STEP)
    assert len(r.stt.heard) == 2 and "error" not in r.kinds(), "the turn itself will tell"
    await r.user(silent(0.8))
    await r.session.settle()
    assert told(r) == [("Hello.", True)]


async def test_over_the_agents_voice_they_wait_until_it_is_an_interruption(room: Rooms) -> None:
    stt = FakeStt("Talk.", "Please stop", "Please stop talking.")
    r = room(stt, FakeLlm(LONG), listening={"partial_ms": 704, "interrupt_ms": 992})
    await r.says()
    await r.user(silent(0.6))
    await r.user(loud(0.9))
    assert told(r) == [("Talk.", True)], "it may be a cough"
    await r.user(loud(0.7))
    assert "tts-cancelled" in r.kinds() and told(r)[1:] == [("Please stop talking.", False)]
    await r.session.close()
