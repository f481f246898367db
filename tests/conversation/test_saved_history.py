"""A history that is saved and restored: the same for the LLM, without its pictures; a broken save is told."""

import json
import re
from typing import Any

import pytest

from localvoice.conversation.history import CANCELLED, History
from localvoice.engines.chat import ToolCall
from tests.support.histories import DOOR, after_turns, call, contents, for_llm, noted, through_json


def test_a_history_survives_being_saved() -> None:
    history = after_turns(5)
    history.add_user("My name is Ada.")
    history.add_assistant("Hello, Ada.")
    history.add_user("And now?")
    history.add_assistant("Now, too.")
    history.make_room(2, 1000)
    history.add_user("what is this?", [DOOR])
    history.add_calls([ToolCall("one", "look_up", {"words": ["door", 3, None], "deep": {"er": 1.5}})])
    history.add_result("one", '"wood"')
    history.add_assistant("A door.")
    again = through_json(history)
    history.make_room(8, 1000)
    again.make_room(8, 1000)
    assert for_llm(again, "Be kind.", 8) == for_llm(history, "Be kind.", 8)
    assert noted(again) == noted(history) == "My name is Ada."
    assert again == history


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
        {"messages": [USER], "notes": [{"place": 0, "end": 1, "lines": []}]},
        {"messages": [USER], "notes": [{"place": 2, "end": 0, "lines": []}]},
        {"messages": [USER], "notes": [{"place": 0, "end": 0, "lines": [3]}]},
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
        (
            {"messages": [USER], "notes": [{"place": 0, "end": 1, "lines": []}]},
            "the notes don't end, in order, at messages of the user's",
        ),
        (
            {"messages": [USER], "notes": [{"place": 2, "end": 0, "lines": []}]},
            "a note's place is behind the last message",
        ),
    ],
)
def test_a_broken_save_is_told_plainly(broken: Any, why: str) -> None:
    told = f"The saved conversation can't be read ({why}). Delete it to begin a new one."
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        History.restore(broken)


def test_whole_saves_are_read() -> None:
    assert History.restore({}) == History()
    assert len(History.restore({"messages": [USER, CALLS, ANSWER], "summarised": 3}).messages) == 3


def test_what_version_0_3_saved_is_read_with_what_the_user_told() -> None:
    said = [
        {"role": "user", "content": "My name is Ada. What time is it?"},
        {"role": "assistant", "content": "Noon."},
        {"role": "user", "content": "And now?"},
    ]
    old = {"messages": said, "summary": "They like tea. The user is Ada.", "summarised": 2, "first_given": 2}
    history = History.restore(old | {"base": "They like tea.", "dropped": 1})
    remember = "Remember what I told you earlier. They like tea. My name is Ada."
    assert contents(for_llm(history, "Be kind.", 8)) == [remember, "Yes, I remember.", "And now?"]
    assert history.exchanges == 3
    assert through_json(history) == history
    assert history.forget_last() and noted(history) == "They like tea.", "what is given again isn't noted"
    assert contents(for_llm(history, "Be kind.", 8))[:2] == ["My name is Ada. What time is it?", "Noon."]


def test_of_a_long_past_only_the_end_is_read_again_after_a_restart() -> None:
    history = History()
    for number in range(40):
        history.add_user(f"My number {number} is {'long ' * 20}")
        history.add_assistant("I see.")
    whole = for_llm(history, "Be kind.", None)
    again = through_json(history)
    prompt = for_llm(again, "Be kind.", None, notes=3000)
    assert len(whole) == 81 and 20 < len(prompt) < 40
    assert prompt[-3] == whole[-1] and "My number 0 is" in prompt[-2].content
