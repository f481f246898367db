"""What the LLM is given of the past."""

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.agent.history import CANCELLED, History
from localvoice.engines.protocols import ChatMessage, Image, ToolCall

PROMPT = ChatMessage("system", "Be kind.")
DOOR = Image(b"door", "image/png", "a red door")


def after_turns(count: int) -> History:
    history = History()
    for turn in range(count):
        history.add_user(f"question {turn}")
        history.add_assistant(f"answer {turn}")
    return history


def call(call_id: str) -> ToolCall:
    return ToolCall(call_id, "look_up", {"word": call_id})


def contents(messages: list[ChatMessage]) -> list[str]:
    return [message.content for message in messages[1:]]


def roles(messages: list[ChatMessage]) -> list[str]:
    return [message.role for message in messages]


def test_all_of_a_short_past_is_given() -> None:
    history = after_turns(1)
    history.add_user("and now?")
    given_ = history.for_llm("Be kind.", 8)
    assert given_[0] == PROMPT
    assert contents(given_) == ["question 0", "answer 0", "and now?"]
    assert roles(given_[1:]) == ["user", "assistant", "user"]


def test_what_one_side_said_in_a_row_is_one_message() -> None:
    history = History()
    for text in ("wait", "no", "go on"):
        history.add_user(text)
    history.add_assistant("Well,")
    history.add_assistant("then.")
    assert contents(history.for_llm("Be kind.", 8)) == ["wait no go on", "Well, then."]


def test_the_agents_greeting_is_not_given() -> None:
    history = History()
    history.add_assistant("Hello, how can I help?")
    assert history.for_llm("Be kind.", 8) == [PROMPT]
    history.add_user("hi")
    assert contents(history.for_llm("Be kind.", 8)) == ["hi"]


def test_the_past_is_forgotten_in_blocks_so_that_the_prompt_keeps_its_beginning() -> None:
    """The LLM's cache holds as long as the prompt begins with the same words."""
    history = History()
    before: list[ChatMessage] = []
    read_anew = 0
    for turn in range(40):
        history.add_user(f"question {turn}")
        now = history.for_llm("Be kind.", 8)
        read_anew += now[: len(before)] != before
        before = now
        history.add_assistant(f"answer {turn}")
    assert read_anew <= 40 / 2.5


def test_room_is_made_between_turns_so_that_the_next_message_pushes_nothing_out() -> None:
    history = after_turns(4)
    history.make_room(8)
    before = history.for_llm("Be kind.", 8)
    history.add_user("and now?")
    now = history.for_llm("Be kind.", 8)
    assert contents(before) == ["question 2", "answer 2", "question 3", "answer 3"]
    assert now[:-1] == before


@given(st.lists(st.sampled_from(["user", "assistant"]), max_size=60), st.integers(1, 10))
def test_limits_hold_whatever_was_said(sides: list[str], limit: int) -> None:
    history = History()
    for number, side in enumerate(sides):
        if side == "assistant":
            history.add_assistant(f"{number}")
            continue
        history.add_user(f"{number}")
        messages = history.for_llm("Be kind.", limit)
        assert messages[0] == PROMPT
        said = " ".join(contents(messages)).split()
        assert 1 <= len(said) <= limit
        assert said == [str(each) for each in range(number - len(said) + 1, number + 1)], (
            "the latest, in order"
        )
        assert roles(messages[1:]) == ["user", "assistant"] * (len(messages) // 2 - 1) + ["user"]
    assert len(history.messages) == len(sides), "nothing is forgotten in the history itself"


# Tools.


def test_calls_and_their_answers_belong_to_their_turn() -> None:
    history = History()
    for turn in range(3):
        history.add_user(f"question {turn}")
        history.add_calls((call(f"a{turn}"), call(f"b{turn}")))
        history.add_result(f"b{turn}", '"second"')
        history.add_result(f"a{turn}", '"first"')
        history.add_assistant(f"answer {turn}")
    all_of_it = history.for_llm("Be kind.", 6)
    assert roles(all_of_it[1:]) == ["user", "assistant", "tool", "tool", "assistant"] * 3
    assert [message.tool_call_id for message in all_of_it[3:5]] == ["b0", "a0"]
    history.make_room(6)
    assert roles(history.for_llm("Be kind.", 6)[1:]) == ["user", "assistant", "tool", "tool", "assistant"], (
        "three messages are kept, and the prompt begins with the user's"
    )


def test_a_long_tool_loop_never_pushes_out_its_own_question() -> None:
    history = after_turns(3)
    history.add_user("look it all up")
    for number in range(10):
        history.add_calls([call(str(number))])
        history.add_result(str(number), "{}")
    messages = history.for_llm("Be kind.", 1)
    assert contents(messages)[0] == "look it all up"
    assert len(messages) == 2 + 2 * 10


@pytest.mark.parametrize(
    "then", [lambda history: history.add_user("stop"), lambda history: history.make_room(8)]
)
def test_calls_that_were_interrupted_are_answered_as_cancelled(then: Callable[[History], None]) -> None:
    history = History()
    history.add_user("how is the weather?")
    history.add_calls([call("one"), call("two")])
    history.add_result("two", '"rain"')
    then(history)
    answers = {
        each.tool_call_id: each.content for each in history.for_llm("Be kind.", 8) if each.role == "tool"
    }
    assert answers == {"two": '"rain"', "one": CANCELLED}
    assert "cancelled" in json.loads(CANCELLED)["error"]


def test_an_answer_that_comes_too_late_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    history = History()
    history.add_user("how is the weather?")
    history.add_calls([call("one")])
    history.add_user("never mind")
    before = list(history.messages)
    with caplog.at_level(logging.DEBUG, "localvoice.agent.history"):
        history.add_result("one", '"rain"')
    assert history.messages == before
    assert "too late" in caplog.text


def test_calls_stay_apart_from_what_the_assistant_says() -> None:
    history = History()
    history.add_user("how is the weather?")
    history.add_assistant("One moment.")
    history.add_calls([call("one")])
    history.add_result("one", "{}")
    history.add_calls([call("two")])
    history.add_result("two", "{}")
    assert roles(history.for_llm("Be kind.", 8)[1:]) == [
        "user",
        "assistant",
        "assistant",
        "tool",
        "assistant",
        "tool",
    ]


def test_no_calls_are_no_message() -> None:
    with pytest.raises(ValueError, match="no call"):
        History().add_calls([])


def test_old_turns_go_whole_until_the_prompt_fits() -> None:
    history = History()
    for turn in range(3):
        history.add_user(f"question {turn}")
        history.add_calls([call(str(turn))])
        history.add_result(str(turn), "x" * 100)
        history.add_assistant("yes")
    history.add_user("and now?")

    def fits(messages: list[ChatMessage]) -> bool:
        return sum(len(message.content) for message in messages) < 200

    messages = history.for_llm("Be kind.", 8, fits)
    assert roles(messages) == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert messages[3].content == "x" * 100, "answers are cut only where forgetting is not enough"


def test_a_tools_answer_that_passes_the_context_alone_is_cut() -> None:
    history = after_turns(2)
    history.add_user("read it to me")
    history.add_calls([call("one")])
    history.add_result("one", "x" * 50_000)

    def fits(messages: list[ChatMessage]) -> bool:
        return sum(len(message.content) for message in messages) < 2000

    messages = history.for_llm("Be kind.", 8, fits)
    assert contents(messages) == ["read it to me", "", "x" * 1000 + "…"]
    assert len(history.messages[-1].content) == 50_000, "only the prompt is cut"


# Pictures.


def test_only_the_pictures_of_the_users_latest_words_are_given() -> None:
    history = History()
    history.add_user("what is this?", [DOOR, Image(b"more")])
    assert history.for_llm("Be kind.", 8)[1].images[0] is DOOR
    history.add_user("I mean the left one")
    merged = history.for_llm("Be kind.", 8)[1]
    assert merged.content == "what is this? I mean the left one"
    assert merged.images[0] is DOOR, "nobody has answered yet"
    history.add_assistant("A door.")
    history.add_user("and this?", [Image(b"cat", alt="a cat")])
    messages = history.for_llm("Be kind.", 8)
    assert messages[1].images == ()
    assert messages[1].content == "what is this? [Picture: a red door] [Picture] I mean the left one"
    assert [image.data for image in messages[3].images] == [b"cat"]


def test_a_picture_is_given_in_every_pass_of_its_turn_and_let_go_after_it() -> None:
    history = History()
    history.add_user("what is this?", [DOOR])
    history.add_calls([call("one")])
    history.add_result("one", "{}")
    assert history.for_llm("Be kind.", 8)[1].images == (DOOR,)
    history.add_assistant("A door.")
    history.make_room(8)
    assert not any(message.images for message in history.messages), "its bytes are not kept in memory"


# The summary.


def test_the_summary_stands_before_what_is_given() -> None:
    history = after_turns(4)
    passage = history.passage(8)
    assert passage is not None
    assert [message.content for message in passage.messages] == [
        "question 0",
        "answer 0",
        "question 1",
        "answer 1",
    ]
    assert history.sum_up(passage, len(passage.messages), "They asked two things.")
    messages = history.for_llm("Be kind.", 8)
    assert messages[0].content == "Be kind.", "tools and examples come behind it: it stays as it is"
    earlier = "Earlier in this conversation: They asked two things.\n\n"
    assert contents(messages) == [f"{earlier}question 2", "answer 2", "question 3", "answer 3"]
    assert history.passage(8) is None


def test_a_passage_goes_on_where_the_last_one_was_left() -> None:
    history = after_turns(4)
    first = history.passage(8)
    assert first is not None and first.before is None
    assert history.sum_up(first, 2, "One.")
    second = history.passage(8)
    assert second is not None and second.before is not None
    assert second.before.content == "answer 0"
    assert (second.summary, [message.content for message in second.messages]) == (
        "One.",
        ["question 1", "answer 1"],
    )


def test_what_was_forgotten_before_is_still_to_be_summed_up() -> None:
    history = after_turns(12)
    history.add_user("and now?")
    history.for_llm("Be kind.", 4)
    passage = history.passage(4)
    assert passage is not None
    assert passage.messages[0].content == "question 0"
    assert len(passage.messages) == 24


def test_a_summary_that_comes_too_late_has_no_effect() -> None:
    history = after_turns(4)
    old = history.passage(8)
    assert old is not None
    history.clear()
    assert not history.sum_up(old, 4, "They asked two things.")
    assert history == History(_era=1)
    history = after_turns(4)
    passage = history.passage(8)
    assert passage is not None
    assert history.sum_up(passage, 4, "First.")
    assert not history.sum_up(passage, 4, "Second.")
    assert history.summary == "First."


def test_clearing_forgets_all() -> None:
    history = after_turns(8)
    history.summary = "They asked a lot."
    history.make_room(8)
    history.clear()
    assert history.for_llm("Be kind.", 8) == [PROMPT]
    assert history.passage(1) is None
    history.add_user("hello")
    assert contents(history.for_llm("Be kind.", 8)) == ["hello"]


# Saving.


def through_json(history: History) -> History:
    return History.restore(json.loads(json.dumps(history.save())))


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
    assert again.for_llm("Be kind.", 8) == history.for_llm("Be kind.", 8)
    assert again.summary == "They asked a lot."
    assert again.passage(1) == history.passage(1)


def test_saving_in_the_middle_of_a_turn_cancels_its_calls_on_return() -> None:
    history = History()
    history.add_user("how is the weather?", [DOOR])
    history.add_calls([call("one")])
    assert "door.png" not in json.dumps(history.save())
    again = through_json(history)
    assert contents(again.for_llm("Be kind.", 8)) == [
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


def test_whole_saves_are_read() -> None:
    assert History.restore({}) == History()
    assert len(History.restore({"messages": [USER, CALLS, ANSWER], "summarised": 3}).messages) == 3


# Whatever happens.

Operation = tuple[str, int]
OPERATIONS = st.tuples(
    st.sampled_from(
        ["user", "picture", "assistant", "calls", "result", "room", "clear", "save", "sum up", "tight"]
    ),
    st.integers(0, 3),
)


def add(history: History, operation: Operation, number: int) -> None:
    """Add a message; what is said holds a word with its number."""
    kind, size = operation
    if kind == "user":
        history.add_user(f"u{number}")
    elif kind == "picture":
        history.add_user(f"u{number}", [DOOR] * size)
    elif kind == "assistant":
        history.add_assistant(f"a{number}")
    elif kind == "calls":
        history.add_calls([call(f"{number}-{index}") for index in range(size + 1)])
    elif kind == "result":
        calls = [each.call_id for message in history.messages for each in message.tool_calls]
        history.add_result((calls or ["none"])[-min(size + 1, len(calls) or 1)], "{}")


def tidy(history: History, operation: Operation, number: int, limit: int) -> None:
    """What happens between the messages."""
    kind, size = operation
    if kind == "room":
        history.make_room(limit)
    elif kind == "clear":
        history.clear()
    elif kind == "tight":
        history.for_llm("Be kind.", limit, lambda prompt: len(prompt) <= size + 1)
    elif kind == "sum up" and (passage := history.passage(limit)) is not None:
        assert history.sum_up(passage, min(size + 1, len(passage.messages)), f"summary {number}")


def spoken_words(messages: list[ChatMessage]) -> list[str]:
    return re.findall(r"\b[ua]\d+\b", " ".join(message.content for message in messages))


def check_calls(messages: list[ChatMessage]) -> None:
    """Every answer follows its call, and only the last calls may wait."""
    waiting: set[str] = set()
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id in waiting
            waiting.remove(message.tool_call_id)
        else:
            assert not waiting
            waiting = {each.call_id for each in message.tool_calls}


def check_prompt(prompt: list[ChatMessage], history: History, limit: int) -> None:
    assert prompt[0] == ChatMessage("system", "Be kind.")
    check_calls(prompt[1:])
    everything, words = spoken_words(history.messages), spoken_words(prompt)
    users = [word for word in everything if word.startswith("u")]
    assert words == everything[len(everything) - len(words) :], "the latest, in order"
    assert len(words) <= limit or [word for word in words if word.startswith("u")] == users[-1:], (
        "at most the limit, or one turn"
    )
    if users:
        assert prompt[1].role == "user" and users[-1] in words
        assert history.summary in prompt[1].content
    else:
        assert len(prompt) == 1
    last_user = max((index for index, each in enumerate(prompt) if each.role == "user"), default=0)
    assert not any(message.images for message in prompt[:last_user])
    plain = [each.role if each.role != "tool" and not each.tool_calls else "" for each in prompt]
    assert not any(one and one == two for one, two in zip(plain, plain[1:], strict=False))


@given(st.lists(OPERATIONS, max_size=40), st.integers(1, 9))
def test_the_prompt_is_valid_whatever_happens(operations: list[Operation], limit: int) -> None:
    history = History()
    for number, operation in enumerate(operations):
        add(history, operation, number)
        tidy(history, operation, number, limit)
        if operation[0] == "save":
            history = through_json(history)
        check_calls(history.messages)
        check_prompt(history.for_llm("Be kind.", limit), history, limit)
