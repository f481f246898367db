"""What the LLM is given of the past."""

from hypothesis import given
from hypothesis import strategies as st

from localvoice.agent.history import History
from localvoice.engines.protocols import ChatMessage

PROMPT = ChatMessage("system", "Be kind.")


def after_turns(count: int) -> History:
    history = History()
    for turn in range(count):
        history.add_user(f"question {turn}")
        history.add_assistant(f"answer {turn}")
    return history


def contents(messages: list[ChatMessage]) -> list[str]:
    return [message.content for message in messages[1:]]


def test_all_of_a_short_past_is_given() -> None:
    history = after_turns(1)
    history.add_user("and now?")
    given_ = history.for_llm("Be kind.", 8)
    assert given_[0] == PROMPT
    assert contents(given_) == ["question 0", "answer 0", "and now?"]
    assert [message.role for message in given_[1:]] == ["user", "assistant", "user"]


def test_what_one_side_said_in_a_row_is_one_message() -> None:
    history = History()
    for text in ("wait", "no", "go on"):
        history.add_user(text)
    history.add_assistant("Well,")
    history.add_assistant("then.")
    assert contents(history.for_llm("Be kind.", 8)) == ["wait no go on", "Well, then."]


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
        roles = [message.role for message in messages[1:]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    assert len(history.messages) == len(sides), "nothing is forgotten in the history itself"
