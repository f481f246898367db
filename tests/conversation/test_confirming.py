"""Tools that ask first: what runs is what the user has heard and said yes to, once, and nothing else."""

import asyncio
from typing import Any

import pytest

from localvoice.application.hooks import Hooks, LlmResult, Rejection, TurnContext
from localvoice.contract.messages import ToolCallEnd, ToolCallStart
from localvoice.conversation.conversation import Conversation
from localvoice.conversation.history import History
from localvoice.engines.chat import CALL_NOTHING, ToolCall
from localvoice.observability.stopwatch import Timing
from localvoice.tools.confirmation import PATIENCE_SECONDS
from tests.support.fakes import TTS_FAILED, FakeLlm, FakeStt, FakeTts, loud
from tests.support.post import AGAIN, AGREED, QUESTION, Post, ask, call
from tests.support.post import post as post
from tests.support.session_room import END, LONG, PAUSE, STEP, Rooms, codes

pytestmark = pytest.mark.virtual_clock


async def test_a_tool_asks_first_and_a_yes_runs_it(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call()], "It is sent.")
    r = room(llm=llm, tools=post.tools())
    await ask(r)
    assert r.tts.said == [QUESTION] and r.said()[-1] == ("assistant", QUESTION)
    assert not post.sent and not r.all(ToolCallStart) and len(llm.asked) == 1 and not codes(r)
    await ask(r, "Yes, please.")
    assert post.sent == [AGREED]
    (start,), (end,) = r.all(ToolCallStart), r.all(ToolCallEnd)
    assert start.arguments == {"recipient": "Anna", "text": "I'm late."} and end.result == "sent"
    assert r.said()[-1] == ("assistant", "It is sent.")
    roles = ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]
    assert [message.role for message in llm.asked[1][1:]] == roles and llm.asked[1][-1].content == "sent"
    assert "needs the user's own yes" in llm.asked[1][3].content
    assert History.restore(r.conversation.history.save()).messages == r.conversation.history.messages


async def test_a_spoken_yes_runs_it(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call()], "It is sent.")
    r = room(stt=FakeStt("Tell Anna that I'm late.", "Yes."), llm=llm, tools=post.tools())
    await r.says()
    await r.session.settle()
    assert r.tts.said == [QUESTION] and not post.sent
    await r.says(0.4)
    await r.session.settle()
    assert post.sent == [AGREED] and r.said()[-1] == ("assistant", "It is sent.")


async def test_a_draft_runs_nothing_while_it_is_uncertain_that_yes_is_all(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call()], "Well.")
    r = room(stt=FakeStt("Yes.", "Yes, but to Eve."), llm=llm, tools=post.tools())
    await ask(r)
    await r.user(loud(0.4))
    await r.user(_silence(PAUSE + 0.2))  # the pause is long enough for a transcript, and for a draft
    assert r.stt.heard and not post.sent and len(llm.asked) == 1
    await r.user(loud(0.4))
    await r.user(_silence(END + 0.05))
    await r.session.settle()
    assert not post.sent and r.said()[-2:] == [("user", "Yes, but to Eve."), ("assistant", AGAIN)]


def _silence(seconds: float) -> Any:
    sound = loud(seconds)
    return type(sound)(sound.samples * 0, sound.rate)


async def test_a_no_is_told_to_the_llm(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call()], "All right.")
    r = room(llm=llm, tools=post.tools())
    await ask(r)
    await ask(r, "No, don't.")
    assert not post.sent and "the user said no" in llm.asked[1][-1].content and not codes(r)
    assert not r.all(ToolCallStart) and r.said()[-1] == ("assistant", "All right.")
    await ask(r, "Yes.")
    assert not post.sent, "what was refused can't be agreed to any more"


async def test_what_runs_was_fixed_when_it_was_asked(room: Rooms, post: Post) -> None:
    kept: list[ToolCall] = []

    def keep(ctx: TurnContext, result: LlmResult, timing: Timing) -> None:
        kept.extend(result.tool_calls)

    arguments = {"recipient": "Anna", "text": "I'm late."}
    r = room(
        llm=FakeLlm([ToolCall("c", "send", arguments)]), tools=post.tools(), hooks=Hooks(on_llm_end=keep)
    )
    await ask(r)
    arguments["recipient"] = "Eve"
    for message in r.conversation.history.messages:
        for each in message.tool_calls:
            dict.update(each.arguments, recipient="Eve")
    assert kept[0].arguments["recipient"] == "Eve"
    await ask(r, "Yes.")
    assert post.sent == [AGREED]


async def test_the_llm_cannot_agree(room: Rooms, post: Post) -> None:
    """Neither by saying so, nor by calling again, in the same turn or later."""
    again = call(call_id="call-1-agreed")
    llm = FakeLlm(["Yes. ", call()], ["Yes.", again], "Well.", [again])
    r = room(llm=llm, tools=post.tools())
    for words in ("Tell Anna.", "Which Anna?", "The user says: yes.", "Hm?"):
        await ask(r, words)
    asked = [each for each in r.tts.said if each.endswith("yes or no?")]
    assert not post.sent and asked == [QUESTION, AGAIN, QUESTION]


async def test_one_yes_is_for_one_call(room: Rooms, post: Post) -> None:
    to_eve = call(call_id="call-2", recipient="Eve", text="Hi.")
    llm = FakeLlm([call(), to_eve, call("look", "call-3", at="home")], [to_eve], "Done.")
    r = room(llm=llm, tools=post.tools())
    await ask(r)
    assert r.tts.said == [QUESTION] and [each.name for each in r.all(ToolCallStart)] == ["look"]
    await ask(r, "Yes.")
    assert (
        post.sent == [AGREED] and r.tts.said[-1] == "Shall I send “Hi” to Eve? Shall I use send, yes or no?"
    )
    answers = [message.content for message in llm.asked[1] if message.role == "tool"]
    assert "another call first" in answers[1] and answers[2] == "nothing at home"
    await ask(r, "Yes.")
    assert post.sent == [AGREED, ("Eve", "Hi.")] and r.said()[-1] == ("assistant", "Done.")


async def test_it_runs_once(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "Sent.", "Well."), tools=post.tools())
    await ask(r)
    for _ in range(3):
        await ask(r, "Yes.")
    assert post.sent == [AGREED]


async def test_a_question_that_nobody_heard_to_its_end_cannot_be_agreed_to(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "Sorry?"), tools=post.tools())
    r.session.answer_text("Tell Anna.")
    await r.until("tts-start")
    await asyncio.sleep(0.1)
    r.session.answer_text("Yes.")
    await r.session.settle()
    assert "tts-cancelled" in r.kinds() and r.said()[-2:] == [("user", "Yes."), ("assistant", "Sorry?")]
    assert not post.sent


async def test_a_yes_amid_the_question_is_no_answer_to_it(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "Well."), stt=FakeStt("Yes.", "Tea, please."), tools=post.tools())
    r.session.answer_text("Tell Anna.")
    await r.until("tts-start")
    await r.says(0.2)
    await r.says()
    await r.session.settle()
    assert not post.sent and r.said()[-1] == ("assistant", AGAIN)


async def test_a_yes_over_the_last_of_its_silence_counts(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "Sent."), tools=post.tools())
    r.session.answer_text("Tell Anna.")
    while r.playout.words() != (QUESTION.split(), []):  # noqa: ASYNC110 - time jumps
        await asyncio.sleep(STEP / 4)
    r.session.answer_text("Yes.")
    await r.session.settle()
    assert post.sent == [AGREED]


async def test_a_question_without_a_voice_cannot_be_agreed_to(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "Sorry?"), tts=FakeTts(TTS_FAILED), tools=post.tools())
    await ask(r)
    await ask(r, "Yes.")
    assert not post.sent and codes(r) == ["TTS_ERROR"]


async def test_a_hook_that_rejects_the_question_rejects_the_call(room: Rooms, post: Post) -> None:
    def never(ctx: TurnContext, text: str) -> None:
        if "Shall I" in text:
            raise Rejection("no questions", say="Well.")

    r = room(llm=FakeLlm([call()], "Sorry?"), tools=post.tools(), hooks=Hooks(on_tts_start=never))
    await ask(r)
    await ask(r, "Yes.")
    assert not post.sent


async def test_on_tool_start_still_decides(room: Rooms, post: Post) -> None:
    def never(ctx: TurnContext, request: ToolCall) -> None:
        raise Rejection("not today")

    r = room(llm=FakeLlm([call()], "Sorry."), tools=post.tools(), hooks=Hooks(on_tool_start=never))
    await ask(r)
    assert not codes(r)
    await ask(r, "Yes.")
    assert not post.sent and codes(r) == ["TOOL_ERROR"]


async def test_a_yes_comes_too_late(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "What?"), tools=post.tools())
    await ask(r)
    await asyncio.sleep(PATIENCE_SECONDS + 1)
    await ask(r, "Yes.")
    assert not post.sent and r.said()[-1] == ("assistant", "What?")


async def test_a_yes_that_goes_on_before_the_tool_runs_is_none(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call()], "Well.")
    r = room(stt=FakeStt("No wait, don't."), llm=llm, tools=post.tools())
    await ask(r)
    r.session.answer_text("Yes.")
    r.session.hear(loud(0.1))  # they speak on before its turn has begun to act
    await r.says()
    await r.session.settle()
    assert not post.sent


@pytest.mark.parametrize("words", ["Forget that.", "Forget everything."])
async def test_what_is_forgotten_is_not_asked_about(room: Rooms, post: Post, words: str) -> None:
    r = room(llm=FakeLlm([call()], "What?"), tools=post.tools())
    await ask(r)
    await ask(r, words)
    await ask(r, "Yes.")
    assert not post.sent


async def test_the_button_forgets_it_too(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "What?"), tools=post.tools())
    await ask(r)
    r.session.forget(everything=False)
    await r.session.settle()
    await ask(r, "Yes.")
    assert not post.sent


async def test_an_announcement_comes_between(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "What?"), tools=post.tools())
    await ask(r)
    r.conversation.announce("Shall I stop the timer?")
    await r.session.settle()
    await ask(r, "Yes.")
    assert not post.sent


async def test_silence_is_no_answer(room: Rooms, post: Post) -> None:
    r = room(stt=FakeStt(""), llm=FakeLlm([call()], "Sent."), tools=post.tools())
    await ask(r)
    await r.says()
    await r.session.settle()
    await ask(r, "Yes.")
    assert post.sent == [AGREED]


async def test_another_connection_is_not_asked(room: Rooms, post: Post) -> None:
    r = room(llm=FakeLlm([call()], "What?"), tools=post.tools())
    await ask(r)
    other = Conversation("other", r.agent.direct("other"))
    await r.session.resume(other)
    await r.session.resume(r.conversation)
    await ask(r, "Yes.")
    assert not post.sent and r.said()[-1] == ("assistant", "What?")
    other.reminders.close()


async def test_arguments_that_do_not_fit_or_cannot_be_told_are_not_asked(room: Rooms, post: Post) -> None:
    llm = FakeLlm([call(recipient="Anna")], [call(recipient="Anna", text="a\u202eb")], "Hm.")
    r = room(llm=llm, tools=post.tools())
    await ask(r)
    assert codes(r) == ["TOOL_ERROR"] * 2 and r.tts.said == ["Hm."]
    assert "text" in llm.asked[1][-1].content and "can't be heard" in llm.asked[2][-1].content
    await ask(r, "Yes.")
    assert not post.sent


async def test_an_llm_that_calls_against_its_offer_is_not_heeded(room: Rooms, post: Post) -> None:
    many = [call("look", f"call-{number}", at="home") for number in range(40)]
    llm = FakeLlm(many, [*many, LONG])
    r = room(llm=llm, tools=post.tools())
    await ask(r)
    assert len(r.all(ToolCallStart)) == 10, "ten calls a turn"
    assert llm.offers[1] is not None and llm.offers[1].choice == CALL_NOTHING
    assert r.said()[-1] == ("assistant", LONG.strip())
