"""Sums with times of day, and the one place that a sentence names."""

from datetime import datetime

import pytest

from localvoice.conversation.phrases.understanding import Understanding
from localvoice.conversation.phrases.understood import Command
from localvoice.tools import ToolError
from localvoice.tools.builtin import builtin_tools, feasts, wall
from localvoice.tools.builtin.places import place_in
from tests.support.builtin_use import use

TOOLS = builtin_tools()


@pytest.fixture(autouse=True)
def on_a_tuesday(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall, "now", lambda zone=None: datetime(2026, 12, 1, 12, 40).astimezone(zone))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"until": "5"}, "It's 4 hours 20 minutes until 5:00 PM."),
        ({"until": "half past five", "start": "nine"}, "That's 8 hours 30 minutes."),
        ({"until": "6", "start": "ten PM"}, "That's 8 hours."),
        ({"until": "7", "start": "7"}, "That's 12 hours."),
        ({"start": "8:15", "later": "45 minutes before"}, "That's 7:30."),
        ({"start": "11 PM", "later": "2 hours"}, "That's 1:00 AM."),
        ({"until": "9", "later": "40 minutes"}, "That's 8:20."),
        ({"later": "two hours ago"}, "It was 10:40 AM."),
        (
            {"start": "3 PM", "than": "Tokyo", "place": "New York"},
            "When it is 3:00 PM in Tokyo, it is 1:00 AM in New York.",
        ),
        (
            {"start": "10 PM", "than": "New York", "place": "Tokyo"},
            "When it is 10:00 PM in New York, it is 12:00 PM the next day in Tokyo.",
        ),
        ({"start": "3", "later": "9 days"}, "error: That is too far away for me."),
    ],
)
async def test_times_of_day_are_counted_with(arguments: dict[str, str], said: str) -> None:
    assert await use("get_time", None, **arguments) == said


@pytest.mark.parametrize(
    ("sentence", "place"),
    [
        ("I want to call my mother in Chennai, so what's the clock saying there", "Chennai"),
        ("My friend Charlotte moved to Boston, what time is it there", "Boston"),
        ("New York is where she lives, what time is it there", "New York"),
    ],
)
def test_the_one_place_of_a_sentence_is_found(sentence: str, place: str) -> None:
    assert place_in(sentence) == place


@pytest.mark.parametrize(
    "sentence",
    [
        "What time is it there",
        "Nice weather, what time is it there",
        "What time is it in Rome and in Tokyo",
        "What time is it in Rome when the shop opens",
    ],
)
def test_no_place_and_two_places_are_none(sentence: str) -> None:
    with pytest.raises(ToolError):
        place_in(sentence)


def test_a_call_holds_what_the_tool_reads_in_the_words() -> None:
    words = "My sister's in Perth, what time is it there?"
    assert Understanding().of(words, TOOLS, None) == Command("get_time", {"place": "Perth", "ask": "time"})


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("My watch stopped. What time is it?", "get_time"),
        ("What day is it? I keep forgetting.", "get_date"),
        ("What time is it? And who won the war?", None),
    ],
)
def test_one_sentence_of_several_may_ask_a_tool(words: str, name: str | None) -> None:
    understood = Understanding().of(words, TOOLS, None)
    assert (understood.name if isinstance(understood, Command) else None) == name


def test_a_machine_whose_clock_stays_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "en_AU.UTF-8")
    assert feasts.feast("the first day of summer", 2027) is None
