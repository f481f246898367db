"""What counts as told: the user's own sentences, neither their questions nor their requests."""

import pytest

from localvoice.conversation.notes import Note, exchange, fitted, told, with_note
from localvoice.engines.chat import ChatMessage, ToolCall


def said(*texts: str) -> list[ChatMessage]:
    """The user begins, and each answers the other."""
    return [ChatMessage("assistant" if number % 2 else "user", text) for number, text in enumerate(texts)]


def lines(notes: list[Note]) -> list[str]:
    return [line for note in notes for line in note.lines]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("My name is Marta.", ["My name is Marta."]),
        ("Hi, I'm Tom. What's the time?", ["Hi, I'm Tom."]),
        ("The wifi password is bluebird forty two.", ["The wifi password is bluebird forty two."]),
        ("no, my sister's name is Ann", ["no, my sister's name is Ann"]),
        ("Remember that the code is 4711.", ["Remember that the code is 4711."]),
        ("Write a poem about our cat.", ["Write a poem about our cat."]),
        ("My doctor is Dr. Haddad. What's the time?", ["My doctor is Dr. Haddad."]),
        ("My boss is J. Smith. So am I. Who is he?", ["My boss is J. Smith.", "So am I."]),
        ("Ich wohne in Gent.", ["Ich wohne in Gent."]),
        ("¿Qué hora es?", []),
        ("What's my name?", []),
        ("Why is the sky blue", []),
        ("Tell me a joke about owls.", []),
        ("Could you set a timer for five minutes", []),
        ("Okay, thanks.", []),
        ("...", []),
        ("", []),
    ],
)
def test_statements_are_told_and_questions_are_not(words: str, kept: list[str]) -> None:
    assert list(told(said(words, "I see."))) == kept


def test_what_the_assistant_says_and_what_is_said_aside_is_not_told() -> None:
    talk = [
        *said("My dog is called Pickle.", "My cat is Tom."),
        ChatMessage("user", "I said stop.", aside=True),
    ]
    assert told(talk) == ("My dog is called Pickle.",)


def test_a_short_answer_is_told_with_its_question() -> None:
    talk = said(
        "I'd like a table, please.", "With pleasure. For how many people?", "Four.", "Noted.", "On Friday."
    )
    assert told(talk) == ("I'd like a table, please.", 'You asked "For how many people?" and I said "Four."')


def test_tools_are_told_without_their_answers() -> None:
    talk = [
        ChatMessage("user", "Book a table for Jones, and cancel the other one."),
        ChatMessage(
            "assistant",
            "",
            (
                ToolCall("1", "book", {"name": "Jones", "note": "x" * 500}),
                ToolCall("2", "cancel", {"number": 7}),
                ToolCall("3", "time", {}),
            ),
        ),
        ChatMessage("tool", '{"ok": true, "seats": [1, 2, 3]}', tool_call_id="1"),
        ChatMessage("tool", '{"error": "there is no such booking"}', tool_call_id="2"),
        ChatMessage("tool", "12:30", tool_call_id="3"),
    ]
    booked, *others = [line for line in told(talk) if line.startswith("You used")]
    assert booked.startswith('You used book for me: {"name": "Jones"') and len(booked) < 160
    assert not others, "what failed, and what says nothing, is not told"


def test_a_long_sentence_is_shortened() -> None:
    (line,) = told(said("I like " + "very " * 200 + "much tea."))
    assert line.startswith("I like very") and len(line) == 201


def test_notes_are_an_exchange_in_which_the_user_speaks() -> None:
    notes = [Note(0, 2, ("My name is Ada.",)), Note(0, 4, ()), Note(0, 6, ("I live in Bath.",))]
    assert exchange(notes) == [
        ChatMessage("user", "Remember what I told you earlier. My name is Ada. I live in Bath."),
        ChatMessage("assistant", "Yes, I remember."),
    ]
    assert exchange([Note(0, 2, ())]) == []


def test_of_too_many_notes_those_stay_that_are_about_the_user_the_first_and_the_latest() -> None:
    names = Note(0, 2, ("My name is Ada.", "The moon is bright today."))
    facts = tuple(f"My number {number} is {number}." for number in range(50))
    kept = lines(fitted([names, Note(9, 90, facts)], 600))
    assert sum(len(line) + 1 for line in kept) <= 600
    assert kept[0] == "My name is Ada." and kept[-1] == "My number 49 is 49."
    assert "The moon is bright today." not in kept and "My number 20 is 20." not in kept
    assert kept == [line for line in (*names.lines, *facts) if line in kept], "in their order"
    assert fitted([], 0) == [] and lines(fitted([names], 0)) == []


def test_notes_keep_their_places_until_they_are_too_many() -> None:
    notes: list[Note] = []
    for number in range(4):
        notes = with_note(notes, Note(10 * number, 10 * number, (f"I like {number}.",)), 1000)
    assert [note.place for note in notes] == [0, 10, 20, 30], "what the LLM has read stays"
    notes = with_note(notes, Note(40, 40, ("I like 4.",)), 1000)
    assert [note.place for note in notes] == [40] * 5
    assert lines(notes) == [f"I like {number}." for number in range(5)]
    notes = with_note(notes, Note(50, 50, ("I like 5.",)), 20)
    assert {note.place for note in notes} == {50} and lines(notes) == ["I like 4.", "I like 5."]
