"""The suite of `make bench-mind`: what an entry may hold, and how its patterns find words and numbers."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from benchmarks.mind.patterns import compiled, found, simplified
from benchmarks.mind.suite import Request

CHRISTMAS_EVE = datetime(2026, 12, 24, 18, 30, tzinfo=UTC)


def request(**fields: object) -> Request:
    return Request.model_validate({"id": "one", "kind": "facts", "said": "Hello?"} | fields)


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("One hundred and forty-four.", "144."),
        ("a hundred and five", "105"),
        ("about a thousand", "about 1000"),
        ("nineteen forty-five", "1945"),
        ("three point one four", "3.14"),
        ("two and a half cups", "2.5 cups"),
        ("1,234,567 people", "1234567 people"),
        ("the twenty-fifth of December", "the 25th of december"),
        ("six hundred thousand four hundred and two", "600402"),
        ("3.5 million", "3500000"),
        ("**15%**", "15 percent"),
        ("five six", "5 6"),
    ],
)
def test_numbers_in_words_are_written_in_digits(text: str, simple: str) -> None:
    assert simplified(text) == simple


@pytest.mark.parametrize("text", ["It's 42.", "forty-two", "(42)", "42, I think", "Forty two!"])
def test_a_number_is_found(text: str) -> None:
    assert found("42", text)


def test_a_full_hour_is_found_by_its_number() -> None:
    assert found("7", "at 7:00 AM") and not found("7", "at 7:30 AM")


@pytest.mark.parametrize("text", ["142", "42.5", "0.42", "4 2", "1,042", "12:42"])
def test_a_part_of_another_number_is_not(text: str) -> None:
    assert not found("42", text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("{weekday}", "It is Thursday."),
        ("{weekday +1}", "Friday it is"),
        ("{date}", "the twenty-fourth of December"),
        ("{date +7}", "That will be January 31st, no: December 31."),
        ("{year +1}", "in 2027"),
        ("{days_to 12-25}", "only one day"),
        ("{days_to 01-01}", "8 days"),
        ("{weekday_of 12-25}", "on a Friday"),
        ("{next_weekday Thursday}", "December 31st"),
        ("{time}", "It is 6:30 PM"),
        ("{time}", "half past six"),
        ("{time Asia/Tokyo}", "03:31"),
        ("{time +90}", "eight o'clock"),
        ("{age 1990-12-25}", "You are thirty-five"),
        ("{cannot}", "I can’t do that."),
    ],
)
def test_a_named_value_is_that_of_the_moment(pattern: str, text: str) -> None:
    assert found(pattern, text, CHRISTMAS_EVE)


@pytest.mark.parametrize("pattern", ["{tomorow}", "(", "{date next}"])
def test_a_wrong_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        compiled(pattern)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"must": [""]},
        {"must": ["{tomorow}"]},
        {"musst": ["a"]},
        {"must": ["a"], "kind": "fun"},
        {"must": ["a"], "said": []},
        {"must": ["a"], "turn": [{"said": "Hello?", "must": ["a"]}]},
        {"said": [], "turn": [{"said": "Hello?"}]},
        {"call": {"tool": "a", "clock": "7:30"}},
    ],
)
def test_an_entry_that_is_not_of_the_format_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        request(**fields)


def test_the_rules_of_an_entry_judge_its_last_turn() -> None:
    first, last = request(said=["Hi.", "What's up?"], must=["sky"], max_words=9).turns
    assert not first.judged
    assert (last.said, last.must, last.max_words) == ("What's up?", ("sky",), 9)
