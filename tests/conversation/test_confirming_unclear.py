"""An answer that is neither a clear yes nor a clear no: the agent asks once more, and then gives up."""

import asyncio

import pytest

from localvoice.contract.messages import ToolCallStart
from localvoice.tools.confirmation import GIVEN_UP, PATIENCE_SECONDS
from tests.support.fakes import FakeLlm, FakeStt
from tests.support.post import AGAIN, AGREED, QUESTION, Post, ask, call
from tests.support.post import post as post
from tests.support.session_room import STEP, Rooms, codes

pytestmark = pytest.mark.virtual_clock

UNCLEAR = ("Yes, but tomorrow.", "Yes, and also tell Ben.", "Yes, send it to Ben instead.", "Maybe.", "yes?")


@pytest.mark.parametrize("words", UNCLEAR)
async def test_after_an_unclear_answer_the_user_hears_what_is_expected(
    room: Rooms, post: Post, words: str
) -> None:
    llm = FakeLlm([call()], "It is sent.")
    r = room(llm=llm, tools=post.tools())
    await ask(r)
    await ask(r, words)
    assert r.tts.said == [QUESTION, AGAIN] and not post.sent and len(llm.asked) == 1
    assert r.said()[-2:] == [("user", words), ("assistant", AGAIN)]
    await ask(r, "Yes.")
    assert post.sent == [AGREED] and r.said()[-1] == ("assistant", "It is sent.")


async def test_after_a_second_one_the_agent_gives_up_and_answers(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call()], "It rains.", "Hm.")
    r = room(llm=llm, tools=post.tools())
    for words in ("Tell Anna that I'm late.", "What is the weather?", "I asked about the weather."):
        await ask(r, words)
    assert not post.sent and not r.all(ToolCallStart) and not codes(r)
    assert r.said()[-1] == ("assistant", f"{GIVEN_UP} It rains.")
    assert "neither yes nor no" in llm.asked[1][-1].content
    await ask(r, "Yes.")
    assert not post.sent, "what was given up can't be agreed to any more"


@pytest.mark.parametrize("before", [(), ("Maybe.",)])
@pytest.mark.parametrize("words", ["I have chest pain.", "Be quiet.", "Hold on."])
async def test_an_emergency_and_a_stop_word_go_before_the_question(
    room: Rooms, post: Post, words: str, before: tuple[str, ...]
) -> None:
    r = room(llm=FakeLlm([call()], "Hm?"), tools=post.tools())
    for each in ("Tell Anna that I'm late.", *before, words):
        await ask(r, each)
    assert r.said()[-1] == ("user", words) or "heart attack" in r.said()[-1][1]
    assert r.tts.said.count(AGAIN) == len(before) and not post.sent
    await ask(r, "Yes.")
    assert not post.sent and r.said()[-1] == ("assistant", "Hm?")


async def test_who_has_not_understood_the_question_hears_it_again_as_a_whole(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "It is sent."), tools=post.tools())
    for words in ("Tell Anna that I'm late.", "Sorry?", "Say that again.", "Maybe."):
        await ask(r, words)
    assert r.tts.said == [QUESTION, QUESTION, QUESTION, AGAIN] and not post.sent
    await ask(r, "Yes.")
    assert post.sent == [AGREED]


@pytest.mark.parametrize("answers", [("No.",), ("Perhaps.", "Perhaps not.")])
async def test_an_llm_that_calls_again_at_once_does_not_ask_again(
    room: Rooms, post: Post, answers: tuple[str, ...]
) -> None:
    llm = FakeLlm([call()], [call(call_id="call-2")], "All right.")
    r = room(llm=llm, tools=post.tools())
    for words in ("Tell Anna that I'm late.", *answers):
        await ask(r, words)
    assert r.said()[-1][1].endswith("All right.") and r.tts.said.count(QUESTION) == 1 and not post.sent
    assert "has just decided" in llm.asked[-1][-1].content


async def test_a_different_call_may_be_asked_about_at_once(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call()], [call(call_id="call-2", recipient="Ben", text="I'm late.")])
    r = room(llm=llm, tools=post.tools())
    for words in ("Tell Anna that I'm late.", "Tell Ben instead.", "No."):
        await ask(r, words)
    assert "to Ben?" in r.tts.said[-1] and not post.sent
    await ask(r, "Yes, send it.")
    assert post.sent == [("Ben", "I'm late.")]


async def test_an_unclear_answer_is_not_drafted_for(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call()])
    r = room(stt=FakeStt("Yes, the red one."), llm=llm, tools=post.tools())
    await ask(r)
    await r.says()
    await r.session.settle()
    assert len(llm.asked) == 1 and r.said()[-1] == ("assistant", AGAIN)


async def test_a_yes_amid_the_second_question_is_too_early(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "It is sent."), tools=post.tools())
    await ask(r)
    r.session.answer_text("Hm, well.")
    while r.playout.words()[0][-1:] != ["Shall"]:  # noqa: ASYNC110 - time jumps
        await asyncio.sleep(STEP / 4)
    await ask(r, "Yes.")
    assert r.tts.said == [QUESTION, AGAIN, AGAIN] and not post.sent
    await ask(r, "Yes.")
    assert post.sent == [AGREED]


async def test_an_unclear_answer_that_comes_too_late_is_an_ordinary_message(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "What?"), tools=post.tools())
    await ask(r)
    await asyncio.sleep(PATIENCE_SECONDS + 1)
    await ask(r, "Maybe.")
    assert r.said()[-1] == ("assistant", "What?") and not post.sent


async def test_a_yes_before_the_last_words_has_them_said_again(room: Rooms, post: Post) -> None:
    """The last words name the tool: until then an argument may have sounded like another question."""
    r = room(llm=FakeLlm([call()], "It is sent."), tools=post.tools())
    r.session.answer_text("Tell Anna.")
    while r.playout.words()[0][-1:] != ["Anna?"]:  # noqa: ASYNC110 - time jumps
        await asyncio.sleep(STEP / 4)
    await ask(r, "Yes.")
    assert r.tts.said == [QUESTION, AGAIN] and not post.sent and "tts-cancelled" in r.kinds()
    await ask(r, "Yes.")
    assert post.sent == [AGREED] and r.said()[-1] == ("assistant", "It is sent.")


async def test_a_no_may_come_before_the_last_words(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call()], "All right.")
    r = room(llm=llm, tools=post.tools())
    r.session.answer_text("Tell Anna.")
    while r.playout.words()[0][-1:] != ["Anna?"]:  # noqa: ASYNC110 - time jumps
        await asyncio.sleep(STEP / 4)
    await ask(r, "No.")
    assert "the user said no" in llm.asked[1][-1].content and not post.sent
