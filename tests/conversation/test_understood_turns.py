"""What takes no LLM is a turn like any other: hooks, captions, history; and the manner of speaking stays."""

import pytest

from localvoice.contract.messages import Forgotten, LlmReply, TranscriptMessage
from localvoice.languages import templates
from tests.support.fakes import FakeLlm, FakeStt
from tests.support.hook_recorder import Recorder
from tests.support.session_room import Room, Rooms

pytestmark = pytest.mark.virtual_clock


async def say(r: Room, *words: str) -> None:
    for each in words:
        r.session.answer_text(each)
        await r.session.settle()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("Who are you?", "localvoice"),
        ("What can you do?", "explain things"),
        ("I have chest pain.", "112"),
        ("Play some music.", "can't play music"),
        ("Goodbye.", "Goodbye."),
        ("Thanks.", "welcome"),
    ],
)
async def test_a_known_answer_is_a_turn_with_hooks_captions_and_history(
    room: Rooms, words: str, answer: str
) -> None:
    recorder = Recorder()
    r = room(FakeStt(words), llm=(llm := FakeLlm("Yes.")), hooks=recorder.hooks())
    await r.says()
    await r.session.settle()
    called = [name for name in recorder.names() if not name.startswith(("on_speech", "on_tts"))]
    assert called == ["on_turn_start", "on_stt_start", "on_stt_end", "on_turn_end"] and not llm.asked
    assert [message.text for message in r.all(TranscriptMessage)] == [words]
    (reply,) = r.all(LlmReply)
    assert answer in reply.text and r.said() == [("user", words), ("assistant", reply.text)]
    await say(r, "And then?")
    assert [message.content for message in llm.asked[0][1:]] == [words, reply.text, "And then?"]


async def test_a_stop_word_is_silence_with_hooks_and_the_next_turn_goes_on(room: Rooms) -> None:
    recorder = Recorder()
    r = room(FakeStt("Be quiet."), llm=(llm := FakeLlm()), hooks=recorder.hooks())
    await r.says()
    await r.session.settle()
    assert not llm.asked and not r.tts.said and not r.all(LlmReply) and r.states()[-1] == "idle"
    assert {"on_turn_start", "on_stt_end", "on_turn_end"} <= set(recorder.names())
    assert r.said() == [("user", "Be quiet.")]


async def test_what_is_forgotten_does_not_wait_for_other_sentences(room: Rooms) -> None:
    r = room(llm=FakeLlm("Plum it is."))
    await say(r, "My secret is plum.")
    assert _kept_utterances()
    await say(r, "Forget everything.")
    assert not _kept_utterances()


def _kept_utterances() -> int:
    return templates._heard.cache_info().currsize


@pytest.mark.parametrize("aside", ["Stop.", "What?", "Louder."])
async def test_a_stop_word_goes_with_what_was_said_before_it(room: Rooms, aside: str) -> None:
    r = room(llm=FakeLlm("Hello Tom.", "Plum it is."))
    await say(r, "I am Tom.", "My secret is plum.", aside, aside, "Forget that.")
    assert r.said() == [("user", "I am Tom."), ("assistant", "Hello Tom.")]
    assert [each.exchanges for each in r.all(Forgotten)] == [3] and r.all(LlmReply)[-1].text == "Forgotten."
    await say(r, "Louder.", "Forget that.", "Forget that.")
    assert r.said() == [] and r.all(LlmReply)[-1].text == "There is nothing to forget."
