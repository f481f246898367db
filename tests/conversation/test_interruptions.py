"""Speech over the agent's turn: what holds it, what cuts it short, and what it goes on after."""

import asyncio
from typing import Any

import pytest

from localvoice.application.hooks import Hooks
from localvoice.contract.errors import VoiceError
from localvoice.contract.messages import LlmReply, ReplyHeard, TranscriptMessage, TtsMessage
from localvoice.contract.metrics import Metric
from localvoice.engines.chat import ToolCall
from localvoice.tools import tool
from tests.support.fakes import STT_FAILED, WORD_SECONDS, FakeLlm, FakeStt, FakeTts, loud, silent
from tests.support.session_room import LONG, ONSET, PAUSE, STEP, Room, Rooms, codes, now

pytestmark = pytest.mark.virtual_clock

STT_SECONDS = 0.3
COUGH = 0.3
REPLY = "One two three four five. Six seven eight nine ten eleven. " * 5
QUESTION = "Here is some of it, and would you like to hear all of it? " + LONG


async def speaking(room: Rooms, *heard: str | Exception, reply: str = REPLY, **brought: Any) -> Room:
    """A session that has been speaking for a second; `heard` is what the STT makes of what comes."""
    brought.setdefault("stt", FakeStt("Talk.", *heard, delay=STT_SECONDS))
    r = room(llm=FakeLlm(reply, "As you like."), **brought)
    await r.says()
    await r.until("tts-start")
    await r.user(silent(1.0))
    assert sounds(r, now() - 0.1)
    return r


def sounds(r: Room, since: float, until: float = float("inf")) -> list[float]:
    return [at for at, sound in r.played if sound and since <= at < until]


@pytest.mark.parametrize("heard", ["", "Mm-hm.", "Yeah, okay.", "(laughs)", STT_FAILED])
async def test_what_is_no_interruption_costs_less_than_a_second(room: Rooms, heard: str | VoiceError) -> None:
    r = await speaking(room, heard)
    before = len(r.messages)
    onset = now()
    await r.user(loud(COUGH))
    await r.user(silent(2.0))
    ended = onset + COUGH
    held = max(sounds(r, onset, ended))
    assert held - onset <= ONSET + 0.032 + STEP, "silent at once"
    resumed = min(sounds(r, ended))
    assert resumed - ended == pytest.approx(PAUSE + STT_SECONDS, abs=0.06), "and on as soon as it is known"
    await r.session.settle()
    told = [message.type for message in r.messages[before:]]
    assert "tts-cancelled" not in told and "reply-heard" not in told and "transcript" not in told
    assert told.count("speech-start") == told.count("speech-end") == told.count("tts-complete") == 1
    assert r.states()[2:] == ["speaking", "listening", "speaking", "idle"]
    assert r.said() == [("user", "Talk."), ("assistant", r.all(LlmReply)[0].text)]
    assert codes(r) == (["STT_ERROR"] if heard is STT_FAILED else [])
    assert len(r.llm.asked) == 1 and not r.llm.closed
    assert not r.metrics.timings(Metric.BARGE_IN_STOP)


async def test_nothing_of_a_reply_is_lost_by_it(room: Rooms) -> None:
    r = await speaking(room, "Mm-hm.")
    await r.says(COUGH)
    await r.session.settle()
    # One word again, the one that was cut.
    words = len(REPLY.split())
    assert len(sounds(r, 0)) * STEP == pytest.approx((words + 1) * WORD_SECONDS, abs=WORD_SECONDS)


async def test_its_hooks_are_those_of_speech_alone(room: Rooms) -> None:
    seen: list[str] = []

    def hook(name: str) -> Any:
        return lambda *_: seen.append(name)

    watched = (
        "on_speech_start",
        "on_speech_end",
        "on_turn_start",
        "on_turn_end",
        "on_stt_start",
        "on_stt_end",
    )
    r = await speaking(room, "Mm-hm.", hooks=Hooks(**{name: hook(name) for name in watched}))
    seen.clear()
    await r.says(COUGH)
    await r.session.settle()
    await asyncio.sleep(STEP)
    assert seen == ["on_speech_start", "on_speech_end", "on_turn_end"]


async def test_a_word_cuts_it_short_when_it_is_known(room: Rooms) -> None:
    r = await speaking(room, "But why?")
    onset = now()
    await r.user(loud(COUGH))
    await r.user(silent(0.7))
    cut = r.time_of("tts-cancelled")
    assert max(sounds(r, onset - 1, cut)) - onset <= ONSET + 0.032 + STEP, "silent from the onset on"
    assert cut - onset == pytest.approx(COUGH + PAUSE + STT_SECONDS, abs=0.06)
    (stopped,) = r.metrics.timings(Metric.BARGE_IN_STOP)
    assert stopped == pytest.approx(1000 * ONSET, abs=33)
    await r.session.settle()
    (heard,) = r.all(ReplyHeard)
    assert REPLY.startswith(heard.text)
    assert r.said()[1:] == [("assistant", heard.text), ("user", "But why?"), ("assistant", "As you like.")]


async def test_long_speech_cuts_it_short_before_its_words_are_known(room: Rooms) -> None:
    r = await speaking(room, "Could you tell me something else instead?")
    onset = now()
    await r.user(loud(1.5))
    assert r.time_of("tts-cancelled") - onset == pytest.approx(1.0, abs=0.1)
    assert not r.llm.running and r.states()[-1] == "listening"


async def test_how_long_is_long_can_be_set(room: Rooms) -> None:
    r = await speaking(room, "Mm-hm.", listening={"interrupt_ms": 64})
    onset = now()
    await r.user(loud(COUGH))
    assert r.time_of("tts-cancelled") - onset <= ONSET + 0.032 + STEP


async def test_yes_after_a_question_is_an_answer(room: Rooms) -> None:
    r = room(FakeStt("Talk.", "Yeah.", delay=STT_SECONDS), FakeLlm(QUESTION, "Good."))
    await r.says()
    await r.until("tts-start")
    while not r.playout.heard().endswith("?"):
        await r.user(silent(STEP))
    await r.says(COUGH)
    await r.session.settle()
    assert [text for _, text in r.said()][2:] == ["Yeah.", "Good."]
    assert "tts-cancelled" in r.told()


async def test_whoever_goes_on_after_a_backchannel_is_heard(room: Rooms) -> None:
    r = await speaking(room, "Yeah.", "Yeah. But why?")
    await r.user(loud(COUGH))
    await r.user(silent(0.46))
    assert sounds(r, now() - 0.04), "it went on"
    again = now()
    await r.user(loud(COUGH))
    await r.user(silent(0.7))
    assert max(sounds(r, again - 1, again + COUGH)) - again <= 0.064 + STEP
    await r.session.settle()
    assert [message.text for message in r.all(TranscriptMessage)] == ["Talk.", "Yeah. But why?"]
    assert r.told().count("speech-end") == 2 and len(r.all(ReplyHeard)) == 1
    assert r.said()[-1] == ("assistant", "As you like.")


async def test_what_takes_long_to_understand_holds_it_until_then(room: Rooms) -> None:
    stt = FakeStt("Talk.", "Mm-hm.", "But why?")
    r = await speaking(room, stt=stt, reply=2 * LONG)
    stt.delay = 1.5
    for expected in ("speaking", "thinking"):
        onset = now()
        await r.says(COUGH)
        assert r.states()[-1] == "listening" and r.told()[-1] == "speech-end"
        assert not sounds(r, onset + 0.2)
        states = len(r.states())
        await r.user(silent(1.2))
        assert r.states()[states] == expected
    await r.session.settle()
    assert [text for _, text in r.said()][2:] == ["But why?", "As you like."]


async def test_utterances_that_come_quicker_than_words_are_all_kept(room: Rooms) -> None:
    stt = FakeStt("Talk.", "But why?", "Mm-hm.", "Tell me more.")
    r = await speaking(room, stt=stt)
    stt.delay = 2.0
    for _ in range(3):
        await r.says(COUGH)
    await r.session.settle()
    await r.user(silent(3.0))
    await r.session.settle()
    words = [text for role, text in r.said() if role == "user"]
    assert words in (["Talk.", "But why?", "Tell me more."], ["Talk.", "But why?", "Mm-hm.", "Tell me more."])
    assert r.said()[-1] == ("assistant", "As you like.")


async def test_a_cough_while_it_thinks_costs_nothing(room: Rooms) -> None:
    r = room(FakeStt("Talk.", "", delay=0.1), FakeLlm("Late, but here.", delay=0.6))
    await r.says()
    assert r.states()[-1] == "thinking"
    await r.says(COUGH)
    assert r.states()[-1] == "thinking", "again"
    await r.session.settle()
    assert len(r.llm.asked) == 1 and not r.llm.closed
    assert r.said() == [("user", "Talk."), ("assistant", "Late, but here.")]


async def test_the_voice_does_not_begin_while_the_user_speaks(room: Rooms) -> None:
    r = room(FakeStt("Talk.", "Mm-hm.", delay=0.1), FakeLlm("Here I am.", delay=0.3))
    await r.says()
    await r.user(loud(0.8))
    assert r.all(LlmReply) and "tts-start" not in r.told() and r.states()[-1] == "listening"
    await r.user(silent(0.6))
    await r.session.settle()
    assert "tts-complete" in r.told() and r.states()[-1] == "idle"


async def test_a_reply_that_was_never_heard_is_told_to_be_so(room: Rooms) -> None:
    r = room(FakeStt("Talk.", "But why?", delay=0.1), FakeLlm("Here I am.", "All right.", delay=0.3))
    await r.says()
    await r.says(0.8)
    await r.session.settle()
    assert [message.text for message in r.all(ReplyHeard)] == [""]
    assert "tts-cancelled" not in r.told()
    assert [text for _, text in r.said()] == ["Talk.", "But why?", "All right."]


async def test_no_tool_is_run_while_the_user_speaks(room: Rooms) -> None:
    ran: list[str] = []

    @tool
    def open_door() -> str:
        """Open the door."""
        ran.append("opened")
        return "open"

    call = ToolCall("c1", "open_door", {})
    for said, runs in (("Mm-hm.", 1), ("No, don't.", 0)):
        ran.clear()
        llm = FakeLlm([call], "Done.", delay=0.7)
        r = room(FakeStt("Open it.", said, delay=0.1), llm, tools=[open_door])
        await r.says()
        await r.user(loud(0.8))
        assert not ran
        await r.user(silent(0.6))
        await r.session.settle()
        assert len(ran) == runs


async def test_a_cough_while_it_still_transcribes_keeps_the_question(room: Rooms) -> None:
    r = room(FakeStt("First.", "", delay=1.0), FakeLlm("Yes."))
    await r.says(0.3)
    await r.says(0.2)
    await r.session.settle()
    assert r.said() == [("user", "First."), ("assistant", "Yes.")]


async def test_a_whole_reply_that_the_client_plays_is_stopped_at_once(room: Rooms) -> None:
    r = await speaking(room, "", agent={"streaming_speech": False})
    onset = now()
    await r.user(loud(COUGH))
    assert len(r.all(TtsMessage)) == 1
    assert r.time_of("tts-cancelled") - onset <= ONSET + 0.032 + STEP


async def test_typed_words_cut_short_what_is_held(room: Rooms) -> None:
    r = await speaking(room, "Mm-hm.")
    await r.user(loud(0.2))
    r.session.answer_text("Something else.")
    await r.user(loud(0.1))
    await r.user(silent(1.0))
    await r.session.settle()
    assert "tts-cancelled" in r.told()
    assert ("user", "Something else.") in r.said() and r.said()[2][1] == "Something else."


async def test_closing_keeps_what_is_nearly_understood(room: Rooms) -> None:
    stt = FakeStt("Talk.", "But why?")
    r = await speaking(room, stt=stt)
    stt.delay = 0.6
    await r.says(COUGH)
    await r.session.close()
    assert [role for role, _ in r.said()] == ["user", "assistant", "user"]
    assert r.said()[-1] == ("user", "But why?")


async def test_closing_does_not_wait_for_words_that_take_long(room: Rooms) -> None:
    stt = FakeStt("Talk.", "But why?")
    r = await speaking(room, stt=stt)
    stt.delay = 2.0
    await r.says(COUGH)
    closed = now()
    await r.session.close()
    assert now() - closed <= 0.25 and stt.cancelled == 1
    assert [role for role, _ in r.said()] == ["user", "assistant"]


async def test_a_reply_that_ends_while_it_is_held_leaves_the_words_to_be_answered(room: Rooms) -> None:
    r = room(FakeStt("Talk.", "Okay.", delay=STT_SECONDS), FakeLlm("Yes, I will.", "Fine."), FakeTts())
    await r.says()
    await r.until("tts-complete")
    await r.says(COUGH)
    await r.session.settle()
    assert [text for _, text in r.said()] == ["Talk.", "Yes, I will.", "Okay.", "Fine."]
