"""Barge-in: the user speaks or writes while a session thinks, transcribes or speaks."""

import asyncio
from typing import Any

import pytest

from localvoice.contract.messages import ErrorMessage, ReplyHeard
from tests.support.fakes import LLM_FAILED, WORD_SECONDS, FakeLlm, FakeStt, FakeTts, loud, silent
from tests.support.session_room import LONG, ONSET, STEP, Rooms, now

pytestmark = pytest.mark.virtual_clock


async def test_speaking_while_it_speaks_stops_it(room: Rooms) -> None:
    r = room(FakeStt("Talk.", "But why?"), FakeLlm(LONG, "All right."))
    await r.says()
    await r.until("tts-start")
    await r.user(silent(1.0))
    barge_in = now()
    await r.user(loud(0.6))
    await r.user(silent(0.2))
    silent_from = max(at for at, sound in r.played if sound)
    assert silent_from - barge_in <= ONSET + 0.032 + 2 * STEP
    begun = r.told().index("speech-start", 2)
    assert r.told()[begun : begun + 2] == ["speech-start", "tts-cancelled"]
    assert r.told().count("tts-cancelled") == 1 and "tts-complete" not in r.told()
    assert not r.llm.running
    heard = sum(sound for _, sound in r.played) * STEP
    (reply_heard,) = r.all(ReplyHeard)
    assert len(reply_heard.text.split()) == pytest.approx(heard / WORD_SECONDS, abs=2)
    assert " ".join(LONG.split()).startswith(reply_heard.text) and len(reply_heard.text) < len(LONG) / 2
    assert r.said() == [("user", "Talk."), ("assistant", reply_heard.text)]
    await r.user(silent(0.4))
    await r.session.settle()
    assert r.said()[2:] == [("user", "But why?"), ("assistant", "All right.")]
    assert r.states() == ["listening", "thinking", "speaking", "listening", "thinking", "speaking", "idle"]


async def test_nothing_is_heard_of_a_reply_between_barge_in_and_the_next(room: Rooms) -> None:
    """Whoever writes late must not be heard: the voice is slow here, and in mid-sentence."""
    r = room(FakeStt("Talk.", "But why?"), FakeLlm(LONG, [LLM_FAILED]), FakeTts(delay=0.2))
    await r.says()
    await r.until("tts-start")
    await r.says(0.3)
    stopped = r.time_of("tts-cancelled")
    await r.user(silent(2))
    assert not [at for at, sound in r.played if sound and at > stopped]


async def test_speaking_while_it_thinks_keeps_both_utterances(room: Rooms) -> None:
    r = room(FakeStt("What is", "the time?"), FakeLlm("Late.", "Ten.", delay=2.0))
    await r.says()
    assert r.llm.running == 1
    await r.says()
    await r.session.settle()
    assert r.llm.closed == 1
    assert r.said() == [("user", "What is"), ("user", "the time?"), ("assistant", "Ten.")]
    assert r.llm.asked[1][-1].content == "What is the time?"
    assert not r.all(ReplyHeard) and "tts-cancelled" not in r.told(), "nothing was to be heard yet"


async def test_speaking_while_it_still_transcribes_keeps_the_words(room: Rooms) -> None:
    r = room(FakeStt("First.", "Second.", "Third.", delay=2.5), FakeLlm("Yes."))
    for _ in range(3):
        await r.says(0.2)
    await r.session.settle()
    assert r.said() == [("user", "First."), ("user", "Second."), ("user", "Third."), ("assistant", "Yes.")]
    assert len(r.llm.asked) == 1


async def test_texts_in_the_same_instant_are_all_kept(room: Rooms) -> None:
    r = room(llm=FakeLlm("Yes."))
    for text in ("One.", "Two.", "Three."):
        r.session.answer_text(text)
    await r.session.settle()
    assert r.said() == [("user", "One."), ("user", "Two."), ("user", "Three."), ("assistant", "Yes.")]
    assert not r.all(ErrorMessage)


async def test_texts_in_the_same_instant_while_it_speaks(room: Rooms) -> None:
    r = room(llm=FakeLlm(LONG, "Yes."))
    r.session.answer_text("Talk.")
    await r.until("tts-start")
    await asyncio.sleep(0.5)
    for text in ("One.", "Two."):
        r.session.answer_text(text)
    await r.session.settle()
    (heard,) = r.all(ReplyHeard)
    assert r.said() == [
        ("user", "Talk."),
        ("assistant", heard.text),
        ("user", "One."),
        ("user", "Two."),
        ("assistant", "Yes."),
    ]
    assert r.told().count("tts-cancelled") == 1


async def test_an_llm_that_is_slow_to_close_is_told_once(room: Rooms) -> None:
    class Slow(FakeLlm):
        async def reply(self, *args: Any, **named: Any) -> Any:
            try:
                async for word in super().reply(*args, **named):
                    yield word
            finally:
                await asyncio.sleep(1.5)

    r = room(FakeStt("Hi.", "But why?"), Slow(LONG, "Yes.", delay=0.1))
    await r.says()
    await r.until("tts-start")
    await r.user(silent(0.3))
    await r.says(0.2)
    await r.session.settle()
    assert r.told().count("tts-cancelled") == 1 and len(r.all(ReplyHeard)) == 1
    assert [who for who, _ in r.said()] == ["user", "assistant", "user", "assistant"]


async def test_noise_after_a_reply_leaves_it_idle(room: Rooms) -> None:
    r = room(FakeStt("Talk.", ""), FakeLlm("Yes."))
    await r.says()
    await r.session.settle()
    await r.says()
    await r.session.settle()
    assert r.states()[-1] == "idle"
    assert len(r.llm.asked) == 1
