"""Half of a character, as Python has it in names of files: it comes from the application, and breaks nothing.

Neither a message nor a file can hold one.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from localvoice import Playbook, Stage, StageContext
from localvoice.application.hooks import Hooks, Rejection
from localvoice.contract.messages import ErrorMessage, ToolCallEnd
from localvoice.conversation.conversations import _record_of
from localvoice.engines.chat import ToolCall, ToolSpec
from localvoice.tools import Tool, ToolContext, ToolError
from tests.support.fakes import FakeLlm
from tests.support.session_room import Room, Rooms, codes

pytestmark = pytest.mark.virtual_clock

HALF = "caf\udce9"


def tool(handler: Callable[..., Any]) -> Tool:
    return Tool(ToolSpec("it", "Does it.", {"type": "object"}), handler)


def sent(r: Room) -> str:
    """All that a client gets, as it is sent."""
    return b"\n".join(message.encode().encode() for message in r.messages).decode()


def saved(r: Room) -> str:
    return _record_of(r.conversation).model_dump_json()


async def called(room: Rooms, handler: Callable[..., Any] = lambda *_: "fine", **brought: Any) -> Room:
    r = room(llm=FakeLlm([ToolCall("1", "it", {})], "Done."), tools=[tool(handler)], **brought)
    r.session.answer_text("Do it.")
    await r.session.settle()
    assert r.said()[-1][1].endswith("Done.")
    sent(r)
    saved(r)
    return r


@pytest.mark.parametrize("error", [ValueError(f"There is no {HALF}."), ToolError(HALF)])
async def test_in_the_error_of_a_tool(room: Rooms, error: Exception) -> None:
    def fails(*_: object) -> None:
        raise error

    r = await called(room, fails)
    assert codes(r) == ["TOOL_ERROR"] and "caf?" in r.said()[-2][1]
    assert "caf?" in r.all(ToolCallEnd)[0].error and "caf?" in r.all(ErrorMessage)[0].message


async def test_in_the_reason_of_a_rejection(room: Rooms) -> None:
    def rejects(*_: object) -> None:
        raise Rejection(HALF, say=f"Not in the {HALF}.")

    r = await called(room, hooks=Hooks(on_tool_start=rejects))
    assert codes(r) == ["TOOL_ERROR"] and "Not in the caf?." in r.tts.said


async def test_in_what_is_announced(room: Rooms) -> None:
    def announces(arguments: object, context: ToolContext) -> str:
        context.announce(3, f"The {HALF} is open.")
        context.announce(600, f"The {HALF} is shut.")
        return "set"

    r = await called(room, announces)
    await asyncio.sleep(5)
    await r.session.settle()
    assert r.said()[-1] == ("assistant", "The caf? is open.") and codes(r) == []
    sent(r)
    assert "The caf? is shut." in saved(r)


async def test_in_the_data_of_a_playbook(room: Rooms) -> None:
    """It is left out of what is saved, as is all that JSON can't hold."""

    def enters(context: StageContext) -> None:
        context.data.update(place=HALF, time="noon")

    stage = Stage(id="a", name="a", system_prompt="Talk of the {place}.", on_enter=enters)
    r = room(playbook=Playbook(id="p", name="p", initial_stage="a", stages=(stage,)))
    r.session.answer_text("Hello.")
    await r.session.settle()
    assert codes(r) == [] and "noon" in saved(r)
