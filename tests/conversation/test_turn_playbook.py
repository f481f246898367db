"""A playbook in a live session: stages, messages, limits of time and turns."""

import asyncio
from typing import Any

import pytest

from localvoice import Playbook, Transition
from localvoice.contract.messages import StageChangeMessage
from localvoice.engines.chat import ToolCall
from localvoice.tools import tool
from tests.support.fakes import FakeLlm
from tests.support.hook_recorder import Recorder
from tests.support.session_room import LONG, Rooms, codes

pytestmark = pytest.mark.virtual_clock


@tool
def find_table(people: int) -> str:
    """Find a free table."""
    return f"A table for {people} is free."


def booking(**changes: Any) -> Playbook:
    """Ask, then confirm."""
    return Playbook.model_validate(
        {
            "id": "booking",
            "name": "Booking",
            "initialStage": "ask",
            "globalTools": ["find_table"],
            "stages": [
                {"id": "ask", "name": "Ask", "systemPrompt": "Ask for how many.", **changes.pop("ask", {})},
                {"id": "confirm", "name": "Confirm", "systemPrompt": "Confirm it."},
            ],
            "transitions": [
                {
                    "id": "found",
                    "from": "ask",
                    "condition": {"type": "tool_call", "toolName": "find_table"},
                    "action": {"targetStage": "confirm", **changes},
                },
                {
                    "id": "bored",
                    "from": "ask",
                    "condition": {"type": "timeout"},
                    "action": {"targetStage": "confirm", "transitionMessage": "Are you still there?"},
                },
                {
                    "id": "enough",
                    "from": "ask",
                    "condition": {"type": "max_turns"},
                    "action": {"targetStage": "confirm"},
                },
            ],
        }
    )


def changes(r: Any) -> list[tuple[str, str]]:
    return [(each.from_, each.to) for each in r.all(StageChangeMessage)]


FOUND = [ToolCall("call-1", "find_table", {"people": 2})]


async def test_a_tool_call_leads_to_the_next_stage_which_answers(room: Rooms) -> None:
    recorder = Recorder()
    llm = FakeLlm(FOUND, "Booked.")
    r = room(llm=llm, tools=[find_table], playbook=booking(), hooks=recorder.hooks())
    r.session.answer_text("A table for two, please.")
    await r.session.settle()
    assert [
        asked[0].content.endswith(words) for asked, words in zip(llm.asked, ("many.", "it."), strict=True)
    ]
    assert "Confirm it." in llm.asked[1][0].content and changes(r) == [("ask", "confirm")]
    assert r.told()[:3] == ["tool-call-start", "tool-call-end", "stage-change"]
    staged = [
        name for name, _ in recorder.calls if "stage" in name or "playbook" in name or name == "on_transition"
    ]
    assert staged == [
        "on_stage_enter",
        "on_stage_exit",
        "on_transition",
        "on_stage_enter",
        "on_playbook_complete",
        "on_playbook_turn_end",
    ]


async def test_a_transition_message_is_spoken_before_the_answer(room: Rooms) -> None:
    llm = FakeLlm(FOUND, "It is at noon.")
    r = room(llm=llm, tools=[find_table], playbook=booking(transitionMessage="One moment."))
    r.session.answer_text("A table for two, please.")
    await r.session.settle()
    assert r.tts.said == ["One moment.", "It is at noon."]
    assert r.said()[-1] == ("assistant", "One moment. It is at noon.")


async def test_clear_history_forgets_what_came_before(room: Rooms) -> None:
    llm = FakeLlm("For how many?", FOUND, "Done.")
    r = room(llm=llm, tools=[find_table], playbook=booking(clearHistory=True))
    for words in ("Hello.", "Two."):
        r.session.answer_text(words)
        await r.session.settle()
    assert [message.content for message in llm.asked[-1][1:]] == ["Two."]


async def test_a_stage_runs_out_of_time_while_nobody_speaks(room: Rooms) -> None:
    llm = FakeLlm("For how many?")
    r = room(llm=llm, tools=[find_table], playbook=booking(ask={"timeoutMs": 5000}))
    r.session.answer_text("Hello.")
    await r.session.settle()
    assert not changes(r)
    await asyncio.sleep(6)
    await r.session.settle()
    assert changes(r) == [("ask", "confirm")] and r.tts.said[-1] == "Are you still there?"


async def test_a_stage_ends_after_its_turns(room: Rooms) -> None:
    r = room(tools=[find_table], playbook=booking(ask={"maxTurns": 2}))
    for number in range(2):
        assert not changes(r), number
        r.session.answer_text("Hello.")
        await r.session.settle()
    assert changes(r) == [("ask", "confirm")]


@pytest.mark.parametrize("interrupted", [False, True])
async def test_the_words_of_a_change_of_stage_are_not_spoken_after_an_interruption(
    room: Rooms, interrupted: bool
) -> None:
    playbook = booking(ask={"maxTurns": 1})
    *others, enough = playbook.transitions
    action = enough.action.model_copy(update={"transition_message": "That is enough."})
    transitions = (*others, enough.model_copy(update={"action": action}))
    r = room(
        llm=FakeLlm(LONG, delay=0.05),
        tools=[find_table],
        playbook=playbook.model_copy(update={"transitions": transitions}),
    )
    r.session.answer_text("Hello.")
    await r.until("tts-start")
    await asyncio.sleep(1)
    if interrupted:
        await r.says()
    await r.session.settle()
    assert changes(r) == [("ask", "confirm")]
    assert ("That is enough." in r.tts.said) is not interrupted


async def test_an_interrupted_turn_counts(room: Rooms) -> None:
    recorder = Recorder()
    llm = FakeLlm(LONG, delay=0.05)
    r = room(llm=llm, tools=[find_table], playbook=booking(ask={"maxTurns": 1}), hooks=recorder.hooks())
    r.session.answer_text("Hello.")
    await r.until("tts-start")
    await asyncio.sleep(1)
    await r.says()
    await r.session.settle()
    assert changes(r) == [("ask", "confirm")]
    ((_, heard, _), *_) = recorder.of("on_playbook_turn_end")
    assert heard and LONG.startswith(heard)


async def test_a_failing_handler_is_told_and_the_turn_goes_on(room: Rooms) -> None:
    def judge(*_: Any) -> bool:
        raise RuntimeError("bug")

    playbook = booking()
    own = Transition.model_validate(
        {
            "id": "own",
            "from": "ask",
            "condition": {"type": "custom", "evaluate": judge},
            "action": {"targetStage": "confirm"},
        }
    )
    playbook = playbook.model_copy(update={"transitions": (*playbook.transitions, own)})
    r = room(llm=FakeLlm("Hello."), tools=[find_table], playbook=playbook)
    r.session.answer_text("Hello.")
    await r.session.settle()
    assert set(codes(r)) == {"PLAYBOOK_ERROR"} and r.said()[-1] == ("assistant", "Hello.")


async def test_a_handler_that_cancels_its_own_task_ends_no_conversation(room: Rooms) -> None:
    async def odd(context: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    playbook = booking(ask={"onEnter": odd})
    r = room(llm=FakeLlm("For how many?", "Two."), tools=[find_table], playbook=playbook)
    for words in ("A table, please.", "For two."):
        r.session.answer_text(words)
        await r.session.settle()
    assert [text for who, text in r.said() if who == "assistant"] == ["For how many?", "Two."]
