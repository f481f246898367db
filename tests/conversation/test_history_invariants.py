"""Whatever happens to a history, what the LLM is given of it is valid."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from localvoice.conversation.history import History
from localvoice.engines.chat import ChatMessage
from tests.support.histories import DOOR, call, for_llm, through_json

NOTES = 10_000
NOTED = "Remember what I told you earlier."
Operation = tuple[str, int]
OPERATIONS = st.tuples(
    st.sampled_from(
        [
            "user",
            "picture",
            "assistant",
            "calls",
            "result",
            "room",
            "clear",
            "save",
            "again",
            "forget",
            "tight",
        ]
    ),
    st.integers(0, 3),
)


def add(history: History, operation: Operation, number: int) -> None:
    """Add a message; what is said holds a word with its number."""
    kind, size = operation
    if kind == "user":
        history.add_user(f"My u{number} is v{number}.")
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
        history.make_room(limit, NOTES)
    elif kind == "clear":
        history.clear()
    elif kind == "tight":
        for_llm(history, "Be kind.", limit, lambda prompt: len(prompt) <= size + 1, NOTES)
    elif kind == "again":
        history.read_again()
    elif kind == "forget":
        history.forget_last()


def spoken_words(messages: list[ChatMessage]) -> list[str]:
    return re.findall(r"\b[ua]\d+\b", " ".join(message.content for message in messages))


def without_notes(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Without what the user told in those; they may be merged with what is said before and after them."""
    line = r" (My u\d+ is v\d+\.|u\d+( \[Picture: a red door\])+)"
    notes = re.compile(rf"Remember what I told you earlier\.({line})*|Yes, I remember\.")
    return [replace(message, content=notes.sub("", message.content)) for message in messages]


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
    everything, words = spoken_words(history.messages), spoken_words(without_notes(prompt))
    users = [word for word in everything if word.startswith("u")]
    assert words == everything[len(everything) - len(words) :], "the latest, in order"
    assert len(words) <= limit or [word for word in words if word.startswith("u")] == users[-1:], (
        "at most the limit, or one turn"
    )
    if users:
        assert prompt[1].role == "user" and users[-1] in words
    else:
        assert not words
    everything_told = re.findall(r"v\d+", " ".join(message.content for message in history.messages))
    told = re.findall(r"v\d+", " ".join(message.content for message in prompt))
    assert set(everything_told) <= set(told) and len(told) == len(set(told)), "all that was told, once"
    said = [each.role == "user" and not each.content.startswith(NOTED) for each in prompt]
    last_user = max((index for index, each in enumerate(said) if each), default=0)
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
        check_prompt(for_llm(history, "Be kind.", limit, notes=NOTES), history, limit)
