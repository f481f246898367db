"""A conversation of a day costs no more than one of an hour, and loses nothing that the LLM would see."""

import json
import re

import pytest

from localvoice.conversation import history as history_module
from localvoice.conversation.history import History
from localvoice.engines.chat import ChatMessage
from tests.support.histories import call, for_llm
from tests.support.histories import noted as notes_of

LIMIT = 20
TURNS = 600
NOTES = 2000


def turn(history: History, number: int, noted: bool = True) -> list[ChatMessage]:
    """A turn with a tool, and what is done after it; what the LLM was given."""
    history.add_user(f"My u{number}")
    prompt = for_llm(history, "Be kind.", LIMIT, notes=NOTES * noted)
    history.add_calls([call(f"{number}")])
    history.add_result(f"{number}", "{}")
    history.add_assistant(f"a{number}")
    history.make_room(LIMIT, NOTES * noted)
    return prompt


def size(history: History) -> int:
    return len(json.dumps(history.save()))


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\bu(\d+)", text)]


@pytest.mark.parametrize("noted", [True, False])
def test_it_grows_no_more(noted: bool) -> None:
    history = History()
    sizes: list[int] = []
    for number in range(TURNS):
        turn(history, number, noted)
        sizes.append(size(history))
    assert max(sizes[300:]) < 1.5 * max(sizes[:150])
    assert len(history.messages) < 250
    assert history.exchanges == TURNS
    again = History.restore(json.loads(json.dumps(history.save())))
    assert again.exchanges == TURNS and again == history
    history.read_again()  # as after a restart
    assert turn(again, TURNS, noted) == turn(history, TURNS, noted)


@pytest.mark.parametrize("noted", [True, False])
def test_the_llm_is_given_the_same(noted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded, whole = History(), History()
    for number in range(TURNS):
        given = turn(bounded, number, noted)
        with monkeypatch.context() as patch:
            patch.setattr(history_module, "_KEPT", 10**6)
            assert given == turn(whole, number, noted)
    assert len(whole.messages) == 4 * TURNS > len(bounded.messages)


def test_forgetting_again_and_again_leaves_nothing_of_what_is_forgotten() -> None:
    history = History()
    for number in range(TURNS):
        turn(history, number)
    for number in reversed(range(TURNS - 25, TURNS)):
        assert history.forget_last()
        left = numbers(notes_of(history)) + numbers(" ".join(each.content for each in history.messages))
        assert max(left) == number - 1, "what came before it is still there, in words or in notes"
    turn(history, TURNS)
    assert numbers(notes_of(history)) == sorted(set(numbers(notes_of(history)))), "noted once"
    while history.messages:
        assert history.forget_last()
    assert notes_of(history), "notes of what is there no more"
    assert history.forget_last() and not notes_of(history)
    assert not history.forget_last() and history.exchanges == 0
