"""Tools whose sentences are known are called without the LLM; tools with cues are told of only after one."""

from typing import Annotated

import pytest
from pydantic import Field

from localvoice.engines.chat import CALL_OR_NOTHING, ToolCall
from localvoice.tools import Tool, ToolError, tool
from tests.support.fakes import FakeLlm
from tests.support.session_room import Room, Rooms, codes

pytestmark = pytest.mark.virtual_clock


@tool(
    phrases=["open [the] {door} door"],
    follow_ups=["and [the] {door} [door]", "{count} more"],
    cues=["door", "gate"],
    speaks=True,
)
def open_door(door: str, count: Annotated[int, Field(ge=1)] = 1) -> str:
    """Open a door."""
    if door == "cellar":
        raise ToolError("The cellar is locked.")
    return f"The {door} door is open, {count} times."


@tool(cues=["mail"])
def read_mail() -> list[str]:
    """Read the mail."""
    return ["Hello from Anna."]


async def say(r: Room, *words: str) -> None:
    for each in words:
        r.session.answer_text(each)
        await r.session.settle()


def replies(r: Room) -> list[str]:
    return [text for role, text in r.said() if role == "assistant" and text]


async def test_a_known_sentence_calls_its_tool_which_speaks_for_itself(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm()), tools=[open_door])
    await say(r, "Open the front door, please.", "And the back door!", "2 more.")
    assert llm.asked == [] and replies(r)[0] == "The front door is open, 1 times."
    assert replies(r)[1:] == ["The back door is open, 1 times.", "The back door is open, 2 times."]
    assert [role for role, _ in r.said()][:4] == ["user", "assistant", "tool", "assistant"]
    assert r.told()[:2] == ["tool-call-start", "tool-call-end"]


async def test_a_sentence_whose_places_do_not_fit_goes_to_the_llm(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm("I see.", "Good.", "Well.")), tools=[open_door])
    await say(r, "Open the front door.", "No, all of them.")
    assert [offer is None for offer in llm.offers] == [False], "it may still be a call"
    await say(r, "How are you?", "And the garden?")
    assert replies(r)[-2:] == ["Good.", "Well."], "what follows another turn is no follow-up"


async def test_what_a_tool_can_not_do_is_said_as_it_is(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm()), tools=[open_door])
    await say(r, "Open the cellar door.")
    assert replies(r) == ["The cellar is locked."] and llm.asked == [] and codes(r) == ["TOOL_ERROR"]


async def test_without_a_cue_the_llm_is_told_of_no_tools(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm("Fine.")), tools=[open_door, read_mail])
    await say(r, "How are you?")
    assert llm.offers == [None] and replies(r) == ["Fine."]


async def test_after_a_cue_it_chooses_apart_and_then_talks(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm([], "It is an old word.")), tools=[open_door, read_mail])
    await say(r, "Where does the word gate come from?")
    chosen, talked = llm.offers
    assert chosen is not None and chosen.choice == CALL_OR_NOTHING and talked is None
    assert len(chosen.tools) == 2 and chosen.among == ("open_door",), "no tool without a cue is called"
    assert llm.asides == [True, False], "what was read of the talk stays"
    assert replies(r) == ["It is an old word."]


async def test_the_choice_sees_the_last_exchange_only(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm("One.", "Two.", [], "Three.")), tools=[read_mail])
    await say(r, "First.", "Second.", "Is there mail?")
    assert [message.content for message in llm.asked[2][1:]] == ["Second.", "Two.", "Is there mail?"]
    assert len(llm.asked[3]) == 6, "the talk has all of it"


async def test_a_call_that_does_not_speak_is_put_in_words_by_the_llm(room: Rooms) -> None:
    r = room(
        llm=(llm := FakeLlm([ToolCall("1", "read_mail", {})], [], "Anna says hello.")), tools=[read_mail]
    )
    await say(r, "Read my mail.")
    assert [offer is None for offer in llm.offers] == [False, False, True]
    assert llm.asked[2][-1].role == "tool" and replies(r) == ["Anna says hello."]


async def test_a_turn_after_a_call_may_call_without_a_cue(room: Rooms) -> None:
    calls = [[ToolCall(door, "open_door", {"door": door})] for door in ("side", "top")]
    r = room(llm=FakeLlm(*calls, "Fine."), tools=[open_door])
    await say(r, "I want the door at the side.", "Now do the same at the top for us.", "How are you?")
    assert replies(r)[:2] == ["The side door is open, 1 times.", "The top door is open, 1 times."]
    assert r.llm.offers[-1] is None, "what has nothing to do with it costs no question about tools"


async def test_a_tool_without_cues_keeps_all_of_them_in_the_prompt(room: Rooms) -> None:
    @tool
    def ring() -> str:
        """Ring."""
        return "rung"

    r = room(llm=(llm := FakeLlm("Fine.")), tools=[open_door, ring])
    await say(r, "How are you?")
    assert len(llm.offers) == 1 and llm.offers[0] is not None


@pytest.mark.parametrize(
    ("sentence", "complaint"), [("open {window}", "window"), ("open [the {door}", "leaves a bracket open")]
)
def test_a_sentence_that_can_not_be_is_refused(sentence: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Tool(open_door.spec, open_door.handler, phrases=(sentence,))
