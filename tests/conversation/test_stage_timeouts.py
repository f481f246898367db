"""A stage runs out after an answer and in silence, never amid a turn; and what else crossed a turn's ends."""

import asyncio

import pytest

from localvoice import Playbook, TimeoutCondition, ToolCallCondition
from localvoice.contract.messages import StageChangeMessage
from localvoice.conversation.conversation import Conversation
from localvoice.engines.chat import ToolCall, ToolSpec
from localvoice.tools import Tool
from tests.support.fakes import FakeLlm, FakeStt, loud, silent
from tests.support.playbook_talk import stage, way
from tests.support.session_room import LONG, Rooms

pytestmark = pytest.mark.virtual_clock

SECONDS = 6.0


def playbook() -> Playbook:
    """Its first stage ends after 6 s, and takes what was said along."""
    return Playbook(
        id="p",
        name="p",
        initial_stage="a",
        stages=(stage("a", timeout_ms=1000 * SECONDS), stage("b")),
        transitions=(way("late", TimeoutCondition(), clear_history=True),),
    )


async def test_not_while_a_question_is_answered_that_cut_another_answer_short(room: Rooms) -> None:
    r = room(llm=FakeLlm(LONG, "One. " * 10, delay=0.8), playbook=playbook())
    r.session.answer_text("Talk.")
    await r.until("tts-start")
    r.session.answer_text("Count to ten.")
    await asyncio.sleep(SECONDS)
    assert r.all(StageChangeMessage) == []
    assert r.said()[-1] == ("user", "Count to ten."), "the question is there while it is answered"
    await r.session.settle()
    assert len(r.all(StageChangeMessage)) == 1


async def test_not_while_the_user_speaks(room: Rooms) -> None:
    r = room(FakeStt("What is my balance?"), playbook=playbook())
    r.session.answer_text("Talk.")
    await r.session.settle()
    await r.user(loud(SECONDS))
    assert r.all(StageChangeMessage) == []
    await r.user(silent(0.6))
    await r.session.settle()
    assert [message.reason for message in r.all(StageChangeMessage)] == ["timeout"]


async def test_not_while_the_user_speaks_over_the_answer(room: Rooms) -> None:
    llm = FakeLlm("One. " * 10, delay=0.65)
    r = room(FakeStt("mm-hm", delay=0.1), llm, playbook=playbook())
    r.session.answer_text("Count to ten.")
    await asyncio.sleep(SECONDS)
    await r.user(loud(0.7))  # the last word is written meanwhile
    assert not llm.running
    assert r.all(StageChangeMessage) == []
    await r.user(silent(1.0))
    await asyncio.sleep(3.0)
    assert [message.reason for message in r.all(StageChangeMessage)] == ["timeout"]


async def test_in_silence(room: Rooms) -> None:
    r = room(playbook=playbook())
    r.session.answer_text("Talk.")
    await r.session.settle()
    await asyncio.sleep(SECONDS)
    assert len(r.all(StageChangeMessage)) == 1


async def test_a_stage_that_begins_amid_an_answer_knows_the_question(room: Rooms) -> None:
    """The LLM has said something before the tool that leads on."""
    given = {"type": "object", "properties": {}}
    go = Tool(ToolSpec("go", "Goes on.", given), lambda *_: "gone")
    llm = FakeLlm(["Wait. ", ToolCall("1", "go", {})], "Here we are.")
    leads = way("on", ToolCallCondition(tool_name="go"), clear_history=True)
    stages = (stage("a", tools=("go",)), stage("b"))
    r = room(
        llm=llm,
        tools=[go],
        playbook=Playbook(id="p", name="p", initial_stage="a", stages=stages, transitions=(leads,)),
    )
    r.session.answer_text("Where are we?")
    await r.session.settle()
    assert [message.content for message in llm.asked[-1]][-1] == "Where are we?"


async def test_a_slow_disk_costs_no_tool_its_result(room: Rooms) -> None:
    """What is saved after a turn may still be on its way when the next turn waits for a tool."""

    async def slow(*_: object) -> str:
        await asyncio.sleep(1.0)
        return "four o'clock"

    async def save(_: Conversation) -> bool:
        await asyncio.sleep(0.5)
        return True

    clock = Tool(ToolSpec("clock", "Tells the time.", {"type": "object", "properties": {}}), slow)
    r = room(llm=FakeLlm("Hi.", [ToolCall("1", "clock", {})], "It is four."), tools=[clock], save=save)
    r.session.answer_text("Hello.")
    await r.session.settle()
    r.session.answer_text("What time is it?")
    await r.session.settle()
    assert ("tool", "four o'clock") in r.said()


async def test_an_announcement_waits_for_the_next_session_when_this_one_ends(room: Rooms) -> None:
    r = room(FakeStt("Hello.", delay=0.1))
    r.session.answer_utterance(loud(0.5))
    r.conversation.announce("Your timer has run out.")
    await r.session.close()
    assert r.said() == [("user", "Hello.")]
    assert r.conversation.announcements == ["Your timer has run out."]


async def test_what_was_no_interruption_in_one_conversation_is_none_of_the_next(room: Rooms) -> None:
    r = room(FakeStt("mm-hm", "Hello again."), FakeLlm(LONG, "Hello."))
    r.session.answer_text("Talk.")
    await r.until("tts-start")
    await r.user(loud(0.3))
    await r.user(silent(0.3))
    later = Conversation("later", r.agent.direct("later"))
    await r.session.resume(later)
    await r.user(silent(0.3))
    await r.session.settle()
    assert "error" not in r.kinds()
    assert [message.content for message in later.history.messages] == ["Hello again.", "Hello."]


async def test_what_was_said_first_is_noted_first_though_something_was_typed_meanwhile(room: Rooms) -> None:
    r = room(FakeStt("First.", "Second.", delay=2.0), FakeLlm(LONG, "Yes."))
    r.session.answer_text("Talk.")
    await r.until("tts-start")
    await r.says(0.1)
    await r.user(loud(0.1))
    await r.user(silent(0.2))
    r.session.answer_text("Typed.")
    await r.user(silent(0.5))
    await asyncio.sleep(5.0)
    await r.session.settle()
    assert [words for role, words in r.said() if role == "user"] == ["Talk.", "Typed.", "First.", "Second."]
