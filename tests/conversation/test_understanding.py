"""What takes no LLM: silence, the last answer again; each is a turn like any other."""

import pytest

from localvoice.conversation.phrases.understanding import Understanding
from tests.support.fakes import FakeLlm
from tests.support.session_room import Room, Rooms

pytestmark = pytest.mark.virtual_clock


async def say(r: Room, *words: str) -> None:
    for each in words:
        r.session.answer_text(each)
        await r.session.settle()


@pytest.mark.parametrize("words", ["Stop.", "Okay, be quiet, please.", "Never mind."])
async def test_a_stop_word_is_answered_by_silence(room: Rooms, words: str) -> None:
    r = room(llm=(llm := FakeLlm("Well.", "Hello.")))
    await say(r, "Talk.", words)
    assert r.said() == [("user", "Talk."), ("assistant", "Well."), ("user", words)]
    assert len(llm.asked) == 1 and r.told().count("tts-start") == 1
    await say(r, "Hi.")
    assert [message.content for message in llm.asked[1][1:]] == ["Talk.", "Well.", "Hi."]


async def test_the_last_answer_is_said_again(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm("It is blue.", "Yes.")))
    await say(r, "Pardon?", "What color is the sky?", "Sorry?", "Could you repeat that, please?")
    assert [text for role, text in r.said() if role == "assistant"] == [
        "I haven't said anything yet.", "It is blue.", "It is blue.", "It is blue.",
    ]  # fmt: skip
    await say(r, "Really?")
    assert [message.content for message in llm.asked[1][1:]] == [
        "What color is the sky?",
        "It is blue.",
        "Really?",
    ]


@pytest.mark.parametrize(("rule", "words"), [("stop", "Stop."), ("repeat", "Say that again.")])
async def test_each_rule_can_be_switched_off(room: Rooms, rule: str, words: str) -> None:
    r = room(llm=(llm := FakeLlm("Well.")), phrases={rule: False})
    await say(r, words)
    assert len(llm.asked) == 1


def test_an_own_persona_keeps_stop_words_and_repairs() -> None:
    own = Understanding(own_persona=True)
    assert own.of("Stop.", (), None) is not None and own.of("Sorry?", (), None) is not None
