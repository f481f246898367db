"""The built-in tools: how they are offered, the time and timers."""

import asyncio
import json
import re
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.engines.chat import ToolCall
from localvoice.tools import ToolContext, ToolError, ToolRegistry
from localvoice.tools.builtin import builtin_tools, places, wall
from localvoice.tools.builtin.places import zone_of
from localvoice.tools.builtin.words.durations import seconds_of, spoken_duration
from localvoice.tools.executor import ToolExecutor
from localvoice.tools.reminders import Reminders
from tests.support.builtin_use import use

NOON = datetime(2026, 3, 5, 12, 7, tzinfo=UTC)


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Noon in UTC, which is the zone of the machine."""
    monkeypatch.setattr(wall, "now", lambda zone=None: NOON.astimezone(zone or UTC))
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_the_offer_is_short_and_flat() -> None:
    offer = json.dumps([(tool.name, tool.spec.description, tool.spec.parameters) for tool in builtin_tools()])
    assert [tool.name for tool in builtin_tools()] == [
        *("get_time", "get_date", "set_timer", "set_alarm", "remind", "manage_timers"),
        *("calculate", "convert_units", "spell", "pick_random"),
    ]
    assert len(offer) < 3200
    assert "$" not in offer and "title" not in offer and "anyOf" not in offer


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("Tokyo", "In Tokyo it is 9:07 PM on Thursday, March 5, 2026."),
        ("Paris, France", "In Paris, France it is 1:07 PM on Thursday, March 5, 2026."),
        ("São Paulo", "In São Paulo it is 9:07 AM on Thursday, March 5, 2026."),
        ("sao paulo", "In sao paulo it is 9:07 AM on Thursday, March 5, 2026."),
        ("St. Petersburg", "In St. Petersburg it is 3:07 PM on Thursday, March 5, 2026."),
        ("San Francisco", "In San Francisco it is 4:07 AM on Thursday, March 5, 2026."),
        ("new york city", "In new york city it is 7:07 AM on Thursday, March 5, 2026."),
        ("America/New_York", "In New York it is 7:07 AM on Thursday, March 5, 2026."),
        ("London time", "In London it is 12:07 PM on Thursday, March 5, 2026."),
        ("Auckland", "In Auckland it is 1:07 AM on Friday, March 6, 2026."),
        ("india", "In india it is 5:37 PM on Thursday, March 5, 2026."),
        ("UTC", "In UTC it is 12:07 PM on Thursday, March 5, 2026."),
        ("Gotham", "error: I don't know the time zone of Gotham. Which large city is near it?"),
        (
            "../../etc/passwd",
            "error: I don't know the time zone of ../../etc/passwd. Which large city is near it?",
        ),
        ("", "It is 12:07 PM on Thursday, March 5, 2026."),
        ("here", "It is 12:07 PM on Thursday, March 5, 2026."),
    ],
)
async def test_the_time_is_told_for_places(place: str, said: str) -> None:
    assert await use("get_time", place=place) == said


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"ask": "time"}, "It is 12:07 PM."),
        ({"ask": "time", "place": "Tokyo"}, "In Tokyo it is 9:07 PM."),
        ({"place": "Tokyo", "than": "London"}, "Tokyo is 9 hours ahead of London."),
        ({"place": "New York", "than": "Mumbai"}, "New York is 10 hours 30 minutes behind Mumbai."),
        ({"place": "Lisbon", "than": "London"}, "Lisbon and London have the same time."),
        ({"later": "an hour and a half"}, "It will be 1:37 PM."),
        ({"later": "12 hours", "place": "London"}, "In London it will be 12:07 AM tomorrow."),
    ],
)
async def test_the_time_is_compared_and_told_ahead(arguments: dict[str, str], said: str) -> None:
    assert await use("get_time", None, **arguments) == said


async def test_the_time_here_is_that_of_the_machine() -> None:
    before = datetime.now().replace(second=0, microsecond=0)
    said = await use("get_time")
    moment = datetime.strptime(said, "It is %I:%M %p on %A, %B %d, %Y.")
    assert before <= moment <= datetime.now()


def test_every_place_that_is_listed_has_a_zone() -> None:
    listed = tomllib.loads((files("localvoice.tools.builtin") / "places.toml").read_text("utf-8"))
    for zone, names in listed.items():
        ZoneInfo(zone)
        for place in names.split(", "):
            assert zone_of(place).key == zone, place


async def test_a_machine_without_time_zones_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_zones", dict)
    assert "install the system's or Python's package tzdata" in await use("get_time", place="Tokyo")


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("duration", "seconds", "length"),
    [
        ("5 minutes", 300, "5 minutes"),
        ("five minutes", 300, "5 minutes"),
        ("90 seconds", 90, "1 minute 30 seconds"),
        ("1 hour 30 minutes", 5400, "1 hour 30 minutes"),
        ("an hour and a half", 5400, "1 hour 30 minutes"),
        ("half an hour", 1800, "30 minutes"),
        ("twenty-five minutes", 1500, "25 minutes"),
        ("a quarter of an hour", 900, "15 minutes"),
        ("three quarters of an hour", 2700, "45 minutes"),
        ("a couple of minutes", 120, "2 minutes"),
        ("1.5h", 5400, "1 hour 30 minutes"),
        ("2 min", 120, "2 minutes"),
        ("24 hours", 86400, "24 hours"),
    ],
)
async def test_a_timer_says_when_it_ends_and_that_it_has_ended(
    duration: str, seconds: int, length: str
) -> None:
    announced: list[tuple[float, str]] = []
    said = await use("set_timer", announced, duration=duration, label="  the \n eggs ")
    assert announced == [(seconds, f"Your timer of {length} is up: the eggs.")]
    assert re.fullmatch(rf"The timer is set for {length}, until \d+:\d\d [AP]M(?: tomorrow)?\.", said)


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        ("", "How long shall the timer run?"),
        ("0 minutes", "above 0"),
        ("-5 minutes", "above 0"),
        ("0.2 seconds", "a second at least"),
        ("9" * 400 + " hours", "above 0"),
        ("24.1 hours", "24 hours at most"),
        ("five", "has no unit"),
        ("soon", "isn't a length of time"),
        ("1:30", "isn't a length of time"),
    ],
)
async def test_a_timer_without_sense_is_refused(duration: str, words: str) -> None:
    announced: list[tuple[float, str]] = []
    assert words in await use("set_timer", announced, duration=duration)
    assert announced == []


@given(st.text(max_size=60))
def test_any_words_are_a_length_of_time_or_refused(words: str) -> None:
    try:
        assert seconds_of(words) > 0
    except ToolError as error:
        assert "90 seconds" in str(error)


@pytest.mark.virtual_clock
async def test_a_timer_speaks_when_it_ends() -> None:
    said: list[str] = []
    reminders = Reminders(said.append)
    executor = ToolExecutor(ToolRegistry(builtin_tools()))
    await executor.run(
        [ToolCall("c", "set_timer", {"duration": "3 minutes", "label": "tea"})],
        lambda call: ToolContext(call.call_id, "s", "t", asyncio.Event(), reminders.after, reminders),
    )
    await asyncio.sleep(179)
    assert said == []
    await asyncio.sleep(2)
    assert said == ["Your timer of 3 minutes is up: tea."]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "1 second"), (60, "1 minute"), (3661, "1 hour 1 minute 1 second"), (7200, "2 hours")],
)
def test_durations_are_said_in_words(seconds: int, said: str) -> None:
    assert spoken_duration(seconds) == said
