"""A session from frames to sound: its turns, and the order of what the client is told."""

import asyncio
import logging

import pytest

from localvoice.application.hooks import Hooks
from localvoice.contract.messages import ErrorMessage, LlmReply, TranscriptMessage, TurnMetrics
from localvoice.engines.chat import ToolCall
from localvoice.observability.hook_sets import logging_hooks
from localvoice.observability.log_context import show_transcripts
from localvoice.setting_sources import load_settings
from localvoice.tools import ToolError, tool
from tests.support.fakes import STT_FAILED, WORD_SECONDS, FakeLlm, FakeStt, FakeTts, loud, silent
from tests.support.session_room import END, PAUSE, STEP, Rooms, codes

pytestmark = pytest.mark.virtual_clock


# --- turns ---


async def test_a_spoken_turn_in_the_contracts_order(room: Rooms) -> None:
    r = room(FakeStt("How are you?"), FakeLlm("I am fine, thank you. And you?"))
    await r.says()
    await r.session.settle()
    assert r.told() == [
        "speech-start",
        "speech-end",
        "transcript",
        "llm-chunk",
        "tts-start",
        "llm-chunk",
        "llm",
        "tts-complete",
    ] or r.told() == [
        "speech-start",
        "speech-end",
        "transcript",
        "llm-chunk",
        "llm",
        "tts-start",
        "tts-complete",
    ]
    assert r.states() == ["listening", "thinking", "speaking", "idle"]
    chunks = [message for message in r.messages if message.type == "llm-chunk"]
    assert "".join(chunk.content for chunk in chunks) == r.all(LlmReply)[0].text  # type: ignore[attr-defined]
    assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]  # type: ignore[attr-defined]
    assert r.said() == [("user", "How are you?"), ("assistant", "I am fine, thank you. And you?")]
    assert [message.role for message in r.llm.asked[0]] == ["system", "user"]


async def test_tts_complete_comes_when_the_last_has_been_played(room: Rooms) -> None:
    r = room(llm=FakeLlm("One two three four five six seven."))
    r.session.answer_text("Count.")
    await r.session.settle()
    heard = [at for at, sound in r.played if sound]
    assert len(heard) * STEP == pytest.approx(7 * WORD_SECONDS, abs=2 * STEP)
    assert r.time_of("tts-complete") >= heard[-1]
    assert r.time_of("tts-start") <= heard[0]
    assert r.states()[-1] == "idle" and r.times[-1] >= heard[-1]


async def test_the_next_prompt_begins_with_the_last(room: Rooms) -> None:
    r = room(FakeStt("One?", "Two?"), FakeLlm("First.  Two  spaces.", "Second."))
    await r.says()
    await r.session.settle()
    await r.says()
    await r.session.settle()
    first, second = r.llm.asked
    assert second[: len(first)] == first
    assert second[len(first)].content == "First.  Two  spaces.", "to the letter, for the LLM's cache"


async def test_the_llm_has_read_all_but_the_last_message_before_it_is_asked(room: Rooms) -> None:
    r = room()
    for number in range(12):
        await asyncio.sleep(STEP)
        read = r.llm.prepared[-1]
        r.session.answer_text(f"Question {number}.")
        await r.session.settle()
        assert r.llm.asked[-1][:-1] == read, "also where some of the past was forgotten"


async def test_it_speaks_while_it_still_writes(room: Rooms) -> None:
    r = room(llm=FakeLlm("This is the beginning, and this is a long end of it.", delay=0.1))
    r.session.answer_text("Go.")
    await r.session.settle()
    assert r.kinds().index("tts-start") < r.kinds().index("llm")


async def test_a_typed_turn_is_answered_by_text_and_voice(room: Rooms) -> None:
    r = room(llm=FakeLlm("Fine."))
    r.session.answer_text("How are you?")
    await r.session.settle()
    assert r.told() == ["llm-chunk", "llm", "tts-start", "tts-complete"]
    assert r.states() == ["thinking", "speaking", "idle"]
    assert r.said() == [("user", "How are you?"), ("assistant", "Fine.")]
    assert not r.stt.heard


async def test_each_turn_says_that_it_begins(room: Rooms) -> None:
    r = room(tts=FakeTts(delay=1.0))
    r.session.answer_text("One.")
    await asyncio.sleep(0.2)  # written, and not yet aloud
    r.session.answer_text("Two.")
    await r.session.settle()
    assert r.states() == ["thinking", "thinking", "speaking", "idle"]


async def test_nothing_of_a_reply_comes_after_the_next_turn_has_begun(room: Rooms) -> None:
    word_seconds = 0.01
    r = room(llm=FakeLlm(" ".join(["one"] * 50), "Two.", delay=word_seconds), tts=FakeTts(delay=1.0))
    r.session.answer_text("One.")
    await r.until("llm-chunk")
    before = len(r.messages)
    # At the very moment at which the next word is there, and its task has yet to run.
    asyncio.get_running_loop().call_later(word_seconds, r.session.answer_text, "Two.")
    await asyncio.sleep(2 * word_seconds)
    await r.session.settle()
    kinds = [message.type for message in r.messages[before:]]
    assert kinds[:2] == ["state", "reply-heard"], "and no llm-chunk between them"


async def test_a_whole_utterance_at_another_rate(room: Rooms) -> None:
    r = room(FakeStt("Hello."))
    r.session.answer_utterance(loud(1.0, 48_000))
    await r.session.settle()
    assert r.told()[0] == "transcript"
    (speech,) = r.stt.heard
    assert (speech.rate, len(speech.samples)) == (16_000, 16_000)


async def test_where_the_time_went(room: Rooms) -> None:
    r = room(FakeStt("Hi.", delay=0.6), FakeLlm("Well, hello to you.", delay=0.1), FakeTts(delay=0.05))
    await r.says(0.64)
    await r.session.settle()
    (metrics,) = r.all(TurnMetrics)
    assert metrics.stt_ms == pytest.approx(600, abs=1)
    assert metrics.endpoint_ms == pytest.approx(1000 * END, abs=50)
    # The transcription began at the pause; the first piece is four words.
    assert metrics.transcript_ms == pytest.approx(1000 * (PAUSE + 0.6), abs=50)
    assert metrics.first_token_ms == pytest.approx(metrics.transcript_ms + 100, abs=1)
    assert metrics.first_piece_ms == pytest.approx(metrics.first_token_ms + 300, abs=1)
    assert metrics.voice_to_voice_ms == pytest.approx(metrics.first_piece_ms + 50, abs=20)
    audible = next(at for at, sound in r.played if sound)
    assert r.time_of("turn-metrics") == pytest.approx(audible, abs=STEP)


async def test_silence_and_noise_are_no_turn(room: Rooms) -> None:
    r = room(FakeStt(""))
    await r.user(silent(2))
    assert r.messages == []
    await r.says()
    await r.session.settle()
    assert r.told() == ["speech-start", "speech-end"]
    assert r.states() == ["listening", "thinking", "idle"]
    assert not r.llm.asked and not r.said()


# --- what the LLM is asked ---


async def test_the_agents_settings_reach_the_llm(room: Rooms) -> None:
    r = room(agent={"system_prompt": "You are a pirate.", "history_messages": 2})
    for _ in range(4):
        r.session.answer_text("Hi.")
        await r.session.settle()
    assert all(asked[0].content == "You are a pirate." for asked in r.llm.asked)
    assert all(len(asked) <= 3 for asked in r.llm.asked)


async def test_a_conversation_too_long_for_the_context_forgets_its_beginning(room: Rooms) -> None:
    llm = FakeLlm(*["fine"] * 6)
    llm.context_tokens = load_settings().agent.max_tokens + 400
    r = room(llm=llm)
    for number in range(6):
        r.session.answer_text(f"{number} " + "word " * 99)
        await r.session.settle()
    assert codes(r) == []
    for number, asked in enumerate(llm.asked):
        assert asked[-1].content.startswith(f"{number} ")
        assert llm.prompt_tokens(asked) <= 400
    assert len(llm.asked[-1]) >= 4, "what fits is kept"


# --- transcribing ahead ---


async def test_the_transcription_begins_at_the_pause_and_is_used(room: Rooms) -> None:
    r = room(FakeStt("Hi.", delay=END - PAUSE - 0.05))
    await r.says()
    await r.session.settle()
    assert len(r.stt.heard) == 1
    assert r.time_of("transcript") - r.time_of("speech-end") < STEP


async def test_the_transcription_is_dropped_when_the_user_goes_on(room: Rooms) -> None:
    r = room(FakeStt("I mean this.", delay=1.0))
    await r.user(loud(0.5))
    await r.user(silent(0.35))
    assert len(r.stt.heard) == 1
    await r.says(0.5)
    await r.session.settle()
    assert [speech.seconds > 1.3 for speech in r.stt.heard] == [False, True]
    assert r.stt.cancelled == 1
    assert [message.text for message in r.all(TranscriptMessage)] == ["I mean this."]


async def test_a_dropped_transcription_that_failed_is_nobodys_business(room: Rooms) -> None:
    r = room(FakeStt(STT_FAILED, "Yes."))
    await r.user(loud(0.5))
    await r.user(silent(0.35))
    await r.says(0.5)
    await r.session.settle()
    assert not r.all(ErrorMessage)
    assert r.said()[0] == ("user", "Yes.")


async def test_nothing_that_anyone_says_is_logged(room: Rooms, caplog: pytest.LogCaptureFixture) -> None:
    r = room(FakeStt("my secret question"), FakeLlm("A private answer.", "Another one."))
    with caplog.at_level(logging.DEBUG):
        await r.says()
        await r.session.settle()
        r.session.answer_text("a typed confession")
        await r.session.settle()
    assert len(r.all(LlmReply)) == 2
    for words in ("secret", "private", "Another", "confession"):
        assert words not in caplog.text


SECRET = "quincunx"


async def test_nor_do_hooks_tools_and_failures_log_it(room: Rooms, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong with words often quotes them."""

    @tool
    def repeat(words: str) -> str:
        """Say it again."""
        return f"{SECRET} {words}"

    @tool
    def stumble(words: str) -> str:
        """Fail."""
        raise ToolError(f"I can't bear the {words}")

    @tool
    def fall(words: str) -> str:
        """Fail in a way that nobody foresaw."""
        raise KeyError(words)

    def complain(*given: object) -> None:
        raise ValueError(f"{SECRET}: {given}")

    hooks = Hooks.combine(
        logging_hooks("debug"), Hooks(on_stt_end=complain, on_llm_end=complain, on_tool_end=complain)
    )
    calls = [ToolCall(name, name, {"words": SECRET}) for name in ("repeat", "stumble", "fall")]
    llm = FakeLlm(calls, f"A {SECRET} answer.", [f"A {SECRET}", ValueError(SECRET)], f"{SECRET} again.")
    r = room(FakeStt(f"my {SECRET} question"), llm, hooks=hooks, tools=[repeat, stumble, fall])
    with caplog.at_level(logging.DEBUG):
        await r.says()
        await r.session.settle()
        for words in (f"a {SECRET} in writing", f"another {SECRET}", "Forget that."):
            r.session.answer_text(words)
            await r.session.settle()
    assert {"TOOL_ERROR", "INTERNAL_ERROR"} <= set(codes(r)), "all of it went wrong"
    assert caplog.text.count("complain failed with ValueError") >= 4
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text


async def test_what_failed_is_logged_with_its_words_if_they_are_wanted(
    room: Rooms, caplog: pytest.LogCaptureFixture
) -> None:
    def complain(*given: object) -> None:
        raise ValueError("of my own making")

    show_transcripts(True)
    try:
        r = room(hooks=Hooks(on_llm_end=complain))
        r.session.answer_text("Hi.")
        await r.session.settle()
    finally:
        show_transcripts(False)
    assert "ValueError: of my own making" in caplog.text
