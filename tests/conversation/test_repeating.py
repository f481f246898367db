"""A part of the last answer that is asked for again: a short answer that holds it is said again whole."""

import pytest

from localvoice.conversation.phrases.understanding import Understanding
from localvoice.conversation.phrases.understood import Again
from localvoice.tools.builtin import builtin_tools
from tests.support.fakes import FakeLlm
from tests.support.session_room import Rooms

BONES = "An adult has 206 bones."
HEARTS = "An octopus has three hearts."
AUTHOR = "Miguel de Cervantes wrote it."
YES = "Yes, they do."


def is_said_again(words: str, answer: str) -> bool:
    return isinstance(Understanding().of(words, builtin_tools(), None, last_answer=answer), Again)


@pytest.mark.parametrize(
    ("answer", "questions"),
    [
        (BONES, ["What was the number again?", "Sorry, how many was it again?", "Repeat that number."]),
        (BONES, ["Say the number again.", "Sorry, how many again?", "What was the last part again?"]),
        (HEARTS, ["What was the number again?", "How many was it again?", "What was it again?"]),
        (AUTHOR, ["Who was it again?", "What was the name again?", "The name again, please?", "Who again?"]),
        (YES, ["What was the last bit?", "What was that last word?"]),
    ],
)
def test_an_answer_that_holds_it_is_said_again(answer: str, questions: list[str]) -> None:
    assert {words: is_said_again(words, answer) for words in questions} == dict.fromkeys(questions, True)


@pytest.mark.parametrize(
    ("answer", "questions"),
    [
        (YES, ["What was the number again?", "Who was it again?", "How many was it again?"]),
        (HEARTS, ["What was the name again?", "Where was it again?", "What was his name again?"]),
        (BONES, ["What was the name of that film again?", "What was my locker code again?"]),
        (BONES, ["What did I put by the gate again?", "How much do I owe Meg again?"]),
        (BONES, ["How many bones does a dog have?", "When is my appointment again?"]),
        (BONES, ["What's the first prime number?", "What was the date of the wedding again?"]),
        ("", ["What was the number again?", "Who was it again?", "What was the last step again?"]),
        ("One of many words. " * 10, ["What was the number again?", "What was the last step again?"]),
    ],
)
def test_what_it_may_not_hold_is_for_the_llm(answer: str, questions: list[str]) -> None:
    assert {words: is_said_again(words, answer) for words in questions} == dict.fromkeys(questions, False)


@pytest.mark.virtual_clock
async def test_the_conversation_knows_its_last_answer(room: Rooms) -> None:
    r = room(llm=(llm := FakeLlm(BONES, "You said nine.")))
    for words in ("How many bones do we have?", "Sorry, what was the number again?"):
        r.session.answer_text(words)
        await r.session.settle()
    assert [text for role, text in r.said() if role == "assistant"] == [BONES, BONES]
    assert len(llm.asked) == 1
