"""A session from frames to sound: turns, barge-in, failures, and the order of what the client is told.

All of it on a virtual clock: sound flows in and out in steps of 20 ms, and a delay is exact.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from fakes import (
    LLM_FAILED,
    STT_FAILED,
    TTS_FAILED,
    VAD_FAILED,
    WORD_SECONDS,
    FakeLlm,
    FakeStt,
    FakeTts,
    FakeVad,
    fake_engines,
    loud,
    silent,
)

from localvoice.agent.session import Session
from localvoice.agent.sessions import Conversation
from localvoice.audio.frames import AudioFrame
from localvoice.audio.playout import Playout
from localvoice.config import Settings, load_settings
from localvoice.contract.messages import (
    ErrorMessage,
    LlmReply,
    ReplyHeard,
    ServerMessage,
    StateMessage,
    TranscriptMessage,
    TurnMetrics,
)

pytestmark = pytest.mark.virtual_clock
RATE = 16_000
STEP = 0.02
ONSET, PAUSE, END = 0.096, 0.192, 0.512
"""Seconds, from the default settings."""
LONG = "This is a rather long reply, and it has many words. They go on. " * 5


class Room:
    """A user with a microphone and a loudspeaker, and the session between them."""

    def __init__(self, stt: FakeStt, llm: FakeLlm, tts: FakeTts, vad: FakeVad, settings: Settings) -> None:
        self.stt, self.llm, self.tts, self.vad = stt, llm, tts, vad
        self.messages: list[ServerMessage] = []
        self.times: list[float] = []
        self.played: list[tuple[float, bool]] = []
        self.playout = Playout(RATE)
        self.conversation = Conversation("test")
        engines = fake_engines(stt, llm, tts, vad)
        self.session = Session(self.conversation, engines, self.playout, self._emit, settings)

    def _emit(self, message: ServerMessage) -> None:
        self.messages.append(message)
        self.times.append(now())

    async def play(self) -> None:
        """The loudspeaker: reads for ever, in real time."""
        while True:
            self.played.append((now(), bool(self.playout.read(int(STEP * RATE)).any())))
            await asyncio.sleep(STEP)

    async def user(self, sound: AudioFrame) -> None:
        """Sound at the microphone, in real time."""
        step = int(STEP * RATE)
        for at in range(0, len(sound.samples), step):
            self.session.hear(AudioFrame(sound.samples[at : at + step], RATE))
            await asyncio.sleep(STEP)

    async def says(self, seconds: float = 0.6) -> None:
        """An utterance, with the silence that ends it."""
        await self.user(loud(seconds))
        await self.user(silent(END + 0.05))

    async def until(self, kind: str) -> None:
        """Wait for a message of this type."""
        async with asyncio.timeout(60):
            while kind not in self.kinds():  # noqa: ASYNC110 - time jumps
                await asyncio.sleep(STEP / 4)

    def kinds(self, *left_out: str) -> list[str]:
        return [message.type for message in self.messages if message.type not in left_out]

    def told(self) -> list[str]:
        """The stock client's messages in order, each run of chunks as one."""
        kinds = self.kinds("state", "turn-metrics", "reply-heard")
        return [kind for at, kind in enumerate(kinds) if kind != "llm-chunk" or kinds[at - 1] != kind]

    def states(self) -> list[str]:
        return [message.state for message in self.messages if isinstance(message, StateMessage)]

    def all(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def said(self) -> list[tuple[str, str]]:
        return [(message.role, message.content) for message in self.conversation.history.messages]

    def time_of(self, kind: str) -> float:
        return self.times[self.kinds().index(kind)]


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def room() -> AsyncIterator[Callable[..., Room]]:
    rooms: list[tuple[Room, asyncio.Task[None]]] = []

    def make(
        stt: FakeStt | None = None,
        llm: FakeLlm | None = None,
        tts: FakeTts | None = None,
        vad: FakeVad | None = None,
        **settings: Any,
    ) -> Room:
        made = Room(
            stt or FakeStt(), llm or FakeLlm(), tts or FakeTts(), vad or FakeVad(), Settings(**settings)
        )
        rooms.append((made, asyncio.create_task(made.play())))
        return made

    yield make
    for made, player in rooms:
        await made.session.close()
        player.cancel()
        assert not made.llm.running, "no reply goes on being written when nobody waits for it"


Rooms = Callable[..., Room]


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
    assert metrics.first_token_ms == pytest.approx(100, abs=1)
    # The transcription began at the pause; the first piece is four words.
    expected = 1000 * (PAUSE + 0.6 + 4 * 0.1 + 0.05)
    assert metrics.voice_to_voice_ms == pytest.approx(expected, abs=60)
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


async def test_a_reply_without_anything_to_say(room: Rooms) -> None:
    r = room(FakeStt("Hi.", "Hi."), FakeLlm("", "🙂"))
    await r.says()
    await r.session.settle()
    assert r.told() == ["speech-start", "speech-end", "transcript"]
    await r.says()
    await r.session.settle()
    assert "tts-start" not in r.told() and r.told()[-1] == "llm"
    assert r.states()[-1] == "idle"


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


# --- barge-in ---


async def test_speaking_while_it_speaks_stops_it(room: Rooms) -> None:
    r = room(FakeStt("Talk.", "Stop."), FakeLlm(LONG, "All right."))
    await r.says()
    await r.until("tts-start")
    await r.user(silent(1.0))
    barge_in = now()
    await r.user(loud(0.6))
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
    await r.user(silent(0.6))
    await r.session.settle()
    assert r.said()[2:] == [("user", "Stop."), ("assistant", "All right.")]
    assert r.states() == ["listening", "thinking", "speaking", "listening", "thinking", "speaking", "idle"]


async def test_nothing_is_heard_of_a_reply_between_barge_in_and_the_next(room: Rooms) -> None:
    """Whoever writes late must not be heard: the voice is slow here, and in mid-sentence."""
    r = room(FakeStt("Talk.", ""), FakeLlm(LONG), FakeTts(delay=0.2))
    await r.says()
    await r.until("tts-start")
    await r.says(0.3)
    stopped = r.time_of("tts-cancelled")
    await r.user(silent(2))
    assert not [at for at, sound in r.played if sound and at > stopped]


async def test_speaking_while_it_thinks_keeps_both_utterances(room: Rooms) -> None:
    r = room(FakeStt("What is", "the time?"), FakeLlm("Late.", "Ten.", delay=1.0))
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
        async def reply(self, *args: Any) -> Any:
            try:
                async for word in super().reply(*args):
                    yield word
            finally:
                await asyncio.sleep(1.5)

    r = room(FakeStt("Hi.", "Stop."), Slow(LONG, "Yes.", delay=0.1))
    await r.says()
    await r.until("tts-start")
    await r.says(0.2)
    await r.session.settle()
    assert r.told().count("tts-cancelled") == 1 and len(r.all(ReplyHeard)) == 1
    assert [who for who, _ in r.said()] == ["user", "assistant", "user", "assistant"]


async def test_an_interruption_by_noise_leaves_it_idle(room: Rooms) -> None:
    r = room(FakeStt("Talk.", ""), FakeLlm(LONG))
    await r.says()
    await r.until("tts-start")
    await r.says()
    await r.session.settle()
    assert r.states()[-1] == "idle"
    assert len(r.llm.asked) == 1


# --- failures ---


def codes(r: Room) -> list[str]:
    return [message.code for message in r.all(ErrorMessage)]


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


# --- closing ---


@pytest.mark.parametrize("seconds", [0, 0.1, 0.7, 0.9, 1.3, 1.8, 2.3, 2.5, 3.5, 30])
async def test_closing_in_every_state_leaves_nothing(room: Rooms, seconds: float) -> None:
    r = room(FakeStt("Hi.", delay=0.7), FakeLlm(LONG, delay=0.1), FakeTts(delay=0.1))
    before = asyncio.all_tasks()
    user = asyncio.create_task(r.says())
    await asyncio.sleep(seconds)
    user.cancel()
    await r.session.close()
    await asyncio.wait([user])
    assert asyncio.all_tasks() <= before
    await asyncio.sleep(STEP)
    assert not r.played[-1][1]
    await r.session.close()


async def test_closing_keeps_what_was_heard(room: Rooms) -> None:
    r = room(FakeStt("Hi."), FakeLlm(LONG))
    await r.says()
    await r.until("tts-start")
    await asyncio.sleep(1.0)
    await r.session.close()
    (who, text) = r.said()[1]
    assert who == "assistant" and 12 <= len(text.split()) <= 17


async def test_going_on_with_another_conversation(room: Rooms) -> None:
    r = room(llm=FakeLlm(LONG, "Fine."))
    r.session.answer_text("Talk.")
    await r.until("tts-start")
    await asyncio.sleep(0.5)
    other = Conversation("other")
    other.history.add_user("I am Ann.")
    other.history.add_assistant("Hello Ann.")
    await r.session.resume(other)
    assert r.states()[-1] == "idle"
    assert [who for who, _ in r.said()] == ["user", "assistant"], "the turn that ran ends in its own history"
    r.session.answer_text("Who am I?")
    await r.session.settle()
    assert [message.content for message in r.llm.asked[1][1:]] == ["I am Ann.", "Hello Ann.", "Who am I?"]
    assert np.all([message.role != "system" for message in other.history.messages])


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
        assert sum(llm.count_tokens(message.content) for message in asked) <= 400
    assert len(llm.asked[-1]) >= 4, "what fits is kept"
