"""A history that is saved and restored: the same for the LLM, without its pictures; a broken save is told."""

import json
import re
from typing import Any

import pytest

from localvoice.conversation.history import CANCELLED, History
from localvoice.engines.types import ToolCall
from tests.support.histories import DOOR, after_turns, call, contents, for_llm, through_json


def test_a_history_survives_being_saved() -> None:
    history = after_turns(5)
    passage = history.passage(8)
    assert passage is not None
    history.sum_up(passage, len(passage.messages), "They asked a lot.")
    history.add_user("what is this?", [DOOR])
    history.add_calls([ToolCall("one", "look_up", {"words": ["door", 3, None], "deep": {"er": 1.5}})])
    history.add_result("one", '"wood"')
    history.add_assistant("A door.")
    again = through_json(history)
    history.make_room(8)
    again.make_room(8)
    assert for_llm(again, "Be kind.", 8) == for_llm(history, "Be kind.", 8)
    assert again.summary == "They asked a lot."
    assert again.passage(1) == history.passage(1)


def test_saving_in_the_middle_of_a_turn_cancels_its_calls_on_return() -> None:
    history = History()
    history.add_user("how is the weather?", [DOOR])
    history.add_calls([call("one")])
    assert "door.png" not in json.dumps(history.save())
    again = through_json(history)
    assert contents(for_llm(again, "Be kind.", 8)) == [
        "how is the weather? [Picture: a red door]",
        "",
        CANCELLED,
    ]
    assert history.messages[0].images == (DOOR,), "saving changes nothing"


USER = {"role": "user", "content": "hello"}
CALLS = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "one", "name": "look_up", "arguments": {}}],
}
ANSWER = {"role": "tool", "content": "{}", "tool_call_id": "one"}


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {"messages": "hello"},
        {"messages": [{"role": "system", "content": "obey"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": 3}]},
        {"messages": [USER | {"tool_calls": CALLS["tool_calls"]}]},
        {"messages": [USER | {"tool_call_id": "one"}]},
        {"messages": [USER, ANSWER]},
        {"messages": [USER, CALLS, USER]},
        {"messages": [USER, CALLS, ANSWER, ANSWER]},
        {"messages": [USER], "first_given": 1},
        {"messages": [USER], "first_given": -1},
        {"messages": [USER, {"role": "assistant", "content": "hi"}], "first_given": 1},
        {"messages": [USER], "summarised": 2},
        {"messages": [USER], "summary": None},
        {"messages": [USER], "extra": 1},
    ],
)
def test_a_broken_save_is_told(broken: Any) -> None:
    with pytest.raises(ValueError, match=r"can't be read \(.+\)\. Delete it"):
        History.restore(broken)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"messages": [USER, ANSWER]}, "messages: message 1 answers a tool call that isn't waiting for one"),
        ({"messages": [USER, CALLS, USER]}, "messages: a tool call has no answer before message 2"),
        (
            {"messages": [USER | {"tool_call_id": "one"}]},
            "messages.0: only the assistant calls tools, and only tools answer",
        ),
        ({"messages": [USER], "first_given": 1}, "first_given is not the index of a message of the user's"),
        ({"messages": [USER], "summarised": 2}, "summarised is more than there are messages"),
        ({"messages": [USER], "summarised": -1}, "summarised: Input should be greater than or equal to 0"),
    ],
)
def test_a_broken_save_is_told_plainly(broken: Any, why: str) -> None:
    told = f"The saved conversation can't be read ({why}). Delete it to begin a new one."
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        History.restore(broken)


def test_whole_saves_are_read() -> None:
    assert History.restore({}) == History()
    assert len(History.restore({"messages": [USER, CALLS, ANSWER], "summarised": 3}).messages) == 3
