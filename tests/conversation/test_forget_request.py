"""Which utterances ask to forget something: whole ones alone, and nothing else that has the word in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.conversation.phrases.forgetting import ForgetRequest, forget_request

LAST = ForgetRequest(everything=False, said=True)
ALL = ForgetRequest(everything=True, said=True)


@pytest.mark.parametrize(
    "words",
    [
        "Forget that.",
        "forget it",
        "Please forget that.",
        "Forget that, please.",
        "Oh no, forget that!",
        "Forget what I said.",
        "Forget what I just said.",
        "Forget what I've just told you, please.",
        "Forget everything I just said.",
        "Can you forget that?",
        "Could you please just forget what I asked?",
        "I want you to forget that.",
        "I’d like you to forget this.",
        "Scratch that, forget it.",
        "Scratch that.",
        "Never mind, forget about that.",
        "Forget my last message.",
        "Forget that last bit, okay?",
        "Forget that. Forget that.",
        "(coughs) Forget that now, thank you.",
        "FORGET THAT",
    ],
)
def test_the_last_exchange_is_to_be_forgotten(words: str) -> None:
    assert forget_request(words) == LAST


@pytest.mark.parametrize(
    "words",
    [
        "Forget everything.",
        "Please forget all of that.",
        "Forget it all.",
        "Forget this conversation.",
        "Can you forget the whole conversation, please?",
        "Forget everything I told you.",
        "Forget everything we have talked about.",
        "Forget that. Oh, just forget everything.",
    ],
)
def test_everything_is_to_be_forgotten(words: str) -> None:
    assert forget_request(words) == ALL


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Forget",
        "Don't forget that.",
        "Please don’t forget that.",
        "Do not forget that.",
        "Never forget that.",
        "You must not forget what I said.",
        "I forget that.",
        "I forgot that.",
        "Did you forget that?",
        "Will you ever forget that?",
        "How could you forget that?",
        "Forget that and tell me a joke.",
        "Forget that, what is the capital of France?",
        "Tell me a joke and forget that.",
        "Forget that I have a dog.",
        "Forget what Anna said.",
        "Forget me not.",
        "What does 'forget that' mean?",
        "How do I forget everything?",
        "Everything is forgotten.",
        "Let's forget about the weather.",
        "Forget everything about cats, and tell me of dogs.",
        "Scratch that itch.",
        "Vergiss das.",
    ],
)
def test_anything_else_is_none(words: str) -> None:
    assert forget_request(words) is None


WORDS = "forget that please oh no wait scratch everything i just said can you".split()


@given(st.lists(st.sampled_from(WORDS), max_size=400))
def test_whatever_is_said_it_takes_no_time(words: list[str]) -> None:
    forget_request(" ".join(words))


@pytest.mark.parametrize("words", ["please ", "scratch that ", "can you please ", "forget that please "])
def test_neither_does_a_long_text_that_only_begins_like_one(words: str) -> None:
    assert forget_request(words * (4000 // len(words)) + "x") is None
