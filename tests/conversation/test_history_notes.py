"""The notes of what the LLM is no longer given: there at once, at any pace, and in a place that stays."""

from localvoice.conversation.history import History
from localvoice.engines.chat import ChatMessage
from tests.support.histories import contents, for_llm, noted

ROOM = 2000
REMEMBERED = "Yes, I remember."


def words_of(prompt: list[ChatMessage]) -> str:
    return " ".join(contents(prompt))


def fits(prompt: list[ChatMessage]) -> bool:
    return len(words_of(prompt)) <= ROOM


def tell(history: History, number: int) -> list[ChatMessage]:
    """A turn right after the one before; what the LLM was given."""
    history.add_user(f"My fact {number} is {number * number}.")
    prompt = for_llm(history, "Be kind.", None, fits, ROOM // 2)
    history.add_assistant(f"I see, fact {number}. Thank you for telling me that.")
    history.make_room(None, ROOM // 2)
    return prompt


def test_all_of_a_past_that_fits_is_given() -> None:
    history = History()
    for number in range(20):
        prompt = tell(history, number)
        assert len(prompt) == 2 + 2 * number
    assert not noted(history)


def test_nothing_that_was_told_is_missing_at_any_pace() -> None:
    history = History()
    for number in range(40):
        said = words_of(tell(history, number))
        for told in range(number + 1):
            assert f"fact {told} is {told * told}." in said, f"fact {told} in turn {number}"
    assert noted(history)


def test_with_a_limit_as_well() -> None:
    history = History()
    for number in range(30):
        history.add_user(f"My fact {number} is {number * number}.")
        said = words_of(for_llm(history, "Be kind.", 4, notes=ROOM))
        assert all(f"fact {told} is {told * told}." in said for told in range(number + 1))
        history.add_assistant("I see.")
        history.make_room(4, ROOM)


def test_without_notes_what_is_left_out_is_lost() -> None:
    history = History()
    for number in range(10):
        history.add_user(f"My fact {number} is {number * number}.")
        history.add_assistant("I see.")
        history.make_room(4)
    assert not noted(history)
    assert contents(for_llm(history, "Be kind.", 4))[0] == "My fact 9 is 81."


def test_a_correction_stands_behind_what_it_corrects() -> None:
    history = History()
    for words in ("My sister is Eve.", "No, my sister is Ann.", "I like tea.", "And now?"):
        history.add_user(words)
        history.add_assistant("I see.")
    history.make_room(2, ROOM)
    said = words_of(for_llm(history, "Be kind.", 4, notes=ROOM))
    assert said.index("Eve") < said.index("Ann")


def test_notes_stand_behind_what_was_read_so_that_only_they_are_new() -> None:
    """What follows something that is left out is moved up in the LLM's cache, and not read again."""
    history = History()
    before = tell(history, 0)
    changes = 0
    for number in range(1, 60):
        prompt = tell(history, number)
        if prompt[: len(before)] != before:
            changes += 1
            kept = [message for message in before[1:] if message in prompt]
            assert prompt[1 : 1 + len(kept)] == kept, "the rest is as it was, in its order"
            new = prompt[1 + len(kept) : -1]
            notes = [message for message in new if message.content.startswith("Remember")]
            assert len(notes) == 1 and len(new) <= 4, "the latest exchange, and notes"
        before = prompt
    assert 2 < changes < 20, "rarely"


def test_notes_between_turns_stand_where_those_of_the_next_turn_would() -> None:
    one, other = History(), History()
    for history in (one, other):
        for number in range(8):
            history.add_user(f"My fact {number} is {number}.")
            history.add_assistant("I see.")
    one.trim(8, ROOM)  # between turns
    for history in (one, other):
        history.add_user("And now?")
    other.trim(8, ROOM)  # while the user waits
    prompt = for_llm(one, "Be kind.", None)
    assert prompt == for_llm(other, "Be kind.", None)
    assert contents(prompt)[-2:] == [REMEMBERED, "And now?"]


def test_what_was_left_out_is_given_again_where_the_notes_of_it_go() -> None:
    history = History()
    for number in range(6):
        history.add_user(f"My fact {number} is {number}.")
        history.add_assistant("I see.")
    history.trim(4, ROOM)
    history.trim(8, ROOM)
    for _ in range(3):  # facts 5 and 4, which are given, and fact 3, which is noted
        assert history.forget_last()
    assert noted(history) == "My fact 0 is 0. My fact 1 is 1."
    prompt = contents(for_llm(history, "Be kind.", None))
    assert prompt[:2] == ["My fact 2 is 2.", "I see."]
    assert prompt[2:] == ["Remember what I told you earlier. My fact 0 is 0. My fact 1 is 1.", REMEMBERED]


def test_notes_that_pass_the_context_with_the_latest_turn_are_shortened() -> None:
    history = History()
    for number in range(20):
        history.add_user(f"My fact {number} is {number * number}.")
        history.add_assistant("I see.")
    history.add_user("And now?")
    prompt = for_llm(history, "Be kind.", None, lambda prompt: len(words_of(prompt)) < 300, ROOM)
    assert contents(prompt)[-1] == "And now?" and "My fact 19" in contents(prompt)[0]


def test_of_a_long_past_that_must_be_read_again_the_end_is_given() -> None:
    history = History()
    for number in range(60):
        history.add_user(f"My fact {number} is {'very ' * 10}nice.")
        history.add_assistant("I see.")
    whole = for_llm(history, "Be kind.", None, notes=ROOM)
    history.read_again()
    prompt = for_llm(history, "Be kind.", None, notes=ROOM)
    assert len(whole) == 121 and 40 < len(prompt) < 80
    assert prompt[-3] == whole[-1] and "My fact 0 " in prompt[-2].content
    history.add_user("And now?")
    assert for_llm(history, "Be kind.", None, notes=ROOM)[:-1] == prompt, "from then on all of it"
