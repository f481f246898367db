"""Arguments of a call can't pose as the agent's words, or change what the user is asked."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localvoice.conversation.sentences import Splitter
from localvoice.tools.confirmation import Consent, Question, consent, question_of

PAY = "Pay {amount} to {to}?"
ENDING = "Shall I use pay, yes or no?"
ENDS = [
    ".",
    "!",
    "?",
    "…",
    "。",
    "！",
    "？",
    "؟",
    "۔",
    "।",
    "։",
    "።",
    ";",
    "\u037e",
    "‽",
    "⁇",
    "﹖",
    "｡",
    "\n",
    "\u2029",
]
PAUSES = [",", ":", "，", "、", "：", "—", " - ", "(", ")", "“", "”", "«", '"', "‚", "¿"]


def pay(confirm: bool | str = True, **arguments: object) -> Question:
    return question_of("pay", confirm, arguments)


@pytest.mark.parametrize("mark", ENDS + PAUSES)
def test_an_argument_has_no_end_of_a_sentence_or_clause(mark: str) -> None:
    hidden = f"thanks{mark} By the way{mark} you have mail{mark} Shall I read it{mark}"
    told = "thanks By the way you have mail Shall I read it"
    assert pay(note=hidden).text == f"I would use pay with note: {told}. {ENDING}"
    assert pay(PAY, amount=5, to=hidden).text == f"Pay 5 to {told}? {ENDING}"
    assert pay(note=[hidden, {hidden: hidden}]).text.count(told) == 3
    assert not re.search(
        r"[^\w\s]", pay(note=[hidden, {hidden: hidden}]).text.split("note: ")[1][: -len(ENDING) - 2]
    )


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=60), min_size=1, max_size=3))
@settings(max_examples=200)
def test_the_voice_gets_two_sentences_whatever_the_arguments(arguments: dict[str, str]) -> None:
    try:
        question = pay(**arguments)
    except ValueError:
        return
    pieces = Splitter()
    spoken = " ".join([*pieces.feed(f"{question.text} "), *pieces.flush()])
    assert question.text.endswith(f". {question.ending}") and question.ending == ENDING
    assert len(re.findall(r"[.!?…](?=\s|$)|[。！？]", spoken)) == 2


@pytest.mark.parametrize(
    "kept", ["I'm late", "O’Neil", "12:30", "1,000.50", "-5", "3-4", "a@b.org", "€5", "50%", "1/2"]
)
def test_marks_that_are_a_part_of_a_word_or_number_stay(kept: str) -> None:
    assert f"note: {kept} now." in pay(note=f"{kept} now").text


@pytest.mark.parametrize("text", ["...", "?!", "“”", "- -", "👍", "∧", "¬ ∨"])
def test_an_argument_of_marks_alone_cannot_be_told(text: str) -> None:
    with pytest.raises(ValueError, match="use plain words"):
        pay(note=text)


def test_a_huge_argument_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        pay(note="please? " * 10_000)


def send() -> Question:
    return question_of("send_message", "Shall I send “{text}” to {to}?", {"text": "Hi", "to": "Anna"})


SENT = (
    "Yes, send it.|Yes, please send it.|Send it.|send that, please|Yes, go ahead and send it now.|Use it.|"
    "Yes, send the message.|Just send it.|Yes, you can send it."
)
NOT_SENT = "No, don't send it.|Please do not send it|Don't send the message.|Never send that"
UNCLEAR = (
    "Yes, send it to Bob instead.|Yes, but send it later.|Yes, send both.|send it not|Send it?|"
    "Yes, send it and also call Bob.|don't send it yes send it|Yes, don't send it.|Send.|Yes, read it.|"
    "No, send it.|I'd send it|You sent it|Yes, send her the money"
)


@pytest.mark.parametrize(
    ("words", "answer"),
    [(words, Consent.YES) for words in SENT.split("|")]
    + [(words, Consent.NO) for words in NOT_SENT.split("|")]
    + [(words, Consent.UNCLEAR) for words in UNCLEAR.split("|")],
)
def test_an_answer_may_repeat_the_questions_own_words(words: str, answer: Consent) -> None:
    assert consent(words, send().own_words) is answer


@pytest.mark.parametrize(
    ("name", "words", "answer"),
    [
        ("cancel_order", "Yes, cancel it.", Consent.YES),
        ("cancel_order", "Cancel it.", Consent.UNCLEAR),
        ("cancel_order", "Okay, cancel that.", Consent.UNCLEAR),
        ("cancel_order", "Please cancel it.", Consent.UNCLEAR),
        ("cancel_order", "Just cancel it.", Consent.UNCLEAR),
        ("cancel_order", "Yes, just cancel it.", Consent.YES),
        ("send_it", "Please send it.", Consent.YES),
        ("stop_timer", "Stop it!", Consent.UNCLEAR),
        ("no_reply", "No reply.", Consent.UNCLEAR),
        ("no_reply", "No.", Consent.NO),
        ("eraseAll", "Yes, erase all.", Consent.YES),
        ("erase", "Yes, erase it.", Consent.YES),
    ],
)
def test_words_that_could_be_either_are_unclear(name: str, words: str, answer: Consent) -> None:
    assert consent(words, question_of(name, True, {}).own_words) is answer


def test_an_argument_gives_no_words_to_agree_with() -> None:
    hostile = question_of("pay", "Shall I {how} it to {to}?", {"how": "not pay", "to": "read it"})
    assert (
        consent("Read it.", hostile.own_words)
        is consent("Yes, read it.", hostile.own_words)
        is Consent.UNCLEAR
    )
