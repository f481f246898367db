"""What the LLM is given of the past."""

import json
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.conversation.history import CANCELLED, History
from localvoice.engines.chat import ChatMessage
from localvoice.engines.pictures import Image
from tests.support.histories import DOOR, after_turns, call, contents, for_llm, noted

PROMPT = ChatMessage("system", "Be kind.")


def roles(messages: list[ChatMessage]) -> list[str]:
    return [message.role for message in messages]


def test_all_of_a_short_past_is_given() -> None:
    history = after_turns(1)
    history.add_user("and now?")
    given_ = for_llm(history, "Be kind.", 8)
    assert given_[0] == PROMPT
    assert contents(given_) == ["question 0", "answer 0", "and now?"]
    assert roles(given_[1:]) == ["user", "assistant", "user"]


def test_what_one_side_said_in_a_row_is_one_message() -> None:
    history = History()
    for text in ("wait", "no", "go on"):
        history.add_user(text)
    history.add_assistant("Well,")
    history.add_assistant("then.")
    assert contents(for_llm(history, "Be kind.", 8)) == ["wait no go on", "Well, then."]


def test_the_agents_greeting_is_not_given() -> None:
    history = History()
    history.add_assistant("Hello, how can I help?")
    assert for_llm(history, "Be kind.", 8) == [PROMPT]
    history.add_user("hi")
    assert contents(for_llm(history, "Be kind.", 8)) == ["hi"]


def test_the_past_is_forgotten_in_blocks_so_that_the_prompt_keeps_its_beginning() -> None:
    """The LLM's cache holds as long as the prompt begins with the same words."""
    history = History()
    before: list[ChatMessage] = []
    read_anew = 0
    for turn in range(40):
        history.add_user(f"question {turn}")
        now = for_llm(history, "Be kind.", 8)
        read_anew += now[: len(before)] != before
        before = now
        history.add_assistant(f"answer {turn}")
    assert read_anew <= 40 / 2.5


def test_room_is_made_between_turns_so_that_the_next_message_pushes_nothing_out() -> None:
    history = after_turns(4)
    history.make_room(8)
    before = for_llm(history, "Be kind.", 8)
    history.add_user("and now?")
    now = for_llm(history, "Be kind.", 8)
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
        messages = for_llm(history, "Be kind.", limit)
        assert messages[0] == PROMPT
        said = " ".join(contents(messages)).split()
        assert 1 <= len(said) <= limit
        assert said == [str(each) for each in range(number - len(said) + 1, number + 1)], (
            "the latest, in order"
        )
        assert roles(messages[1:]) == ["user", "assistant"] * (len(messages) // 2 - 1) + ["user"]
    assert len(history.messages) == len(sides), "nothing is forgotten in the history itself"


def test_clearing_forgets_all() -> None:
    history = after_turns(8)
    history.add_user("My name is Ada.")
    history.add_assistant("Hello.")
    history.add_user("And now?")
    history.make_room(1, 1000)
    assert noted(history)
    history.clear()
    assert for_llm(history, "Be kind.", 8) == [PROMPT]
    assert not noted(history)
    history.add_user("hello")
    assert contents(for_llm(history, "Be kind.", 8)) == ["hello"]


# Tools.


def test_calls_and_their_answers_belong_to_their_turn() -> None:
    history = History()
    for turn in range(3):
        history.add_user(f"question {turn}")
        history.add_calls((call(f"a{turn}"), call(f"b{turn}")))
        history.add_result(f"b{turn}", '"second"')
        history.add_result(f"a{turn}", '"first"')
        history.add_assistant(f"answer {turn}")
    all_of_it = for_llm(history, "Be kind.", 6)
    assert roles(all_of_it[1:]) == ["user", "assistant", "tool", "tool", "assistant"] * 3
    assert [message.tool_call_id for message in all_of_it[3:5]] == ["b0", "a0"]
    history.make_room(6)
    assert roles(for_llm(history, "Be kind.", 6)[1:]) == ["user", "assistant", "tool", "tool", "assistant"], (
        "three messages are kept, and the prompt begins with the user's"
    )


def test_a_long_tool_loop_never_pushes_out_its_own_question() -> None:
    history = after_turns(3)
    history.add_user("look it all up")
    for number in range(10):
        history.add_calls([call(str(number))])
        history.add_result(str(number), "{}")
    messages = for_llm(history, "Be kind.", 1)
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
        each.tool_call_id: each.content for each in for_llm(history, "Be kind.", 8) if each.role == "tool"
    }
    assert answers == {"two": '"rain"', "one": CANCELLED}
    assert "cancelled" in json.loads(CANCELLED)["error"]


def test_an_answer_that_comes_too_late_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    history = History()
    history.add_user("how is the weather?")
    history.add_calls([call("one")])
    history.add_user("never mind")
    before = list(history.messages)
    with caplog.at_level(logging.DEBUG, "localvoice.conversation.history"):
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
    assert roles(for_llm(history, "Be kind.", 8)[1:]) == [
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

    messages = for_llm(history, "Be kind.", 8, fits)
    assert roles(messages) == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert messages[3].content == "x" * 100, "answers are cut only where forgetting is not enough"


def test_a_tools_answer_that_passes_the_context_alone_is_cut() -> None:
    history = after_turns(2)
    history.add_user("read it to me")
    history.add_calls([call("one")])
    history.add_result("one", "x" * 50_000)

    def fits(messages: list[ChatMessage]) -> bool:
        return sum(len(message.content) for message in messages) < 2000

    messages = for_llm(history, "Be kind.", 8, fits)
    assert contents(messages) == ["read it to me", "", "x" * 1000 + "…"]
    assert len(history.messages[-1].content) == 50_000, "only the prompt is cut"


# Pictures.


def test_only_the_pictures_of_the_users_latest_words_are_given() -> None:
    history = History()
    history.add_user("what is this?", [DOOR, Image(b"more")])
    assert for_llm(history, "Be kind.", 8)[1].images[0] is DOOR
    history.add_user("I mean the left one")
    merged = for_llm(history, "Be kind.", 8)[1]
    assert merged.content == "what is this? I mean the left one"
    assert merged.images[0] is DOOR, "no reply has come yet"
    history.add_assistant("A door.")
    history.add_user("and this?", [Image(b"cat", alt="a cat")])
    messages = for_llm(history, "Be kind.", 8)
    assert messages[1].images == ()
    assert messages[1].content == "what is this? [Picture: a red door] [Picture] I mean the left one"
    assert [image.data for image in messages[3].images] == [b"cat"]


def test_a_picture_is_given_in_every_pass_of_its_turn_and_let_go_after_it() -> None:
    history = History()
    history.add_user("what is this?", [DOOR])
    history.add_calls([call("one")])
    history.add_result("one", "{}")
    assert for_llm(history, "Be kind.", 8)[1].images == (DOOR,)
    history.add_assistant("A door.")
    history.make_room(8)
    assert not any(message.images for message in history.messages), "its bytes are not kept in memory"
