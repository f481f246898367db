"""The summary of what the LLM is no longer given: the passage to be summed up, and where it stands."""

from localvoice.conversation.history import History
from tests.support.histories import after_turns, contents, for_llm


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
    messages = for_llm(history, "Be kind.", 8)
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
    for_llm(history, "Be kind.", 4)
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
